//! The promises of the feed's format and state machines.

#![expect(clippy::print_stdout, reason = "with --nocapture, sizes are shown")]

mod foreign;
mod model;
mod publishing;
mod refusals;
mod signers;
mod sizes;
mod snapshots;
mod world;
