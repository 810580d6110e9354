//! A store for one process: state in memory, durability by a journal.

use std::sync::{PoisonError, RwLock};

use alloc::{borrow::Cow, boxed::Box, vec::Vec};
use core::error::Error;

use async_trait::async_trait;

use crate::{
    audit::{AuditEvent, TrailHead},
    credential_id::CredentialId,
    cutoff::Target,
    format::KeyFormat,
    identity::Tenant,
    key_id::KeyId,
    legacy::{LegacyPolicy, LegacyRecord},
    policy::Policy,
    record::KeyRecord,
    revision::Revision,
    store::{
        AuditQuery, Changes, Commit, CommitError, KeyQuery, KeyStore, LegacyQuery, LiveCount,
        NamespaceQuery, NamespaceRecord, Page, StoreError, StoreState, TargetPage, TargetQuery,
        UsageDay, UsageQuery,
    },
    timestamp::Timestamp,
    usage::{Usage, UsageBatch},
};

/// Durable storage for the entries of a [`JournaledStore`].
pub trait Journal: Send + Sync {
    /// Appends an entry, and returns when it is durable.
    ///
    /// # Errors
    ///
    /// After any error the store refuses every further change until it is opened again, since the
    /// entry may or may not have been written.
    fn append(&mut self, entry: &JournalEntry<'_>) -> Result<(), Box<dyn Error + Send + Sync>>;
}

/// An entry of the journal.
#[derive(Clone, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
#[expect(
    clippy::large_enum_variant,
    reason = "an entry lives for one call, and most are commits"
)]
#[non_exhaustive]
pub enum JournalEntry<'a> {
    /// The format of the keys in the store.
    KeyFormat(KeyFormat),
    /// A committed change.
    Commit(Cow<'a, Commit>),
    /// Usage that was recorded.
    Usage {
        /// The usage.
        batch: Cow<'a, UsageBatch>,
        /// When it was recorded.
        at: Timestamp,
    },
}

/// No journal: the contents are lost when the process ends.
impl Journal for () {
    fn append(&mut self, _: &JournalEntry<'_>) -> Result<(), Box<dyn Error + Send + Sync>> {
        Ok(())
    }
}

/// A store in memory only: the reference implementation, and a store for tests.
///
/// Its futures are ready immediately. Its contents are lost when the process ends.
pub type MemoryStore = JournaledStore<()>;

impl MemoryStore {
    /// Creates an empty store.
    pub fn new() -> Self {
        Self::default()
    }
}

/// A store for one process that holds its state in memory and appends each change to a [`Journal`]
/// before it acknowledges the change.
///
/// # Examples
///
/// `examples/custom_store.rs` is a durable store in a file of JSON lines.
#[derive(Debug, Default)]
pub struct JournaledStore<J> {
    inner: RwLock<Inner<J>>,
}

#[derive(Debug, Default)]
struct Inner<J> {
    state: StoreState,
    journal: J,
    /// Whether an append failed. The end of the journal is unknown from then on.
    failed: bool,
}

impl<J: Journal> JournaledStore<J> {
    /// Opens a store by replaying the entries of its journal, oldest first.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if an entry does not apply to the state before it.
    pub fn replay(
        journal: J,
        entries: impl IntoIterator<Item = JournalEntry<'static>>,
    ) -> Result<Self, StoreError> {
        let mut state = StoreState::new();
        for entry in entries {
            match entry {
                JournalEntry::KeyFormat(format) => {
                    let recorded = state.record_key_format(&format);
                    if recorded != format {
                        return Err(StoreError::definite("the journal has two key formats"));
                    }
                }
                JournalEntry::Commit(commit) => {
                    state.commit(&commit).map_err(StoreError::definite)?;
                }
                JournalEntry::Usage { batch, at } => state.record_usage(&batch, at),
            }
        }
        let inner = Inner {
            state,
            journal,
            failed: false,
        };
        Ok(Self {
            inner: RwLock::new(inner),
        })
    }

    /// Reads the state. A poisoned lock is ignored: every change is decided before anything is
    /// written, so a panic leaves the state consistent.
    fn read<T>(&self, read: impl FnOnce(&StoreState) -> T) -> T {
        let inner = self.inner.read().unwrap_or_else(PoisonError::into_inner);
        read(&inner.state)
    }

    fn write<T>(&self, write: impl FnOnce(&mut Inner<J>) -> T) -> T {
        write(&mut self.inner.write().unwrap_or_else(PoisonError::into_inner))
    }
}

impl<J: Journal> Inner<J> {
    fn append(&mut self, entry: &JournalEntry<'_>) -> Result<(), StoreError> {
        if self.failed {
            let text = "an earlier write to the journal failed; open the store again";
            return Err(StoreError::definite(text));
        }
        // Stays set if the journal panics.
        self.failed = true;
        self.journal.append(entry).map_err(StoreError::unknown)?;
        self.failed = false;
        Ok(())
    }
}

#[async_trait]
impl<J: Journal> KeyStore for JournaledStore<J> {
    async fn commit(&self, commit: &Commit) -> Result<Revision, CommitError> {
        self.write(|inner| {
            let write_set = inner.state.decide(commit)?;
            inner.append(&JournalEntry::Commit(Cow::Borrowed(commit)))?;
            Ok(inner.state.write(write_set))
        })
    }

    async fn key(&self, tenant: &Tenant, id: KeyId) -> Result<Option<KeyRecord>, StoreError> {
        Ok(self.read(|state| state.key(tenant, id)))
    }

    async fn keys(&self, query: &KeyQuery) -> Result<Page<KeyRecord>, StoreError> {
        Ok(self.read(|state| state.keys(query)))
    }

    async fn legacy(&self, query: &LegacyQuery) -> Result<Page<LegacyRecord>, StoreError> {
        Ok(self.read(|state| state.legacy(query)))
    }

    async fn namespaces(
        &self,
        query: &NamespaceQuery,
    ) -> Result<Page<NamespaceRecord>, StoreError> {
        Ok(self.read(|state| state.namespaces(query)))
    }

    async fn targets(&self, query: &TargetQuery) -> Result<TargetPage, StoreError> {
        Ok(self.read(|state| state.targets(query)))
    }

    async fn count_live(&self, target: &Target, at: Timestamp) -> Result<LiveCount, StoreError> {
        Ok(self.read(|state| state.count_live(target, at)))
    }

    async fn policy(&self, tenant: Option<&Tenant>) -> Result<Policy, StoreError> {
        Ok(self.read(|state| state.policy(tenant)))
    }

    async fn legacy_policy(&self, tenant: Option<&Tenant>) -> Result<LegacyPolicy, StoreError> {
        Ok(self.read(|state| state.legacy_policy(tenant)))
    }

    async fn policies(&self, tenants: &[Tenant]) -> Result<Vec<Policy>, StoreError> {
        Ok(self.read(|state| state.policies(tenants)))
    }

    async fn legacy_policies(&self, tenants: &[Tenant]) -> Result<Vec<LegacyPolicy>, StoreError> {
        Ok(self.read(|state| state.legacy_policies(tenants)))
    }

    async fn audit(&self, query: &AuditQuery) -> Result<Page<AuditEvent>, StoreError> {
        Ok(self.read(|state| state.audit(query)))
    }

    async fn head(&self) -> Result<TrailHead, StoreError> {
        Ok(self.read(StoreState::head))
    }

    async fn changes(&self, after: Revision, limit: usize) -> Result<Changes, StoreError> {
        Ok(self.read(|state| state.changes(after, limit)))
    }

    /// `false`: no other process writes the journal, and there is no other handle to this value.
    fn is_shared(&self) -> bool {
        false
    }

    async fn key_format(&self) -> Result<Option<KeyFormat>, StoreError> {
        Ok(self.read(StoreState::key_format))
    }

    async fn record_key_format(&self, format: &KeyFormat) -> Result<KeyFormat, StoreError> {
        self.write(|inner| {
            if inner.state.key_format().is_none() {
                inner.append(&JournalEntry::KeyFormat(*format))?;
            }
            Ok(inner.state.record_key_format(format))
        })
    }

    async fn record_usage(&self, batch: &UsageBatch, now: Timestamp) -> Result<(), StoreError> {
        self.write(|inner| {
            if !inner.state.has_recorded(batch) {
                inner.append(&JournalEntry::Usage {
                    batch: Cow::Borrowed(batch),
                    at: now,
                })?;
                inner.state.record_usage(batch, now);
            }
            Ok(())
        })
    }

    async fn usage(&self, credentials: &[CredentialId]) -> Result<Vec<Usage>, StoreError> {
        Ok(self.read(|state| state.usage(credentials)))
    }

    async fn usage_days(&self, query: &UsageQuery) -> Result<Vec<UsageDay>, StoreError> {
        Ok(self.read(|state| state.usage_days(query)))
    }
}
