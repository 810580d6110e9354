//! The program as its users have it: command line in, output and exit code out.
//!
//! - `program.rs`: the program in a folder of its own; `server.rs`: the same as a server, and HTTP;
//!   `database`: a `PostgreSQL` server
//! - the others: one command or one story each

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

// For `database`, which looks for them where it stands.
use keyfob_postgres::{Options, PostgresStore};
