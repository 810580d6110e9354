//! The store against a real server.

#![expect(
    clippy::print_stdout,
    reason = "a test says what it passed over and measured"
)]

mod contract;
mod crashes;
mod faults;
mod migrations;
mod model;
mod process;
mod proxy;
mod races;
#[path = "../server/mod.rs"]
#[expect(unreachable_pub, reason = "a benchmark uses it too")]
mod server;
mod tls;
mod usage;
mod watching;
mod work;

use keyfob_postgres::{Options, PostgresStore};
