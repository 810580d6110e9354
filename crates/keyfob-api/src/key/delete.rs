//! `DELETE …/keys/{key_id}`

use std::sync::Arc;

use axum::{
    Json as Answer,
    extract::{Path, State},
};
use keyfob::KeyStore;
use serde::Serialize;
use utoipa::ToSchema;

use crate::{
    admission::Admitted, authority::Call, control_plane::Plane, key::precondition::IfMatch,
    refusal::Refusal,
};

/// Deletes an access key
///
/// It ends at once; only the audit trail remembers it. To keep it in lists, revoke it.
#[utoipa::path(
    delete,
    path = "/v2/functions/namespaces/{namespace_id}/keys/{key_id}",
    operation_id = "delete_key",
    tag = "Access keys",
    params(
        ("namespace_id" = String, Path, description = "The namespace."),
        ("key_id" = String, Path, description = "The key's public identifier."),
        ("If-Match" = Option<String>, Header, description = "The `ETag` of the key that was seen."),
    ),
    responses(
        (status = 200, description = "It is gone.", body = Done),
        (status = 412, description = "The key was changed since it was seen."),
    ),
)]
pub(crate) async fn handle<S: KeyStore + 'static>(
    State(plane): State<Arc<Plane<S>>>,
    asked: Admitted,
    Path((namespace, key)): Path<(String, String)>,
    if_match: IfMatch,
) -> Result<Answer<Done>, Refusal> {
    let info = plane.key(&asked, Call::DeleteKey, &namespace, &key).await?;
    if_match.hold(&info)?;
    let context = asked.context();
    plane
        .keyring
        .delete(&context, &info.tenant, info.id)
        .await?;
    Ok(Answer(Done {}))
}

/// `{}`: it was done.
#[derive(Serialize, ToSchema)]
pub(crate) struct Done {}
