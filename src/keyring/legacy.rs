//! Management of legacy credentials.

use alloc::{collections::BTreeMap, vec::Vec};

use crate::{
    audit::Action,
    credential_id::CredentialId,
    identity::{Context, Tenant},
    keyring::{Error, Keyring},
    legacy::{LegacyId, LegacyPolicy, LegacyRecord, LegacyUse, NamespaceUse},
    revocation::{Revocation, RevocationCause},
    store::{Change, Conflict, LegacyQuery, Page},
};

/// What an import did with a credential.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Imported {
    /// It was stored.
    Stored,
    /// It was stored already, and did not change.
    Kept,
    /// It was stored already, and is blocked now.
    Blocked,
}

impl Keyring {
    /// Returns the policy for legacy credentials of a namespace, or the default policy for `None`.
    ///
    /// # Errors
    ///
    /// The store failed -> [`Error::Store`].
    pub async fn legacy_policy(&self, tenant: Option<&Tenant>) -> Result<LegacyPolicy, Error> {
        Ok(self.store.legacy_policy(tenant).await?)
    }

    /// Returns the policies for legacy credentials of these namespaces, in their order.
    ///
    /// # Errors
    ///
    /// The store failed -> [`Error::Store`].
    pub async fn legacy_policies(&self, tenants: &[Tenant]) -> Result<Vec<LegacyPolicy>, Error> {
        Ok(self.store.legacy_policies(tenants).await?)
    }

    /// Sets the policy for legacy credentials of a namespace, or the default policy if `tenant` is
    /// `None`. A `policy` of `None` removes it. To undo a change, set the earlier policy again.
    ///
    /// # Errors
    ///
    /// The namespace is another team's -> [`Conflict::ForeignNamespace`](crate::store::Conflict::ForeignNamespace).
    pub async fn set_legacy_policy(
        &self,
        context: &Context,
        tenant: Option<&Tenant>,
        policy: Option<LegacyPolicy>,
    ) -> Result<(), Error> {
        let change = Change::SetLegacyPolicy {
            tenant: tenant.cloned(),
            policy,
        };
        self.commit(context, Action::LegacyPolicySet, change)
            .await
            .map(drop)
    }

    /// Stores a legacy credential from `legacy::read_subjects`. It is accepted only while a policy
    /// allows it: see [`Keyring::set_legacy_policy`].
    ///
    /// An import can be repeated, and a later one only ever takes access away: a credential that is
    /// stored already is blocked if its subject is blocked now, and is otherwise left unchanged.
    ///
    /// # Errors
    ///
    /// - the UUID is stored with another key or in another namespace
    ///   -> [`Conflict::IdTaken`]
    /// - the namespace or team was removed -> [`Conflict::Removed`]
    pub async fn import_legacy(
        &self,
        context: &Context,
        record: LegacyRecord,
    ) -> Result<Imported, Error> {
        let change = Change::ImportLegacy {
            record: record.clone(),
        };
        match self.commit(context, Action::LegacyImported, change).await {
            Ok(_) => Ok(Imported::Stored),
            Err(Error::Conflict(Conflict::IdTaken)) => self.import_again(context, record).await,
            Err(error) => Err(error),
        }
    }

    async fn import_again(
        &self,
        context: &Context,
        record: LegacyRecord,
    ) -> Result<Imported, Error> {
        let query = LegacyQuery {
            id: Some(record.id),
            ..LegacyQuery::every_team()
        };
        let found = self.store.legacy(&query).await?.items.into_iter().next();
        let Some(known) = found.filter(|known| known.is_same_credential(&record)) else {
            return Err(Error::Conflict(Conflict::IdTaken));
        };
        if !record.blocked || known.blocked || known.revoked.is_some() {
            return Ok(Imported::Kept);
        }
        let expected = known.revision;
        let record = LegacyRecord {
            blocked: true,
            ..known
        };
        let change = Change::ReplaceLegacy { record, expected };
        self.commit(context, Action::LegacyBlocked, change).await?;
        Ok(Imported::Blocked)
    }

    /// Revokes a legacy credential permanently. Has no effect if it is already revoked.
    ///
    /// # Errors
    ///
    /// No such credential in the tenant -> [`Error::NotFound`].
    pub async fn revoke_legacy(
        &self,
        context: &Context,
        tenant: &Tenant,
        id: LegacyId,
    ) -> Result<(), Error> {
        let timed = self.timed(context);
        let query = LegacyQuery {
            namespace: Some(tenant.namespace.clone()),
            id: Some(id),
            ..LegacyQuery::team(tenant.team.clone())
        };
        let found = self.store.legacy(&query).await?.items.into_iter().next();
        let Some(record) = found else {
            return self.refused(context, Error::NotFound).await;
        };
        if record.revoked.is_some() {
            // Another process may have revoked it: apply that in this process too.
            self.sync_for(context).await.map_err(Error::NotSynced)?;
            return Ok(());
        }
        let expected = record.revision;
        let record = LegacyRecord {
            revoked: Some(Revocation {
                at: timed.now,
                by: context.actor.clone(),
                cause: RevocationCause::Key,
                reason: context.reason.clone(),
            }),
            ..record
        };
        let change = Change::ReplaceLegacy { record, expected };
        self.commit(context, Action::LegacyRevoked, change)
            .await
            .map(drop)
    }

    /// Returns the total usage of all legacy credentials of a namespace, which shows whether the
    /// namespace has migrated.
    ///
    /// # Errors
    ///
    /// The store failed -> [`Error::Store`].
    pub async fn legacy_use(&self, tenant: &Tenant) -> Result<NamespaceUse, Error> {
        let mut all = NamespaceUse::default();
        let query = LegacyQuery {
            namespace: Some(tenant.namespace.clone()),
            ..LegacyQuery::team(tenant.team.clone())
        };
        let mut credentials = self.walk(query);
        while let Some(credential) = credentials.next().await? {
            all.add(&credential);
        }
        Ok(all)
    }

    /// Returns a page of legacy credentials with their usage. A namespace may have several:
    /// [`Keyring::legacy_use`] adds them up.
    ///
    /// # Errors
    ///
    /// The store failed -> [`Error::Store`].
    pub async fn legacy_report(&self, query: &LegacyQuery) -> Result<Page<LegacyUse>, Error> {
        let page = self.store.legacy(query).await?;
        let ids: Vec<_> = page
            .items
            .iter()
            .map(|record| CredentialId::Legacy(record.id))
            .collect();
        let usage = self.store.usage(&ids).await?.into_iter();
        let mut usage: BTreeMap<_, _> = usage.map(|usage| (usage.credential, usage)).collect();
        Ok(page.map(|record| LegacyUse {
            usage: usage.remove(&CredentialId::Legacy(record.id)),
            record,
        }))
    }
}
