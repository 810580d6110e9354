//! Moments and durations for people.

use std::{borrow::Borrow, fmt};

use keyfob::Timestamp;
use serde::{Deserialize, Deserializer, de::Error as _};

/// A moment of the control plane.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Moment(pub(crate) Timestamp);

impl<'de> Deserialize<'de> for Moment {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
        text.parse().map(Self).map_err(D::Error::custom)
    }
}

impl Moment {
    /// RFC 3339 in UTC.
    pub(crate) fn iso(self) -> String {
        self.0.to_string()
    }

    /// `19 Dec 2025`, in UTC.
    pub(crate) fn date(self) -> String {
        let at = self.0.to_datetime();
        let month = MONTHS[usize::from(u8::from(at.month())).saturating_sub(1) % 12];
        format!("{} {month} {}", at.day(), at.year())
    }

    /// `19 Dec 2025, 10:30`, in UTC.
    pub(crate) fn minute(self) -> String {
        let at = self.0.to_datetime();
        format!("{}, {:02}:{:02}", self.date(), at.hour(), at.minute())
    }

    /// The time of day, in UTC.
    pub(crate) fn clock(self) -> String {
        let at = self.0.to_datetime();
        format!("{:02}:{:02}", at.hour(), at.minute())
    }

    /// The value of an input of the type `datetime-local`, in UTC.
    pub(crate) fn input(self) -> String {
        self.iso().chars().take(16).collect()
    }

    pub(crate) fn unix(self) -> i64 {
        self.0.as_unix()
    }

    pub(crate) fn plus(self, seconds: i64) -> Self {
        Self(Timestamp::from_unix(self.unix().saturating_add(seconds)))
    }

    /// The moment as `<time>`: its date and minute, which the page's script writes in the reader's
    /// zone.
    pub(crate) fn at(self) -> Html {
        Html(format!(
            r#"<time datetime="{}" title="{} UTC" data-local>{} UTC</time>"#,
            self.iso(),
            self.minute(),
            self.minute()
        ))
    }

    /// The same without the time of day.
    pub(crate) fn on(self) -> Html {
        Html(format!(
            r#"<time datetime="{}" title="{} UTC" data-local="date">{}</time>"#,
            self.iso(),
            self.minute(),
            self.date()
        ))
    }

    /// The moment as `<time>`, in words by its distance from `now`.
    pub(crate) fn from(self, now: impl Borrow<Self>) -> Html {
        let text = self.words(*now.borrow());
        if text.is_empty() {
            return self.on();
        }
        Html(format!(
            r#"<time datetime="{}" title="{} UTC">{text}</time>"#,
            self.iso(),
            self.minute()
        ))
    }

    fn words(self, now: Moment) -> String {
        let seconds = self.unix().saturating_sub(now.unix());
        let distance = seconds.unsigned_abs();
        let text = match distance {
            0..60 if seconds <= 0 => return "just now".to_owned(),
            0..60 => "in less than a minute".to_owned(),
            _ if distance >= 120 * DAY => return String::new(),
            // A key that was just created for 90 days expires in 90 days.
            _ if seconds > 0 => span(distance + half(distance)),
            _ => span(distance),
        };
        match (seconds > 0, distance < 60) {
            (_, true) => text,
            (true, _) => format!("in {text}"),
            (false, _) => format!("{text} ago"),
        }
    }
}

const MONTHS: [&str; 12] = [
    "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
];

pub(crate) const DAY: u64 = 86_400;

/// HTML that was made of numbers and names of ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Html(pub(crate) String);

impl fmt::Display for Html {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl askama::filters::HtmlSafe for Html {}

/// Half of the unit in which a duration is shown.
fn half(seconds: u64) -> u64 {
    match seconds {
        0..60 => 0,
        60..3_600 => 30,
        3_600..172_800 => 1_800,
        _ => DAY / 2,
    }
}

/// A duration in its largest unit: `3 days`.
pub(crate) fn span(seconds: u64) -> String {
    let (number, unit) = match seconds {
        0..60 => (seconds, "second"),
        60..3_600 => (seconds / 60, "minute"),
        3_600..172_800 => (seconds / 3_600, "hour"),
        _ => (seconds / DAY, "day"),
    };
    count(number, unit)
}

/// A duration in the largest unit of which it is a whole number.
fn whole(seconds: u64) -> (u64, &'static str) {
    match seconds {
        0 => (0, "hour"),
        _ if seconds >= 2 * DAY && seconds.is_multiple_of(DAY) => (seconds / DAY, "day"),
        _ if seconds.is_multiple_of(3_600) => (seconds / 3_600, "hour"),
        _ if seconds.is_multiple_of(60) => (seconds / 60, "minute"),
        _ => (seconds, "second"),
    }
}

/// A duration in words, exactly: `90 minutes`.
pub(crate) fn exactly(seconds: u64) -> String {
    let (number, unit) = whole(seconds);
    count(number, unit)
}

/// A duration as the text of an input: `90m`.
pub(crate) fn duration(seconds: u64) -> String {
    let (number, unit) = whole(seconds);
    format!("{number}{}", unit.get(..1).unwrap_or_default())
}

/// The seconds of such a text, in days, hours, minutes or seconds.
pub(crate) fn duration_seconds(text: &str) -> Option<u64> {
    let (number, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let unit = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3_600,
        "d" => DAY,
        _ => return None,
    };
    if !number.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    number.parse::<u64>().ok()?.checked_mul(unit)
}

/// A duration of the control plane, as in `90d` or `1h`, in words.
pub(crate) fn ttl_words(text: &str) -> String {
    let (number, unit) = text.split_at(text.len().saturating_sub(1));
    match (number.parse::<u64>(), unit) {
        (Ok(number), "h") => count(number, "hour"),
        (Ok(number), "d") => count(number, "day"),
        _ => text.to_owned(),
    }
}

/// The seconds of a duration of the control plane.
pub(crate) fn ttl_seconds(text: &str) -> Option<u64> {
    let (number, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let number: u64 = number.parse().ok()?;
    match unit {
        "h" => number.checked_mul(3_600),
        "d" => number.checked_mul(DAY),
        _ => None,
    }
}

/// A number with its noun: `1 key`, `12 keys`, `1,200 keys`.
pub(crate) fn count(number: impl Borrow<u64>, noun: &str) -> String {
    let number = *number.borrow();
    let plural = match noun.strip_suffix('y') {
        _ if number == 1 => noun.to_owned(),
        Some(stem) if !noun.ends_with("ey") && !noun.ends_with("ay") => format!("{stem}ies"),
        _ => format!("{noun}s"),
    };
    format!("{} {plural}", grouped(number))
}

/// A number in groups of three digits.
pub(crate) fn grouped(number: impl Borrow<u64>) -> String {
    let digits = number.borrow().to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at) % 3 == 0 {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn moment(text: &str) -> Moment {
        Moment(text.parse().unwrap())
    }

    #[test]
    fn a_moment_is_shown_by_its_distance() {
        let now = moment("2025-12-19T10:30:00Z");
        for (at, expected) in [
            ("2025-12-19T10:30:00Z", "just now"),
            ("2025-12-19T10:29:01Z", "just now"),
            ("2025-12-19T10:29:00Z", "1 minute ago"),
            ("2025-12-19T10:30:59Z", "in less than a minute"),
            ("2025-12-19T11:30:00Z", "in 1 hour"),
            ("2025-12-21T10:01:00Z", "in 2 days"),
            ("2025-12-21T09:31:00Z", "in 47 hours"),
            ("2026-01-18T10:29:00Z", "in 30 days"),
            ("2025-12-21T10:30:00Z", "in 2 days"),
            ("2026-03-19T10:30:00Z", "in 90 days"),
            ("2027-12-19T10:30:00Z", "19 Dec 2027"),
            ("2025-12-16T10:30:00Z", "3 days ago"),
        ] {
            let html = moment(at).from(now).0;
            assert!(html.contains(&format!(">{expected}<")), "{at}: {html}");
            assert!(html.contains(&format!("datetime=\"{at}\"")), "{html}");
            assert!(html.contains(" UTC\""), "{html}");
        }
    }

    #[test]
    fn numbers_have_their_plurals() {
        for (number, noun, expected) in [
            (0_u64, "key", "0 keys"),
            (1, "key", "1 key"),
            (2, "key", "2 keys"),
            (1_234_567, "policy", "1,234,567 policies"),
            (2, "day", "2 days"),
            (999, "namespace", "999 namespaces"),
        ] {
            assert_eq!(count(number, noun), expected);
        }
    }

    #[test]
    fn a_duration_is_read_as_it_was_shown() {
        for (seconds, text, words) in [
            (0, "0h", "0 hours"),
            (1, "1s", "1 second"),
            (1_800, "30m", "30 minutes"),
            (5_400, "90m", "90 minutes"),
            (5_401, "5401s", "5,401 seconds"),
            (86_400, "24h", "24 hours"),
            (172_800, "2d", "2 days"),
            (176_400, "49h", "49 hours"),
        ] {
            assert_eq!(
                (duration(seconds).as_str(), exactly(seconds).as_str()),
                (text, words)
            );
            assert_eq!(duration_seconds(text), Some(seconds));
        }
        for bad in [
            "",
            "h",
            "1",
            "+1h",
            "1.5h",
            "1w",
            "1H",
            "é",
            "99999999999999999999s",
        ] {
            assert_eq!(duration_seconds(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn durations_are_read_and_shown() {
        assert_eq!(ttl_words("90d"), "90 days");
        assert_eq!(ttl_words("1h"), "1 hour");
        assert_eq!(ttl_seconds("90d"), Some(7_776_000));
        for bad in ["", "d", "1w", "-1d"] {
            assert_eq!(ttl_seconds(bad), None, "{bad:?}");
        }
    }
}
