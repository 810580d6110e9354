//! `GET /v2/functions/namespaces/{namespace_id}/policy`

use std::sync::Arc;

use axum::{
    Json as Answer,
    extract::{Path, State},
};
use keyfob::KeyStore;

use crate::{
    admission::Admitted,
    authority::Call,
    control_plane::Plane,
    policy::{PolicyView, ShownPolicy},
    refusal::Refusal,
};

/// Shows the policy for keys of a namespace
#[utoipa::path(
    get,
    path = "/v2/functions/namespaces/{namespace_id}/policy",
    operation_id = "show_policy",
    tag = "Policies",
    params(("namespace_id" = String, Path, description = "The namespace.")),
    responses((status = 200, description = "The policy that holds.", body = ShownPolicy)),
)]
pub(crate) async fn handle<S: KeyStore + 'static>(
    State(plane): State<Arc<Plane<S>>>,
    asked: Admitted,
    Path(namespace): Path<String>,
) -> Result<Answer<ShownPolicy>, Refusal> {
    asked.may(Call::ReadPolicy)?;
    let tenant = plane.tenant(&asked, &namespace).await?;
    let policy = plane.keyring.policy(&tenant).await?;
    let policy = PolicyView::from(&policy);
    Ok(Answer(ShownPolicy { policy }))
}
