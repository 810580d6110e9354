//! The caller of a request, as the handlers use it.

use std::{ops::Deref, sync::Arc};

use axum::{extract::FromRequestParts, http::request::Parts};
use keyfob::{
    Context, Owner, Timestamp,
    name::{Reason, RequestId, TeamId},
};

use crate::{
    authority::{Call, Relation, decide},
    caller::Caller,
    refusal::Refusal,
    request_limits::Clock,
};

/// An authenticated caller, and the request that it made.
#[derive(Clone)]
pub(crate) struct CallerContext {
    caller: Arc<Caller>,
    request_id: RequestId,
    clock: Clock,
}

impl CallerContext {
    pub(crate) fn new(caller: Caller, request_id: RequestId, clock: Clock) -> Self {
        Self {
            caller: Arc::new(caller),
            request_id,
            clock,
        }
    }

    /// Reads the clock.
    pub(crate) fn now(&self) -> Timestamp {
        (self.clock)()
    }

    /// The context of a change that is made now: the audit trail names the caller, its credential
    /// and the request, and the store checks the caller's authority again when it keeps the change.
    ///
    /// A handler calls it after the body was read, since that can take as long as the caller likes.
    pub(crate) fn context(&self) -> Context {
        Context::new(self.actor.clone(), self.now())
            .with_authority(self.authority.clone())
            .with_request_id(self.request_id.clone())
    }

    /// The same, with a reason that the caller may have given.
    pub(crate) fn context_for(&self, reason: Option<&str>) -> Result<Context, Refusal> {
        let context = self.context();
        Ok(match reason {
            Some(reason) => context.with_reason(Reason::new(reason)?),
            None => context,
        })
    }

    /// Refuses a caller who may not make this call at all.
    pub(crate) fn require(&self, call: Call) -> Result<(), Refusal> {
        decide(call, self.rights, Relation::Own)
    }

    /// Refuses a caller who may not make this call on what belongs to `owner`.
    pub(crate) fn require_for(&self, call: Call, owner: &Owner) -> Result<(), Refusal> {
        decide(call, self.rights, Relation::of(self, owner))
    }

    /// The team that a path names, if the caller may make this call in it.
    pub(crate) fn require_team(&self, call: Call, team: &str) -> Result<TeamId, Refusal> {
        self.require(call)?;
        let team = TeamId::new(team).map_err(|_| Refusal::NOT_FOUND)?;
        if self.reaches(&team) {
            Ok(team)
        } else {
            Err(Refusal::NOT_FOUND)
        }
    }
}

impl Deref for CallerContext {
    type Target = Caller;

    fn deref(&self) -> &Caller {
        &self.caller
    }
}

impl<S: Sync> FromRequestParts<S> for CallerContext {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Refusal> {
        // Every route with this extractor is behind `admit`, which sets it.
        let caller = parts.extensions.get().cloned();
        caller.ok_or(Refusal::SERVER_ERROR)
    }
}
