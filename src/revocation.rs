//! When, by whom and why something was revoked.

use crate::{identity::Actor, name::Reason, timestamp::Timestamp};

/// When, by whom and why a key was revoked.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Revocation {
    /// When.
    pub at: Timestamp,
    /// By whom.
    pub by: Actor,
    /// What was cut off.
    pub cause: RevocationCause,
    /// Why, in their words.
    pub reason: Option<Reason>,
}

/// What was cut off when a key was revoked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum RevocationCause {
    /// This key.
    Key,
    /// All keys of its owner in the team.
    Owner,
    /// All keys of its namespace.
    Namespace,
    /// All keys of its team.
    Team,
}
