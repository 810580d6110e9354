//! Teams, and the people and services in them.

mod list;
mod preview;

pub(crate) use list::{
    __path_list_members, __path_list_namespaces, __path_list_teams, list_members, list_namespaces,
    list_teams,
};

use std::sync::Arc;

use axum::{
    Json,
    extract::{Path, State},
    response::Response,
};
use keyfob::{
    Owner,
    manage::{Error, OwnerError},
    name::{ServiceId, TeamId, UserId},
    store::{Conflict, Target, TargetQuery},
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{
    authority::Call,
    body::{JsonBody, OptionalJson, Query},
    caller_context::CallerContext,
    keys::KeyParts,
    refusal::Refusal,
    state::AppState,
    stream,
    targets::{Removal, Revoked, unknown},
    teams::preview::{Preview, PreviewPage},
    usage::parse_window,
    wire::{Done, ReasonBody},
};

/// The path of a person or service in a team.
#[derive(Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Path)]
pub(crate) struct MemberPath {
    /// The team.
    team_id: String,
    /// `members` for a person, `services` for a service.
    #[param(pattern = "^(members|services)$")]
    kind: String,
    /// The person or service, with its kind or without: `alice` or `user:alice`.
    name: String,
}

impl MemberPath {
    /// The team and the owner that the path names, if the caller may make this call in the team.
    fn parse(&self, caller: &CallerContext, call: Call) -> Result<(TeamId, Owner), Refusal> {
        let team = caller.require_team(call, &self.team_id)?;
        let owner = match self.kind.as_str() {
            "members" => user("name", &self.name)?,
            "services" => service("name", &self.name)?,
            _ => return Err(Refusal::NOT_FOUND),
        };
        Ok((team, owner))
    }
}

/// A person, `alice` or `user:alice`.
fn user(field: &str, text: &str) -> Result<Owner, Refusal> {
    match text.parse() {
        Ok(Owner::Service(_)) => Err(Refusal::bad_request(format!(
            "{field}: a service; a person is user:NAME or NAME"
        ))),
        Err(OwnerError::Kind) => Ok(Owner::User(UserId::new(text)?)),
        parsed => Ok(parsed?),
    }
}

/// A service, `bot` or `service:bot`.
fn service(field: &str, text: &str) -> Result<Owner, Refusal> {
    match text.parse() {
        Ok(Owner::User(_)) => Err(Refusal::bad_request(format!(
            "{field}: a person; a service is service:NAME or NAME"
        ))),
        Err(OwnerError::Kind) => Ok(Owner::Service(ServiceId::new(text)?)),
        parsed => Ok(parsed?),
    }
}

/// Shows what will stop working when a person or service is removed
#[utoipa::path(
    get,
    path = "/v1/teams/{team_id}/{kind}/{name}/keys",
    operation_id = "preview_member",
    tag = "Members and services",
    params(MemberPath, PreviewPage),
    responses((status = 200, description = "The keys in the whole team.", body = Preview)),
)]
pub(crate) async fn preview_member(
    State(state): State<Arc<AppState>>,
    caller: CallerContext,
    Path(path): Path<MemberPath>,
    Query(page): Query<PreviewPage>,
) -> Result<Response, Refusal> {
    let (team, owner) = path.parse(&caller, Call::PreviewMember)?;
    let query = TargetQuery::one(Target::Owner(team.clone(), owner.clone()));
    if state.keyring.targets(&query).await?.items.is_empty() {
        let error = Conflict::UnknownTarget(Target::Owner(team, owner));
        return Err(unknown("name", Error::Conflict(error)));
    }
    let head = format!("{{\"owner\":{},", json_of(&owner)?);
    let (query, now) = (page.query(team, owner)?, caller.now());
    let keys = KeyParts::new(state, query, page.wants_a_page(), now);
    let usage = parse_window(page.usage.as_deref(), now)?;
    stream::answer(keys.living_only().with_usage(usage).after(head)).await
}

fn json_of(value: &impl Serialize) -> Result<String, Refusal> {
    serde_json::to_string(value).map_err(|_| Refusal::SERVER_ERROR)
}

/// Removes a person or service from the team
///
/// When the answer arrives, all of its keys in the team are revoked, and none can be created for it
/// until `restore`. Others are unaffected. A name without any key in the team is not found, unless
/// `in_advance` is set.
#[utoipa::path(
    post,
    path = "/v1/teams/{team_id}/{kind}/{name}/remove",
    operation_id = "remove_member",
    tag = "Members and services",
    params(MemberPath),
    request_body = Option<Removal>,
    responses((status = 200, description = "It is removed.", body = Revoked)),
)]
pub(crate) async fn remove_member(
    State(state): State<Arc<AppState>>,
    caller: CallerContext,
    Path(path): Path<MemberPath>,
    OptionalJson(removal): OptionalJson<Removal>,
) -> Result<Json<Revoked>, Refusal> {
    let (team, owner) = path.parse(&caller, Call::RemoveMember)?;
    let target = Target::Owner(team, owner);
    state.remove(&caller, target, "name", &removal).await
}

/// Restores a person or service to the team
///
/// Keys can be created for it again. Those that were revoked stay revoked.
#[utoipa::path(
    post,
    path = "/v1/teams/{team_id}/{kind}/{name}/restore",
    operation_id = "restore_member",
    tag = "Members and services",
    params(MemberPath),
    request_body = Option<ReasonBody>,
    responses(
        (status = 200, description = "It is restored.", body = Done),
        (status = 409, description = "It was not removed."),
    ),
)]
pub(crate) async fn restore_member(
    State(state): State<Arc<AppState>>,
    caller: CallerContext,
    Path(path): Path<MemberPath>,
    OptionalJson(why): OptionalJson<ReasonBody>,
) -> Result<Json<Done>, Refusal> {
    let (team, owner) = path.parse(&caller, Call::RemoveMember)?;
    state
        .restore(&caller, Target::Owner(team, owner), &why)
        .await
}

/// Removes a team
///
/// Revokes the keys in all of its namespaces; none can be created in them until the team is restored.
/// A team without any namespace is not found, unless `in_advance` is set. For operators.
#[utoipa::path(
    post,
    path = "/v1/teams/{team_id}/remove",
    operation_id = "remove_team",
    tag = "Teams",
    params(("team_id" = String, Path, description = "The team.")),
    request_body = Option<Removal>,
    responses((status = 200, description = "The team is removed.", body = Revoked)),
)]
pub(crate) async fn remove(
    State(state): State<Arc<AppState>>,
    caller: CallerContext,
    Path(team): Path<String>,
    OptionalJson(removal): OptionalJson<Removal>,
) -> Result<Json<Revoked>, Refusal> {
    let team = caller.require_team(Call::Operate, &team)?;
    let target = Target::Team(team);
    state.remove(&caller, target, "team_id", &removal).await
}

/// Restores a team
///
/// Keys can be created in it again. Those that were revoked stay revoked. For operators.
#[utoipa::path(
    post,
    path = "/v1/teams/{team_id}/restore",
    operation_id = "restore_team",
    tag = "Teams",
    params(("team_id" = String, Path, description = "The team.")),
    request_body = Option<ReasonBody>,
    responses(
        (status = 200, description = "The team is restored.", body = Done),
        (status = 409, description = "The team was not removed."),
    ),
)]
pub(crate) async fn restore(
    State(state): State<Arc<AppState>>,
    caller: CallerContext,
    Path(team): Path<String>,
    OptionalJson(why): OptionalJson<ReasonBody>,
) -> Result<Json<Done>, Refusal> {
    let team = caller.require_team(Call::Operate, &team)?;
    state.restore(&caller, Target::Team(team), &why).await
}

/// Revokes all keys of a namespace, a person, a service or the team
///
/// Nothing is removed: new keys can be created at once. The remedy after a leak. The keys of the whole
/// team include the control keys, and the caller's among them.
#[utoipa::path(
    post,
    path = "/v1/teams/{team_id}/revocations",
    operation_id = "revoke_all",
    tag = "Teams",
    params(("team_id" = String, Path, description = "The team.")),
    request_body = RevokeAll,
    responses((status = 200, description = "They are revoked.", body = Revoked)),
)]
pub(crate) async fn revoke_all(
    State(state): State<Arc<AppState>>,
    caller: CallerContext,
    Path(team): Path<String>,
    JsonBody(body): JsonBody<RevokeAll>,
) -> Result<Json<Revoked>, Refusal> {
    let team = caller.require_team(Call::RevokeAll, &team)?;
    let target = body.target(&state, &caller, team).await?;
    let context = caller.context_for(body.reason.as_deref())?;
    let field = match target {
        Target::Team(_) => "team_id",
        Target::Namespace(_) | Target::Owner(..) => "id",
    };
    let ended = state.keyring.revoke_all(&context, target).await;
    let ended = ended.map_err(|error| unknown(field, error))?;
    Ok(Json(Revoked::from(ended)))
}

/// Which keys to revoke.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RevokeAll {
    /// Of what.
    of: TargetKind,
    /// Which one; left out for the team. A person or service with its kind or without: `alice` or
    /// `user:alice`.
    id: Option<String>,
    /// The reason, for the audit trail.
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

impl RevokeAll {
    async fn target(
        &self,
        state: &AppState,
        caller: &CallerContext,
        team: TeamId,
    ) -> Result<Target, Refusal> {
        let id = self.id.as_deref();
        let id = id.ok_or(Refusal::bad_request("id: missing"));
        Ok(match self.of {
            TargetKind::Team if self.id.is_some() => {
                return Err(Refusal::bad_request("id: the path names the team"));
            }
            TargetKind::Team => Target::Team(team),
            TargetKind::User => Target::Owner(team, user("id", id?)?),
            TargetKind::Service => Target::Owner(team, service("id", id?)?),
            TargetKind::Namespace => {
                let tenant = state.tenant(caller, id?).await?;
                if tenant.team != team {
                    return Err(Refusal::NOT_FOUND);
                }
                Target::Namespace(tenant)
            }
        })
    }
}
