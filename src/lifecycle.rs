//! The life of a key as pure functions of record, context and randomness.

use ring::rand::SecureRandom;

use crate::{
    digest::{KeyDigest, Peppers},
    format::KeyFormat,
    identity::{Context, Owner, Tenant},
    issued::{IssuedKey, RandomError},
    name::KeyName,
    policy::Policy,
    presented::PresentedKey,
    record::{KeyRecord, Labels, PreviousSecret, Revocation, RevocationCause, Standing, Status},
    revision::Revision,
    scope::Scopes,
    timestamp::Timestamp,
    ttl::Ttl,
};

/// A key to be made.
///
/// # Examples
///
/// ```
/// use keyfob::{Expiry, KeyName, NamespaceId, NewKey, Owner, TeamId, Tenant, Ttl, UserId};
///
/// let tenant = Tenant::new(TeamId::new("acme")?, NamespaceId::new("fn-7c2d")?);
/// let new = NewKey::new(tenant, Owner::User(UserId::new("alice")?), KeyName::new("laptop")?)
///     .with_expiry(Expiry::In(Ttl::days(90)));
/// # let _ = new;
/// # Ok::<(), keyfob::NameError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewKey {
    /// The namespace that the key opens, and its team.
    pub tenant: Tenant,
    /// Whose key it is.
    pub owner: Owner,
    /// The name its owner gives it.
    pub name: KeyName,
    /// Free labels.
    pub labels: Labels,
    /// What it may be used for.
    pub scopes: Scopes,
    /// The first moment at which the key works; none for at once.
    pub not_before: Option<Timestamp>,
    /// When it ends.
    pub expiry: Expiry,
}

impl NewKey {
    /// A key with every scope, without labels, that never expires unless the policy says so.
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

    /// With these labels.
    #[must_use]
    pub fn with_labels(mut self, labels: Labels) -> Self {
        self.labels = labels;
        self
    }

    /// With these scopes.
    #[must_use]
    pub fn with_scopes(mut self, scopes: Scopes) -> Self {
        self.scopes = scopes;
        self
    }

    /// Ending so.
    #[must_use]
    pub fn with_expiry(mut self, expiry: Expiry) -> Self {
        self.expiry = expiry;
        self
    }

    /// Working from this moment on.
    #[must_use]
    pub fn with_not_before(mut self, start: impl Into<Timestamp>) -> Self {
        self.not_before = Some(start.into());
        self
    }

    /// Makes the record and the plain text of the key.
    ///
    /// # Errors
    ///
    /// - the policy does not allow this life -> [`LifecycleError`] says what it allows
    /// - `not_before` is not before the end -> [`LifecycleError::NeverValid`]
    /// - the source of randomness fails -> [`LifecycleError::Random`]
    pub fn issue(
        self,
        context: &Context,
        policy: &Policy,
        format: &KeyFormat,
        peppers: &Peppers,
        rng: &dyn SecureRandom,
    ) -> Result<(KeyRecord, IssuedKey), LifecycleError> {
        let now = context.now;
        let expires_at = self.expiry.end(now, policy)?;
        let key = IssuedKey::generate(format, rng)?;
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
            born: Revision::ZERO,
            revision: Revision::ZERO,
        };
        record.refuse_never_valid()?;
        Ok((record, key))
    }
}

/// When a key ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Expiry {
    /// Not of itself.
    #[default]
    Never,
    /// This long after it was made.
    In(Ttl),
    /// At this moment.
    At(Timestamp),
}

impl Expiry {
    /// The moment of the end, if `policy` allows it.
    fn end(self, now: Timestamp, policy: &Policy) -> Result<Option<Timestamp>, LifecycleError> {
        let end = match self {
            Self::Never if policy.expiry_required => return Err(LifecycleError::ExpiryRequired),
            Self::Never => return Ok(None),
            Self::In(ttl) => ttl.after(now),
            Self::At(end) => end,
        };
        let life = end.seconds_since(now);
        if life < policy.min_ttl.as_seconds() {
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

/// What to change about a key; what is `None` stays.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeyUpdate {
    /// A new name.
    pub name: Option<KeyName>,
    /// New labels in place of all the old ones.
    pub labels: Option<Labels>,
    /// New scopes in place of all the old ones.
    pub scopes: Option<Scopes>,
    /// An earlier end. A key's end cannot be put back: rotate it, or make another.
    pub expires_at: Option<Timestamp>,
}

/// How to rotate a key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rotation {
    /// For how many seconds the replaced secret goes on working, at most until its own end.
    pub grace_seconds: u64,
    /// A new end for the new secret, under the policy; none to keep the key's end.
    pub renew: Option<Expiry>,
}

impl KeyRecord {
    /// The record with these changes.
    ///
    /// # Errors
    ///
    /// - the key is revoked -> [`LifecycleError::Revoked`]
    /// - a later end than it has -> [`LifecycleError::ExpiryExtended`]
    /// - an end before its beginning -> [`LifecycleError::NeverValid`]
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

    /// The record of a key that does not work for now.
    ///
    /// # Errors
    ///
    /// The key is revoked -> [`LifecycleError::Revoked`].
    pub fn disabled(self, context: &Context) -> Result<Self, LifecycleError> {
        self.with_status(Status::Disabled, context)
    }

    /// The record of a key that works again.
    ///
    /// # Errors
    ///
    /// The key is revoked -> [`LifecycleError::Revoked`].
    pub fn enabled(self, context: &Context) -> Result<Self, LifecycleError> {
        self.with_status(Status::Active, context)
    }

    /// The record of a key that never works again.
    ///
    /// # Errors
    ///
    /// The key is revoked already -> [`LifecycleError::Revoked`]: the first revocation stands.
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

    /// The record under a new secret, and the new plain text; the identifier stays.
    ///
    /// The replaced secret works until the grace ends or until its own end, whichever comes
    /// first: a rotation never lengthens its life. A secret that an earlier rotation replaced
    /// stops working.
    ///
    /// # Errors
    ///
    /// - the key is revoked or expired -> [`LifecycleError::Revoked`], [`LifecycleError::Expired`]
    /// - more grace than the policy allows -> [`LifecycleError::GraceTooLong`]
    /// - the policy does not allow the new end -> as [`NewKey::issue`]
    /// - the source of randomness fails -> [`LifecycleError::Random`]
    pub fn rotated(
        mut self,
        rotation: &Rotation,
        context: &Context,
        policy: &Policy,
        format: &KeyFormat,
        peppers: &Peppers,
        rng: &dyn SecureRandom,
    ) -> Result<(Self, IssuedKey), LifecycleError> {
        let now = context.now;
        self.refuse_revoked()?;
        if self.standing(now, policy) == Standing::Expired {
            return Err(LifecycleError::Expired);
        }
        if rotation.grace_seconds > policy.max_grace_seconds {
            return Err(LifecycleError::GraceTooLong {
                max_seconds: policy.max_grace_seconds,
            });
        }
        let old_end = self.expires_under(policy).unwrap_or(Timestamp::MAX);
        let until = now.plus_seconds(rotation.grace_seconds).min(old_end);
        if let Some(expiry) = rotation.renew {
            self.expires_at = expiry.end(now, policy)?;
            self.refuse_never_valid()?;
        }
        let key = IssuedKey::with_id(format, self.id, rng)?;
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

    /// The record with the digest of its secret made anew under the current pepper.
    ///
    /// Only whoever presents the secret can bring this about: a digest cannot be turned into
    /// another.
    ///
    /// # Errors
    ///
    /// - the key is revoked -> [`LifecycleError::Revoked`]
    /// - `presented` is not this key with its current secret -> [`LifecycleError::OtherSecret`]
    pub fn repeppered(
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

/// A step in a key's life was refused; the record is as it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LifecycleError {
    /// The policy asks for an end.
    #[error("expires_in: the policy requires an expiry")]
    ExpiryRequired,
    /// The life is shorter than the policy allows.
    #[error("expires_in: shorter than the policy's minimum of {min}")]
    TtlTooShort {
        /// The shortest life.
        min: Ttl,
    },
    /// The life is longer than the policy allows.
    #[error("expires_in: longer than the policy's maximum of {max}")]
    TtlTooLong {
        /// The longest life.
        max: Ttl,
    },
    /// The key would end before it begins.
    #[error("not_before: the key would end before it begins")]
    NeverValid,
    /// An end can be brought forward, not put back.
    #[error("expires_at: the end of a key cannot be put back; rotate it or make another")]
    ExpiryExtended,
    /// More grace than the policy allows.
    #[error("grace: longer than the policy's maximum of {max_seconds} seconds")]
    GraceTooLong {
        /// The longest grace, in seconds.
        max_seconds: u64,
    },
    /// The key is revoked, for ever.
    #[error("the key is revoked")]
    Revoked,
    /// The key's time is over.
    #[error("the key is expired")]
    Expired,
    /// What was presented is not this key with its current secret.
    #[error("not the key's current secret")]
    OtherSecret,
    /// The source of randomness failed.
    #[error(transparent)]
    Random(#[from] RandomError),
}
