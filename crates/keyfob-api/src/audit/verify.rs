//! `GET /v1/audit/verification`

use std::sync::Arc;

use axum::{Json as Answer, extract::State};
use keyfob::{KeyStore, manage};
use serde::Serialize;
use utoipa::ToSchema;

use crate::{admission::Admitted, authority::Call, control_plane::Plane, refusal::Refusal};

/// Checks the whole audit trail
///
/// For operators. Keep the last hash elsewhere: a trail that is cut off at its end is only noticed
/// by somebody who has it.
#[utoipa::path(
    get,
    path = "/v1/audit/verification",
    operation_id = "verify_audit",
    tag = "Audit",
    responses((status = 200, description = "Whether the trail is whole.", body = Verification)),
)]
pub(crate) async fn handle<S: KeyStore + 'static>(
    State(plane): State<Arc<Plane<S>>>,
    asked: Admitted,
) -> Result<Answer<Verification>, Refusal> {
    asked.may(Call::Operate)?;
    match plane.keyring.verify_audit().await {
        Ok(hash) => Ok(Answer(Verification {
            intact: true,
            last_hash: Some(hash.to_string()),
            broken_at: None,
        })),
        Err(manage::Error::Audit(broken)) => {
            tracing::error!(
                revision = broken.revision.get(),
                "the audit trail is broken"
            );
            Ok(Answer(Verification {
                intact: false,
                last_hash: None,
                broken_at: Some(broken.revision.get()),
            }))
        }
        Err(error) => Err(error.into()),
    }
}

/// The outcome of a check of the audit trail.
#[derive(Serialize, ToSchema)]
pub(crate) struct Verification {
    /// Whether every event follows from the one before it.
    intact: bool,
    /// The hash of the last event; null if the trail is broken.
    #[schema(required)]
    last_hash: Option<String>,
    /// The first event that does not follow; null if all do.
    #[schema(required)]
    broken_at: Option<u64>,
}
