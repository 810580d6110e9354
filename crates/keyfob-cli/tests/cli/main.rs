//! Tests of the program through its command line, output and exit codes.
//!
//! - `program.rs`: runs the program in a temporary folder; `server.rs`: runs it as a server, and an
//! HTTP client; `database`: a `PostgreSQL` server
//! - the others: one command or one scenario each

mod audit;
mod connections;
mod crash;
#[path = "../../../keyfob-postgres/tests/server/mod.rs"]
#[expect(
    dead_code,
    unreachable_pub,
    clippy::print_stdout,
    reason = "the store's tests use more of it, and it prints which tests are skipped"
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

// For `database`, which refers to these modules.
use keyfob_postgres::{Options, PostgresStore};
