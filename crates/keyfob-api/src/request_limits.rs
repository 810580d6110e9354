//! What is checked before a handler runs: the caller, and the number of requests.

use std::sync::Arc;

use keyfob::{Actor, Owner, Timestamp, name::TeamId};

use crate::{
    authenticate::Authenticate,
    caller::Caller,
    concurrency::UnderWay,
    limits::Limits,
    rate::{Allowance, Rate, Source, round_up},
    refusal::Refusal,
};

/// Authenticates callers, and counts their requests.
pub(crate) struct RequestLimits {
    pub(crate) authenticate: Arc<dyn Authenticate>,
    pub(crate) callers: Rate<RateKey>,
    pub(crate) refused: Rate<Source>,
    pub(crate) under_way: UnderWay<RateKey>,
    pub(crate) clock: Clock,
    pub(crate) config: Limits,
}

/// Tells the time.
pub(crate) type Clock = Arc<dyn Fn() -> Timestamp + Send + Sync>;

impl RequestLimits {
    pub(crate) fn new(authenticate: Arc<dyn Authenticate>, limits: Limits, clock: Clock) -> Self {
        Self {
            authenticate,
            callers: Rate::new(limits.caller),
            refused: Rate::new(limits.refused),
            under_way: UnderWay::new(limits.at_once),
            clock,
            config: limits,
        }
    }

    /// Counts a failed attempt.
    pub(crate) fn attempt(&self, source: Source) -> Result<Allowance, (Refusal, Allowance)> {
        self.refused.take(&source).map_err(|(allowance, wait)| {
            let wait = round_up(wait).max(1);
            (Refusal::too_many_requests(wait), allowance)
        })
    }
}

/// Whose requests are counted together: those of a person or service in a team, whichever of their
/// keys they use.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct RateKey {
    team: TeamId,
    holder: Result<Owner, Actor>,
}

impl RateKey {
    pub(crate) fn of(caller: &Caller) -> Self {
        Self {
            team: caller.team.clone(),
            holder: match &caller.actor.owner {
                Some(owner) => Ok(owner.clone()),
                None => Err(caller.actor.clone()),
            },
        }
    }
}
