//! `DELETE /v2/functions/namespaces/{namespace_id}/policy`

use std::sync::Arc;

use axum::{
    Json as Answer,
    extract::{Path, State},
};
use keyfob::KeyStore;

use crate::{
    admission::Admitted, authority::Call, control_plane::Plane, key::Done, refusal::Refusal,
};

/// Takes back the policy for keys of a namespace
///
/// The default holds again.
#[utoipa::path(
    delete,
    path = "/v2/functions/namespaces/{namespace_id}/policy",
    operation_id = "unset_policy",
    tag = "Policies",
    params(("namespace_id" = String, Path, description = "The namespace.")),
    responses((status = 200, description = "It is taken back.", body = Done)),
)]
pub(crate) async fn handle<S: KeyStore + 'static>(
    State(plane): State<Arc<Plane<S>>>,
    asked: Admitted,
    Path(namespace): Path<String>,
) -> Result<Answer<Done>, Refusal> {
    asked.may(Call::SetPolicy)?;
    let tenant = plane.tenant(&asked, &namespace).await?;
    let context = asked.context();
    plane
        .keyring
        .set_policy(&context, Some(&tenant), None)
        .await?;
    Ok(Answer(Done {}))
}
