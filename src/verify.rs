//! The decision: whose key is this, and may it enter this namespace, now?

use alloc::sync::Arc;

use subtle::{Choice, ConditionallySelectable};

use crate::{
    authorization::{self, FastEngine, HeaderBuffer, Scheme},
    credential::{Credential, CredentialId},
    denied::{Denied, DenyReason},
    digest::{KeyBlock, Lanes, Peppers, difference, is_zero, key_lanes, legacy_lanes, same},
    format::KeyFormat,
    index::{End, Granted, Index, Namespace, Place, Row, Seen, Tail},
    key_id::KeyId,
    legacy::PresentedLegacy,
    name::Scope,
    presented::PresentedKey,
    principal::{Principal, SecretStanding},
    timestamp::Timestamp,
    usage::{Usage, UsageRecorder},
};

/// Verifies credentials against an [`Index`]: a plain function of credential, wish and time,
/// without I/O, allocation or lock.
///
/// # Security
///
/// - Digests are compared in constant time. An unknown key takes the same instructions as a wrong
///   secret (but for a hash while keys are moved from one pepper to another, or to the first).
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
    engine: FastEngine,
}

impl Verifier {
    /// Verifies keys of this format against this index.
    pub fn new(index: Arc<Index>, format: KeyFormat) -> Self {
        Self {
            index,
            format,
            peppers: Peppers::none(),
            usage: None,
            engine: authorization::fast_engine(),
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
        match authorization::split(value)? {
            (Scheme::Basic, encoded) => self.verify_basic(encoded, access, now.into()),
            (Scheme::Bearer, text) => match self.read(text) {
                Some((key, place)) => self.verify_key(&key, place, access, now.into()),
                None => Err(Denied::unknown(DenyReason::Malformed)),
            },
        }
    }

    fn verify_basic(
        &self,
        encoded: &[u8],
        access: &Access<'_>,
        now: Timestamp,
    ) -> Result<Principal<'_>, Denied> {
        if !authorization::has_length_of_credential(&self.format, encoded) {
            return Err(Denied::unknown(DenyReason::Malformed));
        }
        let mut buffer = HeaderBuffer::new();
        let text = authorization::decode(&self.engine, encoded, &mut buffer)?;
        self.verify_text(text, access, now)
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
        match self.read(text) {
            Some((key, place)) => self.verify_key(&key, place, access, now.into()),
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
        match credential {
            Credential::Key(key) => {
                let place = self.index.place_of_key(key.id());
                self.verify_key(key, place, access, now.into())
            }
            Credential::Legacy(legacy) => self.verify_legacy(legacy, access, now.into()),
        }
    }

    /// Reads a key, and asks for its line before: that is the longest wait of all.
    #[expect(clippy::inline_always, reason = "as `verify_key`")]
    #[inline(always)]
    fn read<'t>(&self, text: &'t [u8]) -> Option<(PresentedKey<'t>, Place<'_>)> {
        let place = self.index.place_of_digits(self.format.digits(text)?);
        let key = PresentedKey::read(&self.format, text)?;
        Some((key, place))
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
            Ok(legacy) => self.verify_legacy(&legacy, access, now),
            Err(_) => Err(Denied::unknown(DenyReason::Malformed)),
        }
    }

    /// The time to judge by, once there is something to judge by.
    #[inline]
    fn begin(&self, now: Timestamp) -> Result<Timestamp, Denied> {
        if self.index.is_ready() {
            Ok(self.index.ratchet(now))
        } else {
            Err(Denied::unknown(DenyReason::NotReady))
        }
    }

    /// The digest comes first, the line of the key after it: the line was asked for when `place`
    /// was made and is there by then, and the digest's inputs need not wait until it has come.
    #[expect(
        clippy::inline_always,
        reason = "a verdict that is returned through memory stalls"
    )]
    #[inline(always)]
    fn verify_key(
        &self,
        key: &PresentedKey<'_>,
        place: Place<'_>,
        access: &Access<'_>,
        now: Timestamp,
    ) -> Result<Principal<'_>, Denied> {
        let now = self.begin(now)?;
        let lanes = KeyBlock::new(key).lanes(self.peppers.current());
        let (high, low) = key.id().halves();
        if let Some(seen) = place.look(high, low) {
            let tail = Tail(seen.row.tail);
            let pepper = tail.pepper_number() ^ self.peppers.current_number();
            let wrong = difference(&lanes, &seen.row.digest) | seen.strange | u64::from(pepper);
            // The verdict, public from here on.
            if bool::from(is_zero(wrong)) {
                let standing = SecretStanding::Current;
                return self.admit(key.id(), &seen.row, (tail.end(), standing), access, now);
            }
        }
        self.verify_otherwise(key, in_registers(lanes), access, now)
    }

    /// Judges what is not the current secret under the current pepper.
    ///
    /// An unknown key, a wrong secret and a key that was never rotated take the same way.
    #[cold]
    fn verify_otherwise(
        &self,
        key: &PresentedKey<'_>,
        lanes: (u128, u128),
        access: &Access<'_>,
        now: Timestamp,
    ) -> Result<Principal<'_>, Denied> {
        let (row, found) = self.row_of(self.index.key(key.id()));
        let tail = Tail(row.tail);
        let mut lanes = in_memory(lanes);
        let mut pepper_is_missing = false;
        if tail.pepper_number() != self.peppers.current_number() {
            match self.lanes_under(key, tail) {
                Some(outdated) => lanes = outdated,
                None => pepper_is_missing = true,
            }
        }
        let matches = same(&lanes, &row.digest) & found;
        let previous = self.previous_secret(key, tail, &lanes);
        // Looked at for every refusal alike, or its absence would tell which keys exist.
        let well_formed = self.format.checksum_fits(key.secret());
        // The verdict, public from here on.
        let (end, standing) = if bool::from(matches) && !pepper_is_missing {
            let current = tail.pepper_number() == self.peppers.current_number();
            let standing = if current {
                SecretStanding::Current
            } else {
                SecretStanding::Outdated
            };
            (tail.end(), standing)
        } else if let Some(until) = previous {
            (tail.end().min(until), SecretStanding::Replaced)
        } else {
            return Err(Denied::unknown(if pepper_is_missing {
                DenyReason::PepperMissing
            } else if !well_formed {
                DenyReason::Mistyped
            } else if bool::from(found) {
                DenyReason::WrongSecret
            } else {
                DenyReason::UnknownKey
            }));
        };
        self.admit(key.id(), &row, (end, standing), access, now)
    }

    /// The row that was looked for, if that is what was seen, or what stands in for it: no jump
    /// tells which, before everything is compared.
    fn row_of(&self, seen: Seen) -> (Row, Choice) {
        let (there, nobody) = (seen.row, self.nobody());
        let found = is_zero(seen.strange);
        let select = |nobody: u64, there: u64| u64::conditional_select(&nobody, &there, found);
        let mut digest = nobody.digest;
        for (lane, there) in digest.iter_mut().zip(&there.digest) {
            lane.conditional_assign(there, found);
        }
        let row = Row {
            high: select(nobody.high, there.high),
            low: select(nobody.low, there.low),
            digest,
            payload: select(nobody.payload, there.payload),
            tail: select(nobody.tail, there.tail),
        };
        (row, found)
    }

    /// The digest under the pepper of a row; none if that is not at hand.
    fn lanes_under(&self, key: &PresentedKey<'_>, tail: Tail) -> Option<Lanes> {
        let pepper = self.peppers.find(tail.pepper()).ok()?;
        Some(key_lanes(key, pepper))
    }

    /// When the previous secret of a key ends, if that is what was presented. `lanes` is its
    /// digest under the pepper of the current secret's.
    fn previous_secret(&self, key: &PresentedKey<'_>, current: Tail, lanes: &Lanes) -> Option<End> {
        let (extra, found) = self.row_of(self.index.extra(key.id()));
        let tail = Tail(extra.tail);
        let has_previous = bool::from(found) && tail.has(Tail::PREVIOUS);
        let matches = if !has_previous || tail.pepper() == current.pepper() {
            same(lanes, &extra.digest)
        } else {
            // While peppers change, the two secrets of a rotated key may be under different ones.
            same(&self.lanes_under(key, tail)?, &extra.digest)
        };
        // The verdict, public from here on.
        (bool::from(matches) && has_previous).then(|| tail.end())
    }

    fn verify_legacy(
        &self,
        legacy: &PresentedLegacy<'_>,
        access: &Access<'_>,
        now: Timestamp,
    ) -> Result<Principal<'_>, Denied> {
        let now = self.begin(now)?;
        let (row, found) = self.row_of(self.index.legacy(legacy.id()));
        let pepper = self.peppers.find(Tail(row.tail).pepper());
        let lanes = legacy_lanes(legacy, pepper.unwrap_or_default());
        if pepper.is_err() {
            return Err(Denied::unknown(DenyReason::PepperMissing));
        }
        // The verdict, public from here on.
        if !bool::from(same(&lanes, &row.digest) & found) {
            return Err(Denied::unknown(if bool::from(found) {
                DenyReason::WrongSecret
            } else {
                DenyReason::UnknownKey
            }));
        }
        let credential = CredentialId::Legacy(legacy.id());
        let namespace = self.open(&row, credential)?;
        let policy = self.index.legacy_policy(Granted(row.payload));
        if !policy.accepts(now) {
            return Err(self.refuse(DenyReason::LegacyOff, credential));
        }
        let secret = (policy.sunset().into(), SecretStanding::Current);
        self.enter(credential, namespace, &row, secret, access, now)
    }

    /// Whether a key whose secret has matched works now, and opens what its holder wants. From
    /// here on its holder may be told apart from others.
    #[expect(clippy::inline_always, reason = "as `verify_key`")]
    #[inline(always)]
    fn admit(
        &self,
        id: KeyId,
        row: &Row,
        (end, standing): (End, SecretStanding),
        access: &Access<'_>,
        now: Timestamp,
    ) -> Result<Principal<'_>, Denied> {
        let credential = CredentialId::Key(id);
        let tail = Tail(row.tail);
        let namespace = self.open(row, credential)?;
        if tail.has(Tail::NOT_BEFORE) && !self.has_begun(id, now) {
            return Err(self.refuse(DenyReason::NotYetValid, credential));
        }
        if end.is_past(now) {
            let reason = if tail.end().is_past(now) {
                DenyReason::Expired
            } else {
                DenyReason::Replaced
            };
            return Err(self.refuse(reason, credential));
        }
        self.enter(credential, namespace, row, (end, standing), access, now)
    }

    #[cold]
    fn has_begun(&self, id: KeyId, now: Timestamp) -> bool {
        let extra = self.index.extra(id);
        extra.strange == 0 && Tail::unpack_time(extra.row.payload) <= now
    }

    /// The namespace of what a row grants, unless it was revoked or switched off.
    #[inline]
    fn open(&self, row: &Row, credential: CredentialId) -> Result<&Namespace, Denied> {
        let tail = Tail(row.tail);
        let granted = Granted(row.payload);
        let Some(namespace) = self.index.namespace(granted) else {
            return Err(self.refuse(DenyReason::Revoked, credential));
        };
        if self.index.has_ended(granted, namespace) || tail.has(Tail::REVOKED) {
            return Err(self.refuse(DenyReason::Revoked, credential));
        }
        if tail.has(Tail::DISABLED) {
            return Err(self.refuse(DenyReason::Disabled, credential));
        }
        Ok(namespace)
    }

    /// Refuses somebody who holds the right secret.
    #[cold]
    fn refuse(&self, reason: DenyReason, credential: CredentialId) -> Denied {
        if let Some(usage) = &self.usage {
            usage.record(&Usage::refused(credential));
        }
        Denied::known(reason, credential)
    }

    /// Whether the credential opens what its holder wants.
    #[expect(clippy::inline_always, reason = "as `verify_key`")]
    #[inline(always)]
    fn enter<'s>(
        &'s self,
        credential: CredentialId,
        namespace: &'s Namespace,
        row: &Row,
        (end, standing): (End, SecretStanding),
        access: &Access<'_>,
        now: Timestamp,
    ) -> Result<Principal<'s>, Denied> {
        let granted = Granted(row.payload);
        let wanted = access.namespace;
        if wanted.is_some_and(|wanted| !namespace.is(wanted)) {
            return Err(self.refuse(DenyReason::WrongNamespace, credential));
        }
        // Most keys have all scopes, or none is asked for: no need to look them up.
        if !access.scopes.is_empty() && !self.index.has_all_scopes(granted) {
            let grant = self.index.grant(granted);
            if !grant.is_some_and(|grant| grant.scopes.contain(access.scopes)) {
                return Err(self.refuse(DenyReason::MissingScope, credential));
            }
        }
        if let Some(usage) = &self.usage {
            usage.record(&Usage::accepted(credential, now));
        }
        Ok(Principal {
            credential,
            index: &self.index,
            granted,
            namespace: &namespace.id,
            end,
            standing,
        })
    }

    /// What stands in for a key that does not exist, so that it costs the same.
    #[inline]
    fn nobody(&self) -> Row {
        let pepper = u64::from(self.peppers.current_number());
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
}

/// A digest as numbers that calls pass in registers: the 8-byte words that `ring` writes are
/// read one by one then, and no wider load has to wait for them.
#[inline]
fn in_registers([a, b, c, d]: Lanes) -> (u128, u128) {
    let pair = |high: u64, low: u64| (u128::from(high) << 64) | u128::from(low);
    (pair(a, b), pair(c, d))
}

#[expect(clippy::cast_possible_truncation, reason = "takes the halves")]
fn in_memory((first, last): (u128, u128)) -> Lanes {
    [
        (first >> 64) as u64,
        first as u64,
        (last >> 64) as u64,
        last as u64,
    ]
}
