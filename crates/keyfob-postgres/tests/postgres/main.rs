//! The store against a real server.

#![expect(
    clippy::print_stdout,
    reason = "a test says what it passed over and measured"
)]

mod contract;
#[path = "../server/mod.rs"]
#[expect(
    dead_code,
    unreachable_pub,
    reason = "the plans and the benchmark use more of it"
)]
mod server;
