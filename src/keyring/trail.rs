//! Usage and the audit trail.

use alloc::vec::Vec;

use crate::{
    audit::{AuditEvent, TrailHead, Verified},
    credential_id::CredentialId,
    denied::{Denied, DenyReason},
    identity::Tenant,
    keyring::{Error, Keyring},
    store::{AuditQuery, LegacyQuery, Page},
    timestamp::Timestamp,
    usage::{Usage, UsageRecorder},
};

impl Keyring {
    /// Returns the usage of these credentials; a credential that was never used is left out.
    ///
    /// # Errors
    ///
    /// The store failed -> [`Error::Store`].
    pub async fn usage(&self, credentials: &[CredentialId]) -> Result<Vec<Usage>, Error> {
        Ok(self.store.usage(credentials).await?)
    }

    /// Moves the usage from a recorder to the store, and returns the number of uses that the
    /// recorder had no room for. If the store fails or the future is dropped, the usage and that
    /// number return to the recorder.
    ///
    /// # Errors
    ///
    /// The store failed -> [`Error::Store`].
    pub async fn flush_usage(&self, recorder: &UsageRecorder) -> Result<u64, Error> {
        let (batch, lost) = recorder.drain();
        let mut taken = Taken {
            batch,
            lost,
            recorder,
        };
        if !taken.batch.is_empty() {
            self.store.record_usage(&taken.batch).await?;
            taken.batch.clear();
        }
        Ok(core::mem::take(&mut taken.lost))
    }

    /// Returns a page of the audit trail, in the order of the query.
    ///
    /// # Errors
    ///
    /// The store failed -> [`Error::Store`].
    pub async fn audit(&self, query: &AuditQuery) -> Result<Page<AuditEvent>, Error> {
        Ok(self.store.audit(query).await?)
    }

    /// Returns the tenant of a credential, also of a deleted key: the audit trail has the creation
    /// of every key.
    ///
    /// # Errors
    ///
    /// The store failed -> [`Error::Store`].
    pub async fn tenant_of(&self, credential: CredentialId) -> Result<Option<Tenant>, Error> {
        if let CredentialId::Legacy(id) = credential {
            let query = LegacyQuery {
                id: Some(id),
                limit: 1,
                ..LegacyQuery::every_team()
            };
            let found = self.legacy_report(&query).await?.items.pop();
            return Ok(found.map(|found| found.record.tenant));
        }
        let query = AuditQuery {
            credential: Some(credential),
            limit: 1,
            ..AuditQuery::every_team()
        };
        let made = self.audit(&query).await?.items.pop();
        Ok(made.and_then(|made| Some(Tenant::new(made.entry.team?, made.entry.namespace?))))
    }

    /// Returns the credential of a refusal, and its tenant, if its secret was right and it could work
    /// again: it is disabled, not valid yet or expired, or a policy does not accept it now. A report
    /// that it leaked must revoke it, since an administrator or a policy can bring it back.
    ///
    /// A secret that a rotation replaced counts while its grace period lasts: a policy may have ended
    /// it earlier.
    ///
    /// # Errors
    ///
    /// The store failed -> [`Error::Store`].
    pub async fn revocable(
        &self,
        denied: &Denied,
        now: impl Into<Timestamp>,
    ) -> Result<Option<(CredentialId, Tenant)>, Error> {
        let Some(credential) = denied.credential() else {
            return Ok(None);
        };
        let may_return = matches!(
            denied.reason(),
            DenyReason::Disabled
                | DenyReason::NotYetValid
                | DenyReason::Expired
                | DenyReason::LegacyOff
                | DenyReason::Replaced
        );
        if !may_return {
            return Ok(None);
        }
        let Some(tenant) = self.tenant_of(credential).await? else {
            return Ok(None);
        };
        if let (DenyReason::Replaced, CredentialId::Key(id)) = (denied.reason(), credential) {
            let record = self.store.key(&tenant, id).await?;
            let until = record.and_then(|record| record.previous.map(|previous| previous.until));
            if until.is_none_or(|until| until <= now.into()) {
                return Ok(None);
            }
        }
        Ok(Some((credential, tenant)))
    }

    /// Verifies the whole audit trail: that its events form one chain from revision 1 to the head
    /// of the store, and that each record of the store is the one that its event describes. Others
    /// may write to the store meanwhile.
    ///
    /// Keep the [head](Verified::head) outside the store, and pass it as `kept` later: only it
    /// reveals that somebody rewrote both the trail and the store. It needs two bits of memory for
    /// each revision.
    ///
    /// # Errors
    ///
    /// - the trail was changed, does not end at the head of the store, or does not fit its records,
    ///   or an earlier head -> [`Error::Audit`] says what and where
    /// - the store failed -> [`Error::Store`]
    pub async fn verify_audit(&self, kept: Option<TrailHead>) -> Result<Verified, Error> {
        crate::audit::verify(&*self.store, kept).await
    }
}

/// Usage taken from a recorder; it returns to the recorder unless the store took it.
struct Taken<'a> {
    batch: Vec<Usage>,
    lost: u64,
    recorder: &'a UsageRecorder,
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        for usage in &self.batch {
            self.recorder.record(usage);
        }
        self.recorder.add_lost(self.lost);
    }
}
