//! The feed over NATS, if this program was built with it.

#[cfg(not(feature = "nats"))]
mod absent;
#[cfg(feature = "nats")]
mod present;

#[cfg(not(feature = "nats"))]
pub(crate) use absent::{
    Nats, Publication, ServerAddress, ServerAddressError, StreamName, SubjectPrefix,
    describe_metrics,
};
#[cfg(feature = "nats")]
pub(crate) use present::{
    Nats, Publication, ServerAddress, ServerAddressError, StreamName, SubjectPrefix,
    describe_metrics,
};
