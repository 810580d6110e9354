//! `POST /v1/teams/{team_id}/members/{user_id}/restore`

use std::sync::Arc;

use axum::{
    Json as Answer,
    extract::{Path, State},
};
use keyfob::{KeyStore, name::UserId};

use crate::{
    admission::Admitted,
    authority::Call,
    body::OptionalJson,
    control_plane::Plane,
    key::{Because, Done},
    refusal::Refusal,
};

/// Admits a person to the team again
///
/// Keys can be made for them again. Those that were cut off stay so.
#[utoipa::path(
    post,
    path = "/v1/teams/{team_id}/members/{user_id}/restore",
    operation_id = "restore_member",
    tag = "Members and services",
    params(
        ("team_id" = String, Path, description = "The team."),
        ("user_id" = String, Path, description = "The person."),
    ),
    request_body = Option<Because>,
    responses(
        (status = 200, description = "It is in force.", body = Done),
        (status = 409, description = "The person was not removed."),
    ),
)]
pub(crate) async fn handle<S: KeyStore + 'static>(
    State(plane): State<Arc<Plane<S>>>,
    asked: Admitted,
    Path((team, person)): Path<(String, String)>,
    OptionalJson(why): OptionalJson<Because>,
) -> Result<Answer<Done>, Refusal> {
    let team = asked.team(Call::RemoveMember, &team)?;
    let person = UserId::new(&person)?;
    let context = asked.context_because(why.reason.as_deref())?;
    plane
        .keyring
        .restore_member(&context, &team, &person)
        .await?;
    Ok(Answer(Done {}))
}
