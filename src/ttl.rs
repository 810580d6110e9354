//! Time to live of a key.

use core::{fmt, str::FromStr, time::Duration};

use crate::timestamp::Timestamp;

/// A time to live in whole seconds, at least one hour.
///
/// The text form is a positive decimal integer without leading zeros, followed by `h` (hours) or
/// `d` (days of 24 hours), as in `1h` or `90d`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize), serde(transparent))]
pub struct Ttl(u64);

impl Ttl {
    /// The minimum: one hour.
    pub const MIN: Self = Self(3600);
    /// The maximum: 10,000 years of 365 days, which is beyond the range of [`Timestamp`].
    pub const MAX: Self = Self(315_360_000_000);

    /// Creates a time to live from seconds.
    ///
    /// # Errors
    ///
    /// [`TtlError::TooShort`] under [`Ttl::MIN`], [`TtlError::TooLong`] over [`Ttl::MAX`].
    pub const fn from_seconds(seconds: u64) -> Result<Self, TtlError> {
        if seconds < Self::MIN.0 {
            Err(TtlError::TooShort)
        } else if seconds > Self::MAX.0 {
            Err(TtlError::TooLong)
        } else {
            Ok(Self(seconds))
        }
    }

    /// Creates a time to live from days of 24 hours.
    ///
    /// # Errors
    ///
    /// [`TtlError::TooShort`] for zero, [`TtlError::TooLong`] over [`Ttl::MAX`].
    pub const fn days(days: u32) -> Result<Self, TtlError> {
        Self::from_seconds((days as u64).saturating_mul(86_400))
    }

    /// Creates a time to live from hours.
    ///
    /// # Errors
    ///
    /// As [`Ttl::days`].
    pub const fn hours(hours: u32) -> Result<Self, TtlError> {
        Self::from_seconds((hours as u64).saturating_mul(3_600))
    }

    /// The number of seconds.
    pub const fn as_seconds(self) -> u64 {
        self.0
    }

    /// The timestamp this long after `start`, at most [`Timestamp::MAX`].
    pub const fn after(self, start: Timestamp) -> Timestamp {
        start.plus_seconds(self.0)
    }
}

impl TryFrom<Duration> for Ttl {
    type Error = TtlError;

    /// Converts whole seconds; fractions are rounded down.
    fn try_from(duration: Duration) -> Result<Self, TtlError> {
        Self::from_seconds(duration.as_secs())
    }
}

impl From<Ttl> for Duration {
    fn from(ttl: Ttl) -> Self {
        Self::from_secs(ttl.0)
    }
}

impl FromStr for Ttl {
    type Err = TtlError;

    fn from_str(text: &str) -> Result<Self, TtlError> {
        let Some((unit_at, unit)) = text.char_indices().next_back() else {
            return Err(TtlError::Empty);
        };
        let unit_seconds: u64 = match unit {
            'h' => 3_600,
            'd' => 86_400,
            _ => return Err(TtlError::Unit { at: unit_at }),
        };
        let number = text.get(..unit_at).unwrap_or_default();
        if number.is_empty() {
            return Err(TtlError::Number { at: 0 });
        }
        let mut amount: u64 = 0;
        for (at, byte) in number.bytes().enumerate() {
            let leading_zero = at == 0 && byte == b'0' && number.len() > 1;
            if !byte.is_ascii_digit() || leading_zero {
                return Err(TtlError::Number { at });
            }
            amount = amount
                .saturating_mul(10)
                .saturating_add(u64::from(byte.wrapping_sub(b'0')));
        }
        Self::from_seconds(amount.saturating_mul(unit_seconds))
    }
}

/// Writes whole days as `d`, else whole hours as `h`, else seconds as in `3601s`, which cannot be
/// parsed.
impl fmt::Display for Ttl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            s if s % 86_400 == 0 => write!(f, "{}d", s / 86_400),
            s if s % 3_600 == 0 => write!(f, "{}h", s / 3_600),
            s => write!(f, "{s}s"),
        }
    }
}

#[cfg(feature = "serde")]
impl<'de> serde::Deserialize<'de> for Ttl {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let seconds = u64::deserialize(deserializer)?;
        Self::from_seconds(seconds).map_err(serde::de::Error::custom)
    }
}

/// A time to live is invalid.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TtlError {
    /// The text is empty.
    #[error("expires_in is empty; it must be an integer followed by h or d, as in 90d")]
    Empty,
    /// The last character is neither `h` nor `d`.
    #[error("expires_in must end in h or d, as in 90d (position {at})")]
    Unit {
        /// The byte position of the last character.
        at: usize,
    },
    /// The number is not a decimal integer without sign and leading zeros.
    #[error(
        "expires_in must start with an integer without sign or space, as in 90d (position {at})"
    )]
    Number {
        /// The byte position of the first invalid character.
        at: usize,
    },
    /// Shorter than [`Ttl::MIN`].
    #[error("expires_in is shorter than the minimum of 1h")]
    TooShort,
    /// Longer than [`Ttl::MAX`].
    #[error("expires_in is longer than the maximum of 3650000d")]
    TooLong,
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString;

    use super::*;

    #[test]
    fn hours_and_days_parse() {
        assert_eq!("1h".parse(), Ok(Ttl::MIN));
        assert_eq!("24h".parse(), Ok(Ttl::days(1).unwrap()));
        assert_eq!("90d".parse(), Ok(Ttl::days(90).unwrap()));
        assert_eq!(Ttl::days(90).unwrap().to_string(), "90d");
        assert_eq!(Ttl::hours(25).unwrap().to_string(), "25h");
    }

    #[test]
    fn other_texts_are_refused_with_the_position() {
        for (text, error) in [
            ("", TtlError::Empty),
            ("h", TtlError::Number { at: 0 }),
            ("0h", TtlError::TooShort),
            ("0d", TtlError::TooShort),
            ("01h", TtlError::Number { at: 0 }),
            ("+1h", TtlError::Number { at: 0 }),
            ("-1h", TtlError::Number { at: 0 }),
            ("1.5h", TtlError::Number { at: 1 }),
            ("1 h", TtlError::Number { at: 1 }),
            ("1h ", TtlError::Unit { at: 2 }),
            ("1H", TtlError::Unit { at: 1 }),
            ("60m", TtlError::Unit { at: 2 }),
            ("12", TtlError::Unit { at: 1 }),
            ("1é", TtlError::Unit { at: 1 }),
            ("é", TtlError::Unit { at: 0 }),
            ("1d1h", TtlError::Number { at: 1 }),
        ] {
            assert_eq!(text.parse::<Ttl>(), Err(error), "{text:?}");
        }
    }

    #[test]
    fn the_limits_of_a_ttl_are_exact() {
        let (min, max) = (Ttl::MIN.as_seconds(), Ttl::MAX.as_seconds());
        assert_eq!(Ttl::from_seconds(min - 1), Err(TtlError::TooShort));
        assert_eq!(Ttl::from_seconds(min), Ok(Ttl::MIN));
        assert_eq!(Ttl::from_seconds(max), Ok(Ttl::MAX));
        assert_eq!(Ttl::from_seconds(max + 1), Err(TtlError::TooLong));
        assert_eq!(Ttl::hours(1), Ok(Ttl::MIN));
        assert_eq!(Ttl::days(3_650_000), Ok(Ttl::MAX));
        assert_eq!(Ttl::days(3_650_001), Err(TtlError::TooLong));
        assert_eq!(Ttl::days(u32::MAX), Err(TtlError::TooLong));
    }

    #[test]
    fn a_ttl_of_zero_is_refused_and_not_rounded_up() {
        assert_eq!(Ttl::from_seconds(0), Err(TtlError::TooShort));
        assert_eq!(Ttl::days(0), Err(TtlError::TooShort));
        assert_eq!(Ttl::hours(0), Err(TtlError::TooShort));
        assert_eq!(Ttl::try_from(Duration::ZERO), Err(TtlError::TooShort));
    }

    #[test]
    fn a_duration_is_truncated_to_whole_seconds() {
        let duration = Duration::from_millis(3_600_999);
        assert_eq!(Ttl::try_from(duration), Ok(Ttl::MIN));
        assert_eq!(Duration::from(Ttl::MIN), Duration::from_secs(3_600));
        let over = Duration::from(Ttl::MAX) + Duration::from_secs(1);
        assert_eq!(Ttl::try_from(over), Err(TtlError::TooLong));
    }

    #[test]
    fn a_ttl_that_is_not_whole_hours_prints_in_seconds() {
        let ttl = Ttl::from_seconds(3_601).unwrap();
        assert_eq!(ttl.to_string(), "3601s");
    }

    #[cfg(feature = "serde")]
    #[test]
    fn deserialising_enforces_the_limits() {
        let read = |text| serde_json::from_str::<Ttl>(text);
        assert_eq!(read("7200").unwrap(), Ttl::hours(2).unwrap());
        assert!(read("3599").is_err());
        assert!(read("315360000001").is_err());
    }

    #[test]
    fn large_numbers_do_not_overflow() {
        for digits in 1..400 {
            let text = "9".repeat(digits) + "d";
            match text.parse::<Ttl>() {
                Ok(ttl) => assert!(ttl <= Ttl::MAX),
                Err(error) => assert_eq!(error, TtlError::TooLong),
            }
        }
        // Just beyond 64 bits: by the last digit, by its place, and as a number of seconds.
        for text in [
            "18446744073709551617h",
            "18446744073709551620h",
            "5124095576030432h",
            "213503982334602d",
        ] {
            assert_eq!(text.parse::<Ttl>(), Err(TtlError::TooLong), "{text}");
        }
        assert_eq!(Ttl::MAX.after(Timestamp::MAX), Timestamp::MAX);
    }
}
