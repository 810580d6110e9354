//! `POST /v1/teams/{team_id}/remove`

use std::sync::Arc;

use axum::{
    Json as Answer,
    extract::{Path, State},
};
use keyfob::KeyStore;

use crate::{
    admission::Admitted,
    authority::Call,
    body::OptionalJson,
    control_plane::Plane,
    key::{Because, Done},
    refusal::Refusal,
};

/// Removes a team
///
/// None of the keys in any of its namespaces works any more, and none can be made in them. For operators.
#[utoipa::path(
    post,
    path = "/v1/teams/{team_id}/remove",
    operation_id = "remove_team",
    tag = "Teams",
    params(("team_id" = String, Path, description = "The team.")),
    request_body = Option<Because>,
    responses(
        (status = 200, description = "It is in force.", body = Done),
    ),
)]
pub(crate) async fn handle<S: KeyStore + 'static>(
    State(plane): State<Arc<Plane<S>>>,
    asked: Admitted,
    Path(team): Path<String>,
    OptionalJson(why): OptionalJson<Because>,
) -> Result<Answer<Done>, Refusal> {
    let team = asked.team(Call::Operate, &team)?;
    let context = asked.context_because(why.reason.as_deref())?;
    plane.keyring.remove_team(&context, &team).await?;
    Ok(Answer(Done {}))
}
