//! What was done and what was used: audit and usage.

use alloc::vec::Vec;

use crate::{
    audit::{AuditEvent, ChainHash},
    credential_id::CredentialId,
    identity::Tenant,
    keyring::{Error, Keyring},
    store::{AuditQuery, KeyQuery, LegacyQuery, Page},
    usage::{Usage, UsageRecorder},
};

impl Keyring {
    /// What is known of the use of these credentials.
    ///
    /// # Errors
    ///
    /// The store failed -> [`Error::Store`].
    pub async fn usage(&self, credentials: &[CredentialId]) -> Result<Vec<Usage>, Error> {
        Ok(self.store.usage(credentials).await?)
    }

    /// Takes what a recorder has seen to the store, and gives the number of uses that the
    /// recorder had no room for. If the store fails, or the future is dropped before its end,
    /// what was taken goes back to the recorder.
    ///
    /// # Errors
    ///
    /// The store failed -> [`Error::Store`].
    pub async fn flush_usage(&self, recorder: &UsageRecorder) -> Result<u64, Error> {
        let (batch, lost) = recorder.drain();
        let mut taken = Taken { batch, recorder };
        self.store.record_usage(&taken.batch).await?;
        taken.batch.clear();
        Ok(lost)
    }

    /// A page of the audit trail, oldest first.
    ///
    /// # Errors
    ///
    /// The store failed -> [`Error::Store`].
    pub async fn audit(&self, query: &AuditQuery) -> Result<Page<AuditEvent>, Error> {
        Ok(self.store.audit(query).await?)
    }

    /// Where a credential belongs, or belonged: the audit trail knows of every key that was ever
    /// made, also of one that is gone.
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

    /// Checks the whole audit trail, and gives its last hash: keep it elsewhere, and a trail that
    /// is cut short later will be noticed.
    ///
    /// # Errors
    ///
    /// - an event was changed, removed or moved -> [`Error::Audit`] names the first
    /// - the store failed -> [`Error::Store`]
    pub async fn verify_audit(&self) -> Result<ChainHash, Error> {
        let query = AuditQuery {
            limit: KeyQuery::LIMIT_MAX,
            ..AuditQuery::every_team()
        };
        let mut last = ChainHash::START;
        let mut events = self.walk(query);
        while let Some(page) = events.next_page().await? {
            last = AuditEvent::verify(last, &page)?;
        }
        Ok(last)
    }
}

/// What was taken from a recorder, until the store has it.
struct Taken<'a> {
    batch: Vec<Usage>,
    recorder: &'a UsageRecorder,
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        for usage in &self.batch {
            self.recorder.record(usage);
        }
    }
}
