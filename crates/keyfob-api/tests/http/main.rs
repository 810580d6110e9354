//! Tests of the control plane over HTTP.

#![expect(clippy::print_stdout, reason = "a test says that it was skipped")]

mod audit;
mod authority;
mod document;
mod errors;
mod failing;
mod faults;
mod first;
mod fixture;
mod held_back;
mod keys;
mod legacy;
mod lives;
mod namespaces;
mod policies;
mod rates;
mod repeat;
#[path = "../clients/served.rs"]
mod served;
#[path = "../../../keyfob-postgres/tests/server/mod.rs"]
#[expect(
    dead_code,
    unreachable_pub,
    reason = "shared with the tests of the store"
)]
mod server;
mod teams;
mod tokens;
mod uniform;

use keyfob_postgres::{Options, PostgresStore};
