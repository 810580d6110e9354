//! The feed over HTTP, for an authority and for relays.
//!
//! One task reads the store, or the upstream feed, and all connections share what it made: a connection is
//! a cursor. The number of readers changes neither the number of queries nor that of signatures.
//!
//! - [`Authority`] reads a store and signs.
//! - [`Relay`] serves what an authority signed.
//! - Both have a [`Hub`], whose [`router`](Hub::router) answers requests.
//!
//! The crate `keyfob-listen` accepts connections for it, with limits for streams.

mod authority;
mod authorize;
mod hub;
mod line_reader;
pub mod metrics;
mod object;
mod parts;
mod refusal;
mod relay;
mod report;
mod routes;
mod shares;
mod snapshots;
mod stream;
mod upgrade;

pub use authority::{Authority, AuthorityBuilder, AuthorityError};
pub use authorize::{Authorize, KeyRights, ReplicaRight};
pub use hub::Hub;
pub use line_reader::LineReader;
pub use relay::{Relay, RelayError, Upstream, UpstreamError};
pub use report::{Fleet, Origin, ReplicaReport, ReplicaState, Report};
