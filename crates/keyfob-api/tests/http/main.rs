//! The control plane over a store in memory, asked as its clients ask it.

mod audit;
mod authority;
mod document;
mod errors;
mod failing;
mod faults;
mod first;
mod fixture;
mod keys;
mod legacy;
mod lives;
mod namespaces;
mod policies;
mod rates;
mod repeat;
mod teams;
mod tokens;
mod uniform;
