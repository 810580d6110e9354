//! An in-memory index of all keys, for verification without I/O.
//!
//! `src/index/README.md` describes the data structure and the order of steps in verification.

mod append_vec;
mod error;
mod grant;
mod grant_writer;
mod history;
mod legacy_terms;
mod line;
mod members;
mod meta;
mod namespace;
mod sync;
mod table;

use std::sync::{
    Arc, Mutex, PoisonError,
    atomic::{AtomicI64, AtomicU64, Ordering, fence},
};

use alloc::{
    collections::{BTreeMap, VecDeque},
    vec::Vec,
};
use core::{fmt, future::poll_fn, task::Poll};

pub use error::{FollowError, IndexError};
pub(crate) use grant::{Grant, GrantFlags, GrantRef, Holder};
pub(crate) use legacy_terms::LegacyTerms;
pub(crate) use line::Row;
pub(crate) use meta::{End, EntryMeta};
pub(crate) use namespace::Namespace;
pub(crate) use table::{Place, Seen};

use crate::{
    credential_id::CredentialId,
    cutoff::Target,
    digest::{Peppers, same},
    format::KeyFormat,
    identity::Tenant,
    key_id::KeyId,
    legacy::LegacyId,
    name::{Scope, TeamId},
    projection::{
        ReplicaChanges, ReplicaEntry, ReplicaItem, ReplicaLegacy, ReplicaPolicy, ReplicaRecord,
        ReplicaStatus,
    },
    revision::Revision,
    scope::Scopes,
    store::{Changes, Item, KeyStore},
    timestamp::Timestamp,
};

use grant::{Grants, NamespaceVec};
use grant_writer::GrantWriter;
use history::History;
use members::Members;
use table::{Table, TableWriter, spread, spread_digits};

/// An in-memory index of all keys of a store: one cache line per key, read without locks,
/// allocation or I/O while one writer applies the store's change feed.
///
/// A new index is empty, and its verifiers refuse every call as
/// [`DenyReason::NotReady`](crate::DenyReason::NotReady) until [`Index::follow`] has read a store's
/// change feed to the end. Call `follow` regularly after that: changes of other processes take
/// effect with the next call. A [`Keyring`](crate::Keyring) owns an index and calls `follow` after
/// each of its changes.
///
/// # Memory
///
/// 64 bytes per key in tables that are 30 to 60 % full, plus one grant for each combination of
/// namespace, owner and scopes that a key has. The memory is bounded by the largest number of keys,
/// grants and namespaces that existed at one time, not by the number of changes.
///
/// # Clock
///
/// Verifications and changes use the latest time that any of them was given: a clock that jumps
/// back does not revive expired keys. A clock that jumps ahead by mistake therefore expires keys
/// until a new index is built.
pub struct Index {
    keys: Table,
    /// Rarely needed parts of keys: the previous secret and `not_before`.
    secondary: Table,
    legacy: Table,
    grants: Grants,
    /// The grants of the keys that were deleted last, for principals that were verified before.
    deleted: Mutex<VecDeque<(KeyId, Arc<Grant>)>>,
    /// The time before the last read of the feed that reached its end; [`NEVER`] or [`INVALID`] if there
    /// is none.
    confirmed_at: AtomicI64,
    /// How often the index was reset. A reader whose verification a reset interrupted may have seen
    /// some of the new contents, but not the revocations in them.
    resets: AtomicU64,
    clock: AtomicI64,
    writer: Mutex<Writer>,
    format: KeyFormat,
    peppers: Peppers,
}

/// Further from every [`Timestamp`] than any bound on staleness.
const NEVER: i64 = i64::MIN;
/// The same, for an index that was invalidated.
const INVALID: i64 = NEVER + 1;

/// The time as of which the end of the feed confirms the index.
#[derive(Clone, Copy)]
enum Confirmation {
    /// This time, also if an earlier confirmation was for a later one: the clock has run back.
    At(Timestamp),
    /// This time, unless an earlier confirmation was for a later one.
    AtLeast(Timestamp),
    /// No time: the index goes on refusing every call.
    Withheld,
}

/// The writer's state in addition to the tables.
struct Writer {
    /// The revision up to which the feed was applied.
    cursor: Revision,
    /// The cursor when the end of the feed was last reached: everything up to it is known.
    as_of: Revision,
    /// The latest [`Changes::last_revision`] seen.
    newest: Revision,
    /// The history that the applied pages are of.
    history: History,
    changed_at: Option<Timestamp>,
    /// The error after which the index can never be confirmed again.
    failed: Option<IndexError>,
    keys: TableWriter<Lifetime>,
    secondary: TableWriter<Lifetime>,
    legacy: TableWriter<()>,
    grants: GrantWriter,
    /// The revision up to which a cutoff of a target revokes.
    cutoffs: BTreeMap<Target, Revision>,
    policies: BTreeMap<Option<Tenant>, ReplicaPolicy>,
    /// The keys of each namespace, by the rank of its number.
    members: Vec<Members>,
    /// The namespaces with keys whose end must be recomputed.
    pending: Vec<(Tenant, u32)>,
}

/// The times from which the end of a secret is recomputed when a policy changes: issue and own
/// expiry, in five bytes each. There is one for each slot.
#[derive(Clone, Copy, Default)]
struct Lifetime {
    issued_at: [u8; 5],
    expires_at: [u8; 5],
}

impl Lifetime {
    fn new(issued_at: Timestamp, expires_at: Option<Timestamp>) -> Self {
        Self {
            issued_at: End::from(Some(issued_at)).to_bytes(),
            expires_at: End::from(expires_at).to_bytes(),
        }
    }

    fn end_under(&self, policy: &ReplicaPolicy) -> Option<Timestamp> {
        let own = End::from_bytes(self.expires_at).moment();
        match End::from_bytes(self.issued_at).moment() {
            Some(issued_at) => policy.end_of_life(issued_at, own),
            None => own,
        }
    }
}

impl Index {
    /// Creates an empty index for keys of this format, with digests under these peppers.
    pub fn new(format: KeyFormat, peppers: Peppers) -> Self {
        let (keys, keys_writer) = Table::new();
        let (secondary, secondary_writer) = Table::new();
        let (legacy, legacy_writer) = Table::new();
        Self {
            keys,
            secondary,
            legacy,
            grants: Grants::new(),
            deleted: Mutex::default(),
            confirmed_at: AtomicI64::new(NEVER),
            resets: AtomicU64::new(0),
            clock: AtomicI64::new(i64::MIN),
            writer: Mutex::new(Writer {
                cursor: Revision::ZERO,
                as_of: Revision::ZERO,
                newest: Revision::ZERO,
                history: History::default(),
                changed_at: None,
                failed: None,
                keys: keys_writer,
                secondary: secondary_writer,
                legacy: legacy_writer,
                grants: GrantWriter::default(),
                cutoffs: BTreeMap::new(),
                policies: BTreeMap::new(),
                members: Vec::new(),
                pending: Vec::new(),
            }),
            format,
            peppers,
        }
    }

    /// The format of the keys.
    pub fn format(&self) -> &KeyFormat {
        &self.format
    }

    pub(crate) fn peppers(&self) -> &Peppers {
        &self.peppers
    }

    /// Reads the change feed of `store` to its end, and returns the revision reached.
    ///
    /// `now` must be a time before the call: the index is confirmed as of `now`. Concurrent calls
    /// are allowed.
    ///
    /// # Errors
    ///
    /// - the store failed -> [`FollowError::Store`]; changes read so far are applied
    /// - the feed cannot be applied -> [`FollowError::Index`]
    pub async fn follow(
        &self,
        store: &dyn KeyStore,
        now: impl Into<Timestamp>,
    ) -> Result<Revision, FollowError> {
        self.read_feed(store, Confirmation::At(now.into())).await
    }

    /// Reads the change feed as [`Index::follow`] does, after a change that was made at `now`.
    /// Another task may have confirmed the index for a later time meanwhile, which is kept.
    pub(crate) async fn follow_change(
        &self,
        store: &dyn KeyStore,
        now: Timestamp,
    ) -> Result<Revision, FollowError> {
        self.read_feed(store, Confirmation::AtLeast(now)).await
    }

    async fn read_feed(
        &self,
        store: &dyn KeyStore,
        confirmation: Confirmation,
    ) -> Result<Revision, FollowError> {
        let progress = || {
            let writer = self.writer();
            (writer.cursor, writer.newest, self.resets())
        };
        loop {
            let before = progress();
            let (cursor, _, resets) = before;
            let changes = store.changes(cursor, Self::PAGE).await?;
            self.absorb_changes(&changes, resets)?;
            while !self.apply_policies(Self::SLICE) {
                yield_now().await;
            }
            if self.conclude(&Span::of(&changes), resets, confirmation)? {
                return Ok(self.as_of());
            }
            // Another task may have learned of a later revision, or reset the index, in the
            // meantime.
            if progress() == before {
                return Err(IndexError::Stalled { at: cursor }.into());
            }
        }
    }

    /// Applies a page of a store's change feed, which must start at or before the index's revision.
    ///
    /// Entries that the index already has are skipped, so a late or repeated page changes nothing.
    /// The page at the end of the feed confirms the index as of `asked_at`, which must be a time
    /// before the page was requested.
    ///
    /// # Errors
    ///
    /// - the page starts after the index's revision -> [`IndexError::Gap`]
    /// - the store's last revision is before the start of the page -> [`IndexError::Regressed`]:
    ///   the store was restored from a backup, or it is another store
    /// - the event at the start of the page is not the one that the index was at before ->
    ///   [`IndexError::Forked`]: as before, but the store has caught up since
    /// - the index has no room -> [`IndexError::Full`]
    ///
    /// All but the first are permanent until [`Index::reset`]: every verification is refused as
    /// [`DenyReason::Stale`](crate::DenyReason::Stale) and every page with the same error, even if
    /// the store reaches the index's revision again.
    pub fn apply(
        &self,
        changes: &Changes,
        asked_at: impl Into<Timestamp>,
    ) -> Result<(), IndexError> {
        let resets = self.resets();
        self.absorb_changes(changes, resets)?;
        self.complete(
            &Span::of(changes),
            resets,
            Confirmation::At(asked_at.into()),
        )
    }

    /// Applies a page of the projected feed as [`Index::apply`] does, without the check of the
    /// store's history: the reader of the feed must make sure that all pages are of one history.
    ///
    /// Without `asked_at` the index is [invalidated](Index::invalidate) first, and nothing is confirmed: for a part
    /// of what leads to a state of the store, or a state that the reader doubts.
    ///
    /// # Errors
    ///
    /// As [`Index::apply`], apart from [`IndexError::Forked`].
    pub fn apply_replica(
        &self,
        changes: ReplicaChanges,
        asked_at: Option<Timestamp>,
    ) -> Result<(), IndexError> {
        let span = Span {
            after: changes.after,
            next_after: changes.next_after,
            more: changes.more,
            last_revision: changes.last_revision,
        };
        let resets = self.resets();
        if asked_at.is_none() {
            self.invalidate();
        }
        self.absorb(&mut self.writer(), &span, changes.entries)?;
        let confirmation = asked_at.map_or(Confirmation::Withheld, Confirmation::At);
        self.complete(&span, resets, confirmation)
    }

    /// Makes room for about this many keys in an index that never had any, so that it is filled
    /// faster: for a follower that knows how many are to come.
    pub fn reserve(&self, keys: usize) {
        // Without room, the index fails when it is full.
        let _ = self.keys.reserve(&mut self.writer().keys, keys);
    }

    /// Applies the entries of a page, unless the index was reset since it was reset `resets` times.
    fn absorb_changes(&self, changes: &Changes, resets: u64) -> Result<(), IndexError> {
        let writer = &mut *self.writer();
        if self.resets() != resets {
            return Ok(());
        }
        // A page that went back has no event at its start: that is the more exact error.
        if writer.failed.is_none()
            && changes.next_after >= changes.after
            && let Err(error) = writer.history.check(changes)
        {
            return Err(self.fail(writer, error));
        }
        let changed_at = changes
            .entries
            .iter()
            .filter(|entry| entry.revision > writer.cursor)
            .filter_map(|entry| changed_at(&entry.item))
            .max();
        // Projected one by one, so that no page is held twice.
        let entries = changes.entries.iter().map(ReplicaEntry::from);
        self.absorb(writer, &Span::of(changes), entries)?;
        writer.changed_at = writer.changed_at.max(changed_at);
        writer.history.extend(changes);
        Ok(())
    }

    /// Applies the entries of a page. A changed policy applies to existing keys after
    /// [`Index::apply_policies`].
    fn absorb(
        &self,
        writer: &mut Writer,
        span: &Span,
        entries: impl IntoIterator<Item = ReplicaEntry>,
    ) -> Result<(), IndexError> {
        let at = writer.cursor;
        if let Some(error) = writer.failed {
            return Err(error);
        }
        if span.after > at {
            return Err(IndexError::Gap { at });
        }
        if span.next_after < span.after {
            let error = IndexError::Regressed {
                store_at: span.next_after,
                at,
            };
            return Err(self.fail(writer, error));
        }
        for ReplicaEntry { revision, item } in entries {
            if revision > writer.cursor {
                if let Err(error) = self.apply_item(writer, item) {
                    return Err(self.fail(writer, error));
                }
                writer.cursor = revision;
            }
        }
        writer.cursor = writer.cursor.max(span.next_after);
        writer.newest = writer.newest.max(span.last_revision);
        Ok(())
    }

    fn complete(
        &self,
        span: &Span,
        resets: u64,
        confirmation: Confirmation,
    ) -> Result<(), IndexError> {
        while !self.apply_policies(usize::MAX) {}
        self.conclude(span, resets, confirmation).map(drop)
    }

    /// Confirms the index if this page, which was absorbed, is the end of the feed; returns whether
    /// it is.
    ///
    /// Only a page with the latest `last_revision` seen counts as the end: an item of an older page
    /// may have changed since, and moved to a part of the feed that the index has not read. While
    /// keys are not recomputed for a changed policy, there is no end: another task continues.
    fn conclude(
        &self,
        span: &Span,
        resets: u64,
        confirmation: Confirmation,
    ) -> Result<bool, IndexError> {
        let mut writer = self.writer();
        if self.resets() != resets {
            return Ok(false);
        }
        if let Some(error) = writer.failed {
            return Err(error);
        }
        let at_end = !span.more && span.last_revision >= writer.newest && writer.pending.is_empty();
        if at_end {
            writer.as_of = writer.cursor;
            let before = self.confirmed();
            let confirmed = match confirmation {
                Confirmation::At(time) => time.as_unix(),
                Confirmation::AtLeast(time) => time.as_unix().max(before),
                Confirmation::Withheld => INVALID,
            };
            // A store takes the cache line away from all readers: once a second, not once a commit.
            if confirmed != before {
                self.confirmed_at.store(confirmed, Ordering::Release);
            }
        }
        Ok(at_end)
    }

    fn fail(&self, writer: &mut Writer, error: IndexError) -> IndexError {
        writer.failed = Some(error);
        self.invalidate();
        error
    }

    /// Makes the verifiers refuse every call as [`DenyReason::Stale`](crate::DenyReason::Stale)
    /// until the index has reached the end of the feed again: for a follower that can no longer
    /// tell how old the index is.
    pub fn invalidate(&self) {
        if self.is_ready() {
            self.confirmed_at.store(INVALID, Ordering::Release);
        }
    }

    /// Empties the index, to be filled again from revision zero: for a store whose history is
    /// another one ([`IndexError::Forked`], [`IndexError::Regressed`]), and after any other
    /// permanent failure.
    ///
    /// Every verification is refused as [`DenyReason::Stale`](crate::DenyReason::Stale) until the
    /// index has reached the end of a feed again. The verifiers remain valid, and the memory is
    /// used again. A [`Principal`](crate::Principal) that was verified before knows its team and
    /// namespace, but its owner and scopes only if the new contents have its credential.
    ///
    /// A running [`Index::follow`] begins again. A page for [`Index::apply`] that was requested
    /// before the reset must not be applied after it.
    pub fn reset(&self) {
        let writer = &mut *self.writer();
        self.invalidate();
        self.resets.fetch_add(1, Ordering::Release);
        // Ordered before every change of the tables, as `Index::resets_now` expects.
        fence(Ordering::Release);
        self.keys.clear(&mut writer.keys);
        self.secondary.clear(&mut writer.secondary);
        self.legacy.clear(&mut writer.legacy);
        self.grants.reset(&mut writer.grants);
        writer.members.iter_mut().for_each(Members::clear);
        writer.cutoffs.clear();
        writer.policies.clear();
        writer.pending.clear();
        writer.history = History::default();
        writer.cursor = Revision::ZERO;
        writer.as_of = Revision::ZERO;
        writer.newest = Revision::ZERO;
        writer.changed_at = None;
        writer.failed = None;
    }

    /// How often the index was reset, read before anything else of it.
    #[inline]
    pub(crate) fn resets(&self) -> u64 {
        self.resets.load(Ordering::Acquire)
    }

    /// How often the index was reset, read after everything else of it: if it is what
    /// [`Index::resets`] was before, nothing that was read in between is of later contents.
    #[inline]
    pub(crate) fn resets_now(&self) -> u64 {
        fence(Ordering::Acquire);
        self.resets.load(Ordering::Relaxed)
    }

    /// The revision up to which the index is complete: the last end of the feed that it reached.
    /// While it reads the feed, it may have some later changes but not all.
    pub fn as_of(&self) -> Revision {
        self.writer().as_of
    }

    /// Whether the index has reached the end of a store's feed once.
    pub fn is_ready(&self) -> bool {
        self.confirmed() != NEVER
    }

    /// The latest time for which the index is known to have been up to date with its store; `None`
    /// if it never reached the end of the feed, or was [invalidated](Index::invalidate) since.
    pub fn confirmed_at(&self) -> Option<Timestamp> {
        let confirmed = self.confirmed();
        (confirmed > INVALID).then(|| Timestamp::from_unix(confirmed))
    }

    #[inline]
    pub(crate) fn confirmed(&self) -> i64 {
        self.confirmed_at.load(Ordering::Acquire)
    }

    /// The latest time that a verification or a change was given, for a metric; `None` if there was
    /// none. If it is far ahead of the real time, a caller passed a wrong time.
    pub fn clock(&self) -> Option<Timestamp> {
        let clock = self.clock.load(Ordering::Relaxed);
        (clock != i64::MIN).then(|| Timestamp::from_unix(clock))
    }

    /// The latest time at which anything in the store was changed, by the clock of the process that
    /// changed it; `None` if nothing was. A clock that is behind it would accept what has expired.
    pub fn changed_at(&self) -> Option<Timestamp> {
        self.writer().changed_at
    }

    /// The memory of the tables in bytes, without names and grants.
    pub fn table_bytes(&self) -> usize {
        [&self.keys, &self.secondary, &self.legacy]
            .iter()
            .fold(0, |sum, table| sum.saturating_add(table.bytes()))
    }

    const PAGE: usize = 1000;
    /// How many keys are recomputed for a changed policy before other tasks run: less than a
    /// millisecond.
    const SLICE: usize = 2_000;
    /// For how many deleted keys the names are kept.
    const DELETED: usize = 256;

    /// Returns the slot in which the key with this identifier must be, and prefetches it.
    #[inline]
    pub(crate) fn place_of_key(&self, id: KeyId) -> Place<'_> {
        let (high, low) = id.halves();
        self.keys.locate(spread(high, low))
    }

    /// As [`Index::place_of_key`], for the unchecked digits of an identifier.
    #[expect(clippy::inline_always, reason = "as `Table::locate`")]
    #[inline(always)]
    pub(crate) fn place_of_digits(&self, digits: &[u8; KeyId::DIGITS]) -> Place<'_> {
        self.keys.locate(spread_digits(digits))
    }

    pub(crate) fn key(&self, id: KeyId) -> Seen {
        let (high, low) = id.halves();
        self.keys.find(high, low)
    }

    pub(crate) fn secondary(&self, id: KeyId) -> Seen {
        let (high, low) = id.halves();
        self.secondary.find(high, low)
    }

    pub(crate) fn legacy(&self, id: LegacyId) -> Seen {
        let (high, low) = id.halves();
        self.legacy.find(high, low)
    }

    /// Whether a cutoff has revoked the entry of `credential` that was read as `row`; `None` if the
    /// entry has changed since.
    #[cold]
    pub(crate) fn is_revoked(&self, credential: CredentialId, row: &Row) -> Option<bool> {
        self.with_grant(credential, row, |flags| Some(flags.is_revoked()))
    }

    /// Whether the entry of `credential` that was read as `row` has all of these scopes; `None` if
    /// the entry has changed since.
    pub(crate) fn has_scopes(
        &self,
        credential: CredentialId,
        row: &Row,
        required: &[Scope],
    ) -> Option<bool> {
        self.with_grant(credential, row, |flags| {
            self.grants
                .has_scopes(GrantRef(row.payload), flags, required)
        })
    }

    /// Reads the grant of an entry; `None` if the entry has changed since it was read. The number
    /// of its grant may then be another grant's.
    #[inline]
    fn with_grant<T>(
        &self,
        credential: CredentialId,
        row: &Row,
        read: impl FnOnce(GrantFlags) -> Option<T>,
    ) -> Option<T> {
        let flags = self.grants.flags(GrantRef(row.payload))?;
        let result = read(flags)?;
        let again = self.entry(credential);
        // The caller has shown the secret: the verdict, public from here on.
        if again.mismatch != 0
            || again.row.payload != row.payload
            || !bool::from(same(&again.row.digest, &row.digest))
            || self.grants.flags(GrantRef(row.payload)) != Some(flags)
        {
            return None;
        }
        Some(result)
    }

    fn entry(&self, credential: CredentialId) -> Seen {
        match credential {
            CredentialId::Key(id) => self.key(id),
            CredentialId::Legacy(id) => self.legacy(id),
        }
    }

    #[inline]
    pub(crate) fn namespace(&self, grant_ref: GrantRef) -> Option<&Namespace> {
        self.grants.namespace(grant_ref)
    }

    pub(crate) fn team(&self, grant_ref: GrantRef) -> Option<&TeamId> {
        self.grants.team(grant_ref)
    }

    /// The tenant of a credential that is in the index; `None` if it is unknown, or was deleted and
    /// many others since. It reads no store.
    pub fn tenant_of(&self, credential: CredentialId) -> Option<Tenant> {
        self.grant(credential).map(|grant| grant.tenant.clone())
    }

    /// The current grant of a credential; `None` if its key was deleted, and many others since.
    pub(crate) fn grant(&self, credential: CredentialId) -> Option<Arc<Grant>> {
        for _ in 0..Self::RETRIES {
            let Seen { row, mismatch } = self.entry(credential);
            if mismatch != 0 {
                break;
            }
            let names = |_| self.grants.names(GrantRef(row.payload));
            if let Some(grant) = self.with_grant(credential, &row, names) {
                return Some(grant);
            }
        }
        self.deleted(credential)
    }

    /// How often a reader repeats what a change of the same entry disturbed. Each time takes a
    /// change, so this many in one call mean a fault.
    pub(crate) const RETRIES: usize = 1_000;

    fn deleted(&self, credential: CredentialId) -> Option<Arc<Grant>> {
        let CredentialId::Key(id) = credential else {
            return None;
        };
        let deleted = self.deleted.lock().unwrap_or_else(PoisonError::into_inner);
        let found = deleted.iter().rev().find(|(key, _)| *key == id);
        found.map(|(_, grant)| Arc::clone(grant))
    }

    pub(crate) fn legacy_terms(&self, grant_ref: GrantRef, now: Timestamp) -> LegacyTerms {
        self.grants.legacy_terms(grant_ref, now)
    }

    /// Returns the time to decide by: the latest of `now` and all times that this index was given,
    /// by verifications and by changes of its [`Keyring`](crate::Keyring). With it, the
    /// status of a key is shown as a verifier would decide.
    pub fn latest(&self, now: impl Into<Timestamp>) -> Timestamp {
        self.ratchet(now.into())
    }

    #[inline]
    pub(crate) fn ratchet(&self, now: Timestamp) -> Timestamp {
        let latest = self.clock.load(Ordering::Relaxed);
        if latest < now.as_unix() {
            // Happens once per second, not once per call.
            self.clock.fetch_max(now.as_unix(), Ordering::Relaxed);
            now
        } else {
            Timestamp::from_unix(latest)
        }
    }

    fn writer(&self) -> std::sync::MutexGuard<'_, Writer> {
        self.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn apply_item(&self, writer: &mut Writer, item: ReplicaItem) -> Result<(), IndexError> {
        match item {
            ReplicaItem::Key(record) => self.apply_key(writer, record),
            ReplicaItem::KeyDeleted { id, .. } => {
                self.delete_key(writer, id);
                Ok(())
            }
            ReplicaItem::Cutoff { target, up_to } => {
                self.grants.revoke(&mut writer.grants, &target);
                writer.cutoffs.insert(target, up_to);
                Ok(())
            }
            ReplicaItem::Legacy(record) => self.apply_legacy(writer, record),
            ReplicaItem::Policy { tenant, policy } => {
                let before = match policy {
                    Some(policy) => writer.policies.insert(tenant.clone(), policy),
                    None => writer.policies.remove(&tenant),
                };
                writer.mark(tenant, before);
                Ok(())
            }
            ReplicaItem::LegacyPolicy { tenant, policy } => {
                let grants = &mut writer.grants;
                self.grants.set_legacy_policy(grants, tenant, policy);
                Ok(())
            }
        }
    }

    fn delete_key(&self, writer: &mut Writer, id: KeyId) {
        let (high, low) = id.halves();
        let Some(row) = self.keys.row(&writer.keys, high, low) else {
            return;
        };
        let grant_ref = GrantRef(row.payload);
        if let Some(grant) = self.grants.names(grant_ref) {
            let deleted = &mut *self.deleted.lock().unwrap_or_else(PoisonError::into_inner);
            if deleted.len() >= Self::DELETED {
                deleted.pop_front();
            }
            deleted.push_back((id, grant));
        }
        self.keys.remove(&mut writer.keys, high, low);
        self.secondary.remove(&mut writer.secondary, high, low);
        self.grants.release(&mut writer.grants, grant_ref);
        let rank = NamespaceVec::<()>::rank(grant_ref.namespace());
        let keys = &writer.keys;
        if let Some(members) = writer.members.get_mut(rank) {
            members.forget(|[high, low]| self.keys.row(keys, high, low).is_some());
        }
    }

    fn apply_key(&self, writer: &mut Writer, record: ReplicaRecord) -> Result<(), IndexError> {
        let (high, low) = record.id.halves();
        let revoked = !writer.cutoffs.is_empty()
            && writer.is_revoked(&record.targets(), record.created_revision);
        let policy = policy_of(&writer.policies, &record.tenant);
        let grant = Grant {
            tenant: record.tenant,
            holder: Holder::Owner(record.owner),
            scopes: record.scopes,
        };
        let grants = &mut writer.grants;
        let grant_ref = self.grants.acquire(grants, grant, revoked);
        let grant_ref = grant_ref.ok_or(IndexError::Full)?;
        let before = self.keys.row(&writer.keys, high, low);

        let previous = record.previous.as_ref();
        let secondary = (previous.is_some() || record.not_before.is_some()).then(|| Row {
            high,
            low,
            digest: previous.map_or([0; 4], |previous| *previous.digest.lanes()),
            payload: EntryMeta::pack_time(record.not_before.unwrap_or(Timestamp::MIN)),
            meta: previous.map_or(0, |previous| {
                let end = policy.end_of_life(previous.issued_at, Some(previous.until));
                let meta = EntryMeta::new(end, &previous.digest);
                meta.with(EntryMeta::PREVIOUS).0
            }),
        });
        // The secondary entry is written before the entry that refers to it, and removed after.
        if let Some(secondary) = &secondary {
            let lifetime = previous.map_or(Lifetime::default(), |previous| {
                Lifetime::new(previous.issued_at, Some(previous.until))
            });
            self.secondary
                .upsert(&mut writer.secondary, secondary, lifetime)?;
        }
        let end = policy.end_of_life(record.issued_at, record.expires_at);
        let mut meta = EntryMeta::new(end, &record.digest);
        meta = match record.status {
            ReplicaStatus::Active => meta,
            ReplicaStatus::Disabled => meta.with(EntryMeta::DISABLED),
            ReplicaStatus::Revoked => meta.with(EntryMeta::REVOKED),
        };
        if record.not_before.is_some() {
            meta = meta.with(EntryMeta::NOT_BEFORE);
        }
        let row = Row {
            high,
            low,
            digest: *record.digest.lanes(),
            payload: grant_ref.0,
            meta: meta.0,
        };
        let lifetime = Lifetime::new(record.issued_at, record.expires_at);
        self.keys.upsert(&mut writer.keys, &row, lifetime)?;
        if secondary.is_none() {
            self.secondary.remove(&mut writer.secondary, high, low);
        }
        // After the entry no longer refers to its old grant.
        if let Some(before) = before {
            self.grants
                .release(&mut writer.grants, GrantRef(before.payload));
        } else {
            let rank = NamespaceVec::<()>::rank(grant_ref.namespace());
            let len = writer.members.len().max(rank.saturating_add(1));
            writer.members.resize_with(len, Members::default);
            if let Some(members) = writer.members.get_mut(rank) {
                members.add([high, low]);
            }
        }
        Ok(())
    }

    fn apply_legacy(&self, writer: &mut Writer, record: ReplicaLegacy) -> Result<(), IndexError> {
        let (high, low) = record.id.halves();
        let revoked = writer.is_revoked(&record.targets(), record.created_revision);
        let grant = Grant {
            tenant: record.tenant,
            holder: Holder::Subject(record.subject),
            scopes: Scopes::All,
        };
        let grant_ref = self.grants.acquire(&mut writer.grants, grant, revoked);
        let grant_ref = grant_ref.ok_or(IndexError::Full)?;
        let before = self.legacy.row(&writer.legacy, high, low);
        let mut meta = EntryMeta::new(None, &record.digest);
        if record.blocked {
            meta = meta.with(EntryMeta::DISABLED);
        }
        if record.revoked {
            meta = meta.with(EntryMeta::REVOKED);
        }
        let row = Row {
            high,
            low,
            digest: *record.digest.lanes(),
            payload: grant_ref.0,
            meta: meta.0,
        };
        self.legacy.upsert(&mut writer.legacy, &row, ())?;
        if let Some(before) = before {
            self.grants
                .release(&mut writer.grants, GrantRef(before.payload));
        }
        Ok(())
    }

    /// Recomputes the end of at most `keys` keys whose policy was changed; returns whether none is
    /// left.
    fn apply_policies(&self, keys: usize) -> bool {
        let writer = &mut *self.writer();
        let mut left = keys;
        while let Some((tenant, number)) = writer.pending.last() {
            let policy = policy_of(&writer.policies, tenant);
            let members = writer.members.get_mut(NamespaceVec::<()>::rank(*number));
            let Some(members) = members else {
                writer.pending.pop();
                continue;
            };
            loop {
                if left == 0 {
                    return false;
                }
                let Some([high, low]) = members.next() else {
                    writer.pending.pop();
                    break;
                };
                left = left.saturating_sub(1);
                let with_end = |meta, lifetime: &Lifetime| {
                    EntryMeta(meta).with_end(lifetime.end_under(&policy)).0
                };
                self.keys.update_meta(&mut writer.keys, high, low, with_end);
                let secondary = &mut writer.secondary;
                self.secondary
                    .update_meta(secondary, high, low, |meta, lifetime| {
                        if EntryMeta(meta).has(EntryMeta::PREVIOUS) {
                            with_end(meta, lifetime)
                        } else {
                            meta
                        }
                    });
            }
        }
        true
    }
}

fn changed_at(item: &Item) -> Option<Timestamp> {
    match item {
        Item::Key(record) => Some(record.updated_at),
        Item::Legacy(record) => Some(record.imported_at),
        Item::Cutoff(cutoff) => Some(cutoff.revocation.at),
        Item::KeyDeleted { .. } | Item::Policy(..) | Item::LegacyPolicy(..) => None,
    }
}

/// Lets other tasks of an executor run.
async fn yield_now() {
    let mut yielded = false;
    poll_fn(|cx| {
        if core::mem::replace(&mut yielded, true) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

impl fmt::Debug for Index {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Index")
            .field("as_of", &self.as_of())
            .field("confirmed_at", &self.confirmed_at())
            .finish_non_exhaustive()
    }
}

impl Writer {
    fn is_revoked(&self, targets: &[Target], created_revision: Revision) -> bool {
        targets
            .iter()
            .filter_map(|target| self.cutoffs.get(target))
            .any(|up_to| created_revision <= *up_to)
    }

    /// Marks the keys whose end a changed policy may change. `before` is the policy before, of the
    /// namespace itself or the default.
    fn mark(&mut self, tenant: Option<Tenant>, before: Option<ReplicaPolicy>) {
        let policies = &self.policies;
        let after = policies.get(&tenant).copied();
        let inherited = tenant
            .as_ref()
            .and_then(|_| policies.get(&None).copied())
            .unwrap_or_default();
        if before.unwrap_or(inherited) == after.unwrap_or(inherited) {
            return;
        }
        let concerned: Vec<_> = match tenant {
            Some(tenant) => {
                let number = self.grants.namespace(&tenant);
                number.map(|number| (tenant, number)).into_iter().collect()
            }
            None => self
                .grants
                .namespaces()
                .filter(|(tenant, _)| !policies.contains_key(&Some((*tenant).clone())))
                .map(|(tenant, number)| (tenant.clone(), number))
                .collect(),
        };
        for (tenant, number) in concerned {
            let members = self.members.get_mut(NamespaceVec::<()>::rank(number));
            if members.is_some_and(Members::mark) {
                self.pending.push((tenant, number));
            }
        }
    }
}

/// The policy of a tenant: its own, else the default policy.
fn policy_of(policies: &BTreeMap<Option<Tenant>, ReplicaPolicy>, tenant: &Tenant) -> ReplicaPolicy {
    let own = policies.get(&Some(tenant.clone()));
    own.or_else(|| policies.get(&None))
        .copied()
        .unwrap_or_default()
}

/// The part of the feed that a page is of.
struct Span {
    after: Revision,
    next_after: Revision,
    more: bool,
    last_revision: Revision,
}

impl Span {
    fn of(changes: &Changes) -> Self {
        Self {
            after: changes.after,
            next_after: changes.next_after,
            more: changes.more,
            last_revision: changes.last_revision(),
        }
    }
}

#[cfg(test)]
mod tests {
    use alloc::{sync::Arc, vec};
    use core::time::Duration;

    use super::*;
    use crate::{
        Access, DenyReason, Verifier,
        audit::{ChainHash, TrailHead},
    };

    const NOW: Timestamp = Timestamp::from_unix(1_700_000_000);

    /// An empty page of a history that is named by `hash` after revision zero.
    fn page(after: u64, next_after: u64, hash: u8) -> Changes {
        let hash_of = |revision| {
            let hash = ChainHash::from_bytes([hash; 32]);
            Some(if revision == 0 {
                ChainHash::START
            } else {
                hash
            })
        };
        let next_hash = hash_of(next_after);
        Changes {
            after: Revision::new(after),
            after_hash: hash_of(after).filter(|_| after <= next_after),
            entries: vec![],
            next_after: Revision::new(next_after),
            next_hash,
            more: false,
            head: TrailHead {
                revision: Revision::new(next_after),
                hash: next_hash.unwrap(),
            },
        }
    }

    fn feed(after: u64, next_after: u64) -> Changes {
        page(after, next_after, 1)
    }

    fn reason_of_key(verifier: &Verifier) -> DenyReason {
        let text =
            "dof_v1_d79e8aeb42e5476893c7d4c59a166264:dof_sk_123456789012345678901234567890123456";
        let denied = verifier.verify_text(text.as_bytes(), &Access::to("a"), NOW);
        denied.unwrap_err().reason()
    }

    fn index() -> Arc<Index> {
        Arc::new(Index::new(KeyFormat::new("dof").unwrap(), Peppers::none()))
    }

    #[test]
    fn an_index_refuses_permanently_after_its_store_went_back() {
        let index = index();
        let verifier = index.verifier(None);
        index.apply(&feed(0, 10), NOW).unwrap();
        assert_eq!(reason_of_key(&verifier), DenyReason::Mistyped);
        let went_back = index.apply(&feed(10, 4), NOW).unwrap_err();
        assert_eq!(reason_of_key(&verifier), DenyReason::Stale);
        assert!(!verifier.is_ready(NOW));
        // The other store has reached revision 11 as well, but its entries up to 10 may differ.
        assert_eq!(index.apply(&feed(10, 11), NOW), Err(went_back));
        assert_eq!(reason_of_key(&verifier), DenyReason::Stale);
    }

    #[test]
    fn an_invalidated_index_refuses_calls_until_it_is_confirmed() {
        let index = index();
        let verifier = index.verifier(Some(Duration::from_secs(10)));
        index.apply(&feed(0, 10), NOW).unwrap();
        assert!(verifier.is_ready(NOW));
        index.invalidate();
        assert!(!verifier.is_ready(NOW));
        assert_eq!(reason_of_key(&verifier), DenyReason::Stale);
        index.apply(&feed(10, 10), NOW).unwrap();
        assert!(verifier.is_ready(NOW));
        assert!(!verifier.is_ready(NOW.plus_seconds(10)));
    }
}
