//! `PUT /v2/functions/namespaces/{namespace_id}/policy`

use std::sync::Arc;

use axum::{
    Json as Answer,
    extract::{Path, State},
};
use keyfob::KeyStore;

use crate::{
    admission::Admitted,
    authority::Call,
    body::Json,
    control_plane::Plane,
    policy::{PolicyView, SetPolicy, ShownPolicy},
    refusal::Refusal,
};

/// Sets the policy for keys of a namespace
#[utoipa::path(
    put,
    path = "/v2/functions/namespaces/{namespace_id}/policy",
    operation_id = "set_policy",
    tag = "Policies",
    params(("namespace_id" = String, Path, description = "The namespace.")),
    request_body = SetPolicy,
    responses((status = 200, description = "The policy that holds now.", body = ShownPolicy)),
)]
pub(crate) async fn handle<S: KeyStore + 'static>(
    State(plane): State<Arc<Plane<S>>>,
    asked: Admitted,
    Path(namespace): Path<String>,
    Json(body): Json<SetPolicy>,
) -> Result<Answer<ShownPolicy>, Refusal> {
    asked.may(Call::SetPolicy)?;
    let tenant = plane.tenant(&asked, &namespace).await?;
    let policy = body.parse()?;
    let context = asked.context();
    let view = PolicyView::from(&policy);
    plane
        .keyring
        .set_policy(&context, Some(&tenant), Some(policy))
        .await?;
    Ok(Answer(ShownPolicy { policy: view }))
}
