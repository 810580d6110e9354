//! The policy for legacy credentials.

use alloc::vec::Vec;

use crate::timestamp::Timestamp;

/// Whether legacy credentials are accepted, and until when.
///
/// There is no way to accept them without an end date. Turning them off can be undone by setting
/// the earlier policy again.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum LegacyPolicy {
    /// Not accepted.
    #[default]
    Off,
    /// Accepted before `sunset`, except during brownouts.
    Until {
        /// The first moment at which legacy credentials are no longer accepted.
        sunset: Timestamp,
        /// The brownouts.
        brownouts: Vec<Brownout>,
    },
}

impl LegacyPolicy {
    /// The maximum number of brownouts.
    pub const BROWNOUTS_MAX: usize = 64;

    /// Creates a policy that accepts legacy credentials until `sunset`.
    pub fn until(sunset: impl Into<Timestamp>) -> Self {
        Self::Until {
            sunset: sunset.into(),
            brownouts: Vec::new(),
        }
    }

    /// Adds a brownout from `start` (inclusive) to `end` (exclusive).
    ///
    /// # Errors
    ///
    /// [`LegacyPolicyError`] if `end` is not after `start`, if there are too many brownouts, or if
    /// legacy credentials are off.
    pub fn with_brownout(
        self,
        start: impl Into<Timestamp>,
        end: impl Into<Timestamp>,
    ) -> Result<Self, LegacyPolicyError> {
        let Self::Until {
            sunset,
            mut brownouts,
        } = self
        else {
            return Err(LegacyPolicyError::Off);
        };
        let (start, end) = (start.into(), end.into());
        if end <= start {
            return Err(LegacyPolicyError::Empty);
        }
        if brownouts.len() >= Self::BROWNOUTS_MAX {
            return Err(LegacyPolicyError::TooMany);
        }
        brownouts.push(Brownout { start, end });
        Ok(Self::Until { sunset, brownouts })
    }

    /// The first moment at which legacy credentials are no longer accepted; `None` if they are off.
    pub fn sunset(&self) -> Option<Timestamp> {
        match self {
            Self::Off => None,
            Self::Until { sunset, .. } => Some(*sunset),
        }
    }

    /// Whether a legacy credential is accepted at `now`.
    pub fn accepts(&self, now: Timestamp) -> bool {
        match self {
            Self::Off => false,
            Self::Until { sunset, brownouts } => {
                now < *sunset && !brownouts.iter().any(|b| b.start <= now && now < b.end)
            }
        }
    }
}

#[cfg(feature = "serde")]
impl<'de> serde::Deserialize<'de> for LegacyPolicy {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(serde::Deserialize)]
        #[serde(rename = "LegacyPolicy", rename_all = "snake_case")]
        enum Stored {
            Off,
            Until {
                sunset: Timestamp,
                brownouts: Vec<Brownout>,
            },
        }
        match Stored::deserialize(deserializer)? {
            Stored::Off => Ok(Self::Off),
            Stored::Until { sunset, brownouts } => brownouts
                .into_iter()
                .try_fold(Self::until(sunset), |policy, brownout| {
                    policy.with_brownout(brownout.start, brownout.end)
                })
                .map_err(serde::de::Error::custom),
        }
    }
}

/// A period in which legacy credentials are refused, to rehearse the sunset and find remaining
/// users.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Brownout {
    /// The first moment at which they are refused.
    pub start: Timestamp,
    /// The first moment at which they are accepted again.
    pub end: Timestamp,
}

/// A brownout is invalid.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LegacyPolicyError {
    /// Legacy credentials are off.
    #[error("a brownout needs a sunset: legacy credentials are off")]
    Off,
    /// The end is not after the start.
    #[error("a brownout must end after it starts")]
    Empty,
    /// The policy already has 64 brownouts.
    #[error("more than 64 brownouts")]
    TooMany,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_unix(seconds)
    }

    #[test]
    fn the_sunset_is_exact_to_the_second() {
        let policy = LegacyPolicy::until(at(100));
        assert!(policy.accepts(at(99)));
        assert!(!policy.accepts(at(100)));
        assert!(!policy.accepts(at(101)));
        assert!(!LegacyPolicy::default().accepts(at(0)));
        assert_eq!(policy.sunset(), Some(at(100)));
        assert_eq!(LegacyPolicy::Off.sunset(), None);
    }

    #[test]
    fn a_brownout_includes_its_start_and_excludes_its_end() {
        let policy = LegacyPolicy::until(at(100))
            .with_brownout(at(10), at(20))
            .and_then(|policy| policy.with_brownout(at(30), at(31)))
            .unwrap();
        let refused: Vec<i64> = (0..100).filter(|s| !policy.accepts(at(*s))).collect();
        assert_eq!(refused, [10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 30]);
    }

    #[cfg(feature = "serde")]
    #[test]
    fn only_policies_that_can_be_constructed_deserialise() {
        let policy = LegacyPolicy::until(at(100)).with_brownout(at(10), at(20));
        for policy in [policy.unwrap(), LegacyPolicy::Off] {
            let json = serde_json::to_string(&policy).unwrap();
            assert_eq!(serde_json::from_str::<LegacyPolicy>(&json).unwrap(), policy);
        }
        let empty = r#"{"until":{"sunset":9,"brownouts":[{"start":5,"end":5}]}}"#;
        assert!(serde_json::from_str::<LegacyPolicy>(empty).is_err());
        let spans = alloc::vec![r#"{"start":1,"end":2}"#; 65].join(",");
        let many = alloc::format!(r#"{{"until":{{"sunset":9,"brownouts":[{spans}]}}}}"#);
        assert!(serde_json::from_str::<LegacyPolicy>(&many).is_err());
    }

    #[test]
    fn invalid_brownouts_are_refused() {
        let policy = || LegacyPolicy::until(at(100));
        assert_eq!(
            policy().with_brownout(at(5), at(5)),
            Err(LegacyPolicyError::Empty)
        );
        assert_eq!(
            LegacyPolicy::Off.with_brownout(at(1), at(2)),
            Err(LegacyPolicyError::Off)
        );
        let full = (0..64).try_fold(policy(), |p, i| p.with_brownout(at(i), at(i + 1)));
        assert_eq!(
            full.unwrap().with_brownout(at(1), at(2)),
            Err(LegacyPolicyError::TooMany)
        );
    }
}
