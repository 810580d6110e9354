//! Keeps a process's [`Verifier`](keyfob::Verifier) up to date with a store that other processes
//! change, or with another [`Source`].
//!
//! [`Follower::start`] reads the source to its end, and starts one task that follows it from then
//! on. The [`Replica`] that it returns has the verifier.
//!
#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod clock;
mod error;
mod follow;
mod follower;
#[cfg(feature = "http")]
mod http;
pub mod metrics;
mod pause;
#[cfg(feature = "axum")]
mod readyz;
mod replica;
mod source;
mod usage;

pub use error::{Failure, StartError};
pub use follower::{Follower, OwnIndex};
#[cfg(feature = "relay")]
pub use http::HttpUpstream;
#[cfg(feature = "http")]
pub use http::{
    ClientTls, FeedError, FeedStatus, HttpSource, HttpSourceBuilder, HttpSourceError, LineReceiver,
    LineSender, Upstream, UpstreamError,
};
pub use keyfob::store::async_trait;
pub use pause::Pauses;
pub use replica::{Monitor, Replica, Status};
pub use source::{Source, SourceError, Synced};
