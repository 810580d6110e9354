//! A store that counts its calls.

use std::sync::{
    Arc,
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

#[derive(Default)]
pub(crate) struct Counting {
    inner: MemoryStore,
    calls: Arc<AtomicUsize>,
}

impl Counting {
    pub(crate) fn calls(&self) -> Arc<AtomicUsize> {
        Arc::clone(&self.calls)
    }

    fn counted(&self) -> &MemoryStore {
        self.calls.fetch_add(1, Ordering::SeqCst);
        &self.inner
    }
}

#[async_trait]
impl KeyStore for Counting {
    async fn commit(&self, commit: &Commit) -> Result<Revision, CommitError> {
        self.counted().commit(commit).await
    }

    async fn key(&self, tenant: &Tenant, id: KeyId) -> Result<Option<KeyRecord>, StoreError> {
        self.counted().key(tenant, id).await
    }

    async fn keys(&self, query: &KeyQuery) -> Result<Page<KeyRecord>, StoreError> {
        self.counted().keys(query).await
    }

    async fn legacy(&self, query: &LegacyQuery) -> Result<Page<LegacyRecord>, StoreError> {
        self.counted().legacy(query).await
    }

    async fn namespaces(
        &self,
        query: &NamespaceQuery,
    ) -> Result<Page<NamespaceRecord>, StoreError> {
        self.counted().namespaces(query).await
    }

    async fn targets(&self, query: &TargetQuery) -> Result<TargetPage, StoreError> {
        self.counted().targets(query).await
    }

    async fn count_live(&self, target: &Target, at: Timestamp) -> Result<LiveCount, StoreError> {
        self.counted().count_live(target, at).await
    }

    async fn policy(&self, tenant: Option<&Tenant>) -> Result<Policy, StoreError> {
        self.counted().policy(tenant).await
    }

    async fn legacy_policy(&self, tenant: Option<&Tenant>) -> Result<LegacyPolicy, StoreError> {
        self.counted().legacy_policy(tenant).await
    }

    async fn policies(&self, tenants: &[Tenant]) -> Result<Vec<Policy>, StoreError> {
        self.counted().policies(tenants).await
    }

    async fn legacy_policies(&self, tenants: &[Tenant]) -> Result<Vec<LegacyPolicy>, StoreError> {
        self.counted().legacy_policies(tenants).await
    }

    async fn audit(&self, query: &AuditQuery) -> Result<Page<AuditEvent>, StoreError> {
        self.counted().audit(query).await
    }

    async fn head(&self) -> Result<TrailHead, StoreError> {
        self.counted().head().await
    }

    async fn changes(&self, after: Revision, limit: usize) -> Result<Changes, StoreError> {
        self.counted().changes(after, limit).await
    }

    fn is_shared(&self) -> bool {
        self.inner.is_shared()
    }

    async fn key_format(&self) -> Result<Option<KeyFormat>, StoreError> {
        self.counted().key_format().await
    }

    async fn record_key_format(&self, format: &KeyFormat) -> Result<KeyFormat, StoreError> {
        self.counted().record_key_format(format).await
    }

    async fn record_usage(&self, batch: &UsageBatch, now: Timestamp) -> Result<(), StoreError> {
        self.counted().record_usage(batch, now).await
    }

    async fn usage(&self, credentials: &[CredentialId]) -> Result<Vec<Usage>, StoreError> {
        self.counted().usage(credentials).await
    }

    async fn usage_days(&self, query: &UsageQuery) -> Result<Vec<UsageDay>, StoreError> {
        self.counted().usage_days(query).await
    }
}
