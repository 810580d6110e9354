//! `GET /v1/teams/{team_id}/audit`

use std::sync::Arc;

use axum::{
    Json as Answer,
    extract::{Path, State},
};
use keyfob::store::{AuditQuery, KeyStore};

use crate::{
    admission::Admitted,
    audit::{filter::ListAudit, list::Events},
    authority::Call,
    body::Query,
    control_plane::Plane,
    refusal::Refusal,
};

/// Lists what was done in a team
#[utoipa::path(
    get,
    path = "/v1/teams/{team_id}/audit",
    operation_id = "list_team_audit",
    tag = "Audit",
    params(
        ("team_id" = String, Path, description = "The team."),
        ListAudit,
    ),
    responses((status = 200, description = "A page of events, oldest first.", body = Events)),
)]
pub(crate) async fn handle<S: KeyStore + 'static>(
    State(plane): State<Arc<Plane<S>>>,
    asked: Admitted,
    Path(team): Path<String>,
    Query(filter): Query<ListAudit>,
) -> Result<Answer<Events>, Refusal> {
    let team = asked.team(Call::ReadAudit, &team)?;
    let query = filter.parse(plane.format(), AuditQuery::team(team))?;
    plane.events(&query).await.map(Answer)
}
