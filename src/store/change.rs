//! What is asked of a store, and what it tells of its changes.

use alloc::vec::Vec;

use crate::{
    audit::AuditEntry,
    cutoff::{Cutoff, Target},
    identity::{Authority, Tenant},
    key_id::KeyId,
    legacy::{LegacyPolicy, LegacyRecord},
    name::NamespaceId,
    policy::Policy,
    record::KeyRecord,
    revision::Revision,
};

/// A change, and what the audit trail says of it: kept together or not at all.
#[derive(Clone, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Commit {
    /// The change with its conditions.
    pub change: Change,
    /// The right by which it is made, checked when it is kept.
    pub authority: Authority,
    /// What the audit trail says of it.
    pub event: AuditEntry,
}

/// A change with the conditions under which it may be kept.
///
/// A change that would bring something into a namespace of another team, or set or end something
/// for the whole of it, is refused with [`Conflict::ForeignNamespace`]; the first such change binds
/// a namespace to its team. What changes one credential finds none in the wrong tenant:
/// [`Conflict::NotFound`].
#[derive(Clone, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum Change {
    /// Keeps a new key; the store sets `created` and `revision`.
    ///
    /// - the identifier was ever used -> [`Conflict::IdTaken`]
    /// - the team, the namespace or the owner is blocked -> [`Conflict::Removed`]
    /// - a live key of the namespace has the name, and names are unique -> [`Conflict::NameTaken`]
    /// - the owner has as many live keys in the namespace as allowed -> [`Conflict::TooManyKeys`]
    CreateKey {
        /// The key.
        record: KeyRecord,
        /// What the policy allows.
        limits: Limits,
    },
    /// Keeps a key's record in place of the one at revision `expected`; the store sets
    /// `revision` and keeps `created`.
    ///
    /// - no such key in the tenant -> [`Conflict::NotFound`]
    /// - it is revoked, by itself or by a cutoff -> [`Conflict::Revoked`]
    /// - it changed since -> [`Conflict::Stale`]
    /// - the record names another owner -> [`Conflict::OtherOwner`]
    /// - another live key of the namespace has the name, and names are unique ->
    ///   [`Conflict::NameTaken`]
    ReplaceKey {
        /// The record as it shall be.
        record: KeyRecord,
        /// The revision that the new record was made from.
        expected: Revision,
        /// Whether names are unique.
        unique_name: bool,
    },
    /// Removes a key's record and what is known of its use; its identifier stays taken.
    ///
    /// - no such key in the tenant -> [`Conflict::NotFound`]
    DeleteKey {
        /// The namespace that the key must be of.
        tenant: Tenant,
        /// The key.
        id: KeyId,
    },
    /// Revokes everything that was created in a target so far; with `block`, nothing can be
    /// created in it until it is restored. Without, a target that is blocked stays blocked.
    Revoke {
        /// The team, namespace or owner.
        target: Target,
        /// Whether to block it too.
        block: bool,
    },
    /// Unblocks a target; what was revoked stays revoked.
    ///
    /// - it is not blocked -> [`Conflict::NotRemoved`]
    Restore {
        /// The team, namespace or owner.
        target: Target,
    },
    /// Keeps a legacy credential; the store sets `created` and `revision`.
    ///
    /// - its identifier was ever used -> [`Conflict::IdTaken`]
    /// - the team or the namespace is blocked -> [`Conflict::Removed`]
    ImportLegacy {
        /// The credential.
        record: LegacyRecord,
    },
    /// Keeps a legacy credential's record in place of the one at revision `expected`.
    ///
    /// - no such credential in the tenant -> [`Conflict::NotFound`]
    /// - it is revoked, by itself or by a cutoff -> [`Conflict::Revoked`]
    /// - it changed since -> [`Conflict::Stale`]
    ReplaceLegacy {
        /// The record as it shall be.
        record: LegacyRecord,
        /// The revision that the new record was made from.
        expected: Revision,
    },
    /// Sets the policy for keys of a namespace, or the default for all.
    SetPolicy {
        /// The namespace; none for the default.
        tenant: Option<Tenant>,
        /// The policy; none to go back to the default.
        policy: Option<Policy>,
    },
    /// Sets the policy for legacy credentials of a namespace, or the default for all.
    SetLegacyPolicy {
        /// The namespace; none for the default.
        tenant: Option<Tenant>,
        /// The policy; none to go back to the default.
        policy: Option<LegacyPolicy>,
    },
    /// Binds a namespace to its team before anything is in it. The change feed does not tell of
    /// it: there is nothing to verify yet.
    ///
    /// - it is bound already -> [`Conflict::IdTaken`]
    /// - the team is blocked -> [`Conflict::Removed`]
    CreateNamespace {
        /// The namespace and its team.
        tenant: Tenant,
    },
}

/// What the policy allows of the keys in a namespace.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Limits {
    /// Whether the name must be free.
    pub unique_name: bool,
    /// How many live keys the owner may have, with the new one.
    pub keys_per_owner: Option<u32>,
}

impl From<&Policy> for Limits {
    fn from(policy: &Policy) -> Self {
        Self {
            unique_name: policy.unique_names,
            keys_per_owner: policy.keys_per_owner,
        }
    }
}

/// The condition that was broken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Conflict {
    /// There is no such credential in the tenant.
    #[error("no such key")]
    NotFound,
    /// Somebody else changed it since it was read.
    #[error("the key was changed in the meantime")]
    Stale,
    /// It is revoked.
    #[error("the key is revoked")]
    Revoked,
    /// A key does not change hands.
    #[error("the owner of a key cannot change")]
    OtherOwner,
    /// The identifier was used before.
    #[error("the identifier is taken")]
    IdTaken,
    /// A live key of the namespace has the name.
    #[error("name: a key of this name exists in the namespace")]
    NameTaken,
    /// The owner has as many keys as allowed.
    #[error("the owner has as many keys in the namespace as the policy allows")]
    TooManyKeys,
    /// The team, the namespace or the owner was removed.
    #[error("the {} was removed", target_name(.0))]
    Removed(Target),
    /// The target was not removed.
    #[error("the {} was not removed", target_name(.0))]
    NotRemoved(Target),
    /// The namespace belongs to another team.
    #[error("no such namespace in the team")]
    ForeignNamespace,
    /// The actor may not make the change, or no longer.
    #[error(transparent)]
    Actor(ActorFault),
}

/// Why an actor may not make a change, judged when the change is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum ActorFault {
    /// Its credential does not exist, or was deleted.
    #[error("the actor's credential does not exist")]
    Unknown,
    /// Its credential, or every key of its owner, namespace or team, was revoked.
    #[error("the actor's credential is revoked")]
    Revoked,
    /// Its credential is disabled.
    #[error("the actor's credential is disabled")]
    Disabled,
    /// Its credential does not work yet.
    #[error("the actor's credential is not valid yet")]
    NotYetValid,
    /// Its credential has expired, or legacy credentials are no longer accepted.
    #[error("the actor's credential is expired")]
    Expired,
    /// It was removed from the team.
    #[error("the actor was removed from the team")]
    Removed,
    /// Its key no longer has a scope that the change needs.
    #[error("the actor's key has lost a scope that the change needs")]
    MissingScope,
}

fn target_name(target: &Target) -> &'static str {
    match target {
        Target::Team(_) => "team",
        Target::Namespace(_) => "namespace",
        Target::Owner(..) => "owner",
    }
}

/// A part of the change feed.
#[derive(Clone, Debug, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Changes {
    /// Where the reader asked to begin.
    pub after: Revision,
    /// What changed, in the order of the changes.
    pub entries: Vec<Entry>,
    /// Where the next part begins; at the end of the feed, the revision up to which the reader
    /// now knows everything. Before `after` only if the store itself is: it is another one, or was
    /// restored from a backup.
    pub next_after: Revision,
    /// Whether there is more already.
    pub more: bool,
    /// The store's last revision when this was read: it tells which of two parts is older.
    pub last_revision: Revision,
}

impl Changes {
    /// How many entries a store reads for a part of `limit`: one more than the part has, which
    /// tells whether there are more.
    pub fn rows(limit: usize) -> usize {
        limit.max(1).saturating_add(1)
    }

    /// The part of the feed after `after` that begins with these entries: the first `limit` of
    /// them. `last_revision` is that of the store, read at the same moment.
    ///
    /// # Errors
    ///
    /// An entry that is reached could not be read.
    pub fn first_of<E>(
        after: Revision,
        last_revision: Revision,
        entries: impl IntoIterator<Item = Result<Entry, E>>,
        limit: usize,
    ) -> Result<Self, E> {
        let mut rest = entries.into_iter();
        let entries: Vec<Entry> = rest.by_ref().take(limit.max(1)).collect::<Result<_, E>>()?;
        let more = rest.next().transpose()?.is_some();
        let next_after = match entries.last() {
            Some(last) if more => last.revision,
            _ => last_revision,
        };
        Ok(Self {
            after,
            entries,
            next_after,
            more,
            last_revision,
        })
    }
}

/// The state of something at its last change.
#[derive(Clone, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Entry {
    /// When it last changed.
    pub revision: Revision,
    /// Its state.
    pub item: Item,
}

/// Something that the change feed tells of.
#[derive(Clone, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum Item {
    /// A key. Cutoffs come as items of their own and need not be worked in.
    Key(KeyRecord),
    /// A key that was deleted.
    KeyDeleted(KeyId),
    /// A cut through a team, a namespace or an owner's part of a team.
    Cutoff(Cutoff),
    /// A legacy credential.
    Legacy(LegacyRecord),
    /// The policy for keys of a namespace, or the default.
    Policy(Option<NamespaceId>, Option<Policy>),
    /// The policy for legacy credentials of a namespace, or the default.
    LegacyPolicy(Option<NamespaceId>, Option<LegacyPolicy>),
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString;

    use super::*;
    use crate::{
        identity::Owner,
        name::{TeamId, UserId},
    };

    #[test]
    fn a_conflict_names_what_was_removed() {
        let team = || TeamId::new("acme").unwrap();
        let place = Tenant::new(team(), NamespaceId::new("fn-a").unwrap());
        let alice = Owner::User(UserId::new("alice").unwrap());
        for (target, called) in [
            (Target::Team(team()), "team"),
            (Target::Namespace(place), "namespace"),
            (Target::Owner(team(), alice), "owner"),
        ] {
            let removed = Conflict::Removed(target.clone()).to_string();
            assert_eq!(removed, alloc::format!("the {called} was removed"));
            let not_removed = Conflict::NotRemoved(target).to_string();
            assert_eq!(not_removed, alloc::format!("the {called} was not removed"));
        }
    }
}
