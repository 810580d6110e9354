//! Creating, listing, changing and revoking keys.

use crate::{
    audit::{Action, AuditEntry},
    credential_id::CredentialId,
    identity::{Context, Tenant},
    issued::IssuedKey,
    key_id::KeyId,
    keyring::{Error, Keyring, about_namespace},
    lifecycle::{KeyUpdate, LifecycleError, NewKey, Rotation},
    policy::Policy,
    presented::PresentedKey,
    record::{KeyInfo, KeyRecord, Status},
    revision::Revision,
    store::{Change, Conflict, KeyQuery, Limits, Page},
};

/// A new secret, and what is known of its key: the answer of [`Keyring::create`] and
/// [`Keyring::rotate`].
#[derive(Debug)]
#[non_exhaustive]
pub struct CreatedKey {
    /// The secret. It is in no other answer.
    pub secret: IssuedKey,
    /// What is known of the key.
    pub info: KeyInfo,
    /// Whether the keyring's verifiers accept the secret already. If not, the change is kept, but
    /// the store could not be read after it; they do once it can be.
    pub in_force: bool,
}

impl CreatedKey {
    /// The secret and what is known of its key.
    pub fn into_parts(self) -> (IssuedKey, KeyInfo) {
        (self.secret, self.info)
    }
}

impl Keyring {
    /// Creates a key. Its secret is in the answer and nowhere else.
    ///
    /// # Errors
    ///
    /// - the policy does not allow it -> [`Error::Lifecycle`]
    /// - the name is taken, the owner has too many, or owner, namespace or team was removed ->
    ///   [`Error::Conflict`]
    pub async fn create(&self, context: &Context, new: NewKey) -> Result<CreatedKey, Error> {
        let policy = self.store.policy(Some(&new.tenant)).await?;
        let (format, peppers) = (self.format(), self.index.peppers());
        let (record, secret) = new.issue(context, &policy, format, peppers, &*self.random)?;
        let change = Change::CreateKey {
            record: record.clone(),
            limits: Limits::from(&policy),
        };
        let event = about_key(Action::KeyCreated, context, &record);
        let revision = self.keep(context, change, event).await?;
        Ok(self.created(context, record, revision, secret).await)
    }

    /// A key.
    ///
    /// # Errors
    ///
    /// No such key in the tenant -> [`Error::NotFound`].
    pub async fn get(&self, tenant: &Tenant, id: KeyId) -> Result<KeyInfo, Error> {
        Ok(KeyInfo::from(&self.record(tenant, id).await?))
    }

    /// A page of keys in the order of their creation.
    ///
    /// # Errors
    ///
    /// The store failed -> [`Error::Store`].
    pub async fn list(&self, query: &KeyQuery) -> Result<Page<KeyInfo>, Error> {
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
    /// - no such key -> [`Error::NotFound`]
    /// - it changed since `expected` -> [`Conflict::Stale`]
    /// - the key is revoked, or the end would be put back -> [`Error::Lifecycle`]
    /// - the name is taken -> [`Conflict::NameTaken`]
    pub async fn update(
        &self,
        context: &Context,
        tenant: &Tenant,
        id: KeyId,
        update: KeyUpdate,
        expected: Option<Revision>,
    ) -> Result<KeyInfo, Error> {
        let unique_name =
            update.name.is_some() && self.store.policy(Some(tenant)).await?.unique_names;
        self.change(
            context,
            (tenant, id, expected),
            Action::KeyUpdated,
            unique_name,
            |record| Ok(Some(record.updated(update.clone(), context)?)),
        )
        .await
    }

    /// Disables a key. One that is disabled stays so.
    ///
    /// # Errors
    ///
    /// - no such key -> [`Error::NotFound`]
    /// - the key is revoked -> [`Error::Lifecycle`]
    pub async fn disable(
        &self,
        context: &Context,
        tenant: &Tenant,
        id: KeyId,
    ) -> Result<KeyInfo, Error> {
        let target = (tenant, id, None);
        self.change(context, target, Action::KeyDisabled, false, |record| {
            let is_so = matches!(record.status, Status::Disabled);
            (!is_so).then(|| record.disabled(context)).transpose()
        })
        .await
    }

    /// Enables a key again. One that is enabled stays so.
    ///
    /// # Errors
    ///
    /// As [`Keyring::disable`].
    pub async fn enable(
        &self,
        context: &Context,
        tenant: &Tenant,
        id: KeyId,
    ) -> Result<KeyInfo, Error> {
        let target = (tenant, id, None);
        self.change(context, target, Action::KeyEnabled, false, |record| {
            let is_so = matches!(record.status, Status::Active);
            (!is_so).then(|| record.enabled(context)).transpose()
        })
        .await
    }

    /// Revokes a key permanently. One that is revoked stays as it is.
    ///
    /// # Errors
    ///
    /// No such key -> [`Error::NotFound`].
    pub async fn revoke(
        &self,
        context: &Context,
        tenant: &Tenant,
        id: KeyId,
    ) -> Result<KeyInfo, Error> {
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
    /// - no such key -> [`Error::NotFound`]
    /// - it changed since `expected`, or another rotation won -> [`Conflict::Stale`]
    /// - the key is revoked or expired, or the policy does not allow it ->
    ///   [`Error::Lifecycle`]
    pub async fn rotate(
        &self,
        context: &Context,
        tenant: &Tenant,
        id: KeyId,
        rotation: Rotation,
        expected: Option<Revision>,
    ) -> Result<CreatedKey, Error> {
        let policy = self.store.policy(Some(tenant)).await?;
        let record = self.record_at(tenant, id, expected).await?;
        let expected = record.revision;
        let (format, peppers) = (self.format(), self.index.peppers());
        let (record, secret) =
            record.rotated(&rotation, context, &policy, format, peppers, &*self.random)?;
        let event = about_key(Action::KeyRotated, context, &record);
        let change = Change::ReplaceKey {
            record: record.clone(),
            expected,
            unique_name: false,
        };
        let revision = self.keep(context, change, event).await?;
        Ok(self.created(context, record, revision, secret).await)
    }

    /// Makes the digest of a key anew under the current pepper, while its owner presents it: see
    /// [`Principal::needs_rehash`](crate::Principal::needs_rehash). One that is under the
    /// current pepper stays so.
    ///
    /// # Errors
    ///
    /// - no such key -> [`Error::NotFound`]
    /// - not its current secret, or the key is revoked -> [`Error::Lifecycle`]
    pub async fn rehash(
        &self,
        context: &Context,
        tenant: &Tenant,
        presented: &PresentedKey<'_>,
    ) -> Result<KeyInfo, Error> {
        self.change(
            context,
            (tenant, presented.id(), None),
            Action::KeyRehashed,
            false,
            |record| {
                let current = record.digest.pepper() == self.index.peppers().current_id();
                let record = record.rehashed(presented, self.index.peppers(), context)?;
                Ok((!current).then_some(record))
            },
        )
        .await
    }

    /// Deletes a key's record: it ends at once, and only the audit trail remembers it.
    ///
    /// # Errors
    ///
    /// No such key -> [`Error::NotFound`].
    pub async fn delete(&self, context: &Context, tenant: &Tenant, id: KeyId) -> Result<(), Error> {
        let record = self.record(tenant, id).await?;
        let event = about_key(Action::KeyDeleted, context, &record);
        let change = Change::DeleteKey {
            tenant: tenant.clone(),
            id,
        };
        self.commit(context, change, event).await.map(drop)
    }

    /// The policy for keys of a namespace, or the default policy for `None`.
    ///
    /// # Errors
    ///
    /// The store failed -> [`Error::Store`].
    pub async fn policy(&self, tenant: Option<&Tenant>) -> Result<Policy, Error> {
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
    ) -> Result<(), Error> {
        let event = about_namespace(Action::PolicySet, context, tenant);
        let change = Change::SetPolicy {
            tenant: tenant.cloned(),
            policy,
        };
        self.commit(context, change, event).await.map(drop)
    }

    async fn record(&self, tenant: &Tenant, id: KeyId) -> Result<KeyRecord, Error> {
        let record = self.store.key(tenant, id).await?;
        record.ok_or(Error::NotFound)
    }

    async fn record_at(
        &self,
        tenant: &Tenant,
        id: KeyId,
        expected: Option<Revision>,
    ) -> Result<KeyRecord, Error> {
        let record = self.record(tenant, id).await?;
        match expected {
            Some(expected) if expected != record.revision => Err(Conflict::Stale.into()),
            _ => Ok(record),
        }
    }

    /// Reads a key, changes it and keeps it; `change` returns `None` if there is nothing to change.
    ///
    /// Without an expected revision it starts over after a concurrent change.
    async fn change(
        &self,
        context: &Context,
        (tenant, id, expected): (&Tenant, KeyId, Option<Revision>),
        action: Action,
        unique_name: bool,
        change: impl Fn(KeyRecord) -> Result<Option<KeyRecord>, LifecycleError>,
    ) -> Result<KeyInfo, Error> {
        for _ in 0..Self::TRIES {
            let before = self.record_at(tenant, id, expected).await?;
            let revision = before.revision;
            let info = KeyInfo::from(&before);
            let Some(mut after) = change(before)? else {
                // Another process may have done it: it must be in force here too.
                self.sync_for(context).await.map_err(Error::NotSynced)?;
                return Ok(info);
            };
            let event = about_key(action, context, &after);
            let change = Change::ReplaceKey {
                record: after.clone(),
                expected: revision,
                unique_name,
            };
            match self.commit(context, change, event).await {
                Ok(revision) => {
                    after.revision = revision;
                    return Ok(KeyInfo::from(&after));
                }
                Err(Error::Conflict(Conflict::Stale | Conflict::Revoked)) if expected.is_none() => {
                }
                Err(error) => return Err(error),
            }
        }
        Err(Conflict::Stale.into())
    }

    const TRIES: usize = 16;

    /// The answer with a new secret. It must not be lost if the index cannot follow: nobody else
    /// knows the secret.
    async fn created(
        &self,
        context: &Context,
        mut record: KeyRecord,
        revision: Revision,
        secret: IssuedKey,
    ) -> CreatedKey {
        record.revision = revision;
        CreatedKey {
            secret,
            info: KeyInfo::from(&record),
            in_force: self.sync_for(context).await.is_ok(),
        }
    }
}

fn about_key(action: Action, context: &Context, record: &KeyRecord) -> AuditEntry {
    AuditEntry {
        owner: Some(record.owner.clone()),
        credential: Some(CredentialId::Key(record.id)),
        ..about_namespace(action, context, Some(&record.tenant))
    }
}
