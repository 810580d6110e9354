//! Times and durations on the command line.

use std::time::Duration;

use keyfob::{Expiry, Timestamp, Ttl};
use time::{Date, macros::format_description};

/// A time or a duration, as given on the command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Moment {
    /// RFC 3339, or a date: midnight UTC.
    At(Timestamp),
    /// A duration, as in `90d`: from now or ago, depending on the option.
    Span(Duration),
}

impl Moment {
    /// The time, with a duration counted from now.
    pub(crate) fn ahead(self, now: Timestamp) -> Timestamp {
        match self {
            Self::At(moment) => moment,
            Self::Span(span) => now.plus_seconds(span.as_secs()),
        }
    }

    /// The time, with a duration counted back from now.
    pub(crate) fn ago(self, now: Timestamp) -> Timestamp {
        match self {
            Self::At(moment) => moment,
            Self::Span(span) => {
                let seconds = i64::try_from(span.as_secs()).unwrap_or(i64::MAX);
                Timestamp::from_unix(now.as_unix().saturating_sub(seconds))
            }
        }
    }
}

/// Parses `2027-01-31T08:00:00Z`, `2027-01-31` or `90d`.
pub(crate) fn parse(text: &str) -> Result<Moment, MomentError> {
    if let Some(span) = span(text) {
        return Ok(Moment::Span(span));
    }
    if let Ok(moment) = text.parse() {
        return Ok(Moment::At(moment));
    }
    let date = Date::parse(text, format_description!("[year]-[month]-[day]"));
    let date = date.map_err(|_| MomentError)?;
    Ok(Moment::At(date.midnight().assume_utc().into()))
}

/// Parses `never`, or what [`parse`] takes.
pub(crate) fn parse_expiry(text: &str) -> Result<Expiry, ExpiryError> {
    if text == "never" {
        return Ok(Expiry::Never);
    }
    match parse(text).map_err(|_| ExpiryError::Text)? {
        Moment::At(moment) => Ok(Expiry::At(moment)),
        Moment::Span(span) => Ttl::from_seconds(span.as_secs())
            .map(Expiry::In)
            .map_err(|_| ExpiryError::Length),
    }
}

/// Parses a duration, as in `24h`.
pub(crate) fn parse_span(text: &str) -> Result<Duration, SpanError> {
    span(text).ok_or(SpanError)
}

/// Parses a time to live of at least one hour.
pub(crate) fn parse_ttl(text: &str) -> Result<Ttl, ExpiryError> {
    let span = span(text).ok_or(ExpiryError::Text)?;
    Ttl::from_seconds(span.as_secs()).map_err(|_| ExpiryError::Length)
}

/// A duration in any unit. A year is 365 days and a month 30, as people count them: for `humantime` a
/// year has 365.25 days, which is more than a policy of 365 days allows.
fn span(text: &str) -> Option<Duration> {
    let (mut rest, mut days, mut others) = (text.trim(), 0_u64, String::new());
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit())?;
        let (number, unit) = rest.split_at(digits);
        let end = unit.find(|c: char| c.is_ascii_digit() || c == ' ');
        let (unit, next) = unit.split_at(end.unwrap_or(unit.len()));
        let of_unit = match unit {
            "y" | "yr" | "yrs" | "year" | "years" => 365,
            "M" | "month" | "months" => 30,
            _ => 0,
        };
        if of_unit > 0 {
            days = days.checked_add(number.parse::<u64>().ok()?.checked_mul(of_unit)?)?;
        } else {
            others.extend([number, unit, " "]);
        }
        rest = next.trim_start();
    }
    let span = Duration::from_secs(days.checked_mul(86_400)?);
    match others.trim_end() {
        "" if days > 0 => Some(span),
        others => span.checked_add(humantime::parse_duration(others).ok()?),
    }
}

/// A text is neither a time nor a duration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be a time (2027-01-31T08:00:00Z), a date (2027-01-31) or a duration (90d)")]
pub(crate) struct MomentError;

/// A text is not a duration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be a duration, as in 30s, 12h or 90d")]
pub(crate) struct SpanError;

/// A text is not an expiry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ExpiryError {
    #[error("must be `never`, a duration (90d), a time (2027-01-31T08:00:00Z) or a date")]
    Text,
    #[error("must be at least one hour (1h)")]
    Length,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_lengths_and_dates_are_told_apart() {
        let at = |seconds| Moment::At(Timestamp::from_unix(seconds));
        assert_eq!(parse("2027-01-15T08:00:00Z"), Ok(at(1_800_000_000)));
        assert_eq!(parse("2027-01-15T09:00:00+01:00"), Ok(at(1_800_000_000)));
        assert_eq!(parse("2027-01-15"), Ok(at(1_799_971_200)));
        assert_eq!(parse("90m"), Ok(Moment::Span(Duration::from_mins(90))));
        for bad in ["", "soon", "90", "2027-02-30", "2027-01-15 08:00"] {
            assert_eq!(parse(bad), Err(MomentError), "{bad:?}");
        }
    }

    #[test]
    fn a_year_has_365_days_and_a_month_30() {
        let days = |days: u64| Some(Duration::from_hours(days * 24));
        for (text, expected) in [
            ("1y", days(365)),
            ("2years", days(730)),
            ("1y 1M 1d", days(396)),
            ("1M", days(30)),
            ("52w", days(364)),
            ("1year2days", days(367)),
            ("1h 30m", Some(Duration::from_mins(90))),
            ("90", None),
            ("y", None),
            ("1y 5", None),
            ("99999999999999999999y", None),
            ("", None),
        ] {
            assert_eq!(span(text), expected, "{text:?}");
        }
    }

    #[test]
    fn a_length_counts_the_way_it_is_asked() {
        let now = Timestamp::from_unix(1_000);
        let hour = parse("1h").unwrap();
        assert_eq!(hour.ahead(now).as_unix(), 4_600);
        assert_eq!(hour.ago(now).as_unix(), -2_600);
    }

    #[test]
    fn an_end_is_a_length_a_moment_or_never() {
        assert_eq!(parse_expiry("never"), Ok(Expiry::Never));
        assert_eq!(parse_expiry("90d"), Ok(Expiry::In(Ttl::days(90).unwrap())));
        assert_eq!(parse_expiry("59m"), Err(ExpiryError::Length));
        assert_eq!(parse_expiry("Never"), Err(ExpiryError::Text));
        assert_eq!(
            parse_expiry("1970-01-02"),
            Ok(Expiry::At(Timestamp::from_unix(86_400)))
        );
    }
}
