//! A policy for legacy credentials as bodies have it.

use keyfob::{Timestamp, legacy::LegacyPolicy};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{body::objects, moment::Moment, refusal::Refusal};

/// Until when legacy credentials are accepted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = LegacyPolicy)]
pub(crate) struct LegacyPolicyView {
    /// The first moment at which they are no longer accepted; null if they are not.
    #[serde(deserialize_with = "Option::deserialize")]
    #[schema(required, format = DateTime, examples("2026-06-03T00:00:00Z"))]
    sunset: Option<String>,
    /// Times of rehearsal in which they are refused as if the end had come, at most 64.
    #[serde(default, deserialize_with = "objects")]
    #[schema(max_items = 64)]
    brownouts: Vec<BrownoutView>,
}

/// A time of rehearsal.
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
        let policy = LegacyPolicy::until(moment(sunset, "sunset: not RFC 3339")?);
        self.brownouts.iter().try_fold(policy, |policy, brownout| {
            let start = moment(&brownout.start, "brownouts: a start is not RFC 3339")?;
            let end = moment(&brownout.end, "brownouts: an end is not RFC 3339")?;
            let policy = policy.with_brownout(start, end);
            policy.map_err(|error| Refusal::bad_request(format!("brownouts: {error}")))
        })
    }
}

fn moment(text: &str, fault: &'static str) -> Result<Timestamp, Refusal> {
    Moment::parse(text).ok_or(Refusal::bad_request(fault))
}

/// A policy for legacy credentials.
#[derive(Serialize, ToSchema)]
pub(crate) struct ShownLegacyPolicy {
    pub(crate) policy: LegacyPolicyView,
}
