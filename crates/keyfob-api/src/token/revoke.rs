//! `POST /v1/revoke`

use std::sync::Arc;

use axum::{
    Json as Answer,
    extract::{Extension, State},
    response::{IntoResponse, Response},
};
use keyfob::{Actor, Context, KeyStore, name::Reason};

use crate::{
    control_plane::Plane,
    frame::Facts,
    key::Done,
    rate::Source,
    refusal::Refusal,
    token::{end::By, presented::Presented},
};

/// Revokes a key by its own text
///
/// As RFC 7009 has it: whoever holds a key may end it, and needs no other. The answer is the same
/// for a text that is no key. A legacy credential is shared, and is not ended by one of those who
/// hold it.
#[utoipa::path(
    post,
    path = "/v1/revoke",
    operation_id = "revoke_by_holder",
    tag = "Credentials at hand",
    security(()),
    request_body(content(
        (Presented = "application/x-www-form-urlencoded"),
        (Presented = "application/json"),
    )),
    responses((status = 200, description = "If it was a key, it is revoked.", body = Done)),
)]
pub(crate) async fn handle<S: KeyStore + 'static>(
    State(plane): State<Arc<Plane<S>>>,
    Extension(facts): Extension<Facts>,
    source: Source,
    presented: Presented,
) -> Result<Response, Refusal> {
    let context = Context::new(Actor::system(), facts.now)
        .with_request_id(facts.request_id)
        .with_reason(Reason::new("revoked by its holder")?);
    let text = presented.as_bytes();
    let mut allowance = None;
    // Looking for a credential that is not known here asks the store: guesses are counted first.
    if !plane.knows(text, facts.now)? {
        match plane.gate.attempt(source) {
            Ok(left) => allowance = Some(left),
            Err((refusal, left)) => {
                let mut response = refusal.into_response();
                response.extensions_mut().insert(left);
                return Ok(response);
            }
        }
    }
    plane.end(text, context, By::Holder).await?;
    let mut response = Answer(Done {}).into_response();
    if let Some(allowance) = allowance {
        response.extensions_mut().insert(allowance);
    }
    Ok(response)
}
