//! Creating, listing, changing and revoking keys.

use alloc::vec::Vec;

use crate::{
    audit::Action,
    identity::{Context, Tenant},
    issued::IssuedKey,
    key_id::KeyId,
    keyring::{Error, Keyring},
    lifecycle::{KeyUpdate, LifecycleError, NewKey, Rotation},
    policy::Policy,
    presented::PresentedKey,
    record::{KeyInfo, KeyRecord, Status},
    revision::Revision,
    store::{Change, Conflict, KeyQuery, Limits, Page},
};

/// A new secret and its key: the result of [`Keyring::create`] and [`Keyring::rotate`].
#[derive(Debug)]
#[non_exhaustive]
pub struct CreatedKey {
    /// The secret. No other call returns it.
    pub secret: IssuedKey,
    /// The key.
    pub info: KeyInfo,
    /// Whether the keyring's verifiers accept the secret already. If not, the change was committed,
    /// but reading the store failed afterwards; they accept it after the next successful sync.
    pub in_force: bool,
}

impl CreatedKey {
    /// Splits the value into the secret and the key.
    pub fn into_parts(self) -> (IssuedKey, KeyInfo) {
        (self.secret, self.info)
    }
}

impl Keyring {
    /// Creates a key. The result is the only place that has its secret.
    ///
    /// # Errors
    ///
    /// - the policy does not allow it -> [`Error::Lifecycle`]
    /// - the name is taken, the owner has too many keys, or the owner, namespace or team was
    ///   removed -> [`Error::Conflict`]
    pub async fn create(&self, context: &Context, new: NewKey) -> Result<CreatedKey, Error> {
        let timed = self.timed(context);
        let policy = self.store.policy(Some(&new.tenant)).await?;
        let (format, peppers) = (self.format(), self.index.peppers());
        let (record, secret) = new.issue(&timed, &policy, format, peppers, &*self.random)?;
        let change = Change::CreateKey {
            record: record.clone(),
            limits: Limits::from(&policy),
        };
        let revision = self.keep(context, Action::KeyCreated, change).await?;
        let record = KeyRecord {
            created_revision: revision,
            ..record
        };
        Ok(self.created(context, record, revision, secret).await)
    }

    /// Returns a key.
    ///
    /// # Errors
    ///
    /// No such key in the tenant -> [`Error::NotFound`].
    pub async fn get(&self, tenant: &Tenant, id: KeyId) -> Result<KeyInfo, Error> {
        let record = self.store.key(tenant, id).await?;
        let record = record.ok_or(Error::NotFound)?;
        Ok(KeyInfo::from(&record))
    }

    /// Returns a page of keys in the order of their creation.
    ///
    /// # Errors
    ///
    /// The store failed -> [`Error::Store`].
    pub async fn list(&self, query: &KeyQuery) -> Result<Page<KeyInfo>, Error> {
        let page = self.store.keys(query).await?;
        Ok(page.map(|record| KeyInfo::from(&record)))
    }

    /// Changes a key's name, labels, scopes or expiry.
    ///
    /// With `expected`, the change is refused unless the key's revision is `expected`.
    ///
    /// # Errors
    ///
    /// - no such key -> [`Error::NotFound`]
    /// - its revision is not `expected` -> [`Conflict::Stale`]
    /// - the key is revoked, or the new expiry is later than the old one -> [`Error::Lifecycle`]
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
            |record, context| Ok(Some(record.updated(update.clone(), context)?)),
        )
        .await
    }

    /// Disables a key. Has no effect if it is already disabled.
    ///
    /// With `expected`, the change is refused unless the key's revision is `expected`; the condition is
    /// checked in the commit.
    ///
    /// # Errors
    ///
    /// - no such key -> [`Error::NotFound`]
    /// - its revision is not `expected` -> [`Conflict::Stale`]
    /// - the key is revoked -> [`Error::Lifecycle`]
    pub async fn disable(
        &self,
        context: &Context,
        tenant: &Tenant,
        id: KeyId,
        expected: Option<Revision>,
    ) -> Result<KeyInfo, Error> {
        let target = (tenant, id, expected);
        self.change(
            context,
            target,
            Action::KeyDisabled,
            false,
            |record, context| {
                let is_so = matches!(record.status, Status::Disabled);
                (!is_so).then(|| record.disabled(context)).transpose()
            },
        )
        .await
    }

    /// Enables a key again. Has no effect if it is already enabled. `expected` is as for
    /// [`Keyring::disable`].
    ///
    /// # Errors
    ///
    /// As [`Keyring::disable`].
    pub async fn enable(
        &self,
        context: &Context,
        tenant: &Tenant,
        id: KeyId,
        expected: Option<Revision>,
    ) -> Result<KeyInfo, Error> {
        let target = (tenant, id, expected);
        self.change(
            context,
            target,
            Action::KeyEnabled,
            false,
            |record, context| {
                let is_so = matches!(record.status, Status::Active);
                (!is_so).then(|| record.enabled(context)).transpose()
            },
        )
        .await
    }

    /// Revokes a key permanently. Has no effect if it is already revoked. `expected` is as for
    /// [`Keyring::disable`].
    ///
    /// # Errors
    ///
    /// - no such key -> [`Error::NotFound`]
    /// - its revision is not `expected` -> [`Conflict::Stale`]
    pub async fn revoke(
        &self,
        context: &Context,
        tenant: &Tenant,
        id: KeyId,
        expected: Option<Revision>,
    ) -> Result<KeyInfo, Error> {
        let target = (tenant, id, expected);
        self.change(
            context,
            target,
            Action::KeyRevoked,
            false,
            |record, context| {
                let is_so = matches!(record.status, Status::Revoked(_));
                (!is_so).then(|| record.revoked(context)).transpose()
            },
        )
        .await
    }

    /// Issues a new secret for a key. The old secret works for the grace period, at most until its
    /// own expiry.
    ///
    /// Of several concurrent rotations one succeeds; the others are refused as stale.
    ///
    /// # Errors
    ///
    /// - no such key -> [`Error::NotFound`]
    /// - its revision is not `expected`, or the key was changed concurrently -> [`Conflict::Stale`]
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
        let timed = self.timed(context);
        let policy = self.store.policy(Some(tenant)).await?;
        let record = self.record_at(context, tenant, id, expected).await?;
        let expected = record.revision;
        let (format, peppers) = (self.format(), self.index.peppers());
        let rotated = record.rotated(&rotation, &timed, &policy, format, peppers, &*self.random);
        let (record, secret) = match rotated {
            Ok(rotated) => rotated,
            Err(error) => return self.refused(context, error).await,
        };
        let change = Change::ReplaceKey {
            record: record.clone(),
            expected,
            unique_name: false,
        };
        let revision = self.keep(context, Action::KeyRotated, change).await?;
        Ok(self.created(context, record, revision, secret).await)
    }

    /// Replaces the digest of a key with one under the current pepper, given the presented secret:
    /// see [`Principal::needs_rehash`](crate::Principal::needs_rehash). Has no effect if the digest
    /// is under the current pepper.
    ///
    /// # Errors
    ///
    /// - no such key -> [`Error::NotFound`]
    /// - the key is revoked, or the secret is not its current one -> [`Error::Lifecycle`]
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
            |record, context| {
                let current = record.digest.pepper() == self.index.peppers().current_id();
                let record = record.rehashed(presented, self.index.peppers(), context)?;
                Ok((!current).then_some(record))
            },
        )
        .await
    }

    /// Deletes a key's record. The key stops working immediately; its audit events remain. `expected` is
    /// as for [`Keyring::disable`].
    ///
    /// # Errors
    ///
    /// - no such key -> [`Error::NotFound`]
    /// - its revision is not `expected` -> [`Conflict::Stale`]
    pub async fn delete(
        &self,
        context: &Context,
        tenant: &Tenant,
        id: KeyId,
        expected: Option<Revision>,
    ) -> Result<(), Error> {
        // A key that is missing is told before the commit judges the actor.
        self.record_at(context, tenant, id, expected).await?;
        let change = Change::DeleteKey {
            tenant: tenant.clone(),
            id,
            expected,
        };
        self.commit(context, Action::KeyDeleted, change)
            .await
            .map(drop)
    }

    /// Returns the policy for keys of a namespace, or the default policy for `None`.
    ///
    /// # Errors
    ///
    /// The store failed -> [`Error::Store`].
    pub async fn policy(&self, tenant: Option<&Tenant>) -> Result<Policy, Error> {
        Ok(self.store.policy(tenant).await?)
    }

    /// Returns the policies for keys of these namespaces, in their order.
    ///
    /// # Errors
    ///
    /// The store failed -> [`Error::Store`].
    pub async fn policies(&self, tenants: &[Tenant]) -> Result<Vec<Policy>, Error> {
        Ok(self.store.policies(tenants).await?)
    }

    /// Sets the policy for keys of a namespace, or the default policy if `tenant` is `None`. A
    /// `policy` of `None` removes it.
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
        let change = Change::SetPolicy {
            tenant: tenant.cloned(),
            policy,
        };
        self.commit(context, Action::PolicySet, change)
            .await
            .map(drop)
    }

    /// Reads a key that is to be changed.
    async fn record_at(
        &self,
        context: &Context,
        tenant: &Tenant,
        id: KeyId,
        expected: Option<Revision>,
    ) -> Result<KeyRecord, Error> {
        // A refused change gives the index its time, too.
        self.index.latest(context.now);
        let Some(record) = self.store.key(tenant, id).await? else {
            return self.refused(context, Error::NotFound).await;
        };
        match expected {
            Some(expected) if expected != record.revision => {
                self.refused(context, Conflict::Stale).await
            }
            _ => Ok(record),
        }
    }

    /// Reads a key, changes it and commits it; `change` returns `None` if there is nothing to
    /// change.
    ///
    /// Without an expected revision it retries after a concurrent change.
    async fn change(
        &self,
        context: &Context,
        (tenant, id, expected): (&Tenant, KeyId, Option<Revision>),
        action: Action,
        unique_name: bool,
        change: impl Fn(KeyRecord, &Context) -> Result<Option<KeyRecord>, LifecycleError>,
    ) -> Result<KeyInfo, Error> {
        let timed = self.timed(context);
        for _ in 0..Self::TRIES {
            let before = self.record_at(context, tenant, id, expected).await?;
            let revision = before.revision;
            let info = KeyInfo::from(&before);
            let mut after = match change(before, &timed) {
                Ok(Some(after)) => after,
                Ok(None) => {
                    // Another process may have made the change: apply it in this process too.
                    self.sync_for(context).await.map_err(Error::NotSynced)?;
                    return Ok(info);
                }
                Err(error) => return self.refused(context, error).await,
            };
            let change = Change::ReplaceKey {
                record: after.clone(),
                expected: revision,
                unique_name,
            };
            match self.commit(context, action, change).await {
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

    /// Builds the result. A failed sync must not become an error, which would lose the secret.
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
            in_force: self.sync_for(context).await.is_ok() && self.index.is_ready(),
        }
    }
}
