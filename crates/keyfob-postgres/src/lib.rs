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
//! # Commits are serialized
//!
//! A commit is one transaction. It locks the one row that holds the head of the log, reads what the
//! commit depends on, lets [`Commit::decide`](keyfob::store::Commit::decide) decide, writes the
//! change, its audit event and the new head, and commits. So commits are serialized over all
//! machines. Three promises need this: revisions have no gaps, each audit event's hash covers the
//! one before it, and a reader of the feed that has seen a revision has seen all before it. (A
//! sequence would number changes in another order than that in which they become visible.)
//!
//! The cost: each commit holds the lock for two round trips and one flush of the server's log to
//! disk. That allows some hundreds of commits per second on an ordinary disk; `cargo bench -p
//! keyfob-postgres` measures it. Verification never calls the store, and recording usage does not
//! take the lock.
//!
//! # When the connection is lost
//!
//! Before `COMMIT` nothing was kept, and the commit is tried again with back-off and jitter, as
//! after a deadlock or a serialization failure. If the answer to `COMMIT` is lost, the store takes
//! the lock of the log over another connection, so that the transaction in question has ended, and
//! looks for the mark that every attempt leaves with its audit event: then the commit was kept, or
//! was not and is tried again. Only if the database cannot be read for
//! [the time a commit may wait](Options::with_lock_timeout), the outcome is
//! [unknown](keyfob::store::StoreError::unknown).
//!
//! # Failover
//!
//! A URL may name the primary and its standbys, `postgres://keyfob@db1,db2/keys`: the store uses the
//! primary, which it looks for whenever it connects, and never a standby. A standby that takes over
//! without the last commits of its primary has lost them: let the server commit synchronously to it.
//! Then nothing that was acknowledged is lost. To acknowledge a commit whose answer was lost, the
//! store commits another transaction after it, which the standby confirms.
//!
//! # The server
//!
//! `PostgreSQL` 13 or later, in encoding `UTF8`. The tables are in a schema of their own.
//! Connections keep settings and prepared statements, so a pooler must be in session mode, or the URL
//! must have `pool_mode=transaction` ([`Options::with_transaction_pooling`]). Each commit sends a
//! notice (`NOTIFY keyfob`), for which `PostgreSQL` takes a lock over all databases of the server
//! while it commits.
//!
//! A backup by `pg_dump` or a copy of the database is a store. An index that follows the store
//! notices when an older one takes its place:
//! [`IndexError::Regressed`](keyfob::gateway::IndexError::Regressed), or
//! [`Forked`](keyfob::gateway::IndexError::Forked) if that has caught up since.

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
mod session;
mod settings;
mod snapshot;
mod sql;
mod store;
mod targets;
mod tls;
mod url;
mod usage;
mod value;
mod write;

pub use error::{ConnectError, DatabaseError};
pub use options::Options;
pub use store::PostgresStore;
pub use url::Location;
