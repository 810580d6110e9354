//! A store in memory that fails when it is told to.

use std::sync::atomic::{AtomicU8, Ordering};

use keyfob::{
    KeyId, KeyStore, MemoryStore, Tenant,
    audit::AuditEvent,
    gateway::Usage,
    key::CredentialId,
    legacy::{LegacyPolicy, LegacyRecord},
    manage::Policy,
    store::{
        AuditQuery, Changes, Commit, CommitError, KeyQuery, KeyRecord, LegacyQuery, NamespaceQuery,
        NamespaceRecord, Page, Revision, StoreError,
    },
};

/// How the store fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Fault {
    None,
    /// Every call fails, and changes nothing.
    Definite,
    /// A change is kept, and the answer lost.
    Unknown,
    /// The change feed cannot be read.
    Feed,
    /// Every call lets others go first.
    Slow,
}

#[derive(Debug, Default)]
pub(crate) struct Switch(AtomicU8);

impl Switch {
    pub(crate) fn store(&self, fault: Fault) {
        self.0.store(fault as u8, Ordering::SeqCst);
    }

    fn is(&self, fault: Fault) -> bool {
        self.0.load(Ordering::SeqCst) == fault as u8
    }
}

#[derive(Debug, Default)]
pub(crate) struct Failing {
    inner: MemoryStore,
    pub(crate) fault: Switch,
}

impl Failing {
    async fn reading(&self) -> Result<&MemoryStore, StoreError> {
        if self.fault.is(Fault::Slow) {
            tokio::task::yield_now().await;
        }
        if self.fault.is(Fault::Definite) {
            Err(StoreError::definite("as it was told"))
        } else {
            Ok(&self.inner)
        }
    }
}

impl KeyStore for Failing {
    async fn commit(&self, commit: &Commit) -> Result<Revision, CommitError> {
        let revision = self.reading().await?.commit(commit).await?;
        if self.fault.is(Fault::Unknown) {
            return Err(StoreError::unknown("as it was told").into());
        }
        Ok(revision)
    }

    async fn key(&self, tenant: &Tenant, id: KeyId) -> Result<Option<KeyRecord>, StoreError> {
        self.reading().await?.key(tenant, id).await
    }

    async fn keys(&self, query: &KeyQuery) -> Result<Page<KeyRecord>, StoreError> {
        self.reading().await?.keys(query).await
    }

    async fn legacy(&self, query: &LegacyQuery) -> Result<Page<LegacyRecord>, StoreError> {
        self.reading().await?.legacy(query).await
    }

    async fn namespaces(
        &self,
        query: &NamespaceQuery,
    ) -> Result<Page<NamespaceRecord>, StoreError> {
        self.reading().await?.namespaces(query).await
    }

    async fn policy(&self, tenant: &Tenant) -> Result<Policy, StoreError> {
        self.reading().await?.policy(tenant).await
    }

    async fn legacy_policy(&self, tenant: &Tenant) -> Result<LegacyPolicy, StoreError> {
        self.reading().await?.legacy_policy(tenant).await
    }

    async fn audit(&self, query: &AuditQuery) -> Result<Page<AuditEvent>, StoreError> {
        self.reading().await?.audit(query).await
    }

    async fn changes(&self, after: Revision, limit: usize) -> Result<Changes, StoreError> {
        if self.fault.is(Fault::Feed) {
            return Err(StoreError::definite("as it was told"));
        }
        self.reading().await?.changes(after, limit).await
    }

    async fn record_usage(&self, batch: &[Usage]) -> Result<(), StoreError> {
        self.reading().await?.record_usage(batch).await
    }

    async fn usage(&self, credentials: &[CredentialId]) -> Result<Vec<Usage>, StoreError> {
        self.reading().await?.usage(credentials).await
    }
}
