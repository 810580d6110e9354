//! Management of legacy credentials.

use alloc::vec::Vec;

use crate::{
    audit::{Action, AuditEntry},
    credential_id::CredentialId,
    identity::{Context, Tenant},
    keyring::{Error, Keyring, about_namespace},
    legacy::{LegacyId, LegacyPolicy, LegacyRecord, LegacyUse, NamespaceUse},
    revocation::{Revocation, RevocationCause},
    store::{Change, LegacyQuery, Page},
};

impl Keyring {
    /// Returns the policy for legacy credentials of a namespace, or the default policy for `None`.
    ///
    /// # Errors
    ///
    /// The store failed -> [`Error::Store`].
    pub async fn legacy_policy(&self, tenant: Option<&Tenant>) -> Result<LegacyPolicy, Error> {
        Ok(self.store.legacy_policy(tenant).await?)
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
        let event = about_namespace(Action::LegacyPolicySet, &self.timed(context), tenant);
        let change = Change::SetLegacyPolicy {
            tenant: tenant.cloned(),
            policy,
        };
        self.commit(context, change, event).await.map(drop)
    }

    /// Stores a legacy credential from `legacy::read_subjects`. It is accepted only while a policy
    /// allows it: see [`Keyring::set_legacy_policy`].
    ///
    /// # Errors
    ///
    /// - it is already stored -> [`Conflict::IdTaken`](crate::store::Conflict::IdTaken), so an
    ///   import can be repeated
    /// - the namespace or team was removed -> [`Conflict::Removed`](crate::store::Conflict::Removed)
    pub async fn import_legacy(
        &self,
        context: &Context,
        record: LegacyRecord,
    ) -> Result<(), Error> {
        let event = about_legacy(Action::LegacyImported, &self.timed(context), &record);
        self.commit(context, Change::ImportLegacy { record }, event)
            .await
            .map(drop)
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
        let event = about_legacy(Action::LegacyRevoked, &timed, &record);
        self.commit(context, Change::ReplaceLegacy { record, expected }, event)
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
        let usage = self.store.usage(&ids).await?;
        Ok(page.map(|record| LegacyUse {
            usage: usage
                .iter()
                .find(|usage| usage.credential == CredentialId::Legacy(record.id))
                .cloned(),
            record,
        }))
    }
}

fn about_legacy(action: Action, context: &Context, record: &LegacyRecord) -> AuditEntry {
    AuditEntry {
        credential: Some(CredentialId::Legacy(record.id)),
        ..about_namespace(action, context, Some(&record.tenant))
    }
}
