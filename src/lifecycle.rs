//! Creation, update, rotation and revocation of keys, as pure functions.

use core::time::Duration;

use crate::{
    digest::{KeyDigest, Peppers},
    format::KeyFormat,
    identity::{Context, Owner, Tenant},
    issued::IssuedKey,
    name::{KeyName, NameError, ServiceId, UserId},
    policy::Policy,
    presented::PresentedKey,
    random::{Random, RandomError},
    record::{EffectiveStatus, KeyRecord, Labels, PreviousSecret, Status},
    revision::Revision,
    revocation::{Revocation, RevocationCause},
    scope::Scopes,
    timestamp::Timestamp,
    ttl::Ttl,
};

/// A request for a new key.
///
/// # Examples
///
/// ```
/// use keyfob::{NewKey, Ttl};
///
/// let new = NewKey::for_user("acme", "fn-7c2d", "alice", "laptop")?.expires_in(Ttl::days(90)?);
/// # let _ = new;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct NewKey {
    /// The namespace that the key opens, and its team.
    pub tenant: Tenant,
    /// The owner of the key.
    pub owner: Owner,
    /// The name, as the owner gives it.
    pub name: KeyName,
    /// The labels.
    pub labels: Labels,
    /// The scopes.
    pub scopes: Scopes,
    /// The first moment at which the key works; `None` for immediately.
    pub not_before: Option<Timestamp>,
    /// The expiry.
    pub expiry: Expiry,
}

impl NewKey {
    /// Creates a request for a key with all scopes, no labels and no expiry.
    pub fn new(tenant: Tenant, owner: Owner, name: KeyName) -> Self {
        Self {
            tenant,
            owner,
            name,
            labels: Labels::new(),
            scopes: Scopes::All,
            not_before: None,
            expiry: Expiry::Never,
        }
    }

    /// Creates a request for a person's key from the names of team, namespace, person and key.
    ///
    /// # Errors
    ///
    /// [`NameError`] names the invalid field.
    pub fn for_user(
        team: &str,
        namespace: &str,
        user: &str,
        name: &str,
    ) -> Result<Self, NameError> {
        let owner = Owner::User(UserId::new(user)?);
        let tenant = Tenant::parse(team, namespace)?;
        Ok(Self::new(tenant, owner, KeyName::new(name)?))
    }

    /// Creates a request for a service's key, as [`NewKey::for_user`] does for a person's.
    ///
    /// # Errors
    ///
    /// As [`NewKey::for_user`].
    pub fn for_service(
        team: &str,
        namespace: &str,
        service: &str,
        name: &str,
    ) -> Result<Self, NameError> {
        let owner = Owner::Service(ServiceId::new(service)?);
        let tenant = Tenant::parse(team, namespace)?;
        Ok(Self::new(tenant, owner, KeyName::new(name)?))
    }

    /// Sets the expiry to this long after creation.
    #[must_use]
    pub fn expires_in(self, ttl: Ttl) -> Self {
        self.with_expiry(Expiry::In(ttl))
    }

    /// Sets the expiry to this moment.
    #[must_use]
    pub fn expires_at(self, end: impl Into<Timestamp>) -> Self {
        self.with_expiry(Expiry::At(end.into()))
    }

    /// Sets the labels.
    #[must_use]
    pub fn with_labels(mut self, labels: Labels) -> Self {
        self.labels = labels;
        self
    }

    /// Sets the scopes.
    #[must_use]
    pub fn with_scopes(mut self, scopes: Scopes) -> Self {
        self.scopes = scopes;
        self
    }

    /// Sets the expiry.
    #[must_use]
    pub fn with_expiry(mut self, expiry: Expiry) -> Self {
        self.expiry = expiry;
        self
    }

    /// Sets the first moment at which the key works.
    #[must_use]
    pub fn with_not_before(mut self, start: impl Into<Timestamp>) -> Self {
        self.not_before = Some(start.into());
        self
    }

    /// Generates the record and the plain text of the key.
    ///
    /// # Errors
    ///
    /// - the policy does not allow the expiry -> [`LifecycleError`] with the limit
    /// - `not_before` is not before the expiry -> [`LifecycleError::NeverValid`]
    /// - the random source fails -> [`LifecycleError::Random`]
    pub fn issue(
        self,
        context: &Context,
        policy: &Policy,
        format: &KeyFormat,
        peppers: &Peppers,
        random: &dyn Random,
    ) -> Result<(KeyRecord, IssuedKey), LifecycleError> {
        let now = context.now;
        let expires_at = self.expiry.end(now, policy)?;
        let key = IssuedKey::generate(format, random)?;
        let record = KeyRecord {
            id: key.id(),
            tenant: self.tenant,
            owner: self.owner,
            name: self.name,
            labels: self.labels,
            scopes: self.scopes,
            digest: KeyDigest::of(&key, peppers),
            previous: None,
            created_at: now,
            created_by: context.actor.clone(),
            updated_at: now,
            issued_at: now,
            not_before: self.not_before,
            expires_at,
            status: Status::Active,
            created_revision: Revision::ZERO,
            revision: Revision::ZERO,
        };
        record.refuse_never_valid()?;
        Ok((record, key))
    }
}

/// The expiry of a key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Expiry {
    /// The key does not expire.
    #[default]
    Never,
    /// The key expires this long after it is created or rotated.
    In(Ttl),
    /// The key expires at this moment.
    At(Timestamp),
}

impl Expiry {
    /// The moment of expiry, if `policy` allows it.
    fn end(self, now: Timestamp, policy: &Policy) -> Result<Option<Timestamp>, LifecycleError> {
        let end = match self {
            Self::Never if policy.expiry_required => return Err(LifecycleError::ExpiryRequired),
            Self::Never => return Ok(None),
            Self::In(ttl) => ttl.after(now),
            Self::At(end) => end,
        };
        let life = end.seconds_since(now);
        if life == 0 {
            return Err(LifecycleError::ExpiryPast);
        }
        // The default minimum is the shortest `Ttl`. A time may be earlier, unless a policy sets a
        // longer minimum.
        if policy.min_ttl > Ttl::MIN && life < policy.min_ttl.as_seconds() {
            return Err(LifecycleError::TtlTooShort {
                min: policy.min_ttl,
            });
        }
        match policy.max_ttl {
            Some(max) if life > max.as_seconds() => Err(LifecycleError::TtlTooLong { max }),
            _ => Ok(Some(end)),
        }
    }
}

/// An update of a key. Fields that are `None` stay unchanged.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct KeyUpdate {
    /// A new name.
    pub name: Option<KeyName>,
    /// The labels that replace all existing ones.
    pub labels: Option<Labels>,
    /// The scopes that replace all existing ones.
    pub scopes: Option<Scopes>,
    /// An earlier expiry. An update cannot postpone the expiry; a rotation can.
    pub expires_at: Option<Timestamp>,
}

impl KeyUpdate {
    /// Creates an update that changes nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the new name.
    #[must_use]
    pub fn with_name(mut self, name: KeyName) -> Self {
        self.name = Some(name);
        self
    }

    /// Sets the labels that replace all existing ones.
    #[must_use]
    pub fn with_labels(mut self, labels: Labels) -> Self {
        self.labels = Some(labels);
        self
    }

    /// Sets the scopes that replace all existing ones.
    #[must_use]
    pub fn with_scopes(mut self, scopes: Scopes) -> Self {
        self.scopes = Some(scopes);
        self
    }

    /// Sets the earlier expiry.
    #[must_use]
    pub fn with_expires_at(mut self, end: impl Into<Timestamp>) -> Self {
        self.expires_at = Some(end.into());
        self
    }
}

/// The options of a rotation.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Rotation {
    /// How long the replaced secret still works, at most until its own expiry. Rounded down to
    /// whole seconds.
    pub grace: Duration,
    /// The expiry of the new secret, subject to the policy; `None` keeps the expiry that the key has
    /// under the policy.
    pub renew: Option<Expiry>,
    /// The new labels, in place of the old ones; `None` keeps them.
    pub labels: Option<Labels>,
}

impl Rotation {
    /// Creates a rotation without grace period, which keeps the key's expiry under the policy.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the grace period of the replaced secret.
    #[must_use]
    pub fn with_grace(mut self, grace: Duration) -> Self {
        self.grace = grace;
        self
    }

    /// Sets the new expiry.
    #[must_use]
    pub fn with_expiry(mut self, expiry: Expiry) -> Self {
        self.renew = Some(expiry);
        self
    }

    /// Replaces the labels, in the same commit.
    #[must_use]
    pub fn with_labels(mut self, labels: Labels) -> Self {
        self.labels = Some(labels);
        self
    }
}

impl KeyRecord {
    /// Applies an update.
    ///
    /// # Errors
    ///
    /// - the key is revoked -> [`LifecycleError::Revoked`]
    /// - the new expiry is later than the old one -> [`LifecycleError::ExpiryExtended`]
    /// - the new expiry is not after `not_before` -> [`LifecycleError::NeverValid`]
    pub fn updated(mut self, update: KeyUpdate, context: &Context) -> Result<Self, LifecycleError> {
        self.refuse_revoked()?;
        if let Some(end) = update.expires_at {
            if self.expires_at.is_some_and(|old| old < end) {
                return Err(LifecycleError::ExpiryExtended);
            }
            self.expires_at = Some(end);
            self.refuse_never_valid()?;
            if let Some(previous) = &mut self.previous {
                previous.until = previous.until.min(end);
            }
        }
        self.name = update.name.unwrap_or(self.name);
        self.labels = update.labels.unwrap_or(self.labels);
        self.scopes = update.scopes.unwrap_or(self.scopes);
        self.updated_at = context.now;
        Ok(self)
    }

    /// Disables the key.
    ///
    /// # Errors
    ///
    /// The key is revoked -> [`LifecycleError::Revoked`].
    pub fn disabled(self, context: &Context) -> Result<Self, LifecycleError> {
        self.with_status(Status::Disabled, context)
    }

    /// Enables the key.
    ///
    /// # Errors
    ///
    /// The key is revoked -> [`LifecycleError::Revoked`].
    pub fn enabled(self, context: &Context) -> Result<Self, LifecycleError> {
        self.with_status(Status::Active, context)
    }

    /// Revokes the key.
    ///
    /// # Errors
    ///
    /// The key is already revoked -> [`LifecycleError::Revoked`]; the first revocation is kept.
    pub fn revoked(self, context: &Context) -> Result<Self, LifecycleError> {
        let revocation = Revocation {
            at: context.now,
            by: context.actor.clone(),
            cause: RevocationCause::Key,
            reason: context.reason.clone(),
        };
        let mut record = self.with_status(Status::Revoked(revocation), context)?;
        record.previous = None;
        Ok(record)
    }

    /// Replaces the secret, and returns the record and the new plain text. The identifier stays the
    /// same.
    ///
    /// The replaced secret works until the grace period or its own expiry ends, whichever is
    /// earlier: a rotation never extends it. A secret that an earlier rotation replaced stops
    /// working. Without a new expiry, the new secret expires when the replaced one would have expired
    /// under the policy: a rotation alone does not make a key last longer than the maximum TTL.
    ///
    /// # Errors
    ///
    /// - the key is revoked or expired -> [`LifecycleError::Revoked`], [`LifecycleError::Expired`]
    /// - the grace period exceeds the policy's maximum -> [`LifecycleError::GraceTooLong`]
    /// - the policy does not allow the new expiry -> as [`NewKey::issue`]
    /// - the random source fails -> [`LifecycleError::Random`]
    pub fn rotated(
        mut self,
        rotation: &Rotation,
        context: &Context,
        policy: &Policy,
        format: &KeyFormat,
        peppers: &Peppers,
        random: &dyn Random,
    ) -> Result<(Self, IssuedKey), LifecycleError> {
        let now = context.now;
        self.refuse_revoked()?;
        if self.effective_status(now, policy) == EffectiveStatus::Expired {
            return Err(LifecycleError::Expired);
        }
        if rotation.grace > policy.max_grace {
            return Err(LifecycleError::GraceTooLong {
                max: policy.max_grace,
            });
        }
        let old_end = self.expires_under(policy);
        let until = now.plus_seconds(rotation.grace.as_secs());
        let until = old_end.map_or(until, |end| until.min(end));
        match rotation.renew {
            Some(expiry) => {
                self.expires_at = expiry.end(now, policy)?;
                self.refuse_never_valid()?;
            }
            // From now on the maximum TTL counts from the new secret.
            None => self.expires_at = old_end,
        }
        if let Some(labels) = &rotation.labels {
            self.labels = labels.clone();
        }
        let key = IssuedKey::with_id(format, self.id, random)?;
        self.previous = (now < until).then_some(PreviousSecret {
            digest: self.digest,
            issued_at: self.issued_at,
            until,
        });
        self.digest = KeyDigest::of(&key, peppers);
        self.issued_at = now;
        self.updated_at = now;
        Ok((self, key))
    }

    /// Replaces the digest with one under the current pepper.
    ///
    /// This needs the presented secret: one digest cannot be computed from another.
    ///
    /// # Errors
    ///
    /// - the key is revoked -> [`LifecycleError::Revoked`]
    /// - `presented` is not this key with its current secret -> [`LifecycleError::OtherSecret`]
    pub fn rehashed(
        mut self,
        presented: &PresentedKey<'_>,
        peppers: &Peppers,
        context: &Context,
    ) -> Result<Self, LifecycleError> {
        self.refuse_revoked()?;
        if presented.id() != self.id || !self.digest.matches(presented, peppers) {
            return Err(LifecycleError::OtherSecret);
        }
        self.digest = KeyDigest::of_presented(presented, peppers);
        self.updated_at = context.now;
        Ok(self)
    }

    fn with_status(mut self, status: Status, context: &Context) -> Result<Self, LifecycleError> {
        self.refuse_revoked()?;
        self.status = status;
        self.updated_at = context.now;
        Ok(self)
    }

    fn refuse_never_valid(&self) -> Result<(), LifecycleError> {
        match (self.not_before, self.expires_at) {
            (Some(start), Some(end)) if end <= start => Err(LifecycleError::NeverValid),
            _ => Ok(()),
        }
    }

    fn refuse_revoked(&self) -> Result<(), LifecycleError> {
        if self.is_revoked() {
            Err(LifecycleError::Revoked)
        } else {
            Ok(())
        }
    }
}

/// A creation or change of a key was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LifecycleError {
    /// The policy requires an expiry.
    #[error("expires_in: the policy requires an expiry")]
    ExpiryRequired,
    /// The expiry is not in the future.
    #[error("expires_at: the time is in the past")]
    ExpiryPast,
    /// The lifetime is shorter than the policy's minimum.
    #[error("expires_in: shorter than the policy's minimum of {min}")]
    TtlTooShort {
        /// The minimum lifetime.
        min: Ttl,
    },
    /// The lifetime is longer than the policy's maximum.
    #[error("expires_in: longer than the policy's maximum of {max}")]
    TtlTooLong {
        /// The maximum lifetime.
        max: Ttl,
    },
    /// The key would expire before it becomes valid.
    #[error("not_before: must be before the expiry")]
    NeverValid,
    /// The new expiry is later than the old one.
    #[error(
        "expires_at: must not be later than the current expiry; rotate the key or create another"
    )]
    ExpiryExtended,
    /// The grace period is longer than the policy's maximum.
    #[error("grace: longer than the policy's maximum of {} seconds", max.as_secs())]
    GraceTooLong {
        /// The maximum grace period.
        max: Duration,
    },
    /// The key is revoked.
    #[error("the key is revoked")]
    Revoked,
    /// The key is expired.
    #[error("the key is expired")]
    Expired,
    /// The presented credential is not this key with its current secret.
    #[error("not the key's current secret")]
    OtherSecret,
    /// The random source failed.
    #[error(transparent)]
    Random(#[from] RandomError),
}

#[cfg(test)]
mod tests {

    use super::*;
    use crate::{
        digest::PepperId,
        identity::Actor,
        name::{LabelName, LabelValue, NamespaceId, Reason, Scope, TeamId, UserId},
        random::SystemRandom,
    };

    const NOW: Timestamp = Timestamp::from_unix(1_800_000_000);
    const HOUR: u64 = 3_600;

    fn after(seconds: u64) -> Timestamp {
        NOW.plus_seconds(seconds)
    }

    /// Returns a context in which Alice acts, this many seconds after the key was created.
    fn at(seconds: u64) -> Context {
        Context::new(
            Actor::user(UserId::new("alice").unwrap()),
            NOW.plus_seconds(seconds),
        )
    }

    fn format() -> KeyFormat {
        KeyFormat::new("dof").unwrap()
    }

    fn new_key() -> NewKey {
        let tenant = Tenant::new(
            TeamId::new("acme").unwrap(),
            NamespaceId::new("fn-a").unwrap(),
        );
        let owner = Owner::User(UserId::new("alice").unwrap());
        NewKey::new(tenant, owner, KeyName::new("laptop").unwrap())
    }

    fn issue(new: NewKey, policy: &Policy) -> Result<KeyRecord, LifecycleError> {
        let issued = new.issue(&at(0), policy, &format(), &Peppers::none(), &SystemRandom);
        issued.map(|(record, _)| record)
    }

    /// Returns a record whose key expires this many seconds after it was created.
    fn expiring_in(seconds: u64) -> KeyRecord {
        let new = new_key().with_expiry(Expiry::At(after(seconds)));
        issue(new, &Policy::default()).unwrap()
    }

    fn rotate(
        record: KeyRecord,
        seconds: u64,
        rotation: &Rotation,
        policy: &Policy,
    ) -> Result<KeyRecord, LifecycleError> {
        let rotated = record.rotated(
            rotation,
            &at(seconds),
            policy,
            &format(),
            &Peppers::none(),
            &SystemRandom,
        );
        rotated.map(|(record, _)| record)
    }

    fn with_grace(grace_seconds: u64) -> Rotation {
        Rotation::new().with_grace(Duration::from_secs(grace_seconds))
    }

    fn one_label() -> Labels {
        let (name, value) = (LabelName::new("env"), LabelValue::new("test"));
        Labels::new().with(name.unwrap(), value.unwrap()).unwrap()
    }

    fn one_scope() -> Scopes {
        Scopes::only([Scope::new("read").unwrap()]).unwrap()
    }

    #[test]
    fn a_record_has_the_requested_fields() {
        let new = new_key()
            .with_labels(one_label())
            .with_scopes(one_scope())
            .with_not_before(after(5))
            .with_expiry(Expiry::In(Ttl::hours(2).unwrap()));
        let record = issue(new.clone(), &Policy::default()).unwrap();
        assert_eq!(
            (&record.tenant, &record.owner, &record.name),
            (&new.tenant, &new.owner, &new.name)
        );
        assert_eq!((record.labels, record.scopes), (one_label(), one_scope()));
        assert_eq!(
            (record.not_before, record.expires_at),
            (Some(after(5)), Some(after(2 * HOUR)))
        );
        assert_eq!(
            [record.created_at, record.updated_at, record.issued_at],
            [NOW; 3]
        );
        assert_eq!(record.created_by, at(0).actor);
        assert_eq!(record.status, Status::Active);
        assert!(record.previous.is_none());
    }

    #[test]
    fn a_rotation_without_a_new_expiry_keeps_the_end_under_the_policy() {
        let policy = Policy {
            max_ttl: Some(Ttl::hours(4).unwrap()),
            ..Policy::default()
        };
        let mut record = issue(new_key(), &Policy::default()).unwrap();
        for seconds in [HOUR, 2 * HOUR, 4 * HOUR - 1] {
            record = rotate(record, seconds, &with_grace(0), &policy).unwrap();
            assert_eq!(record.expires_under(&policy), Some(after(4 * HOUR)));
        }
        let late = rotate(record.clone(), 4 * HOUR, &with_grace(0), &policy);
        assert_eq!(late.unwrap_err(), LifecycleError::Expired);
        let renewed = Rotation::new().with_expiry(Expiry::In(Ttl::hours(4).unwrap()));
        let renewed = rotate(record, 4 * HOUR - 1, &renewed, &policy).unwrap();
        assert_eq!(renewed.expires_at, Some(after(8 * HOUR - 1)));
    }

    #[test]
    fn ttl_limits_are_exact_to_the_second() {
        let (min, max) = (Ttl::hours(2).unwrap(), Ttl::hours(4).unwrap());
        let policy = Policy {
            min_ttl: min,
            max_ttl: Some(max),
            expiry_required: true,
            ..Policy::default()
        };
        let end = |expiry| {
            let record = issue(new_key().with_expiry(expiry), &policy);
            record.map(|record| record.expires_at)
        };
        for (life, expected) in [
            (0, Err(LifecycleError::ExpiryPast)),
            (1, Err(LifecycleError::TtlTooShort { min })),
            (2 * HOUR - 1, Err(LifecycleError::TtlTooShort { min })),
            (2 * HOUR, Ok(Some(after(2 * HOUR)))),
            (4 * HOUR, Ok(Some(after(4 * HOUR)))),
            (4 * HOUR + 1, Err(LifecycleError::TtlTooLong { max })),
        ] {
            assert_eq!(end(Expiry::At(after(life))), expected);
        }
        assert_eq!(end(Expiry::In(max)), Ok(Some(after(4 * HOUR))));
        assert_eq!(end(Expiry::Never), Err(LifecycleError::ExpiryRequired));
        let free = issue(new_key(), &Policy::default()).unwrap();
        assert_eq!(free.expires_at, None);
        // Nobody set a minimum.
        let soon = new_key().with_expiry(Expiry::At(after(3)));
        let soon = issue(soon, &Policy::default()).unwrap();
        assert_eq!(soon.expires_at, Some(after(3)));
        let past = new_key().with_expiry(Expiry::At(Timestamp::from_unix(0)));
        let past = issue(past, &Policy::default());
        assert!(matches!(past, Err(LifecycleError::ExpiryPast)));
    }

    #[test]
    fn the_not_before_time_must_precede_the_expiry() {
        let policy = Policy::default();
        let from = |start| {
            let expiry = Expiry::In(Ttl::hours(2).unwrap());
            issue(
                new_key().with_not_before(after(start)).with_expiry(expiry),
                &policy,
            )
        };
        assert!(matches!(from(2 * HOUR), Err(LifecycleError::NeverValid)));
        let record = from(2 * HOUR - 1).unwrap();
        let renewed = |life| {
            let rotation = Rotation {
                grace: Duration::ZERO,
                renew: Some(Expiry::At(after(life))),
                labels: None,
            };
            rotate(record.clone(), 0, &rotation, &policy).map(|record| record.expires_at)
        };
        assert_eq!(
            renewed(2 * HOUR - 1),
            Err(LifecycleError::NeverValid),
            "a rotation enforces it too"
        );
        assert_eq!(renewed(3 * HOUR), Ok(Some(after(3 * HOUR))));
    }

    #[test]
    fn an_update_changes_only_the_named_fields() {
        let old = expiring_in(9 * HOUR);
        let same = old.clone().updated(KeyUpdate::default(), &at(1)).unwrap();
        assert_eq!(
            (same.name, same.labels, same.scopes, same.expires_at),
            (
                old.name.clone(),
                old.labels.clone(),
                old.scopes.clone(),
                old.expires_at
            )
        );
        assert_eq!((same.created_at, same.updated_at), (NOW, after(1)));
        let update = KeyUpdate {
            name: Some(KeyName::new("phone").unwrap()),
            labels: Some(one_label()),
            scopes: Some(one_scope()),
            expires_at: Some(after(8 * HOUR)),
        };
        let new = old.updated(update, &at(1)).unwrap();
        assert_eq!(
            (new.name.as_str(), new.labels, new.scopes, new.expires_at),
            ("phone", one_label(), one_scope(), Some(after(8 * HOUR)))
        );
    }

    #[test]
    fn an_earlier_expiry_applies_to_the_replaced_secret_too() {
        let policy = Policy::default();
        let record = rotate(expiring_in(9 * HOUR), 0, &with_grace(5 * HOUR), &policy).unwrap();
        let ends = |record: &KeyRecord, end| {
            let update = KeyUpdate {
                expires_at: Some(after(end)),
                ..KeyUpdate::default()
            };
            let updated = record.clone().updated(update, &at(0));
            updated.map(|record| (record.expires_at, record.previous.map(|old| old.until)))
        };
        assert_eq!(
            ends(&record, 9 * HOUR + 1),
            Err(LifecycleError::ExpiryExtended)
        );
        for (end, until) in [(9, 5), (6, 5), (3, 3)] {
            assert_eq!(
                ends(&record, end * HOUR),
                Ok((Some(after(end * HOUR)), Some(after(until * HOUR))))
            );
        }
        let without_expiry = issue(new_key(), &policy).unwrap();
        assert_eq!(
            ends(&without_expiry, HOUR),
            Ok((Some(after(HOUR)), None)),
            "a key without expiry can be given one"
        );
    }

    #[test]
    fn a_replaced_secret_expires_with_its_grace_period_or_earlier() {
        let policy = Policy {
            max_ttl: Some(Ttl::hours(12).unwrap()),
            max_grace: Duration::from_secs(10 * HOUR),
            ..Policy::default()
        };
        let until = |record: &KeyRecord, seconds, grace| {
            let rotated = rotate(record.clone(), seconds, &with_grace(grace), &policy);
            rotated.map(|record| {
                assert_eq!([record.issued_at, record.updated_at], [after(seconds); 2]);
                record.previous.map(|previous| {
                    assert_eq!(previous.issued_at, NOW);
                    previous.until
                })
            })
        };
        let record = expiring_in(11 * HOUR);
        assert_eq!(until(&record, 5, 0), Ok(None));
        assert_eq!(until(&record, 5, 1), Ok(Some(after(6))));
        assert_eq!(until(&record, 0, 10 * HOUR), Ok(Some(after(10 * HOUR))));
        assert_eq!(
            until(&record, 0, 10 * HOUR + 1),
            Err(LifecycleError::GraceTooLong {
                max: Duration::from_secs(10 * HOUR)
            })
        );
        assert_eq!(
            until(&record, 2 * HOUR, 10 * HOUR),
            Ok(Some(after(11 * HOUR))),
            "the key's own expiry"
        );
        let without_expiry = issue(new_key(), &Policy::default()).unwrap();
        assert_eq!(
            until(&without_expiry, 3 * HOUR, 10 * HOUR),
            Ok(Some(after(12 * HOUR))),
            "the expiry by policy"
        );
    }

    #[test]
    fn an_expired_key_cannot_be_rotated() {
        let policy = Policy::default();
        let rotated = |seconds| {
            let rotation = Rotation {
                grace: Duration::from_secs(HOUR),
                renew: Some(Expiry::Never),
                labels: None,
            };
            rotate(expiring_in(2 * HOUR), seconds, &rotation, &policy)
                .map(|record| record.expires_at)
        };
        assert_eq!(rotated(2 * HOUR - 1), Ok(None));
        assert_eq!(rotated(2 * HOUR), Err(LifecycleError::Expired));
    }

    #[test]
    fn a_revoked_key_cannot_be_changed() {
        let policy = Policy::default();
        let record = rotate(expiring_in(9 * HOUR), 0, &with_grace(HOUR), &policy).unwrap();
        let reason = Reason::new("lost").unwrap();
        let revoked = record
            .disabled(&at(1))
            .and_then(|record| record.revoked(&at(2).with_reason(reason.clone())))
            .unwrap();
        assert_eq!(
            revoked.status,
            Status::Revoked(Revocation {
                at: after(2),
                by: at(0).actor,
                cause: RevocationCause::Key,
                reason: Some(reason),
            })
        );
        assert!(revoked.previous.is_none());
        assert_eq!(revoked.updated_at, after(2));
        let record = || revoked.clone();
        for outcome in [
            record().updated(KeyUpdate::default(), &at(3)),
            record().disabled(&at(3)),
            record().enabled(&at(3)),
            record().revoked(&at(3)),
            rotate(record(), 3, &Rotation::default(), &policy),
        ] {
            assert!(matches!(outcome, Err(LifecycleError::Revoked)));
        }
    }

    #[test]
    fn a_disabled_key_can_be_enabled() {
        let disabled = expiring_in(HOUR).disabled(&at(1)).unwrap();
        assert_eq!(
            (&disabled.status, disabled.updated_at),
            (&Status::Disabled, after(1))
        );
        let enabled = disabled.enabled(&at(2)).unwrap();
        assert_eq!(
            (enabled.status, enabled.updated_at),
            (Status::Active, after(2))
        );
    }

    #[test]
    fn only_the_current_secret_can_be_rehashed() {
        let peppers = Peppers::none()
            .with_current(PepperId::new(1).unwrap(), &[1; 32])
            .unwrap();
        let (record, key) = new_key()
            .issue(
                &at(0),
                &Policy::default(),
                &format(),
                &Peppers::none(),
                &SystemRandom,
            )
            .unwrap();
        let rehashed = |key: &IssuedKey| {
            let record = record.clone();
            record.rehashed(&key.presented(), &peppers, &at(1))
        };
        let wrong_secret = IssuedKey::with_id(&format(), key.id(), &SystemRandom).unwrap();
        let stranger = IssuedKey::generate(&format(), &SystemRandom).unwrap();
        for other in [wrong_secret, stranger] {
            assert!(matches!(rehashed(&other), Err(LifecycleError::OtherSecret)));
        }
        let moved = rehashed(&key).unwrap();
        assert_eq!(moved.digest.pepper(), PepperId::new(1));
        assert!(moved.digest.matches(&key.presented(), &peppers));
        assert_eq!((moved.issued_at, moved.updated_at), (NOW, after(1)));
        let revoked = record.clone().revoked(&at(1)).unwrap();
        assert!(matches!(
            revoked.rehashed(&key.presented(), &peppers, &at(2)),
            Err(LifecycleError::Revoked)
        ));
    }
}
