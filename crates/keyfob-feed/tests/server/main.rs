//! The feed over real sockets.

#![expect(clippy::print_stdout, reason = "with --nocapture, figures are shown")]

mod client;
mod fixture;
mod idle;
mod load;
mod many;
mod relays;
mod rights;
mod snapshots;
mod streams;
mod upgrades;
