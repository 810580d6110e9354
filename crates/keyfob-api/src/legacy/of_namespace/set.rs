//! `PUT /v2/functions/namespaces/{namespace_id}/legacy-policy`

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
    legacy::{LegacyPolicyView, ShownLegacyPolicy},
    refusal::Refusal,
};

/// Sets the policy for legacy credentials of a namespace
#[utoipa::path(
    put,
    path = "/v2/functions/namespaces/{namespace_id}/legacy-policy",
    operation_id = "set_legacy_policy",
    tag = "Legacy credentials",
    params(("namespace_id" = String, Path, description = "The namespace.")),
    request_body = LegacyPolicyView,
    responses((status = 200, description = "The policy that holds now.", body = ShownLegacyPolicy)),
)]
pub(crate) async fn handle<S: KeyStore + 'static>(
    State(plane): State<Arc<Plane<S>>>,
    asked: Admitted,
    Path(namespace): Path<String>,
    Json(body): Json<LegacyPolicyView>,
) -> Result<Answer<ShownLegacyPolicy>, Refusal> {
    asked.may(Call::SetLegacy)?;
    let tenant = plane.tenant(&asked, &namespace).await?;
    let policy = body.parse()?;
    let context = asked.context();
    let view = LegacyPolicyView::from(&policy);
    plane
        .keyring
        .set_legacy_policy(&context, Some(&tenant), Some(policy))
        .await?;
    Ok(Answer(ShownLegacyPolicy { policy: view }))
}
