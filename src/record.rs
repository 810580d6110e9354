//! What a store keeps of a key.

use alloc::collections::BTreeMap;

use crate::{
    boundary::{Boundary, Realm},
    digest::KeyDigest,
    identity::{Actor, Owner, Tenant},
    key_id::KeyId,
    name::{KeyName, LabelName, LabelValue, Reason},
    policy::Policy,
    revision::Revision,
    scope::Scopes,
    timestamp::Timestamp,
};

/// A key as a store keeps it: everything but the secret.
///
/// People see [`KeyInfo`], which has no digest.
#[derive(Clone, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct KeyRecord {
    /// The public identifier.
    pub id: KeyId,
    /// The namespace that the key opens, and its team.
    pub tenant: Tenant,
    /// Whose key it is.
    pub owner: Owner,
    /// The name its owner gave it.
    pub name: KeyName,
    /// Free labels.
    pub labels: Labels,
    /// What it may be used for.
    pub scopes: Scopes,
    /// The digest of the secret.
    pub digest: KeyDigest,
    /// The secret before the last rotation, while it still works.
    pub previous: Option<PreviousSecret>,
    /// When the key was made.
    pub created_at: Timestamp,
    /// Who made it.
    pub created_by: Actor,
    /// When the record last changed.
    pub updated_at: Timestamp,
    /// When the secret was made: at creation, or at the last rotation.
    pub issued_at: Timestamp,
    /// The first moment at which the key works; none for at once.
    pub not_before: Option<Timestamp>,
    /// The first moment at which the key no longer works; none for never.
    pub expires_at: Option<Timestamp>,
    /// What has been decided about it.
    pub status: Status,
    /// The store's revision at which the key was created. Set by the store.
    pub born: Revision,
    /// The store's revision at which the record last changed. Set by the store.
    pub revision: Revision,
}

impl KeyRecord {
    /// The first moment at which the key no longer works under `policy`: its own end, or that of
    /// the policy's longest life, whichever comes first.
    pub fn expires_under(&self, policy: &Policy) -> Option<Timestamp> {
        policy.end_of_life(self.issued_at, self.expires_at)
    }

    /// What the key is good for at `now` under `policy`.
    pub fn standing(&self, now: Timestamp, policy: &Policy) -> Standing {
        Standing::of(
            &self.status,
            self.not_before,
            self.expires_under(policy),
            now,
        )
    }

    /// Whether the key still takes a name and a place: neither revoked nor past its own end.
    ///
    /// Stores judge by this whether a name is taken and how many keys an owner has.
    pub fn is_live(&self, now: Timestamp) -> bool {
        !self.is_revoked() && self.expires_at.is_none_or(|end| now < end)
    }

    /// Whether the key is revoked.
    pub fn is_revoked(&self) -> bool {
        matches!(self.status, Status::Revoked(_))
    }

    /// The realms whose cuts revoke the key.
    pub fn realms(&self) -> [Realm; 3] {
        let Tenant { team, .. } = &self.tenant;
        [
            Realm::Team(team.clone()),
            Realm::Namespace(self.tenant.clone()),
            Realm::Owner(team.clone(), self.owner.clone()),
        ]
    }

    /// The record as it reads behind these boundaries: revoked by the first cut after it was
    /// created, unless it was revoked before.
    ///
    /// Stores pass every record that they hand out through this with the boundaries of its
    /// team, its namespace and its owner. It is how leaving costs the same with one key and with
    /// a hundred thousand.
    #[must_use]
    pub fn behind<'a>(mut self, boundaries: impl IntoIterator<Item = &'a Boundary>) -> Self {
        if !self.is_revoked() {
            if let Some(revocation) = Boundary::first_cut(boundaries, self.born) {
                self.status = Status::Revoked(revocation.clone());
            }
        }
        self
    }
}

/// The secret that a rotation replaced.
#[derive(Clone, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct PreviousSecret {
    /// The digest of the secret.
    pub digest: KeyDigest,
    /// When the secret was made.
    pub issued_at: Timestamp,
    /// The first moment at which it no longer works; earlier under a lowered maximum.
    pub until: Timestamp,
}

impl PreviousSecret {
    /// The first moment at which the secret no longer works under `policy`.
    pub fn expires_under(&self, policy: &Policy) -> Timestamp {
        policy
            .end_of_life(self.issued_at, Some(self.until))
            .unwrap_or(self.until)
    }
}

/// What has been decided about a key.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
pub enum Status {
    /// It works.
    Active,
    /// It does not work for now.
    Disabled,
    /// It never works again.
    Revoked(Revocation),
}

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

/// What a key is good for at a moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum Standing {
    /// It works.
    Active,
    /// It will work.
    NotYetValid,
    /// It does not work for now.
    Disabled,
    /// Its time is over.
    Expired,
    /// It never works again.
    Revoked,
}

impl Standing {
    fn of(
        status: &Status,
        not_before: Option<Timestamp>,
        end: Option<Timestamp>,
        now: Timestamp,
    ) -> Self {
        match status {
            Status::Revoked(_) => Self::Revoked,
            _ if end.is_some_and(|end| end <= now) => Self::Expired,
            Status::Disabled => Self::Disabled,
            Status::Active if not_before.is_some_and(|start| now < start) => Self::NotYetValid,
            Status::Active => Self::Active,
        }
    }
}

/// Up to 32 labels of a key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize), serde(transparent))]
pub struct Labels(BTreeMap<LabelName, LabelValue>);

impl Labels {
    /// The most labels that one key has.
    pub const MAX: usize = 32;

    /// No labels.
    pub const fn new() -> Self {
        Self(BTreeMap::new())
    }

    /// Adds a label, or replaces its value.
    ///
    /// # Errors
    ///
    /// [`TooManyLabels`] if it would be more than [`Labels::MAX`].
    pub fn with(mut self, name: LabelName, value: LabelValue) -> Result<Self, TooManyLabels> {
        self.0.insert(name, value);
        if self.0.len() > Self::MAX {
            return Err(TooManyLabels);
        }
        Ok(self)
    }

    /// The value of a label.
    pub fn value(&self, name: &str) -> Option<&LabelValue> {
        self.0.get(name)
    }

    /// All labels, sorted by name.
    pub fn iter(&self) -> impl Iterator<Item = (&LabelName, &LabelValue)> {
        self.0.iter()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(feature = "serde")]
impl<'de> serde::Deserialize<'de> for Labels {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let labels = Self(BTreeMap::deserialize(deserializer)?);
        if labels.0.len() > Self::MAX {
            return Err(serde::de::Error::custom(TooManyLabels));
        }
        Ok(labels)
    }
}

/// More than 32 labels for one key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("labels: more than 32")]
pub struct TooManyLabels;

/// A key as people may see it: no secret, no digest.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct KeyInfo {
    /// The public identifier.
    pub id: KeyId,
    /// The namespace that the key opens, and its team.
    pub tenant: Tenant,
    /// Whose key it is.
    pub owner: Owner,
    /// The name its owner gave it.
    pub name: KeyName,
    /// Free labels.
    pub labels: Labels,
    /// What it may be used for.
    pub scopes: Scopes,
    /// When the key was made.
    pub created_at: Timestamp,
    /// Who made it.
    pub created_by: Actor,
    /// When anything about it last changed.
    pub updated_at: Timestamp,
    /// When the secret was made.
    pub issued_at: Timestamp,
    /// The first moment at which the key works.
    pub not_before: Option<Timestamp>,
    /// The first moment at which the key no longer works.
    pub expires_at: Option<Timestamp>,
    /// Until when the secret before the last rotation works.
    pub previous_until: Option<Timestamp>,
    /// What has been decided about it.
    pub status: Status,
    /// The store's revision at which it last changed, for compare-and-swap.
    pub revision: Revision,
}

impl KeyInfo {
    /// The first moment at which the key no longer works under `policy`.
    pub fn expires_under(&self, policy: &Policy) -> Option<Timestamp> {
        policy.end_of_life(self.issued_at, self.expires_at)
    }

    /// What the key is good for at `now` under `policy`, as
    /// [`Keyring::policy`](crate::Keyring::policy) gives it.
    pub fn standing(&self, now: Timestamp, policy: &Policy) -> Standing {
        Standing::of(
            &self.status,
            self.not_before,
            self.expires_under(policy),
            now,
        )
    }
}

impl From<&KeyRecord> for KeyInfo {
    fn from(record: &KeyRecord) -> Self {
        Self {
            id: record.id,
            tenant: record.tenant.clone(),
            owner: record.owner.clone(),
            name: record.name.clone(),
            labels: record.labels.clone(),
            scopes: record.scopes.clone(),
            created_at: record.created_at,
            created_by: record.created_by.clone(),
            updated_at: record.updated_at,
            issued_at: record.issued_at,
            not_before: record.not_before,
            expires_at: record.expires_at,
            previous_until: record.previous.as_ref().map(|previous| previous.until),
            status: record.status.clone(),
            revision: record.revision,
        }
    }
}
