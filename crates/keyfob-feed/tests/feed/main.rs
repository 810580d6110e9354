//! The promises of the feed's format and state machines.

mod model;
mod publishing;
mod refusals;
mod signers;
mod sizes;
mod snapshots;
mod world;
