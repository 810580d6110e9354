//! `POST /v2/functions/namespaces/{namespace_id}/remove`

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

/// Removes a namespace
///
/// None of its keys works any more, legacy credentials included, and none can be made in it.
#[utoipa::path(
    post,
    path = "/v2/functions/namespaces/{namespace_id}/remove",
    operation_id = "remove_namespace",
    tag = "Namespaces",
    params(("namespace_id" = String, Path, description = "The namespace.")),
    request_body = Option<Because>,
    responses(
        (status = 200, description = "It is removed.", body = Done),
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
    plane.keyring.remove_namespace(&context, &tenant).await?;
    Ok(Answer(Done {}))
}
