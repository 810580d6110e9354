//! Deletion of old records.

use alloc::boxed::Box;

use crate::{
    identity::Context,
    keyring::{Error, Keyring},
    name::TeamId,
    record::{KeyRecord, Status},
    store::KeyQuery,
    timestamp::Timestamp,
};

impl Keyring {
    /// Deletes the records of a team's keys that were revoked or expired before `dead_before`, and
    /// returns their number. Each deletion is audited; the audit events of the keys and the
    /// tombstones of their identifiers remain.
    ///
    /// A key that expired only by the policy's maximum TTL is not deleted, since the policy can
    /// change. After a failure, call again to continue.
    ///
    /// # Errors
    ///
    /// - the store failed before the first deletion -> [`Error::Store`]
    /// - it failed later -> [`Error::Interrupted`], with the number of deleted keys
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
            let page = match self.store.keys(&query).await {
                Ok(page) => page,
                Err(error) => return Err(after(purged, error.into())),
            };
            for record in &page.items {
                if is_dead(record, dead_before) {
                    match self.delete(context, &record.tenant, record.id, None).await {
                        Ok(()) => purged = purged.saturating_add(1),
                        // It was deleted concurrently.
                        Err(Error::NotFound) => {}
                        Err(error @ Error::AppliedNotSynced(_)) => {
                            return Err(after(purged.saturating_add(1), error));
                        }
                        Err(error) => return Err(after(purged, error)),
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

/// The error of a call that made this many changes before it failed.
fn after(changes: u64, error: Error) -> Error {
    match changes {
        0 => error,
        changes => Error::Interrupted {
            changes,
            source: Box::new(error),
        },
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
