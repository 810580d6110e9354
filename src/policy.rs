//! What keys an embedder allows.

use core::time::Duration;

use crate::{timestamp::Timestamp, ttl::Ttl};

/// What keys may be made in a namespace, and how long they may live.
///
/// A store keeps one policy as the default and any number of overrides for single namespaces.
/// A lowered `max_ttl` also ends keys that exist: it is applied at every verification, from the
/// moment the secret was made.
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
    /// The shortest life of a secret.
    pub min_ttl: Ttl,
    /// The longest life of a secret; none for no limit.
    pub max_ttl: Option<Ttl>,
    /// Whether a key must have an end of its own.
    pub expiry_required: bool,
    /// How many live keys one owner may have in one namespace; none for no limit.
    pub keys_per_owner: Option<u32>,
    /// Whether the name of a live key is unique in its namespace.
    pub unique_names: bool,
    /// How long a replaced secret may go on working after a rotation.
    #[cfg_attr(
        feature = "serde",
        serde(with = "seconds", rename = "max_grace_seconds")
    )]
    pub max_grace: Duration,
}

impl Policy {
    /// With this shortest life of a secret.
    #[must_use]
    pub fn with_min_ttl(mut self, ttl: Ttl) -> Self {
        self.min_ttl = ttl;
        self
    }

    /// With this longest life of a secret.
    #[must_use]
    pub fn with_max_ttl(mut self, ttl: Ttl) -> Self {
        self.max_ttl = Some(ttl);
        self
    }

    /// With an expiry required, or not.
    #[must_use]
    pub fn with_expiry_required(mut self, required: bool) -> Self {
        self.expiry_required = required;
        self
    }

    /// With at most this many live keys for an owner in a namespace.
    #[must_use]
    pub fn with_keys_per_owner(mut self, keys: u32) -> Self {
        self.keys_per_owner = Some(keys);
        self
    }

    /// With names unique in a namespace, or not.
    #[must_use]
    pub fn with_unique_names(mut self, unique: bool) -> Self {
        self.unique_names = unique;
        self
    }

    /// With this longest grace period after a rotation.
    #[must_use]
    pub fn with_max_grace(mut self, grace: Duration) -> Self {
        self.max_grace = grace;
        self
    }

    /// The first moment at which a secret made at `issued_at` no longer works.
    pub(crate) fn end_of_life(
        &self,
        issued_at: Timestamp,
        expires_at: Option<Timestamp>,
    ) -> Option<Timestamp> {
        let longest = self.max_ttl.map(|ttl| ttl.after(issued_at));
        match (expires_at, longest) {
            (Some(own), Some(longest)) => Some(own.min(longest)),
            (own, longest) => own.or(longest),
        }
    }
}

/// Lives from one hour to for ever, unique names, up to 30 days of grace, no limit in number.
impl Default for Policy {
    fn default() -> Self {
        Self {
            min_ttl: Ttl::MIN,
            max_ttl: None,
            expiry_required: false,
            keys_per_owner: None,
            unique_names: true,
            max_grace: Duration::from_secs(30 * 86_400),
        }
    }
}

/// A duration as whole seconds.
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

    #[test]
    fn the_earlier_of_two_ends_counts() {
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
