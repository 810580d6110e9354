//! Batches of usage that a store records exactly once.

use alloc::vec::Vec;
use core::{fmt, str::FromStr, time::Duration};

use crate::{
    key_id::KeyId,
    random::{Random, RandomError},
    timestamp::Timestamp,
    usage::Usage,
};

/// Usage on its way to a store.
///
/// A store records each batch of a source once, so a batch whose outcome is unknown is sent again
/// unchanged. See [`KeyStore::record_usage`](crate::KeyStore::record_usage).
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct UsageBatch {
    /// What counted the usage.
    pub source: UsageSource,
    /// The number of the batch: greater than that of every batch that the source sent before.
    pub sequence: u64,
    /// The usage, in any order.
    pub usage: Vec<Usage>,
}

impl UsageBatch {
    /// Creates the only batch of a new source.
    ///
    /// # Errors
    ///
    /// The random source failed.
    pub fn single(usage: Vec<Usage>, random: &dyn Random) -> Result<Self, RandomError> {
        Ok(Self {
            source: UsageSource::random(random)?,
            sequence: 1,
            usage,
        })
    }
}

/// The identifier of what counts usage, such as the recorder of one process: 16 random bytes,
/// displayed as 32 lower-case hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UsageSource([u8; 16]);

impl UsageSource {
    /// How long a store remembers a source from which it records nothing: 30 days.
    pub const KEPT: Duration = Duration::from_secs(30 * 86_400);

    /// Creates an identifier from its 16 bytes.
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// Creates a random identifier.
    ///
    /// # Errors
    ///
    /// The random source failed.
    pub fn random(random: &dyn Random) -> Result<Self, RandomError> {
        let mut bytes = [0; 16];
        random.fill(&mut bytes)?;
        Ok(Self(bytes))
    }

    /// The time up to which a source must have been silent to be forgotten at `now`:
    /// [`UsageSource::KEPT`] before it.
    pub fn forgotten_at(now: Timestamp) -> Timestamp {
        let kept = i64::try_from(Self::KEPT.as_secs()).unwrap_or(i64::MAX);
        Timestamp::from_unix(now.as_unix().saturating_sub(kept))
    }

    /// The 16 bytes.
    pub const fn to_bytes(self) -> [u8; 16] {
        self.0
    }
}

impl fmt::Display for UsageSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for UsageSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for UsageSource {
    type Err = UsageSourceError;

    fn from_str(text: &str) -> Result<Self, UsageSourceError> {
        // The identifier of a key has the same text form.
        match KeyId::from_hex(text.as_bytes()) {
            Ok(id) => Ok(Self(id.to_bytes())),
            Err(error) => Err(UsageSourceError {
                position: error.position(),
            }),
        }
    }
}

#[cfg(feature = "serde")]
impl serde::Serialize for UsageSource {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(feature = "serde")]
impl<'de> serde::Deserialize<'de> for UsageSource {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <alloc::borrow::Cow<'de, str>>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// A text is not the identifier of a source of usage.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("source: not 32 lower-case hexadecimal digits, at byte {position}")]
pub struct UsageSourceError {
    position: usize,
}

impl UsageSourceError {
    /// The position of the first invalid byte.
    pub fn position(self) -> usize {
        self.position
    }
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString;

    use super::*;
    use crate::random::SystemRandom;

    #[test]
    fn a_source_has_exactly_one_text_form() {
        let source = UsageSource::random(&SystemRandom).unwrap();
        let text = source.to_string();
        assert_eq!(text.parse(), Ok(source));
        assert_eq!(UsageSource::from_bytes(source.to_bytes()), source);
        assert_ne!(UsageSource::random(&SystemRandom), Ok(source));
        for (text, position) in [("", 0), ("0", 1), ("0G", 1), (&text[..31], 31)] {
            let error = text.parse::<UsageSource>().unwrap_err();
            assert_eq!(error.position(), position, "{text:?}");
        }
        assert_eq!(
            UsageSource::from_bytes([0x0f; 16]).to_string(),
            "0f".repeat(16)
        );
    }

    #[cfg(feature = "serde")]
    #[test]
    fn a_batch_is_json_with_its_source_as_text() {
        let batch = UsageBatch {
            source: UsageSource::from_bytes([1; 16]),
            sequence: 7,
            usage: Vec::new(),
        };
        let text = serde_json::to_string(&batch).unwrap();
        let expected = r#"{"source":"01010101010101010101010101010101","sequence":7,"usage":[]}"#;
        assert_eq!(text, expected);
        assert_eq!(serde_json::from_str::<UsageBatch>(&text).unwrap(), batch);
        assert!(serde_json::from_str::<UsageSource>("\"01\"").is_err());
    }
}
