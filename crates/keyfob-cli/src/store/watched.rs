//! Whether the store takes writes.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use keyfob::{
    KeyId, KeyStore, Tenant, Timestamp,
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

/// A store, and whether its last write failed.
pub(super) struct Watched {
    pub(super) store: Arc<dyn KeyStore>,
    pub(super) writes: Writes,
}

/// Whether the last write to a store failed: its disk is full, or its database takes no writes.
#[derive(Clone, Debug, Default)]
pub(crate) struct Writes(Arc<AtomicBool>);

impl Writes {
    pub(crate) fn are_failing(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    fn note(&self, failed: bool) {
        if self.0.swap(failed, Ordering::Relaxed) == failed {
            return;
        }
        if failed {
            tracing::error!("the store takes no writes: no key can be created or revoked");
        } else {
            tracing::info!("the store takes writes again");
        }
    }
}

#[async_trait]
impl KeyStore for Watched {
    async fn commit(&self, commit: &Commit) -> Result<Revision, CommitError> {
        let done = self.store.commit(commit).await;
        self.writes.note(matches!(done, Err(CommitError::Store(_))));
        done
    }

    async fn record_usage(&self, batch: &UsageBatch, now: Timestamp) -> Result<(), StoreError> {
        let done = self.store.record_usage(batch, now).await;
        self.writes.note(done.is_err());
        done
    }

    async fn key(&self, tenant: &Tenant, id: KeyId) -> Result<Option<KeyRecord>, StoreError> {
        self.store.key(tenant, id).await
    }

    async fn keys(&self, query: &KeyQuery) -> Result<Page<KeyRecord>, StoreError> {
        self.store.keys(query).await
    }

    async fn legacy(&self, query: &LegacyQuery) -> Result<Page<LegacyRecord>, StoreError> {
        self.store.legacy(query).await
    }

    async fn namespaces(
        &self,
        query: &NamespaceQuery,
    ) -> Result<Page<NamespaceRecord>, StoreError> {
        self.store.namespaces(query).await
    }

    async fn targets(&self, query: &TargetQuery) -> Result<TargetPage, StoreError> {
        self.store.targets(query).await
    }

    async fn count_live(&self, target: &Target, at: Timestamp) -> Result<LiveCount, StoreError> {
        self.store.count_live(target, at).await
    }

    async fn policy(&self, tenant: Option<&Tenant>) -> Result<Policy, StoreError> {
        self.store.policy(tenant).await
    }

    async fn legacy_policy(&self, tenant: Option<&Tenant>) -> Result<LegacyPolicy, StoreError> {
        self.store.legacy_policy(tenant).await
    }

    async fn policies(&self, tenants: &[Tenant]) -> Result<Vec<Policy>, StoreError> {
        self.store.policies(tenants).await
    }

    async fn legacy_policies(&self, tenants: &[Tenant]) -> Result<Vec<LegacyPolicy>, StoreError> {
        self.store.legacy_policies(tenants).await
    }

    async fn audit(&self, query: &AuditQuery) -> Result<Page<AuditEvent>, StoreError> {
        self.store.audit(query).await
    }

    async fn head(&self) -> Result<TrailHead, StoreError> {
        self.store.head().await
    }

    async fn changes(&self, after: Revision, limit: usize) -> Result<Changes, StoreError> {
        self.store.changes(after, limit).await
    }

    async fn wait_for_change(&self, after: Revision) -> Result<bool, StoreError> {
        self.store.wait_for_change(after).await
    }

    fn is_shared(&self) -> bool {
        self.store.is_shared()
    }

    async fn key_format(&self) -> Result<Option<KeyFormat>, StoreError> {
        self.store.key_format().await
    }

    async fn record_key_format(&self, format: &KeyFormat) -> Result<KeyFormat, StoreError> {
        self.store.record_key_format(format).await
    }

    async fn usage(&self, credentials: &[CredentialId]) -> Result<Vec<Usage>, StoreError> {
        self.store.usage(credentials).await
    }

    async fn usage_days(&self, query: &UsageQuery) -> Result<Vec<UsageDay>, StoreError> {
        self.store.usage_days(query).await
    }
}
