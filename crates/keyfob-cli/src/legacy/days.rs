//! The use of legacy credentials and of keys by day: the burn-down of a migration.

use std::collections::BTreeSet;

use keyfob::{
    Tenant,
    manage::{UsageBucket, UsageOf, UsageRange, UsageStep},
};
use serde::Serialize;

use crate::{
    command_context::CommandContext,
    failure::Failure,
    terminal::{TableView, Tone},
};

/// The use of a namespace on each day.
#[derive(Serialize)]
pub(super) struct NamespaceDays {
    team: String,
    namespace: String,
    days: Vec<Day>,
}

#[derive(Serialize)]
struct Day {
    start: String,
    legacy: u64,
    legacy_refused: u64,
    keys: u64,
    keys_refused: u64,
}

impl NamespaceDays {
    /// The use of these namespaces on the last days, today included.
    pub(super) async fn read(
        cx: &CommandContext,
        tenants: BTreeSet<Tenant>,
        days: u16,
    ) -> Result<Vec<Self>, Failure> {
        let range = UsageRange::last(UsageStep::Day, days, cx.now);
        let tenants: Vec<Tenant> = tenants.into_iter().collect();
        let mut read = Vec::new();
        for tenants in tenants.chunks(AT_ONCE) {
            let of = tenants.iter().map(|tenant| tenant.namespace.clone());
            let of: Vec<_> = of.map(UsageOf::Namespace).collect();
            let series = cx.keyring.usage_series(&of, &range).await?;
            for (tenant, series) in tenants.iter().zip(series) {
                read.push(Self {
                    team: tenant.team.to_string(),
                    namespace: tenant.namespace.to_string(),
                    days: series.buckets.iter().map(Day::from).collect(),
                });
            }
        }
        Ok(read)
    }

    pub(super) fn table(all: &[Self]) -> TableView {
        let headings = [
            "NAMESPACE",
            "TEAM",
            "DAY",
            "LEGACY",
            "REFUSED",
            "KEYS",
            "REFUSED",
        ];
        let mut table = TableView::new(headings, "no use in these days");
        for one in all {
            for day in one.days.iter().filter(|day| day.is_used()) {
                let plain = |text: &str| (text.to_owned(), Tone::Plain);
                let date = day.start.split('T').next().unwrap_or_default();
                let legacy = match day.legacy {
                    0 => Tone::Good,
                    _ => Tone::Warning,
                };
                table.row([
                    plain(&one.namespace),
                    plain(&one.team),
                    plain(date),
                    (day.legacy.to_string(), legacy),
                    plain(&day.legacy_refused.to_string()),
                    plain(&day.keys.to_string()),
                    plain(&day.keys_refused.to_string()),
                ]);
            }
        }
        table
    }
}

impl From<&UsageBucket> for Day {
    fn from(bucket: &UsageBucket) -> Self {
        Self {
            start: bucket.start.to_string(),
            legacy: bucket.legacy.accepted(),
            legacy_refused: bucket.legacy.refused(),
            keys: bucket.keys.accepted(),
            keys_refused: bucket.keys.refused(),
        }
    }
}

impl Day {
    fn is_used(&self) -> bool {
        [
            self.legacy,
            self.legacy_refused,
            self.keys,
            self.keys_refused,
        ] != [0; 4]
    }
}

/// How many namespaces one call of the store reads.
const AT_ONCE: usize = 100;
