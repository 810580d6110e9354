//! Fixtures for the tests of several crates: processes, a `PostgreSQL` server, a pooler
//! in front of it, a proxy that fails, a network path that a test breaks, NATS servers, certificates.

#![forbid(unsafe_code)]
#![expect(
    clippy::missing_panics_doc,
    reason = "a fixture panics if the test cannot go on"
)]

#[cfg(feature = "certificates")]
pub mod certificates;
pub mod figures;
pub mod link;
#[cfg(feature = "nats")]
pub mod nats;
pub mod peer;
#[cfg(feature = "postgres")]
pub mod pgbouncer;
pub mod port;
#[cfg(feature = "postgres")]
pub mod postgres;
pub mod process;
#[cfg(feature = "postgres")]
pub mod proxy;
