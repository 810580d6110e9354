//! Tests of the control plane over HTTP.

mod after_commit;
mod audit;
mod authority;
mod cross_site;
mod document;
mod errors;
mod failing;
mod faults;
mod first;
mod fixture;
mod held_back;
mod keys;
mod legacy;
mod lists;
mod lives;
mod namespaces;
mod policies;
mod rates;
mod repeat;
mod search;
#[path = "../clients/served.rs"]
mod served;
mod teams;
mod tokens;
mod uniform;
mod usage;
