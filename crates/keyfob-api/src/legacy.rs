//! Legacy credentials: their policies, their revocation, and who still uses them.

mod policy;
mod report;

use std::sync::Arc;

use axum::{
    Json,
    extract::{Path, State},
    response::Response,
};
use keyfob::{
    legacy::{LegacyId, LegacyPolicy},
    store::Target,
};
use serde::Serialize;
use utoipa::ToSchema;

use crate::{
    authority::Call,
    body::{JsonBody, OptionalJson, Query},
    caller_context::CallerContext,
    legacy::{
        policy::{LegacyPolicyView, ShownLegacyPolicy},
        report::{Report, ReportOf, ReportParts},
    },
    refusal::Refusal,
    state::AppState,
    stream,
    wire::{Done, ReasonBody},
};

/// Shows the policy for legacy credentials of a namespace
#[utoipa::path(
    get,
    path = "/v2/functions/namespaces/{namespace_id}/legacy-policy",
    operation_id = "show_legacy_policy",
    tag = "Legacy credentials",
    params(("namespace_id" = String, Path, description = "The namespace.")),
    responses((status = 200, description = "The policy that applies.", body = ShownLegacyPolicy)),
)]
pub(crate) async fn show(
    State(state): State<Arc<AppState>>,
    caller: CallerContext,
    Path(namespace): Path<String>,
) -> Result<Json<ShownLegacyPolicy>, Refusal> {
    show_of(&state, &caller, Some(&namespace)).await
}

/// Sets the policy for legacy credentials of a namespace
#[utoipa::path(
    put,
    path = "/v2/functions/namespaces/{namespace_id}/legacy-policy",
    operation_id = "set_legacy_policy",
    tag = "Legacy credentials",
    params(("namespace_id" = String, Path, description = "The namespace.")),
    request_body = LegacyPolicyView,
    responses((status = 200, description = "The policy that applies now.", body = ShownLegacyPolicy)),
)]
pub(crate) async fn set(
    State(state): State<Arc<AppState>>,
    caller: CallerContext,
    Path(namespace): Path<String>,
    JsonBody(body): JsonBody<LegacyPolicyView>,
) -> Result<Json<ShownLegacyPolicy>, Refusal> {
    set_of(&state, &caller, Some(&namespace), &body).await
}

/// Removes the policy for legacy credentials of a namespace
///
/// The default applies again.
#[utoipa::path(
    delete,
    path = "/v2/functions/namespaces/{namespace_id}/legacy-policy",
    operation_id = "unset_legacy_policy",
    tag = "Legacy credentials",
    params(("namespace_id" = String, Path, description = "The namespace.")),
    responses((status = 200, description = "It is removed.", body = Done)),
)]
pub(crate) async fn unset(
    State(state): State<Arc<AppState>>,
    caller: CallerContext,
    Path(namespace): Path<String>,
) -> Result<Json<Done>, Refusal> {
    unset_of(&state, &caller, Some(&namespace)).await
}

/// Shows the default policy for legacy credentials
///
/// It applies to every namespace without a policy. For operators.
#[utoipa::path(
    get,
    path = "/v1/legacy-policy",
    operation_id = "show_default_legacy_policy",
    tag = "Legacy credentials",
    responses((status = 200, description = "The policy that applies.", body = ShownLegacyPolicy)),
)]
pub(crate) async fn show_default(
    State(state): State<Arc<AppState>>,
    caller: CallerContext,
) -> Result<Json<ShownLegacyPolicy>, Refusal> {
    show_of(&state, &caller, None).await
}

/// Sets the default policy for legacy credentials
///
/// It applies to every namespace without a policy. For operators.
#[utoipa::path(
    put,
    path = "/v1/legacy-policy",
    operation_id = "set_default_legacy_policy",
    tag = "Legacy credentials",
    request_body = LegacyPolicyView,
    responses((status = 200, description = "The policy that applies now.", body = ShownLegacyPolicy)),
)]
pub(crate) async fn set_default(
    State(state): State<Arc<AppState>>,
    caller: CallerContext,
    JsonBody(body): JsonBody<LegacyPolicyView>,
) -> Result<Json<ShownLegacyPolicy>, Refusal> {
    set_of(&state, &caller, None, &body).await
}

/// Removes the default policy for legacy credentials
///
/// The built-in policy applies again: no legacy credential is accepted. For operators.
#[utoipa::path(
    delete,
    path = "/v1/legacy-policy",
    operation_id = "unset_default_legacy_policy",
    tag = "Legacy credentials",
    responses((status = 200, description = "It is removed.", body = Done)),
)]
pub(crate) async fn unset_default(
    State(state): State<Arc<AppState>>,
    caller: CallerContext,
) -> Result<Json<Done>, Refusal> {
    unset_of(&state, &caller, None).await
}

/// Stops accepting the legacy credentials of a namespace
///
/// At once, and reversibly: the answer holds the policy before, and a `PUT` of that policy undoes the
/// cut-off. If it was inherited, `DELETE` of the policy undoes the cut-off: a `PUT` would detach the
/// namespace from the default policy.
#[utoipa::path(
    post,
    path = "/v2/functions/namespaces/{namespace_id}/legacy-policy/cut-off",
    operation_id = "cut_off_legacy",
    tag = "Legacy credentials",
    params(("namespace_id" = String, Path, description = "The namespace.")),
    request_body = Option<ReasonBody>,
    responses((status = 200, description = "They are no longer accepted.", body = CutOff)),
)]
pub(crate) async fn cut_off(
    State(state): State<Arc<AppState>>,
    caller: CallerContext,
    Path(namespace): Path<String>,
    OptionalJson(why): OptionalJson<ReasonBody>,
) -> Result<Json<CutOff>, Refusal> {
    caller.require(Call::SetLegacy)?;
    let tenant = state.tenant(&caller, &namespace).await?;
    let before = state.keyring.legacy_policy(Some(&tenant)).await?;
    let default = state.keyring.legacy_policy(None).await?;
    let live = state
        .keyring
        .count_live(&Target::Namespace(tenant.clone()), caller.now())
        .await?;
    let context = caller.context_for(why.reason.as_deref())?;
    state
        .keyring
        .set_legacy_policy(&context, Some(&tenant), Some(LegacyPolicy::Off))
        .await?;
    Ok(Json(CutOff {
        policy: LegacyPolicyView::from(&LegacyPolicy::Off),
        previous: LegacyPolicyView::from(&before),
        inherited: before == default,
        credentials: live.legacy,
    }))
}

/// A cut-off, and what undoes it.
#[derive(Serialize, ToSchema)]
pub(crate) struct CutOff {
    /// The policy that applies now.
    policy: LegacyPolicyView,
    /// The policy before: setting it again undoes the cut-off.
    previous: LegacyPolicyView,
    /// Whether that is the default policy: then `DELETE` of the policy undoes the cut-off.
    inherited: bool,
    /// How many credentials of the namespace are not accepted for this reason alone: neither revoked
    /// nor blocked.
    credentials: u64,
}

/// Revokes a legacy credential permanently
///
/// It stops working for everybody who shares it. One that is revoked stays so.
#[utoipa::path(
    post,
    path = "/v2/functions/namespaces/{namespace_id}/legacy/{legacy_id}/revoke",
    operation_id = "revoke_legacy",
    tag = "Legacy credentials",
    params(
        ("namespace_id" = String, Path, description = "The namespace."),
        ("legacy_id" = String, Path, description = "The credential's UUID."),
    ),
    request_body = Option<ReasonBody>,
    responses((status = 200, description = "It is revoked.", body = Done)),
)]
pub(crate) async fn revoke(
    State(state): State<Arc<AppState>>,
    caller: CallerContext,
    Path((namespace, legacy)): Path<(String, String)>,
    OptionalJson(why): OptionalJson<ReasonBody>,
) -> Result<Json<Done>, Refusal> {
    caller.require(Call::SetLegacy)?;
    let tenant = state.tenant(&caller, &namespace).await?;
    let id = LegacyId::parse(legacy.as_bytes()).map_err(|_| Refusal::NOT_FOUND)?;
    let context = caller.context_for(why.reason.as_deref())?;
    state.keyring.revoke_legacy(&context, &tenant, id).await?;
    Ok(Json(Done {}))
}

/// Reports who still uses legacy credentials
///
/// In every team, for operators.
#[utoipa::path(
    get,
    path = "/v1/legacy",
    operation_id = "report_legacy",
    tag = "Legacy credentials",
    params(ReportOf),
    responses((status = 200, description = "Their use, by namespace.", body = Report)),
)]
pub(crate) async fn report(
    State(state): State<Arc<AppState>>,
    caller: CallerContext,
    Query(of): Query<ReportOf>,
) -> Result<Response, Refusal> {
    caller.require(Call::Operate)?;
    stream::answer(ReportParts::new(state, None, &of, caller.now())?).await
}

/// Reports who in a team still uses legacy credentials
#[utoipa::path(
    get,
    path = "/v1/teams/{team_id}/legacy",
    operation_id = "report_team_legacy",
    tag = "Legacy credentials",
    params(
        ("team_id" = String, Path, description = "The team."),
        ReportOf,
    ),
    responses((status = 200, description = "Their use, by namespace.", body = Report)),
)]
pub(crate) async fn report_team(
    State(state): State<Arc<AppState>>,
    caller: CallerContext,
    Path(team): Path<String>,
    Query(of): Query<ReportOf>,
) -> Result<Response, Refusal> {
    let team = caller.require_team(Call::ReadLegacy, &team)?;
    stream::answer(ReportParts::new(state, Some(team), &of, caller.now())?).await
}

async fn show_of(
    state: &AppState,
    caller: &CallerContext,
    namespace: Option<&str>,
) -> Result<Json<ShownLegacyPolicy>, Refusal> {
    let place = state
        .policy_place(caller, Call::ReadLegacy, namespace)
        .await?;
    let policy = state.keyring.legacy_policy(place.as_ref()).await?;
    Ok(Json(ShownLegacyPolicy::new(&policy)))
}

async fn set_of(
    state: &AppState,
    caller: &CallerContext,
    namespace: Option<&str>,
    body: &LegacyPolicyView,
) -> Result<Json<ShownLegacyPolicy>, Refusal> {
    let place = state
        .policy_place(caller, Call::SetLegacy, namespace)
        .await?;
    let policy = body.parse()?;
    let shown = ShownLegacyPolicy::new(&policy);
    state
        .keyring
        .set_legacy_policy(&caller.context(), place.as_ref(), Some(policy))
        .await?;
    Ok(Json(shown))
}

async fn unset_of(
    state: &AppState,
    caller: &CallerContext,
    namespace: Option<&str>,
) -> Result<Json<Done>, Refusal> {
    let place = state
        .policy_place(caller, Call::SetLegacy, namespace)
        .await?;
    state
        .keyring
        .set_legacy_policy(&caller.context(), place.as_ref(), None)
        .await?;
    Ok(Json(Done {}))
}
