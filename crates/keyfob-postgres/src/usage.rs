//! Usage: merged in batches, by many gateways at once.

use std::collections::HashMap;

use keyfob::{
    Timestamp,
    gateway::{Usage, UsageBatch, UsageDelta, UsageSource},
    key::CredentialId,
    store::{StoreError, UsageDay, UsageQuery},
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
        let deltas: Vec<UsageDelta> = batch.used(now).collect();
        let each = || deltas.iter();
        let credentials: Vec<String> = each().map(|it| it.credential.to_string()).collect();
        let outcomes: Vec<&str> = each().map(|it| it.outcome.as_str()).collect();
        let last_used = |delta: &UsageDelta| delta.last_used.map(Timestamp::as_unix);
        let last_used: Vec<Option<i64>> = each().map(last_used).collect();
        let counts: Vec<i64> = each().map(|it| number(it.count)).collect();
        let forgotten = UsageBatch::forgotten_at(now);
        // A batch of a day that is forgotten counts for no day.
        let (day, hour) = batch.slot(now).unwrap_or((forgotten, 0));
        // A delta adds at most three rows of days.
        let most = deltas.len().saturating_mul(3).saturating_add(100);
        let (first, last) = batch.source.group();
        let values = values![
            credentials,
            outcomes,
            last_used,
            counts,
            batch.source.to_bytes().to_vec(),
            number(batch.sequence),
            now.as_unix(),
            UsageSource::forgotten_at(now).as_unix(),
            day,
            i64::try_from(hour).unwrap_or_default(),
            forgotten,
            i64::try_from(most).unwrap_or(i64::MAX),
            first.to_bytes().to_vec(),
            last.to_bytes().to_vec(),
            i64::try_from(UsageSource::GROUP_MAX - 1).unwrap_or(i64::MAX),
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

/// The usage of each day that a query asks for.
pub(crate) async fn usage_days(session: &mut Session, query: &UsageQuery) -> Result<Vec<UsageDay>> {
    let texts: Vec<String> = query.of.iter().map(ToString::to_string).collect();
    let (first, last) = query.days().into_inner();
    let step = Step::new(sql::USAGE_DAYS, values![texts, first, last]);
    let rows = session.rows(step).await?;
    rows.iter()
        .map(|row| {
            Ok(UsageDay {
                of: row::text(row, 0, str::parse)?,
                day: row::get(row, 1)?,
                legacy: row::get(row, 2)?,
                outcome: row::text(row, 3, str::parse)?,
                hours: row::hours(row, 4)?,
            })
        })
        .collect()
}
