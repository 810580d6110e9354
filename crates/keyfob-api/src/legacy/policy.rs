//! A policy for legacy credentials in bodies.

use keyfob::legacy::LegacyPolicy;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{body::objects, refusal::Refusal, wire::parse_moment};

/// Until when legacy credentials are accepted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = LegacyPolicy)]
pub(crate) struct LegacyPolicyView {
    /// The first moment at which they are no longer accepted; null if they are not.
    #[serde(deserialize_with = "Option::deserialize")]
    #[schema(required, format = DateTime, examples("2026-06-03T00:00:00Z"))]
    sunset: Option<String>,
    /// Rehearsals: periods in which they are refused as after the sunset, at most 64.
    #[serde(default, deserialize_with = "objects")]
    #[schema(max_items = 64)]
    brownouts: Vec<BrownoutView>,
}

/// A period in which legacy credentials are refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = Brownout)]
struct BrownoutView {
    /// The first moment of refusal.
    #[schema(format = DateTime)]
    start: String,
    /// The first moment of acceptance after it.
    #[schema(format = DateTime)]
    end: String,
}

impl From<&LegacyPolicy> for LegacyPolicyView {
    fn from(policy: &LegacyPolicy) -> Self {
        let brownouts = match policy {
            LegacyPolicy::Until { brownouts, .. } => brownouts.as_slice(),
            _ => &[],
        };
        let brownouts = brownouts.iter().map(|brownout| BrownoutView {
            start: brownout.start.to_string(),
            end: brownout.end.to_string(),
        });
        Self {
            sunset: policy.sunset().map(|sunset| sunset.to_string()),
            brownouts: brownouts.collect(),
        }
    }
}

impl LegacyPolicyView {
    pub(crate) fn parse(&self) -> Result<LegacyPolicy, Refusal> {
        let Some(sunset) = &self.sunset else {
            return if self.brownouts.is_empty() {
                Ok(LegacyPolicy::Off)
            } else {
                Err(Refusal::bad_request("brownouts: none without a sunset"))
            };
        };
        let policy = LegacyPolicy::until(parse_moment("sunset", sunset)?);
        self.brownouts.iter().try_fold(policy, |policy, brownout| {
            let start = parse_moment("brownouts: start", &brownout.start)?;
            let end = parse_moment("brownouts: end", &brownout.end)?;
            let policy = policy.with_brownout(start, end);
            policy.map_err(|error| Refusal::bad_request(format!("brownouts: {error}")))
        })
    }
}

/// A policy for legacy credentials.
#[derive(Serialize, ToSchema)]
pub(crate) struct ShownLegacyPolicy {
    policy: LegacyPolicyView,
}

impl ShownLegacyPolicy {
    pub(crate) fn new(policy: &LegacyPolicy) -> Self {
        Self {
            policy: LegacyPolicyView::from(policy),
        }
    }
}
