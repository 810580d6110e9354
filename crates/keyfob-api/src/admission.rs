//! Letting in those who may call, as often as they may.

use std::sync::Arc;

use axum::{
    extract::{FromRequestParts, Request, State},
    http::request::Parts,
    middleware::Next,
    response::{IntoResponse, Response},
};
use keyfob::{
    Actor, Context, Owner, Timestamp,
    name::{Reason, TeamId},
};

use crate::{
    authenticate::Unauthenticated,
    authority::{Call, Relation, decide},
    caller::Caller,
    control_plane::Gate,
    frame::Facts,
    rate::{Allowance, Source, round_up},
    refusal::Refusal,
};

/// Asks who calls, and counts: each caller for itself, and strangers by where they come from.
///
/// A valid credential is never refused for what others tried: the bound on refused attempts is
/// only looked at once a credential was found wanting.
pub(crate) async fn admit(State(gate): State<Arc<Gate>>, request: Request, next: Next) -> Response {
    let (mut parts, body) = request.into_parts();
    let Some(facts) = parts.extensions.get::<Facts>().cloned() else {
        return Refusal::SERVER_ERROR.into_response();
    };
    let answer = gate.authenticate.authenticate(&parts, facts.now).await;
    let (caller, allowance) = match answer {
        Ok(caller) => match gate.callers.take(&RateKey::of(&caller)) {
            Ok(allowance) => (caller, allowance),
            Err((allowance, wait)) => {
                count("caller_rate");
                let refusal = Refusal::too_many_requests(round_up(wait).max(1));
                return refused(refusal, allowance);
            }
        },
        Err(error) => return gate.refuse(error, Source::of(&parts.extensions)),
    };
    tracing::debug!(caller = %caller.actor, team = caller.team.as_str(), "admitted");
    parts.extensions.insert(Admitted {
        caller: Arc::new(caller),
        facts,
    });
    let mut response = next.run(Request::from_parts(parts, body)).await;
    response.extensions_mut().insert(allowance);
    response
}

impl Gate {
    /// Refuses somebody who is not known, or not known here.
    fn refuse(&self, error: Unauthenticated, source: Source) -> Response {
        let (reason, refusal) = match error {
            Unauthenticated::Unavailable(reason) => {
                tracing::warn!(reason, "not available");
                count(reason);
                return refused(Refusal::UNAVAILABLE, self.refused.untouched());
            }
            Unauthenticated::Refused(reason) => (reason, Refusal::UNAUTHORIZED),
            Unauthenticated::Forbidden(reason) => (reason, Refusal::FORBIDDEN),
        };
        tracing::info!(reason, "refused");
        count(reason);
        match self.attempt(source) {
            Ok(allowance) => refused(refusal, allowance),
            Err((refusal, allowance)) => refused(refusal, allowance),
        }
    }

    /// Counts an attempt that failed.
    pub(crate) fn attempt(&self, source: Source) -> Result<Allowance, (Refusal, Allowance)> {
        self.refused.take(&source).map_err(|(allowance, wait)| {
            let wait = round_up(wait).max(1);
            (Refusal::too_many_requests(wait), allowance)
        })
    }
}

fn refused(refusal: Refusal, allowance: Allowance) -> Response {
    let mut response = refusal.into_response();
    response.extensions_mut().insert(allowance);
    response
}

fn count(reason: &'static str) {
    metrics::counter!("keyfob_api_refused_total", "reason" => reason).increment(1);
}

/// Whose requests are counted together: those of a person or service in a team, whichever of their
/// keys they use.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct RateKey {
    team: TeamId,
    holder: Result<Owner, Actor>,
}

impl RateKey {
    fn of(caller: &Caller) -> Self {
        Self {
            team: caller.team.clone(),
            holder: match &caller.actor.owner {
                Some(owner) => Ok(owner.clone()),
                None => Err(caller.actor.clone()),
            },
        }
    }
}

/// Somebody who was let in, and the request that they made.
#[derive(Clone, Debug)]
pub(crate) struct Admitted {
    pub(crate) caller: Arc<Caller>,
    facts: Facts,
}

impl Admitted {
    pub(crate) fn now(&self) -> Timestamp {
        self.facts.now
    }

    /// What accompanies a change: the audit trail names the caller, the key and the request.
    pub(crate) fn context(&self) -> Context {
        Context::new(self.caller.actor.clone(), self.facts.now)
            .with_request_id(self.facts.request_id.clone())
    }

    /// The same, for a reason that the caller gave.
    pub(crate) fn context_because(&self, reason: Option<&str>) -> Result<Context, Refusal> {
        let context = self.context();
        Ok(match reason {
            Some(reason) => context.with_reason(Reason::new(reason)?),
            None => context,
        })
    }

    /// Whether the caller may make this call at all.
    pub(crate) fn may(&self, call: Call) -> Result<(), Refusal> {
        decide(call, self.caller.rights, Relation::Own)
    }

    /// Whether the caller may make this call on what belongs to `owner`.
    pub(crate) fn may_to(&self, call: Call, owner: &Owner) -> Result<(), Refusal> {
        decide(call, self.caller.rights, Relation::of(&self.caller, owner))
    }

    /// The team that a path names, if the caller may make this call in it.
    pub(crate) fn team(&self, call: Call, team: &str) -> Result<TeamId, Refusal> {
        self.may(call)?;
        let team = TeamId::new(team).map_err(|_| Refusal::NOT_FOUND)?;
        if self.caller.reaches(&team) {
            Ok(team)
        } else {
            Err(Refusal::NOT_FOUND)
        }
    }
}

impl<S: Sync> FromRequestParts<S> for Admitted {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Refusal> {
        // Nobody gets here without.
        let admitted = parts.extensions.get().cloned();
        admitted.ok_or(Refusal::SERVER_ERROR)
    }
}
