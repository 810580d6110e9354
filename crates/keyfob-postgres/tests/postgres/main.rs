//! The store against a real server.

#![expect(
    clippy::print_stdout,
    reason = "a test says what it passed over and measured"
)]

mod contract;
mod crashes;
mod failover;
mod faults;
mod migrations;
mod model;
mod pooling;
mod process;
mod races;
mod server;
mod tls;
mod trail;
mod usage;
mod watching;
mod work;
