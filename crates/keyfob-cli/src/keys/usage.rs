//! `keyfob keys usage`

use std::collections::BTreeMap;

use clap::Args;
use keyfob::{
    key::CredentialId,
    manage::{UsageBucket, UsageOf, UsageRange, UsageSeries, UsageStep},
};
use serde::Serialize;

use crate::{
    command_context::CommandContext,
    failure::Failure,
    terminal::{TableView, Tone},
};

/// Show the use of a key over time
///
/// By day in UTC, or by hour with `--hours`. The table leaves out the days or hours without a use.
/// Refused uses are those with the right secret: of an expired key, for another namespace.
#[derive(Args, Debug)]
pub(crate) struct UsageOverTime {
    /// The key id
    key: String,

    /// The use on each of the last days, today included
    #[arg(
        long,
        value_name = "N",
        default_value_t = 30,
        value_parser = clap::value_parser!(u16).range(1..=400)
    )]
    days: u16,

    /// The use in each of the last hours, the current one included
    #[arg(
        long,
        value_name = "N",
        conflicts_with = "days",
        value_parser = clap::value_parser!(u16).range(1..=744)
    )]
    hours: Option<u16>,
}

#[derive(Serialize)]
struct KeyUse {
    id: String,
    by: &'static str,
    from: String,
    to: String,
    buckets: Vec<Bucket>,
    accepted: u64,
    refused: u64,
}

#[derive(Serialize)]
struct Bucket {
    start: String,
    accepted: u64,
    refused: u64,
    reasons: BTreeMap<&'static str, u64>,
}

impl UsageOverTime {
    pub(super) async fn run(self, cx: &CommandContext) -> Result<(), Failure> {
        let id = cx.key_id(&self.key)?;
        cx.keyring.get(&cx.tenant()?, id).await?;
        let range = match self.hours {
            Some(hours) => UsageRange::last(UsageStep::Hour, hours, cx.now),
            None => UsageRange::last(UsageStep::Day, self.days, cx.now),
        };
        let of = [UsageOf::Credential(CredentialId::Key(id))];
        for series in cx.keyring.usage_series(&of, &range).await? {
            let id = cx.keyring.format().key_id(id);
            let used = KeyUse::new(id, &range, &series);
            cx.terminal.answer(&used, KeyUse::table)?;
        }
        Ok(())
    }
}

impl KeyUse {
    fn new(id: String, range: &UsageRange, series: &UsageSeries) -> Self {
        let total = series.total();
        Self {
            id,
            by: range.step().as_str(),
            from: range.from().to_string(),
            to: range.to().to_string(),
            buckets: series.buckets.iter().map(Bucket::from).collect(),
            accepted: total.accepted(),
            refused: total.refused(),
        }
    }

    fn table(&self) -> TableView {
        let headings = ["START", "ACCEPTED", "REFUSED", "REASONS"];
        let mut table = TableView::new(headings, "no use in this time");
        let used = self.buckets.iter();
        for bucket in used.filter(|bucket| bucket.accepted > 0 || bucket.refused > 0) {
            let reasons = bucket.reasons.iter();
            let reasons: Vec<String> = reasons.map(|(why, n)| format!("{why} {n}")).collect();
            let refused = match bucket.refused {
                0 => Tone::Plain,
                _ => Tone::Warning,
            };
            table.row([
                (bucket.start.clone(), Tone::Plain),
                (bucket.accepted.to_string(), Tone::Plain),
                (bucket.refused.to_string(), refused),
                (reasons.join(", "), Tone::Dim),
            ]);
        }
        table
    }
}

impl From<&UsageBucket> for Bucket {
    fn from(bucket: &UsageBucket) -> Self {
        let reasons = bucket.keys.reasons();
        Self {
            start: bucket.start.to_string(),
            accepted: bucket.accepted(),
            refused: bucket.refused(),
            reasons: reasons.map(|(why, n)| (why.as_str(), n)).collect(),
        }
    }
}
