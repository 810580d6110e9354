//! Keyfob's embedded store: keys, audit trail and change feed in one `SQLite` file.
//!
//! ```
//! use keyfob::Keyring;
//! use keyfob_sqlite::SqliteStore;
//!
//! # let folder = tempfile::tempdir()?;
//! # let path = folder.path().join("keys.db");
//! # keyfob::block_on(async {
//! let store = SqliteStore::open(path)?;
//! let keyring = Keyring::open(store, "acme").await?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! # })?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! A commit is decided and written in one transaction, and is durable before the call returns, even
//! if the process is killed or the machine loses power at that moment. Commits that arrive while the
//! disk is busy share one transaction. Several processes on one machine may have the file open. It
//! must be on a local file system: `SQLite`'s locks do not work over a network.
//!
//! The futures need no runtime: [`keyfob::block_on`] makes plain calls of them.

#![forbid(unsafe_code)]

mod backup;
mod check;
mod cutoffs;
mod error;
mod feed;
mod migrate;
mod notify;
mod open;
mod options;
mod queries;
mod readers;
mod row;
mod snapshot;
mod sql;
mod store;
mod targets;
mod usage;
mod write;
mod writer;

pub use error::{BackupError, CheckError, OpenError};
pub use options::Options;
pub use store::SqliteStore;

#[cfg(test)]
mod faults;
#[cfg(test)]
mod fixture;
#[cfg(test)]
mod race;
#[cfg(test)]
mod steps;
