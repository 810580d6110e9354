//! `DELETE /v2/functions/namespaces/{namespace_id}`

use std::sync::Arc;

use axum::{
    extract::{Path, State},
    http::StatusCode,
};
use keyfob::KeyStore;

use crate::{admission::Admitted, authority::Call, control_plane::Plane, refusal::Refusal};

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
pub(crate) async fn handle<S: KeyStore + 'static>(
    State(plane): State<Arc<Plane<S>>>,
    asked: Admitted,
    Path(namespace): Path<String>,
) -> Result<StatusCode, Refusal> {
    asked.may(Call::RemoveNamespace)?;
    let record = plane.named(&asked, &namespace).await?;
    if record.removed {
        return Err(Refusal::NOT_FOUND);
    }
    let context = asked.context();
    plane
        .keyring
        .remove_namespace(&context, &record.tenant)
        .await?;
    Ok(StatusCode::NO_CONTENT)
}
