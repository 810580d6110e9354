//! Real gateways with the configurations of `packaging/gateways`, and what tests need around them:
//! a backend that records what arrives, a client that sends bytes as they are.

#![forbid(unsafe_code)]
#![expect(
    clippy::missing_panics_doc,
    reason = "a fixture panics if the test cannot go on"
)]

mod backend;
mod connection;
mod gateway;
mod readings;

pub use backend::{Backend, Seen};
pub use connection::{Connection, Response};
pub use gateway::{Gateway, Kind, Places};
pub use keyfob_testkit::port::free_port;
pub use readings::{Readings, readings};
