//! The feed over real sockets.

mod client;
mod fixture;
mod load;
mod relays;
mod rights;
mod snapshots;
mod streams;
