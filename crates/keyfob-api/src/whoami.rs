//! `GET /v1/caller`

use std::sync::Arc;

use axum::{Json as Answer, extract::State};
use keyfob::KeyStore;
use serde::Serialize;
use utoipa::ToSchema;

use crate::{
    admission::Admitted, caller::Right, control_keys::control_namespace, control_plane::Plane,
    key::ActorView, refusal::Refusal,
};

/// Tells who calls, and what they may
#[utoipa::path(
    get,
    path = "/v1/caller",
    operation_id = "show_caller",
    tag = "Caller",
    responses((status = 200, description = "The caller.", body = CallerView)),
)]
pub(crate) async fn handle<S: KeyStore + 'static>(
    State(plane): State<Arc<Plane<S>>>,
    asked: Admitted,
) -> Result<Answer<CallerView>, Refusal> {
    let caller = &asked.caller;
    let control = control_namespace(&caller.team).ok();
    Ok(Answer(CallerView {
        actor: ActorView::new(&caller.actor, plane.format()),
        team: caller.team.as_str().to_owned(),
        rights: caller.rights.iter().map(Right::as_str).collect(),
        control_namespace: control.map(|namespace| namespace.as_str().to_owned()),
    }))
}

/// Who calls.
#[derive(Serialize, ToSchema)]
#[schema(as = Caller)]
pub(crate) struct CallerView {
    /// The person or service, and their credential.
    actor: ActorView,
    /// Their team.
    team: String,
    /// What they may, with all that is in it.
    #[schema(value_type = Vec<String>, examples(json!(["function:read", "function:admin"])))]
    rights: Vec<&'static str>,
    /// The namespace of the team's control keys.
    #[schema(required)]
    control_namespace: Option<String>,
}
