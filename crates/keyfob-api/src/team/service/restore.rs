//! `POST /v1/teams/{team_id}/services/{service_id}/restore`

use std::sync::Arc;

use axum::{
    Json as Answer,
    extract::{Path, State},
};
use keyfob::{KeyStore, name::ServiceId};

use crate::{
    admission::Admitted,
    authority::Call,
    body::OptionalJson,
    control_plane::Plane,
    key::{Because, Done},
    refusal::Refusal,
};

/// Admits a service to the team again
///
/// Keys can be made for them again. Those that were cut off stay so.
#[utoipa::path(
    post,
    path = "/v1/teams/{team_id}/services/{service_id}/restore",
    operation_id = "restore_service",
    tag = "Members and services",
    params(
        ("team_id" = String, Path, description = "The team."),
        ("service_id" = String, Path, description = "The service."),
    ),
    request_body = Option<Because>,
    responses(
        (status = 200, description = "It is in force.", body = Done),
        (status = 409, description = "The service was not removed."),
    ),
)]
pub(crate) async fn handle<S: KeyStore + 'static>(
    State(plane): State<Arc<Plane<S>>>,
    asked: Admitted,
    Path((team, service)): Path<(String, String)>,
    OptionalJson(why): OptionalJson<Because>,
) -> Result<Answer<Done>, Refusal> {
    let team = asked.team(Call::RemoveMember, &team)?;
    let service = ServiceId::new(&service)?;
    let context = asked.context_because(why.reason.as_deref())?;
    plane
        .keyring
        .restore_service(&context, &team, &service)
        .await?;
    Ok(Answer(Done {}))
}
