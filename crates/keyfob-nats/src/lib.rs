//! The signed feed over NATS.
//!
#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod address;
mod broker;
mod credentials;
pub mod metrics;
mod publish;
mod subject;
mod subscribe;

pub use address::{ServerAddress, ServerAddressError};
pub use broker::{Broker, BrokerBuilder, BrokerError};
pub use publish::{NotCarried, Publication};
pub use subject::{StreamName, SubjectError, SubjectPrefix};
pub use subscribe::Subscription;
