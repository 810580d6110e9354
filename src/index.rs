//! An in-memory index of all keys, for verification without I/O.
//!
//! `src/index/README.md` describes the data structure and the order of steps in verification.

mod append_vec;
mod error;
mod grant;
mod line;
mod meta;
mod sync;
mod table;

use std::sync::{
    Mutex, OnceLock, PoisonError,
    atomic::{AtomicI64, Ordering},
};

use alloc::collections::BTreeMap;
use core::fmt;

pub use error::{FollowError, IndexError};
pub(crate) use grant::{Grant, GrantRef, Holder, Namespace};
pub(crate) use line::Row;
pub(crate) use meta::{End, EntryMeta};
pub(crate) use table::{Place, Seen};

use crate::{
    cutoff::{Cutoff, Target},
    digest::Peppers,
    format::KeyFormat,
    key_id::KeyId,
    legacy::{LegacyId, LegacyPolicy, LegacyRecord},
    name::NamespaceId,
    policy::Policy,
    record::{KeyRecord, Status},
    revision::Revision,
    scope::Scopes,
    store::{Changes, Entry, Item, KeyStore},
    timestamp::Timestamp,
};

use append_vec::AppendVec;
use grant::Grants;
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
/// namespace, owner and scopes. Names of deleted owners and namespaces stay in memory until a new
/// index is built.
///
/// # Clock
///
/// Verifications use the latest time that any verification was given: a clock that jumps back does
/// not revive expired keys. A clock that jumps ahead by mistake therefore expires keys until a new
/// index is built.
pub struct Index {
    keys: Table,
    /// Rarely needed parts of keys: the previous secret and `not_before`.
    secondary: Table,
    legacy: Table,
    grants: Grants,
    /// All policies for legacy credentials that were ever set; they are few.
    legacy_policies: AppendVec<OnceLock<LegacyPolicy>, 20>,
    /// The time before the last read of the feed that reached its end; [`NEVER`] or [`INVALID`] if there
    /// is none.
    confirmed_at: AtomicI64,
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
}

/// The writer's state in addition to the tables.
struct Writer {
    /// The revision up to which the feed was applied.
    cursor: Revision,
    /// The cursor when the end of the feed was last reached: everything up to it is known.
    as_of: Revision,
    /// The latest [`Changes::last_revision`] seen.
    newest: Revision,
    /// The error after which the index can never be confirmed again.
    failed: Option<IndexError>,
    keys: TableWriter<Lifetime>,
    /// With the grant of the key.
    secondary: TableWriter<(Lifetime, u64)>,
    legacy: TableWriter<()>,
    cutoffs: BTreeMap<Target, Cutoff>,
    policies: BTreeMap<Option<NamespaceId>, Policy>,
    /// The policies for legacy credentials, as numbers in [`Index::legacy_policies`].
    legacy_policies: BTreeMap<Option<NamespaceId>, u32>,
    policies_changed: bool,
    legacy_policies_changed: bool,
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

    fn end_under(&self, policy: &Policy) -> Option<Timestamp> {
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
            legacy_policies: AppendVec::new(),
            confirmed_at: AtomicI64::new(NEVER),
            clock: AtomicI64::new(i64::MIN),
            writer: Mutex::new(Writer {
                cursor: Revision::ZERO,
                as_of: Revision::ZERO,
                newest: Revision::ZERO,
                failed: None,
                keys: keys_writer,
                secondary: secondary_writer,
                legacy: legacy_writer,
                cutoffs: BTreeMap::new(),
                policies: BTreeMap::new(),
                legacy_policies: BTreeMap::new(),
                policies_changed: false,
                legacy_policies_changed: false,
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
            (writer.cursor, writer.newest)
        };
        loop {
            let before = progress();
            let (cursor, _) = before;
            let changes = store.changes(cursor, Self::PAGE).await?;
            if self.take(&changes, confirmation)? {
                return Ok(self.as_of());
            }
            // Another task may have learned of a later revision in the meantime.
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
    ///   the store was restored from a backup, or it is another store; build a new index
    /// - the index has no room -> [`IndexError::Full`]
    ///
    /// The last two are permanent: from then on every verification is refused as
    /// [`DenyReason::Stale`](crate::DenyReason::Stale) and every page with the same error,
    /// even if the store reaches the index's revision again.
    pub fn apply(
        &self,
        changes: &Changes,
        asked_at: impl Into<Timestamp>,
    ) -> Result<(), IndexError> {
        self.take(changes, Confirmation::At(asked_at.into()))
            .map(drop)
    }

    /// Applies a page as [`Index::apply`] does; returns whether it reached the end of the feed.
    ///
    /// Only a page with the latest `last_revision` seen counts as the end: an item of an older page
    /// may have changed since, and moved to a part of the feed that the index has not read.
    fn take(&self, changes: &Changes, confirmation: Confirmation) -> Result<bool, IndexError> {
        let mut writer = self.writer();
        let at = writer.cursor;
        if let Some(error) = writer.failed {
            return Err(error);
        }
        if changes.after > at {
            return Err(IndexError::Gap { at });
        }
        if changes.next_after < changes.after {
            let error = IndexError::Regressed {
                store_at: changes.next_after,
                at,
            };
            return Err(self.fail(&mut writer, error));
        }
        let mut applied = Ok(());
        for entry in &changes.entries {
            if entry.revision > writer.cursor {
                applied = self.apply_entry(&mut writer, entry);
                if applied.is_err() {
                    break;
                }
                writer.cursor = entry.revision;
            }
        }
        // Policies are applied together, once per page.
        if core::mem::take(&mut writer.policies_changed) {
            self.apply_policies(&writer);
        }
        if core::mem::take(&mut writer.legacy_policies_changed) {
            self.apply_legacy_policies(&writer);
        }
        if let Err(error) = applied {
            return Err(self.fail(&mut writer, error));
        }
        writer.cursor = writer.cursor.max(changes.next_after);
        writer.newest = writer.newest.max(changes.last_revision);
        let at_end = !changes.more && changes.last_revision >= writer.newest;
        if at_end {
            writer.as_of = writer.cursor;
            let before = self.confirmed();
            let confirmed = match confirmation {
                Confirmation::At(time) => time.as_unix(),
                Confirmation::AtLeast(time) => time.as_unix().max(before),
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

    /// The latest time that a verification was given, for a metric: if it is far ahead of the real
    /// time, a caller passed a wrong time.
    pub fn clock(&self) -> Timestamp {
        Timestamp::from_unix(self.clock.load(Ordering::Relaxed))
    }

    /// The memory of the tables in bytes, without names and grants.
    pub fn table_bytes(&self) -> usize {
        [&self.keys, &self.secondary, &self.legacy]
            .iter()
            .fold(0, |sum, table| sum.saturating_add(table.bytes()))
    }

    const PAGE: usize = 1000;

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

    #[inline]
    pub(crate) fn is_revoked(&self, grant_ref: GrantRef, namespace: &Namespace) -> bool {
        self.grants.is_revoked(grant_ref, namespace)
    }

    pub(crate) fn has_all_scopes(&self, grant_ref: GrantRef) -> bool {
        self.grants.has_all_scopes(grant_ref)
    }

    #[inline]
    pub(crate) fn namespace(&self, grant_ref: GrantRef) -> Option<&Namespace> {
        self.grants.namespace(grant_ref)
    }

    pub(crate) fn grant(&self, grant_ref: GrantRef) -> Option<&Grant> {
        self.grants.get(grant_ref)
    }

    pub(crate) fn legacy_policy(&self, grant_ref: GrantRef) -> &LegacyPolicy {
        static OFF: LegacyPolicy = LegacyPolicy::Off;
        self.grants
            .legacy_policy(grant_ref)
            .and_then(|number| self.legacy_policies.value(number))
            .unwrap_or(&OFF)
    }

    /// Returns the time to decide by: the latest of `now` and all earlier times.
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

    fn apply_entry(&self, writer: &mut Writer, entry: &Entry) -> Result<(), IndexError> {
        match &entry.item {
            Item::Key(record) => self.apply_key(writer, record),
            Item::KeyDeleted(id) => {
                let (high, low) = id.halves();
                self.keys.remove(&mut writer.keys, high, low);
                self.secondary.remove(&mut writer.secondary, high, low);
                Ok(())
            }
            Item::Cutoff(cutoff) => {
                self.grants.revoke(&cutoff.target);
                writer.cutoffs.insert(cutoff.target.clone(), cutoff.clone());
                Ok(())
            }
            Item::Legacy(record) => self.apply_legacy(writer, record),
            Item::Policy(namespace, policy) => {
                match policy {
                    Some(policy) => writer.policies.insert(namespace.clone(), policy.clone()),
                    None => writer.policies.remove(namespace),
                };
                writer.policies_changed = true;
                Ok(())
            }
            Item::LegacyPolicy(namespace, policy) => {
                match policy {
                    Some(policy) => {
                        let number = self.legacy_policies.push(policy.clone());
                        let number = number.ok_or(IndexError::Full)?;
                        writer.legacy_policies.insert(namespace.clone(), number)
                    }
                    None => writer.legacy_policies.remove(namespace),
                };
                writer.legacy_policies_changed = true;
                Ok(())
            }
        }
    }

    fn apply_key(&self, writer: &mut Writer, record: &KeyRecord) -> Result<(), IndexError> {
        let (high, low) = record.id.halves();
        let targets = record.targets();
        let revoked = writer.is_revoked(&targets, record.created_revision);
        let holder = Holder::Owner(record.owner.clone());
        let grant_ref = self
            .grants
            .intern(&record.tenant, &holder, &record.scopes, &targets, revoked)
            .ok_or(IndexError::Full)?;

        let policy = policy_of(&writer.policies, &record.tenant.namespace);
        let previous = record.previous.as_ref();
        let secondary = (previous.is_some() || record.not_before.is_some()).then(|| Row {
            high,
            low,
            digest: previous.map_or([0; 4], |previous| *previous.digest.lanes()),
            payload: EntryMeta::pack_time(record.not_before.unwrap_or(Timestamp::MIN)),
            meta: previous.map_or(0, |previous| {
                let end = previous.expires_under(&policy);
                let meta = EntryMeta::new(Some(end), &previous.digest);
                meta.with(EntryMeta::PREVIOUS).0
            }),
        });
        // The secondary entry is written before the entry that refers to it, and removed after.
        if let Some(secondary) = &secondary {
            let lifetime = previous.map_or(Lifetime::default(), |previous| {
                Lifetime::new(previous.issued_at, Some(previous.until))
            });
            self.secondary
                .upsert(&mut writer.secondary, secondary, (lifetime, grant_ref.0))?;
        }
        let mut meta = EntryMeta::new(record.expires_under(&policy), &record.digest);
        meta = match record.status {
            Status::Active => meta,
            Status::Disabled => meta.with(EntryMeta::DISABLED),
            Status::Revoked(_) => meta.with(EntryMeta::REVOKED),
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
        Ok(())
    }

    fn apply_legacy(&self, writer: &mut Writer, record: &LegacyRecord) -> Result<(), IndexError> {
        let (high, low) = record.id.halves();
        let targets = record.targets();
        let revoked = writer.is_revoked(&targets, record.created_revision);
        let holder = Holder::Subject(record.subject.clone());
        let grant_ref = self
            .grants
            .intern(&record.tenant, &holder, &Scopes::All, &targets, revoked)
            .ok_or(IndexError::Full)?;
        let mut meta = EntryMeta::new(None, &record.digest);
        if record.blocked {
            meta = meta.with(EntryMeta::DISABLED);
        }
        if record.revoked.is_some() {
            meta = meta.with(EntryMeta::REVOKED);
        }
        let row = Row {
            high,
            low,
            digest: *record.digest.lanes(),
            payload: grant_ref.0,
            meta: meta.0,
        };
        let policy = own_or_default(&writer.legacy_policies, &record.tenant.namespace);
        self.grants.set_legacy_policy(grant_ref, policy.copied());
        self.legacy.upsert(&mut writer.legacy, &row, ())?;
        Ok(())
    }

    /// Assigns each namespace its policy for legacy credentials.
    fn apply_legacy_policies(&self, writer: &Writer) {
        self.grants.set_legacy_policies(|namespace| {
            own_or_default(&writer.legacy_policies, namespace).copied()
        });
    }

    /// Recomputes the end of every secret after a change of policy: one pass over all keys.
    fn apply_policies(&self, writer: &Writer) {
        let with_new_end = |meta: u64, lifetime: &Lifetime, grant_ref: u64| match self
            .grants
            .get(GrantRef(grant_ref))
        {
            Some(grant) => {
                let policy = policy_of(&writer.policies, &grant.tenant.namespace);
                EntryMeta(meta).with_end(lifetime.end_under(&policy)).0
            }
            None => meta,
        };
        self.keys.update_metas(&writer.keys, |row, lifetime| {
            with_new_end(row.meta, lifetime, row.payload)
        });
        self.secondary
            .update_metas(&writer.secondary, |row, (lifetime, grant_ref)| {
                if EntryMeta(row.meta).has(EntryMeta::PREVIOUS) {
                    with_new_end(row.meta, lifetime, *grant_ref)
                } else {
                    row.meta
                }
            });
    }
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
            .any(|cutoff| cutoff.covers(created_revision))
    }
}

fn policy_of(policies: &BTreeMap<Option<NamespaceId>, Policy>, namespace: &NamespaceId) -> Policy {
    own_or_default(policies, namespace)
        .cloned()
        .unwrap_or_default()
}

fn own_or_default<'a, P>(
    policies: &'a BTreeMap<Option<NamespaceId>, P>,
    namespace: &NamespaceId,
) -> Option<&'a P> {
    policies
        .get(&Some(namespace.clone()))
        .or_else(|| policies.get(&None))
}

#[cfg(test)]
mod tests {
    use alloc::{sync::Arc, vec};
    use core::time::Duration;

    use super::*;
    use crate::{Access, DenyReason, Verifier};

    const NOW: Timestamp = Timestamp::from_unix(1_700_000_000);

    fn feed(after: u64, next_after: u64) -> Changes {
        Changes {
            after: Revision::new(after),
            entries: vec![],
            next_after: Revision::new(next_after),
            last_revision: Revision::new(next_after),
            more: false,
        }
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
