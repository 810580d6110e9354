//! A store that fails on demand.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicUsize, Ordering},
};

use keyfob::{
    KeyId, KeyStore, MemoryStore, Tenant, Timestamp,
    audit::{AuditEvent, TrailHead},
    gateway::{Usage, UsageBatch},
    key::{CredentialId, KeyFormat},
    legacy::{LegacyPolicy, LegacyRecord},
    manage::Policy,
    store::{
        AuditQuery, Changes, Commit, CommitError, KeyQuery, KeyRecord, LegacyQuery, LiveCount,
        NamespaceQuery, NamespaceRecord, Page, Revision, StoreError, Target, TargetPage,
        TargetQuery, UsageDay, UsageQuery, async_trait,
    },
};
use tokio::{
    sync::Notify,
    time::{Duration, sleep},
};

/// How a call fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    None,
    Fails,
    Hangs,
    Panics,
    /// It takes this long, and works.
    Slow(Duration),
}

/// What the store answers to `wait_for_change`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wait {
    /// Notifications are not supported.
    Unsupported,
    /// It returns after a change.
    ForChange,
    /// It returns at once, always.
    Not,
    Fails,
}

/// A store in memory that reports that several processes share it.
#[derive(Clone)]
pub(crate) struct Faulty(Arc<Inner>);

struct Inner {
    /// Replaced to simulate a restore from a backup.
    store: Mutex<Arc<MemoryStore>>,
    changes: Mutex<Fault>,
    usage: Mutex<Fault>,
    wait: Mutex<Wait>,
    committed: Notify,
    reads: AtomicUsize,
    writes: AtomicUsize,
}

impl Faulty {
    pub(crate) fn new() -> Self {
        Self(Arc::new(Inner {
            store: Mutex::new(Arc::new(MemoryStore::new())),
            changes: Mutex::new(Fault::None),
            usage: Mutex::new(Fault::None),
            wait: Mutex::new(Wait::Unsupported),
            committed: Notify::new(),
            reads: AtomicUsize::new(0),
            writes: AtomicUsize::new(0),
        }))
    }

    pub(crate) fn set_reading(&self, fault: Fault) {
        *self.0.changes.lock().unwrap() = fault;
    }

    pub(crate) fn set_usage(&self, fault: Fault) {
        *self.0.usage.lock().unwrap() = fault;
    }

    pub(crate) fn set_wait(&self, wait: Wait) {
        *self.0.wait.lock().unwrap() = wait;
    }

    pub(crate) fn replace(&self, store: Arc<MemoryStore>) {
        *self.0.store.lock().unwrap() = store;
    }

    pub(crate) fn memory(&self) -> Arc<MemoryStore> {
        Arc::clone(&self.0.store.lock().unwrap())
    }

    /// Returns how often the change feed was read.
    pub(crate) fn reads(&self) -> usize {
        self.0.reads.load(Ordering::SeqCst)
    }

    /// Returns how many batches of usage were written.
    pub(crate) fn writes(&self) -> usize {
        self.0.writes.load(Ordering::SeqCst)
    }

    async fn suffer(&self, fault: Fault) -> Result<(), StoreError> {
        match fault {
            Fault::None => Ok(()),
            Fault::Fails => Err(StoreError::definite("out of order")),
            Fault::Hangs => std::future::pending().await,
            Fault::Slow(time) => {
                sleep(time).await;
                Ok(())
            }
            Fault::Panics => panic!("the store panics"),
        }
    }
}

#[async_trait]
impl KeyStore for Faulty {
    async fn commit(&self, commit: &Commit) -> Result<Revision, CommitError> {
        let committed = self.memory().commit(commit).await;
        self.0.committed.notify_waiters();
        committed
    }

    async fn head(&self) -> Result<TrailHead, StoreError> {
        self.memory().head().await
    }

    async fn changes(&self, after: Revision, limit: usize) -> Result<Changes, StoreError> {
        self.0.reads.fetch_add(1, Ordering::SeqCst);
        let fault = *self.0.changes.lock().unwrap();
        self.suffer(fault).await?;
        self.memory().changes(after, limit).await
    }

    async fn wait_for_change(&self, after: Revision) -> Result<bool, StoreError> {
        let wait = *self.0.wait.lock().unwrap();
        match wait {
            Wait::Unsupported => Ok(false),
            Wait::Not => Ok(true),
            Wait::Fails => Err(StoreError::definite("no notifications")),
            Wait::ForChange => loop {
                let committed = self.0.committed.notified();
                let changes = self.memory().changes(after, 1).await?;
                if changes.next_after > after {
                    return Ok(true);
                }
                committed.await;
            },
        }
    }

    fn is_shared(&self) -> bool {
        true
    }

    async fn record_usage(&self, batch: &UsageBatch, now: Timestamp) -> Result<(), StoreError> {
        let fault = *self.0.usage.lock().unwrap();
        self.suffer(fault).await?;
        self.0.writes.fetch_add(1, Ordering::SeqCst);
        self.memory().record_usage(batch, now).await
    }

    async fn key(&self, tenant: &Tenant, id: KeyId) -> Result<Option<KeyRecord>, StoreError> {
        self.memory().key(tenant, id).await
    }

    async fn keys(&self, query: &KeyQuery) -> Result<Page<KeyRecord>, StoreError> {
        self.memory().keys(query).await
    }

    async fn legacy(&self, query: &LegacyQuery) -> Result<Page<LegacyRecord>, StoreError> {
        self.memory().legacy(query).await
    }

    async fn namespaces(
        &self,
        query: &NamespaceQuery,
    ) -> Result<Page<NamespaceRecord>, StoreError> {
        self.memory().namespaces(query).await
    }

    async fn targets(&self, query: &TargetQuery) -> Result<TargetPage, StoreError> {
        self.memory().targets(query).await
    }

    async fn count_live(&self, target: &Target, at: Timestamp) -> Result<LiveCount, StoreError> {
        self.memory().count_live(target, at).await
    }

    async fn policy(&self, tenant: Option<&Tenant>) -> Result<Policy, StoreError> {
        self.memory().policy(tenant).await
    }

    async fn legacy_policy(&self, tenant: Option<&Tenant>) -> Result<LegacyPolicy, StoreError> {
        self.memory().legacy_policy(tenant).await
    }

    async fn policies(&self, tenants: &[Tenant]) -> Result<Vec<Policy>, StoreError> {
        self.memory().policies(tenants).await
    }

    async fn legacy_policies(&self, tenants: &[Tenant]) -> Result<Vec<LegacyPolicy>, StoreError> {
        self.memory().legacy_policies(tenants).await
    }

    async fn audit(&self, query: &AuditQuery) -> Result<Page<AuditEvent>, StoreError> {
        self.memory().audit(query).await
    }

    async fn key_format(&self) -> Result<Option<KeyFormat>, StoreError> {
        self.memory().key_format().await
    }

    async fn record_key_format(&self, format: &KeyFormat) -> Result<KeyFormat, StoreError> {
        self.memory().record_key_format(format).await
    }

    async fn usage(&self, credentials: &[CredentialId]) -> Result<Vec<Usage>, StoreError> {
        self.memory().usage(credentials).await
    }

    async fn usage_days(&self, query: &UsageQuery) -> Result<Vec<UsageDay>, StoreError> {
        self.memory().usage_days(query).await
    }
}
