//! The program `keyfob`: a control plane in one process, and the command line for its keys.
//!
//! - `cli.rs`: every command
//! - `settings.rs`: flags, environment, configuration file; `store.rs`: the store they name
//! - `command_context.rs`: what a command works with; `terminal.rs`: its output; `failure.rs`: its
//!   errors
//! - `keys/`, `targets.rs`, `namespaces.rs`, `policy.rs`, `legacy/`, `audit/`: commands that manage
//! - `verify.rs`, `scan/`, `bench.rs`: commands that verify
//! - `serve/`: the server

#![forbid(unsafe_code)]

mod audit;
mod backup;
mod bench;
mod check;
mod cli;
mod command_context;
mod completions;
mod config;
mod exit;
mod failure;
mod feed;
mod gateway;
mod key_view;
mod keys;
mod legacy;
mod man;
mod moment;
mod namespaces;
mod nats;
mod owner;
mod peppers;
mod policy;
mod private_file;
mod process;
mod redact;
mod relay;
mod scan;
mod serve;
mod server;
mod settings;
mod store;
mod targets;
mod terminal;
mod upstream;
mod verify;

use std::process::ExitCode;

fn main() -> ExitCode {
    process::protect_memory();
    cli::run().into()
}
