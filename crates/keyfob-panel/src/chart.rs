//! Plots as SVG, without style: their looks are in the style sheet.

use std::fmt;

use crate::time::{Html, Moment, count, grouped};

/// Use by day, as small bars.
#[derive(Clone, Debug)]
pub(crate) struct Spark {
    days: Vec<Day>,
}

/// The use of a day.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Day {
    pub(crate) at: Moment,
    pub(crate) accepted: u64,
    pub(crate) refused: u64,
}

impl Spark {
    pub(crate) fn new(days: Vec<Day>) -> Self {
        Self { days }
    }

    pub(crate) fn title(&self) -> String {
        let accepted: u64 = self.days.iter().map(|day| day.accepted).sum();
        let refused: u64 = self.days.iter().map(|day| day.refused).sum();
        let days = count(self.days.len() as u64, "day");
        if refused == 0 {
            return format!("{} in {days}", count(accepted, "call"));
        }
        format!(
            "{} in {days}, {} refused",
            count(accepted, "call"),
            grouped(refused)
        )
    }
}

impl fmt::Display for Spark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const HEIGHT: u64 = 20;
        let most = self.days.iter().map(|day| day.accepted + day.refused).max();
        let most = most.unwrap_or_default().max(1);
        let width = self.days.len() * 8;
        write!(
            f,
            r#"<svg class="spark" role="img" viewBox="0 0 {width} {HEIGHT}" width="{width}" height="{HEIGHT}"><title>{}</title>"#,
            self.title()
        )?;
        for (at, day) in self.days.iter().enumerate() {
            let x = at * 8;
            let whole = bar(day.accepted + day.refused, most, HEIGHT);
            let refused = bar(day.refused, most, HEIGHT).min(whole);
            let y = HEIGHT - whole.max(1);
            let kind = if whole == 0 { "none" } else { "accepted" };
            write!(
                f,
                r#"<rect class="{kind}" x="{x}" y="{y}" width="6" height="{}"/>"#,
                whole.max(1)
            )?;
            if refused > 0 {
                write!(
                    f,
                    r#"<rect class="refused" x="{x}" y="{}" width="6" height="{refused}"/>"#,
                    HEIGHT - refused
                )?;
            }
        }
        f.write_str("</svg>")
    }
}

impl askama::filters::HtmlSafe for Spark {}

/// Numbers by day, as columns with a table of the same numbers.
#[derive(Clone, Debug)]
pub(crate) struct Columns {
    /// What the plot is about.
    pub(crate) title: String,
    /// What each of the two numbers of a day counts.
    pub(crate) first: &'static str,
    pub(crate) second: &'static str,
    pub(crate) days: Vec<Day>,
}

impl Columns {
    pub(crate) fn is_empty(&self) -> bool {
        self.days.iter().all(|day| day.accepted + day.refused == 0)
    }

    /// The most on one day.
    pub(crate) fn most(&self) -> u64 {
        let sums = self.days.iter().map(|day| day.accepted + day.refused);
        sums.max().unwrap_or_default()
    }

    pub(crate) fn scale(&self) -> String {
        grouped(self.most())
    }

    pub(crate) fn from(&self) -> String {
        self.days
            .first()
            .map(|day| day.at.date())
            .unwrap_or_default()
    }

    pub(crate) fn to(&self) -> String {
        self.days
            .last()
            .map(|day| day.at.date())
            .unwrap_or_default()
    }

    /// The plot, which the table next to it repeats.
    pub(crate) fn svg(&self) -> Html {
        const HEIGHT: u64 = 96;
        let (step, width) = (20, self.days.len() as u64 * 20);
        let most = self.most().max(1);
        let mut svg = format!(
            r#"<svg class="columns-plot" role="img" viewBox="0 0 {width} {HEIGHT}" preserveAspectRatio="none"><title>{}</title>"#,
            self.title
        );
        for (x, day) in (0..).step_by(step).zip(&self.days) {
            let whole = bar(day.accepted + day.refused, most, HEIGHT);
            let second = bar(day.refused, most, HEIGHT).min(whole);
            for (kind, top, height) in [
                ("accepted", HEIGHT - whole, whole - second),
                ("refused", HEIGHT - second, second),
            ] {
                if height > 0 {
                    let rect = format!(
                        r#"<rect class="{kind}" x="{x}" y="{top}" width="16" height="{height}"/>"#
                    );
                    svg.push_str(&rect);
                }
            }
        }
        svg.push_str(r#"<rect class="none" x="0" y="95" width="100%" height="1"/></svg>"#);
        Html(svg)
    }
}

/// The height of a bar: at least one for something.
fn bar(number: u64, most: u64, height: u64) -> u64 {
    let scaled = u128::from(number) * u128::from(height) / u128::from(most.max(1));
    let scaled = u64::try_from(scaled).unwrap_or(height);
    if number > 0 { scaled.max(2) } else { 0 }
}

/// The time from now to a sunset, with the brownouts on the way.
#[derive(Clone, Debug)]
pub(crate) struct Timeline {
    now: Moment,
    sunset: Option<Moment>,
    brownouts: Vec<(Moment, Moment)>,
}

impl Timeline {
    pub(crate) fn new(
        now: Moment,
        sunset: Option<Moment>,
        brownouts: Vec<(Moment, Moment)>,
    ) -> Self {
        Self {
            now,
            sunset,
            brownouts,
        }
    }

    fn title(&self) -> String {
        let Some(sunset) = self.sunset else {
            return "Shared credentials are refused".to_owned();
        };
        let to_come = self.brownouts.iter().filter(|(_, end)| *end > self.now);
        let number = to_come.count() as u64;
        let brownouts = count(number, "brownout");
        if sunset <= self.now {
            format!("Refused since {}", sunset.date())
        } else {
            format!("Accepted until {}, {brownouts} to come", sunset.date())
        }
    }
}

impl fmt::Display for Timeline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const WIDTH: i64 = 240;
        write!(
            f,
            r#"<svg class="timeline" role="img" viewBox="0 0 {WIDTH} 16" width="{WIDTH}" height="16"><title>{}</title>"#,
            self.title()
        )?;
        let ends = self.brownouts.iter().map(|(_, end)| end.unix());
        let last = ends.chain(self.sunset.map(Moment::unix)).max();
        let from = self.now.unix() - 86_400;
        let to = last.unwrap_or_default().max(self.now.unix() + 7 * 86_400) + 86_400;
        let x = |at: i64| ((at - from).clamp(0, to - from) * WIDTH) / (to - from);
        let sunset = self.sunset.map_or(0, |at| x(at.unix()));
        write!(
            f,
            r#"<rect class="over" x="0" y="6" width="{WIDTH}" height="4"/>"#
        )?;
        write!(
            f,
            r#"<rect class="accepted" x="0" y="6" width="{sunset}" height="4"/>"#
        )?;
        for (start, end) in &self.brownouts {
            let (start, end) = (x(start.unix()), x(end.unix()));
            write!(
                f,
                r#"<rect class="refused" x="{start}" y="3" width="{}" height="10"/>"#,
                (end - start).max(2)
            )?;
        }
        write!(
            f,
            r#"<rect class="now" x="{}" y="0" width="2" height="16"/></svg>"#,
            x(self.now.unix())
        )
    }
}

impl askama::filters::HtmlSafe for Timeline {}

/// How many keys expire on each day of some weeks.
#[derive(Clone, Debug)]
pub(crate) struct Calendar {
    pub(crate) weeks: Vec<Vec<CalendarDay>>,
}

#[derive(Clone, Debug)]
pub(crate) struct CalendarDay {
    pub(crate) at: Moment,
    pub(crate) keys: u64,
    pub(crate) past: bool,
}

impl CalendarDay {
    pub(crate) fn number(&self) -> String {
        let date = self.at.date();
        match date.split_once(' ') {
            Some(("1", rest)) => format!("1 {}", rest.get(..3).unwrap_or_default()),
            Some((day, _)) => day.to_owned(),
            None => date,
        }
    }

    pub(crate) fn level(&self) -> &'static str {
        match self.keys {
            0 => "",
            1 => "low",
            2..=4 => "mid",
            _ => "high",
        }
    }
}

impl Calendar {
    /// Whole weeks from Monday of this week on.
    pub(crate) fn new(now: Moment, weeks: i64, ends: &[Moment]) -> Self {
        const DAY: i64 = 86_400;
        let today = now.unix().div_euclid(DAY);
        // The first of January 1970 was a Thursday.
        let monday = today - (today + 3).rem_euclid(7);
        let day = |number: i64| CalendarDay {
            at: Moment(keyfob::Timestamp::from_unix(number * DAY)),
            keys: ends
                .iter()
                .filter(|at| at.unix().div_euclid(DAY) == number)
                .count() as u64,
            past: number < today,
        };
        let week = |from: i64| (from..from + 7).map(day).collect();
        let starts = (0..weeks).map(|at| monday + 7 * at);
        Self {
            weeks: starts.map(week).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn moment(text: &str) -> Moment {
        Moment(text.parse().unwrap())
    }

    #[test]
    fn a_calendar_begins_on_monday_and_counts_each_day() {
        let now = moment("2025-12-19T10:30:00Z");
        let ends = [
            "2025-12-20T00:00:00Z",
            "2025-12-20T23:59:59Z",
            "2025-12-21T00:00:00Z",
        ]
        .map(moment);
        let calendar = Calendar::new(now, 2, &ends);
        let days: Vec<_> = calendar.weeks.iter().flatten().collect();
        assert_eq!(days.len(), 14);
        assert_eq!(days[0].at.date(), "15 Dec 2025");
        let counts: Vec<_> = days.iter().map(|day| day.keys).collect();
        assert_eq!(counts, [0, 0, 0, 0, 0, 2, 1, 0, 0, 0, 0, 0, 0, 0]);
        assert!(days[3].past && !days[4].past);
    }

    #[test]
    fn a_plot_has_a_title_and_no_style() {
        let day = |accepted, refused| Day {
            at: moment("2025-12-19T00:00:00Z"),
            accepted,
            refused,
        };
        let spark = Spark::new(vec![day(0, 0), day(1_200, 0), day(3, 1)]).to_string();
        assert!(
            spark.contains("<title>1,203 calls in 3 days, 1 refused</title>"),
            "{spark}"
        );
        let now = moment("2025-12-19T10:30:00Z");
        let timeline = Timeline::new(
            now,
            Some(now.plus(864_000)),
            vec![(now.plus(3_600), now.plus(7_200))],
        );
        let timeline = timeline.to_string();
        assert!(
            timeline.contains("Accepted until 29 Dec 2025, 1 brownout to come"),
            "{timeline}"
        );
        for svg in [spark, timeline] {
            assert!(!svg.contains("style"), "{svg}");
        }
    }
}
