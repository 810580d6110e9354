//! The comparison of a trail with the head of its store and with the records that it describes.

use alloc::{
    collections::VecDeque,
    string::{String, ToString},
    vec::Vec,
};
use core::fmt;

use crate::{
    audit::{AuditEntry, AuditEvent, ChainError, Field, RecordHash, TrailHead, Value},
    cutoff::Target,
    revision::Revision,
    store::{
        AuditQuery, Cursor, Entry, Item, KeyQuery, KeyStore, NamespaceQuery, NamespaceRecord,
        StoreError,
    },
};

/// Verifies the audit trail of a store: that its events form one chain from revision 1 to the head
/// of the store, and that each record of the store is the one that its event describes. Others may
/// write to the store meanwhile.
///
/// [`Keyring::verify_audit`](crate::Keyring::verify_audit) calls it.
///
/// # Errors
///
/// - the trail was changed, does not end at the head of the store, or fits neither its records nor
///   the head that was kept -> [`VerifyError`]
/// - the store failed -> [`StoreError`]
pub async fn verify<E>(store: &dyn KeyStore, kept: Option<TrailHead>) -> Result<Verified, E>
where
    E: From<VerifyError> + From<StoreError>,
{
    let mut verification = Verification::new(store.head().await?, kept);
    let mut events = Events::new(store);
    while !verification.is_at_head() {
        let Some(event) = events.next().await? else {
            break;
        };
        verification.event(&event)?;
    }
    verification.end()?;
    verify_records::<E>(store, &mut verification).await?;
    verify_namespaces::<E>(store, &mut verification).await?;
    // What changed meanwhile.
    while let Some(event) = events.next().await? {
        verification.event(&event)?;
    }
    let mut missing = None;
    if let Some(revision) = verification.first_missing() {
        missing = Events::new(store).at(revision).await?.cloned();
    }
    Ok(verification.finish(missing.as_ref(), store.head().await?)?)
}

/// Compares every item of the change feed with the event of its last change.
async fn verify_records<E>(store: &dyn KeyStore, verification: &mut Verification) -> Result<(), E>
where
    E: From<VerifyError> + From<StoreError>,
{
    let mut events = Events::new(store);
    let mut after = Revision::ZERO;
    loop {
        let changes = store.changes(after, KeyQuery::LIMIT_MAX).await?;
        for entry in &changes.entries {
            let event = events.at(entry.revision).await?;
            verification.record(entry, event)?;
        }
        // A feed that does not go on has no end.
        if !changes.more || changes.next_after <= after {
            return Ok(());
        }
        after = changes.next_after;
    }
}

async fn verify_namespaces<E>(
    store: &dyn KeyStore,
    verification: &mut Verification,
) -> Result<(), E>
where
    E: From<VerifyError> + From<StoreError>,
{
    let mut events = Events::new(store);
    let mut query = NamespaceQuery::every_team().limit(KeyQuery::LIMIT_MAX);
    loop {
        let page = store.namespaces(&query).await?;
        for namespace in &page.items {
            let event = events.at(namespace.created_revision).await?;
            verification.namespace(namespace, event)?;
        }
        let goes_on = |next: &Cursor| {
            let after = query.after.map_or(Revision::ZERO, Cursor::revision);
            next.revision() > after
        };
        match page.next.filter(goes_on) {
            Some(next) => query.after = Some(next),
            None => return Ok(()),
        }
    }
}

/// The events of every team in the order of their revisions, page by page.
struct Events<'a> {
    store: &'a dyn KeyStore,
    /// The page, oldest first.
    page: VecDeque<AuditEvent>,
    /// The revision after which the next page begins.
    after: Revision,
}

impl<'a> Events<'a> {
    fn new(store: &'a dyn KeyStore) -> Self {
        Self {
            store,
            page: VecDeque::new(),
            after: Revision::ZERO,
        }
    }

    /// The next event; `None` at the end of the trail, until there is another one.
    async fn next(&mut self) -> Result<Option<AuditEvent>, StoreError> {
        if self.page.is_empty() {
            self.read(KeyQuery::LIMIT_MAX).await?;
        }
        Ok(self.page.pop_front())
    }

    /// The event of a revision, which must not be less than that of an earlier call; the next one
    /// if it is missing.
    async fn at(&mut self, revision: Revision) -> Result<Option<&AuditEvent>, StoreError> {
        while self
            .page
            .front()
            .is_some_and(|event| event.revision < revision)
        {
            self.page.pop_front();
        }
        if self.page.is_empty() {
            let start = before(revision);
            // Far from the last one, its neighbours are probably not needed.
            let near = start.get().saturating_sub(self.after.get()) < NEAR;
            self.after = start.max(self.after);
            self.read(if near { KeyQuery::LIMIT_MAX } else { 1 })
                .await?;
        }
        Ok(self.page.front())
    }

    async fn read(&mut self, limit: usize) -> Result<(), StoreError> {
        let query = AuditQuery::every_team()
            .after(Cursor::after(self.after))
            .limit(limit);
        self.page = self.store.audit(&query).await?.items.into();
        if let Some(last) = self.page.back() {
            self.after = last.revision;
        }
        Ok(())
    }
}

/// How many revisions apart two events are read as neighbours.
const NEAR: u64 = 100;

/// The result of a verification.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Verified {
    /// The last event that was verified. Keep it outside the store.
    pub head: TrailHead,
    /// How many records of the store were compared with their events, deleted keys and namespaces
    /// included.
    pub records: u64,
}

/// The state of a verification of a store.
///
/// The trail is read first, up to the head that the store had at the beginning. Each event says
/// which earlier state it replaced, so the trail says at which revisions the store holds a record,
/// and the hash of each. Then the records are read. A record that changed meanwhile is found at a
/// later revision, and the events after the head say so: a store can be verified while it is
/// written to.
///
/// It needs two bits for each revision.
#[derive(Debug)]
struct Verification {
    head: TrailHead,
    kept: Option<TrailHead>,
    at: TrailHead,
    /// The revisions whose record must be in the store, and was not found yet.
    records: Bits,
    /// The revisions that bound a namespace which was not found yet.
    namespaces: Bits,
    found: u64,
}

impl Verification {
    /// Begins with the head of the store, and a head that was kept outside the store.
    fn new(head: TrailHead, kept: Option<TrailHead>) -> Self {
        Self {
            head,
            kept,
            at: TrailHead::START,
            records: Bits::default(),
            namespaces: Bits::default(),
            found: 0,
        }
    }

    /// Whether the trail was read up to the head.
    fn is_at_head(&self) -> bool {
        self.at.revision >= self.head.revision
    }

    /// Takes the next event, up to the head or after it.
    fn event(&mut self, event: &AuditEvent) -> Result<(), VerifyError> {
        let expected = self.at.revision.next();
        if event.revision > expected {
            return Err(VerifyError::Missing {
                first: expected,
                last: before(event.revision),
            });
        }
        let after_head = self.is_at_head();
        self.at.advance(event)?;
        self.check_kept()?;
        let entry = &event.entry;
        if let Some(replaced) = entry.replaces {
            // A record that was read before this event is no longer awaited.
            if !self.records.remove(replaced) && !after_head {
                return Err(VerifyError::from(ChainError {
                    revision: event.revision,
                }));
            }
        }
        if after_head {
            return Ok(());
        }
        if entry.record.is_some() {
            self.records.insert(event.revision);
        }
        if binds(entry) {
            self.namespaces.insert(event.revision);
        }
        self.check_head(self.head)
    }

    /// Takes the end of the trail.
    fn end(&self) -> Result<(), VerifyError> {
        if !self.is_at_head() {
            return Err(VerifyError::Missing {
                first: self.at.revision.next(),
                last: self.head.revision,
            });
        }
        if self.head.revision == Revision::ZERO && self.head != TrailHead::START {
            let revision = Revision::ZERO;
            return Err(VerifyError::HeadDiffers { revision });
        }
        match self.kept {
            Some(kept) if kept.revision > self.at.revision => Err(VerifyError::Missing {
                first: self.at.revision.next(),
                last: kept.revision,
            }),
            _ => Ok(()),
        }
    }

    /// Takes a record, and the event of the revision at which it last changed.
    fn record(&mut self, entry: &Entry, event: Option<&AuditEvent>) -> Result<(), VerifyError> {
        let fault = |fault| VerifyError::Record {
            object: Object::of_item(&entry.item),
            revision: entry.revision,
            fault,
        };
        let event = event.filter(|event| event.revision == entry.revision);
        let event = event.ok_or_else(|| fault(RecordFault::NoEvent))?;
        if event.entry.record != Some(RecordHash::of(&entry.item)) {
            return Err(fault(RecordFault::Differs));
        }
        if entry.revision <= self.head.revision && !self.records.remove(entry.revision) {
            return Err(fault(RecordFault::Replaced));
        }
        self.found = self.found.saturating_add(1);
        Ok(())
    }

    /// Takes a namespace, and the event of the revision that bound it.
    fn namespace(
        &mut self,
        record: &NamespaceRecord,
        event: Option<&AuditEvent>,
    ) -> Result<(), VerifyError> {
        let revision = record.created_revision;
        let fault = |fault| VerifyError::Record {
            object: Object(alloc::format!("namespace {}", record.tenant.namespace)),
            revision,
            fault,
        };
        let event = event.filter(|event| event.revision == revision && binds(&event.entry));
        let entry = &event.ok_or_else(|| fault(RecordFault::NoEvent))?.entry;
        let told = |(field, value): (Field, Value)| {
            let mut changes = entry.changes.iter();
            changes.any(|change| change.field == field && change.new.as_ref() == Some(&value))
        };
        let count = entry
            .changes
            .iter()
            .filter(|change| of_namespace(change.field));
        let fields = record.fields();
        if entry.team.as_ref() != Some(&record.tenant.team)
            || entry.at != record.created_at
            || count.count() != fields.len()
            || !fields.into_iter().all(told)
        {
            return Err(fault(RecordFault::Differs));
        }
        if revision <= self.head.revision && !self.namespaces.remove(revision) {
            return Err(fault(RecordFault::Replaced));
        }
        self.found = self.found.saturating_add(1);
        Ok(())
    }

    /// The first revision that left a record which the store does not hold.
    fn first_missing(&self) -> Option<Revision> {
        let (record, namespace) = (self.records.first(), self.namespaces.first());
        match (record, namespace) {
            (Some(one), Some(other)) => Some(one.min(other)),
            (one, other) => one.or(other),
        }
    }

    /// Ends the verification. `missing` is the event of [`first_missing`](Self::first_missing),
    /// `head` the head of the store at the end.
    fn finish(
        self,
        missing: Option<&AuditEvent>,
        head: TrailHead,
    ) -> Result<Verified, VerifyError> {
        if let Some(event) = missing {
            return Err(VerifyError::Record {
                object: Object::of_entry(&event.entry),
                revision: event.revision,
                fault: RecordFault::Missing,
            });
        }
        if head.revision < self.at.revision {
            return Err(VerifyError::BeyondHead {
                revision: head.revision,
            });
        }
        self.check_head(head)?;
        Ok(Verified {
            head: self.head,
            records: self.found,
        })
    }

    /// Compares the last event with the head of the store, if it is the event of that revision.
    fn check_head(&self, head: TrailHead) -> Result<(), VerifyError> {
        if head.revision == self.at.revision && head.hash != self.at.hash {
            return Err(VerifyError::HeadDiffers {
                revision: head.revision,
            });
        }
        Ok(())
    }

    /// Compares the last event with the head that was kept.
    fn check_kept(&self) -> Result<(), VerifyError> {
        match self.kept {
            Some(kept) if kept.revision == self.at.revision && kept.hash != self.at.hash => {
                Err(VerifyError::KeptDiffers {
                    revision: kept.revision,
                })
            }
            _ => Ok(()),
        }
    }
}

/// Whether the commit bound a namespace to its team.
fn binds(entry: &AuditEntry) -> bool {
    let mut changes = entry.changes.iter();
    changes.any(|change| change.field == Field::Namespace)
}

fn of_namespace(field: Field) -> bool {
    matches!(field, Field::Namespace | Field::Label | Field::Region)
}

fn before(revision: Revision) -> Revision {
    Revision::new(revision.get().saturating_sub(1))
}

/// The audit trail does not fit its store, or was tampered with.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum VerifyError {
    /// An event was changed, removed or moved.
    #[error(transparent)]
    Chain(#[from] ChainError),
    /// Events are missing.
    #[error("the audit trail lacks the events of revisions {first} to {last}")]
    Missing {
        /// The first revision without an event.
        first: Revision,
        /// The last revision of which an event was expected.
        last: Revision,
    },
    /// The store's head holds another hash than the last event.
    #[error("the head of the store does not have the hash of the event of revision {revision}")]
    HeadDiffers {
        /// The revision of the head.
        revision: Revision,
    },
    /// The trail goes on after the head of the store.
    #[error("the audit trail has events after revision {revision}, the head of the store")]
    BeyondHead {
        /// The revision of the head.
        revision: Revision,
    },
    /// The trail differs from the head that was kept outside the store.
    #[error("the event of revision {revision} does not have the hash that was kept")]
    KeptDiffers {
        /// The revision of the kept head.
        revision: Revision,
    },
    /// A record of the store does not fit the trail.
    #[error("{object}, revision {revision}: {fault}")]
    Record {
        /// The object.
        object: Object,
        /// The revision of its record.
        revision: Revision,
        /// What does not fit.
        fault: RecordFault,
    },
}

impl VerifyError {
    /// The revision at which the trail or a record does not fit.
    pub fn revision(&self) -> Revision {
        match self {
            Self::Chain(ChainError { revision })
            | Self::Missing {
                first: revision, ..
            }
            | Self::HeadDiffers { revision }
            | Self::BeyondHead { revision }
            | Self::KeptDiffers { revision }
            | Self::Record { revision, .. } => *revision,
        }
    }
}

/// How a record of the store does not fit the trail.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RecordFault {
    /// The trail has no event of the record's revision, or one about another object.
    #[error("the store holds a record that no event of the audit trail describes")]
    NoEvent,
    /// The record is not the one that its event describes.
    #[error("the store holds another record than the one that the audit trail describes")]
    Differs,
    /// A later event replaced the record.
    #[error("the store holds a record that a later event of the audit trail replaced")]
    Replaced,
    /// The store does not hold the record.
    #[error("the store lacks the record that the audit trail describes")]
    Missing,
}

/// The object that a record or an event is about, for a message.
#[derive(Clone, PartialEq, Eq)]
pub struct Object(String);

impl Object {
    fn of_item(item: &Item) -> Self {
        Self(match item {
            Item::Key(record) => alloc::format!("key:{}", record.id),
            Item::KeyDeleted { id, .. } => alloc::format!("key:{id}"),
            Item::Legacy(record) => alloc::format!("legacy:{}", record.id),
            Item::Cutoff(cutoff) => match &cutoff.target {
                Target::Team(team) => alloc::format!("team {team}"),
                Target::Namespace(tenant) => alloc::format!("namespace {}", tenant.namespace),
                Target::Owner(_, owner) => owner.to_string(),
            },
            Item::Policy(place, _) => match place {
                Some(tenant) => alloc::format!("policy of namespace {}", tenant.namespace),
                None => "default policy".into(),
            },
            Item::LegacyPolicy(place, _) => match place {
                Some(tenant) => alloc::format!("legacy policy of namespace {}", tenant.namespace),
                None => "default legacy policy".into(),
            },
        })
    }

    fn of_entry(entry: &AuditEntry) -> Self {
        Self(match (&entry.credential, &entry.owner, &entry.namespace) {
            (Some(credential), ..) => credential.to_string(),
            (None, Some(owner), _) => owner.to_string(),
            (None, None, Some(namespace)) => alloc::format!("namespace {namespace}"),
            (None, None, None) => match &entry.team {
                Some(team) => alloc::format!("team {team}"),
                None => "default policy".into(),
            },
        })
    }
}

impl fmt::Display for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Debug for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A set of revisions, one bit each.
#[derive(Debug, Default)]
struct Bits(Vec<u64>);

impl Bits {
    fn insert(&mut self, revision: Revision) {
        let (word, bit) = place(revision);
        if self.0.len() <= word {
            self.0.resize(word.saturating_add(1), 0);
        }
        if let Some(word) = self.0.get_mut(word) {
            *word |= bit;
        }
    }

    /// Whether the revision was in the set.
    fn remove(&mut self, revision: Revision) -> bool {
        let (word, bit) = place(revision);
        let Some(word) = self.0.get_mut(word) else {
            return false;
        };
        let was_there = *word & bit != 0;
        *word &= !bit;
        was_there
    }

    fn first(&self) -> Option<Revision> {
        let found = (0_u64..).zip(&self.0).find(|(_, word)| **word != 0);
        found.map(|(at, word)| {
            let bit = u64::from(word.trailing_zeros());
            Revision::new(at.saturating_mul(64).saturating_add(bit))
        })
    }
}

fn place(revision: Revision) -> (usize, u64) {
    let word = usize::try_from(revision.get() / 64).unwrap_or(usize::MAX);
    (word, 1 << (revision.get() % 64))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_of_revisions_gives_its_first() {
        let mut bits = Bits::default();
        assert_eq!(bits.first(), None);
        for revision in [1, 63, 64, 1000] {
            bits.insert(Revision::new(revision));
        }
        for revision in [1, 63, 64, 1000] {
            assert_eq!(bits.first(), Some(Revision::new(revision)));
            assert!(bits.remove(Revision::new(revision)));
            assert!(!bits.remove(Revision::new(revision)));
        }
        assert_eq!(bits.first(), None);
        assert!(!bits.remove(Revision::new(u64::MAX)));
    }
}
