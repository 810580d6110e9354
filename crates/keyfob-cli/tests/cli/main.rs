//! The program as its users have it: command line in, output and exit code out.
//!
//! - `program.rs`: the program in a folder of its own; `server.rs`: the same as a server, and HTTP
//! - the others: one command or one story each

mod audit;
mod connections;
mod crash;
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
