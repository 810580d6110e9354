//! `PUT /v1/legacy-policy`

use std::sync::Arc;

use axum::{Json as Answer, extract::State};
use keyfob::KeyStore;

use crate::{
    admission::Admitted,
    authority::Call,
    body::Json,
    control_plane::Plane,
    legacy::{LegacyPolicyView, ShownLegacyPolicy},
    refusal::Refusal,
};

/// Sets the policy for legacy credentials of all namespaces
///
/// It holds where a namespace has none of its own. For operators.
#[utoipa::path(
    put,
    path = "/v1/legacy-policy",
    operation_id = "set_legacy_policy_of_all",
    tag = "Legacy credentials",
    request_body = LegacyPolicyView,
    responses((status = 200, description = "The policy that holds now.", body = ShownLegacyPolicy)),
)]
pub(crate) async fn handle<S: KeyStore + 'static>(
    State(plane): State<Arc<Plane<S>>>,
    asked: Admitted,
    Json(body): Json<LegacyPolicyView>,
) -> Result<Answer<ShownLegacyPolicy>, Refusal> {
    asked.may(Call::Operate)?;
    let policy = body.parse()?;
    let context = asked.context();
    let view = LegacyPolicyView::from(&policy);
    plane
        .keyring
        .set_legacy_policy(&context, None, Some(policy))
        .await?;
    Ok(Answer(ShownLegacyPolicy { policy: view }))
}
