//! Uses that are added to what is stored.

use core::{fmt, str::FromStr};

use crate::{credential_id::CredentialId, timestamp::Timestamp};

/// Uses of one credential with one outcome, on their way to a store.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct UsageDelta {
    /// The credential.
    pub credential: CredentialId,
    /// Whether the uses were accepted, or why they were refused.
    pub outcome: UsageOutcome,
    /// The number of uses.
    pub count: u64,
    /// The time of the last use, rounded down to the minute; `None` for refused uses.
    #[cfg_attr(
        feature = "serde",
        serde(default, skip_serializing_if = "Option::is_none")
    )]
    pub last_used: Option<Timestamp>,
}

impl UsageDelta {
    /// Creates one accepted use.
    pub fn accepted(credential: CredentialId, now: Timestamp) -> Self {
        Self {
            credential,
            outcome: UsageOutcome::Accepted,
            count: 1,
            last_used: Some(minute(now)),
        }
    }

    /// Creates one accepted use of the secret before the last rotation.
    pub fn accepted_previous(credential: CredentialId, now: Timestamp) -> Self {
        Self {
            outcome: UsageOutcome::AcceptedPrevious,
            ..Self::accepted(credential, now)
        }
    }

    /// Creates one refused use.
    pub fn refused(credential: CredentialId, outcome: UsageOutcome) -> Self {
        Self {
            credential,
            outcome,
            count: 1,
            last_used: None,
        }
    }

    /// Whether both are of the same credential with the same outcome.
    #[inline]
    pub(super) fn is_like(&self, other: &Self) -> bool {
        self.credential == other.credential && self.outcome == other.outcome
    }

    /// Adds uses of the same credential with the same outcome.
    pub(super) fn merge(&mut self, other: &Self) {
        self.last_used = self.last_used.max(other.last_used);
        self.count = self.count.saturating_add(other.count);
    }
}

/// Rounds a moment down to the minute.
fn minute(now: Timestamp) -> Timestamp {
    let seconds = now.as_unix();
    Timestamp::from_unix(seconds.saturating_sub(seconds.rem_euclid(60)))
}

macro_rules! outcomes {
    ($($(#[$doc:meta])* $name:ident = $text:literal,)*) => {
        /// The outcome of a use whose secret was correct.
        ///
        /// Uses with an unknown identifier or a wrong secret have no outcome here: nobody who does
        /// not hold a credential changes what is counted of it.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
        #[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
        #[non_exhaustive]
        pub enum UsageOutcome {
            $($(#[$doc])* $name,)*
        }

        impl UsageOutcome {
            /// Every outcome, in order.
            pub const ALL: [Self; [$($text),*].len()] = [$(Self::$name),*];

            /// The stable name: `accepted`, `accepted_previous`, or that of the reason of the refusal.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$name => $text,)*
                }
            }
        }
    };
}

outcomes! {
    /// The use was accepted.
    Accepted = "accepted",
    /// The use was accepted, with the secret before the last rotation, in its grace period.
    AcceptedPrevious = "accepted_previous",
    /// The secret was replaced by a rotation, and its grace period is over.
    Replaced = "replaced",
    /// The credential was revoked, individually or by a cutoff.
    Revoked = "revoked",
    /// The key is disabled, or the subject of the legacy credential is blocked.
    Disabled = "disabled",
    /// The key is not valid yet.
    NotYetValid = "not_yet_valid",
    /// The key has expired.
    Expired = "expired",
    /// The policy does not accept legacy credentials at this time.
    LegacyOff = "legacy_off",
    /// The key is valid, but opens another namespace.
    WrongNamespace = "wrong_namespace",
    /// The key is valid, but lacks a required scope.
    MissingScope = "missing_scope",
}

impl UsageOutcome {
    /// Whether the use was accepted, with the current secret or with the one before.
    pub const fn is_accepted(self) -> bool {
        matches!(self, Self::Accepted | Self::AcceptedPrevious)
    }
}

impl fmt::Display for UsageOutcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for UsageOutcome {
    type Err = UsageOutcomeError;

    fn from_str(text: &str) -> Result<Self, UsageOutcomeError> {
        let mut all = Self::ALL.into_iter();
        all.find(|outcome| outcome.as_str() == text)
            .ok_or(UsageOutcomeError)
    }
}

/// A text is not the name of an outcome of a use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("outcome: must be `accepted`, `accepted_previous` or the reason of a refusal")]
pub struct UsageOutcomeError;

#[cfg(feature = "std")]
impl UsageOutcome {
    /// The outcome of a refusal with this reason, if the secret was correct.
    pub(crate) fn of(reason: crate::denied::DenyReason) -> Option<Self> {
        use crate::denied::DenyReason as R;
        Some(match reason {
            R::Replaced => Self::Replaced,
            R::Revoked => Self::Revoked,
            R::Disabled => Self::Disabled,
            R::NotYetValid => Self::NotYetValid,
            R::Expired => Self::Expired,
            R::LegacyOff => Self::LegacyOff,
            R::WrongNamespace => Self::WrongNamespace,
            R::MissingScope => Self::MissingScope,
            R::NoCredential
            | R::RepeatedHeader
            | R::Malformed
            | R::Mistyped
            | R::UnknownKey
            | R::WrongSecret
            | R::NotReady
            | R::Stale
            | R::PepperMissing => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_outcome_has_one_stable_name() {
        for (n, outcome) in UsageOutcome::ALL.into_iter().enumerate() {
            assert_eq!(outcome as usize, n);
            assert_eq!(outcome.as_str().parse(), Ok(outcome));
            #[cfg(feature = "serde")]
            assert_eq!(serde_json::to_value(outcome).unwrap(), outcome.as_str());
        }
        for bad in ["", "Accepted", "wrong_secret", "unknown_key"] {
            assert_eq!(bad.parse::<UsageOutcome>(), Err(UsageOutcomeError), "{bad}");
        }
    }
}
