//! A sound store whose every call can be replaced.

use std::{
    future::poll_fn,
    sync::{Mutex, MutexGuard, PoisonError},
    task::{Poll, Waker},
};

use keyfob::{
    KeyId, KeyStore, Tenant, Timestamp,
    audit::{AuditEvent, TrailHead},
    gateway::{Usage, UsageBatch},
    key::{CredentialId, KeyFormat},
    legacy::{LegacyPolicy, LegacyRecord},
    manage::Policy,
    store::{
        AuditQuery, Changes, Commit, CommitError, Conflict, Cursor, Item, KeyQuery, KeyRecord,
        LegacyQuery, LiveCount, NamespaceQuery, NamespaceRecord, Page, Revision, StoreError,
        StoreState, Target, TargetPage, TargetQuery, UsageDay, UsageQuery, async_trait,
    },
};

type Commits = Box<dyn FnMut(&mut StoreState, &Commit) -> Result<Revision, Conflict> + Send>;
type CountsLive = Box<dyn FnMut(&StoreState, &Target, Timestamp) -> LiveCount + Send>;
type Finds = Box<dyn FnMut(&StoreState, &Tenant, KeyId) -> Option<KeyRecord> + Send>;
type Answers<Q, A> = Box<dyn FnMut(&StoreState, &Q) -> A + Send>;
type Policies<A> = Box<dyn FnMut(&StoreState, Option<&Tenant>) -> A + Send>;
/// Answers for many namespaces, with what answers for one.
type ManyPolicies<A> = Box<dyn FnMut(&StoreState, &mut Policies<A>, &[Tenant]) -> Vec<A> + Send>;
type Formats = Box<dyn FnMut(&StoreState) -> Option<KeyFormat> + Send>;
type RecordsFormat = Box<dyn FnMut(&mut StoreState, &KeyFormat) -> KeyFormat + Send>;
type Heads = Box<dyn FnMut(&StoreState) -> TrailHead + Send>;
type Tells = Box<dyn FnMut(&StoreState, Revision, usize) -> Changes + Send>;
/// Answers a wait after a revision that began at another one.
type Waits = Box<dyn FnMut(&StoreState, Revision, Revision) -> Poll<bool> + Send>;
type Wakes = Box<dyn FnMut(&mut Vec<Waker>) + Send>;
type Records = Box<dyn FnMut(&mut StoreState, &UsageBatch, Timestamp) + Send>;
type Counts = Box<dyn FnMut(&StoreState, &[CredentialId]) -> Vec<Usage> + Send>;

/// What a store does on each call: at first what the contract says.
pub(crate) struct Hooks {
    pub(crate) commit: Commits,
    pub(crate) key: Finds,
    pub(crate) keys: Answers<KeyQuery, Page<KeyRecord>>,
    pub(crate) legacy: Answers<LegacyQuery, Page<LegacyRecord>>,
    pub(crate) namespaces: Answers<NamespaceQuery, Page<NamespaceRecord>>,
    pub(crate) targets: Answers<TargetQuery, TargetPage>,
    pub(crate) count_live: CountsLive,
    pub(crate) policy: Policies<Policy>,
    pub(crate) legacy_policy: Policies<LegacyPolicy>,
    pub(crate) policies: ManyPolicies<Policy>,
    pub(crate) audit: Answers<AuditQuery, Page<AuditEvent>>,
    pub(crate) head: Heads,
    pub(crate) changes: Tells,
    pub(crate) wait: Waits,
    /// What a commit does with those who wait.
    pub(crate) wake: Wakes,
    pub(crate) key_format: Formats,
    pub(crate) record_key_format: RecordsFormat,
    pub(crate) record_usage: Records,
    pub(crate) usage: Counts,
    pub(crate) usage_days: Answers<UsageQuery, Vec<UsageDay>>,
}

impl Default for Hooks {
    fn default() -> Self {
        Self {
            commit: Box::new(StoreState::commit),
            key: Box::new(StoreState::key),
            keys: Box::new(StoreState::keys),
            legacy: Box::new(StoreState::legacy),
            namespaces: Box::new(StoreState::namespaces),
            targets: Box::new(StoreState::targets),
            count_live: Box::new(StoreState::count_live),
            policy: Box::new(StoreState::policy),
            legacy_policy: Box::new(StoreState::legacy_policy),
            policies: Box::new(|state, policy, tenants| {
                tenants.iter().map(|it| policy(state, Some(it))).collect()
            }),
            audit: Box::new(StoreState::audit),
            head: Box::new(StoreState::head),
            changes: Box::new(StoreState::changes),
            wait: Box::new(|state, after, _| ready_if(state.revision() > after, true)),
            wake: Box::new(|waiting| waiting.drain(..).for_each(Waker::wake)),
            key_format: Box::new(StoreState::key_format),
            record_key_format: Box::new(StoreState::record_key_format),
            record_usage: Box::new(StoreState::record_usage),
            usage: Box::new(StoreState::usage),
            usage_days: Box::new(StoreState::usage_days),
        }
    }
}

/// A store with a defect.
pub(crate) struct Broken {
    parts: Mutex<(StoreState, Hooks)>,
    waiting: Mutex<Vec<Waker>>,
}

impl Broken {
    pub(crate) fn new(hooks: Hooks) -> Self {
        Self {
            parts: Mutex::new((StoreState::new(), hooks)),
            waiting: Mutex::default(),
        }
    }

    /// The store as it is after it was opened again, with these defects.
    pub(crate) fn reopened(self, hooks: Hooks) -> Self {
        let (state, _) = self
            .parts
            .into_inner()
            .unwrap_or_else(PoisonError::into_inner);
        Self {
            parts: Mutex::new((state, hooks)),
            waiting: Mutex::default(),
        }
    }

    fn parts(&self) -> MutexGuard<'_, (StoreState, Hooks)> {
        self.parts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl KeyStore for Broken {
    async fn commit(&self, commit: &Commit) -> Result<Revision, CommitError> {
        let (state, hooks) = &mut *self.parts();
        let revision = (hooks.commit)(state, commit)?;
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        (hooks.wake)(&mut waiting);
        Ok(revision)
    }

    async fn key(&self, tenant: &Tenant, id: KeyId) -> Result<Option<KeyRecord>, StoreError> {
        let (state, hooks) = &mut *self.parts();
        Ok((hooks.key)(state, tenant, id))
    }

    async fn keys(&self, query: &KeyQuery) -> Result<Page<KeyRecord>, StoreError> {
        let (state, hooks) = &mut *self.parts();
        Ok((hooks.keys)(state, query))
    }

    async fn namespaces(
        &self,
        query: &NamespaceQuery,
    ) -> Result<Page<NamespaceRecord>, StoreError> {
        let (state, hooks) = &mut *self.parts();
        Ok((hooks.namespaces)(state, query))
    }

    async fn legacy(&self, query: &LegacyQuery) -> Result<Page<LegacyRecord>, StoreError> {
        let (state, hooks) = &mut *self.parts();
        Ok((hooks.legacy)(state, query))
    }

    async fn targets(&self, query: &TargetQuery) -> Result<TargetPage, StoreError> {
        let (state, hooks) = &mut *self.parts();
        Ok((hooks.targets)(state, query))
    }

    async fn count_live(&self, target: &Target, at: Timestamp) -> Result<LiveCount, StoreError> {
        let (state, hooks) = &mut *self.parts();
        Ok((hooks.count_live)(state, target, at))
    }

    async fn policy(&self, tenant: Option<&Tenant>) -> Result<Policy, StoreError> {
        let (state, hooks) = &mut *self.parts();
        Ok((hooks.policy)(state, tenant))
    }

    async fn legacy_policy(&self, tenant: Option<&Tenant>) -> Result<LegacyPolicy, StoreError> {
        let (state, hooks) = &mut *self.parts();
        Ok((hooks.legacy_policy)(state, tenant))
    }

    async fn policies(&self, tenants: &[Tenant]) -> Result<Vec<Policy>, StoreError> {
        let (state, hooks) = &mut *self.parts();
        Ok((hooks.policies)(state, &mut hooks.policy, tenants))
    }

    async fn legacy_policies(&self, tenants: &[Tenant]) -> Result<Vec<LegacyPolicy>, StoreError> {
        let (state, hooks) = &mut *self.parts();
        let policy = &mut hooks.legacy_policy;
        Ok(tenants.iter().map(|it| policy(state, Some(it))).collect())
    }

    async fn audit(&self, query: &AuditQuery) -> Result<Page<AuditEvent>, StoreError> {
        let (state, hooks) = &mut *self.parts();
        Ok((hooks.audit)(state, query))
    }

    async fn head(&self) -> Result<TrailHead, StoreError> {
        let (state, hooks) = &mut *self.parts();
        Ok((hooks.head)(state))
    }

    async fn changes(&self, after: Revision, limit: usize) -> Result<Changes, StoreError> {
        let (state, hooks) = &mut *self.parts();
        Ok((hooks.changes)(state, after, limit))
    }

    async fn wait_for_change(&self, after: Revision) -> Result<bool, StoreError> {
        let began = self.parts().0.revision();
        let answer = poll_fn(|context| {
            let (state, hooks) = &mut *self.parts();
            let answer = (hooks.wait)(state, after, began);
            if answer.is_pending() {
                let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
                waiting.push(context.waker().clone());
            }
            answer
        });
        Ok(answer.await)
    }

    fn is_shared(&self) -> bool {
        false
    }

    async fn key_format(&self) -> Result<Option<KeyFormat>, StoreError> {
        let (state, hooks) = &mut *self.parts();
        Ok((hooks.key_format)(state))
    }

    async fn record_key_format(&self, format: &KeyFormat) -> Result<KeyFormat, StoreError> {
        let (state, hooks) = &mut *self.parts();
        Ok((hooks.record_key_format)(state, format))
    }

    async fn record_usage(&self, batch: &UsageBatch, now: Timestamp) -> Result<(), StoreError> {
        let (state, hooks) = &mut *self.parts();
        (hooks.record_usage)(state, batch, now);
        Ok(())
    }

    async fn usage(&self, credentials: &[CredentialId]) -> Result<Vec<Usage>, StoreError> {
        let (state, hooks) = &mut *self.parts();
        Ok((hooks.usage)(state, credentials))
    }

    async fn usage_days(&self, query: &UsageQuery) -> Result<Vec<UsageDay>, StoreError> {
        let (state, hooks) = &mut *self.parts();
        Ok((hooks.usage_days)(state, query))
    }
}

/// A store that changes every commit before it judges it.
pub(crate) fn rewriting(
    mut rewrite: impl FnMut(&StoreState, &mut Commit) + Send + 'static,
) -> Hooks {
    committing(move |state, mut commit| {
        rewrite(state, &mut commit);
        state.commit(&commit)
    })
}

pub(crate) fn committing(
    mut commit: impl FnMut(&mut StoreState, Commit) -> Result<Revision, Conflict> + Send + 'static,
) -> Hooks {
    Hooks {
        commit: Box::new(move |state, told| commit(state, told.clone())),
        ..Hooks::default()
    }
}

/// A store that acknowledges commits that it refused.
pub(crate) fn acknowledging(of: fn(&Commit, &Conflict) -> bool) -> Hooks {
    committing(move |state, commit| match state.commit(&commit) {
        Err(conflict) if of(&commit, &conflict) => Ok(state.revision()),
        answer => answer,
    })
}

/// A store that changes what its feed tells.
pub(crate) fn telling(
    mut tell: impl FnMut(&StoreState, usize, &mut Changes) + Send + 'static,
) -> Hooks {
    Hooks {
        changes: Box::new(move |state, after, limit| {
            let mut changes = state.changes(after, limit);
            tell(state, limit, &mut changes);
            changes
        }),
        ..Hooks::default()
    }
}

/// A store that changes what its lists are asked.
pub(crate) fn asking(ask: fn(&mut KeyQuery)) -> Hooks {
    Hooks {
        keys: Box::new(move |state, query| {
            let mut query = query.clone();
            ask(&mut query);
            state.keys(&query)
        }),
        ..Hooks::default()
    }
}

/// A store that lists by a selection and an order of its own.
pub(crate) fn listing(
    selects: fn(&KeyQuery, &KeyRecord) -> bool,
    place: fn(&KeyRecord) -> Revision,
) -> Hooks {
    Hooks {
        keys: Box::new(move |state, query| {
            let mut items = every_key(state);
            items.retain(|record| selects(query, record));
            items.sort_by_key(place);
            page(items, query, place)
        }),
        ..Hooks::default()
    }
}

/// A store that changes its audit trail and chains it again.
pub(crate) fn auditing(mut change: impl FnMut(&mut Vec<AuditEvent>) + Send + 'static) -> Hooks {
    Hooks {
        audit: Box::new(move |state, query| {
            let mut found = state.audit(query);
            change(&mut found.items);
            found
        }),
        ..Hooks::default()
    }
}

/// Every key as it was kept, without its cutoffs.
pub(crate) fn every_raw_key(state: &StoreState) -> Vec<KeyRecord> {
    let entries = state.changes(Revision::ZERO, usize::MAX).entries;
    entries
        .into_iter()
        .filter_map(|entry| match entry.item {
            Item::Key(record) => Some(record),
            _ => None,
        })
        .collect()
}

/// Every key behind its cutoffs.
pub(crate) fn every_key(state: &StoreState) -> Vec<KeyRecord> {
    every_raw_key(state)
        .iter()
        .filter_map(|record| state.key(&record.tenant, record.id))
        .collect()
}

/// The key with this identifier, of any tenant.
pub(crate) fn whosever(state: &StoreState, id: KeyId) -> Option<KeyRecord> {
    let mut keys = every_key(state).into_iter();
    keys.find(|record| record.id == id)
}

pub(crate) fn page(
    items: Vec<KeyRecord>,
    query: &KeyQuery,
    place: fn(&KeyRecord) -> Revision,
) -> Page<KeyRecord> {
    let after = query.after.map_or(Revision::ZERO, Cursor::revision);
    let mut items: Vec<_> = items
        .into_iter()
        .filter(|record| place(record) > after)
        .collect();
    let limit = query.limit.clamp(1, KeyQuery::LIMIT_MAX);
    let more = items.len() > limit;
    items.truncate(limit);
    let last = items.last().filter(|_| more);
    let next = last.map(|record| Cursor::after(place(record)));
    Page { items, next }
}

/// The answer of a wait that is over, or none yet.
pub(crate) fn ready_if(is_over: bool, answer: bool) -> Poll<bool> {
    if is_over {
        Poll::Ready(answer)
    } else {
        Poll::Pending
    }
}
