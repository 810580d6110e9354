//! Commits, changes, conflicts and the change feed.

use alloc::vec::Vec;

use crate::{
    audit::{AuditEntry, ChainHash, TrailHead},
    cutoff::{Cutoff, Target},
    identity::{Authority, Owner, Tenant},
    key_id::KeyId,
    legacy::{LegacyPolicy, LegacyRecord},
    namespace::NewNamespace,
    policy::Policy,
    record::KeyRecord,
    revision::Revision,
};

/// A change, the authority for it and its audit entry: stored together or not at all.
#[derive(Clone, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Commit {
    /// The change and its conditions.
    pub change: Change,
    /// The authority of the actor, checked in the transaction that stores the change.
    pub authority: Authority,
    /// The audit entry.
    pub event: AuditEntry,
}

/// A change and the conditions under which it is stored.
///
/// The first change that creates something in a namespace, or that removes it in advance, binds the
/// namespace to its team. Any other change of a namespace that is not bound is refused as
/// [`Conflict::UnknownTarget`], and every change of one that is bound to another team as
/// [`Conflict::ForeignNamespace`]. A change of one credential under the wrong tenant is refused as
/// [`Conflict::NotFound`].
#[derive(Clone, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum Change {
    /// Stores a new key; the store sets `created_revision` and `revision`.
    ///
    /// - the identifier is or was in use -> [`Conflict::IdTaken`]
    /// - the team, the namespace or the owner is blocked -> [`Conflict::Removed`]
    /// - the owner has a live key of the name in the namespace, and names are unique ->
    ///   [`Conflict::NameTaken`]
    /// - the owner already has the allowed number of live keys in the namespace ->
    ///   [`Conflict::TooManyKeys`]
    CreateKey {
        /// The key.
        record: KeyRecord,
        /// The limits that the policy sets.
        limits: Limits,
    },
    /// Replaces a key's record if its revision is `expected`; the store sets `revision` and keeps
    /// `created_revision`.
    ///
    /// - no such key in the tenant -> [`Conflict::NotFound`]
    /// - it is revoked, individually or by a cutoff -> [`Conflict::Revoked`]
    /// - its revision is not `expected` -> [`Conflict::Stale`]
    /// - the record names another owner -> [`Conflict::OtherOwner`]
    /// - the owner has another live key of the name in the namespace, and names are unique ->
    ///   [`Conflict::NameTaken`]
    ReplaceKey {
        /// The new record.
        record: KeyRecord,
        /// The revision that the new record was derived from.
        expected: Revision,
        /// Whether names must be unique.
        unique_name: bool,
    },
    /// Deletes a key's record and usage; its identifier stays taken.
    ///
    /// - no such key in the tenant -> [`Conflict::NotFound`]
    /// - its revision is not `expected` -> [`Conflict::Stale`]
    DeleteKey {
        /// The tenant that the key must belong to.
        tenant: Tenant,
        /// The key.
        id: KeyId,
        /// The revision that the key must have; `None` for any.
        expected: Option<Revision>,
    },
    /// Revokes everything that was created in a target so far. With `block`, nothing can be created
    /// in the target until it is restored; without it, the target stays blocked or unblocked as it
    /// is.
    ///
    /// - the target is unknown, and `in_advance` is not set -> [`Conflict::UnknownTarget`]
    ///
    /// A namespace is known if it is bound to its team, a team if a namespace is bound to it, and an
    /// owner if the store has a key of theirs in the team, revoked and expired ones included. A
    /// target that was removed or had everything revoked before is known too.
    Revoke {
        /// The team, namespace or owner.
        target: Target,
        /// Whether to block the target.
        block: bool,
        /// Whether the target may be unknown.
        in_advance: bool,
    },
    /// Unblocks a target; revoked credentials stay revoked.
    ///
    /// - it is not blocked -> [`Conflict::NotRemoved`]
    Restore {
        /// The team, namespace or owner.
        target: Target,
    },
    /// Stores a legacy credential; the store sets `created_revision` and `revision`.
    ///
    /// - its identifier is in use -> [`Conflict::IdTaken`]
    /// - the team or the namespace is blocked -> [`Conflict::Removed`]
    ImportLegacy {
        /// The credential.
        record: LegacyRecord,
    },
    /// Replaces a legacy credential's record if its revision is `expected`.
    ///
    /// - no such credential in the tenant -> [`Conflict::NotFound`]
    /// - it is revoked, individually or by a cutoff -> [`Conflict::Revoked`]
    /// - its revision is not `expected` -> [`Conflict::Stale`]
    ReplaceLegacy {
        /// The new record.
        record: LegacyRecord,
        /// The revision that the new record was derived from.
        expected: Revision,
    },
    /// Sets the policy for keys of a namespace, or the default policy.
    SetPolicy {
        /// The namespace; `None` for the default policy.
        tenant: Option<Tenant>,
        /// The policy; `None` to remove it.
        policy: Option<Policy>,
    },
    /// Sets the policy for legacy credentials of a namespace, or the default policy.
    SetLegacyPolicy {
        /// The namespace; `None` for the default policy.
        tenant: Option<Tenant>,
        /// The policy; `None` to remove it.
        policy: Option<LegacyPolicy>,
    },
    /// Binds a namespace to its team before anything is created in it. It does not appear in the
    /// change feed, since it affects no verification.
    ///
    /// - it is already bound -> [`Conflict::IdTaken`]
    /// - the team is blocked -> [`Conflict::Removed`]
    CreateNamespace {
        /// The namespace, its team and what people call it.
        new: NewNamespace,
    },
}

/// The limits that a policy sets for the keys of a namespace.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Limits {
    /// Whether the name must be unique among the owner's live keys in the namespace.
    pub unique_name: bool,
    /// How many live keys the owner may have, including the new one.
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

/// The condition of a commit that does not hold.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Conflict {
    /// There is no such credential in the tenant.
    #[error("no such key")]
    NotFound,
    /// The record was changed after it was read.
    #[error("the key was changed concurrently; read it again and retry")]
    Stale,
    /// The credential is revoked.
    #[error("the key is revoked")]
    Revoked,
    /// The new record names another owner.
    #[error("the owner of a key cannot change")]
    OtherOwner,
    /// The identifier is or was in use.
    #[error("the identifier is taken")]
    IdTaken,
    /// The owner has a live key of the name in the namespace.
    #[error("name: the owner has a key of this name in the namespace")]
    NameTaken,
    /// The owner has the maximum number of live keys.
    #[error(
        "the owner has as many keys in the namespace as the policy allows; revoke one, or raise keys_per_owner in the policy"
    )]
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
    /// The store knows nothing of the target: the name may be mistyped.
    #[error("no such {}", unknown_name(.0))]
    UnknownTarget(Target),
    /// The actor is not, or no longer, allowed to make the change.
    #[error(transparent)]
    Actor(ActorFault),
}

/// Why an actor may not make a change, as checked in the commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum ActorFault {
    /// Its credential does not exist or was deleted.
    #[error("the actor's credential does not exist")]
    Unknown,
    /// Its credential was revoked, individually or by a cutoff.
    #[error("the actor's credential is revoked")]
    Revoked,
    /// Its credential is disabled.
    #[error("the actor's credential is disabled")]
    Disabled,
    /// Its credential is not valid yet.
    #[error("the actor's credential is not valid yet")]
    NotYetValid,
    /// Its credential has expired, or legacy credentials are no longer accepted.
    #[error("the actor's credential is expired")]
    Expired,
    /// Its secret was replaced by a rotation, and the grace period is over; or the digest of the
    /// secret was replaced since the secret was verified.
    #[error("the secret of the actor's key was replaced")]
    Replaced,
    /// It was removed from the team.
    #[error("the actor was removed from the team")]
    Removed,
    /// Its key no longer has a required scope.
    #[error("the actor's key lacks a scope that the change requires")]
    MissingScope,
}

fn target_name(target: &Target) -> &'static str {
    match target {
        Target::Team(_) => "team",
        Target::Namespace(_) => "namespace",
        Target::Owner(..) => "owner",
    }
}

fn unknown_name(target: &Target) -> &'static str {
    match target {
        Target::Team(_) => "team",
        Target::Namespace(_) => "namespace in the team",
        Target::Owner(_, Owner::User(_)) => "person in the team",
        Target::Owner(_, Owner::Service(_)) => "service in the team",
    }
}

/// A page of the change feed.
#[derive(Clone, Debug, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Changes {
    /// The revision that the reader asked to start after.
    pub after: Revision,
    /// The hash of the event with revision `after`, as the store has it now: a reader that was there
    /// before sees whether the store has the same history. [`ChainHash::START`] for revision zero;
    /// `None` if the store has no such event.
    pub after_hash: Option<ChainHash>,
    /// The entries, in the order of their revisions.
    pub entries: Vec<Entry>,
    /// The revision to continue after. At the end of the feed, the reader knows everything up to
    /// it. Less than `after` only if the store itself is behind: it was restored from a backup, or
    /// it is another store.
    pub next_after: Revision,
    /// The hash of the event with revision `next_after`, with which the next page starts; `None` if
    /// the store has no such event.
    pub next_hash: Option<ChainHash>,
    /// Whether there are more entries.
    pub more: bool,
    /// The head of the store when the page was read. Its revision tells which of two pages is older.
    pub head: TrailHead,
}

impl Changes {
    /// How many entries a store reads for a part of `limit`: one more than the part has, which
    /// tells whether there are more.
    pub fn rows(limit: usize) -> usize {
        limit.max(1).saturating_add(1)
    }

    /// The store's last revision when the page was read.
    pub fn last_revision(&self) -> Revision {
        self.head.revision
    }

    /// The part of the feed after `after` that begins with these entries: the first `limit` of
    /// them. `head` is that of the store, and `hash_of` returns the hash of the event with a
    /// revision, both read at the same moment. It is not called for the head and for revision zero.
    ///
    /// # Errors
    ///
    /// An entry or a hash that is needed could not be read.
    pub fn first_of<E>(
        after: Revision,
        head: TrailHead,
        entries: impl IntoIterator<Item = Result<Entry, E>>,
        limit: usize,
        mut hash_of: impl FnMut(Revision) -> Result<Option<ChainHash>, E>,
    ) -> Result<Self, E> {
        let mut hash_at = |revision: Revision| match revision {
            Revision::ZERO => Ok(Some(ChainHash::START)),
            revision if revision == head.revision => Ok(Some(head.hash)),
            revision if revision > head.revision => Ok(None),
            revision => hash_of(revision),
        };
        let mut rest = entries.into_iter();
        let entries: Vec<Entry> = rest.by_ref().take(limit.max(1)).collect::<Result<_, E>>()?;
        let more = rest.next().transpose()?.is_some();
        let next_after = match entries.last() {
            Some(last) if more => last.revision,
            _ => head.revision,
        };
        Ok(Self {
            after,
            after_hash: hash_at(after)?,
            entries,
            next_after,
            next_hash: hash_at(next_after)?,
            more,
            head,
        })
    }
}

/// The state of an item at its last change.
#[derive(Clone, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Entry {
    /// The revision of its last change.
    pub revision: Revision,
    /// The state.
    pub item: Item,
}

/// An item of the change feed.
#[derive(Clone, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum Item {
    /// A key, without cutoffs applied: those are items themselves.
    Key(KeyRecord),
    /// The tombstone of a deleted key.
    KeyDeleted {
        /// The key.
        id: KeyId,
        /// The tenant that it belonged to.
        tenant: Tenant,
    },
    /// The cutoff of a team, a namespace, or an owner in a team.
    Cutoff(Cutoff),
    /// A legacy credential.
    Legacy(LegacyRecord),
    /// The policy for keys of a namespace, or the default policy.
    Policy(Option<Tenant>, Option<Policy>),
    /// The policy for legacy credentials of a namespace, or the default policy.
    LegacyPolicy(Option<Tenant>, Option<LegacyPolicy>),
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString;

    use super::*;
    use crate::name::{NamespaceId, ServiceId, TeamId, UserId};

    #[test]
    fn a_conflict_names_the_removed_target() {
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

    #[test]
    fn a_conflict_names_the_kind_of_an_unknown_target() {
        let team = || TeamId::new("acme").unwrap();
        let place = Tenant::new(team(), NamespaceId::new("fn-a").unwrap());
        let user = Owner::User(UserId::new("alice").unwrap());
        let service = Owner::Service(ServiceId::new("robot").unwrap());
        for (target, called) in [
            (Target::Team(team()), "team"),
            (Target::Namespace(place), "namespace in the team"),
            (Target::Owner(team(), user), "person in the team"),
            (Target::Owner(team(), service), "service in the team"),
        ] {
            let unknown = Conflict::UnknownTarget(target).to_string();
            assert_eq!(unknown, alloc::format!("no such {called}"));
        }
    }
}
