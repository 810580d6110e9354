//! What a commit writes.

use keyfob::{
    key::CredentialId,
    store::{Item, WriteSet},
};
use tokio_postgres::types::Json;

use crate::{
    DatabaseError,
    row::{Result, number},
    session::{Step, values},
    sql,
};

/// The statements that keep a write set, with the notice of it at their end.
pub(crate) fn writes(write_set: &WriteSet, attempt: [u8; 16]) -> Result<Vec<Step<'_>>> {
    let event = &write_set.event;
    let revision = number(write_set.revision.get());
    let hash = || event.hash.to_bytes().to_vec();
    let mut steps = vec![
        Step::new(
            sql::ADVANCE,
            values![revision, hash(), event.entry.at.as_unix()],
        ),
        Step::new(
            sql::INSERT_EVENT,
            values![revision, Json(&event.entry), hash(), attempt.to_vec()],
        ),
    ];
    if let Some(record) = &write_set.binds {
        steps.push(Step::new(sql::INSERT_NAMESPACE, values![Json(record)]));
    }
    match &write_set.item {
        Some(Item::Key(record)) => steps.push(Step::new(sql::PUT_KEY, values![Json(record)])),
        Some(Item::KeyDeleted { id, tenant }) => {
            let id = || CredentialId::Key(*id).to_string();
            steps.push(Step::new(sql::DELETE_KEY, values![id()]));
            let (team, namespace) = (tenant.team.as_str(), tenant.namespace.as_str());
            let mark = values![id(), revision, team, namespace];
            steps.push(Step::new(sql::MARK_DELETED, mark));
            steps.push(Step::new(sql::DELETE_USAGE, values![id()]));
        }
        Some(Item::Cutoff(cutoff)) => steps.push(Step::new(sql::PUT_CUTOFF, values![Json(cutoff)])),
        Some(Item::Legacy(record)) => steps.push(Step::new(sql::PUT_LEGACY, values![Json(record)])),
        Some(Item::Policy(tenant, policy)) => steps.push(Step::new(
            sql::PUT_POLICY,
            values!["policy", Json((tenant, policy)), revision],
        )),
        Some(Item::LegacyPolicy(tenant, policy)) => steps.push(Step::new(
            sql::PUT_POLICY,
            values!["legacy_policy", Json((tenant, policy)), revision],
        )),
        Some(_) => {
            let fault = "a kind of item that this version of the store does not know";
            return Err(DatabaseError::other(fault));
        }
        None => {}
    }
    steps.push(Step::new(sql::NOTIFY, values![revision]));
    Ok(steps)
}
