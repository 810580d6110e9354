//! End-to-end tests of the program: command line in, output and exit code out.
//!
//! - `program.rs`: the program in a temporary folder; `server.rs`: the program as a server, and HTTP
//! - the others: one command or one scenario each

mod at_rest;
mod audit;
mod authorizer;
mod check;
mod connections;
mod crash;
mod documents;
mod feed_tls;
mod gateway;
mod keys;
mod legacy;
mod migration;
mod nats;
mod nginx;
mod others;
mod policy;
mod postgres;
mod program;
mod repeated;
mod rotation;
mod scan;
mod secrecy;
mod serve;
mod server;
mod settings;
mod starts;
mod targets;
mod under_load;
mod verify;
mod words;
