//! `POST /v1/teams/{team_id}/members/{user_id}/remove`

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

/// Removes a person from the team
///
/// When the answer arrives, none of their keys in the team works, and none can be made for them until they are restored. Nobody else notices.
#[utoipa::path(
    post,
    path = "/v1/teams/{team_id}/members/{user_id}/remove",
    operation_id = "remove_member",
    tag = "Members and services",
    params(
        ("team_id" = String, Path, description = "The team."),
        ("user_id" = String, Path, description = "The person."),
    ),
    request_body = Option<Because>,
    responses(
        (status = 200, description = "It is in force.", body = Done),
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
        .remove_member(&context, &team, &person)
        .await?;
    Ok(Answer(Done {}))
}
