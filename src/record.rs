//! The stored record of a key, and its public view.

use alloc::collections::BTreeMap;

use crate::{
    cutoff::{Cutoff, Target},
    digest::{KeyDigest, SecretTag},
    identity::{Actor, Owner, Tenant},
    key_id::KeyId,
    name::{KeyName, LabelName, LabelValue},
    policy::Policy,
    revision::Revision,
    revocation::Revocation,
    scope::Scopes,
    timestamp::Timestamp,
};

/// The stored record of a key: everything but the secret.
///
/// [`KeyInfo`] is the view without the digest, for people.
#[derive(Clone, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct KeyRecord {
    /// The public identifier.
    pub id: KeyId,
    /// The namespace that the key opens, and its team.
    pub tenant: Tenant,
    /// The owner of the key.
    pub owner: Owner,
    /// The name, as the owner gave it.
    pub name: KeyName,
    /// The labels.
    pub labels: Labels,
    /// The scopes.
    pub scopes: Scopes,
    /// The digest of the secret.
    pub digest: KeyDigest,
    /// The secret that the last rotation replaced, if it had a grace period.
    pub previous: Option<PreviousSecret>,
    /// When the key was created.
    pub created_at: Timestamp,
    /// Who created it.
    pub created_by: Actor,
    /// When the record last changed.
    pub updated_at: Timestamp,
    /// When the secret was issued: at creation or at the last rotation.
    pub issued_at: Timestamp,
    /// The first moment at which the key works; `None` for immediately.
    pub not_before: Option<Timestamp>,
    /// The first moment at which the key no longer works; `None` for no expiry.
    pub expires_at: Option<Timestamp>,
    /// Whether it is active, disabled or revoked.
    pub status: Status,
    /// The revision at which the key was created. Set by the store.
    pub created_revision: Revision,
    /// The revision at which the record last changed. Set by the store.
    pub revision: Revision,
}

impl KeyRecord {
    /// The first moment at which the key no longer works under `policy`: its own expiry or the end
    /// of the policy's maximum lifetime, whichever is earlier.
    pub fn expires_under(&self, policy: &Policy) -> Option<Timestamp> {
        policy.end_of_life(self.issued_at, self.expires_at)
    }

    /// The status at `now` under `policy`.
    pub fn effective_status(&self, now: Timestamp, policy: &Policy) -> EffectiveStatus {
        EffectiveStatus::of(
            &self.status,
            self.not_before,
            self.expires_under(policy),
            now,
        )
    }

    /// Whether a secret of the key works at `now`, apart from the status of the key: it is the
    /// current one, or the grace period of the last rotation runs.
    pub(crate) fn accepts(&self, secret: SecretTag, now: Timestamp, policy: &Policy) -> bool {
        let previous = self.previous.as_ref();
        self.digest.tag() == secret
            || previous.is_some_and(|previous| {
                previous.digest.tag() == secret && now < previous.expires_under(policy)
            })
    }

    /// Whether the key is neither revoked nor past its own expiry.
    ///
    /// Only live keys hold their name and count towards the limit of keys per owner.
    pub fn is_live(&self, now: Timestamp) -> bool {
        !self.is_revoked() && self.expires_at.is_none_or(|end| now < end)
    }

    /// The person or service that created the key for another owner.
    pub fn created_for_another_by(&self) -> Option<&Owner> {
        let creator = self.created_by.owner.as_ref();
        creator.filter(|creator| **creator != self.owner)
    }

    /// Whether the key is revoked.
    pub fn is_revoked(&self) -> bool {
        matches!(self.status, Status::Revoked(_))
    }

    /// The targets whose cutoffs apply to the key.
    pub fn targets(&self) -> [Target; 3] {
        let Tenant { team, .. } = &self.tenant;
        [
            Target::Team(team.clone()),
            Target::Namespace(self.tenant.clone()),
            Target::Owner(team.clone(), self.owner.clone()),
        ]
    }

    /// Applies the cutoffs of the key's team, namespace and owner: a record that is not revoked is
    /// marked as revoked by the earliest cutoff that covers its creation.
    ///
    /// Stores call this for every record that they return. Since no record is rewritten, the cost
    /// of removing an owner does not depend on the number of their keys.
    #[must_use]
    pub fn with_cutoffs<'a>(mut self, cutoffs: impl IntoIterator<Item = &'a Cutoff>) -> Self {
        if !self.is_revoked() {
            if let Some(revocation) = Cutoff::first_covering(cutoffs, self.created_revision) {
                self.status = Status::Revoked(revocation.clone());
            }
        }
        self
    }
}

/// A secret that a rotation replaced.
#[derive(Clone, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct PreviousSecret {
    /// The digest of the secret.
    pub digest: KeyDigest,
    /// When the secret was issued.
    pub issued_at: Timestamp,
    /// The first moment at which the secret no longer works, apart from the policy.
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

/// The administrative status of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
pub enum Status {
    /// Neither disabled nor revoked.
    Active,
    /// Does not work until it is enabled again.
    Disabled,
    /// Permanently revoked.
    Revoked(Revocation),
}

/// The status of a key at a moment, with expiry and validity taken into account.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum EffectiveStatus {
    /// The key works.
    Active,
    /// The key is not valid yet.
    NotYetValid,
    /// The key does not work until it is enabled again.
    Disabled,
    /// The key has expired.
    Expired,
    /// The key is permanently revoked.
    Revoked,
}

impl EffectiveStatus {
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
    /// The maximum number of labels of a key.
    pub const MAX: usize = 32;

    /// Creates an empty set of labels.
    pub const fn new() -> Self {
        Self(BTreeMap::new())
    }

    /// Adds a label or replaces its value.
    ///
    /// # Errors
    ///
    /// [`TooManyLabels`] for more than [`Labels::MAX`].
    pub fn with(mut self, name: LabelName, value: LabelValue) -> Result<Self, TooManyLabels> {
        self.0.insert(name, value);
        if self.0.len() > Self::MAX {
            return Err(TooManyLabels);
        }
        Ok(self)
    }

    /// Returns the value of a label.
    pub fn value(&self, name: &str) -> Option<&LabelValue> {
        self.0.get(name)
    }

    /// Iterates over the labels, sorted by name.
    pub fn iter(&self) -> impl Iterator<Item = (&LabelName, &LabelValue)> {
        self.0.iter()
    }

    /// Whether there are no labels.
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

/// A key was given more than 32 labels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("labels: more than 32")]
pub struct TooManyLabels;

/// The public view of a key, without secret and digest.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct KeyInfo {
    /// The public identifier.
    pub id: KeyId,
    /// The namespace that the key opens, and its team.
    pub tenant: Tenant,
    /// The owner of the key.
    pub owner: Owner,
    /// The name, as the owner gave it.
    pub name: KeyName,
    /// The labels.
    pub labels: Labels,
    /// The scopes.
    pub scopes: Scopes,
    /// When the key was created.
    pub created_at: Timestamp,
    /// Who created it.
    pub created_by: Actor,
    /// When it last changed.
    pub updated_at: Timestamp,
    /// When the secret was issued.
    pub issued_at: Timestamp,
    /// The first moment at which the key works.
    pub not_before: Option<Timestamp>,
    /// The first moment at which the key no longer works.
    pub expires_at: Option<Timestamp>,
    /// Until when the secret that the last rotation replaced works.
    pub previous_until: Option<Timestamp>,
    /// Whether it is active, disabled or revoked.
    pub status: Status,
    /// The revision at which it was created: its place in lists.
    #[cfg_attr(feature = "serde", serde(skip))]
    pub created_revision: Revision,
    /// The revision at which it last changed, for compare-and-swap.
    pub revision: Revision,
}

impl KeyInfo {
    /// The first moment at which the key no longer works under `policy`.
    pub fn expires_under(&self, policy: &Policy) -> Option<Timestamp> {
        policy.end_of_life(self.issued_at, self.expires_at)
    }

    /// The status at `now` under `policy`, which [`Keyring::policy`](crate::Keyring::policy)
    /// returns.
    pub fn effective_status(&self, now: Timestamp, policy: &Policy) -> EffectiveStatus {
        EffectiveStatus::of(
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
            created_revision: record.created_revision,
            revision: record.revision,
        }
    }
}

#[cfg(test)]
mod tests {
    use alloc::{format, vec::Vec};

    use super::*;
    use crate::revocation::RevocationCause;
    use crate::{
        digest::Peppers,
        format::KeyFormat,
        identity::Context,
        lifecycle::NewKey,
        name::{NamespaceId, TeamId, UserId},
        ttl::Ttl,
    };

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_unix(seconds)
    }

    fn context(seconds: i64) -> Context {
        Context::new(Actor::system(), at(seconds))
    }

    /// Returns a record whose key was created at 0, is valid from 10, and expires at 20.
    fn record() -> KeyRecord {
        let tenant = Tenant::new(
            TeamId::new("acme").unwrap(),
            NamespaceId::new("fn-a").unwrap(),
        );
        let owner = Owner::User(UserId::new("alice").unwrap());
        let new = NewKey::new(tenant, owner, KeyName::new("laptop").unwrap());
        let (record, _) = new
            .issue(
                &context(0),
                &Policy::default(),
                &KeyFormat::new("dof").unwrap(),
                &Peppers::none(),
                &crate::random::SystemRandom,
            )
            .unwrap();
        KeyRecord {
            not_before: Some(at(10)),
            expires_at: Some(at(20)),
            ..record
        }
    }

    fn labels(count: usize) -> Result<Labels, TooManyLabels> {
        (0..count).try_fold(Labels::new(), |labels, n| {
            let name = LabelName::new(&format!("l{n}")).unwrap();
            labels.with(name, LabelValue::new("old").unwrap())
        })
    }

    #[test]
    fn the_status_depends_on_the_time() {
        use EffectiveStatus::{Active, Disabled, Expired, NotYetValid, Revoked};

        let policy = Policy::default();
        for (record, expected) in [
            (record(), [NotYetValid, Active, Active, Expired]),
            (
                record().disabled(&context(0)).unwrap(),
                [Disabled, Disabled, Disabled, Expired],
            ),
            (record().revoked(&context(0)).unwrap(), [Revoked; 4]),
        ] {
            let moments = [9, 10, 19, 20].map(at);
            assert_eq!(
                moments.map(|now| record.effective_status(now, &policy)),
                expected
            );
            let info = KeyInfo::from(&record);
            assert_eq!(
                moments.map(|now| info.effective_status(now, &policy)),
                expected
            );
        }
    }

    #[test]
    fn a_lowered_maximum_ttl_makes_a_key_expire_earlier() {
        let policy = Policy {
            max_ttl: Some(Ttl::hours(1).unwrap()),
            ..Policy::default()
        };
        for (own, expected) in [(None, 3_600), (Some(at(3_599)), 3_599)] {
            let record = KeyRecord {
                expires_at: own,
                ..record()
            };
            let end = Some(at(expected));
            assert_eq!(record.expires_under(&policy), end);
            assert_eq!(KeyInfo::from(&record).expires_under(&policy), end);
        }
        for (until, expected) in [(3_599, 3_599), (3_601, 3_600)] {
            let previous = PreviousSecret {
                digest: record().digest,
                issued_at: at(0),
                until: at(until),
            };
            assert_eq!(previous.expires_under(&policy), at(expected));
        }
    }

    #[test]
    fn a_key_counts_as_live_until_it_expires() {
        let live = |record: &KeyRecord| [0, 19, 20, 21].map(|now| record.is_live(at(now)));
        assert_eq!(live(&record()), [true, true, false, false]);
        let endless = KeyRecord {
            expires_at: None,
            ..record()
        };
        assert_eq!(live(&endless), [true; 4]);
        assert_eq!(live(&endless.disabled(&context(0)).unwrap()), [true; 4]);
        assert_eq!(live(&record().revoked(&context(0)).unwrap()), [false; 4]);
    }

    #[test]
    fn a_second_revocation_does_not_replace_the_first() {
        let cut = |at: i64| {
            use crate::audit::{Action, AuditEntry};

            let event = AuditEntry::new(Action::AllRevoked, &context(at));
            let revision = Revision::new(at.unsigned_abs());
            Cutoff::new(&record().targets()[0], false, revision, &event)
        };
        let cutoffs = [cut(9), cut(7)];
        let read = |record: KeyRecord| match record.with_cutoffs(&cutoffs).status {
            Status::Revoked(revocation) => Some((revocation.cause, revocation.at)),
            Status::Active | Status::Disabled => None,
        };
        let created_revision = |revision| KeyRecord {
            created_revision: Revision::new(revision),
            ..record()
        };
        assert_eq!(
            read(created_revision(7)),
            Some((RevocationCause::Team, at(7)))
        );
        assert_eq!(read(created_revision(10)), None);
        let revoked = created_revision(7).revoked(&context(8)).unwrap();
        assert_eq!(read(revoked), Some((RevocationCause::Key, at(8))));
    }

    #[test]
    fn labels_are_bounded_sorted_and_can_be_replaced() {
        assert_eq!(labels(33), Err(TooManyLabels));
        let full = labels(32).unwrap();
        let [first, new] = ["l0", "new"].map(|text| LabelName::new(text).unwrap());
        let value = LabelValue::new("new").unwrap();
        let full = full.with(first, value.clone()).unwrap();
        assert_eq!(full.value("l0"), Some(&value));
        assert_eq!(full.value("l1").map(LabelValue::as_str), Some("old"));
        assert_eq!(full.value("new"), None);
        let names: Vec<&str> = full.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!((names.len(), &names[..3]), (32, &["l0", "l1", "l10"][..]));
        assert_eq!(full.with(new, value), Err(TooManyLabels));
        assert!(Labels::new().is_empty());
        assert!(!labels(1).unwrap().is_empty());
    }

    #[cfg(feature = "serde")]
    #[test]
    fn deserialising_enforces_the_limit_on_labels() {
        for count in [0, 31, 32] {
            let labels = labels(count).unwrap();
            let json = serde_json::to_string(&labels).unwrap();
            assert_eq!(serde_json::from_str::<Labels>(&json).unwrap(), labels);
        }
        let mut many = labels(32).unwrap();
        let name = LabelName::new("one-more").unwrap();
        many.0.insert(name, LabelValue::new("x").unwrap());
        let json = serde_json::to_string(&many).unwrap();
        assert!(serde_json::from_str::<Labels>(&json).is_err());
    }
}
