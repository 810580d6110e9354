//! Reading a store to its end.

use std::{
    future::{Future, poll_fn},
    pin::Pin,
    sync::Arc,
    task::Poll,
};

use keyfob::{
    Access, DenyReason, KeyStore, Tenant, Timestamp, Verifier,
    audit::AuditEvent,
    gateway::{Index, Usage},
    legacy::LegacyRecord,
    name::KeyName,
    store::{
        AuditQuery, Changes, Entry, Item, KeyQuery, KeyRecord, LegacyQuery, NamespaceQuery,
        NamespaceRecord, Revision, TargetQuery, TargetRecord, UsageDay,
    },
};

use crate::fixture::{fields, format, sound};

/// More pages than any behaviour needs: a list that goes on longer has no end.
const PAGES_MAX: usize = 3000;

/// A key as the store gives it.
pub(crate) async fn find(store: &dyn KeyStore, record: &KeyRecord) -> Option<KeyRecord> {
    sound(store.key(&record.tenant, record.id).await)
}

/// A key as the store gives it; it must be there.
pub(crate) async fn read(store: &dyn KeyStore, record: &KeyRecord) -> KeyRecord {
    let found = find(store, record).await;
    found.unwrap_or_else(|| panic!("the key {:?} is not found", record.name))
}

/// All pages of a list of keys.
pub(crate) async fn list(store: &dyn KeyStore, query: &KeyQuery) -> Vec<KeyRecord> {
    let mut query = query.clone();
    let mut found = Vec::new();
    for _ in 0..PAGES_MAX {
        let page = sound(store.keys(&query).await);
        assert!(
            page.items.len() <= query.limit.clamp(1, KeyQuery::LIMIT_MAX),
            "a page of keys holds more than its limit of {}",
            query.limit
        );
        found.extend(page.items);
        match page.next {
            Some(next) => query.after = Some(next),
            None => return found,
        }
    }
    panic!("the list of keys has no end")
}

/// The names of all keys that are listed.
pub(crate) async fn names(store: &dyn KeyStore, query: &KeyQuery) -> Vec<String> {
    let records = list(store, query).await;
    records.iter().map(|record| text(&record.name)).collect()
}

pub(crate) fn text(name: &KeyName) -> String {
    name.as_str().to_owned()
}

/// A key as its team's list gives it, if it does.
pub(crate) async fn listed(store: &dyn KeyStore, record: &KeyRecord) -> Option<KeyRecord> {
    let records = list(store, &KeyQuery::team(record.tenant.team.clone())).await;
    records.into_iter().find(|other| other.id == record.id)
}

/// All pages of a list of legacy credentials.
pub(crate) async fn list_legacy(store: &dyn KeyStore, query: &LegacyQuery) -> Vec<LegacyRecord> {
    let mut query = query.clone();
    let mut found = Vec::new();
    for _ in 0..PAGES_MAX {
        let page = sound(store.legacy(&query).await);
        found.extend(page.items);
        match page.next {
            Some(next) => query.after = Some(next),
            None => return found,
        }
    }
    panic!("the list of legacy credentials has no end")
}

/// All pages of a list of namespaces.
pub(crate) async fn list_namespaces(
    store: &dyn KeyStore,
    query: &NamespaceQuery,
) -> Vec<NamespaceRecord> {
    let mut query = query.clone();
    let mut found = Vec::new();
    for _ in 0..PAGES_MAX {
        let page = sound(store.namespaces(&query).await);
        found.extend(page.items);
        match page.next {
            Some(next) => query.after = Some(next),
            None => return found,
        }
    }
    panic!("the list of namespaces has no end")
}

/// All pages of a list of teams or owners.
pub(crate) async fn list_targets(store: &dyn KeyStore, query: &TargetQuery) -> Vec<TargetRecord> {
    let mut query = query.clone();
    let mut found = Vec::new();
    for _ in 0..PAGES_MAX {
        let page = sound(store.targets(&query).await);
        let last = page.items.last().map(|record| record.target.clone());
        found.extend(page.items);
        match last {
            Some(last) if page.more => query = query.after(&last),
            None if page.more => panic!("an empty page that has more"),
            _ => return found,
        }
    }
    panic!("the list of targets has no end")
}

/// All pages of the audit trail.
pub(crate) async fn trail(store: &dyn KeyStore, query: &AuditQuery) -> Vec<AuditEvent> {
    let mut query = query.clone();
    let mut found = Vec::new();
    for _ in 0..PAGES_MAX {
        let page = sound(store.audit(&query).await);
        found.extend(page.items);
        match page.next {
            Some(next) => query.after = Some(next),
            None => return found,
        }
    }
    panic!("the audit trail has no end")
}

/// A part of the change feed.
pub(crate) async fn changes(store: &dyn KeyStore, after: Revision, limit: usize) -> Changes {
    sound(store.changes(after, limit).await)
}

/// All that the change feed tells after a revision, in parts of `limit`.
pub(crate) async fn feed(store: &dyn KeyStore, after: Revision, limit: usize) -> Vec<Entry> {
    let (mut after, mut entries) = (after, Vec::new());
    for _ in 0..PAGES_MAX {
        let part = changes(store, after, limit).await;
        entries.extend(part.entries);
        if !part.more {
            return entries;
        }
        after = part.next_after;
    }
    panic!("the change feed has no end")
}

/// The revision of the last change.
pub(crate) async fn head(store: &dyn KeyStore) -> Revision {
    let mut after = Revision::ZERO;
    for _ in 0..PAGES_MAX {
        let part = changes(store, after, 1000).await;
        if !part.more {
            return part.next_after;
        }
        after = part.next_after;
    }
    panic!("the change feed has no end")
}

/// The revision before this one.
pub(crate) fn before(revision: Revision) -> Revision {
    Revision::new(revision.get().saturating_sub(1))
}

/// Revision, feed and audit trail, in a form that can be compared.
pub(crate) async fn everything(
    store: &dyn KeyStore,
) -> (Revision, Vec<(Revision, String)>, Vec<AuditEvent>) {
    let entries = feed(store, Revision::ZERO, 1000).await;
    (
        head(store).await,
        entries.iter().map(state).collect(),
        trail(store, &AuditQuery::every_team()).await,
    )
}

/// What an entry of the feed is about.
pub(crate) fn subject(item: &Item) -> String {
    match item {
        Item::Key(record) => format!("key {}", record.id),
        Item::KeyDeleted { id, .. } => format!("key {id}"),
        Item::Cutoff(cutoff) => format!("cutoff {:?}", cutoff.target),
        Item::Legacy(record) => format!("legacy {}", record.id),
        Item::Policy(tenant, _) => format!("policy {tenant:?}"),
        Item::LegacyPolicy(tenant, _) => format!("legacy policy {tenant:?}"),
        other => format!("{other:?}"),
    }
}

/// Usage without what a store need not hold: a count that is too large for a signed integer of 64
/// bits may be stored as the largest that is not.
pub(crate) fn countable(usage: &Usage) -> Usage {
    Usage {
        accepted: usage.accepted.min(i64::MAX.unsigned_abs()),
        ..usage.clone()
    }
}

/// Usage by day without what a store need not hold, in one order.
pub(crate) fn countable_days(mut days: Vec<UsageDay>) -> Vec<UsageDay> {
    for count in days.iter_mut().flat_map(|day| &mut day.hours) {
        *count = (*count).min(i64::MAX.unsigned_abs());
    }
    days.sort_by_cached_key(|day| (day.day, day.of.to_string(), day.legacy, day.outcome));
    days
}

/// An entry of the feed, in a form that can be compared.
pub(crate) fn state(entry: &Entry) -> (Revision, String) {
    (entry.revision, shown(&entry.item))
}

/// An item of the feed with its digests.
pub(crate) fn shown(item: &Item) -> String {
    match item {
        Item::Key(record) => format!("{:?}", fields(record)),
        Item::Legacy(record) => format!("{record:?} {}", record.digest.to_text()),
        other => format!("{other:?}"),
    }
}

/// A verifier over an index that follows a store.
pub(crate) struct Gate {
    index: Arc<Index>,
    verifier: Verifier,
}

impl Gate {
    /// A gate that has followed `store` from its beginning to its end.
    pub(crate) async fn over(store: &dyn KeyStore) -> Self {
        let index = Arc::new(Index::new(format(), keyfob::key::Peppers::none()));
        let verifier = index.verifier(None);
        let gate = Self { index, verifier };
        gate.follow(store).await;
        gate
    }

    pub(crate) async fn follow(&self, store: &dyn KeyStore) -> Revision {
        match self.index.follow(store, crate::fixture::NOW).await {
            Ok(revision) => revision,
            Err(error) => panic!("the index cannot follow the change feed: {error}"),
        }
    }

    /// The verdict on a credential's text for a namespace.
    pub(crate) fn decide(
        &self,
        text: &str,
        tenant: &Tenant,
        now: Timestamp,
    ) -> Result<(), DenyReason> {
        let access = Access::to(tenant.namespace.as_str());
        match self.verifier.verify_text(text.as_bytes(), &access, now) {
            Ok(_) => Ok(()),
            Err(denied) => Err(denied.reason()),
        }
    }
}

/// The verdict of a gateway that starts now.
pub(crate) async fn verdict(
    store: &dyn KeyStore,
    text: &str,
    tenant: &Tenant,
    now: Timestamp,
) -> Result<(), DenyReason> {
    Gate::over(store).await.decide(text, tenant, now)
}

/// Runs futures side by side on this task, and gives their answers in the same order.
pub(crate) async fn side_by_side<T>(futures: Vec<impl Future<Output = T>>) -> Vec<T> {
    let mut running: Vec<Pin<Box<_>>> = futures.into_iter().map(Box::pin).collect();
    let mut answers: Vec<Option<T>> = running.iter().map(|_| None).collect();
    poll_fn(|context| {
        for (future, answer) in running.iter_mut().zip(&mut answers) {
            if answer.is_none() {
                if let Poll::Ready(value) = future.as_mut().poll(context) {
                    *answer = Some(value);
                }
            }
        }
        if answers.iter().all(Option::is_some) {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    })
    .await;
    answers.into_iter().flatten().collect()
}
