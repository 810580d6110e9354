//! `POST /v2/functions/namespaces/{namespace_id}/restore`

use std::sync::Arc;

use axum::{
    Json as Answer,
    extract::{Path, State},
};
use keyfob::KeyStore;

use crate::{
    admission::Admitted,
    authority::Call,
    body::OptionalJson,
    control_plane::Plane,
    key::{Because, Done},
    refusal::Refusal,
};

/// Restores a namespace
///
/// Keys can be made in it again. Those that were cut off stay so.
#[utoipa::path(
    post,
    path = "/v2/functions/namespaces/{namespace_id}/restore",
    operation_id = "restore_namespace",
    tag = "Namespaces",
    params(("namespace_id" = String, Path, description = "The namespace.")),
    request_body = Option<Because>,
    responses(
        (status = 200, description = "It is restored.", body = Done),
        (status = 409, description = "It was not removed."),
    ),
)]
pub(crate) async fn handle<S: KeyStore + 'static>(
    State(plane): State<Arc<Plane<S>>>,
    asked: Admitted,
    Path(namespace): Path<String>,
    OptionalJson(why): OptionalJson<Because>,
) -> Result<Answer<Done>, Refusal> {
    asked.may(Call::RemoveNamespace)?;
    let tenant = plane.named(&asked, &namespace).await?.tenant;
    let context = asked.context_because(why.reason.as_deref())?;
    plane.keyring.restore_namespace(&context, &tenant).await?;
    Ok(Answer(Done {}))
}
