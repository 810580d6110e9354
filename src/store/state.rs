//! The store's contract as plain code.

mod judge;

use alloc::{
    collections::{BTreeMap, BTreeSet},
    vec::Vec,
};
use core::ops::Bound;

use crate::{
    audit::{AuditEvent, ChainHash},
    boundary::{Boundary, Realm},
    credential::CredentialId,
    identity::{Owner, Tenant},
    key_id::KeyId,
    legacy::{LegacyId, LegacyPolicy, LegacyRecord},
    name::{KeyName, NamespaceId, TeamId},
    policy::Policy,
    record::KeyRecord,
    revision::Revision,
    store::{
        AuditQuery, Change, Changes, Commit, Conflict, Cursor, Entry, Item, KeyQuery, LegacyQuery,
        Page,
    },
    usage::Usage,
};

/// A whole store as a value: every method of [`KeyStore`](super::KeyStore) as a plain function,
/// without lock and without I/O.
///
/// A store for one process wraps it in a lock, and keeps each [`Commit`] that it accepts
/// somewhere durable before it lets go of the lock. Commits are deterministic: the same ones in
/// the same order give the same state.
#[derive(Debug, Default)]
pub struct StoreState {
    revision: Revision,
    /// Every key that ever was; none for one that was deleted.
    keys: BTreeMap<KeyId, Option<KeyRecord>>,
    teams: BTreeMap<TeamId, BTreeMap<Revision, KeyId>>,
    namespaces: BTreeMap<NamespaceId, NamespaceState>,
    legacy: BTreeMap<LegacyId, LegacyRecord>,
    legacy_by_birth: BTreeMap<Revision, LegacyId>,
    boundaries: BTreeMap<Realm, Boundary>,
    policies: BTreeMap<Option<NamespaceId>, Policy>,
    legacy_policies: BTreeMap<Option<NamespaceId>, LegacyPolicy>,
    /// What changed last at each revision, and the other way round.
    feed: BTreeMap<Revision, Subject>,
    last_change: BTreeMap<Subject, Revision>,
    audit: Vec<AuditEvent>,
    usage: BTreeMap<CredentialId, Usage>,
}

#[derive(Debug)]
struct NamespaceState {
    team: TeamId,
    by_birth: BTreeMap<Revision, KeyId>,
    by_name: BTreeMap<KeyName, BTreeSet<KeyId>>,
    by_owner: BTreeMap<Owner, BTreeSet<KeyId>>,
}

/// What the change feed tells of.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Subject {
    Key(KeyId),
    Boundary(Realm),
    Legacy(LegacyId),
    Policy(Option<NamespaceId>),
    LegacyPolicy(Option<NamespaceId>),
}

impl StoreState {
    /// An empty store.
    pub fn new() -> Self {
        Self::default()
    }

    /// The revision of the last change.
    pub fn revision(&self) -> Revision {
        self.revision
    }

    /// Judges a commit's conditions and keeps it, or changes nothing.
    ///
    /// # Errors
    ///
    /// The condition that was broken, as [`Change`] lists them.
    pub fn commit(&mut self, commit: &Commit) -> Result<Revision, Conflict> {
        self.judge(commit)?;
        let revision = self.revision.next();
        let subject = self.keep(commit, revision);
        if let Some(before) = self.last_change.insert(subject.clone(), revision) {
            self.feed.remove(&before);
        }
        self.feed.insert(revision, subject);
        let last = self.audit.last().map_or(ChainHash::START, |last| last.hash);
        self.audit
            .push(AuditEvent::chained(commit.event.clone(), revision, last));
        self.revision = revision;
        Ok(revision)
    }

    /// See [`KeyStore::key`](super::KeyStore::key).
    pub fn key(&self, tenant: &Tenant, id: KeyId) -> Option<KeyRecord> {
        let record = self.keys.get(&id)?.as_ref()?;
        (record.tenant == *tenant).then(|| self.read(record))
    }

    /// See [`KeyStore::keys`](super::KeyStore::keys).
    pub fn keys(&self, query: &KeyQuery) -> Page<KeyRecord> {
        let births = match &query.namespace {
            Some(namespace) => self.namespaces.get(namespace).map(|kept| &kept.by_birth),
            None => self.teams.get(&query.team),
        };
        let records = births
            .into_iter()
            .flat_map(|births| births.range(after(query.after)))
            .filter_map(|(_, id)| self.keys.get(id)?.as_ref())
            .map(|record| self.read(record))
            .filter(|record| query.selects(record));
        page(records, query.limit, |record| record.born)
    }

    /// See [`KeyStore::legacy`](super::KeyStore::legacy).
    pub fn legacy(&self, query: &LegacyQuery) -> Page<LegacyRecord> {
        let records = self
            .legacy_by_birth
            .range(after(query.after))
            .filter_map(|(_, id)| self.legacy.get(id))
            .filter(|record| query.selects(record))
            .map(|record| self.read_legacy(record));
        page(records, query.limit, |record| record.born)
    }

    /// See [`KeyStore::policy`](super::KeyStore::policy).
    pub fn policy(&self, tenant: &Tenant) -> Policy {
        self.effective(&self.policies, tenant)
    }

    /// See [`KeyStore::legacy_policy`](super::KeyStore::legacy_policy).
    pub fn legacy_policy(&self, tenant: &Tenant) -> LegacyPolicy {
        self.effective(&self.legacy_policies, tenant)
    }

    /// See [`KeyStore::audit`](super::KeyStore::audit).
    pub fn audit(&self, query: &AuditQuery) -> Page<AuditEvent> {
        fn fits<T: PartialEq>(wanted: Option<&T>, value: Option<&T>) -> bool {
            wanted.is_none() || wanted == value
        }
        let start = query.after.map_or(Revision::ZERO, Cursor::revision);
        let first = self.audit.partition_point(|event| event.revision <= start);
        let events = self
            .audit
            .iter()
            .skip(first)
            .filter(|event| {
                let entry = &event.entry;
                fits(query.team.as_ref(), entry.team.as_ref())
                    && fits(query.namespace.as_ref(), entry.namespace.as_ref())
                    && fits(query.credential.as_ref(), entry.credential.as_ref())
                    && fits(query.actor.as_ref(), entry.actor.owner.as_ref())
            })
            .cloned();
        page(events, query.limit, |event| event.revision)
    }

    /// See [`KeyStore::changes`](super::KeyStore::changes).
    pub fn changes(&self, after: Revision, limit: usize) -> Changes {
        let mut rest = self
            .feed
            .range((Bound::Excluded(after), Bound::Unbounded))
            .filter_map(|(revision, subject)| {
                Some(Entry {
                    revision: *revision,
                    item: self.item(subject)?,
                })
            });
        let entries: Vec<Entry> = rest.by_ref().take(limit.max(1)).collect();
        let more = rest.next().is_some();
        let upto = match entries.last() {
            Some(last) if more => last.revision,
            _ => self.revision,
        };
        Changes {
            after,
            entries,
            upto,
            more,
            head: self.revision,
        }
    }

    /// See [`KeyStore::record_usage`](super::KeyStore::record_usage).
    pub fn record_usage(&mut self, batch: &[Usage]) {
        for usage in batch {
            let kept = match usage.credential {
                CredentialId::Key(id) => self.keys.get(&id).is_some_and(Option::is_some),
                CredentialId::Legacy(id) => self.legacy.contains_key(&id),
            };
            if kept {
                self.usage
                    .entry(usage.credential)
                    .and_modify(|known| known.merge(usage))
                    .or_insert_with(|| usage.clone());
            }
        }
    }

    /// See [`KeyStore::usage`](super::KeyStore::usage).
    pub fn usage(&self, credentials: &[CredentialId]) -> Vec<Usage> {
        credentials
            .iter()
            .filter_map(|credential| self.usage.get(credential))
            .cloned()
            .collect()
    }

    /// Keeps a commit that was judged.
    fn keep(&mut self, commit: &Commit, revision: Revision) -> Subject {
        match &commit.change {
            Change::CreateKey { record, .. } => {
                self.insert(KeyRecord {
                    born: revision,
                    revision,
                    ..record.clone()
                });
                Subject::Key(record.id)
            }
            Change::ReplaceKey { record, .. } => {
                let born = self.take(record.id).map_or(revision, |known| known.born);
                self.insert(KeyRecord {
                    born,
                    revision,
                    ..record.clone()
                });
                Subject::Key(record.id)
            }
            Change::DeleteKey { id, .. } => {
                self.take(*id);
                self.keys.insert(*id, None);
                self.usage.remove(&CredentialId::Key(*id));
                Subject::Key(*id)
            }
            Change::CutRealm { realm, close } => {
                if let Realm::Namespace(tenant) = realm {
                    self.bind(tenant);
                }
                let closed = self.boundaries.get(realm).is_some_and(|known| known.closed);
                let boundary = Boundary::new(realm, *close || closed, revision, &commit.event);
                self.boundaries.insert(realm.clone(), boundary);
                Subject::Boundary(realm.clone())
            }
            Change::OpenRealm { realm } => {
                if let Some(boundary) = self.boundaries.get_mut(realm) {
                    *boundary = boundary.clone().reopened(revision);
                }
                Subject::Boundary(realm.clone())
            }
            Change::ImportLegacy { record } => {
                self.bind(&record.tenant);
                self.legacy_by_birth.insert(revision, record.id);
                self.legacy.insert(
                    record.id,
                    LegacyRecord {
                        born: revision,
                        revision,
                        ..record.clone()
                    },
                );
                Subject::Legacy(record.id)
            }
            Change::ReplaceLegacy { record, .. } => {
                if let Some(known) = self.legacy.get_mut(&record.id) {
                    *known = LegacyRecord {
                        born: known.born,
                        revision,
                        ..record.clone()
                    };
                }
                Subject::Legacy(record.id)
            }
            Change::SetPolicy { tenant, policy } => {
                let place = self.place(tenant.as_ref());
                set(&mut self.policies, place.clone(), policy.as_ref());
                Subject::Policy(place)
            }
            Change::SetLegacyPolicy { tenant, policy } => {
                let place = self.place(tenant.as_ref());
                set(&mut self.legacy_policies, place.clone(), policy.as_ref());
                Subject::LegacyPolicy(place)
            }
        }
    }

    /// The namespace that a policy is for, bound to its team.
    fn place(&mut self, tenant: Option<&Tenant>) -> Option<NamespaceId> {
        tenant.map(|tenant| {
            self.bind(tenant);
            tenant.namespace.clone()
        })
    }

    fn bind(&mut self, tenant: &Tenant) -> &mut NamespaceState {
        self.namespaces
            .entry(tenant.namespace.clone())
            .or_insert_with(|| NamespaceState {
                team: tenant.team.clone(),
                by_birth: BTreeMap::new(),
                by_name: BTreeMap::new(),
                by_owner: BTreeMap::new(),
            })
    }

    fn insert(&mut self, record: KeyRecord) {
        let (id, born) = (record.id, record.born);
        let namespace = self.bind(&record.tenant);
        namespace.by_birth.insert(born, id);
        let same_name = namespace.by_name.entry(record.name.clone());
        same_name.or_default().insert(id);
        let same_owner = namespace.by_owner.entry(record.owner.clone());
        same_owner.or_default().insert(id);
        let team = self.teams.entry(record.tenant.team.clone());
        team.or_default().insert(born, id);
        self.keys.insert(id, Some(record));
    }

    fn take(&mut self, id: KeyId) -> Option<KeyRecord> {
        fn remove<K: Ord>(sets: &mut BTreeMap<K, BTreeSet<KeyId>>, key: &K, id: KeyId) {
            if let Some(set) = sets.get_mut(key) {
                set.remove(&id);
                if set.is_empty() {
                    sets.remove(key);
                }
            }
        }
        let record = self.keys.get_mut(&id)?.take()?;
        if let Some(namespace) = self.namespaces.get_mut(&record.tenant.namespace) {
            namespace.by_birth.remove(&record.born);
            remove(&mut namespace.by_name, &record.name, id);
            remove(&mut namespace.by_owner, &record.owner, id);
        }
        if let Some(births) = self.teams.get_mut(&record.tenant.team) {
            births.remove(&record.born);
        }
        Some(record)
    }

    /// A key as it reads behind its boundaries.
    fn read(&self, record: &KeyRecord) -> KeyRecord {
        record.clone().behind(self.boundaries(&record.realms()))
    }

    fn read_legacy(&self, record: &LegacyRecord) -> LegacyRecord {
        record.clone().behind(self.boundaries(&record.realms()))
    }

    fn boundaries(&self, realms: &[Realm]) -> impl Iterator<Item = &Boundary> {
        realms.iter().filter_map(|realm| self.boundaries.get(realm))
    }

    /// The policy of a namespace: its own, the default that was set, or the default of the type.
    fn effective<P: Clone + Default>(
        &self,
        policies: &BTreeMap<Option<NamespaceId>, P>,
        tenant: &Tenant,
    ) -> P {
        let own = match self.namespaces.get(&tenant.namespace) {
            Some(known) if known.team == tenant.team => {
                policies.get(&Some(tenant.namespace.clone()))
            }
            _ => None,
        };
        own.or_else(|| policies.get(&None))
            .cloned()
            .unwrap_or_default()
    }

    fn item(&self, subject: &Subject) -> Option<Item> {
        Some(match subject {
            Subject::Key(id) => match self.keys.get(id)? {
                Some(record) => Item::Key(record.clone()),
                None => Item::KeyDeleted(*id),
            },
            Subject::Boundary(realm) => Item::Boundary(self.boundaries.get(realm)?.clone()),
            Subject::Legacy(id) => Item::Legacy(self.legacy.get(id)?.clone()),
            Subject::Policy(place) => {
                Item::Policy(place.clone(), self.policies.get(place).cloned())
            }
            Subject::LegacyPolicy(place) => {
                Item::LegacyPolicy(place.clone(), self.legacy_policies.get(place).cloned())
            }
        })
    }
}

/// The births that come after a cursor.
fn after(cursor: Option<Cursor>) -> (Bound<Revision>, Bound<Revision>) {
    let start = cursor.map_or(Bound::Unbounded, |cursor| {
        Bound::Excluded(cursor.revision())
    });
    (start, Bound::Unbounded)
}

/// The first items, and a cursor if there are more.
fn page<T>(
    items: impl Iterator<Item = T>,
    limit: usize,
    place: impl Fn(&T) -> Revision,
) -> Page<T> {
    let mut rest = items;
    let limit = limit.clamp(1, KeyQuery::LIMIT_MAX);
    let items: Vec<T> = rest.by_ref().take(limit).collect();
    let next = match items.last() {
        Some(last) if rest.next().is_some() => Some(Cursor::behind(place(last))),
        _ => None,
    };
    Page { items, next }
}

fn set<P: Clone>(
    policies: &mut BTreeMap<Option<NamespaceId>, P>,
    place: Option<NamespaceId>,
    policy: Option<&P>,
) {
    match policy {
        Some(policy) => policies.insert(place, policy.clone()),
        None => policies.remove(&place),
    };
}
