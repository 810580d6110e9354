//! The store contract, queries, and building blocks for stores.

mod change;
mod decide;
#[cfg(feature = "std")]
mod journal;
mod query;
mod record;
mod state;
mod targets;

use alloc::{boxed::Box, sync::Arc, vec::Vec};
use core::{error::Error, fmt};

pub use async_trait::async_trait;

pub use change::{ActorFault, Change, Changes, Commit, Conflict, Entry, Item, Limits};
pub use decide::{Existing, NameLookup, OwnerLookup, PolicyLookup, ReadSet, Snapshot, WriteSet};
#[cfg(feature = "std")]
pub use journal::{Journal, JournalEntry, JournaledStore, MemoryStore};
pub use query::{
    AuditPath, AuditQuery, Cursor, CursorError, Found, KeyPath, KeyQuery, LegacyQuery,
    NamespaceQuery, NamespaceRecord, Order, Page, SearchText, StatusFilter, StatusFilterError,
};
pub use record::Record;
pub use state::StoreState;
pub use targets::{LiveCount, TargetPage, TargetQuery, TargetRecord, TargetsOf};

pub use crate::{
    cutoff::{Cutoff, Target},
    record::{KeyRecord, PreviousSecret},
    revision::Revision,
    usage::{UsageDay, UsageOf, UsageOfError, UsageQuery},
};

use crate::{
    audit::{AuditEvent, TrailHead},
    credential_id::CredentialId,
    format::KeyFormat,
    identity::Tenant,
    key_id::KeyId,
    legacy::{LegacyPolicy, LegacyRecord},
    policy::Policy,
    timestamp::Timestamp,
    usage::{Usage, UsageBatch},
};

/// Storage for keys: an ordered log of changes and the state that results from it.
///
/// The contract, which the crate `keyfob-conformance` tests clause by clause:
///
/// - **Total order.** The first commit gets [`Revision`] 1, each further commit the next one,
///   without gaps. A reader that sees a revision sees all earlier ones. A read that starts after a
///   commit returned sees that commit.
/// - **Audit.** The event says what was changed, as [`Commit::decide`] computed it.
/// - **Atomicity and durability.** A change, its audit event and its entry in the change feed are
///   stored together and durably before `commit` returns `Ok`, or not at all.
/// - **Isolation.** The conditions of a commit ([`Change`]) and its actor's
///   [`Authority`](crate::manage::Authority) are checked in the transaction that stores it.
/// - **Cutoffs.** A [`Cutoff`] revokes everything that was created in its target up to its
///   revision. The store applies cutoffs when it returns a record ([`KeyRecord::with_cutoffs`]); it
///   rewrites no record.
/// - **Permanence.** A revoked key stays revoked. The identifier of a deleted key stays taken.
///
/// There are three ways to implement a store:
///
/// - For one process: implement [`Journal`] and wrap it in [`JournaledStore`].
///   `examples/custom_store.rs` is a durable store in a file.
/// - For one process with special needs: wrap [`StoreState`], the contract as plain code.
/// - On a database: in one transaction, read a commit's [read set](Commit::read_set) into a
///   [`Snapshot`], call [`Commit::decide`], and write the [`WriteSet`]. The conditions are then
///   checked by the same code in every store.
///
/// The trait is dyn-compatible: callers hold `Arc<dyn KeyStore>`, and `async-trait` boxes the
/// futures. This costs one allocation per call. Verification never calls a store.
#[async_trait]
pub trait KeyStore: Send + Sync {
    /// Stores a change with its audit event, and returns its revision.
    ///
    /// - all conditions hold -> stored, `Ok(revision)`
    /// - a condition does not hold -> nothing stored, [`CommitError::Conflict`]
    /// - the store failed -> [`CommitError::Store`]; unless [`StoreError::is_definite`], the change
    ///   may have been stored
    async fn commit(&self, commit: &Commit) -> Result<Revision, CommitError>;

    /// Returns a key of this tenant, with cutoffs applied.
    ///
    /// - no such key, deleted, or of another tenant -> `Ok(None)`
    async fn key(&self, tenant: &Tenant, id: KeyId) -> Result<Option<KeyRecord>, StoreError>;

    /// Returns a page of a team's keys in the order of their creation, or newest first if the query
    /// says so, with cutoffs applied.
    ///
    /// - keys are created between two pages -> they come last, or not at all if the newest come
    ///   first; no key is skipped or returned twice
    /// - there are more items -> [`Page::next`] is set
    /// - many keys were looked through -> the page may have fewer keys than the limit, or none, and
    ///   [`Page::next`] is set
    async fn keys(&self, query: &KeyQuery) -> Result<Page<KeyRecord>, StoreError>;

    /// Returns a page of legacy credentials in the order of their import, with cutoffs applied.
    async fn legacy(&self, query: &LegacyQuery) -> Result<Page<LegacyRecord>, StoreError>;

    /// Returns a page of namespaces in the order in which they were bound to their teams.
    async fn namespaces(&self, query: &NamespaceQuery)
    -> Result<Page<NamespaceRecord>, StoreError>;

    /// Returns a page of teams, or of the people or services of a team, in the order of their names.
    ///
    /// - there are more items -> [`TargetPage::more`] is set
    async fn targets(&self, query: &TargetQuery) -> Result<TargetPage, StoreError>;

    /// Counts the credentials of a target that could be used at `at` or later. Counts rows of an
    /// index: it reads no records.
    ///
    /// - the target is unknown, or a namespace of another team -> zero
    async fn count_live(&self, target: &Target, at: Timestamp) -> Result<LiveCount, StoreError>;

    /// Returns the policy for keys of a namespace, or the default policy for `None`.
    ///
    /// - the namespace has no policy, or belongs to another team -> the default policy
    /// - no default policy was set -> [`Policy::default`]
    async fn policy(&self, tenant: Option<&Tenant>) -> Result<Policy, StoreError>;

    /// Returns the policy for legacy credentials of a namespace, or the default policy for `None`.
    ///
    /// - the namespace has no policy, or belongs to another team -> the default policy
    /// - no default policy was set -> [`LegacyPolicy::Off`]
    async fn legacy_policy(&self, tenant: Option<&Tenant>) -> Result<LegacyPolicy, StoreError>;

    /// Returns the policies for keys of these namespaces, in their order, each as
    /// [`KeyStore::policy`] does: all of them in one read.
    async fn policies(&self, tenants: &[Tenant]) -> Result<Vec<Policy>, StoreError>;

    /// Returns the policies for legacy credentials of these namespaces, in their order, each as
    /// [`KeyStore::legacy_policy`] does: all of them in one read.
    async fn legacy_policies(&self, tenants: &[Tenant]) -> Result<Vec<LegacyPolicy>, StoreError>;

    /// Returns a page of the audit trail, in the order of the query.
    ///
    /// - many events were looked through -> the page may have fewer events than the limit, or none,
    ///   and [`Page::next`] is set
    async fn audit(&self, query: &AuditQuery) -> Result<Page<AuditEvent>, StoreError>;

    /// Returns the head of the log: the revision of the last commit, and the hash that the next
    /// event will follow. Read it from where a commit reads it, not from the audit trail.
    async fn head(&self) -> Result<TrailHead, StoreError>;

    /// Returns at most `limit` entries of the change feed: the current state of every item whose
    /// last change is later than `after`, in the order of those changes.
    ///
    /// - `after` is [`Revision::ZERO`] -> the feed holds the whole state
    /// - an item changed several times -> it appears once, at its last change
    /// - a key was deleted -> a tombstone appears ([`Item::KeyDeleted`])
    /// - `limit` is zero -> treated as one
    async fn changes(&self, after: Revision, limit: usize) -> Result<Changes, StoreError>;

    /// Waits until the store may have a commit later than `after`.
    ///
    /// - there may be one -> `Ok(true)`; a spurious `true` is allowed, a missed commit is not
    /// - the store cannot tell (the default) -> `Ok(false)` immediately; the follower polls
    /// - the store cannot be read -> an error immediately; the follower backs off
    ///
    /// The caller bounds the wait and drops the future when the time is over.
    async fn wait_for_change(&self, after: Revision) -> Result<bool, StoreError> {
        let _ = after;
        Ok(false)
    }

    /// Whether anybody but the owner of this value can change the store's contents: another
    /// process, or another handle in this process. The implementation for [`Arc`] returns `true`.
    ///
    /// If so, a verifier over the store refuses calls unless a follower keeps its index up to date.
    fn is_shared(&self) -> bool;

    /// Returns the format of the keys in the store; `None` until one is recorded.
    async fn key_format(&self) -> Result<Option<KeyFormat>, StoreError>;

    /// Records the format of the keys if none is recorded, and returns the recorded one.
    async fn record_key_format(&self, format: &KeyFormat) -> Result<KeyFormat, StoreError>;

    /// Merges a batch of usage into the stored usage, once: counts are added, the last use is the
    /// later of the two. It also counts it [by day](KeyStore::usage_days), in the same transaction.
    ///
    /// - a credential is not in the store -> its usage is ignored
    /// - the batch's sequence is not greater than the last one recorded of its source -> the batch
    ///   is ignored, `Ok(())`; decided in the transaction that adds the counts
    /// - the store failed -> an error, after which the same batch can be sent again
    ///
    /// `now` is the time of the call. A store forgets a source from which it recorded nothing for
    /// [`UsageSource::KEPT`](crate::gateway::UsageSource::KEPT) before that: its table has one row
    /// for each source in that time, and a batch that is sent again later may be counted twice. It
    /// remembers at most [`UsageSource::GROUP_MAX`](crate::gateway::UsageSource::GROUP_MAX) sources
    /// of a [group](crate::gateway::UsageSource::group): one more takes the place of the one from
    /// which it recorded nothing for longest.
    async fn record_usage(&self, batch: &UsageBatch, now: Timestamp) -> Result<(), StoreError>;

    /// Returns the usage of these credentials; a credential that was never used is left out.
    async fn usage(&self, credentials: &[CredentialId]) -> Result<Vec<Usage>, StoreError>;

    /// Returns the usage by day, in any order: for each [`UsageOf`], day, kind of credential and
    /// outcome the uses of each hour; without uses it is left out.
    ///
    /// [`KeyStore::record_usage`] counts a batch for its [slot](UsageBatch::slot): each delta of a
    /// credential in the store for that credential, its namespace and its team.
    ///
    /// - the slot is `None` -> the batch counts for [`KeyStore::usage`] only
    /// - at the time of a batch, a day is [forgotten](UsageBatch::forgotten_at) -> it is deleted, at
    ///   least as fast as batches add days
    /// - a credential, namespace or team was revoked, removed or deleted -> its days stay until they
    ///   are forgotten
    async fn usage_days(&self, query: &UsageQuery) -> Result<Vec<UsageDay>, StoreError>;
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

    async fn targets(&self, query: &TargetQuery) -> Result<TargetPage, StoreError> {
        (**self).targets(query).await
    }

    async fn count_live(&self, target: &Target, at: Timestamp) -> Result<LiveCount, StoreError> {
        (**self).count_live(target, at).await
    }

    async fn policy(&self, tenant: Option<&Tenant>) -> Result<Policy, StoreError> {
        (**self).policy(tenant).await
    }

    async fn legacy_policy(&self, tenant: Option<&Tenant>) -> Result<LegacyPolicy, StoreError> {
        (**self).legacy_policy(tenant).await
    }

    async fn policies(&self, tenants: &[Tenant]) -> Result<Vec<Policy>, StoreError> {
        (**self).policies(tenants).await
    }

    async fn legacy_policies(&self, tenants: &[Tenant]) -> Result<Vec<LegacyPolicy>, StoreError> {
        (**self).legacy_policies(tenants).await
    }

    async fn audit(&self, query: &AuditQuery) -> Result<Page<AuditEvent>, StoreError> {
        (**self).audit(query).await
    }

    async fn head(&self) -> Result<TrailHead, StoreError> {
        (**self).head().await
    }

    async fn changes(&self, after: Revision, limit: usize) -> Result<Changes, StoreError> {
        (**self).changes(after, limit).await
    }

    async fn wait_for_change(&self, after: Revision) -> Result<bool, StoreError> {
        (**self).wait_for_change(after).await
    }

    /// `true`: a clone can be used by another keyring, whose changes this one must follow.
    fn is_shared(&self) -> bool {
        true
    }

    async fn key_format(&self) -> Result<Option<KeyFormat>, StoreError> {
        (**self).key_format().await
    }

    async fn record_key_format(&self, format: &KeyFormat) -> Result<KeyFormat, StoreError> {
        (**self).record_key_format(format).await
    }

    async fn record_usage(&self, batch: &UsageBatch, now: Timestamp) -> Result<(), StoreError> {
        (**self).record_usage(batch, now).await
    }

    async fn usage(&self, credentials: &[CredentialId]) -> Result<Vec<Usage>, StoreError> {
        (**self).usage(credentials).await
    }

    async fn usage_days(&self, query: &UsageQuery) -> Result<Vec<UsageDay>, StoreError> {
        (**self).usage_days(query).await
    }
}

/// A commit failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CommitError {
    /// A condition does not hold; nothing was stored.
    #[error(transparent)]
    Conflict(#[from] Conflict),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// A store failed: its disk, its server or the connection to it.
#[derive(Debug)]
pub struct StoreError {
    source: Box<dyn Error + Send + Sync>,
    definite: bool,
}

impl StoreError {
    /// A failure after which nothing was changed for certain.
    pub fn definite(source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self {
            source: source.into(),
            definite: true,
        }
    }

    /// A failure after which the change may or may not have been stored, such as a lost response.
    pub fn unknown(source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self {
            source: source.into(),
            definite: false,
        }
    }

    /// Whether it is certain that nothing was changed.
    pub fn is_definite(&self) -> bool {
        self.definite
    }
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.definite {
            // What one call of the store did not do says nothing of what others did before it.
            "the key store failed"
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
