//! `GET /v1/policy`

use std::sync::Arc;

use axum::{Json as Answer, extract::State};
use keyfob::KeyStore;

use crate::{
    admission::Admitted,
    authority::Call,
    control_plane::Plane,
    policy::{PolicyView, ShownPolicy, nowhere},
    refusal::Refusal,
};

/// Shows the policy for keys of all namespaces
///
/// It holds where a namespace has none of its own. For operators.
#[utoipa::path(
    get,
    path = "/v1/policy",
    operation_id = "show_policy_of_all",
    tag = "Policies",
    responses((status = 200, description = "The policy that holds.", body = ShownPolicy)),
)]
pub(crate) async fn handle<S: KeyStore + 'static>(
    State(plane): State<Arc<Plane<S>>>,
    asked: Admitted,
) -> Result<Answer<ShownPolicy>, Refusal> {
    asked.may(Call::Operate)?;
    let tenant = nowhere(&asked)?;
    let policy = plane.keyring.policy(&tenant).await?;
    let policy = PolicyView::from(&policy);
    Ok(Answer(ShownPolicy { policy }))
}
