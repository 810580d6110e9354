//! Exports Keyfob's audit trail for log pipelines: each [`AuditEvent`] as a line of JSON, a
//! `CloudEvents` 1.0 envelope (structured mode) around an OCSF 1.6.0 event.
//!
//! | object of the action | OCSF class |
//! |---|---|
//! | a user or a service (removed, restored, all keys revoked) | 3001 Account Change |
//! | a key, a legacy credential, a policy, a namespace or a team | 3004 Entity Management |
//!
//! API Activity (6003) would fit as well, but requires the endpoint of the call, which the trail
//! does not store. Authentication (3002) does not apply: the trail contains changes only.
//!
//! The changed fields are in `entity.data.fields` with their old values, in
//! `entity_result.data.fields` with their new ones, and in the event itself with both.
//!
//! A line contains the whole event, its revision and its hash, so that exported lines are
//! sufficient to verify a trail: [`Reader`].
//!
//! # Examples
//!
//! ```
//! use keyfob::{Actor, Context, Timestamp, audit::{Action, AuditEntry, AuditEvent, ChainHash, TrailHead},
//!     key::KeyFormat, store::Revision};
//! use keyfob_ocsf::{Exporter, Reader};
//!
//! let context = Context::new(Actor::system(), Timestamp::from_unix(1_800_000_000));
//! let entry = AuditEntry::new(Action::PolicySet, &context);
//! let event = AuditEvent::chained(entry, Revision::new(1), ChainHash::START);
//!
//! let exporter = Exporter::new(KeyFormat::new("dof")?, "urn:keyfob:example")?;
//! let line = exporter.line(&event);
//!
//! let mut reader = Reader::after(TrailHead::START);
//! reader.read(&line)?;
//! assert_eq!(reader.head().hash, event.hash);
//! assert!(Reader::after(TrailHead::START).read(&line.replace("policy", "POLICY")).is_err());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! [`AuditEvent`]: keyfob::audit::AuditEvent

#![forbid(unsafe_code)]

mod classification;
mod envelope;
mod event;
mod reader;

pub use envelope::{Exporter, SourceError};
pub use reader::{LineFault, ReadError, Reader};
