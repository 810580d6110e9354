//! Counting the use of credentials without a write per request.

mod batch;
mod delta;
mod series;
mod table;

#[cfg(feature = "std")]
mod recorder;

pub use batch::{UsageBatch, UsageSource, UsageSourceError};
pub use delta::{UsageDelta, UsageOutcome, UsageOutcomeError};
#[cfg(feature = "std")]
pub use recorder::UsageRecorder;
pub use series::{
    UsageBucket, UsageCounts, UsageDay, UsageOf, UsageOfError, UsageQuery, UsageRange,
    UsageRangeError, UsageSeries, UsageStep,
};
pub use table::UsageTable;

use crate::{credential_id::CredentialId, timestamp::Timestamp};

/// The usage of a credential since it was created.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Usage {
    /// The credential.
    pub credential: CredentialId,
    /// The time of the last accepted use, rounded down to the minute; `None` if no use was
    /// accepted.
    pub last_used: Option<Timestamp>,
    /// The number of accepted uses.
    pub accepted: u64,
    /// The number of uses that were refused although the secret was correct, because the key was
    /// expired or revoked, of another namespace or the like.
    pub refused: u64,
}

impl Usage {
    /// Creates the usage of a credential that was never used.
    pub const fn none(credential: CredentialId) -> Self {
        Self {
            credential,
            last_used: None,
            accepted: 0,
            refused: 0,
        }
    }

    /// Adds uses of the same credential: counts are added, `last_used` is the later of the two.
    /// Refused uses do not change `last_used`.
    pub fn add(&mut self, delta: &UsageDelta) {
        if delta.outcome.is_accepted() {
            self.last_used = self.last_used.max(delta.last_used);
            self.accepted = self.accepted.saturating_add(delta.count);
        } else {
            self.refused = self.refused.saturating_add(delta.count);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key_id::KeyId;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_unix(seconds)
    }

    #[test]
    fn last_use_is_rounded_to_the_minute_and_never_moves_back() {
        let credential = CredentialId::Key(KeyId::from_bytes([1; 16]));
        let mut usage = Usage::none(credential);
        for (used, last) in [(119, 60), (30, 60), (120, 120)] {
            usage.add(&UsageDelta::accepted(credential, at(used)));
            assert_eq!(usage.last_used, Some(at(last)));
            let mut refused = UsageDelta::refused(credential, UsageOutcome::Expired);
            usage.add(&refused);
            refused.last_used = Some(at(600));
            usage.add(&refused);
            assert_eq!(usage.last_used, Some(at(last)));
        }
        assert_eq!((usage.accepted, usage.refused), (3, 6));
    }
}
