//! The program as its users have it: command line in, output and exit code out.
//!
//! - `program.rs`: the program in a folder of its own; `server.rs`: the same as a server, and HTTP
//! - the others: one command or one story each

mod audit;
mod crash;
mod documents;
mod keys;
mod legacy;
mod migration;
mod others;
mod policy;
mod program;
mod realms;
mod scan;
mod serve;
mod server;
mod settings;
mod verify;
