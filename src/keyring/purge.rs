//! Deleting what has been dead for long.

use crate::{
    identity::Context,
    keyring::{Error, Keyring},
    name::TeamId,
    record::{KeyRecord, Status},
    store::KeyQuery,
    timestamp::Timestamp,
};

impl Keyring {
    /// Deletes the records of a team's keys that were revoked or came to their own end before
    /// `dead_before`, and gives their number. Each deletion has its event; the audit trail of the
    /// keys stays, and so does the mark that their identifiers are taken.
    ///
    /// A key that is only past its policy's longest life is not deleted: a policy can be set anew.
    /// What was deleted before a failure stays deleted, so a purge can be called again.
    ///
    /// # Errors
    ///
    /// The store failed -> [`Error::Store`].
    pub async fn purge(
        &self,
        context: &Context,
        team: &TeamId,
        dead_before: Timestamp,
    ) -> Result<u64, Error> {
        let mut query = KeyQuery {
            limit: KeyQuery::LIMIT_MAX,
            ..KeyQuery::team(team.clone())
        };
        let mut purged = 0_u64;
        loop {
            let page = self.store.keys(&query).await?;
            for record in &page.items {
                if is_dead(record, dead_before) {
                    match self.delete(context, &record.tenant, record.id).await {
                        Ok(()) => purged = purged.saturating_add(1),
                        // Somebody else was faster.
                        Err(Error::NotFound) => {}
                        Err(error) => return Err(error),
                    }
                }
            }
            match page.next {
                Some(next) => query.after = Some(next),
                None => return Ok(purged),
            }
        }
    }
}

fn is_dead(record: &KeyRecord, before: Timestamp) -> bool {
    let revoked = match &record.status {
        Status::Revoked(revocation) => Some(revocation.at),
        Status::Active | Status::Disabled => None,
    };
    [revoked, record.expires_at]
        .into_iter()
        .flatten()
        .any(|end| end < before)
}
