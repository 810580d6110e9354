//! Policies for keys: of a namespace, and the default.

use std::{sync::Arc, time::Duration};

use axum::{
    Json,
    extract::{Path, State},
};
use keyfob::{Ttl, manage::Policy};
use serde::{Deserialize, Deserializer, Serialize};
use utoipa::ToSchema;

use crate::{
    authority::Call,
    body::{JsonBody, Query},
    caller_context::CallerContext,
    refusal::Refusal,
    state::AppState,
    wire::Done,
};

/// Shows the policy for keys of a namespace
#[utoipa::path(
    get,
    path = "/v2/functions/namespaces/{namespace_id}/policy",
    operation_id = "show_policy",
    tag = "Policies",
    params(("namespace_id" = String, Path, description = "The namespace."), PolicyOf),
    responses((status = 200, description = "The policy that applies.", body = ShownPolicy)),
)]
pub(crate) async fn show(
    State(state): State<Arc<AppState>>,
    caller: CallerContext,
    Path(namespace): Path<String>,
    Query(of): Query<PolicyOf>,
) -> Result<Json<ShownPolicy>, Refusal> {
    let place = state
        .policy_place(&caller, Call::ReadPolicy, Some(&namespace))
        .await?;
    let place = match of.of.as_deref() {
        None => place,
        Some("default") => None,
        Some(_) => return Err(Refusal::bad_request("of: must be default")),
    };
    let policy = state.keyring.policy(place.as_ref()).await?;
    Ok(Json(ShownPolicy::new(&policy)))
}

/// Which policy to show.
#[derive(Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct PolicyOf {
    /// `default`: the policy that would apply to the namespace without one of its own.
    #[param(example = "default")]
    of: Option<String>,
}

/// Sets the policy for keys of a namespace
#[utoipa::path(
    put,
    path = "/v2/functions/namespaces/{namespace_id}/policy",
    operation_id = "set_policy",
    tag = "Policies",
    params(("namespace_id" = String, Path, description = "The namespace.")),
    request_body = SetPolicy,
    responses((status = 200, description = "The policy that applies now.", body = ShownPolicy)),
)]
pub(crate) async fn set(
    State(state): State<Arc<AppState>>,
    caller: CallerContext,
    Path(namespace): Path<String>,
    JsonBody(body): JsonBody<SetPolicy>,
) -> Result<Json<ShownPolicy>, Refusal> {
    set_of(&state, &caller, Some(&namespace), &body).await
}

/// Removes the policy for keys of a namespace
///
/// The default applies again.
#[utoipa::path(
    delete,
    path = "/v2/functions/namespaces/{namespace_id}/policy",
    operation_id = "unset_policy",
    tag = "Policies",
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

/// Shows the default policy for keys
///
/// It applies to every namespace without a policy. For operators.
#[utoipa::path(
    get,
    path = "/v1/policy",
    operation_id = "show_default_policy",
    tag = "Policies",
    responses((status = 200, description = "The policy that applies.", body = ShownPolicy)),
)]
pub(crate) async fn show_default(
    State(state): State<Arc<AppState>>,
    caller: CallerContext,
) -> Result<Json<ShownPolicy>, Refusal> {
    caller.require(Call::Operate)?;
    let policy = state.keyring.policy(None).await?;
    Ok(Json(ShownPolicy::new(&policy)))
}

/// Sets the default policy for keys
///
/// It applies to every namespace without a policy. For operators.
#[utoipa::path(
    put,
    path = "/v1/policy",
    operation_id = "set_default_policy",
    tag = "Policies",
    request_body = SetPolicy,
    responses((status = 200, description = "The policy that applies now.", body = ShownPolicy)),
)]
pub(crate) async fn set_default(
    State(state): State<Arc<AppState>>,
    caller: CallerContext,
    JsonBody(body): JsonBody<SetPolicy>,
) -> Result<Json<ShownPolicy>, Refusal> {
    set_of(&state, &caller, None, &body).await
}

/// Removes the default policy for keys
///
/// The built-in policy applies again. For operators.
#[utoipa::path(
    delete,
    path = "/v1/policy",
    operation_id = "unset_default_policy",
    tag = "Policies",
    responses((status = 200, description = "It is removed.", body = Done)),
)]
pub(crate) async fn unset_default(
    State(state): State<Arc<AppState>>,
    caller: CallerContext,
) -> Result<Json<Done>, Refusal> {
    unset_of(&state, &caller, None).await
}

async fn set_of(
    state: &AppState,
    caller: &CallerContext,
    namespace: Option<&str>,
    body: &SetPolicy,
) -> Result<Json<ShownPolicy>, Refusal> {
    let place = state
        .policy_place(caller, Call::SetPolicy, namespace)
        .await?;
    let policy = body.parse()?;
    let shown = ShownPolicy::new(&policy);
    state
        .keyring
        .set_policy(&caller.context(), place.as_ref(), Some(policy))
        .await?;
    Ok(Json(shown))
}

async fn unset_of(
    state: &AppState,
    caller: &CallerContext,
    namespace: Option<&str>,
) -> Result<Json<Done>, Refusal> {
    let place = state
        .policy_place(caller, Call::SetPolicy, namespace)
        .await?;
    state
        .keyring
        .set_policy(&caller.context(), place.as_ref(), None)
        .await?;
    Ok(Json(Done {}))
}

/// A policy for keys.
#[derive(Serialize, ToSchema)]
pub(crate) struct ShownPolicy {
    policy: PolicyView,
}

/// What keys may be created.
#[derive(Serialize, ToSchema)]
#[schema(as = Policy)]
struct PolicyView {
    /// The shortest life of a secret.
    #[schema(examples("1h"))]
    min_expires_in: String,
    /// The longest life of a secret; null for no limit.
    #[schema(required, examples("90d"))]
    max_expires_in: Option<String>,
    /// Whether a key must have an expiry.
    expiry_required: bool,
    /// How many live keys one owner may have in the namespace; null for no limit.
    #[schema(required)]
    keys_per_owner: Option<u32>,
    /// Whether the name of a live key is unique among its owner's in the namespace.
    unique_names: bool,
    /// The longest grace period of a rotation, in seconds.
    max_grace_seconds: u64,
}

impl ShownPolicy {
    fn new(policy: &Policy) -> Self {
        Self {
            policy: PolicyView {
                min_expires_in: policy.min_ttl.to_string(),
                max_expires_in: policy.max_ttl.map(|ttl| ttl.to_string()),
                expiry_required: policy.expiry_required,
                keys_per_owner: policy.keys_per_owner,
                unique_names: policy.unique_names,
                max_grace_seconds: policy.max_grace.as_secs(),
            },
        }
    }
}

/// What keys may be created. It is set as a whole: what is left out is as in the built-in policy.
///
/// A lowered `max_expires_in` also ends the lives of existing keys.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct SetPolicy {
    /// The shortest life of a secret, `1h` or more.
    #[schema(pattern = "^(0|[1-9][0-9]*)[hd]$", examples("1h"))]
    min_expires_in: Option<String>,
    /// The longest life of a secret.
    #[schema(pattern = "^(0|[1-9][0-9]*)[hd]$", examples("90d"))]
    max_expires_in: Option<String>,
    /// Whether a key must have an expiry.
    expiry_required: Option<bool>,
    /// How many live keys one owner may have in the namespace; null for no limit.
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<u32>, format = Int64, maximum = 4_294_967_295_u32)]
    #[expect(clippy::option_option, reason = "null is not the same as left out")]
    keys_per_owner: Option<Option<u32>>,
    /// Whether the name of a live key is unique among its owner's in the namespace.
    unique_names: Option<bool>,
    /// The longest grace period of a rotation, in seconds: ten years at most.
    #[schema(maximum = 315_360_000)]
    max_grace_seconds: Option<u64>,
}

impl SetPolicy {
    fn parse(&self) -> Result<Policy, Refusal> {
        let built_in = Policy::default();
        let min_ttl = match &self.min_expires_in {
            Some(text) => parse_ttl("min_expires_in", text)?,
            None => built_in.min_ttl,
        };
        let max_ttl = match &self.max_expires_in {
            Some(text) => Some(parse_ttl("max_expires_in", text)?),
            None => None,
        };
        if max_ttl.is_some_and(|max| max < min_ttl) {
            return Err(Refusal::bad_request(
                "max_expires_in: shorter than min_expires_in",
            ));
        }
        let max_grace = self.max_grace_seconds.map(Duration::from_secs);
        if max_grace > Some(GRACE_MAX) {
            return Err(Refusal::bad_request(
                "max_grace_seconds: longer than ten years",
            ));
        }
        Ok(Policy {
            min_ttl,
            max_ttl,
            expiry_required: self.expiry_required.unwrap_or(built_in.expiry_required),
            keys_per_owner: self.keys_per_owner.unwrap_or(built_in.keys_per_owner),
            unique_names: self.unique_names.unwrap_or(built_in.unique_names),
            max_grace: max_grace.unwrap_or(built_in.max_grace),
        })
    }
}

/// Reads a field that may be null, which is not the same as left out.
#[expect(clippy::option_option, reason = "null is not the same as left out")]
fn given<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Option<u32>>, D::Error> {
    Option::deserialize(deserializer).map(Some)
}

/// Ten years.
const GRACE_MAX: Duration = Duration::from_hours(24 * 3_650);

fn parse_ttl(field: &str, text: &str) -> Result<Ttl, Refusal> {
    text.parse().map_err(|_| {
        Refusal::bad_request(format!(
            "{field}: not a whole number of hours or days, 1h or more"
        ))
    })
}
