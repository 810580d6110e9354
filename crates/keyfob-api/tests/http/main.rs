//! The control plane over a store in memory, asked as its clients ask it.

mod authority;
mod document;
mod errors;
mod failing;
mod fixture;
mod keys;
mod lives;
mod repeat;
mod teams;
mod tokens;
