//! The caller.

use std::sync::Arc;

use axum::{Json, extract::State};
use serde::Serialize;
use utoipa::ToSchema;

use crate::{
    caller::Right,
    caller_context::CallerContext,
    control_keys::control_namespace,
    state::AppState,
    wire::{ActorView, Moment},
};

/// Shows the caller and its rights
#[utoipa::path(
    get,
    path = "/v1/caller",
    operation_id = "show_caller",
    tag = "Caller",
    responses((status = 200, description = "The caller.", body = CallerView)),
)]
pub(crate) async fn show(
    State(state): State<Arc<AppState>>,
    caller: CallerContext,
) -> Json<CallerView> {
    let control = control_namespace(&caller.team).ok();
    Json(CallerView {
        actor: ActorView::new(&caller.actor, state.format()),
        team: caller.team.as_str().to_owned(),
        rights: caller.rights.iter().map(Right::as_str).collect(),
        control_namespace: control.map(|namespace| namespace.as_str().to_owned()),
        expires_at: caller.expires_at.map(Moment),
    })
}

/// The caller.
#[derive(Serialize, ToSchema)]
#[schema(as = Caller)]
pub(crate) struct CallerView {
    /// The person or service, and its credential.
    actor: ActorView,
    /// Its team.
    team: String,
    /// Its rights, with all that they include.
    #[schema(value_type = Vec<String>, example = json!(["function:read", "team:read"]))]
    rights: Vec<&'static str>,
    /// The namespace of the team's control keys.
    #[schema(required)]
    control_namespace: Option<String>,
    /// When its credential expires; null for never, or if that is not known.
    #[schema(required)]
    expires_at: Option<Moment>,
}
