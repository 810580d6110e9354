//! `GET /v2/functions/namespaces`

use std::sync::Arc;

use axum::{Json as Answer, extract::State};
use keyfob::{
    KeyStore, Tenant,
    name::TeamId,
    store::{KeyQuery, NamespaceQuery, NamespaceRecord, Page},
};
use serde::Serialize;
use utoipa::ToSchema;

use crate::{
    admission::Admitted,
    authority::Call,
    body::Query,
    caller::Right,
    control_keys::controlled_team,
    control_plane::Plane,
    namespace::{NamespaceView, filter::ListNamespaces},
    refusal::Refusal,
};

/// Lists namespaces
///
/// Those of the caller's team that were not removed; operators see every team's.
#[utoipa::path(
    get,
    path = "/v2/functions/namespaces",
    operation_id = "list_namespaces",
    tag = "Namespaces",
    params(ListNamespaces),
    responses((status = 200, description = "The namespaces.", body = NamespaceList)),
)]
pub(crate) async fn handle<S: KeyStore + 'static>(
    State(plane): State<Arc<Plane<S>>>,
    asked: Admitted,
    Query(filter): Query<ListNamespaces>,
) -> Result<Answer<NamespaceList>, Refusal> {
    asked.may(Call::ListNamespaces)?;
    let caller = &asked.caller;
    let team = match &filter.team {
        Some(team) => Some(asked.team(Call::ListNamespaces, team)?),
        None if caller.may(Right::Operator) => None,
        None => Some(caller.team.clone()),
    };
    let records = plane.live_namespaces(team).await?;
    let tenants: Vec<Tenant> = records.iter().map(|record| record.tenant.clone()).collect();
    let facts = plane.directory.describe(&tenants).await?;
    let namespaces = records.iter().zip(facts);
    Ok(Answer(NamespaceList {
        namespaces: namespaces
            .map(|(record, facts)| NamespaceView::new(&record.tenant, record.created_at, facts))
            .collect(),
    }))
}

impl<S: KeyStore> Plane<S> {
    /// All namespaces of a team, or of all, but those that were removed or hold control keys.
    async fn live_namespaces(&self, team: Option<TeamId>) -> Result<Vec<NamespaceRecord>, Refusal> {
        let mut query = NamespaceQuery {
            team,
            limit: KeyQuery::LIMIT_MAX,
            ..NamespaceQuery::every_team()
        };
        let mut all = Vec::new();
        loop {
            let Page { items, next } = self.keyring.namespaces(&query).await?;
            all.extend(items.into_iter().filter(|record| {
                !record.removed && controlled_team(&record.tenant.namespace).is_none()
            }));
            match next {
                Some(next) => query.after = Some(next),
                None => return Ok(all),
            }
        }
    }
}

/// Namespaces.
#[derive(Serialize, ToSchema)]
pub(crate) struct NamespaceList {
    namespaces: Vec<NamespaceView>,
}
