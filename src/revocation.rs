//! Revocations.

use crate::{identity::Actor, name::Reason, timestamp::Timestamp};

/// The time, actor, extent and reason of a revocation.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Revocation {
    /// When.
    pub at: Timestamp,
    /// By whom.
    pub by: Actor,
    /// What was revoked.
    pub cause: RevocationCause,
    /// Why, as stated by the actor.
    pub reason: Option<Reason>,
}

/// The extent of a revocation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum RevocationCause {
    /// Only this key.
    Key,
    /// All keys of its owner in the team.
    Owner,
    /// All keys of its namespace.
    Namespace,
    /// All keys of its team.
    Team,
}
