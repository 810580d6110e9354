//! Usage and the audit trail.

use alloc::vec::Vec;

use crate::{
    audit::{AuditEvent, TrailHead, Verified},
    credential_id::CredentialId,
    denied::{Denied, DenyReason},
    identity::Tenant,
    keyring::{Error, Keyring},
    lifecycle::LifecycleError,
    store::{AuditQuery, LegacyQuery, Page},
    timestamp::Timestamp,
    usage::{Usage, UsageBatch, UsageOf, UsageRange, UsageRecorder, UsageSeries},
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

    /// Returns the usage over time of each of these, in their order: of credentials, namespaces and
    /// teams of any tenant. It is one call of the store. Days are those of UTC.
    ///
    /// # Errors
    ///
    /// The store failed -> [`Error::Store`].
    pub async fn usage_series(
        &self,
        of: &[UsageOf],
        range: &UsageRange,
    ) -> Result<Vec<UsageSeries>, Error> {
        let days = self.store.usage_days(&range.query(of)).await?;
        Ok(range.series(of, &days))
    }

    /// Moves the usage from a recorder to the store, and returns the number of uses that were lost,
    /// since the recorder had no room for them. If the store fails or the future is dropped, the recorder keeps the
    /// batch, and the next call sends it again first; the store counts it once.
    ///
    /// # Errors
    ///
    /// - the store failed -> [`Error::Store`]
    /// - the random source failed -> [`Error::Lifecycle`]
    pub async fn flush_usage(
        &self,
        recorder: &UsageRecorder,
        now: impl Into<Timestamp>,
    ) -> Result<u64, Error> {
        let now = now.into();
        // What was left before, and then all usage since.
        for _ in 0..=recorder.waiting() {
            let batch = recorder.batch(&*self.random, now);
            let Some(batch) = batch.map_err(LifecycleError::from)? else {
                break;
            };
            self.record_usage(&batch, now).await?;
            recorder.confirm(batch.sequence);
        }
        Ok(recorder.take_lost())
    }

    /// Records a batch of usage that another process counted. The store counts each batch once.
    ///
    /// # Errors
    ///
    /// The store failed -> [`Error::Store`]; send the same batch again.
    pub async fn record_usage(
        &self,
        batch: &UsageBatch,
        now: impl Into<Timestamp>,
    ) -> Result<(), Error> {
        Ok(self.store.record_usage(batch, now.into()).await?)
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
