//! The whole population of keys in memory, for verification without I/O.

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

/// Every key of a store, shaped for verification: one cache line a key, read without lock,
/// allocation or I/O while one writer follows the store's change feed.
///
/// An index is empty, and every verification over it is refused as
/// [`DenyReason::NotReady`](crate::DenyReason::NotReady), until it has followed a store to the
/// end of its feed once: [`Index::follow`]. From then on the embedder calls `follow` again as
/// often as its revocation bound asks; a [`Keyring`](crate::Keyring) does so after each of its
/// own changes.
///
/// # Memory
///
/// 64 bytes a key in tables that are 30 to 60 % full, and one entry for each combination of
/// namespace, owner and scopes. The names of owners and namespaces that are gone stay until the
/// index is built anew.
///
/// # Clock
///
/// The index keeps the latest time that any verification was given, and no verification is
/// judged by an earlier one: a clock that jumps back revives nothing. A clock that jumps ahead by
/// mistake therefore expires keys until the index is built anew.
pub struct Index {
    keys: Table,
    /// What few keys have: a previous secret, or a beginning.
    secondary: Table,
    legacy: Table,
    grants: Grants,
    /// Every policy for legacy credentials that there was. They are few.
    legacy_policies: AppendVec<OnceLock<LegacyPolicy>, 20>,
    /// When somebody last asked the store and then read its feed to the end; [`NEVER`] at first.
    confirmed_at: AtomicI64,
    clock: AtomicI64,
    writer: Mutex<Writer>,
    format: KeyFormat,
    peppers: Peppers,
}

/// Further from every [`Timestamp`] than a bound on staleness can be.
const NEVER: i64 = i64::MIN;

/// What the writer knows beside the tables.
struct Writer {
    /// Where in the feed the index is.
    cursor: Revision,
    /// Up to where it knows everything: the cursor, at the last end of the feed.
    as_of: Revision,
    /// The latest revision at which a part of the feed was read.
    newest: Revision,
    /// Why the index can never be confirmed again.
    failed: Option<IndexError>,
    keys: TableWriter<Life>,
    /// With what the key is granted.
    secondary: TableWriter<(Life, u64)>,
    legacy: TableWriter<()>,
    cutoffs: BTreeMap<Target, Cutoff>,
    policies: BTreeMap<Option<NamespaceId>, Policy>,
    /// The numbers of the policies for legacy credentials.
    legacy_policies: BTreeMap<Option<NamespaceId>, u32>,
    policies_changed: bool,
    legacy_policies_changed: bool,
}

/// What a secret's end is worked out from when the policy changes: when it was issued and when it
/// ends by itself, in the five bytes that a row takes for a time. There is one for each slot.
#[derive(Clone, Copy, Default)]
struct Life {
    issued_at: [u8; 5],
    expires_at: [u8; 5],
}

impl Life {
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
    /// An empty index, not ready, for keys of this format under these peppers.
    pub fn new(format: KeyFormat, peppers: Peppers) -> Self {
        let (keys, keys_writer) = Table::new();
        let (secondary, extras_writer) = Table::new();
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
                secondary: extras_writer,
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
    /// `now` is the time before the call: up to then the index knows everything, so it is
    /// confirmed at that time. Several callers may follow at once.
    ///
    /// # Errors
    ///
    /// - the store failed -> [`FollowError::Store`]; what was read so far is in force
    /// - the feed does not fit the index -> [`FollowError::Index`]
    pub async fn follow(
        &self,
        store: &dyn KeyStore,
        now: impl Into<Timestamp>,
    ) -> Result<Revision, FollowError> {
        let asked_at = now.into();
        loop {
            let cursor = self.writer().cursor;
            let changes = store.changes(cursor, Self::PAGE).await?;
            if self.take(&changes, asked_at)? {
                return Ok(self.as_of());
            }
            if self.writer().cursor == cursor {
                return Err(IndexError::Stalled { at: cursor }.into());
            }
        }
    }

    /// Takes over a part of a store's change feed, which must begin where the index is or before.
    ///
    /// What the index knows already is passed over, so a part that comes late or twice changes
    /// nothing. The end of the feed confirms the index at `asked_at`: the time before the part was
    /// asked for.
    ///
    /// # Errors
    ///
    /// - the part begins behind where the index is -> [`IndexError::Gap`]
    /// - the store is behind where it was asked to begin -> [`IndexError::Regressed`]: it is
    ///   another store, or a backup; build a new index
    /// - there is no room -> [`IndexError::Full`]
    ///
    /// The last two are permanent: every verification is refused as
    /// [`DenyReason::NotReady`](crate::DenyReason::NotReady) and every further part with the same
    /// error, also once the store has come as far as the index.
    pub fn apply(
        &self,
        changes: &Changes,
        asked_at: impl Into<Timestamp>,
    ) -> Result<(), IndexError> {
        self.take(changes, asked_at.into()).map(drop)
    }

    /// As [`Index::apply`]; says whether this was the end of the feed.
    ///
    /// The end is only believed of a part that was read no earlier than any other: while an older
    /// one was on its way, something in it may have moved on to where the index has not been yet.
    fn take(&self, changes: &Changes, asked_at: Timestamp) -> Result<bool, IndexError> {
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
        // Policies come into force together, once for the whole part.
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
        let ended = !changes.more && changes.last_revision >= writer.newest;
        if ended {
            writer.as_of = writer.cursor;
            // Not the latest of all: after a clock that ran back, the next confirmation counts.
            self.confirmed_at
                .store(asked_at.as_unix(), Ordering::Release);
        }
        Ok(ended)
    }

    fn fail(&self, writer: &mut Writer, error: IndexError) -> IndexError {
        writer.failed = Some(error);
        self.invalidate();
        error
    }

    /// Refuses every verification as [`DenyReason::NotReady`](crate::DenyReason::NotReady) until
    /// the index has been followed to the end of the feed again: for a follower that can no longer
    /// tell how old the index is.
    pub fn invalidate(&self) {
        self.confirmed_at.store(NEVER, Ordering::Release);
    }

    /// The revision up to which the index knows everything: the last end of the feed that it came
    /// to. In the midst of a feed it knows parts of what came later, and may lack parts of it.
    pub fn as_of(&self) -> Revision {
        self.writer().as_of
    }

    /// Whether the index has followed a store to its end, and was not
    /// [invalidated](Index::invalidate) since.
    pub fn is_ready(&self) -> bool {
        self.confirmed() != NEVER
    }

    /// The time at which the index last knew everything that its store had; none before it has
    /// followed a store to its end.
    pub fn confirmed_at(&self) -> Option<Timestamp> {
        self.is_ready()
            .then(|| Timestamp::from_unix(self.confirmed()))
    }

    #[inline]
    pub(crate) fn confirmed(&self) -> i64 {
        self.confirmed_at.load(Ordering::Acquire)
    }

    /// The latest time that a verification was given, for a metric: far ahead of the real time, it
    /// says that somebody passed a wrong one.
    pub fn clock(&self) -> Timestamp {
        Timestamp::from_unix(self.clock.load(Ordering::Relaxed))
    }

    /// Bytes that the tables of the index take, without names and grants.
    pub fn table_bytes(&self) -> usize {
        [&self.keys, &self.secondary, &self.legacy]
            .iter()
            .fold(0, |sum, table| sum.saturating_add(table.bytes()))
    }

    const PAGE: usize = 1000;

    /// Where the key with this identifier is, if it is there. The line is on its way to the
    /// processor from now on.
    #[inline]
    pub(crate) fn place_of_key(&self, id: KeyId) -> Place<'_> {
        let (high, low) = id.halves();
        self.keys.locate(spread(high, low))
    }

    /// As [`Index::place_of_key`], of what ought to be the digits of an identifier.
    #[expect(clippy::inline_always, reason = "as `Table::locate`")]
    #[inline(always)]
    pub(crate) fn place_of_digits(&self, digits: &[u8; KeyId::DIGITS]) -> Place<'_> {
        self.keys.locate(spread_digits(digits))
    }

    pub(crate) fn key(&self, id: KeyId) -> Seen {
        let (high, low) = id.halves();
        self.keys.find(high, low)
    }

    pub(crate) fn extra(&self, id: KeyId) -> Seen {
        let (high, low) = id.halves();
        self.secondary.find(high, low)
    }

    pub(crate) fn legacy(&self, id: LegacyId) -> Seen {
        let (high, low) = id.halves();
        self.legacy.find(high, low)
    }

    #[inline]
    pub(crate) fn has_ended(&self, grant_ref: GrantRef, namespace: &Namespace) -> bool {
        self.grants.has_ended(grant_ref, namespace)
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

    /// The time to judge by: `now`, or a later one that was seen before.
    #[inline]
    pub(crate) fn ratchet(&self, now: Timestamp) -> Timestamp {
        let latest = self.clock.load(Ordering::Relaxed);
        if latest < now.as_unix() {
            // Once a second, not once a call.
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
                self.grants.end(&cutoff.target);
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
        let ended = writer.is_behind(&targets, record.created_revision);
        let holder = Holder::Owner(record.owner.clone());
        let grant_ref = self
            .grants
            .intern(&record.tenant, &holder, &record.scopes, &targets, ended)
            .ok_or(IndexError::Full)?;

        let policy = policy_of(&writer.policies, &record.tenant.namespace);
        let previous = record.previous.as_ref();
        let extra = (previous.is_some() || record.not_before.is_some()).then(|| Row {
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
        // What the extra allows comes into force before what needs it goes, and leaves after.
        if let Some(extra) = &extra {
            let life = previous.map_or(Life::default(), |previous| {
                Life::new(previous.issued_at, Some(previous.until))
            });
            self.secondary
                .upsert(&mut writer.secondary, extra, (life, grant_ref.0))?;
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
        let life = Life::new(record.issued_at, record.expires_at);
        self.keys.upsert(&mut writer.keys, &row, life)?;
        if extra.is_none() {
            self.secondary.remove(&mut writer.secondary, high, low);
        }
        Ok(())
    }

    fn apply_legacy(&self, writer: &mut Writer, record: &LegacyRecord) -> Result<(), IndexError> {
        let (high, low) = record.id.halves();
        let targets = record.targets();
        let ended = writer.is_behind(&targets, record.created_revision);
        let holder = Holder::Subject(record.subject.clone());
        let grant_ref = self
            .grants
            .intern(&record.tenant, &holder, &Scopes::All, &targets, ended)
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

    /// Tells every namespace its policy for legacy credentials.
    fn apply_legacy_policies(&self, writer: &Writer) {
        self.grants.set_legacy_policies(|namespace| {
            own_or_default(&writer.legacy_policies, namespace).copied()
        });
    }

    /// Works out every secret's end anew: one pass over all keys, for the rare change of policy.
    fn apply_policies(&self, writer: &Writer) {
        let retimed =
            |meta: u64, life: &Life, grant_ref: u64| match self.grants.get(GrantRef(grant_ref)) {
                Some(grant) => {
                    let policy = policy_of(&writer.policies, &grant.tenant.namespace);
                    EntryMeta(meta).with_end(life.end_under(&policy)).0
                }
                None => meta,
            };
        self.keys.update_metas(&writer.keys, |row, life| {
            retimed(row.meta, life, row.payload)
        });
        self.secondary
            .update_metas(&writer.secondary, |row, (life, grant_ref)| {
                if EntryMeta(row.meta).has(EntryMeta::PREVIOUS) {
                    retimed(row.meta, life, *grant_ref)
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
    fn is_behind(&self, targets: &[Target], created_revision: Revision) -> bool {
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
    use alloc::vec;

    use super::*;
    use crate::{Access, DenyReason};

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
    fn an_index_whose_store_went_back_refuses_permanently() {
        let index = index();
        let verifier = index.verifier(None);
        index.apply(&feed(0, 10), NOW).unwrap();
        assert_eq!(reason_of_key(&verifier), DenyReason::Mistyped);
        let went_back = index.apply(&feed(10, 4), NOW).unwrap_err();
        assert_eq!(reason_of_key(&verifier), DenyReason::NotReady);
        assert!(!verifier.is_ready(NOW));
        // The other store has come as far since: what it has instead of the known is unknown.
        assert_eq!(index.apply(&feed(10, 11), NOW), Err(went_back));
        assert_eq!(reason_of_key(&verifier), DenyReason::NotReady);
    }

    #[test]
    fn an_invalidated_index_refuses_until_it_is_confirmed() {
        let index = index();
        let verifier = index.verifier(Some(Duration::from_secs(10)));
        index.apply(&feed(0, 10), NOW).unwrap();
        assert!(verifier.is_ready(NOW));
        index.invalidate();
        assert!(!verifier.is_ready(NOW));
        assert_eq!(reason_of_key(&verifier), DenyReason::NotReady);
        index.apply(&feed(10, 10), NOW).unwrap();
        assert!(verifier.is_ready(NOW));
        assert!(!verifier.is_ready(NOW.plus_seconds(10)));
    }
}
