//! Usage: merged in batches, by many gateways at once.

use std::collections::{BTreeMap, HashMap};

use keyfob::{
    Timestamp,
    gateway::{Usage, UsageBatch, UsageSource},
    key::CredentialId,
    store::StoreError,
};

use crate::{
    row::{self, Result, number},
    session::{Kept, Session, Step, values},
    sql,
    store::Inner,
};

impl Inner {
    /// All of a batch or nothing, in the order of credentials, so that of two batches that meet one
    /// waits for the other.
    pub(crate) async fn record_usage(
        &self,
        batch: &UsageBatch,
        now: Timestamp,
    ) -> std::result::Result<(), StoreError> {
        let mut merged: BTreeMap<CredentialId, Usage> = BTreeMap::new();
        for usage in &batch.usage {
            merged
                .entry(usage.credential)
                .and_modify(|known| known.merge(usage))
                .or_insert_with(|| usage.clone());
        }
        let last_used = |usage: &Usage| usage.last_used.map(Timestamp::as_unix);
        let credentials: Vec<String> = merged.keys().map(ToString::to_string).collect();
        let last_used: Vec<Option<i64>> = merged.values().map(last_used).collect();
        let accepted: Vec<i64> = merged
            .values()
            .map(|usage| number(usage.accepted))
            .collect();
        let refused: Vec<i64> = merged.values().map(|usage| number(usage.refused)).collect();
        let source = batch.source.to_bytes().to_vec();
        let values = values![
            credentials,
            last_used,
            accepted,
            refused,
            source,
            number(batch.sequence),
            now.as_unix(),
            UsageSource::forgotten_at(now).as_unix(),
        ];
        let step = [Step::new(sql::MERGE_USAGE, values)];
        // What may have been kept is not sent again here: the caller does, with the same batch.
        let kept = self.retried(|| self.try_record_usage(&step));
        match kept.await.map_err(StoreError::definite)? {
            Kept::Yes => Ok(()),
            Kept::No(error) => Err(StoreError::definite(error)),
            Kept::Unknown(error) => Err(StoreError::unknown(error)),
        }
    }

    async fn try_record_usage(&self, step: &[Step<'_>]) -> Result<Kept> {
        let mut session = self.session().await?;
        let sent = session.pipeline(Some(sql::BEGIN), step, Some(sql::COMMIT));
        match sent.await?.kept() {
            Kept::No(error) => Err(error),
            kept => Ok(kept),
        }
    }
}

/// What is kept of these credentials' usage, in the order in which they were asked for.
pub(crate) async fn usage(
    session: &mut Session,
    credentials: &[CredentialId],
) -> Result<Vec<Usage>> {
    let texts: Vec<String> = credentials.iter().map(ToString::to_string).collect();
    let rows = session.rows(Step::new(sql::USAGE, values![texts])).await?;
    let mut kept: HashMap<CredentialId, Usage> = HashMap::new();
    for row in rows {
        let last_used: Option<i64> = row::get(&row, 1)?;
        let usage = Usage {
            credential: row::text(&row, 0, str::parse)?,
            last_used: last_used.map(Timestamp::from_unix),
            accepted: row::count(&row, 2)?,
            refused: row::count(&row, 3)?,
        };
        kept.insert(usage.credential, usage);
    }
    let found = credentials.iter().filter_map(|id| kept.get(id).cloned());
    Ok(found.collect())
}
