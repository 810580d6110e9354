#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod authority;
mod broker;
mod bug;
mod clock;
mod context;
mod model;
mod network;
mod oracle;
mod random;
mod reader;
mod relay;
mod replica;
mod world;

pub use bug::Bug;
pub use oracle::{Invariant, Violation};
pub use world::{Failure, Settings, Summary, run};
