//! `GET /v1/legacy-policy`

use std::sync::Arc;

use axum::{Json as Answer, extract::State};
use keyfob::KeyStore;

use crate::{
    admission::Admitted,
    authority::Call,
    control_plane::Plane,
    legacy::{LegacyPolicyView, ShownLegacyPolicy},
    policy::nowhere,
    refusal::Refusal,
};

/// Shows the policy for legacy credentials of all namespaces
///
/// It holds where a namespace has none of its own. For operators.
#[utoipa::path(
    get,
    path = "/v1/legacy-policy",
    operation_id = "show_legacy_policy_of_all",
    tag = "Legacy credentials",
    responses((status = 200, description = "The policy that holds.", body = ShownLegacyPolicy)),
)]
pub(crate) async fn handle<S: KeyStore + 'static>(
    State(plane): State<Arc<Plane<S>>>,
    asked: Admitted,
) -> Result<Answer<ShownLegacyPolicy>, Refusal> {
    asked.may(Call::Operate)?;
    let tenant = nowhere(&asked)?;
    let policy = plane.keyring.legacy_policy(&tenant).await?;
    let policy = LegacyPolicyView::from(&policy);
    Ok(Answer(ShownLegacyPolicy { policy }))
}
