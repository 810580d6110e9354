//! Where keys are kept: the contract that every store fulfils.

mod change;
mod judge;
#[cfg(feature = "std")]
mod memory;
mod query;
mod state;

use alloc::{boxed::Box, vec::Vec};
use core::{error::Error, fmt, future::Future};

pub use change::{Change, Changes, Commit, Conflict, Entry, Item, Limits};
pub use judge::{Facts, Known, NameQuestion, OwnerQuestion, Questions, Write};
#[cfg(feature = "std")]
pub use memory::MemoryStore;
pub use query::{
    AuditQuery, Cursor, CursorError, KeyQuery, LegacyQuery, NamespaceQuery, NamespaceRecord, Page,
    StatusFilter,
};
pub use state::StoreState;

use crate::{
    audit::AuditEvent,
    credential::CredentialId,
    identity::Tenant,
    key_id::KeyId,
    legacy::{LegacyPolicy, LegacyRecord},
    policy::Policy,
    record::KeyRecord,
    revision::Revision,
    usage::Usage,
};

/// The authority over keys: an ordered log of changes with its current state.
///
/// The contract, which `keyfob-conformance` tests clause by clause:
///
/// - **One order.** The first commit gets [`Revision`] 1 and every other the next, without gaps;
///   whoever sees a revision sees all before it. A reader that starts after a commit returned sees that commit.
/// - **All or nothing.** A change, its audit event and its entry in the change feed are kept
///   together, durably, before `commit` returns `Ok`, or not at all.
/// - **Judged inside.** A commit's conditions ([`Change`]) are judged in the same step that
///   keeps it: between judging and keeping nothing else is kept.
/// - **Cuts, not sweeps.** A [`Boundary`](crate::Boundary) revokes whatever was created in its
///   realm at or before its cut. Records that the store hands out read so, through
///   [`KeyRecord::behind`]; no record is rewritten.
/// - **Nothing comes back.** A revoked key stays revoked, a deleted key's identifier stays taken.
///
/// [`StoreState`] is this contract as plain code without I/O. A store for one process can wrap
/// it, as [`MemoryStore`] and `examples/custom_store.rs` do. A store with an engine of its own
/// answers a commit's [questions](Commit::questions), lets [`Commit::judge`] decide, and writes
/// the [`Write`], in one transaction: so the conditions are judged by the same code everywhere.
///
/// The futures of a store without I/O are ready at once, and [`wait`](crate::wait) turns any of
/// them into a plain call.
pub trait KeyStore: Send + Sync {
    /// Keeps a change with its audit event, and gives the revision it got.
    ///
    /// - conditions fulfilled -> kept, `Ok(revision)`
    /// - a condition broken -> nothing kept, [`CommitError::Conflict`]
    /// - the store failed -> [`CommitError::Store`]; whether it was kept is unknown unless
    ///   [`StoreError::is_definite`]
    fn commit(&self, commit: &Commit)
    -> impl Future<Output = Result<Revision, CommitError>> + Send;

    /// A key of this tenant, read behind its boundaries.
    ///
    /// - no such key, deleted, or of another tenant -> `Ok(None)`
    fn key(
        &self,
        tenant: &Tenant,
        id: KeyId,
    ) -> impl Future<Output = Result<Option<KeyRecord>, StoreError>> + Send;

    /// A page of a team's keys in the order of their creation, read behind their boundaries.
    ///
    /// - keys are created between two pages -> they come after all others; none is skipped or
    ///   given twice
    /// - the page is full and there is more -> [`Page::next`] is set
    fn keys(
        &self,
        query: &KeyQuery,
    ) -> impl Future<Output = Result<Page<KeyRecord>, StoreError>> + Send;

    /// A page of legacy credentials in the order of their import, read behind their boundaries.
    fn legacy(
        &self,
        query: &LegacyQuery,
    ) -> impl Future<Output = Result<Page<LegacyRecord>, StoreError>> + Send;

    /// A page of namespaces in the order in which they were bound to their teams.
    fn namespaces(
        &self,
        query: &NamespaceQuery,
    ) -> impl Future<Output = Result<Page<NamespaceRecord>, StoreError>> + Send;

    /// The policy for keys of a namespace.
    ///
    /// - no override, or the namespace is another team's -> the default that was set; none was ->
    ///   [`Policy::default`]
    fn policy(&self, tenant: &Tenant) -> impl Future<Output = Result<Policy, StoreError>> + Send;

    /// The policy for legacy credentials of a namespace.
    ///
    /// - no override, or the namespace is another team's -> the default that was set; none was ->
    ///   [`LegacyPolicy::Off`]
    fn legacy_policy(
        &self,
        tenant: &Tenant,
    ) -> impl Future<Output = Result<LegacyPolicy, StoreError>> + Send;

    /// A page of the audit trail, oldest first.
    fn audit(
        &self,
        query: &AuditQuery,
    ) -> impl Future<Output = Result<Page<AuditEvent>, StoreError>> + Send;

    /// What changed after `after`: the current state of everything whose last change is later,
    /// in the order of those changes, at most `limit` entries.
    ///
    /// - start at [`Revision::ZERO`] -> the whole state
    /// - something changed several times -> it appears once, at its last change
    /// - something was deleted -> its deletion appears
    /// - a limit of zero -> read as one
    fn changes(
        &self,
        after: Revision,
        limit: usize,
    ) -> impl Future<Output = Result<Changes, StoreError>> + Send;

    /// Merges usage into what is kept: counts are added, last use only moves forward.
    ///
    /// - a credential that is not kept -> passed over
    fn record_usage(&self, batch: &[Usage]) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// What is kept of the usage of these credentials; none for one that was never used.
    fn usage(
        &self,
        credentials: &[CredentialId],
    ) -> impl Future<Output = Result<Vec<Usage>, StoreError>> + Send;
}

impl<S: KeyStore + ?Sized> KeyStore for alloc::sync::Arc<S> {
    fn commit(
        &self,
        commit: &Commit,
    ) -> impl Future<Output = Result<Revision, CommitError>> + Send {
        (**self).commit(commit)
    }

    fn key(
        &self,
        tenant: &Tenant,
        id: KeyId,
    ) -> impl Future<Output = Result<Option<KeyRecord>, StoreError>> + Send {
        (**self).key(tenant, id)
    }

    fn keys(
        &self,
        query: &KeyQuery,
    ) -> impl Future<Output = Result<Page<KeyRecord>, StoreError>> + Send {
        (**self).keys(query)
    }

    fn legacy(
        &self,
        query: &LegacyQuery,
    ) -> impl Future<Output = Result<Page<LegacyRecord>, StoreError>> + Send {
        (**self).legacy(query)
    }

    fn namespaces(
        &self,
        query: &NamespaceQuery,
    ) -> impl Future<Output = Result<Page<NamespaceRecord>, StoreError>> + Send {
        (**self).namespaces(query)
    }

    fn policy(&self, tenant: &Tenant) -> impl Future<Output = Result<Policy, StoreError>> + Send {
        (**self).policy(tenant)
    }

    fn legacy_policy(
        &self,
        tenant: &Tenant,
    ) -> impl Future<Output = Result<LegacyPolicy, StoreError>> + Send {
        (**self).legacy_policy(tenant)
    }

    fn audit(
        &self,
        query: &AuditQuery,
    ) -> impl Future<Output = Result<Page<AuditEvent>, StoreError>> + Send {
        (**self).audit(query)
    }

    fn changes(
        &self,
        after: Revision,
        limit: usize,
    ) -> impl Future<Output = Result<Changes, StoreError>> + Send {
        (**self).changes(after, limit)
    }

    fn record_usage(&self, batch: &[Usage]) -> impl Future<Output = Result<(), StoreError>> + Send {
        (**self).record_usage(batch)
    }

    fn usage(
        &self,
        credentials: &[CredentialId],
    ) -> impl Future<Output = Result<Vec<Usage>, StoreError>> + Send {
        (**self).usage(credentials)
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
