//! The signed feed by which gateways receive keys.
#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod broadcast;
mod entry;
mod filter;
mod frame;
mod history;
mod keys;
mod line;
mod lines;
mod position;
mod publisher;
mod receiver;
#[cfg(feature = "server")]
pub mod server;
mod signer;
mod snapshot;
mod text;

pub use broadcast::Broadcast;
pub use filter::{Filter, FilterError, FilterId, Namespaces};
pub use history::{FeedPage, FeedRead, HistoryError, Progress};
pub use keys::{FeedKeys, KeysError, KeysFault, RotationError};
pub use line::{LineError, SignedLine};
pub use lines::{Cursor, Next};
pub use position::{Mark, Position, PositionError};
pub use publisher::{Join, Limits, Publisher};
pub use receiver::{Accepted, Batch, Offered, READ_MS, Receiver, Refusals, Refused, SKEW_MS};
pub use signer::{SignerId, SignerKey, SignerKeyError, Trust, TrustError};
pub use snapshot::{Manifest, ObjectName, Snapshot, SnapshotError, SnapshotReader, SnapshotWriter};

/// The protocol to which a connection can be upgraded that asks for the stream: the lines as they are,
/// without HTTP's chunks.
///
/// A client may offer it, and a server, or a proxy in between, may ignore that.
pub const UPGRADE_PROTOCOL: &str = "keyfob-feed/1";
