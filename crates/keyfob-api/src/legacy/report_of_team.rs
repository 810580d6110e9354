//! `GET /v1/teams/{team_id}/legacy`

use std::sync::Arc;

use axum::{
    Json as Answer,
    extract::{Path, State},
};
use keyfob::store::{KeyStore, LegacyQuery};

use crate::{
    admission::Admitted, authority::Call, control_plane::Plane, legacy::report::Report,
    refusal::Refusal,
};

/// Reports who in a team still uses legacy credentials
#[utoipa::path(
    get,
    path = "/v1/teams/{team_id}/legacy",
    operation_id = "report_team_legacy",
    tag = "Legacy credentials",
    params(("team_id" = String, Path, description = "The team.")),
    responses((status = 200, description = "Their use, by namespace.", body = Report)),
)]
pub(crate) async fn handle<S: KeyStore + 'static>(
    State(plane): State<Arc<Plane<S>>>,
    asked: Admitted,
    Path(team): Path<String>,
) -> Result<Answer<Report>, Refusal> {
    let team = asked.team(Call::ReadLegacy, &team)?;
    plane
        .legacy_report(LegacyQuery::team(team))
        .await
        .map(Answer)
}
