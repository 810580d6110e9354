//! Fixtures for the tests of several crates: processes, a `PostgreSQL` server, a pooler
//! in front of it, a proxy that fails.

#![forbid(unsafe_code)]
#![expect(
    clippy::missing_panics_doc,
    reason = "a fixture panics if the test cannot go on"
)]

#[cfg(feature = "postgres")]
pub mod pgbouncer;
#[cfg(feature = "postgres")]
pub mod postgres;
pub mod process;
#[cfg(feature = "postgres")]
pub mod proxy;
