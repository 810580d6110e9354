//! A store that can fail.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

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

/// A store in memory that says that other processes can change it, and whose feed and lists of keys
/// can fail.
#[derive(Default)]
pub(crate) struct Unreliable {
    store: MemoryStore,
    fails: AtomicBool,
    /// Whether no read of the feed ends.
    pub(crate) hangs: AtomicBool,
    /// How many commits succeed before every read fails; zero for any number.
    pub(crate) commits_left: AtomicU32,
}

impl Unreliable {
    /// Lets every read of the feed and of the list of keys fail from now on, or succeed again.
    pub(crate) fn fail(&self, fails: bool) {
        self.fails.store(fails, Ordering::Relaxed);
    }

    fn check(&self) -> Result<(), StoreError> {
        if self.fails.load(Ordering::Relaxed) {
            return Err(StoreError::definite("the store cannot be read"));
        }
        Ok(())
    }
}

#[async_trait]
impl KeyStore for Unreliable {
    async fn commit(&self, commit: &Commit) -> Result<Revision, CommitError> {
        let revision = self.store.commit(commit).await?;
        match self.commits_left.load(Ordering::Relaxed) {
            0 => {}
            left => {
                self.commits_left.store(left - 1, Ordering::Relaxed);
                self.fails.fetch_or(left == 1, Ordering::Relaxed);
            }
        }
        Ok(revision)
    }

    async fn key(&self, tenant: &Tenant, id: KeyId) -> Result<Option<KeyRecord>, StoreError> {
        self.store.key(tenant, id).await
    }

    async fn keys(&self, query: &KeyQuery) -> Result<Page<KeyRecord>, StoreError> {
        self.check()?;
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
        self.check()?;
        self.store.head().await
    }

    async fn changes(&self, after: Revision, limit: usize) -> Result<Changes, StoreError> {
        self.check()?;
        if self.hangs.load(Ordering::Relaxed) {
            std::future::pending::<()>().await;
        }
        self.store.changes(after, limit).await
    }

    fn is_shared(&self) -> bool {
        true
    }

    async fn key_format(&self) -> Result<Option<KeyFormat>, StoreError> {
        self.store.key_format().await
    }

    async fn record_key_format(&self, format: &KeyFormat) -> Result<KeyFormat, StoreError> {
        self.store.record_key_format(format).await
    }

    async fn record_usage(&self, batch: &UsageBatch, now: Timestamp) -> Result<(), StoreError> {
        self.store.record_usage(batch, now).await
    }

    async fn usage(&self, credentials: &[CredentialId]) -> Result<Vec<Usage>, StoreError> {
        self.store.usage(credentials).await
    }

    async fn usage_days(&self, query: &UsageQuery) -> Result<Vec<UsageDay>, StoreError> {
        self.store.usage_days(query).await
    }
}
