//! Namespaces.

use std::sync::Arc;

use axum::{
    Json,
    extract::{Path, State},
    http::StatusCode,
    response::Response,
};
use keyfob::{
    Tenant, Timestamp,
    manage::NewNamespace,
    name::{NamespaceId, NamespaceLabel, Region},
    store::{NamespaceQuery, Target},
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::{
    authority::Call,
    body::{JsonBody, Object, OptionalJson, Query},
    caller::Right,
    caller_context::CallerContext,
    control_keys::is_control,
    directory::NamespaceFacts,
    refusal::Refusal,
    state::AppState,
    stream::{self, PAGE, Parts, Text},
    targets::{Removal, Revoked},
    wire::{Done, Moment, ReasonBody},
};

/// Lists namespaces
///
/// Those of the caller's team that were not removed; operators see every team's.
#[utoipa::path(
    get,
    path = "/v2/functions/namespaces",
    operation_id = "list_namespaces",
    tag = "Namespaces",
    params(ListNamespaces),
    responses((status = 200, description = "The namespaces.", body = NamespaceList)),
)]
pub(crate) async fn list(
    State(state): State<Arc<AppState>>,
    caller: CallerContext,
    Query(filter): Query<ListNamespaces>,
) -> Result<Response, Refusal> {
    caller.require(Call::ListNamespaces)?;
    let team = match &filter.team {
        Some(team) => Some(caller.require_team(Call::ListNamespaces, team)?),
        None if caller.rights.hold(Right::Operator) => None,
        None => Some(caller.team.clone()),
    };
    let query = NamespaceQuery {
        team,
        limit: PAGE,
        ..NamespaceQuery::every_team()
    };
    let begun = false;
    stream::answer(NamespaceParts {
        state,
        query,
        begun,
    })
    .await
}

/// Namespaces that were not removed, as `{"namespaces": […]}`.
struct NamespaceParts {
    state: Arc<AppState>,
    query: NamespaceQuery,
    begun: bool,
}

impl Parts for NamespaceParts {
    async fn next(&mut self, out: &mut Text) -> Result<bool, Refusal> {
        if !std::mem::replace(&mut self.begun, true) {
            out.raw("{\"namespaces\":");
            out.begin();
        }
        let page = self.state.keyring.namespaces(&self.query).await?;
        let records = page.items.into_iter();
        let records: Vec<_> = records
            .filter(|record| !record.removed && !is_control(&record.tenant))
            .collect();
        let facts = self.state.directory.describe(&records).await?;
        for (record, facts) in records.iter().zip(facts) {
            let view = NamespaceView::new(&record.tenant, record.created_at, facts);
            out.item(&view)?;
        }
        self.query.after = page.next;
        if page.next.is_none() {
            out.raw("]}");
        }
        Ok(page.next.is_some())
    }
}

/// Creates a namespace
///
/// Its name is generated. Keys can be created in it at once. The body may also be wrapped, as
/// `doctl` sends it: `{"namespace": {"label": …, "Region": …}}`.
#[utoipa::path(
    post,
    path = "/v2/functions/namespaces",
    operation_id = "create_namespace",
    tag = "Namespaces",
    request_body = CreateNamespace,
    responses(
        (status = 200, description = "The namespace.", body = ShownNamespace),
        (status = 409, description = "The team was removed."),
    ),
)]
pub(crate) async fn create(
    State(state): State<Arc<AppState>>,
    caller: CallerContext,
    JsonBody(body): JsonBody<CreateNamespace>,
) -> Result<Json<ShownNamespace>, Refusal> {
    caller.require(Call::CreateNamespace)?;
    let body = body.fields()?;
    let team = match &body.team {
        Some(team) => caller.require_team(Call::CreateNamespace, team)?,
        None => caller.team.clone(),
    };
    let label = body.label.ok_or(Refusal::bad_request("label: missing"))?;
    let name = NamespaceId::new(&format!("fn-{}", Uuid::new_v4()))?;
    let tenant = Tenant::new(team, name);
    let mut new = NewNamespace::new(tenant.clone()).with_label(NamespaceLabel::new(&label)?);
    if let Some(region) = &body.region {
        new = new.with_region(Region::new(region)?);
    }
    let facts = state.directory.admit(&new).await?;
    let context = caller.context();
    state.keyring.create_namespace(&context, new).await?;
    let namespace = NamespaceView::new(&tenant, state.latest(context.now), facts);
    Ok(Json(ShownNamespace { namespace }))
}

/// Shows a namespace
#[utoipa::path(
    get,
    path = "/v2/functions/namespaces/{namespace_id}",
    operation_id = "show_namespace",
    tag = "Namespaces",
    params(("namespace_id" = String, Path, description = "The namespace.")),
    responses((status = 200, description = "The namespace.", body = ShownNamespace)),
)]
pub(crate) async fn show(
    State(state): State<Arc<AppState>>,
    caller: CallerContext,
    Path(namespace): Path<String>,
) -> Result<Json<ShownNamespace>, Refusal> {
    caller.require(Call::ListNamespaces)?;
    let record = state.namespace(&caller, &namespace).await?;
    let records = [record];
    let facts = state.directory.describe(&records).await?.pop();
    let facts = facts.ok_or(Refusal::SERVER_ERROR)?;
    let [record] = records;
    let namespace = NamespaceView::new(&record.tenant, record.created_at, facts);
    Ok(Json(ShownNamespace { namespace }))
}

/// Removes a namespace, as published
///
/// The same as `POST …/remove`, without a reason.
#[utoipa::path(
    delete,
    path = "/v2/functions/namespaces/{namespace_id}",
    operation_id = "delete_namespace",
    tag = "Namespaces",
    params(("namespace_id" = String, Path, description = "The namespace.")),
    responses((status = 204, description = "It is removed.")),
)]
pub(crate) async fn delete(
    State(state): State<Arc<AppState>>,
    caller: CallerContext,
    Path(namespace): Path<String>,
) -> Result<StatusCode, Refusal> {
    caller.require(Call::RemoveNamespace)?;
    let record = state.namespace(&caller, &namespace).await?;
    let target = Target::Namespace(record.tenant);
    let Json(Revoked { .. }) = state
        .remove(&caller, target, "namespace_id", &Removal::default())
        .await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Removes a namespace
///
/// Revokes all of its keys and legacy credentials; none can be created in it until it is restored.
#[utoipa::path(
    post,
    path = "/v2/functions/namespaces/{namespace_id}/remove",
    operation_id = "remove_namespace",
    tag = "Namespaces",
    params(("namespace_id" = String, Path, description = "The namespace.")),
    request_body = Option<ReasonBody>,
    responses((status = 200, description = "It is removed.", body = Revoked)),
)]
pub(crate) async fn remove(
    State(state): State<Arc<AppState>>,
    caller: CallerContext,
    Path(namespace): Path<String>,
    OptionalJson(why): OptionalJson<ReasonBody>,
) -> Result<Json<Revoked>, Refusal> {
    caller.require(Call::RemoveNamespace)?;
    // Also one that is removed, as a repetition of a request whose answer was lost.
    let tenant = state.namespace_ever(&caller, &namespace).await?.tenant;
    let removal = Removal::from(why);
    let target = Target::Namespace(tenant);
    state
        .remove(&caller, target, "namespace_id", &removal)
        .await
}

/// Restores a namespace
///
/// Keys can be created in it again. Those that were revoked stay revoked.
#[utoipa::path(
    post,
    path = "/v2/functions/namespaces/{namespace_id}/restore",
    operation_id = "restore_namespace",
    tag = "Namespaces",
    params(("namespace_id" = String, Path, description = "The namespace.")),
    request_body = Option<ReasonBody>,
    responses(
        (status = 200, description = "It is restored.", body = Done),
        (status = 409, description = "It was not removed."),
    ),
)]
pub(crate) async fn restore(
    State(state): State<Arc<AppState>>,
    caller: CallerContext,
    Path(namespace): Path<String>,
    OptionalJson(why): OptionalJson<ReasonBody>,
) -> Result<Json<Done>, Refusal> {
    caller.require(Call::RestoreNamespace)?;
    let tenant = state.namespace_ever(&caller, &namespace).await?.tenant;
    state
        .restore(&caller, Target::Namespace(tenant), &why)
        .await
}

/// Which namespaces to list.
#[derive(Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct ListNamespaces {
    /// Only those of this team.
    team: Option<String>,
}

/// The namespace to create.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct CreateNamespace {
    /// What people call it. It need not be unique.
    #[schema(required, value_type = String, min_length = 1, max_length = 100, examples("orders"))]
    label: Option<String>,
    /// Where it runs. Left out: the first region of the service.
    #[serde(alias = "Region")]
    #[schema(max_length = 63, examples("blr1"))]
    region: Option<String>,
    /// Its team. Left out: the caller's.
    team: Option<String>,
    /// The same fields, wrapped.
    #[schema(ignore)]
    namespace: Option<Object<WrappedNamespace>>,
}

/// The fields of a namespace to create, as `doctl` and `godo` wrap them.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct WrappedNamespace {
    label: Option<String>,
    #[serde(alias = "Region")]
    region: Option<String>,
    team: Option<String>,
}

impl CreateNamespace {
    /// The fields, wherever they are.
    fn fields(self) -> Result<WrappedNamespace, Refusal> {
        let Self {
            label,
            region,
            team,
            namespace,
        } = self;
        match namespace {
            None => Ok(WrappedNamespace {
                label,
                region,
                team,
            }),
            Some(Object(wrapped)) if (&label, &region, &team) == (&None, &None, &None) => {
                Ok(wrapped)
            }
            Some(_) => Err(Refusal::bad_request(
                "namespace: not together with label, region or team",
            )),
        }
    }
}

/// Namespaces.
#[derive(ToSchema)]
#[expect(dead_code, reason = "the form of a list that is written page by page")]
pub(crate) struct NamespaceList {
    namespaces: Vec<NamespaceView>,
}

/// A namespace.
#[derive(Serialize, ToSchema)]
pub(crate) struct ShownNamespace {
    namespace: NamespaceView,
}

/// A namespace. Its shared legacy credential is in no answer.
#[derive(Serialize, ToSchema)]
#[schema(as = Namespace)]
struct NamespaceView {
    /// Its name, as in the paths of calls.
    #[schema(examples("fn-7c2d4a1e-5f0b-4c3d-9e8f-0a1b2c3d4e5f"))]
    namespace: String,
    /// What people call it: the label of its creation, or else its name.
    label: String,
    /// Where it runs.
    region: String,
    /// The address of its gateway.
    api_host: String,
    /// When it was created.
    created_at: Moment,
    /// When it last changed.
    updated_at: Moment,
    /// Its team.
    team: String,
}

impl NamespaceView {
    fn new(tenant: &Tenant, created_at: Timestamp, facts: NamespaceFacts) -> Self {
        Self {
            namespace: tenant.namespace.as_str().to_owned(),
            label: facts.label,
            region: facts.region,
            api_host: facts.api_host,
            created_at: created_at.into(),
            updated_at: created_at.into(),
            team: tenant.team.as_str().to_owned(),
        }
    }
}
