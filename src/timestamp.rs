//! Timestamps in whole seconds.

use core::{fmt, str::FromStr};

use time::{OffsetDateTime, format_description::well_known::Rfc3339};

/// A point in time in whole Unix seconds, from year 0 to year 9999.
///
/// Functions of this crate take `impl Into<Timestamp>`, so they accept [`OffsetDateTime`] and
/// `SystemTime` too. Fractions of a second are rounded down. Arithmetic saturates at
/// [`Timestamp::MIN`] and [`Timestamp::MAX`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize), serde(transparent))]
pub struct Timestamp(i64);

impl Timestamp {
    /// 1970-01-01T00:00:00Z.
    pub const UNIX_EPOCH: Self = Self(0);
    /// 9999-12-31T23:59:59Z.
    pub const MAX: Self = Self(253_402_300_799);
    /// 0000-01-01T00:00:00Z.
    pub const MIN: Self = Self(-62_167_219_200);

    /// Creates a timestamp from Unix seconds; values out of range saturate.
    pub const fn from_unix(seconds: i64) -> Self {
        if seconds > Self::MAX.0 {
            Self::MAX
        } else if seconds < Self::MIN.0 {
            Self::MIN
        } else {
            Self(seconds)
        }
    }

    /// The Unix seconds.
    pub const fn as_unix(self) -> i64 {
        self.0
    }

    /// The timestamp `seconds` later, at most [`Timestamp::MAX`].
    #[must_use]
    pub const fn plus_seconds(self, seconds: u64) -> Self {
        Self::from_unix(self.0.saturating_add_unsigned(seconds))
    }

    /// The number of seconds since `earlier`; zero if `earlier` is not earlier.
    pub const fn seconds_since(self, earlier: Self) -> u64 {
        if self.0 <= earlier.0 {
            0
        } else {
            self.0.abs_diff(earlier.0)
        }
    }

    /// Converts to [`OffsetDateTime`] in UTC.
    pub fn to_datetime(self) -> OffsetDateTime {
        OffsetDateTime::from_unix_timestamp(self.0).unwrap_or(OffsetDateTime::UNIX_EPOCH)
    }
}

impl From<OffsetDateTime> for Timestamp {
    fn from(moment: OffsetDateTime) -> Self {
        Self::from_unix(moment.unix_timestamp())
    }
}

#[cfg(feature = "std")]
impl From<std::time::SystemTime> for Timestamp {
    // Not by way of `OffsetDateTime`: its date costs as much as the reading of the clock.
    fn from(moment: std::time::SystemTime) -> Self {
        match moment.duration_since(std::time::UNIX_EPOCH) {
            Ok(since) => Self::UNIX_EPOCH.plus_seconds(since.as_secs()),
            Err(error) => {
                let before = error.duration();
                let rounded_up = before
                    .as_secs()
                    .saturating_add(u64::from(before.subsec_nanos() > 0));
                Self::from_unix(0_i64.saturating_sub_unsigned(rounded_up))
            }
        }
    }
}

/// Returns the time of the system clock.
///
/// Apart from this function and [`Keyring::open`](crate::Keyring::open), nothing in the crate reads
/// a clock: time is an argument.
#[cfg(feature = "std")]
pub fn now() -> Timestamp {
    std::time::SystemTime::now().into()
}

/// Parses RFC 3339 (section 5.6) with any offset; fractions of a second are rounded down.
impl FromStr for Timestamp {
    type Err = TimestampError;

    fn from_str(text: &str) -> Result<Self, TimestampError> {
        let moment = OffsetDateTime::parse(text, &Rfc3339).map_err(|_| TimestampError)?;
        Ok(moment.into())
    }
}

/// A text is not a timestamp in RFC 3339.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be a time in RFC 3339, as in 2025-12-19T10:30:00Z")]
pub struct TimestampError;

impl From<Timestamp> for OffsetDateTime {
    fn from(moment: Timestamp) -> Self {
        moment.to_datetime()
    }
}

/// Writes RFC 3339 in UTC, as in `2025-12-19T10:30:00Z`.
impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let moment = self.to_datetime();
        let (year, month, day) = moment.to_calendar_date();
        let (hour, minute, second) = moment.to_hms();
        write!(
            f,
            "{year:04}-{:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z",
            u8::from(month)
        )
    }
}

impl fmt::Debug for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(feature = "serde")]
impl<'de> serde::Deserialize<'de> for Timestamp {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        i64::deserialize(deserializer).map(Self::from_unix)
    }
}

#[cfg(test)]
mod tests {
    use alloc::{format, string::ToString};

    use super::*;

    #[test]
    fn a_timestamp_prints_as_rfc_3339() {
        assert_eq!(
            Timestamp::from_unix(1_766_140_200).to_string(),
            "2025-12-19T10:30:00Z"
        );
        assert_eq!(Timestamp::MAX.to_string(), "9999-12-31T23:59:59Z");
        assert_eq!(Timestamp::MIN.to_string(), "0000-01-01T00:00:00Z");
        assert_eq!(
            format!("{:?}", Timestamp::UNIX_EPOCH),
            "1970-01-01T00:00:00Z"
        );
    }

    #[test]
    fn timestamps_saturate_at_their_limits() {
        assert_eq!(Timestamp::from_unix(i64::MAX), Timestamp::MAX);
        assert_eq!(Timestamp::from_unix(i64::MIN), Timestamp::MIN);
        assert_eq!(Timestamp::UNIX_EPOCH.plus_seconds(u64::MAX), Timestamp::MAX);
        assert_eq!(Timestamp::MIN.seconds_since(Timestamp::MAX), 0);
        assert_eq!(
            Timestamp::MAX.seconds_since(Timestamp::MIN),
            315_569_519_999
        );
    }

    #[test]
    fn timestamps_round_trip_through_datetime() {
        for seconds in [Timestamp::MIN.as_unix(), -1, 0, 1, Timestamp::MAX.as_unix()] {
            let moment = Timestamp::from_unix(seconds);
            assert_eq!(moment.to_datetime().unix_timestamp(), seconds);
            assert_eq!(Timestamp::from(OffsetDateTime::from(moment)), moment);
        }
    }

    #[cfg(feature = "std")]
    #[test]
    fn fractions_of_a_second_are_rounded_down() {
        use std::time::{Duration, UNIX_EPOCH};

        let half = Duration::from_millis(500);
        for (moment, seconds) in [
            (UNIX_EPOCH + half, 0),
            (UNIX_EPOCH - half, -1),
            (UNIX_EPOCH - half - half, -1),
            (UNIX_EPOCH - half * 3, -2),
        ] {
            assert_eq!(Timestamp::from(moment).as_unix(), seconds);
            assert_eq!(OffsetDateTime::from(moment).unix_timestamp(), seconds);
        }
    }

    #[cfg(feature = "serde")]
    #[test]
    fn deserialised_timestamps_saturate_at_their_limits() {
        for (text, moment) in [
            ("1766140200", Timestamp::from_unix(1_766_140_200)),
            ("-9223372036854775808", Timestamp::MIN),
            ("9223372036854775807", Timestamp::MAX),
        ] {
            assert_eq!(serde_json::from_str::<Timestamp>(text).unwrap(), moment);
        }
    }
}
