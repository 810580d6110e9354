//! The policy for keys.

use core::time::Duration;

use crate::{projection::ReplicaPolicy, timestamp::Timestamp, ttl::Ttl};

/// The rules for the keys of a namespace: lifetime, number, names and rotation.
///
/// A store holds one default policy and any number of policies for single namespaces. `max_ttl`
/// counts from the moment the secret was issued and is applied at every verification, so lowering
/// it also expires existing keys.
///
/// # Examples
///
/// ```
/// use keyfob::{Ttl, manage::Policy};
///
/// let policy = Policy::default()
///     .with_max_ttl(Ttl::days(90)?)
///     .with_expiry_required(true);
/// # let _ = policy;
/// # Ok::<(), keyfob::manage::TtlError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Policy {
    /// The minimum lifetime of a secret. The default, [`Ttl::MIN`], limits durations only: an expiry
    /// that is given as a time may be sooner.
    pub min_ttl: Ttl,
    /// The maximum lifetime of a secret; `None` for no limit.
    pub max_ttl: Option<Ttl>,
    /// Whether a key must have an expiry.
    pub expiry_required: bool,
    /// How many live keys one owner may have in one namespace; `None` for no limit.
    pub keys_per_owner: Option<u32>,
    /// Whether the live keys of one owner in one namespace have different names. Other owners may use
    /// the same names, so a refusal tells nothing of their keys.
    pub unique_names: bool,
    /// The maximum grace period of a rotation, in which the replaced secret still works.
    #[cfg_attr(
        feature = "serde",
        serde(with = "seconds", rename = "max_grace_seconds")
    )]
    pub max_grace: Duration,
}

impl Policy {
    /// The default of [`Policy::keys_per_owner`]. It is more than people and services need, and
    /// bounds what one of them can make the store, the index and every list hold.
    pub const KEYS_PER_OWNER: u32 = 1_000;

    /// The policy as every store keeps it.
    pub(crate) fn in_whole_seconds(self) -> Self {
        Self {
            max_grace: Duration::from_secs(self.max_grace.as_secs()),
            ..self
        }
    }

    /// Sets the minimum lifetime of a secret.
    #[must_use]
    pub fn with_min_ttl(mut self, ttl: Ttl) -> Self {
        self.min_ttl = ttl;
        self
    }

    /// Sets the maximum lifetime of a secret.
    #[must_use]
    pub fn with_max_ttl(mut self, ttl: Ttl) -> Self {
        self.max_ttl = Some(ttl);
        self
    }

    /// Sets whether a key must have an expiry.
    #[must_use]
    pub fn with_expiry_required(mut self, required: bool) -> Self {
        self.expiry_required = required;
        self
    }

    /// Sets how many live keys one owner may have in one namespace.
    #[must_use]
    pub fn with_keys_per_owner(mut self, keys: u32) -> Self {
        self.keys_per_owner = Some(keys);
        self
    }

    /// Sets whether the live keys of one owner in one namespace have different names.
    #[must_use]
    pub fn with_unique_names(mut self, unique: bool) -> Self {
        self.unique_names = unique;
        self
    }

    /// Sets the maximum grace period of a rotation.
    #[must_use]
    pub fn with_max_grace(mut self, grace: Duration) -> Self {
        self.max_grace = grace;
        self
    }

    /// The first moment at which a secret issued at `issued_at` no longer works.
    pub(crate) fn end_of_life(
        &self,
        issued_at: Timestamp,
        expires_at: Option<Timestamp>,
    ) -> Option<Timestamp> {
        ReplicaPolicy::from(self).end_of_life(issued_at, expires_at)
    }
}

/// Minimum lifetime 1 hour, no maximum, no required expiry, unique names, at most
/// [`Policy::KEYS_PER_OWNER`] keys, grace of at most 30 days.
impl Default for Policy {
    fn default() -> Self {
        Self {
            min_ttl: Ttl::MIN,
            max_ttl: None,
            expiry_required: false,
            keys_per_owner: Some(Self::KEYS_PER_OWNER),
            unique_names: true,
            max_grace: Duration::from_secs(30 * 86_400),
        }
    }
}

/// Serializes a duration as whole seconds.
#[cfg(feature = "serde")]
mod seconds {
    use core::time::Duration;

    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(
        duration: &Duration,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.serialize_u64(duration.as_secs())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Duration, D::Error> {
        u64::deserialize(deserializer).map(Duration::from_secs)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A policy that differs from the default in every field.
    fn strict() -> Policy {
        Policy {
            min_ttl: Ttl::hours(2).unwrap(),
            max_ttl: Some(Ttl::days(90).unwrap()),
            expiry_required: true,
            keys_per_owner: Some(3),
            unique_names: false,
            max_grace: Duration::from_millis(60_500),
        }
    }

    #[test]
    fn every_rule_has_a_setter_that_keeps_the_others() {
        let policy = Policy::default()
            .with_min_ttl(Ttl::hours(2).unwrap())
            .with_max_ttl(Ttl::days(90).unwrap())
            .with_expiry_required(true)
            .with_keys_per_owner(3)
            .with_unique_names(false)
            .with_max_grace(Duration::from_millis(60_500));
        assert_eq!(policy, strict());
    }

    #[test]
    fn a_stored_policy_has_whole_seconds_and_every_rule() {
        let stored = strict().in_whole_seconds();
        let max_grace = Duration::from_secs(60);
        assert_eq!(
            stored,
            Policy {
                max_grace,
                ..strict()
            }
        );
        #[cfg(feature = "serde")]
        {
            let text = serde_json::to_string(&strict()).unwrap();
            assert!(text.contains("\"max_grace_seconds\":60"), "{text}");
            assert_eq!(serde_json::from_str::<Policy>(&text).unwrap(), stored);
        }
    }

    #[test]
    fn the_earlier_of_two_expiries_applies() {
        let at = Timestamp::from_unix;
        let end = |max_ttl, own| {
            let policy = Policy {
                max_ttl,
                ..Policy::default()
            };
            policy.end_of_life(at(1_000), own)
        };
        let hour = Some(Ttl::hours(1).unwrap());
        assert_eq!(end(None, None), None);
        assert_eq!(end(None, Some(at(2_000))), Some(at(2_000)));
        assert_eq!(end(hour, None), Some(at(4_600)));
        assert_eq!(end(hour, Some(at(4_599))), Some(at(4_599)));
        assert_eq!(end(hour, Some(at(4_601))), Some(at(4_600)));
    }
}
