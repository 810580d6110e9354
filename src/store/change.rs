//! What is asked of a store, and what it tells of its changes.

use alloc::vec::Vec;

use crate::{
    audit::AuditEntry,
    boundary::{Boundary, Realm},
    identity::Tenant,
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
    /// Keeps a new key; the store sets `born` and `revision`.
    ///
    /// - the identifier was ever used -> [`Conflict::IdTaken`]
    /// - the team, the namespace or the owner is closed -> [`Conflict::Closed`]
    /// - a live key of the namespace has the name, and names are unique -> [`Conflict::NameTaken`]
    /// - the owner has as many live keys in the namespace as allowed -> [`Conflict::TooManyKeys`]
    CreateKey {
        /// The key.
        record: KeyRecord,
        /// What the policy allows.
        limits: Limits,
    },
    /// Keeps a key's record in place of the one at revision `expected`; the store sets
    /// `revision` and keeps `born`.
    ///
    /// - no such key in the tenant -> [`Conflict::NotFound`]
    /// - it is revoked, by itself or by a boundary -> [`Conflict::Revoked`]
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
    /// Revokes whatever was created in a realm so far; with `close`, nothing can be created in
    /// it until it is opened. Without, a realm that is closed stays so.
    CutRealm {
        /// What to cut.
        realm: Realm,
        /// Whether to close it too.
        close: bool,
    },
    /// Opens a closed realm again; what was cut stays cut.
    ///
    /// - it is not closed -> [`Conflict::NotClosed`]
    OpenRealm {
        /// What to open.
        realm: Realm,
    },
    /// Keeps a legacy credential; the store sets `born` and `revision`.
    ///
    /// - its identifier was ever used -> [`Conflict::IdTaken`]
    /// - the team or the namespace is closed -> [`Conflict::Closed`]
    ImportLegacy {
        /// The credential.
        record: LegacyRecord,
    },
    /// Keeps a legacy credential's record in place of the one at revision `expected`.
    ///
    /// - no such credential in the tenant -> [`Conflict::NotFound`]
    /// - it is revoked, by itself or by a boundary -> [`Conflict::Revoked`]
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
    /// - the team is closed -> [`Conflict::Closed`]
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
    #[error("the {} was removed", realm_name(.0))]
    Closed(Realm),
    /// The realm is not closed.
    #[error("the {} was not removed", realm_name(.0))]
    NotClosed(Realm),
    /// The namespace belongs to another team.
    #[error("no such namespace in the team")]
    ForeignNamespace,
}

fn realm_name(realm: &Realm) -> &'static str {
    match realm {
        Realm::Team(_) => "team",
        Realm::Namespace(_) => "namespace",
        Realm::Owner(..) => "owner",
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
    /// Where to go on from; at the end of the feed, up to where the reader now knows everything.
    /// Before `after` only if the store itself is: it is another one, or was restored from a
    /// backup.
    pub upto: Revision,
    /// Whether there is more already.
    pub more: bool,
    /// The store's revision when this was read: what tells a reader which of two parts is older.
    pub head: Revision,
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
    /// A key. Boundaries come as items of their own and need not be worked in.
    Key(KeyRecord),
    /// A key that was deleted.
    KeyDeleted(KeyId),
    /// A cut through a team, a namespace or an owner's part of a team.
    Boundary(Boundary),
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
        for (realm, called) in [
            (Realm::Team(team()), "team"),
            (Realm::Namespace(place), "namespace"),
            (Realm::Owner(team(), alice), "owner"),
        ] {
            let closed = Conflict::Closed(realm.clone()).to_string();
            assert_eq!(closed, alloc::format!("the {called} was removed"));
            let open = Conflict::NotClosed(realm).to_string();
            assert_eq!(open, alloc::format!("the {called} was not removed"));
        }
    }
}
