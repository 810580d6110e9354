//! The program `keyfob`: a control plane in one process, and the command line for its keys.
//!
//! - `cli.rs`: every command
//! - `settings.rs`: what is set by flags, environment and file; `store.rs`: the store that is meant
//! - `desk.rs`: what a command works with; `terminal.rs`: what it writes; `failure.rs`: how it fails
//! - `keys/`, `targets.rs`, `namespaces.rs`, `policy.rs`, `legacy/`, `audit/`: managing
//! - `verify.rs`, `scan/`, `bench.rs`: asking
//! - `serve/`: the server

#![forbid(unsafe_code)]

mod audit;
mod backup;
mod bench;
mod cli;
mod completions;
mod config;
mod desk;
mod exit;
mod failure;
mod keys;
mod legacy;
mod man;
mod moment;
mod namespaces;
mod owner;
mod policy;
mod redact;
mod scan;
mod serve;
mod settings;
mod store;
mod targets;
mod terminal;
mod verify;
mod verifying;

use std::process::ExitCode;

fn main() -> ExitCode {
    cli::run().into()
}
