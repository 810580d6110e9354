//! The reference store.

use std::sync::{PoisonError, RwLock};

use alloc::vec::Vec;

use crate::{
    audit::AuditEvent,
    credential::CredentialId,
    identity::Tenant,
    key_id::KeyId,
    legacy::{LegacyPolicy, LegacyRecord},
    policy::Policy,
    record::KeyRecord,
    revision::Revision,
    store::{
        AuditQuery, Changes, Commit, CommitError, KeyQuery, KeyStore, LegacyQuery, NamespaceQuery,
        NamespaceRecord, Page, StoreError, StoreState,
    },
    usage::Usage,
};

/// A store that keeps everything in memory: the default, and the reference for all others.
///
/// Its futures are ready at once. What it holds goes with the process.
#[derive(Debug, Default)]
pub struct MemoryStore {
    state: RwLock<StoreState>,
}

impl MemoryStore {
    /// An empty store.
    pub fn new() -> Self {
        Self::default()
    }

    /// Reads the state. A panic cannot leave it half-changed, since every change is judged
    /// before anything is written, so a poisoned lock is as good as any.
    fn read<T>(&self, read: impl FnOnce(&StoreState) -> T) -> T {
        read(&self.state.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn write<T>(&self, write: impl FnOnce(&mut StoreState) -> T) -> T {
        write(&mut self.state.write().unwrap_or_else(PoisonError::into_inner))
    }
}

impl KeyStore for MemoryStore {
    async fn commit(&self, commit: &Commit) -> Result<Revision, CommitError> {
        Ok(self.write(|state| state.commit(commit))?)
    }

    async fn key(&self, tenant: &Tenant, id: KeyId) -> Result<Option<KeyRecord>, StoreError> {
        Ok(self.read(|state| state.key(tenant, id)))
    }

    async fn keys(&self, query: &KeyQuery) -> Result<Page<KeyRecord>, StoreError> {
        Ok(self.read(|state| state.keys(query)))
    }

    async fn namespaces(
        &self,
        query: &NamespaceQuery,
    ) -> Result<Page<NamespaceRecord>, StoreError> {
        Ok(self.read(|state| state.namespaces(query)))
    }

    async fn legacy(&self, query: &LegacyQuery) -> Result<Page<LegacyRecord>, StoreError> {
        Ok(self.read(|state| state.legacy(query)))
    }

    async fn policy(&self, tenant: &Tenant) -> Result<Policy, StoreError> {
        Ok(self.read(|state| state.policy(tenant)))
    }

    async fn legacy_policy(&self, tenant: &Tenant) -> Result<LegacyPolicy, StoreError> {
        Ok(self.read(|state| state.legacy_policy(tenant)))
    }

    async fn audit(&self, query: &AuditQuery) -> Result<Page<AuditEvent>, StoreError> {
        Ok(self.read(|state| state.audit(query)))
    }

    async fn changes(&self, after: Revision, limit: usize) -> Result<Changes, StoreError> {
        Ok(self.read(|state| state.changes(after, limit)))
    }

    async fn record_usage(&self, batch: &[Usage]) -> Result<(), StoreError> {
        self.write(|state| state.record_usage(batch));
        Ok(())
    }

    async fn usage(&self, credentials: &[CredentialId]) -> Result<Vec<Usage>, StoreError> {
        Ok(self.read(|state| state.usage(credentials)))
    }
}
