//! End-to-end tests of the program: command line in, output and exit code out.
//!
//! - `program.rs`: the program in a temporary folder; `server.rs`: the program as a server, and HTTP;
//!   `database`: a `PostgreSQL` server
//! - the others: one command or one scenario each

mod audit;
mod connections;
mod crash;
#[path = "../../../keyfob-postgres/tests/server/mod.rs"]
#[expect(
    dead_code,
    unreachable_pub,
    clippy::print_stdout,
    reason = "the store's own tests use more of it, and it says what it passes over"
)]
mod database;
mod documents;
mod keys;
mod legacy;
mod migration;
mod nginx;
mod others;
mod policy;
mod postgres;
mod program;
mod scan;
mod serve;
mod server;
mod settings;
mod targets;
mod verify;

// Used by `database`.
use keyfob_postgres::{Options, PostgresStore};
