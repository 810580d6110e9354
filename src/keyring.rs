//! The management front: every change of keys, over any store.

use alloc::{sync::Arc, vec::Vec};

use ring::rand::{SecureRandom, SystemRandom};

use crate::{
    audit::{Action, AuditEntry, AuditEvent, ChainError, ChainHash},
    boundary::Realm,
    credential::CredentialId,
    digest::Peppers,
    format::KeyFormat,
    identity::{Context, Owner, Tenant},
    index::{FollowError, Index},
    issued::IssuedKey,
    key_id::KeyId,
    legacy::{LegacyId, LegacyPolicy, LegacyRecord},
    lifecycle::{KeyUpdate, LifecycleError, NewKey, Rotation},
    name::{NamespaceId, ServiceId, TeamId, UserId},
    policy::Policy,
    presented::PresentedKey,
    record::{KeyInfo, KeyRecord, Revocation, RevocationCause, Status},
    revision::Revision,
    store::{
        AuditQuery, Change, Commit, CommitError, Conflict, KeyQuery, KeyStore, LegacyQuery, Limits,
        Page, StoreError,
    },
    usage::{Usage, UsageRecorder},
};

/// Creates, lists, changes and ends keys in a [`KeyStore`].
///
/// Every call that changes something takes a [`Context`]: who acts, when and why. It commits the
/// change with its audit event, and returns after both are kept and, if there is an
/// [index](Keyring::with_index), after they are in force in it.
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
    #[must_use]
    pub fn with_index(mut self, index: Arc<Index>) -> Self {
        self.index = Some(index);
        self
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
    /// nowhere else.
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
        let policy = self.store.policy(&new.tenant.namespace).await?;
        let (mut record, key) = new.issue(context, &policy, &self.format, &self.peppers, rng)?;
        let change = Change::CreateKey {
            record: record.clone(),
            limits: Limits::from(&policy),
        };
        let event = about_key(Action::KeyCreated, context, &record);
        record.revision = self.commit(change, event).await?;
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
        let renames = update.name.is_some();
        let policy = self.store.policy(&tenant.namespace).await?;
        self.change(
            context,
            (tenant, id, expected),
            Action::KeyUpdated,
            renames && policy.unique_names,
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
        self.change(
            context,
            (tenant, id, None),
            Action::KeyDisabled,
            false,
            |record| match record.status {
                Status::Disabled => Ok(None),
                _ => Ok(Some(record.disabled(context)?)),
            },
        )
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
        self.change(
            context,
            (tenant, id, None),
            Action::KeyEnabled,
            false,
            |record| match record.status {
                Status::Active => Ok(None),
                _ => Ok(Some(record.enabled(context)?)),
            },
        )
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
        self.change(
            context,
            (tenant, id, None),
            Action::KeyRevoked,
            false,
            |record| match record.status {
                Status::Revoked(_) => Ok(None),
                _ => Ok(Some(record.revoked(context)?)),
            },
        )
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
        let policy = self.store.policy(&tenant.namespace).await?;
        let record = self.record_at(tenant, id, expected).await?;
        let before = record.revision;
        let (mut record, key) = record.rotated(
            &rotation,
            context,
            &policy,
            &self.format,
            &self.peppers,
            &SystemRandom::new(),
        )?;
        record.revision = self
            .replace(context, &record, before, Action::KeyRotated, false)
            .await?;
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

    /// Removes a person from a team: after this returns, none of their keys in the team works,
    /// whatever is created or rotated at the same time, and none can be created for them until
    /// [`Keyring::restore_member`]. Nobody else's key is touched.
    ///
    /// The cost does not depend on how many keys there are.
    ///
    /// # Errors
    ///
    /// The store failed -> [`ManageError::Store`]; call again.
    pub async fn remove_member(
        &self,
        context: &Context,
        team: &TeamId,
        user: &UserId,
    ) -> Result<(), ManageError> {
        self.cut(context, owner_realm(team, Owner::User(user.clone())), true)
            .await
    }

    /// Lets keys be created for a person again. What was cut off stays so.
    ///
    /// # Errors
    ///
    /// The person was not removed -> [`Conflict::NotClosed`].
    pub async fn restore_member(
        &self,
        context: &Context,
        team: &TeamId,
        user: &UserId,
    ) -> Result<(), ManageError> {
        self.open(context, owner_realm(team, Owner::User(user.clone())))
            .await
    }

    /// Removes a service from a team, as [`Keyring::remove_member`] a person.
    ///
    /// # Errors
    ///
    /// As [`Keyring::remove_member`].
    pub async fn remove_service(
        &self,
        context: &Context,
        team: &TeamId,
        service: &ServiceId,
    ) -> Result<(), ManageError> {
        self.cut(
            context,
            owner_realm(team, Owner::Service(service.clone())),
            true,
        )
        .await
    }

    /// Lets keys be created for a service again. What was cut off stays so.
    ///
    /// # Errors
    ///
    /// The service was not removed -> [`Conflict::NotClosed`].
    pub async fn restore_service(
        &self,
        context: &Context,
        team: &TeamId,
        service: &ServiceId,
    ) -> Result<(), ManageError> {
        self.open(context, owner_realm(team, Owner::Service(service.clone())))
            .await
    }

    /// Removes a namespace: none of its keys works any more, legacy credentials included, and
    /// none can be created.
    ///
    /// # Errors
    ///
    /// The namespace is another team's -> [`Conflict::ForeignNamespace`].
    pub async fn remove_namespace(
        &self,
        context: &Context,
        tenant: &Tenant,
    ) -> Result<(), ManageError> {
        self.cut(context, Realm::Namespace(tenant.clone()), true)
            .await
    }

    /// Lets keys be created in a namespace again. What was cut off stays so.
    ///
    /// # Errors
    ///
    /// The namespace was not removed -> [`Conflict::NotClosed`].
    pub async fn restore_namespace(
        &self,
        context: &Context,
        tenant: &Tenant,
    ) -> Result<(), ManageError> {
        self.open(context, Realm::Namespace(tenant.clone())).await
    }

    /// Removes a team: none of the keys in any of its namespaces works any more.
    ///
    /// # Errors
    ///
    /// The store failed -> [`ManageError::Store`]; call again.
    pub async fn remove_team(&self, context: &Context, team: &TeamId) -> Result<(), ManageError> {
        self.cut(context, Realm::Team(team.clone()), true).await
    }

    /// Lets keys be created in a team again. What was cut off stays so.
    ///
    /// # Errors
    ///
    /// The team was not removed -> [`Conflict::NotClosed`].
    pub async fn restore_team(&self, context: &Context, team: &TeamId) -> Result<(), ManageError> {
        self.open(context, Realm::Team(team.clone())).await
    }

    /// Revokes every key that a realm has now, and lets it go on: what to do after a leak.
    ///
    /// # Errors
    ///
    /// The namespace is another team's -> [`Conflict::ForeignNamespace`].
    pub async fn revoke_all(&self, context: &Context, realm: Realm) -> Result<(), ManageError> {
        self.cut(context, realm, false).await
    }

    /// The policy for keys of a namespace.
    ///
    /// # Errors
    ///
    /// The store failed -> [`ManageError::Store`].
    pub async fn policy(&self, namespace: &NamespaceId) -> Result<Policy, ManageError> {
        Ok(self.store.policy(namespace).await?)
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

    /// The policy for legacy credentials of a namespace.
    ///
    /// # Errors
    ///
    /// The store failed -> [`ManageError::Store`].
    pub async fn legacy_policy(
        &self,
        namespace: &NamespaceId,
    ) -> Result<LegacyPolicy, ManageError> {
        Ok(self.store.legacy_policy(namespace).await?)
    }

    /// Sets how long legacy credentials of a namespace, or of all, are accepted; `None` takes it
    /// back. A cut-off is undone by setting an earlier policy again.
    ///
    /// # Errors
    ///
    /// The namespace is another team's -> [`Conflict::ForeignNamespace`].
    pub async fn set_legacy_policy(
        &self,
        context: &Context,
        tenant: Option<&Tenant>,
        policy: Option<LegacyPolicy>,
    ) -> Result<(), ManageError> {
        let event = about_namespace(Action::LegacyPolicySet, context, tenant);
        let change = Change::SetLegacyPolicy {
            tenant: tenant.cloned(),
            policy,
        };
        self.commit(change, event).await.map(drop)
    }

    /// Keeps a legacy credential, as [`legacy::read_subjects`](crate::legacy) gives it.
    ///
    /// # Errors
    ///
    /// - it is kept already -> [`Conflict::IdTaken`]: an import can be run again
    /// - the namespace or team was removed -> [`Conflict::Closed`]
    pub async fn import_legacy(
        &self,
        context: &Context,
        record: LegacyRecord,
    ) -> Result<(), ManageError> {
        let event = about_legacy(Action::LegacyImported, context, &record);
        self.commit(Change::ImportLegacy { record }, event)
            .await
            .map(drop)
    }

    /// Revokes a legacy credential, for ever. One that is revoked stays as it is.
    ///
    /// # Errors
    ///
    /// No such credential in the tenant -> [`ManageError::NotFound`].
    pub async fn revoke_legacy(
        &self,
        context: &Context,
        tenant: &Tenant,
        id: LegacyId,
    ) -> Result<(), ManageError> {
        let mut query = LegacyQuery {
            team: Some(tenant.team.clone()),
            namespace: Some(tenant.namespace.clone()),
            limit: KeyQuery::LIMIT_MAX,
            ..LegacyQuery::default()
        };
        let record = loop {
            let page = self.store.legacy(&query).await?;
            let found = page.items.into_iter().find(|record| record.id == id);
            match (found, page.next) {
                (Some(record), _) => break record,
                (None, None) => return Err(ManageError::NotFound),
                (None, next) => query.after = next,
            }
        };
        if record.revoked.is_some() {
            return Ok(());
        }
        let expected = record.revision;
        let record = LegacyRecord {
            revoked: Some(Revocation {
                at: context.now,
                by: context.actor.clone(),
                cause: RevocationCause::Key,
                reason: context.reason.clone(),
            }),
            ..record
        };
        let event = about_legacy(Action::LegacyRevoked, context, &record);
        self.commit(Change::ReplaceLegacy { record, expected }, event)
            .await
            .map(drop)
    }

    /// A page of legacy credentials with what is known of their use: who must still migrate.
    ///
    /// # Errors
    ///
    /// The store failed -> [`ManageError::Store`].
    pub async fn legacy_report(&self, query: &LegacyQuery) -> Result<Page<LegacyUse>, ManageError> {
        let page = self.store.legacy(query).await?;
        let ids: Vec<_> = page
            .items
            .iter()
            .map(|record| CredentialId::Legacy(record.id))
            .collect();
        let usage = self.store.usage(&ids).await?;
        Ok(page.map(|record| LegacyUse {
            usage: usage
                .iter()
                .find(|usage| usage.credential == CredentialId::Legacy(record.id))
                .cloned(),
            record,
        }))
    }

    /// What is known of the use of these credentials.
    ///
    /// # Errors
    ///
    /// The store failed -> [`ManageError::Store`].
    pub async fn usage(&self, credentials: &[CredentialId]) -> Result<Vec<Usage>, ManageError> {
        Ok(self.store.usage(credentials).await?)
    }

    /// Takes what a recorder has seen to the store, and gives the number of uses that the
    /// recorder had no room for. If the store fails, what was taken goes back to the recorder.
    ///
    /// # Errors
    ///
    /// The store failed -> [`ManageError::Store`].
    pub async fn flush_usage(&self, recorder: &UsageRecorder) -> Result<u64, ManageError> {
        let (batch, lost) = recorder.drain();
        if let Err(error) = self.store.record_usage(&batch).await {
            batch.iter().for_each(|usage| recorder.record(usage));
            return Err(error.into());
        }
        Ok(lost)
    }

    /// A page of the audit trail, oldest first.
    ///
    /// # Errors
    ///
    /// The store failed -> [`ManageError::Store`].
    pub async fn audit(&self, query: &AuditQuery) -> Result<Page<AuditEvent>, ManageError> {
        Ok(self.store.audit(query).await?)
    }

    /// Checks the whole audit trail, and gives its last hash: keep it elsewhere, and a trail that
    /// is cut short later will be noticed.
    ///
    /// # Errors
    ///
    /// - an event was changed, removed or moved -> [`ManageError::Audit`] names the first
    /// - the store failed -> [`ManageError::Store`]
    pub async fn verify_audit(&self) -> Result<ChainHash, ManageError> {
        let mut query = AuditQuery {
            limit: KeyQuery::LIMIT_MAX,
            ..AuditQuery::default()
        };
        let mut last = ChainHash::START;
        loop {
            let page = self.store.audit(&query).await?;
            last = AuditEvent::verify(last, &page.items)?;
            match page.next {
                Some(next) => query.after = Some(next),
                None => return Ok(last),
            }
        }
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
            let kept = self
                .replace(context, &after, revision, action, unique_name)
                .await;
            match kept {
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

    async fn replace(
        &self,
        context: &Context,
        record: &KeyRecord,
        expected: Revision,
        action: Action,
        unique_name: bool,
    ) -> Result<Revision, ManageError> {
        let change = Change::ReplaceKey {
            record: record.clone(),
            expected,
            unique_name,
        };
        self.commit(change, about_key(action, context, record))
            .await
    }

    async fn cut(&self, context: &Context, realm: Realm, close: bool) -> Result<(), ManageError> {
        let action = if close {
            Action::RealmClosed
        } else {
            Action::RealmCut
        };
        let event = about_realm(action, context, &realm);
        let change = Change::CutRealm { realm, close };
        self.commit(change, event).await.map(drop)
    }

    async fn open(&self, context: &Context, realm: Realm) -> Result<(), ManageError> {
        let event = about_realm(Action::RealmOpened, context, &realm);
        self.commit(Change::OpenRealm { realm }, event)
            .await
            .map(drop)
    }

    async fn commit(&self, change: Change, event: AuditEntry) -> Result<Revision, ManageError> {
        let revision = self.store.commit(&Commit { change, event }).await?;
        if let Some(index) = &self.index {
            index.follow(&self.store).await?;
        }
        Ok(revision)
    }
}

/// A legacy credential and its use.
#[derive(Clone, Debug)]
pub struct LegacyUse {
    /// The credential.
    pub record: LegacyRecord,
    /// Its use; none if it was never used since it was imported.
    pub usage: Option<Usage>,
}

/// A management call was refused or failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ManageError {
    /// There is no such key in the tenant.
    #[error("no such key")]
    NotFound,
    /// The state of the store does not allow it.
    #[error(transparent)]
    Conflict(Conflict),
    /// The key's state or the policy does not allow it.
    #[error(transparent)]
    Lifecycle(#[from] LifecycleError),
    /// The audit trail was tampered with.
    #[error(transparent)]
    Audit(#[from] ChainError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The change is kept, but the index could not follow: it is not in force in this process
    /// yet.
    #[error("the change is kept, but not yet in force in this process")]
    Follow(#[from] FollowError),
}

impl From<Conflict> for ManageError {
    fn from(conflict: Conflict) -> Self {
        match conflict {
            Conflict::NotFound => Self::NotFound,
            other => Self::Conflict(other),
        }
    }
}

impl From<CommitError> for ManageError {
    fn from(error: CommitError) -> Self {
        match error {
            CommitError::Conflict(conflict) => conflict.into(),
            CommitError::Store(error) => Self::Store(error),
        }
    }
}

fn owner_realm(team: &TeamId, owner: Owner) -> Realm {
    Realm::Owner(team.clone(), owner)
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

fn about_legacy(action: Action, context: &Context, record: &LegacyRecord) -> AuditEntry {
    AuditEntry {
        credential: Some(CredentialId::Legacy(record.id)),
        ..about_namespace(action, context, Some(&record.tenant))
    }
}

fn about_realm(action: Action, context: &Context, realm: &Realm) -> AuditEntry {
    let entry = AuditEntry {
        team: Some(realm.team().clone()),
        ..AuditEntry::new(action, context)
    };
    match realm {
        Realm::Team(_) => entry,
        Realm::Namespace(tenant) => AuditEntry {
            namespace: Some(tenant.namespace.clone()),
            ..entry
        },
        Realm::Owner(_, owner) => AuditEntry {
            owner: Some(owner.clone()),
            ..entry
        },
    }
}
