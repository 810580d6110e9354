//! End-to-end tests of the program: command line in, output and exit code out.
//!
//! - `program.rs`: the program in a temporary folder; `server.rs`: the program as a server, and HTTP
//! - the others: one command or one scenario each

mod at_rest;
mod audit;
mod check;
mod connections;
mod crash;
mod documents;
mod gateway;
mod keys;
mod legacy;
mod migration;
mod nginx;
mod others;
mod policy;
mod postgres;
mod program;
mod repeated;
mod scan;
mod serve;
mod server;
mod settings;
mod targets;
mod verify;
mod words;
