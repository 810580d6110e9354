//! `POST /v2/functions/namespaces/{namespace_id}/legacy-policy/cut-off`

use std::sync::Arc;

use axum::{
    Json as Answer,
    extract::{Path, State},
};
use keyfob::{KeyStore, legacy::LegacyPolicy};
use serde::Serialize;
use utoipa::ToSchema;

use crate::{
    admission::Admitted, authority::Call, body::OptionalJson, control_plane::Plane, key::Because,
    legacy::LegacyPolicyView, policy::nowhere, refusal::Refusal,
};

/// Cuts off the legacy credentials of a namespace
///
/// At once, and reversibly: the answer holds the policy before, and setting that again (`PUT` on
/// the policy) undoes it. If it was inherited, `DELETE` of the policy undoes it: set again, it would
/// not follow the policy for all any more.
#[utoipa::path(
    post,
    path = "/v2/functions/namespaces/{namespace_id}/legacy-policy/cut-off",
    operation_id = "cut_off_legacy",
    tag = "Legacy credentials",
    params(("namespace_id" = String, Path, description = "The namespace.")),
    request_body = Option<Because>,
    responses((status = 200, description = "They are not accepted any more.", body = CutOff)),
)]
pub(crate) async fn handle<S: KeyStore + 'static>(
    State(plane): State<Arc<Plane<S>>>,
    asked: Admitted,
    Path(namespace): Path<String>,
    OptionalJson(why): OptionalJson<Because>,
) -> Result<Answer<CutOff>, Refusal> {
    asked.may(Call::SetLegacy)?;
    let tenant = plane.tenant(&asked, &namespace).await?;
    let context = asked.context_because(why.reason.as_deref())?;
    let before = plane.keyring.legacy_policy(&tenant).await?;
    let of_all = plane.keyring.legacy_policy(&nowhere(&asked)?).await?;
    let off = LegacyPolicy::Off;
    let policy = LegacyPolicyView::from(&off);
    plane
        .keyring
        .set_legacy_policy(&context, Some(&tenant), Some(off))
        .await?;
    Ok(Answer(CutOff {
        policy,
        previous: LegacyPolicyView::from(&before),
        inherited: before == of_all,
    }))
}

/// A cut-off, and what undoes it.
#[derive(Serialize, ToSchema)]
pub(crate) struct CutOff {
    /// The policy that holds now.
    policy: LegacyPolicyView,
    /// The policy before: setting it again undoes the cut-off.
    previous: LegacyPolicyView,
    /// Whether that is what the policy for all says: then `DELETE` of the policy undoes the cut-off.
    inherited: bool,
}
