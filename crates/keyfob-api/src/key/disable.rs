//! `POST …/keys/{key_id}/disable`

use std::sync::Arc;

use axum::{
    extract::{Path, State},
    response::Response,
};
use keyfob::KeyStore;

use crate::{
    admission::Admitted,
    authority::Call,
    body::OptionalJson,
    control_plane::Plane,
    key::{asked::Because, precondition::IfMatch, show::ShownKey},
    refusal::Refusal,
};

/// Switches an access key off
///
/// It does not work until it is switched on again. One that is off stays so.
#[utoipa::path(
    post,
    path = "/v2/functions/namespaces/{namespace_id}/keys/{key_id}/disable",
    operation_id = "disable_key",
    tag = "Access keys",
    params(
        ("namespace_id" = String, Path, description = "The namespace."),
        ("key_id" = String, Path, description = "The key's public identifier."),
        ("If-Match" = Option<String>, Header, description = "The `ETag` of the key that was seen."),
    ),
    request_body = Option<Because>,
    responses(
        (status = 200, description = "It is off.", body = ShownKey),
        (status = 409, description = "The key is revoked."),
        (status = 412, description = "The key was changed since it was seen."),
    ),
)]
pub(crate) async fn handle<S: KeyStore + 'static>(
    State(plane): State<Arc<Plane<S>>>,
    asked: Admitted,
    Path((namespace, key)): Path<(String, String)>,
    if_match: IfMatch,
    OptionalJson(why): OptionalJson<Because>,
) -> Result<Response, Refusal> {
    let info = plane
        .key(&asked, Call::DisableKey, &namespace, &key)
        .await?;
    if_match.hold(&info)?;
    let context = asked.context_because(why.reason.as_deref())?;
    let info = plane
        .keyring
        .disable(&context, &info.tenant, info.id)
        .await?;
    plane.answer(&asked, &info).await
}
