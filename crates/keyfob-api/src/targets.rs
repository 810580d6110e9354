//! Removing and restoring a person, a service, a namespace or a team: the same steps for each.

use axum::Json;
use keyfob::store::Target;

use crate::{
    caller_context::CallerContext,
    refusal::Refusal,
    state::AppState,
    wire::{Done, ReasonBody},
};

impl AppState {
    pub(crate) async fn remove(
        &self,
        caller: &CallerContext,
        target: Target,
        why: &ReasonBody,
    ) -> Result<Json<Done>, Refusal> {
        let context = caller.context_for(why.reason.as_deref())?;
        self.keyring.remove(&context, target).await?;
        Ok(Json(Done {}))
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
