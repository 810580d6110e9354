//! Lists of teams, and of the people, services and namespaces of a team.

use std::sync::Arc;

use axum::{
    Json,
    extract::{Path, State},
};
use keyfob::{
    name::{NamespaceId, ServiceId, TeamId, UserId},
    store::{NamespaceQuery, Target, TargetPage, TargetQuery, TargetsOf},
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{
    authority::Call,
    body::Query,
    caller_context::CallerContext,
    refusal::Refusal,
    state::AppState,
    wire::{Moment, parse_cursor, parse_limit},
};

/// A page of a list.
#[derive(Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct PageOf {
    /// The size of a page, 1 to 1000.
    #[param(value_type = Option<u32>, minimum = 1, maximum = 1000)]
    limit: Option<String>,
    /// Where the page begins: the `next_cursor` of the page before.
    cursor: Option<String>,
}

/// A page of the list of namespaces.
#[derive(Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct NamespacesOf {
    /// Only this one.
    namespace: Option<String>,
    /// The size of a page, 1 to 1000.
    #[param(value_type = Option<u32>, minimum = 1, maximum = 1000)]
    limit: Option<String>,
    /// Where the page begins: the `next_cursor` of the page before.
    cursor: Option<String>,
}

const LIMIT: usize = 100;

/// Lists the teams
///
/// Those with a namespace, and those that were removed, by name. For operators.
#[utoipa::path(
    get,
    path = "/v1/teams",
    operation_id = "list_teams",
    tag = "Teams",
    params(PageOf),
    responses((status = 200, description = "The teams.", body = TeamList)),
)]
pub(crate) async fn list_teams(
    State(state): State<Arc<AppState>>,
    caller: CallerContext,
    Query(page): Query<PageOf>,
) -> Result<Json<TeamList>, Refusal> {
    caller.require(Call::Operate)?;
    let after = page.cursor.as_deref().map(TeamId::new).transpose();
    let query = TargetQuery {
        of: TargetsOf::Teams(after.map_err(|_| no_cursor())?),
        limit: parse_limit(page.limit.as_deref(), LIMIT)?,
    };
    let page = state.keyring.targets(&query).await?;
    let next_cursor = next_cursor(&page);
    let teams = page.items.into_iter().map(|record| TeamView {
        team: name(&record.target),
        removed: record.removed,
    });
    Ok(Json(TeamList {
        teams: teams.collect(),
        next_cursor,
    }))
}

/// Lists the people or services of a team
///
/// Those with a key of any status in the team, and those that were removed, by name.
#[utoipa::path(
    get,
    path = "/v1/teams/{team_id}/{kind}",
    operation_id = "list_members",
    tag = "Members and services",
    params(
        ("team_id" = String, Path, description = "The team."),
        ("kind" = String, Path, description = "`members` for people, `services` for services.", pattern = "^(members|services)$"),
        PageOf,
    ),
    responses((status = 200, description = "The people or services.", body = MemberList)),
)]
pub(crate) async fn list_members(
    State(state): State<Arc<AppState>>,
    caller: CallerContext,
    Path((team, kind)): Path<(String, String)>,
    Query(page): Query<PageOf>,
) -> Result<Json<MemberList>, Refusal> {
    let team = caller.require_team(Call::PreviewMember, &team)?;
    let cursor = page.cursor.as_deref();
    let of = match kind.as_str() {
        "members" => {
            let after = cursor
                .map(UserId::new)
                .transpose()
                .map_err(|_| no_cursor())?;
            TargetsOf::Members(team, after)
        }
        "services" => {
            let after = cursor.map(ServiceId::new).transpose();
            TargetsOf::Services(team, after.map_err(|_| no_cursor())?)
        }
        _ => return Err(Refusal::NOT_FOUND),
    };
    let limit = parse_limit(page.limit.as_deref(), LIMIT)?;
    let page = state.keyring.targets(&TargetQuery { of, limit }).await?;
    let next_cursor = next_cursor(&page);
    let members = page.items.into_iter().map(|record| MemberView {
        name: name(&record.target),
        owner: match &record.target {
            Target::Owner(_, owner) => owner.to_string(),
            Target::Team(_) | Target::Namespace(_) => String::new(),
        },
        removed: record.removed,
    });
    Ok(Json(MemberList {
        members: members.collect(),
        next_cursor,
    }))
}

/// Lists the namespaces of a team
///
/// In the order of their creation, with those that were removed and that of the control keys.
#[utoipa::path(
    get,
    path = "/v1/teams/{team_id}/namespaces",
    operation_id = "list_team_namespaces",
    tag = "Teams",
    params(("team_id" = String, Path, description = "The team."), NamespacesOf),
    responses((status = 200, description = "The namespaces.", body = TeamNamespaceList)),
)]
pub(crate) async fn list_namespaces(
    State(state): State<Arc<AppState>>,
    caller: CallerContext,
    Path(team): Path<String>,
    Query(page): Query<NamespacesOf>,
) -> Result<Json<TeamNamespaceList>, Refusal> {
    let team = caller.require_team(Call::ListNamespaces, &team)?;
    let namespace = page.namespace.as_deref().filter(|text| !text.is_empty());
    let query = NamespaceQuery {
        namespace: namespace.map(NamespaceId::new).transpose()?,
        after: parse_cursor(page.cursor.as_deref())?,
        limit: parse_limit(page.limit.as_deref(), LIMIT)?,
        ..NamespaceQuery::team(team)
    };
    let page = state.keyring.namespaces(&query).await?;
    let facts = state.directory.describe(&page.items).await?;
    let records = page.items.into_iter().zip(facts);
    let namespaces = records.map(|(record, facts)| TeamNamespace {
        namespace: record.tenant.namespace.as_str().to_owned(),
        label: facts.label,
        created_at: record.created_at.into(),
        removed: record.removed,
    });
    Ok(Json(TeamNamespaceList {
        namespaces: namespaces.collect(),
        next_cursor: page.next.map(|next| next.to_string()),
    }))
}

fn no_cursor() -> Refusal {
    Refusal::bad_request("cursor: not the next_cursor of an earlier page")
}

/// The name of a target without its kind.
fn name(target: &Target) -> String {
    match target {
        Target::Team(team) => team.as_str().to_owned(),
        Target::Owner(_, owner) => owner.as_str().to_owned(),
        Target::Namespace(tenant) => tenant.namespace.as_str().to_owned(),
    }
}

fn next_cursor(page: &TargetPage) -> Option<String> {
    let last = page.items.last().filter(|_| page.more);
    last.map(|last| name(&last.target))
}

/// Teams.
#[derive(Serialize, ToSchema)]
pub(crate) struct TeamList {
    teams: Vec<TeamView>,
    /// Where the next page begins; left out on the last one.
    #[serde(skip_serializing_if = "Option::is_none")]
    next_cursor: Option<String>,
}

/// A team.
#[derive(Serialize, ToSchema)]
#[schema(as = Team)]
struct TeamView {
    team: String,
    /// Whether it is removed now.
    removed: bool,
}

/// People or services of a team.
#[derive(Serialize, ToSchema)]
pub(crate) struct MemberList {
    members: Vec<MemberView>,
    /// Where the next page begins; left out on the last one.
    #[serde(skip_serializing_if = "Option::is_none")]
    next_cursor: Option<String>,
}

/// A person or service.
#[derive(Serialize, ToSchema)]
#[schema(as = Member)]
struct MemberView {
    /// The name, without the kind.
    #[schema(examples("alice"))]
    name: String,
    /// As an owner of keys, with the kind.
    #[schema(examples("user:alice"))]
    owner: String,
    /// Whether it is removed now.
    removed: bool,
}

/// Namespaces of a team.
#[derive(Serialize, ToSchema)]
pub(crate) struct TeamNamespaceList {
    namespaces: Vec<TeamNamespace>,
    /// Where the next page begins; left out on the last one.
    #[serde(skip_serializing_if = "Option::is_none")]
    next_cursor: Option<String>,
}

/// A namespace of a team.
#[derive(Serialize, ToSchema)]
struct TeamNamespace {
    namespace: String,
    /// What people call it: the label of its creation, or else its name.
    label: String,
    /// When it was created.
    created_at: Moment,
    /// Whether it or the team is removed now.
    removed: bool,
}
