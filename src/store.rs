//! Where keys are kept: the contract that every store fulfils.

mod change;
mod decide;
#[cfg(feature = "std")]
mod journal;
mod query;
mod record;
mod state;

use alloc::{boxed::Box, sync::Arc, vec::Vec};
use core::{error::Error, fmt};

pub use async_trait::async_trait;

pub use change::{ActorFault, Change, Changes, Commit, Conflict, Entry, Item, Limits};
pub use decide::{Existing, NameLookup, OwnerLookup, ReadSet, Snapshot, WriteSet};
#[cfg(feature = "std")]
pub use journal::{Journal, JournalEntry, JournaledStore, MemoryStore};
pub use query::{
    AuditPath, AuditQuery, Cursor, CursorError, KeyPath, KeyQuery, LegacyQuery, NamespaceQuery,
    NamespaceRecord, Page, StatusFilter, StatusFilterError,
};
pub use record::Record;
pub use state::StoreState;

pub use crate::{
    cutoff::{Cutoff, Target},
    record::{KeyRecord, PreviousSecret},
    revision::Revision,
};

use crate::{
    audit::AuditEvent,
    credential_id::CredentialId,
    format::KeyFormat,
    identity::Tenant,
    key_id::KeyId,
    legacy::{LegacyPolicy, LegacyRecord},
    policy::Policy,
    usage::Usage,
};

/// Where keys are kept: an ordered log of changes with its current state.
///
/// The contract, which `keyfob-conformance` tests clause by clause:
///
/// - **One order.** The first commit gets [`Revision`] 1 and every other the next, without gaps.
///   A reader that sees a revision sees all before it. A reader that starts after a commit
///   returned sees that commit.
/// - **All or nothing.** A change, its audit event and its entry in the change feed are kept
///   together, durably, before `commit` returns `Ok`, or not at all.
/// - **Decided inside.** A commit's conditions ([`Change`]) and its actor's
///   [`Authority`](crate::manage::Authority) are checked in the same step that keeps it: between
///   checking and keeping nothing else is kept.
/// - **Cutoffs, not sweeps.** A [`Cutoff`] revokes everything that was created in its target up to
///   its revision. Records that the store hands out read so, through [`KeyRecord::with_cutoffs`];
///   no record is rewritten.
/// - **Nothing comes back.** A revoked key stays revoked, a deleted key's identifier stays taken.
///
/// There are three ways to write a store:
///
/// - for one process, a [`Journal`]: [`JournaledStore`] does the rest (`examples/custom_store.rs`
///   is a durable one in a file);
/// - for one process with needs of its own, [`StoreState`], the contract as plain code;
/// - with an engine of its own: answer a commit's [read set](Commit::read_set), let
///   [`Commit::decide`] decide, and write the [`WriteSet`], in one transaction. So the conditions
///   are checked by the same code everywhere.
///
/// The trait is used as `Arc<dyn KeyStore>`, so its futures are boxed (by `async-trait`): no
/// caller is generic over the store. A management call does I/O, which one allocation does not
/// show beside. Verification never calls a store.
#[async_trait]
pub trait KeyStore: Send + Sync {
    /// Keeps a change with its audit event, and returns the revision it got.
    ///
    /// - conditions fulfilled -> kept, `Ok(revision)`
    /// - a condition broken -> nothing kept, [`CommitError::Conflict`]
    /// - the store failed -> [`CommitError::Store`]; whether it was kept is unknown unless
    ///   [`StoreError::is_definite`]
    async fn commit(&self, commit: &Commit) -> Result<Revision, CommitError>;

    /// A key of this tenant, with cutoffs applied.
    ///
    /// - no such key, deleted, or of another tenant -> `Ok(None)`
    async fn key(&self, tenant: &Tenant, id: KeyId) -> Result<Option<KeyRecord>, StoreError>;

    /// A page of a team's keys in the order of their creation, with cutoffs applied.
    ///
    /// - keys are created between two pages -> they come after all others; none is skipped or
    ///   given twice
    /// - the page is full and there is more -> [`Page::next`] is set
    async fn keys(&self, query: &KeyQuery) -> Result<Page<KeyRecord>, StoreError>;

    /// A page of legacy credentials in the order of their import, with cutoffs applied.
    async fn legacy(&self, query: &LegacyQuery) -> Result<Page<LegacyRecord>, StoreError>;

    /// A page of namespaces in the order in which they were bound to their teams.
    async fn namespaces(&self, query: &NamespaceQuery)
    -> Result<Page<NamespaceRecord>, StoreError>;

    /// The policy for keys of a namespace, or the default policy for `None`.
    ///
    /// - no override, or the namespace is another team's -> the default that was set; none was ->
    ///   [`Policy::default`]
    async fn policy(&self, tenant: Option<&Tenant>) -> Result<Policy, StoreError>;

    /// The policy for legacy credentials of a namespace, or the default policy for `None`.
    ///
    /// - no override, or the namespace is another team's -> the default that was set; none was ->
    ///   [`LegacyPolicy::Off`]
    async fn legacy_policy(&self, tenant: Option<&Tenant>) -> Result<LegacyPolicy, StoreError>;

    /// A page of the audit trail, oldest first.
    async fn audit(&self, query: &AuditQuery) -> Result<Page<AuditEvent>, StoreError>;

    /// What changed after `after`: the current state of everything whose last change is later,
    /// in the order of those changes, at most `limit` entries.
    ///
    /// - start at [`Revision::ZERO`] -> the whole state
    /// - something changed several times -> it appears once, at its last change
    /// - something was deleted -> its deletion appears
    /// - a limit of zero -> read as one
    async fn changes(&self, after: Revision, limit: usize) -> Result<Changes, StoreError>;

    /// Waits until the store may have a commit after `after`.
    ///
    /// - it may have one -> `Ok(true)`; too early is allowed, too late is not
    /// - the store cannot tell -> `Ok(false)` at once, as the default does: the follower polls
    /// - the store cannot be read -> an error, at once; the follower backs off
    ///
    /// The caller bounds the wait and drops the future when its time is over.
    async fn wait_for_change(&self, after: Revision) -> Result<bool, StoreError> {
        let _ = after;
        Ok(false)
    }

    /// Whether another process can change what is kept.
    ///
    /// - it can -> a verifier over the store needs a follower, and refuses calls if none runs
    fn is_shared(&self) -> bool;

    /// The format of the keys in the store; `None` until one was recorded.
    async fn key_format(&self) -> Result<Option<KeyFormat>, StoreError>;

    /// Records the format of the keys unless one is recorded, and returns the one that is.
    async fn record_key_format(&self, format: &KeyFormat) -> Result<KeyFormat, StoreError>;

    /// Merges usage into what is kept: counts are added, last use only moves forward.
    ///
    /// - a credential that is not kept -> passed over
    async fn record_usage(&self, batch: &[Usage]) -> Result<(), StoreError>;

    /// What is kept of the usage of these credentials; none for one that was never used.
    async fn usage(&self, credentials: &[CredentialId]) -> Result<Vec<Usage>, StoreError>;
}

#[async_trait]
impl<S: KeyStore + ?Sized> KeyStore for Arc<S> {
    async fn commit(&self, commit: &Commit) -> Result<Revision, CommitError> {
        (**self).commit(commit).await
    }

    async fn key(&self, tenant: &Tenant, id: KeyId) -> Result<Option<KeyRecord>, StoreError> {
        (**self).key(tenant, id).await
    }

    async fn keys(&self, query: &KeyQuery) -> Result<Page<KeyRecord>, StoreError> {
        (**self).keys(query).await
    }

    async fn legacy(&self, query: &LegacyQuery) -> Result<Page<LegacyRecord>, StoreError> {
        (**self).legacy(query).await
    }

    async fn namespaces(
        &self,
        query: &NamespaceQuery,
    ) -> Result<Page<NamespaceRecord>, StoreError> {
        (**self).namespaces(query).await
    }

    async fn policy(&self, tenant: Option<&Tenant>) -> Result<Policy, StoreError> {
        (**self).policy(tenant).await
    }

    async fn legacy_policy(&self, tenant: Option<&Tenant>) -> Result<LegacyPolicy, StoreError> {
        (**self).legacy_policy(tenant).await
    }

    async fn audit(&self, query: &AuditQuery) -> Result<Page<AuditEvent>, StoreError> {
        (**self).audit(query).await
    }

    async fn changes(&self, after: Revision, limit: usize) -> Result<Changes, StoreError> {
        (**self).changes(after, limit).await
    }

    async fn wait_for_change(&self, after: Revision) -> Result<bool, StoreError> {
        (**self).wait_for_change(after).await
    }

    fn is_shared(&self) -> bool {
        (**self).is_shared()
    }

    async fn key_format(&self) -> Result<Option<KeyFormat>, StoreError> {
        (**self).key_format().await
    }

    async fn record_key_format(&self, format: &KeyFormat) -> Result<KeyFormat, StoreError> {
        (**self).record_key_format(format).await
    }

    async fn record_usage(&self, batch: &[Usage]) -> Result<(), StoreError> {
        (**self).record_usage(batch).await
    }

    async fn usage(&self, credentials: &[CredentialId]) -> Result<Vec<Usage>, StoreError> {
        (**self).usage(credentials).await
    }
}

/// A change was not kept.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CommitError {
    /// A condition was broken; nothing was kept.
    #[error(transparent)]
    Conflict(#[from] Conflict),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// A store failed: its medium, its server or the way there.
#[derive(Debug)]
pub struct StoreError {
    source: Box<dyn Error + Send + Sync>,
    definite: bool,
}

impl StoreError {
    /// A failure after which nothing was changed.
    pub fn definite(source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self {
            source: source.into(),
            definite: true,
        }
    }

    /// A failure after which it is unknown whether a change was kept: a lost answer.
    pub fn unknown(source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self {
            source: source.into(),
            definite: false,
        }
    }

    /// Whether nothing was changed for certain.
    pub fn is_definite(&self) -> bool {
        self.definite
    }
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.definite {
            "the key store failed; nothing was changed"
        } else {
            "the key store failed; whether the change was kept is unknown"
        })
    }
}

impl Error for StoreError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&*self.source)
    }
}
