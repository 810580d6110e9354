//! The projection of the change feed for verification: what a gateway receives from a control plane.
//!
//! It has no names, labels, reasons, actors, audit events or usage, and no peppers. A digest in it
//! opens nothing: only a secret whose digest is equal does.

use alloc::vec::Vec;

use crate::{
    cutoff::Target,
    digest::KeyDigest,
    identity::{Owner, Tenant},
    key_id::KeyId,
    legacy::{LegacyId, LegacyPolicy, LegacyRecord},
    name::UserId,
    policy::Policy,
    record::{KeyRecord, PreviousSecret, Status},
    revision::Revision,
    scope::Scopes,
    store::{Changes, Entry, Item},
    timestamp::Timestamp,
    ttl::Ttl,
};

/// A page of the change feed as verification needs it: [`Changes`] without what only people and
/// control planes read.
#[derive(Clone, Debug, Default)]
pub struct ReplicaChanges {
    /// The revision that the page starts after.
    pub after: Revision,
    /// The entries, in the order of their revisions.
    pub entries: Vec<ReplicaEntry>,
    /// The revision to continue after. At the end of the feed, the reader knows everything up to it.
    pub next_after: Revision,
    /// Whether there are more entries.
    pub more: bool,
    /// The store's last revision when the page was read.
    pub last_revision: Revision,
}

impl From<&Changes> for ReplicaChanges {
    fn from(changes: &Changes) -> Self {
        Self {
            after: changes.after,
            entries: changes.entries.iter().map(ReplicaEntry::from).collect(),
            next_after: changes.next_after,
            more: changes.more,
            last_revision: changes.last_revision(),
        }
    }
}

/// The state of an item at its last change.
#[derive(Clone, Debug)]
pub struct ReplicaEntry {
    /// The revision of its last change.
    pub revision: Revision,
    /// The state.
    pub item: ReplicaItem,
}

impl From<&Entry> for ReplicaEntry {
    fn from(entry: &Entry) -> Self {
        Self {
            revision: entry.revision,
            item: ReplicaItem::from(&entry.item),
        }
    }
}

/// An item of the change feed as verification needs it.
#[derive(Clone, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum ReplicaItem {
    /// A key, without cutoffs applied.
    Key(ReplicaRecord),
    /// The tombstone of a deleted key.
    KeyDeleted {
        /// The key.
        id: KeyId,
        /// The tenant that it belonged to.
        tenant: Tenant,
    },
    /// The cutoff of a team, a namespace, or an owner in a team.
    Cutoff {
        /// The target.
        target: Target,
        /// Everything that was created in it at or before this revision is revoked.
        up_to: Revision,
    },
    /// A legacy credential.
    Legacy(ReplicaLegacy),
    /// The policy for keys of a namespace, or the default policy.
    Policy {
        /// The namespace; `None` for the default policy.
        tenant: Option<Tenant>,
        /// The policy; `None` if it was removed.
        policy: Option<ReplicaPolicy>,
    },
    /// The policy for legacy credentials of a namespace, or the default policy.
    LegacyPolicy {
        /// The namespace; `None` for the default policy.
        tenant: Option<Tenant>,
        /// The policy; `None` if it was removed.
        policy: Option<LegacyPolicy>,
    },
}

impl From<&Item> for ReplicaItem {
    fn from(item: &Item) -> Self {
        match item {
            Item::Key(record) => Self::Key(ReplicaRecord::from(record)),
            Item::KeyDeleted { id, tenant } => Self::KeyDeleted {
                id: *id,
                tenant: tenant.clone(),
            },
            Item::Cutoff(cutoff) => Self::Cutoff {
                target: cutoff.target.clone(),
                up_to: cutoff.up_to,
            },
            Item::Legacy(record) => Self::Legacy(ReplicaLegacy::from(record)),
            Item::Policy(tenant, policy) => Self::Policy {
                tenant: tenant.clone(),
                policy: policy.as_ref().map(ReplicaPolicy::from),
            },
            Item::LegacyPolicy(tenant, policy) => Self::LegacyPolicy {
                tenant: tenant.clone(),
                policy: policy.clone(),
            },
        }
    }
}

/// A key as verification needs it.
#[derive(Clone, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct ReplicaRecord {
    /// The public identifier.
    pub id: KeyId,
    /// The namespace that the key opens, and its team.
    pub tenant: Tenant,
    /// The owner of the key.
    pub owner: Owner,
    /// The scopes.
    pub scopes: Scopes,
    /// The digest of the secret, with the number of its pepper.
    pub digest: KeyDigest,
    /// The secret that the last rotation replaced, if it had a grace period.
    #[cfg_attr(
        feature = "serde",
        serde(default, skip_serializing_if = "Option::is_none")
    )]
    pub previous: Option<PreviousSecret>,
    /// When the secret was issued.
    #[cfg_attr(feature = "serde", serde(rename = "issued"))]
    pub issued_at: Timestamp,
    /// The first moment at which the key works; `None` for immediately.
    #[cfg_attr(
        feature = "serde",
        serde(default, skip_serializing_if = "Option::is_none")
    )]
    pub not_before: Option<Timestamp>,
    /// The first moment at which the key no longer works; `None` for no expiry.
    #[cfg_attr(
        feature = "serde",
        serde(rename = "expires", default, skip_serializing_if = "Option::is_none")
    )]
    pub expires_at: Option<Timestamp>,
    /// Whether it is active, disabled or revoked.
    #[cfg_attr(
        feature = "serde",
        serde(default, skip_serializing_if = "ReplicaStatus::is_active")
    )]
    pub status: ReplicaStatus,
    /// The revision at which the key was created, which a cutoff is compared with.
    #[cfg_attr(feature = "serde", serde(rename = "created"))]
    pub created_revision: Revision,
}

impl ReplicaRecord {
    /// The targets whose cutoffs apply to the key.
    pub fn targets(&self) -> [Target; 3] {
        let Tenant { team, .. } = &self.tenant;
        [
            Target::Team(team.clone()),
            Target::Namespace(self.tenant.clone()),
            Target::Owner(team.clone(), self.owner.clone()),
        ]
    }
}

impl From<&KeyRecord> for ReplicaRecord {
    fn from(record: &KeyRecord) -> Self {
        Self {
            id: record.id,
            tenant: record.tenant.clone(),
            owner: record.owner.clone(),
            scopes: record.scopes.clone(),
            digest: record.digest,
            previous: record.previous.clone(),
            issued_at: record.issued_at,
            not_before: record.not_before,
            expires_at: record.expires_at,
            status: match record.status {
                Status::Active => ReplicaStatus::Active,
                Status::Disabled => ReplicaStatus::Disabled,
                Status::Revoked(_) => ReplicaStatus::Revoked,
            },
            created_revision: record.created_revision,
        }
    }
}

/// The administrative status of a key, without who revoked it and why.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
pub enum ReplicaStatus {
    /// Neither disabled nor revoked.
    #[default]
    Active,
    /// Does not work until it is enabled again.
    Disabled,
    /// Permanently revoked.
    Revoked,
}

impl ReplicaStatus {
    /// Whether it is neither disabled nor revoked.
    #[cfg(feature = "serde")]
    #[expect(
        clippy::trivially_copy_pass_by_ref,
        reason = "serde passes a reference"
    )]
    fn is_active(&self) -> bool {
        *self == Self::Active
    }
}

/// A legacy credential as verification needs it.
#[derive(Clone, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct ReplicaLegacy {
    /// The public identifier.
    pub id: LegacyId,
    /// The namespace that it opens, and its team.
    pub tenant: Tenant,
    /// The `OpenWhisk` subject that it was issued to.
    pub subject: UserId,
    /// The digest of the credential.
    pub digest: KeyDigest,
    /// Whether the subject is blocked; the credential is then refused.
    #[cfg_attr(feature = "serde", serde(default))]
    pub blocked: bool,
    /// Whether the credential was revoked.
    #[cfg_attr(feature = "serde", serde(default))]
    pub revoked: bool,
    /// The revision at which it was imported, which a cutoff is compared with.
    #[cfg_attr(feature = "serde", serde(rename = "created"))]
    pub created_revision: Revision,
}

impl ReplicaLegacy {
    /// The targets whose cutoffs apply to the credential.
    pub fn targets(&self) -> [Target; 2] {
        [
            Target::Team(self.tenant.team.clone()),
            Target::Namespace(self.tenant.clone()),
        ]
    }
}

impl From<&LegacyRecord> for ReplicaLegacy {
    fn from(record: &LegacyRecord) -> Self {
        Self {
            id: record.id,
            tenant: record.tenant.clone(),
            subject: record.subject.clone(),
            digest: record.digest,
            blocked: record.blocked,
            revoked: record.revoked.is_some(),
            created_revision: record.created_revision,
        }
    }
}

/// The part of a policy that verification applies to existing keys.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct ReplicaPolicy {
    /// The maximum TTL.
    #[cfg_attr(
        feature = "serde",
        serde(default, skip_serializing_if = "Option::is_none")
    )]
    pub max_ttl: Option<Ttl>,
}

impl ReplicaPolicy {
    /// The first moment at which a secret issued at `issued_at` no longer works: its own expiry or
    /// the end of the maximum TTL, whichever is earlier.
    pub fn end_of_life(
        &self,
        issued_at: Timestamp,
        expires_at: Option<Timestamp>,
    ) -> Option<Timestamp> {
        let longest = self.max_ttl.map(|ttl| ttl.after(issued_at));
        match (expires_at, longest) {
            (Some(own), Some(longest)) => Some(own.min(longest)),
            (own, longest) => own.or(longest),
        }
    }
}

impl From<&Policy> for ReplicaPolicy {
    fn from(policy: &Policy) -> Self {
        Self {
            max_ttl: policy.max_ttl,
        }
    }
}
