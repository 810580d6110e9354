//! The feed over real sockets.

#![expect(clippy::print_stdout, reason = "with --nocapture, figures are shown")]

mod client;
mod fixture;
mod load;
mod relays;
mod rights;
mod snapshots;
mod streams;
