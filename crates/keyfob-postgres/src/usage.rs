//! Usage: merged in batches, by many gateways at once.

use std::collections::{BTreeMap, HashMap};

use keyfob::{Timestamp, gateway::Usage, key::CredentialId, store::StoreError};

use crate::{
    row::{Columns, Result, credential, number},
    session::{Kept, Session, Step, values},
    sql::{self, Sql},
    store::Inner,
};

/// Usage of credentials of one kind, as the columns of a batch.
#[derive(Default)]
struct Batch {
    ids: Vec<Vec<u8>>,
    last_used: Vec<Option<i64>>,
    accepted: Vec<i64>,
    refused: Vec<i64>,
}

impl Batch {
    fn push(&mut self, id: [u8; 16], usage: &Usage) {
        self.ids.push(id.to_vec());
        self.last_used.push(usage.last_used.map(Timestamp::as_unix));
        self.accepted.push(number(usage.accepted));
        self.refused.push(number(usage.refused));
    }

    fn step(self, sql: Sql) -> Option<Step<'static>> {
        let Self {
            ids,
            last_used,
            accepted,
            refused,
        } = self;
        (!ids.is_empty()).then(|| Step::new(sql, values![ids, last_used, accepted, refused]))
    }
}

impl Inner {
    /// All of a batch or nothing, keys before legacy credentials and each in the order of
    /// identifiers, so that of two that meet one waits for the other.
    pub(crate) async fn record_usage(
        &self,
        batch: &[Usage],
    ) -> std::result::Result<(), StoreError> {
        let mut merged: BTreeMap<CredentialId, Usage> = BTreeMap::new();
        for usage in batch {
            merged
                .entry(usage.credential)
                .and_modify(|known| known.merge(usage))
                .or_insert_with(|| usage.clone());
        }
        let (mut keys, mut legacy) = (Batch::default(), Batch::default());
        for usage in merged.values() {
            match usage.credential {
                CredentialId::Key(id) => keys.push(id.to_bytes(), usage),
                CredentialId::Legacy(id) => legacy.push(id.to_bytes(), usage),
                _ => {}
            }
        }
        let steps = [
            keys.step(sql::MERGE_KEY_USAGE),
            legacy.step(sql::MERGE_LEGACY_USAGE),
        ];
        let steps: Vec<Step<'_>> = steps.into_iter().flatten().collect();
        if steps.is_empty() {
            return Ok(());
        }
        // Counts are added, so what may have been kept is not sent again.
        let kept = self.retried(|| self.try_record_usage(&steps));
        match kept.await.map_err(StoreError::definite)? {
            Kept::Yes => Ok(()),
            Kept::No(error) => Err(StoreError::definite(error)),
            Kept::Unknown(error) => Err(StoreError::unknown(error)),
        }
    }

    async fn try_record_usage(&self, steps: &[Step<'_>]) -> Result<Kept> {
        let mut session = self.session().await?;
        let flown = session.fly(Some(sql::BEGIN), steps, Some(sql::COMMIT));
        match flown.await?.kept() {
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
    let mut kept: HashMap<CredentialId, Usage> = HashMap::new();
    for kind in ["key", "legacy"] {
        let of_kind = credentials.iter().copied().filter_map(credential);
        let of_kind = of_kind.filter(|(of, _)| *of == kind);
        let ids: Vec<Vec<u8>> = of_kind.map(|(_, id)| id.to_vec()).collect();
        if ids.is_empty() {
            continue;
        }
        let rows = session.rows(Step::new(sql::USAGE, values![kind, ids]));
        for row in rows.await? {
            let usage = Columns::of(&row).usage()?;
            kept.insert(usage.credential, usage);
        }
    }
    let found = credentials.iter().filter_map(|id| kept.get(id).cloned());
    Ok(found.collect())
}
