//! Managing the credentials of the old model.

use alloc::vec::Vec;

use crate::{
    audit::{Action, AuditEntry},
    credential::CredentialId,
    identity::{Context, Tenant},
    keyring::{Keyring, ManageError, about_namespace},
    legacy::{LegacyId, LegacyPolicy, LegacyRecord},
    record::{Revocation, RevocationCause},
    store::{Change, KeyStore, LegacyQuery, Page},
    usage::Usage,
};

impl<S: KeyStore> Keyring<S> {
    /// The policy for legacy credentials of a namespace.
    ///
    /// # Errors
    ///
    /// The store failed -> [`ManageError::Store`].
    pub async fn legacy_policy(&self, tenant: &Tenant) -> Result<LegacyPolicy, ManageError> {
        Ok(self.store.legacy_policy(tenant).await?)
    }

    /// Sets how long legacy credentials of a namespace, or of all, are accepted; `None` takes it
    /// back. A cut-off is undone by setting an earlier policy again.
    ///
    /// # Errors
    ///
    /// The namespace is another team's -> [`Conflict::ForeignNamespace`](crate::store::Conflict::ForeignNamespace).
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

    /// Keeps a legacy credential, as [`legacy::read_subjects`](crate::legacy) gives it. It is not
    /// accepted until a policy says so: [`Keyring::set_legacy_policy`].
    ///
    /// # Errors
    ///
    /// - it is kept already -> [`Conflict::IdTaken`](crate::store::Conflict::IdTaken): an import can be run again
    /// - the namespace or team was removed -> [`Conflict::Closed`](crate::store::Conflict::Closed)
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
        let query = LegacyQuery {
            team: Some(tenant.team.clone()),
            namespace: Some(tenant.namespace.clone()),
            id: Some(id),
            ..LegacyQuery::default()
        };
        let found = self.store.legacy(&query).await?.items.into_iter().next();
        let record = found.ok_or(ManageError::NotFound)?;
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
}

/// A legacy credential and its use.
#[derive(Clone, Debug)]
pub struct LegacyUse {
    /// The credential.
    pub record: LegacyRecord,
    /// Its use; none if it was never used since it was imported.
    pub usage: Option<Usage>,
}

fn about_legacy(action: Action, context: &Context, record: &LegacyRecord) -> AuditEntry {
    AuditEntry {
        credential: Some(CredentialId::Legacy(record.id)),
        ..about_namespace(action, context, Some(&record.tenant))
    }
}
