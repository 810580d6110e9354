//! `GET /v2/functions/namespaces/{namespace_id}/legacy-policy`

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
    legacy::{LegacyPolicyView, ShownLegacyPolicy},
    refusal::Refusal,
};

/// Shows the policy for legacy credentials of a namespace
#[utoipa::path(
    get,
    path = "/v2/functions/namespaces/{namespace_id}/legacy-policy",
    operation_id = "show_legacy_policy",
    tag = "Legacy credentials",
    params(("namespace_id" = String, Path, description = "The namespace.")),
    responses((status = 200, description = "The policy that holds.", body = ShownLegacyPolicy)),
)]
pub(crate) async fn handle<S: KeyStore + 'static>(
    State(plane): State<Arc<Plane<S>>>,
    asked: Admitted,
    Path(namespace): Path<String>,
) -> Result<Answer<ShownLegacyPolicy>, Refusal> {
    asked.may(Call::ReadLegacy)?;
    let tenant = plane.tenant(&asked, &namespace).await?;
    let policy = plane.keyring.legacy_policy(&tenant).await?;
    let policy = LegacyPolicyView::from(&policy);
    Ok(Answer(ShownLegacyPolicy { policy }))
}
