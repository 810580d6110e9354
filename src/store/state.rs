//! The store contract as plain code.

use alloc::{
    collections::{BTreeMap, BTreeSet},
    vec::Vec,
};
use core::{convert::Infallible, ops::Bound};

use crate::{
    audit::{AuditEvent, ChainHash, TrailHead},
    credential_id::CredentialId,
    cutoff::{Cutoff, Target},
    format::KeyFormat,
    identity::{Owner, Tenant},
    key_id::KeyId,
    legacy::{LegacyId, LegacyPolicy, LegacyRecord},
    name::{KeyName, NamespaceId, TeamId},
    policy::Policy,
    record::KeyRecord,
    revision::Revision,
    store::{
        AuditQuery, Changes, Commit, Conflict, Cursor, Entry, Existing, Item, KeyQuery,
        LegacyQuery, LiveCount, NamespaceQuery, NamespaceRecord, Order, Page, PolicyLookup, Record,
        Snapshot, TargetPage, TargetQuery, TargetRecord, TargetsOf, WriteSet,
    },
    timestamp::Timestamp,
    usage::{
        Usage, UsageBatch, UsageDay, UsageDelta, UsageOf, UsageOutcome, UsageQuery, UsageSource,
    },
};

/// The state of a store as a value: every method of [`KeyStore`](super::KeyStore) as a plain
/// function without lock or I/O.
///
/// A store for one process wraps it in a lock and writes each accepted [`Commit`] durably before it
/// releases the lock. Commits are deterministic: replaying the same commits in the same order gives
/// the same state.
#[derive(Debug, Default)]
pub struct StoreState {
    revision: Revision,
    key_format: Option<KeyFormat>,
    keys: BTreeMap<KeyId, KeyRecord>,
    /// The tombstones of deleted keys.
    deleted_keys: BTreeMap<KeyId, Tenant>,
    /// The teams that a namespace is bound to.
    teams: BTreeMap<TeamId, TeamState>,
    namespaces: BTreeMap<NamespaceId, NamespaceState>,
    namespaces_by_creation: BTreeMap<Revision, NamespaceId>,
    legacy: BTreeMap<LegacyId, LegacyRecord>,
    legacy_by_creation: BTreeMap<Revision, LegacyId>,
    cutoffs: BTreeMap<Target, Cutoff>,
    policies: BTreeMap<Option<NamespaceId>, Policy>,
    legacy_policies: BTreeMap<Option<NamespaceId>, LegacyPolicy>,
    /// The item that last changed at each revision, and its inverse in `last_change`.
    feed: BTreeMap<Revision, Subject>,
    last_change: BTreeMap<Subject, Revision>,
    audit: Vec<AuditEvent>,
    usage: BTreeMap<CredentialId, Usage>,
    /// By the number of the day since 1970.
    usage_days: BTreeMap<i64, HourlyUses>,
    /// The last batch of each source of usage: its number, and when it was recorded.
    usage_sources: BTreeMap<UsageSource, (u64, Timestamp)>,
}

/// The uses in each hour of a day: of whom, whether with a legacy credential, and the outcome.
type HourlyUses = BTreeMap<(UsageOf, bool, UsageOutcome), [u64; 24]>;

#[derive(Debug, Default)]
#[expect(clippy::struct_field_names, reason = "one index each")]
struct TeamState {
    by_creation: BTreeMap<Revision, KeyId>,
    by_owner: BTreeMap<Owner, BTreeSet<KeyId>>,
    /// The keys that somebody created for another owner.
    by_creator: BTreeMap<Owner, BTreeSet<KeyId>>,
}

#[derive(Debug)]
struct NamespaceState {
    /// As it was bound to its team, without cutoffs applied.
    record: NamespaceRecord,
    by_creation: BTreeMap<Revision, KeyId>,
    by_name: BTreeMap<Owner, BTreeMap<KeyName, BTreeSet<KeyId>>>,
    by_owner: BTreeMap<Owner, BTreeSet<KeyId>>,
}

/// The identity of an item in the change feed.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Subject {
    Key(KeyId),
    Cutoff(Target),
    Legacy(LegacyId),
    Policy(Option<NamespaceId>),
    LegacyPolicy(Option<NamespaceId>),
}

impl StoreState {
    /// Creates an empty store.
    pub fn new() -> Self {
        Self::default()
    }

    /// The revision of the last commit.
    pub fn revision(&self) -> Revision {
        self.revision
    }

    /// Decides a commit and applies it.
    ///
    /// # Errors
    ///
    /// The first condition that does not hold, as listed on [`Change`](super::Change); nothing is
    /// changed.
    pub fn commit(&mut self, commit: &Commit) -> Result<Revision, Conflict> {
        let write_set = self.decide(commit)?;
        Ok(self.write(write_set))
    }

    /// Decides a commit without applying it, for a store that makes the commit durable before it
    /// calls [`StoreState::write`].
    ///
    /// # Errors
    ///
    /// The first condition that does not hold, as listed on [`Change`](super::Change).
    pub fn decide(&self, commit: &Commit) -> Result<WriteSet, Conflict> {
        commit.decide(&self.snapshot(commit))
    }

    /// Applies a write set, and returns its revision. Nothing else may have been written since the
    /// decision.
    pub fn write(&mut self, write_set: WriteSet) -> Revision {
        if let Some(record) = write_set.binds {
            self.bind(record);
        }
        if let Some(item) = write_set.item {
            let subject = self.put(item);
            if let Some(before) = self.last_change.insert(subject.clone(), write_set.revision) {
                self.feed.remove(&before);
            }
            self.feed.insert(write_set.revision, subject);
        }
        self.audit.push(write_set.event);
        self.revision = write_set.revision;
        self.revision
    }

    /// See [`KeyStore::head`](super::KeyStore::head).
    pub fn head(&self) -> TrailHead {
        self.audit
            .last()
            .map_or(TrailHead::START, |last| TrailHead {
                revision: last.revision,
                hash: last.hash,
            })
    }

    /// See [`KeyStore::key_format`](super::KeyStore::key_format).
    pub fn key_format(&self) -> Option<KeyFormat> {
        self.key_format
    }

    /// See [`KeyStore::record_key_format`](super::KeyStore::record_key_format).
    pub fn record_key_format(&mut self, format: &KeyFormat) -> KeyFormat {
        *self.key_format.get_or_insert(*format)
    }

    /// Reads the values of a commit's read set.
    fn snapshot(&self, commit: &Commit) -> Snapshot {
        let read_set = commit.read_set();
        let live = |id: &KeyId| self.is_live(id, commit.event.at);
        let namespace = |id: &NamespaceId| self.namespaces.get(id);
        let name_is_taken = read_set.name.is_some_and(|asked| {
            namespace(asked.namespace)
                .and_then(|known| known.by_name.get(asked.owner)?.get(asked.name))
                .is_some_and(|ids| ids.iter().any(|id| *id != asked.except && live(id)))
        });
        let live_keys = read_set
            .owner
            .and_then(|asked| namespace(asked.namespace)?.by_owner.get(asked.owner))
            .map_or(0, |ids| ids.iter().filter(|id| live(id)).count());
        let actor = read_set.actor.map(|id| self.existing(id));
        let actor_tenant = match &actor {
            Some(Existing::Key(record)) => Some(&record.tenant),
            Some(Existing::Legacy(record)) => Some(&record.tenant),
            _ => None,
        };
        let policy = read_set.policy.map(|lookup| match lookup {
            PolicyLookup::Keys(place) => Subject::Policy(place.cloned()),
            PolicyLookup::Legacy(place) => Subject::LegacyPolicy(place.cloned()),
        });
        Snapshot {
            last_revision: self.revision,
            last_hash: self.head().hash,
            policy: policy.and_then(|subject| {
                Some(Entry {
                    revision: *self.last_change.get(&subject)?,
                    item: self.item(&subject)?,
                })
            }),
            team: read_set
                .namespace
                .and_then(namespace)
                .map(|known| known.record.tenant.team.clone()),
            existing: read_set
                .credential
                .map_or(Existing::Nothing, |id| self.existing(id)),
            cutoffs: self.cutoffs(&read_set.targets).cloned().collect(),
            name_is_taken,
            target_is_known: read_set.known.is_some_and(|target| self.is_known(target)),
            live_keys: as_number(live_keys),
            actor_policy: self.policy(actor_tenant),
            actor_legacy_policy: self.legacy_policy(actor_tenant),
            actor: actor.unwrap_or_default(),
        }
    }

    /// Whether a key is live, with cutoffs applied.
    fn is_live(&self, id: &KeyId, at: Timestamp) -> bool {
        let record = self.keys.get(id);
        record.is_some_and(|record| self.read(record).is_live(at))
    }

    fn existing(&self, credential: CredentialId) -> Existing {
        match credential {
            CredentialId::Key(id) => match self.keys.get(&id) {
                Some(record) => Existing::Key(self.read(record)),
                None if self.deleted_keys.contains_key(&id) => Existing::Deleted,
                None => Existing::Nothing,
            },
            CredentialId::Legacy(id) => self.legacy.get(&id).map_or(Existing::Nothing, |record| {
                Existing::Legacy(self.read(record))
            }),
        }
    }

    /// See [`KeyStore::key`](super::KeyStore::key).
    pub fn key(&self, tenant: &Tenant, id: KeyId) -> Option<KeyRecord> {
        let record = self.keys.get(&id)?;
        (record.tenant == *tenant).then(|| self.read(record))
    }

    /// See [`KeyStore::keys`](super::KeyStore::keys).
    pub fn keys(&self, query: &KeyQuery) -> Page<KeyRecord> {
        let creations = match &query.namespace {
            Some(namespace) => self.namespaces.get(namespace).map(|kept| &kept.by_creation),
            None => self.teams.get(&query.team).map(|known| &known.by_creation),
        };
        let records = creations
            .into_iter()
            .flat_map(|creations| creations.range(within(query.between())))
            .filter_map(|(_, id)| self.keys.get(id))
            .map(|record| self.read(record))
            .filter(|record| query.selects(record) && query.reaches(record));
        if query.expires.is_some() {
            let records = records.map(|record| (query.place(&record), record));
            let by_expiry: BTreeMap<_, _> = records.collect();
            let records = by_expiry.into_values();
            return page(records, query.limit, |record| query.place(record));
        }
        match query.order {
            Order::OldestFirst => page(records, query.limit, |record| query.place(record)),
            Order::NewestFirst => page(records.rev(), query.limit, |record| query.place(record)),
        }
    }

    /// See [`KeyStore::legacy`](super::KeyStore::legacy).
    pub fn legacy(&self, query: &LegacyQuery) -> Page<LegacyRecord> {
        let records = self
            .legacy_by_creation
            .range(after(query.after))
            .filter_map(|(_, id)| self.legacy.get(id))
            .filter(|record| query.selects(record))
            .map(|record| self.read(record));
        page(records, query.limit, |record| record.created_revision)
    }

    /// See [`KeyStore::namespaces`](super::KeyStore::namespaces).
    pub fn namespaces(&self, query: &NamespaceQuery) -> Page<NamespaceRecord> {
        let records = self
            .namespaces_by_creation
            .range(after(query.after))
            .filter_map(|(_, id)| {
                let known = self.namespaces.get(id)?;
                Some(&known.record)
            })
            .filter(|record| query.selects(record))
            .map(|record| self.read(record));
        page(records, query.limit, |record| record.created_revision)
    }

    /// See [`KeyStore::targets`](super::KeyStore::targets).
    pub fn targets(&self, query: &TargetQuery) -> TargetPage {
        let names: BTreeSet<Target> = match &query.of {
            TargetsOf::Teams(after) => {
                let cut = self.cutoffs.keys().filter_map(|target| match target {
                    Target::Team(team) => Some(team),
                    Target::Namespace(_) | Target::Owner(..) => None,
                });
                self.teams
                    .keys()
                    .chain(cut)
                    .filter(|team| after.as_ref().is_none_or(|after| after < team))
                    .map(|team| Target::Team(team.clone()))
                    .collect()
            }
            TargetsOf::Members(team, after) => self.owners_of(team, |owner| match owner {
                Owner::User(user) => after.as_ref().is_none_or(|after| after < user),
                Owner::Service(_) => false,
            }),
            TargetsOf::Services(team, after) => self.owners_of(team, |owner| match owner {
                Owner::User(_) => false,
                Owner::Service(service) => after.as_ref().is_none_or(|after| after < service),
            }),
            TargetsOf::One(target) => {
                let known = self.is_known(target) || self.cutoffs.contains_key(target);
                known.then(|| target.clone()).into_iter().collect()
            }
        };
        let items = names.into_iter().map(|target| {
            let removed = self.cutoffs.get(&target).is_some_and(|known| known.blocked);
            Ok(TargetRecord { target, removed })
        });
        let Ok(page) = TargetPage::first_of::<Infallible>(items, query);
        page
    }

    /// The owners of a team that have a key or a cutoff.
    fn owners_of(&self, team: &TeamId, selects: impl Fn(&Owner) -> bool) -> BTreeSet<Target> {
        let known = self.teams.get(team).into_iter();
        let with_keys = known.flat_map(|known| known.by_owner.keys());
        let cut = self.cutoffs.keys().filter_map(|target| match target {
            Target::Owner(of, owner) if of == team => Some(owner),
            _ => None,
        });
        with_keys
            .chain(cut)
            .filter(|owner| selects(owner))
            .map(|owner| Target::Owner(team.clone(), owner.clone()))
            .collect()
    }

    /// See [`KeyStore::count_live`](super::KeyStore::count_live).
    pub fn count_live(&self, target: &Target, at: Timestamp) -> LiveCount {
        fn all<K>(ids: Option<&BTreeMap<K, KeyId>>) -> Vec<&KeyId> {
            ids.into_iter().flat_map(BTreeMap::values).collect()
        }
        fn of<'a>(
            sets: Option<&'a BTreeMap<Owner, BTreeSet<KeyId>>>,
            owner: &Owner,
        ) -> Vec<&'a KeyId> {
            let set = sets.and_then(|sets| sets.get(owner));
            set.into_iter().flatten().collect()
        }
        let count = |ids: Vec<&KeyId>| {
            let is_live = |id: &&KeyId| self.is_live(id, at);
            as_number(ids.into_iter().filter(is_live).count())
        };
        let team = self.teams.get(target.team());
        let legacy = |selects: &dyn Fn(&LegacyRecord) -> bool| {
            let records = self.legacy.values().map(|record| self.read(record));
            let live = records.filter(|record| record.revoked.is_none() && !record.blocked);
            as_number(live.filter(selects).count())
        };
        match target {
            Target::Team(id) => LiveCount::new(
                count(all(team.map(|known| &known.by_creation))),
                legacy(&|record| record.tenant.team == *id),
                0,
            ),
            Target::Namespace(tenant) => {
                let known = self.namespaces.get(&tenant.namespace);
                let known = known.filter(|known| known.record.tenant.team == tenant.team);
                LiveCount::new(
                    count(all(known.map(|known| &known.by_creation))),
                    legacy(&|record| record.tenant == *tenant),
                    0,
                )
            }
            Target::Owner(_, owner) => LiveCount::new(
                count(of(team.map(|known| &known.by_owner), owner)),
                0,
                count(of(team.map(|known| &known.by_creator), owner)),
            ),
        }
    }

    /// See [`Snapshot::target_is_known`].
    fn is_known(&self, target: &Target) -> bool {
        match target {
            Target::Team(team) => self.teams.contains_key(team),
            Target::Namespace(tenant) => {
                let known = self.namespaces.get(&tenant.namespace);
                known.is_some_and(|known| known.record.tenant.team == tenant.team)
            }
            Target::Owner(team, owner) => {
                let known = self.teams.get(team);
                known.is_some_and(|known| known.by_owner.contains_key(owner))
            }
        }
    }

    /// See [`KeyStore::policy`](super::KeyStore::policy).
    pub fn policy(&self, tenant: Option<&Tenant>) -> Policy {
        self.effective(&self.policies, tenant)
    }

    /// See [`KeyStore::legacy_policy`](super::KeyStore::legacy_policy).
    pub fn legacy_policy(&self, tenant: Option<&Tenant>) -> LegacyPolicy {
        self.effective(&self.legacy_policies, tenant)
    }

    /// See [`KeyStore::policies`](super::KeyStore::policies).
    pub fn policies(&self, tenants: &[Tenant]) -> Vec<Policy> {
        let each = tenants.iter().map(|tenant| self.policy(Some(tenant)));
        each.collect()
    }

    /// See [`KeyStore::legacy_policies`](super::KeyStore::legacy_policies).
    pub fn legacy_policies(&self, tenants: &[Tenant]) -> Vec<LegacyPolicy> {
        let each = tenants
            .iter()
            .map(|tenant| self.legacy_policy(Some(tenant)));
        each.collect()
    }

    /// See [`KeyStore::audit`](super::KeyStore::audit).
    pub fn audit(&self, query: &AuditQuery) -> Page<AuditEvent> {
        let cursor = query.after.map(Cursor::revision);
        let selected = |event: &&AuditEvent| query.selects(&event.entry);
        let position = |event: &AuditEvent| event.revision;
        match query.order {
            Order::OldestFirst => {
                let start = cursor.unwrap_or(Revision::ZERO);
                let first = self.audit.partition_point(|event| event.revision <= start);
                let rest = self.audit.iter().skip(first);
                page(rest.filter(selected).cloned(), query.limit, position)
            }
            Order::NewestFirst => {
                let end = cursor.map_or(self.audit.len(), |cursor| {
                    self.audit.partition_point(|event| event.revision < cursor)
                });
                let rest = self.audit.iter().take(end).rev();
                page(rest.filter(selected).cloned(), query.limit, position)
            }
        }
    }

    /// See [`KeyStore::changes`](super::KeyStore::changes).
    pub fn changes(&self, after: Revision, limit: usize) -> Changes {
        let entries = self
            .feed
            .range((Bound::Excluded(after), Bound::Unbounded))
            .filter_map(|(revision, subject)| {
                Some(Ok(Entry {
                    revision: *revision,
                    item: self.item(subject)?,
                }))
            });
        let hash_of = |revision| Ok(self.hash_of(revision));
        let Ok(changes) =
            Changes::first_of::<Infallible>(after, self.head(), entries, limit, hash_of);
        changes
    }

    /// The hash of the event with this revision.
    fn hash_of(&self, revision: Revision) -> Option<ChainHash> {
        let at = self
            .audit
            .binary_search_by_key(&revision, |event| event.revision);
        Some(self.audit.get(at.ok()?)?.hash)
    }

    /// See [`KeyStore::record_usage`](super::KeyStore::record_usage).
    pub fn record_usage(&mut self, batch: &UsageBatch, now: Timestamp) {
        if self.has_recorded(batch) {
            return;
        }
        let forgotten = UsageSource::forgotten_at(now);
        self.usage_sources.retain(|_, (_, at)| *at > forgotten);
        self.usage_sources
            .insert(batch.source, (batch.sequence, now));
        let (first, last) = batch.source.group();
        // The first comparison is cheap, and usually decides.
        while self.usage_sources.len() > UsageSource::GROUP_MAX
            && self.usage_sources.range(first..=last).count() > UsageSource::GROUP_MAX
        {
            let others = self.usage_sources.range(first..=last);
            let others = others.filter(|(source, _)| **source != batch.source);
            let oldest = others.min_by_key(|(source, (_, at))| (*at, **source));
            let Some(oldest) = oldest.map(|(source, _)| *source) else {
                break;
            };
            self.usage_sources.remove(&oldest);
        }
        let slot = batch.slot(now);
        for delta in batch.used(now) {
            let tenant = match delta.credential {
                CredentialId::Key(id) => self.keys.get(&id).map(|record| &record.tenant),
                CredentialId::Legacy(id) => self.legacy.get(&id).map(|record| &record.tenant),
            };
            let Some(tenant) = tenant.cloned() else {
                continue;
            };
            let usage = self.usage.entry(delta.credential);
            let usage = usage.or_insert_with(|| Usage::none(delta.credential));
            usage.add(&delta);
            if let Some((day, hour)) = slot {
                self.count(day, hour, &delta, tenant);
            }
        }
        let forgotten = UsageBatch::forgotten_at(now);
        self.usage_days.retain(|day, _| *day > forgotten);
    }

    /// Counts uses for an hour of a day.
    fn count(&mut self, day: i64, hour: usize, delta: &UsageDelta, tenant: Tenant) {
        let of = [
            UsageOf::Credential(delta.credential),
            UsageOf::Namespace(tenant.namespace),
            UsageOf::Team(tenant.team),
        ];
        let legacy = matches!(delta.credential, CredentialId::Legacy(_));
        let counted = self.usage_days.entry(day).or_default();
        for of in of {
            let hours = counted.entry((of, legacy, delta.outcome)).or_default();
            if let Some(count) = hours.get_mut(hour) {
                *count = count.saturating_add(delta.count);
            }
        }
    }

    /// See [`KeyStore::usage_days`](super::KeyStore::usage_days).
    pub fn usage_days(&self, query: &UsageQuery) -> Vec<UsageDay> {
        let mut found = Vec::new();
        if query.first > query.last {
            return found;
        }
        for (day, counted) in self.usage_days.range(query.days()) {
            for of in &query.of {
                let first = (of.clone(), false, UsageOutcome::Accepted);
                let rows = counted.range(first..).take_while(|((it, ..), _)| it == of);
                found.extend(rows.map(|((_, legacy, outcome), hours)| UsageDay {
                    of: of.clone(),
                    day: *day,
                    legacy: *legacy,
                    outcome: *outcome,
                    hours: *hours,
                }));
            }
        }
        found
    }

    /// Whether a batch is ignored, since it or a later one of its source was recorded.
    pub fn has_recorded(&self, batch: &UsageBatch) -> bool {
        let last = self.usage_sources.get(&batch.source);
        last.is_some_and(|(sequence, _)| batch.sequence <= *sequence)
    }

    /// See [`KeyStore::usage`](super::KeyStore::usage).
    pub fn usage(&self, credentials: &[CredentialId]) -> Vec<Usage> {
        credentials
            .iter()
            .filter_map(|credential| self.usage.get(credential))
            .cloned()
            .collect()
    }

    fn put(&mut self, item: Item) -> Subject {
        match item {
            Item::Key(record) => {
                let id = record.id;
                self.take(id);
                self.insert(record);
                Subject::Key(id)
            }
            Item::KeyDeleted { id, tenant } => {
                self.take(id);
                self.deleted_keys.insert(id, tenant);
                self.usage.remove(&CredentialId::Key(id));
                Subject::Key(id)
            }
            Item::Cutoff(cutoff) => {
                let target = cutoff.target.clone();
                self.cutoffs.insert(target.clone(), cutoff);
                Subject::Cutoff(target)
            }
            Item::Legacy(record) => {
                let id = record.id;
                self.legacy_by_creation.insert(record.created_revision, id);
                self.legacy.insert(id, record);
                Subject::Legacy(id)
            }
            Item::Policy(tenant, policy) => {
                let place = tenant.map(|tenant| tenant.namespace);
                set(&mut self.policies, place.clone(), policy);
                Subject::Policy(place)
            }
            Item::LegacyPolicy(tenant, policy) => {
                let place = tenant.map(|tenant| tenant.namespace);
                set(&mut self.legacy_policies, place.clone(), policy);
                Subject::LegacyPolicy(place)
            }
        }
    }

    fn bind(&mut self, record: NamespaceRecord) {
        self.teams.entry(record.tenant.team.clone()).or_default();
        let namespace = record.tenant.namespace.clone();
        self.namespaces_by_creation
            .insert(record.created_revision, namespace.clone());
        self.namespaces.insert(
            namespace,
            NamespaceState {
                record,
                by_creation: BTreeMap::new(),
                by_name: BTreeMap::new(),
                by_owner: BTreeMap::new(),
            },
        );
    }

    fn insert(&mut self, record: KeyRecord) {
        let (id, created_revision) = (record.id, record.created_revision);
        if let Some(namespace) = self.namespaces.get_mut(&record.tenant.namespace) {
            namespace.by_creation.insert(created_revision, id);
            let of_owner = namespace.by_name.entry(record.owner.clone()).or_default();
            let same_name = of_owner.entry(record.name.clone());
            same_name.or_default().insert(id);
            let same_owner = namespace.by_owner.entry(record.owner.clone());
            same_owner.or_default().insert(id);
        }
        let team = self.teams.entry(record.tenant.team.clone()).or_default();
        team.by_creation.insert(created_revision, id);
        let same_owner = team.by_owner.entry(record.owner.clone());
        same_owner.or_default().insert(id);
        if let Some(creator) = record.created_for_another_by() {
            let same_creator = team.by_creator.entry(creator.clone());
            same_creator.or_default().insert(id);
        }
        self.keys.insert(id, record);
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
        let record = self.keys.remove(&id)?;
        if let Some(namespace) = self.namespaces.get_mut(&record.tenant.namespace) {
            namespace.by_creation.remove(&record.created_revision);
            if let Some(of_owner) = namespace.by_name.get_mut(&record.owner) {
                remove(of_owner, &record.name, id);
                if of_owner.is_empty() {
                    namespace.by_name.remove(&record.owner);
                }
            }
            remove(&mut namespace.by_owner, &record.owner, id);
        }
        if let Some(team) = self.teams.get_mut(&record.tenant.team) {
            team.by_creation.remove(&record.created_revision);
            remove(&mut team.by_owner, &record.owner, id);
            if let Some(creator) = record.created_for_another_by() {
                remove(&mut team.by_creator, creator, id);
            }
        }
        Some(record)
    }

    /// The record with cutoffs applied.
    fn read<R: Record + Clone>(&self, record: &R) -> R {
        let targets = record.targets();
        record.clone().with_cutoffs(self.cutoffs(&targets))
    }

    fn cutoffs(&self, targets: &[Target]) -> impl Iterator<Item = &Cutoff> {
        targets.iter().filter_map(|target| self.cutoffs.get(target))
    }

    /// The policy in force: that of the namespace, else the stored default, else the type's
    /// default.
    fn effective<P: Clone + Default>(
        &self,
        policies: &BTreeMap<Option<NamespaceId>, P>,
        tenant: Option<&Tenant>,
    ) -> P {
        let own = tenant.and_then(|tenant| {
            let known = self.namespaces.get(&tenant.namespace)?;
            (known.record.tenant.team == tenant.team)
                .then(|| policies.get(&Some(tenant.namespace.clone())))?
        });
        own.or_else(|| policies.get(&None))
            .cloned()
            .unwrap_or_default()
    }

    fn item(&self, subject: &Subject) -> Option<Item> {
        Some(match subject {
            Subject::Key(id) => match self.keys.get(id) {
                Some(record) => Item::Key(record.clone()),
                None => Item::KeyDeleted {
                    id: *id,
                    tenant: self.deleted_keys.get(id)?.clone(),
                },
            },
            Subject::Cutoff(target) => Item::Cutoff(self.cutoffs.get(target)?.clone()),
            Subject::Legacy(id) => Item::Legacy(self.legacy.get(id)?.clone()),
            Subject::Policy(place) => Item::Policy(
                self.tenant_of(place.as_ref())?,
                self.policies.get(place).cloned(),
            ),
            Subject::LegacyPolicy(place) => {
                let policy = self.legacy_policies.get(place).cloned();
                Item::LegacyPolicy(self.tenant_of(place.as_ref())?, policy)
            }
        })
    }

    /// The tenant of the namespace of a policy: `Some(None)` for the default policy, `None` if the
    /// namespace is unknown.
    #[expect(clippy::option_option, reason = "the place of a policy is an option")]
    fn tenant_of(&self, place: Option<&NamespaceId>) -> Option<Option<Tenant>> {
        let Some(namespace) = place else {
            return Some(None);
        };
        let known = self.namespaces.get(namespace)?;
        Some(Some(known.record.tenant.clone()))
    }
}

fn as_number(count: usize) -> u64 {
    count.try_into().unwrap_or(u64::MAX)
}

/// The range of revisions after a cursor.
fn after(cursor: Option<Cursor>) -> (Bound<Revision>, Bound<Revision>) {
    let start = cursor.map_or(Bound::Unbounded, |cursor| {
        Bound::Excluded(cursor.revision())
    });
    (start, Bound::Unbounded)
}

/// The range of revisions between two.
fn within((after, before): (Revision, Revision)) -> (Bound<Revision>, Bound<Revision>) {
    if before <= after {
        // A range must not end before it begins.
        return (Bound::Excluded(after), Bound::Included(after));
    }
    (Bound::Excluded(after), Bound::Excluded(before))
}

/// The first `limit` items, and a cursor if there are more.
fn page<T, C: Into<Cursor>>(
    items: impl Iterator<Item = T>,
    limit: usize,
    position: impl Fn(&T) -> C,
) -> Page<T> {
    let Ok(page) = Page::first_of::<Infallible, C>(items.map(Ok), limit, position);
    page
}

fn set<P>(
    policies: &mut BTreeMap<Option<NamespaceId>, P>,
    place: Option<NamespaceId>,
    policy: Option<P>,
) {
    match policy {
        Some(policy) => policies.insert(place, policy),
        None => policies.remove(&place),
    };
}
