//! Removing and restoring a person, a service, a namespace or a team: the same steps for each.

use axum::Json;
use keyfob::{
    manage::Error,
    store::{Conflict, LiveCount, Target},
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{
    caller_context::CallerContext,
    refusal::Refusal,
    state::AppState,
    wire::{Done, ReasonBody},
};

impl AppState {
    /// Removes a target that a field of the request names.
    pub(crate) async fn remove(
        &self,
        caller: &CallerContext,
        target: Target,
        field: &str,
        removal: &Removal,
    ) -> Result<Json<Revoked>, Refusal> {
        let context = caller.context_for(removal.reason.as_deref())?;
        let ended = if removal.in_advance == Some(true) {
            self.keyring.remove_in_advance(&context, target).await
        } else {
            self.keyring.remove(&context, target).await
        };
        let ended = ended.map_err(|error| unknown(field, error))?;
        Ok(Json(Revoked::from(ended)))
    }

    pub(crate) async fn restore(
        &self,
        caller: &CallerContext,
        target: Target,
        why: &ReasonBody,
    ) -> Result<Json<Done>, Refusal> {
        let context = caller.context_for(why.reason.as_deref())?;
        self.keyring.restore(&context, target).await?;
        Ok(Json(Done {}))
    }
}

/// The refusal for an error about a target that a field names.
pub(crate) fn unknown(field: &str, error: Error) -> Refusal {
    match &error {
        Error::Conflict(Conflict::UnknownTarget(_)) => {
            Refusal::not_found(format!("{field}: {error}"))
        }
        _ => error.into(),
    }
}

/// How to remove somebody.
#[derive(Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Removal {
    /// The reason, for the audit trail.
    #[schema(min_length = 1, max_length = 500)]
    pub(crate) reason: Option<String>,
    /// Whether it may be unknown. Left out: one that has no key is not found, since the name may be
    /// mistyped.
    pub(crate) in_advance: Option<bool>,
}

impl From<ReasonBody> for Removal {
    fn from(body: ReasonBody) -> Self {
        Self {
            reason: body.reason,
            in_advance: None,
        }
    }
}

/// What was revoked, counted just before: a key that was created in between is revoked and not
/// counted. The numbers are null if they could not be counted.
#[derive(Serialize, ToSchema)]
#[expect(clippy::struct_field_names, reason = "the names of JSON fields")]
pub(crate) struct Revoked {
    /// How many keys were revoked, without those that were revoked or expired already.
    #[schema(required, examples(3))]
    keys_revoked: Option<u64>,
    /// How many legacy credentials were revoked.
    #[schema(required, examples(0))]
    legacy_revoked: Option<u64>,
    /// How many keys the person or service created for others of the team: these still work.
    #[schema(required, examples(1))]
    keys_created_for_others: Option<u64>,
}

impl From<Option<LiveCount>> for Revoked {
    fn from(ended: Option<LiveCount>) -> Self {
        Self {
            keys_revoked: ended.map(|ended| ended.keys),
            legacy_revoked: ended.map(|ended| ended.legacy),
            keys_created_for_others: ended.map(|ended| ended.created_for_others),
        }
    }
}
