//! `POST /v2/functions/namespaces/{namespace_id}/legacy/{legacy_id}/revoke`

use std::sync::Arc;

use axum::{
    Json as Answer,
    extract::{Path, State},
};
use keyfob::{KeyStore, legacy::LegacyId};

use crate::{
    admission::Admitted,
    authority::Call,
    body::OptionalJson,
    control_plane::Plane,
    key::{Because, Done},
    refusal::Refusal,
};

/// Revokes a legacy credential, for ever
///
/// Whoever shares it is cut off. One that is revoked stays so.
#[utoipa::path(
    post,
    path = "/v2/functions/namespaces/{namespace_id}/legacy/{legacy_id}/revoke",
    operation_id = "revoke_legacy",
    tag = "Legacy credentials",
    params(
        ("namespace_id" = String, Path, description = "The namespace."),
        ("legacy_id" = String, Path, description = "The credential's UUID."),
    ),
    request_body = Option<Because>,
    responses((status = 200, description = "It is revoked.", body = Done)),
)]
pub(crate) async fn handle<S: KeyStore + 'static>(
    State(plane): State<Arc<Plane<S>>>,
    asked: Admitted,
    Path((namespace, legacy)): Path<(String, String)>,
    OptionalJson(why): OptionalJson<Because>,
) -> Result<Answer<Done>, Refusal> {
    asked.may(Call::SetLegacy)?;
    let tenant = plane.tenant(&asked, &namespace).await?;
    let id = LegacyId::parse(legacy.as_bytes()).map_err(|_| Refusal::NOT_FOUND)?;
    let context = asked.context_because(why.reason.as_deref())?;
    plane.keyring.revoke_legacy(&context, &tenant, id).await?;
    Ok(Answer(Done {}))
}
