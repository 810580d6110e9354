//! The management front: every change of keys, over any store.

mod error;
mod legacy;
mod namespaces;
mod purge;
mod realms;
mod trail;

use alloc::sync::Arc;

use ring::rand::{SecureRandom, SystemRandom};

pub use error::ManageError;
pub use legacy::{LegacyUse, NamespaceUse};

use crate::{
    audit::{Action, AuditEntry},
    credential::CredentialId,
    digest::Peppers,
    format::KeyFormat,
    identity::{Context, Tenant},
    index::{FollowError, Index},
    issued::IssuedKey,
    key_id::KeyId,
    lifecycle::{KeyUpdate, LifecycleError, NewKey, Rotation},
    policy::Policy,
    presented::PresentedKey,
    record::{KeyInfo, KeyRecord, Status},
    revision::Revision,
    store::{Change, Commit, Conflict, KeyQuery, KeyStore, Limits, Page},
    verify::Verifier,
};

/// Creates, lists, changes and ends keys in a [`KeyStore`].
///
/// Every call that changes something takes a [`Context`]: who acts, when and why. It commits the
/// change with its audit event, and returns after both are kept and, if there is an
/// [index](Keyring::with_index), after they are in force in it: else it says so with
/// [`ManageError::Follow`], and calling again is safe. Calls that only read take no context, since
/// nothing is recorded of them.
///
/// The calls are `async` and need no runtime: over a store that never waits, such as
/// [`MemoryStore`](crate::store::MemoryStore), [`wait`](crate::wait) makes a plain call of each.
///
/// What the caller may do is the embedder's decision; the keyring holds every call to the tenant
/// that it names. A key of another tenant is [`ManageError::NotFound`].
#[derive(Debug)]
pub struct Keyring<S> {
    store: S,
    format: KeyFormat,
    peppers: Peppers,
    index: Option<Arc<Index>>,
}

impl<S: KeyStore> Keyring<S> {
    /// Manages the keys in `store`, which have this format.
    pub fn new(store: S, format: KeyFormat) -> Self {
        Self {
            store,
            format,
            peppers: Peppers::none(),
            index: None,
        }
    }

    /// Making digests under these peppers.
    #[must_use]
    pub fn with_peppers(mut self, peppers: Peppers) -> Self {
        self.peppers = peppers;
        self
    }

    /// Bringing this index up to date after every change, before the call returns.
    ///
    /// At the start of a program over a store that has keys already, call
    /// [`index.follow(keyring.store())`](Index::follow) once: until the first call of either kind
    /// the index is not ready.
    #[must_use]
    pub fn with_index(mut self, index: Arc<Index>) -> Self {
        self.index = Some(index);
        self
    }

    /// A verifier over an index, for keys of the same format under the same peppers.
    pub fn verifier(&self, index: Arc<Index>) -> Verifier {
        Verifier::new(index, self.format).with_peppers(self.peppers.clone())
    }

    /// The store.
    pub fn store(&self) -> &S {
        &self.store
    }

    /// The format of the keys.
    pub fn format(&self) -> &KeyFormat {
        &self.format
    }

    /// Makes a key, with randomness of the operating system; its plain text is in the answer and
    /// nowhere else. Should the index not be able to follow just now, the key works once it can.
    ///
    /// # Errors
    ///
    /// - the policy does not allow it -> [`ManageError::Lifecycle`]
    /// - the name is taken, the owner has too many, or owner, namespace or team was removed ->
    ///   [`ManageError::Conflict`]
    pub async fn create(
        &self,
        context: &Context,
        new: NewKey,
    ) -> Result<(IssuedKey, KeyInfo), ManageError> {
        self.create_with(context, new, &SystemRandom::new()).await
    }

    /// Makes a key as [`Keyring::create`], with another source of randomness.
    ///
    /// # Errors
    ///
    /// As [`Keyring::create`].
    pub async fn create_with(
        &self,
        context: &Context,
        new: NewKey,
        rng: &(dyn SecureRandom + Sync),
    ) -> Result<(IssuedKey, KeyInfo), ManageError> {
        let policy = self.store.policy(&new.tenant).await?;
        let (mut record, key) = new.issue(context, &policy, &self.format, &self.peppers, rng)?;
        let change = Change::CreateKey {
            record: record.clone(),
            limits: Limits::from(&policy),
        };
        let event = about_key(Action::KeyCreated, context, &record);
        record.revision = self.keep(change, event).await?;
        self.follow_if_possible().await;
        Ok((key, KeyInfo::from(&record)))
    }

    /// A key.
    ///
    /// # Errors
    ///
    /// No such key in the tenant -> [`ManageError::NotFound`].
    pub async fn get(&self, tenant: &Tenant, id: KeyId) -> Result<KeyInfo, ManageError> {
        Ok(KeyInfo::from(&self.record(tenant, id).await?))
    }

    /// A page of keys in the order of their creation.
    ///
    /// # Errors
    ///
    /// The store failed -> [`ManageError::Store`].
    pub async fn list(&self, query: &KeyQuery) -> Result<Page<KeyInfo>, ManageError> {
        let page = self.store.keys(query).await?;
        Ok(page.map(|record| KeyInfo::from(&record)))
    }

    /// Changes a key's name, labels, scopes or end.
    ///
    /// `expected` is the revision that the caller saw, if it cares whether somebody else changed
    /// the key meanwhile.
    ///
    /// # Errors
    ///
    /// - no such key -> [`ManageError::NotFound`]
    /// - it changed since `expected` -> [`Conflict::Stale`]
    /// - the key is revoked, or the end would be put back -> [`ManageError::Lifecycle`]
    /// - the name is taken -> [`Conflict::NameTaken`]
    pub async fn update(
        &self,
        context: &Context,
        tenant: &Tenant,
        id: KeyId,
        update: KeyUpdate,
        expected: Option<Revision>,
    ) -> Result<KeyInfo, ManageError> {
        let unique_name = update.name.is_some() && self.store.policy(tenant).await?.unique_names;
        self.change(
            context,
            (tenant, id, expected),
            Action::KeyUpdated,
            unique_name,
            |record| Ok(Some(record.updated(update.clone(), context)?)),
        )
        .await
    }

    /// Switches a key off. One that is off stays so.
    ///
    /// # Errors
    ///
    /// - no such key -> [`ManageError::NotFound`]
    /// - the key is revoked -> [`ManageError::Lifecycle`]
    pub async fn disable(
        &self,
        context: &Context,
        tenant: &Tenant,
        id: KeyId,
    ) -> Result<KeyInfo, ManageError> {
        let target = (tenant, id, None);
        self.change(context, target, Action::KeyDisabled, false, |record| {
            let is_so = matches!(record.status, Status::Disabled);
            (!is_so).then(|| record.disabled(context)).transpose()
        })
        .await
    }

    /// Switches a key on again. One that is on stays so.
    ///
    /// # Errors
    ///
    /// As [`Keyring::disable`].
    pub async fn enable(
        &self,
        context: &Context,
        tenant: &Tenant,
        id: KeyId,
    ) -> Result<KeyInfo, ManageError> {
        let target = (tenant, id, None);
        self.change(context, target, Action::KeyEnabled, false, |record| {
            let is_so = matches!(record.status, Status::Active);
            (!is_so).then(|| record.enabled(context)).transpose()
        })
        .await
    }

    /// Revokes a key, for ever. One that is revoked stays as it is.
    ///
    /// # Errors
    ///
    /// No such key -> [`ManageError::NotFound`].
    pub async fn revoke(
        &self,
        context: &Context,
        tenant: &Tenant,
        id: KeyId,
    ) -> Result<KeyInfo, ManageError> {
        let target = (tenant, id, None);
        self.change(context, target, Action::KeyRevoked, false, |record| {
            let is_so = matches!(record.status, Status::Revoked(_));
            (!is_so).then(|| record.revoked(context)).transpose()
        })
        .await
    }

    /// Gives a key a new secret; the old one works on for the grace, at most until its own end.
    ///
    /// Of several rotations at once one wins; the others are refused as stale.
    ///
    /// # Errors
    ///
    /// - no such key -> [`ManageError::NotFound`]
    /// - it changed since `expected`, or another rotation won -> [`Conflict::Stale`]
    /// - the key is revoked or expired, or the policy does not allow it ->
    ///   [`ManageError::Lifecycle`]
    pub async fn rotate(
        &self,
        context: &Context,
        tenant: &Tenant,
        id: KeyId,
        rotation: Rotation,
        expected: Option<Revision>,
    ) -> Result<(IssuedKey, KeyInfo), ManageError> {
        let rng = SystemRandom::new();
        self.rotate_with(context, tenant, id, rotation, expected, &rng)
            .await
    }

    /// Rotates a key as [`Keyring::rotate`], with another source of randomness.
    ///
    /// # Errors
    ///
    /// As [`Keyring::rotate`].
    pub async fn rotate_with(
        &self,
        context: &Context,
        tenant: &Tenant,
        id: KeyId,
        rotation: Rotation,
        expected: Option<Revision>,
        rng: &(dyn SecureRandom + Sync),
    ) -> Result<(IssuedKey, KeyInfo), ManageError> {
        let policy = self.store.policy(tenant).await?;
        let record = self.record_at(tenant, id, expected).await?;
        let expected = record.revision;
        let (mut record, key) = record.rotated(
            &rotation,
            context,
            &policy,
            &self.format,
            &self.peppers,
            rng,
        )?;
        let event = about_key(Action::KeyRotated, context, &record);
        let change = Change::ReplaceKey {
            record: record.clone(),
            expected,
            unique_name: false,
        };
        record.revision = self.keep(change, event).await?;
        self.follow_if_possible().await;
        Ok((key, KeyInfo::from(&record)))
    }

    /// Makes the digest of a key anew under the current pepper, while its owner presents it: see
    /// [`Principal::needs_repepper`](crate::Principal::needs_repepper). One that is under the
    /// current pepper stays so.
    ///
    /// # Errors
    ///
    /// - no such key -> [`ManageError::NotFound`]
    /// - not its current secret, or the key is revoked -> [`ManageError::Lifecycle`]
    pub async fn repepper(
        &self,
        context: &Context,
        tenant: &Tenant,
        presented: &PresentedKey<'_>,
    ) -> Result<KeyInfo, ManageError> {
        self.change(
            context,
            (tenant, presented.id(), None),
            Action::KeyRepeppered,
            false,
            |record| {
                let current = record.digest.pepper() == self.peppers.current_id();
                let record = record.repeppered(presented, &self.peppers, context)?;
                Ok((!current).then_some(record))
            },
        )
        .await
    }

    /// Deletes a key's record: it ends at once, and only the audit trail remembers it.
    ///
    /// # Errors
    ///
    /// No such key -> [`ManageError::NotFound`].
    pub async fn delete(
        &self,
        context: &Context,
        tenant: &Tenant,
        id: KeyId,
    ) -> Result<(), ManageError> {
        let record = self.record(tenant, id).await?;
        let event = about_key(Action::KeyDeleted, context, &record);
        let change = Change::DeleteKey {
            tenant: tenant.clone(),
            id,
        };
        self.commit(change, event).await.map(drop)
    }

    /// The policy for keys of a namespace.
    ///
    /// # Errors
    ///
    /// The store failed -> [`ManageError::Store`].
    pub async fn policy(&self, tenant: &Tenant) -> Result<Policy, ManageError> {
        Ok(self.store.policy(tenant).await?)
    }

    /// Sets the policy for keys of a namespace, or the default; `None` takes it back.
    ///
    /// # Errors
    ///
    /// The namespace is another team's -> [`Conflict::ForeignNamespace`].
    pub async fn set_policy(
        &self,
        context: &Context,
        tenant: Option<&Tenant>,
        policy: Option<Policy>,
    ) -> Result<(), ManageError> {
        let event = about_namespace(Action::PolicySet, context, tenant);
        let change = Change::SetPolicy {
            tenant: tenant.cloned(),
            policy,
        };
        self.commit(change, event).await.map(drop)
    }

    async fn record(&self, tenant: &Tenant, id: KeyId) -> Result<KeyRecord, ManageError> {
        let record = self.store.key(tenant, id).await?;
        record.ok_or(ManageError::NotFound)
    }

    async fn record_at(
        &self,
        tenant: &Tenant,
        id: KeyId,
        expected: Option<Revision>,
    ) -> Result<KeyRecord, ManageError> {
        let record = self.record(tenant, id).await?;
        match expected {
            Some(expected) if expected != record.revision => Err(Conflict::Stale.into()),
            _ => Ok(record),
        }
    }

    /// Reads a key, changes it and keeps it; `change` gives `None` for "it is so already".
    ///
    /// Without an expected revision it starts over when somebody else was faster.
    async fn change(
        &self,
        context: &Context,
        (tenant, id, expected): (&Tenant, KeyId, Option<Revision>),
        action: Action,
        unique_name: bool,
        change: impl Fn(KeyRecord) -> Result<Option<KeyRecord>, LifecycleError>,
    ) -> Result<KeyInfo, ManageError> {
        for _ in 0..Self::TRIES {
            let before = self.record_at(tenant, id, expected).await?;
            let revision = before.revision;
            let info = KeyInfo::from(&before);
            let Some(mut after) = change(before)? else {
                return Ok(info);
            };
            let event = about_key(action, context, &after);
            let change = Change::ReplaceKey {
                record: after.clone(),
                expected: revision,
                unique_name,
            };
            match self.commit(change, event).await {
                Ok(revision) => {
                    after.revision = revision;
                    return Ok(KeyInfo::from(&after));
                }
                Err(ManageError::Conflict(Conflict::Stale | Conflict::Revoked))
                    if expected.is_none() => {}
                Err(error) => return Err(error),
            }
        }
        Err(Conflict::Stale.into())
    }

    const TRIES: usize = 16;

    /// Brings the index up to what the store has, as the end of every change does: for a caller
    /// that judges by the index and must not miss what another process has just made.
    ///
    /// # Errors
    ///
    /// The index could not follow -> [`ManageError::Behind`].
    pub async fn catch_up(&self) -> Result<(), ManageError> {
        self.follow().await.map_err(ManageError::Behind)
    }

    /// Keeps a change, and brings the index up to date.
    async fn commit(&self, change: Change, event: AuditEntry) -> Result<Revision, ManageError> {
        let revision = self.keep(change, event).await?;
        self.follow().await?;
        Ok(revision)
    }

    async fn keep(&self, change: Change, event: AuditEntry) -> Result<Revision, ManageError> {
        Ok(self.store.commit(&Commit { change, event }).await?)
    }

    /// Brings the index up to date, for a change whose answer must not be lost: a new secret is
    /// known to nobody else. What the index misses now it reads when it follows again.
    async fn follow_if_possible(&self) {
        let _ = self.follow().await;
    }

    async fn follow(&self) -> Result<(), FollowError> {
        match &self.index {
            Some(index) => index.follow(&self.store).await.map(drop),
            None => Ok(()),
        }
    }
}

fn about_namespace(action: Action, context: &Context, tenant: Option<&Tenant>) -> AuditEntry {
    AuditEntry {
        team: tenant.map(|tenant| tenant.team.clone()),
        namespace: tenant.map(|tenant| tenant.namespace.clone()),
        ..AuditEntry::new(action, context)
    }
}

fn about_key(action: Action, context: &Context, record: &KeyRecord) -> AuditEntry {
    AuditEntry {
        owner: Some(record.owner.clone()),
        credential: Some(CredentialId::Key(record.id)),
        ..about_namespace(action, context, Some(&record.tenant))
    }
}
