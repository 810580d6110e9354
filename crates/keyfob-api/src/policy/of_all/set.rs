//! `PUT /v1/policy`

use std::sync::Arc;

use axum::{Json as Answer, extract::State};
use keyfob::KeyStore;

use crate::{
    admission::Admitted,
    authority::Call,
    body::Json,
    control_plane::Plane,
    policy::{PolicyView, SetPolicy, ShownPolicy},
    refusal::Refusal,
};

/// Sets the policy for keys of all namespaces
///
/// It holds where a namespace has none of its own. For operators.
#[utoipa::path(
    put,
    path = "/v1/policy",
    operation_id = "set_policy_of_all",
    tag = "Policies",
    request_body = SetPolicy,
    responses((status = 200, description = "The policy that holds now.", body = ShownPolicy)),
)]
pub(crate) async fn handle<S: KeyStore + 'static>(
    State(plane): State<Arc<Plane<S>>>,
    asked: Admitted,
    Json(body): Json<SetPolicy>,
) -> Result<Answer<ShownPolicy>, Refusal> {
    asked.may(Call::Operate)?;
    let policy = body.parse()?;
    let context = asked.context();
    let view = PolicyView::from(&policy);
    plane
        .keyring
        .set_policy(&context, None, Some(policy))
        .await?;
    Ok(Answer(ShownPolicy { policy: view }))
}
