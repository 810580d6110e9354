//! Management: every change of keys, over any store.

mod builder;
mod cutoffs;
mod error;
mod keys;
mod legacy;
mod namespaces;
mod purge;
mod trail;
mod walk;

use alloc::sync::Arc;
use core::time::Duration;

pub use builder::KeyringBuilder;
pub use error::Error;
pub use keys::CreatedKey;
pub use walk::{Query, Walk};

use crate::{
    audit::{Action, AuditEntry},
    format::{FormatError, KeyFormat},
    identity::{Context, Tenant},
    index::{FollowError, Index},
    random::Random,
    revision::Revision,
    store::{Change, Commit, KeyStore},
    timestamp::Timestamp,
    verify::Verifier,
};

/// Creates, lists, changes and revokes keys in a [`KeyStore`], and verifies them.
///
/// Every call that changes something takes a [`Context`]: who acts and by what right, when and
/// why. It commits the change with its audit event, and returns after the change is in force in
/// the keyring's verifiers. If it is kept, but could not be brought into force here, the call
/// returns [`Error::AppliedNotSynced`]; calling again is safe. Calls that only read take no
/// context, since nothing is recorded of them.
///
/// The calls are `async` and need no runtime of their own: over a store that never waits, such as
/// [`MemoryStore`](crate::MemoryStore), [`block_on`](crate::block_on) makes a plain call of each.
///
/// What a caller may do is the embedder's decision; the keyring holds every call to the tenant
/// that it names. A key of another tenant is [`Error::NotFound`].
pub struct Keyring {
    store: Arc<dyn KeyStore>,
    index: Arc<Index>,
    random: Arc<dyn Random>,
    stale_after: Option<Duration>,
}

impl Keyring {
    /// Opens a store whose keys begin with this prefix (`[a-z][a-z0-9]{0,15}`), and reads it to
    /// its end once.
    ///
    /// The first call records the prefix in the store. [`Keyring::builder`] has more to set.
    ///
    /// # Errors
    ///
    /// - not a prefix -> [`Error::Format`]
    /// - the store has keys of another prefix -> [`Error::OtherFormat`]
    /// - the store cannot be read -> [`Error::Store`], [`Error::NotSynced`]
    pub async fn open(
        store: impl KeyStore + 'static,
        prefix: impl TryInto<KeyFormat, Error: Into<FormatError>>,
    ) -> Result<Self, Error> {
        let format = prefix.try_into().map_err(Into::into)?;
        let keyring = Self::builder(store, format).open(crate::now()).await?;
        // A large store takes longer to read than the verifiers may be out of date.
        keyring.sync(crate::now()).await.map_err(Error::NotSynced)?;
        Ok(keyring)
    }

    /// A keyring with settings, over a store whose keys have this format.
    pub fn builder(store: impl KeyStore + 'static, format: KeyFormat) -> KeyringBuilder {
        KeyringBuilder::new(Arc::new(store), format)
    }

    /// A verifier of the keys in the store. It sees every change of this keyring at once.
    ///
    /// Over a store that other processes can change, something must call [`Keyring::sync`] often
    /// (the crate `keyfob-replica` does): when that has failed for
    /// [`stale_after`](KeyringBuilder::stale_after), the verifier refuses every call with 503.
    pub fn verifier(&self) -> Verifier {
        self.index.verifier(self.stale_after)
    }

    /// A verifier that never refuses because its knowledge is old.
    ///
    /// # Security
    ///
    /// A key that another process revoked is accepted until the next [`Keyring::sync`], however
    /// late that is. For tests, and for programs that sync before each verification.
    pub fn unbounded_verifier(&self) -> Verifier {
        self.index.verifier(None)
    }

    /// The store.
    pub fn store(&self) -> &Arc<dyn KeyStore> {
        &self.store
    }

    /// The index of the keyring's verifiers, for metrics.
    pub fn index(&self) -> &Arc<Index> {
        &self.index
    }

    /// The format of the keys.
    pub fn format(&self) -> &KeyFormat {
        self.index.format()
    }

    /// The age at which the verifiers refuse every call; none if only this process can change the
    /// store.
    pub fn stale_after(&self) -> Option<Duration> {
        self.stale_after
    }

    /// Brings the verifiers up to date with the store, and returns the revision reached. `now` is
    /// the time before the call.
    ///
    /// # Errors
    ///
    /// - the store failed -> [`FollowError::Store`]; call again
    /// - the store went back -> [`FollowError::Index`]: end the process, or open a new keyring
    pub async fn sync(&self, now: impl Into<Timestamp>) -> Result<Revision, FollowError> {
        self.index.follow(&*self.store, now).await
    }

    async fn sync_for(&self, context: &Context) -> Result<Revision, FollowError> {
        self.sync(context.now).await
    }

    /// Keeps a change, and brings it into force.
    async fn commit(
        &self,
        context: &Context,
        change: Change,
        event: AuditEntry,
    ) -> Result<Revision, Error> {
        let revision = self.keep(context, change, event).await?;
        self.sync_for(context)
            .await
            .map_err(Error::AppliedNotSynced)?;
        Ok(revision)
    }

    async fn keep(
        &self,
        context: &Context,
        change: Change,
        event: AuditEntry,
    ) -> Result<Revision, Error> {
        let commit = Commit {
            change,
            authority: context.authority.clone(),
            event,
        };
        Ok(self.store.commit(&commit).await?)
    }
}

impl core::fmt::Debug for Keyring {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Keyring")
            .field("format", self.format())
            .field("index", &self.index)
            .field("stale_after", &self.stale_after)
            .finish_non_exhaustive()
    }
}

fn about_namespace(action: Action, context: &Context, tenant: Option<&Tenant>) -> AuditEntry {
    AuditEntry {
        team: tenant.map(|tenant| tenant.team.clone()),
        namespace: tenant.map(|tenant| tenant.namespace.clone()),
        ..AuditEntry::new(action, context)
    }
}
