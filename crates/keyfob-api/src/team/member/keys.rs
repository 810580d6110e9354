//! `GET /v1/teams/{team_id}/members/{user_id}/keys`

use std::sync::Arc;

use axum::{
    Json as Answer,
    extract::{Path, State},
};
use keyfob::{KeyStore, Owner, name::UserId};

use crate::{
    admission::Admitted, authority::Call, control_plane::Plane, refusal::Refusal,
    team::preview::Preview,
};

/// Shows what will stop working when a person is removed
#[utoipa::path(
    get,
    path = "/v1/teams/{team_id}/members/{user_id}/keys",
    operation_id = "preview_member",
    tag = "Members and services",
    params(
        ("team_id" = String, Path, description = "The team."),
        ("user_id" = String, Path, description = "The person."),
    ),
    responses((status = 200, description = "Their keys in the whole team.", body = Preview)),
)]
pub(crate) async fn handle<S: KeyStore + 'static>(
    State(plane): State<Arc<Plane<S>>>,
    asked: Admitted,
    Path((team, person)): Path<(String, String)>,
) -> Result<Answer<Preview>, Refusal> {
    let team = asked.team(Call::PreviewMember, &team)?;
    let owner = Owner::User(UserId::new(&person)?);
    plane.preview(team, owner, asked.now()).await.map(Answer)
}
