//! Keyfob's store for more than one machine: keys, audit trail and change feed in `PostgreSQL`.
//!
//! ```no_run
//! use keyfob::Keyring;
//! use keyfob_postgres::PostgresStore;
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let store = PostgresStore::connect("postgres://keyfob@db.example/keys?sslmode=require").await?;
//! let keyring = Keyring::open(store, "acme").await?;
//! # Ok(())
//! # }
//! ```
//!
//! # One order
//!
//! A commit is one transaction. It first locks the one row that holds the head of the log, then
//! reads what it is judged by, lets [`Commit::decide`](keyfob::store::Commit::decide) decide, writes
//! the change, its audit event and the new head, and commits. So commits happen one after the
//! other, over all machines. That is the price of three promises at once: revisions have no gaps,
//! each audit event's hash covers the one before it, and a reader of the feed that has seen a
//! revision has seen all before it. A sequence would number changes in another order than that in
//! which they become visible, and a chain needs its last link.
//!
//! What it costs: each commit holds the lock for two round trips and one flush of the server's log
//! to disk, so the number of commits a second is one divided by their sum, some hundreds on a disk
//! and about a thousand on one that lies about flushing or has a battery; `cargo bench -p
//! keyfob-postgres` measures it. Keys are made and changed by people and deployments; verifications,
//! which are many, never come here, and the recording of usage takes no part in the order.
//!
//! # When the connection is lost
//!
//! Before `COMMIT` nothing was kept, and the commit is tried again, as after a deadlock or a
//! failure to serialise, a few times, a little later each time. If the answer to `COMMIT` is lost,
//! the store takes the lock of the log over another connection, so that the transaction in question
//! has ended, and looks for the mark that every attempt leaves with its audit event: then the commit
//! was kept, or certainly was not and is tried again. Only if the database cannot be asked for
//! [the time a commit may wait](Options::with_lock_timeout) is it
//! [unknown](keyfob::store::StoreError::unknown). A replica that takes over without the last
//! commits of the one before it cannot be helped from here: let the server commit synchronously to
//! it.
//!
//! # The server
//!
//! `PostgreSQL` 13 or later, in encoding `UTF8`, with tables in a schema of their own. Connections
//! keep settings and prepared statements, so a pooler between must be in session mode. A notice
//! (`NOTIFY keyfob`) goes with each commit; `PostgreSQL` takes a lock over all databases of a server
//! for it while it commits.
//!
//! A backup by `pg_dump` or a copy of the database is a store. An index that follows the store
//! notices when an older one takes its place: [`IndexError::Regressed`](keyfob::gateway::IndexError::Regressed).
//! Then build a new one.

#![forbid(unsafe_code)]

mod commit;
mod connect;
mod error;
mod feed;
mod migrate;
mod notify;
mod options;
#[cfg(test)]
mod plans;
mod queries;
mod retry;
mod row;
#[cfg(test)]
#[path = "../tests/server/mod.rs"]
#[expect(
    clippy::print_stdout,
    dead_code,
    unreachable_pub,
    reason = "the tests of the store use more of it"
)]
mod server;
mod session;
mod snapshot;
mod sql;
mod store;
mod tls;
mod usage;
mod write;

pub use error::{ConnectError, DatabaseError};
pub use options::Options;
pub use store::PostgresStore;
