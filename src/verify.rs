//! The decision: whose key is this, and may it enter this namespace, now?

use alloc::sync::Arc;

use crate::{
    authorization::{self, HeaderBuffer, Scheme},
    credential::{Credential, CredentialId},
    denied::{Denied, DenyReason},
    digest::{Lanes, Peppers, key_lanes, legacy_lanes, same},
    format::KeyFormat,
    index::{Grant, Index, Row, Tail},
    legacy::PresentedLegacy,
    name::Scope,
    presented::PresentedKey,
    principal::Principal,
    timestamp::Timestamp,
    usage::{Usage, UsageRecorder},
};

/// Verifies credentials against an [`Index`]: a plain function of credential, wish and time,
/// without I/O, allocation or lock.
///
/// # Security
///
/// - Digests are compared in constant time. An unknown key costs the same work as a wrong secret
///   (but while keys are moved from one pepper to another, or to the first).
/// - What is wrong with a key (revoked, expired, another namespace) is only decided after its
///   secret matched.
/// - [`Denied`] reads the same whatever the reason was; [`Denied::reason`] is for logs.
///
/// # Examples
///
/// ```
/// use std::sync::Arc;
///
/// use keyfob::{
///     Access, Actor, Context, Index, KeyFormat, KeyName, Keyring, NamespaceId, NewKey, Owner,
///     TeamId, Tenant, Timestamp, UserId, store::MemoryStore, wait,
/// };
///
/// let format = KeyFormat::new("dof")?;
/// let index = Arc::new(Index::new());
/// let keyring = Keyring::new(MemoryStore::new(), format).with_index(Arc::clone(&index));
/// let verifier = keyring.verifier(index);
///
/// let now = Timestamp::from_unix(1_800_000_000);
/// let alice = UserId::new("alice")?;
/// let tenant = Tenant::new(TeamId::new("acme")?, NamespaceId::new("fn-7c2d")?);
/// let new = NewKey::new(tenant, Owner::User(alice.clone()), KeyName::new("laptop")?);
/// let (key, _info) = wait(keyring.create(&Context::new(Actor::user(alice), now), new))?;
///
/// let header = format!("Bearer {}", key.expose());
/// let fields = [header.as_bytes()]; // all `Authorization` fields of the request
/// let principal = verifier.verify_fields(fields, &Access::to("fn-7c2d"), now)?;
/// assert_eq!(principal.owner().map(Owner::as_str), Some("alice"));
/// assert!(verifier.verify_fields(fields, &Access::to("other"), now).is_err());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct Verifier {
    index: Arc<Index>,
    format: KeyFormat,
    peppers: Peppers,
    usage: Option<Arc<UsageRecorder>>,
}

impl Verifier {
    /// Verifies keys of this format against this index.
    pub fn new(index: Arc<Index>, format: KeyFormat) -> Self {
        Self {
            index,
            format,
            peppers: Peppers::none(),
            usage: None,
        }
    }

    /// With these peppers.
    #[must_use]
    pub fn with_peppers(mut self, peppers: Peppers) -> Self {
        self.peppers = peppers;
        self
    }

    /// Recording usage here.
    #[must_use]
    pub fn with_usage(mut self, usage: Arc<UsageRecorder>) -> Self {
        self.usage = Some(usage);
        self
    }

    /// Judges the value of an `Authorization` header field.
    ///
    /// # Security
    ///
    /// For a caller who knows that the request has the field once. Taking the first of several
    /// lets a proxy in front judge another one: [`Verifier::verify_fields`] refuses them.
    ///
    /// # Errors
    ///
    /// [`Denied`], for whatever reason.
    #[inline]
    pub fn verify_header(
        &self,
        value: &[u8],
        access: &Access<'_>,
        now: impl Into<Timestamp>,
    ) -> Result<Principal<'_>, Denied> {
        let mut buffer = HeaderBuffer::new();
        let (scheme, text) = authorization::text(value, &mut buffer)?;
        match PresentedKey::read(&self.format, text) {
            Some(key) => self.judge(now.into(), |now| self.verify_key(&key, access, now)),
            None if scheme == Scheme::Basic => self.verify_other(text, access, now.into()),
            None => Err(Denied::unknown(DenyReason::Malformed)),
        }
    }

    /// Judges all values of a request's `Authorization` header field, of which there must be one:
    /// the way in for a gateway.
    ///
    /// # Errors
    ///
    /// [`Denied`], for whatever reason.
    pub fn verify_fields<'v>(
        &self,
        values: impl IntoIterator<Item = &'v [u8]>,
        access: &Access<'_>,
        now: impl Into<Timestamp>,
    ) -> Result<Principal<'_>, Denied> {
        self.verify_header(authorization::only(values)?, access, now)
    }

    /// Judges a credential's text.
    ///
    /// # Errors
    ///
    /// [`Denied`], for whatever reason.
    #[inline]
    pub fn verify_text(
        &self,
        text: &[u8],
        access: &Access<'_>,
        now: impl Into<Timestamp>,
    ) -> Result<Principal<'_>, Denied> {
        match PresentedKey::read(&self.format, text) {
            Some(key) => self.judge(now.into(), |now| self.verify_key(&key, access, now)),
            None => self.verify_other(text, access, now.into()),
        }
    }

    /// Judges a credential that was read before.
    ///
    /// # Errors
    ///
    /// [`Denied`], for whatever reason.
    #[inline]
    pub fn verify(
        &self,
        credential: &Credential<'_>,
        access: &Access<'_>,
        now: impl Into<Timestamp>,
    ) -> Result<Principal<'_>, Denied> {
        self.judge(now.into(), |now| match credential {
            Credential::Key(key) => self.verify_key(key, access, now),
            Credential::Legacy(legacy) => self.verify_legacy(legacy, access, now),
        })
    }

    /// Judges a text that has not the shape of a key.
    #[cold]
    fn verify_other(
        &self,
        text: &[u8],
        access: &Access<'_>,
        now: Timestamp,
    ) -> Result<Principal<'_>, Denied> {
        match PresentedLegacy::parse(text) {
            Ok(legacy) => self.judge(now, |now| self.verify_legacy(&legacy, access, now)),
            Err(_) => Err(Denied::unknown(DenyReason::Malformed)),
        }
    }

    /// What comes before and after every verdict: the clock, and the count.
    #[inline]
    fn judge<'i>(
        &'i self,
        now: Timestamp,
        verdict: impl FnOnce(Timestamp) -> Result<Principal<'i>, Denied>,
    ) -> Result<Principal<'i>, Denied> {
        if !self.index.is_ready() {
            return Err(Denied::unknown(DenyReason::NotReady));
        }
        let now = self.index.ratchet(now);
        let verdict = verdict(now);
        if let Some(usage) = &self.usage {
            record(usage, &verdict, now);
        }
        verdict
    }

    #[inline]
    fn verify_key(
        &self,
        key: &PresentedKey<'_>,
        access: &Access<'_>,
        now: Timestamp,
    ) -> Result<Principal<'_>, Denied> {
        let found = self.index.key(key.id());
        let row = found.unwrap_or_else(|| self.nobody());
        let tail = Tail(row.tail);
        let pepper = self.peppers.find(tail.pepper());
        let lanes = key_lanes(key, pepper.unwrap_or_default());
        let current = bool::from(same(&lanes, &row.digest)) && found.is_some() && pepper.is_ok();
        let (end, replaced) = if current {
            (tail.end(), false)
        } else {
            let previous = self.previous_secret(key, &row, &lanes, found.is_some());
            let until = previous.map_err(|denied| match pepper {
                Ok(_) => denied,
                Err(_) => Denied::unknown(DenyReason::PepperMissing),
            })?;
            (Some(tail.end().map_or(until, |end| end.min(until))), true)
        };

        // From here on the secret has matched, and its holder may be told apart from others.
        let credential = CredentialId::Key(key.id());
        let deny = |reason| Err(Denied::known(reason, credential));
        let grant = self.grant(&row, credential)?;
        if tail.has(Tail::NOT_BEFORE) {
            let extra = self.index.extra(key.id());
            let start = extra.map(|extra| Tail::unpack_time(extra.payload));
            if start.is_none_or(|start| now < start) {
                return deny(DenyReason::NotYetValid);
            }
        }
        if end.is_some_and(|end| end <= now) {
            return deny(if replaced && tail.end().is_none_or(|end| now < end) {
                DenyReason::Replaced
            } else {
                DenyReason::Expired
            });
        }
        access.check(grant, credential)?;
        let outdated = !replaced && tail.pepper() != self.peppers.current_id();
        Ok(Principal::new(credential, grant, end).with_flags(replaced, outdated))
    }

    /// When the previous secret of a key ends, if that is what was presented.
    ///
    /// An unknown key, a wrong secret and a key that was never rotated take the same way.
    #[cold]
    fn previous_secret(
        &self,
        key: &PresentedKey<'_>,
        row: &Row,
        lanes: &Lanes,
        known: bool,
    ) -> Result<Timestamp, Denied> {
        let found = self.index.extra(key.id());
        let extra = found.unwrap_or_else(|| self.nobody());
        let tail = Tail(extra.tail);
        let has_previous = found.is_some() && tail.has(Tail::PREVIOUS);
        let matches = if !has_previous || tail.pepper() == Tail(row.tail).pepper() {
            bool::from(same(lanes, &extra.digest))
        } else {
            // While peppers change, the two secrets of a rotated key may be under different ones.
            match self.peppers.find(tail.pepper()) {
                Ok(pepper) => bool::from(same(&key_lanes(key, pepper), &extra.digest)),
                Err(_) => false,
            }
        };
        // Looked at for every refusal alike, or its absence would tell which keys exist.
        let well_formed = self.format.checksum_fits(key.secret());
        match tail.end() {
            Some(until) if matches && has_previous && known => Ok(until),
            _ if !well_formed => Err(Denied::unknown(DenyReason::Mistyped)),
            _ if known => Err(Denied::unknown(DenyReason::WrongSecret)),
            _ => Err(Denied::unknown(DenyReason::UnknownKey)),
        }
    }

    fn verify_legacy(
        &self,
        legacy: &PresentedLegacy<'_>,
        access: &Access<'_>,
        now: Timestamp,
    ) -> Result<Principal<'_>, Denied> {
        let found = self.index.legacy(legacy.id());
        let row = found.unwrap_or_else(|| self.nobody());
        let tail = Tail(row.tail);
        let pepper = self.peppers.find(tail.pepper());
        let lanes = legacy_lanes(legacy, pepper.unwrap_or_default());
        if pepper.is_err() {
            return Err(Denied::unknown(DenyReason::PepperMissing));
        }
        if !(bool::from(same(&lanes, &row.digest)) && found.is_some()) {
            return Err(Denied::unknown(if found.is_some() {
                DenyReason::WrongSecret
            } else {
                DenyReason::UnknownKey
            }));
        }
        let credential = CredentialId::Legacy(legacy.id());
        let grant = self.grant(&row, credential)?;
        let policy = self.index.legacy_policy(grant);
        if !policy.accepts(now) {
            return Err(Denied::known(DenyReason::LegacyOff, credential));
        }
        access.check(grant, credential)?;
        Ok(Principal::new(credential, grant, policy.sunset()))
    }

    /// What a row grants, unless it was revoked or switched off.
    #[inline]
    fn grant(&self, row: &Row, credential: CredentialId) -> Result<&Grant, Denied> {
        let tail = Tail(row.tail);
        match self.index.grant(row) {
            Some(grant) if !tail.has(Tail::REVOKED) && !grant.is_ended() => {
                if tail.has(Tail::DISABLED) {
                    Err(Denied::known(DenyReason::Disabled, credential))
                } else {
                    Ok(grant)
                }
            }
            _ => Err(Denied::known(DenyReason::Revoked, credential)),
        }
    }

    /// What stands in for a key that does not exist, so that it costs the same.
    #[inline]
    fn nobody(&self) -> Row {
        let pepper = self
            .peppers
            .current_id()
            .map_or(0, |id| u64::from(id.get()));
        Row {
            high: 0,
            low: 0,
            digest: [0; 4],
            payload: 0,
            tail: pepper << 40,
        }
    }
}

/// What a caller wants to enter, and what it wants to do there.
#[derive(Clone, Copy, Debug)]
pub struct Access<'a> {
    namespace: Option<&'a str>,
    scopes: &'a [Scope],
}

impl<'a> Access<'a> {
    /// Access to a namespace, whatever the key's scopes: see [`Access::requiring`].
    #[inline]
    pub const fn to(namespace: &'a str) -> Self {
        Self {
            namespace: Some(namespace),
            scopes: &[],
        }
    }

    /// Access to whichever namespace the credential opens, as `OpenWhisk`'s `_` asks for: use
    /// [`Principal::namespace`] for everything that follows.
    #[inline]
    pub const fn to_own_namespace() -> Self {
        Self {
            namespace: None,
            scopes: &[],
        }
    }

    /// Needing every one of these scopes.
    #[inline]
    #[must_use]
    pub const fn requiring(mut self, scopes: &'a [Scope]) -> Self {
        self.scopes = scopes;
        self
    }

    #[inline]
    fn check(&self, grant: &Grant, credential: CredentialId) -> Result<(), Denied> {
        if self
            .namespace
            .is_some_and(|wanted| wanted != grant.tenant.namespace.as_str())
        {
            return Err(Denied::known(DenyReason::WrongNamespace, credential));
        }
        if !grant.scopes.contain(self.scopes) {
            return Err(Denied::known(DenyReason::MissingScope, credential));
        }
        Ok(())
    }
}

fn record(recorder: &UsageRecorder, verdict: &Result<Principal<'_>, Denied>, now: Timestamp) {
    match verdict {
        Ok(principal) => recorder.record(&Usage::accepted(principal.credential(), now)),
        Err(denied) => {
            if let Some(credential) = denied.credential() {
                recorder.record(&Usage::refused(credential));
            }
        }
    }
}
