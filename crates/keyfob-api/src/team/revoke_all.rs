//! `POST /v1/teams/{team_id}/revocations`

use std::sync::Arc;

use axum::{
    Json as Answer,
    extract::{Path, State},
};
use keyfob::{
    KeyStore, Owner,
    name::{ServiceId, TeamId, UserId},
    store::Target,
};
use serde::Deserialize;
use utoipa::ToSchema;

use crate::{
    admission::Admitted, authority::Call, body::Json, control_plane::Plane, key::Done,
    refusal::Refusal,
};

/// Revokes all keys of a namespace, of a person, of a service or of the team
///
/// All that there are now: it goes on, with new keys. What to do after a leak. The keys of the
/// whole team are the control keys too, the caller's among them.
#[utoipa::path(
    post,
    path = "/v1/teams/{team_id}/revocations",
    operation_id = "revoke_all",
    tag = "Teams",
    params(("team_id" = String, Path, description = "The team.")),
    request_body = RevokeAll,
    responses((status = 200, description = "They are revoked.", body = Done)),
)]
pub(crate) async fn handle<S: KeyStore + 'static>(
    State(plane): State<Arc<Plane<S>>>,
    asked: Admitted,
    Path(team): Path<String>,
    Json(body): Json<RevokeAll>,
) -> Result<Answer<Done>, Refusal> {
    let team = asked.team(Call::RevokeAll, &team)?;
    let context = asked.context_because(body.reason.as_deref())?;
    let target = plane.target(&asked, team, &body).await?;
    plane.keyring.revoke_all(&context, target).await?;
    Ok(Answer(Done {}))
}

impl<S: KeyStore> Plane<S> {
    async fn target(
        &self,
        asked: &Admitted,
        team: TeamId,
        body: &RevokeAll,
    ) -> Result<Target, Refusal> {
        let id = body
            .id
            .as_deref()
            .ok_or(Refusal::bad_request("id: missing"));
        Ok(match body.of {
            TargetKind::Team if body.id.is_some() => {
                return Err(Refusal::bad_request("id: the path names the team"));
            }
            TargetKind::Team => Target::Team(team),
            TargetKind::User => Target::Owner(team, Owner::User(UserId::new(id?)?)),
            TargetKind::Service => Target::Owner(team, Owner::Service(ServiceId::new(id?)?)),
            TargetKind::Namespace => {
                let tenant = self.tenant(asked, id?).await?;
                if tenant.team != team {
                    return Err(Refusal::NOT_FOUND);
                }
                Target::Namespace(tenant)
            }
        })
    }
}

/// Which keys to revoke.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RevokeAll {
    /// Of what.
    of: TargetKind,
    /// Which one; left out for the team.
    id: Option<String>,
    /// Why, for the audit trail.
    #[schema(min_length = 1, max_length = 500)]
    reason: Option<String>,
}

/// Whose keys.
#[derive(Clone, Copy, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum TargetKind {
    Namespace,
    User,
    Service,
    Team,
}
