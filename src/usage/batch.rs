//! Batches of usage that a store records exactly once.

use alloc::vec::Vec;
use core::{fmt, str::FromStr, time::Duration};

use crate::{
    hash::sha256,
    key_id::KeyId,
    random::{Random, RandomError},
    timestamp::Timestamp,
    usage::UsageDelta,
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
    /// The hour of the usage: its first second.
    pub hour: Timestamp,
    /// The usage, in any order.
    pub usage: Vec<UsageDelta>,
}

impl UsageBatch {
    /// For how many days a store keeps the usage of a day, the current one included.
    pub const DAYS_KEPT: u16 = 400;

    /// Creates the only batch of a new source, of usage in the hour of `at`.
    ///
    /// # Errors
    ///
    /// The random source failed.
    pub fn single(
        usage: Vec<UsageDelta>,
        at: impl Into<Timestamp>,
        random: &dyn Random,
    ) -> Result<Self, RandomError> {
        Ok(Self {
            source: UsageSource::random(random)?,
            sequence: 1,
            hour: hour(at.into()),
            usage,
        })
    }

    /// The day (since 1970-01-01) and the hour of the day for which a store counts the batch at
    /// `now`; `None` if that day is no longer kept.
    ///
    /// An hour after `now` is taken for the current one: the clock of the source is ahead.
    pub fn slot(&self, now: Timestamp) -> Option<(i64, usize)> {
        let at = self.hour.min(now).as_unix();
        let day = at.div_euclid(86_400);
        let hour = at.rem_euclid(86_400).checked_div(3_600)?;
        (day > Self::forgotten_at(now)).then_some((day, usize::try_from(hour).ok()?))
    }

    /// The usage as a store records it at `now`: a last use after `now` is taken for one now, since the
    /// clock of the source is ahead.
    pub fn used(&self, now: Timestamp) -> impl Iterator<Item = UsageDelta> {
        self.usage.iter().cloned().map(move |mut delta| {
            delta.last_used = delta.last_used.map(|used| used.min(now));
            delta
        })
    }

    /// The last day (since 1970-01-01) whose usage a store forgets at `now`.
    pub fn forgotten_at(now: Timestamp) -> i64 {
        let today = now.as_unix().div_euclid(86_400);
        today.saturating_sub(Self::DAYS_KEPT.into())
    }
}

/// Rounds a moment down to the hour.
pub(super) fn hour(now: Timestamp) -> Timestamp {
    let seconds = now.as_unix();
    Timestamp::from_unix(seconds.saturating_sub(seconds.rem_euclid(3_600)))
}

/// The identifier of what counts usage, such as the recorder of one process: 16 random bytes,
/// displayed as 32 lower-case hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UsageSource([u8; 16]);

impl UsageSource {
    /// How long a store remembers a source from which it records nothing: 30 days.
    pub const KEPT: Duration = Duration::from_secs(30 * 86_400);

    /// How many sources of a [group](UsageSource::in_group) a store remembers: 1,000.
    pub const GROUP_MAX: usize = 1_000;

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

    /// Returns this source as one of a group, of which a store remembers at most
    /// [`UsageSource::GROUP_MAX`]: for one that somebody else chose. The group is named by who that was,
    /// such as the credential with which the usage was reported, so that nobody makes a store
    /// remember more.
    ///
    /// The identifiers of a group have the first eight bytes in common.
    #[must_use]
    pub fn in_group(self, group: &[u8]) -> Self {
        let group = sha256(&[b"keyfob usage group v1\n", group].concat());
        let member = sha256(&[&group[..], &self.0].concat());
        let mut bytes = [0; 16];
        let parts = bytes.chunks_exact_mut(8).zip([group, member]);
        for (place, byte) in parts.flat_map(|(part, of)| part.iter_mut().zip(of)) {
            *place = byte;
        }
        Self(bytes)
    }

    /// The first and the last identifier of the group of this one.
    pub const fn group(self) -> (Self, Self) {
        let own = u128::from_be_bytes(self.0);
        let rest = u64::MAX as u128;
        let (first, last) = (own & !rest, own | rest);
        (Self(first.to_be_bytes()), Self(last.to_be_bytes()))
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

    #[test]
    fn the_sources_of_a_group_are_a_range_and_those_of_others_are_not_in_it() {
        let sources = [1, 2, 3].map(|byte| UsageSource::from_bytes([byte; 16]));
        let of = |group: &[u8]| sources.map(|source| source.in_group(group));
        let (own, other) = (of(b"key:a"), of(b"key:b"));
        let (first, last) = own[0].group();
        for (at, source) in own.iter().enumerate() {
            assert_eq!(source.group(), (first, last));
            assert!((first..=last).contains(source));
            assert!(!own[..at].contains(source));
            assert_ne!(*source, sources[at]);
        }
        assert!(other.iter().all(|other| !(first..=last).contains(other)));
    }

    #[cfg(feature = "serde")]
    #[test]
    fn a_batch_is_json_with_its_source_as_text() {
        let batch = UsageBatch {
            source: UsageSource::from_bytes([1; 16]),
            sequence: 7,
            hour: Timestamp::from_unix(3_600),
            usage: Vec::new(),
        };
        let text = serde_json::to_string(&batch).unwrap();
        let expected =
            r#"{"source":"01010101010101010101010101010101","sequence":7,"hour":3600,"usage":[]}"#;
        assert_eq!(text, expected);
        assert_eq!(serde_json::from_str::<UsageBatch>(&text).unwrap(), batch);
        assert!(serde_json::from_str::<UsageSource>("\"01\"").is_err());
    }

    #[test]
    fn a_batch_counts_for_its_hour_unless_that_is_forgotten_or_to_come() {
        let day = 86_400;
        let now = Timestamp::from_unix(1_000 * day + 2 * 3_600 + 59);
        let slot = |at| {
            let at = Timestamp::from_unix(at);
            let batch = UsageBatch::single(Vec::new(), at, &SystemRandom).unwrap();
            assert_eq!(batch.hour.as_unix() % 3_600, 0);
            batch.slot(now)
        };
        assert_eq!(slot(now.as_unix()), Some((1_000, 2)));
        assert_eq!(slot(1_000 * day - 1), Some((999, 23)));
        assert_eq!(slot(i64::MAX), Some((1_000, 2)), "a clock that is ahead");
        assert_eq!(slot(601 * day), Some((601, 0)), "the first of 400 days");
        assert_eq!(slot(601 * day - 1), None);
        assert_eq!(slot(i64::MIN), None);
        let early = Timestamp::from_unix(-1);
        let batch = UsageBatch::single(Vec::new(), early, &SystemRandom).unwrap();
        assert_eq!(batch.slot(early), Some((-1, 23)));
    }
}
