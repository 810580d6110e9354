//! `POST …/keys/{key_id}/rotate`

use std::sync::Arc;

use axum::{
    extract::{Path, State},
    http::StatusCode,
    response::Response,
};
use keyfob::{KeyStore, manage::Rotation};
use serde::Deserialize;
use utoipa::ToSchema;

use crate::{
    admission::Admitted,
    authority::Call,
    body::OptionalJson,
    control_keys::is_control,
    control_plane::Plane,
    key::{
        asked::parse_expiry,
        create::CreatedKey,
        precondition::IfMatch,
        scopes::{refuse_growth, refuse_takeover},
    },
    refusal::Refusal,
};

/// Gives an access key a new secret
///
/// The answer is the only one that holds it. The old secret works for as long as the grace, at
/// most until its own end. Without a grace it ends at once.
#[utoipa::path(
    post,
    path = "/v2/functions/namespaces/{namespace_id}/keys/{key_id}/rotate",
    operation_id = "rotate_key",
    tag = "Access keys",
    params(
        ("namespace_id" = String, Path, description = "The namespace."),
        ("key_id" = String, Path, description = "The key's public identifier."),
        ("If-Match" = Option<String>, Header, description = "The `ETag` of the key that was seen."),
    ),
    request_body = Option<RotateKey>,
    responses(
        (status = 200, description = "The key, with its new secret.", body = CreatedKey),
        (status = 409, description = "The key is revoked or expired, or another rotation was faster."),
        (status = 412, description = "The key was changed since it was seen."),
    ),
)]
pub(crate) async fn handle<S: KeyStore + 'static>(
    State(plane): State<Arc<Plane<S>>>,
    asked: Admitted,
    Path((namespace, key)): Path<(String, String)>,
    if_match: IfMatch,
    OptionalJson(body): OptionalJson<RotateKey>,
) -> Result<Response, Refusal> {
    let info = plane.key(&asked, Call::RotateKey, &namespace, &key).await?;
    refuse_takeover(&asked, &info.tenant, &info.scopes)?;
    let context = asked.context_because(body.reason.as_deref())?;
    let rotation = Rotation {
        grace_seconds: body.grace_seconds,
        renew: parse_expiry(body.expires_in.as_deref(), body.expires_at.as_deref())?,
    };
    refuse_growth(&asked, &info.tenant, rotation.renew.is_some())?;
    let expected = plane.forget_creation(&context, &info, if_match).await?;
    // Whoever was judged by what they take over must not get something else.
    let expected = expected.or(is_control(&info.tenant).then_some(info.revision));
    let (key, info) = plane
        .keyring
        .rotate(&context, &info.tenant, info.id, rotation, expected)
        .await
        .map_err(|error| if_match.decide(error))?;
    plane
        .answer_secret(&asked, StatusCode::OK, key, &info)
        .await
}

/// How to rotate.
#[derive(Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct RotateKey {
    /// For how many seconds the old secret works on, within the policy.
    #[schema(examples(3600))]
    grace_seconds: u64,
    /// How long the new secret works, from now on. Left out: until the key's end.
    #[schema(pattern = "^(0|[1-9][0-9]*)[hd]$", examples("90d"))]
    expires_in: Option<String>,
    /// The first moment at which the new secret no longer works, in place of `expires_in`.
    #[schema(format = DateTime)]
    expires_at: Option<String>,
    /// Why, for the audit trail.
    #[schema(min_length = 1, max_length = 500)]
    reason: Option<String>,
}
