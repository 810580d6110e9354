//! `DELETE /v1/policy`

use std::sync::Arc;

use axum::{Json as Answer, extract::State};
use keyfob::KeyStore;

use crate::{
    admission::Admitted, authority::Call, control_plane::Plane, key::Done, refusal::Refusal,
};

/// Takes back the policy for keys of all namespaces
///
/// The built-in one holds again. For operators.
#[utoipa::path(
    delete,
    path = "/v1/policy",
    operation_id = "unset_policy_of_all",
    tag = "Policies",
    responses((status = 200, description = "It is taken back.", body = Done)),
)]
pub(crate) async fn handle<S: KeyStore + 'static>(
    State(plane): State<Arc<Plane<S>>>,
    asked: Admitted,
) -> Result<Answer<Done>, Refusal> {
    asked.may(Call::Operate)?;
    let context = asked.context();
    plane.keyring.set_policy(&context, None, None).await?;
    Ok(Answer(Done {}))
}
