//! Verification of credentials.

use alloc::sync::Arc;
use core::time::Duration;

use subtle::{Choice, ConditionallySelectable};

use crate::{
    authorization::{self, FastEngine, HeaderBuffer, Scheme},
    credential::Credential,
    credential_id::CredentialId,
    denied::{Denied, DenyReason},
    digest::{KeyBlock, Lanes, Peppers, SecretTag, difference, is_zero, key_lanes, same},
    format::KeyFormat,
    index::{End, EntryMeta, GrantRef, Index, Namespace, Place, Row, Seen},
    key_id::KeyId,
    legacy::PresentedLegacy,
    name::Scope,
    presented::PresentedKey,
    principal::{Principal, SecretState},
    timestamp::Timestamp,
    usage::{UsageDelta, UsageOutcome, UsageRecorder},
};

/// Verifies credentials against an [`Index`]: a function of credential, access and time, without
/// I/O, allocation or locks.
///
/// # Security
///
/// - Digests are compared in constant time. An unknown key executes the same instructions as a
///   wrong secret (except for one hash while keys move to another pepper).
/// - Revocation, expiry, namespace and scopes are only checked after the secret matched.
/// - [`Denied`] displays the same text for every reason; [`Denied::reason`] is for logs.
///
/// # Examples
///
/// ```
/// use keyfob::{Access, Context, Keyring, MemoryStore, NewKey, block_on, now};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let keyring = block_on(Keyring::open(MemoryStore::new(), "dof"))?;
/// let verifier = keyring.verifier();
///
/// let new = NewKey::for_user("acme", "fn-7c2d", "alice", "laptop")?;
/// let key = block_on(keyring.create(&Context::system(now()), new))?.secret;
///
/// let header = key.bearer();
/// let fields = [header.as_bytes()]; // all `Authorization` fields of the request
/// let principal = verifier.verify_headers(fields, &Access::to("fn-7c2d"), now())?;
/// assert_eq!(principal.to_string(), "user:alice");
/// assert!(verifier.verify_headers(fields, &Access::to("other"), now()).is_err());
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Verifier {
    index: Arc<Index>,
    format: KeyFormat,
    peppers: Peppers,
    usage: Option<Arc<UsageRecorder>>,
    engine: FastEngine,
    /// The age of the index, in seconds, from which every call is refused.
    age_limit: u64,
}

impl Verifier {
    /// See [`Index::verifier`].
    pub(crate) fn new(
        index: Arc<Index>,
        format: KeyFormat,
        peppers: Peppers,
        stale_after: Option<Duration>,
    ) -> Self {
        let age_limit = stale_after.map_or(Self::NO_LIMIT, |bound| {
            bound.as_secs().clamp(1, Self::NO_LIMIT)
        });
        Self {
            index,
            format,
            peppers,
            usage: None,
            engine: authorization::fast_engine(),
            age_limit,
        }
    }

    /// More than the distance between any two [`Timestamp`]s, and less than the distance between
    /// one and the confirmation time of an index that was never confirmed.
    const NO_LIMIT: u64 = 1 << 62;

    /// Records the usage of each verified credential.
    #[must_use]
    pub fn with_usage(mut self, usage: Arc<UsageRecorder>) -> Self {
        self.usage = Some(usage);
        self
    }

    /// Records no usage: for a credential that is verified again, such as during a long answer.
    #[must_use]
    pub fn without_usage(mut self) -> Self {
        self.usage = None;
        self
    }

    /// Verifies the value of an `Authorization` header field.
    ///
    /// # Security
    ///
    /// Use it only if the request is known to have exactly one such field. If it has several, a
    /// proxy in front may check one and this service another; [`Verifier::verify_headers`] refuses
    /// that.
    ///
    /// # Errors
    ///
    /// [`Denied`] with the reason.
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

    /// Verifies all values of a request's `Authorization` header field, of which there must be
    /// exactly one. This is the method for a gateway.
    ///
    /// # Errors
    ///
    /// [`Denied`] with the reason.
    pub fn verify_headers<'v>(
        &self,
        values: impl IntoIterator<Item = &'v [u8]>,
        access: &Access<'_>,
        now: impl Into<Timestamp>,
    ) -> Result<Principal<'_>, Denied> {
        self.verify_header(authorization::only(values)?, access, now)
    }

    /// Verifies the text of a credential.
    ///
    /// # Errors
    ///
    /// [`Denied`] with the reason.
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

    /// Verifies a credential that was parsed before.
    ///
    /// # Errors
    ///
    /// [`Denied`] with the reason.
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

    /// Parses a key, and prefetches its index entry first: the cache miss takes longest.
    #[expect(clippy::inline_always, reason = "as `verify_key`")]
    #[inline(always)]
    fn read<'t>(&self, text: &'t [u8]) -> Option<(PresentedKey<'t>, Place<'_>)> {
        let place = self.index.place_of_digits(self.format.digits(text)?);
        let key = PresentedKey::read(&self.format, text)?;
        Some((key, place))
    }

    /// Verifies a text that is not a well-formed key.
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

    /// Whether the verifier decides calls at `now`, for a health check. If not, it refuses all of
    /// them as [`DenyReason::NotReady`] or [`DenyReason::Stale`].
    pub fn is_ready(&self, now: impl Into<Timestamp>) -> bool {
        self.is_fresh(now.into())
    }

    /// For how long calls are still decided if the index is not confirmed again; `None` without a bound on its
    /// age.
    pub fn fresh_for(&self, now: impl Into<Timestamp>) -> Option<Duration> {
        let age = now.into().as_unix().abs_diff(self.index.confirmed());
        let has_bound = self.age_limit != Self::NO_LIMIT;
        has_bound.then(|| Duration::from_secs(self.age_limit.saturating_sub(age)))
    }

    #[inline]
    fn is_fresh(&self, now: Timestamp) -> bool {
        // Compares the absolute difference: if the confirmation lies in the future, the clock has
        // run back, and the age of the index is unknown.
        now.as_unix().abs_diff(self.index.confirmed()) < self.age_limit
    }

    /// Returns the time to decide by, if the index is ready and fresh enough.
    #[inline]
    fn ready_at(&self, now: Timestamp) -> Result<Timestamp, Denied> {
        if self.is_fresh(now) {
            Ok(self.index.ratchet(now))
        } else {
            Err(self.not_ready())
        }
    }

    #[cold]
    fn not_ready(&self) -> Denied {
        Denied::unknown(if self.index.is_ready() {
            DenyReason::Stale
        } else {
            DenyReason::NotReady
        })
    }

    /// Verifies a key. The hash comes before the read of the entry, which was prefetched when
    /// `place` was computed; `src/index/README.md` explains the order of steps.
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
        let resets = self.index.resets();
        let verdict = match self.try_key(key, place, access, now) {
            Err(denied) if denied.is_interrupted() => self.retry_key(key, access, now),
            verdict => verdict,
        };
        if self.index.resets_now() == resets {
            verdict
        } else {
            Err(self.not_ready())
        }
    }

    /// Verifies a key again whose entry changed while its grant was read.
    #[cold]
    fn retry_key(
        &self,
        key: &PresentedKey<'_>,
        access: &Access<'_>,
        now: Timestamp,
    ) -> Result<Principal<'_>, Denied> {
        for _ in 0..Index::RETRIES {
            match self.try_key(key, self.index.place_of_key(key.id()), access, now) {
                Err(denied) if denied.is_interrupted() => {}
                verdict => return verdict,
            }
        }
        Err(Denied::unknown(DenyReason::NotReady))
    }

    #[expect(clippy::inline_always, reason = "as `verify_key`")]
    #[inline(always)]
    fn try_key(
        &self,
        key: &PresentedKey<'_>,
        place: Place<'_>,
        access: &Access<'_>,
        now: Timestamp,
    ) -> Result<Principal<'_>, Denied> {
        let now = self.ready_at(now)?;
        let lanes = KeyBlock::new(key).lanes(self.peppers.current());
        let (high, low) = key.id().halves();
        if let Some(seen) = place.read(high, low) {
            let meta = EntryMeta(seen.row.meta);
            let pepper = meta.pepper_number() ^ self.peppers.current_number();
            let wrong = difference(&lanes, &seen.row.digest) | seen.mismatch | u64::from(pepper);
            // The verdict, public from here on.
            if bool::from(is_zero(wrong)) {
                let secret = Matched {
                    end: meta.end(),
                    state: SecretState::Current,
                    tag: SecretTag::of(&seen.row.digest),
                };
                return self.check_validity(key.id(), &seen.row, secret, access, now);
            }
        }
        self.verify_slow(key, in_registers(lanes), access, now)
    }

    /// Verifies a key that is not the current secret under the current pepper.
    ///
    /// An unknown key, a wrong secret and a replaced secret take the same path.
    #[cold]
    fn verify_slow(
        &self,
        key: &PresentedKey<'_>,
        lanes: (u128, u128),
        access: &Access<'_>,
        now: Timestamp,
    ) -> Result<Principal<'_>, Denied> {
        let (row, found) = self.select_row(self.index.key(key.id()));
        let meta = EntryMeta(row.meta);
        let mut lanes = in_memory(lanes);
        let mut pepper_is_missing = false;
        if meta.pepper_number() != self.peppers.current_number() {
            match self.lanes_under(key, meta) {
                Some(outdated) => lanes = outdated,
                None => pepper_is_missing = true,
            }
        }
        let matches = same(&lanes, &row.digest) & found;
        let previous = self.previous_secret(key, meta, &lanes);
        // Computed for every refusal: otherwise the time would reveal which keys exist.
        let well_formed = self.format.checksum_fits(key.secret());
        // The verdict, public from here on.
        let secret = if bool::from(matches) && !pepper_is_missing {
            let current = meta.pepper_number() == self.peppers.current_number();
            Matched {
                end: meta.end(),
                state: if current {
                    SecretState::Current
                } else {
                    SecretState::Outdated
                },
                tag: SecretTag::of(&row.digest),
            }
        } else if let Some((until, tag)) = previous {
            Matched {
                end: meta.end().min(until),
                state: SecretState::Replaced,
                tag,
            }
        } else {
            let reason = if pepper_is_missing {
                DenyReason::PepperMissing
            } else if !well_formed {
                DenyReason::Mistyped
            } else if bool::from(found) {
                DenyReason::WrongSecret
            } else {
                DenyReason::UnknownKey
            };
            return Err(Denied::unknown(reason));
        };
        self.check_validity(key.id(), &row, secret, access, now)
    }

    /// Selects the row if it belongs to the requested identifier, else the dummy row, without a
    /// branch.
    fn select_row(&self, seen: Seen) -> (Row, Choice) {
        let (there, dummy) = (seen.row, self.dummy_row());
        let found = is_zero(seen.mismatch);
        let select = |dummy: u64, there: u64| u64::conditional_select(&dummy, &there, found);
        let mut digest = dummy.digest;
        for (lane, there) in digest.iter_mut().zip(&there.digest) {
            lane.conditional_assign(there, found);
        }
        let row = Row {
            high: select(dummy.high, there.high),
            low: select(dummy.low, there.low),
            digest,
            payload: select(dummy.payload, there.payload),
            meta: select(dummy.meta, there.meta),
        };
        (row, found)
    }

    /// Computes the digest under the pepper of a row; `None` if the pepper is unknown.
    fn lanes_under(&self, key: &PresentedKey<'_>, meta: EntryMeta) -> Option<Lanes> {
        let pepper = self.peppers.find(meta.pepper()).ok()?;
        Some(key_lanes(key, pepper))
    }

    /// Returns the end and the tag of the previous secret, if that was presented. `lanes` is the presented
    /// digest under the pepper of the current secret.
    fn previous_secret(
        &self,
        key: &PresentedKey<'_>,
        current: EntryMeta,
        lanes: &Lanes,
    ) -> Option<(End, SecretTag)> {
        let (secondary, found) = self.select_row(self.index.secondary(key.id()));
        let meta = EntryMeta(secondary.meta);
        let has_previous = bool::from(found) && meta.has(EntryMeta::PREVIOUS);
        let matches = if !has_previous || meta.pepper() == current.pepper() {
            same(lanes, &secondary.digest)
        } else {
            // While peppers change, the two secrets of a rotated key may be under different
            // peppers.
            same(&self.lanes_under(key, meta)?, &secondary.digest)
        };
        // The verdict, public from here on.
        (bool::from(matches) && has_previous)
            .then(|| (meta.end(), SecretTag::of(&secondary.digest)))
    }

    fn verify_legacy(
        &self,
        legacy: &PresentedLegacy<'_>,
        access: &Access<'_>,
        now: Timestamp,
    ) -> Result<Principal<'_>, Denied> {
        let resets = self.index.resets();
        for _ in 0..Index::RETRIES {
            match self.try_legacy(legacy, access, now) {
                Err(denied) if denied.is_interrupted() => {}
                verdict if self.index.resets_now() == resets => return verdict,
                _ => return Err(self.not_ready()),
            }
        }
        Err(Denied::unknown(DenyReason::NotReady))
    }

    fn try_legacy(
        &self,
        legacy: &PresentedLegacy<'_>,
        access: &Access<'_>,
        now: Timestamp,
    ) -> Result<Principal<'_>, Denied> {
        let now = self.ready_at(now)?;
        let (row, found) = self.select_row(self.index.legacy(legacy.id()));
        let pepper = self.peppers.find(EntryMeta(row.meta).pepper());
        let lanes = legacy.lanes(pepper.unwrap_or_default());
        if pepper.is_err() {
            return Err(Denied::unknown(DenyReason::PepperMissing));
        }
        // The verdict, public from here on.
        if !bool::from(same(&lanes, &row.digest) & found) {
            let reason = if bool::from(found) {
                DenyReason::WrongSecret
            } else {
                DenyReason::UnknownKey
            };
            return Err(Denied::unknown(reason));
        }
        let credential = CredentialId::Legacy(legacy.id());
        let namespace = self.check_active(&row, credential)?;
        let terms = self.index.legacy_terms(GrantRef(row.payload), now);
        if !terms.accepts {
            return Err(self.refuse(DenyReason::LegacyOff, credential));
        }
        let secret = Matched {
            end: terms.sunset.into(),
            state: SecretState::Current,
            tag: SecretTag::of(&row.digest),
        };
        self.check_access(credential, namespace, &row, secret, access, now)
    }

    /// Checks that a key whose secret matched is valid now, then the access. From here on, timing
    /// may depend on the key: the caller has proven to hold it.
    #[expect(clippy::inline_always, reason = "as `verify_key`")]
    #[inline(always)]
    fn check_validity(
        &self,
        id: KeyId,
        row: &Row,
        secret: Matched,
        access: &Access<'_>,
        now: Timestamp,
    ) -> Result<Principal<'_>, Denied> {
        let credential = CredentialId::Key(id);
        let meta = EntryMeta(row.meta);
        let namespace = self.check_active(row, credential)?;
        if meta.has(EntryMeta::NOT_BEFORE) && !self.is_past_not_before(id, now) {
            return Err(self.refuse(DenyReason::NotYetValid, credential));
        }
        if secret.end.is_past(now) {
            let reason = if meta.end().is_past(now) {
                DenyReason::Expired
            } else {
                DenyReason::Replaced
            };
            return Err(self.refuse(reason, credential));
        }
        self.check_access(credential, namespace, row, secret, access, now)
    }

    #[cold]
    fn is_past_not_before(&self, id: KeyId, now: Timestamp) -> bool {
        let secondary = self.index.secondary(id);
        secondary.mismatch == 0 && EntryMeta::unpack_time(secondary.row.payload) <= now
    }

    /// Checks that a credential is neither revoked nor disabled, and returns its namespace.
    #[inline]
    fn check_active(&self, row: &Row, credential: CredentialId) -> Result<&Namespace, Denied> {
        let meta = EntryMeta(row.meta);
        let Some(namespace) = self.index.namespace(GrantRef(row.payload)) else {
            return Err(self.refuse(DenyReason::Revoked, credential));
        };
        let is_revoked = meta.has(EntryMeta::REVOKED)
            || namespace.has_revoked_grants()
                && self
                    .index
                    .is_revoked(credential, row)
                    .ok_or(Denied::interrupted(credential))?;
        if is_revoked {
            return Err(self.refuse(DenyReason::Revoked, credential));
        }
        if meta.has(EntryMeta::DISABLED) {
            return Err(self.refuse(DenyReason::Disabled, credential));
        }
        Ok(namespace)
    }

    /// Refuses a credential whose secret matched.
    #[cold]
    fn refuse(&self, reason: DenyReason, credential: CredentialId) -> Denied {
        if let (Some(usage), Some(outcome)) = (&self.usage, UsageOutcome::of(reason)) {
            usage.record(&UsageDelta::refused(credential, outcome));
        }
        Denied::known(reason, credential)
    }

    /// Checks the namespace and scopes of the requested access.
    #[expect(clippy::inline_always, reason = "as `verify_key`")]
    #[inline(always)]
    fn check_access<'s>(
        &'s self,
        credential: CredentialId,
        namespace: &'s Namespace,
        row: &Row,
        secret: Matched,
        access: &Access<'_>,
        now: Timestamp,
    ) -> Result<Principal<'s>, Denied> {
        let wanted = access.namespace;
        if wanted.is_some_and(|wanted| !namespace.is(wanted)) {
            return Err(self.refuse(DenyReason::WrongNamespace, credential));
        }
        // Most calls require no scopes: no need to look them up.
        if !access.scopes.is_empty() {
            let has_them = self.index.has_scopes(credential, row, access.scopes);
            if !has_them.ok_or(Denied::interrupted(credential))? {
                return Err(self.refuse(DenyReason::MissingScope, credential));
            }
        }
        if let Some(usage) = &self.usage {
            usage.record(&match secret.state {
                SecretState::Replaced => UsageDelta::accepted_previous(credential, now),
                SecretState::Current | SecretState::Outdated => {
                    UsageDelta::accepted(credential, now)
                }
            });
        }
        Ok(Principal {
            credential,
            index: &self.index,
            grant_ref: GrantRef(row.payload),
            namespace: &namespace.id,
            end: secret.end,
            secret_state: secret.state,
            secret: secret.tag,
        })
    }

    /// A row that replaces the row of an unknown key, so that both cost the same.
    #[inline]
    fn dummy_row(&self) -> Row {
        let pepper = u64::from(self.peppers.current_number());
        Row {
            high: 0,
            low: 0,
            digest: [0; 4],
            payload: 0,
            meta: pepper << 40,
        }
    }
}

impl Index {
    /// Returns a verifier that reads this index. With `stale_after`, it refuses every call as
    /// [`DenyReason::Stale`] when [`Index::confirmed_at`] is that long ago.
    ///
    /// The bound is rounded down to whole seconds, with a minimum of one second.
    pub fn verifier(self: &Arc<Self>, stale_after: Option<Duration>) -> Verifier {
        Verifier::new(
            Arc::clone(self),
            *self.format(),
            self.peppers().clone(),
            stale_after,
        )
    }
}

/// The secret that was presented and matched.
#[derive(Clone, Copy)]
struct Matched {
    end: End,
    state: SecretState,
    tag: SecretTag,
}

/// The access that a caller requests: a namespace and the scopes required there.
#[derive(Clone, Copy, Debug)]
pub struct Access<'a> {
    namespace: Option<&'a str>,
    scopes: &'a [Scope],
}

impl<'a> Access<'a> {
    /// Requests access to a namespace. [`Access::requiring`] adds required scopes.
    #[inline]
    pub const fn to(namespace: &'a str) -> Self {
        Self {
            namespace: Some(namespace),
            scopes: &[],
        }
    }

    /// Requests access to the namespace that the credential opens, like `_` in `OpenWhisk`. Use
    /// [`Principal::namespace`] for everything that follows.
    #[inline]
    pub const fn to_own_namespace() -> Self {
        Self {
            namespace: None,
            scopes: &[],
        }
    }

    /// Requires all of these scopes.
    #[inline]
    #[must_use]
    pub const fn requiring(mut self, scopes: &'a [Scope]) -> Self {
        self.scopes = scopes;
        self
    }
}

/// Packs a digest into integers that are passed in registers. The 8-byte words that `ring` wrote
/// are then loaded one by one; a wider load would stall until the stores complete.
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
