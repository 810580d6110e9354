//! What replicas report.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use keyfob::{
    Timestamp,
    gateway::{UsageBatch, UsageDelta, UsageSource},
    key::CredentialId,
};
use serde::{Deserialize, Serialize};

use crate::{filter::Filter, position::Position, receiver::Refusals};

use super::authorize::ReplicaRight;

/// A report of a replica: what was used, and its own state.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Report {
    /// What counts the usage in the replica's process.
    pub source: UsageSource,
    /// The number of the report: see [`UsageBatch::sequence`]. Its usage is recorded once.
    pub sequence: u64,
    /// The hour of the usage: see [`UsageBatch::hour`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hour: Option<Timestamp>,
    /// What was used in this hour and was not reported yet.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub usage: Vec<UsageDelta>,
    /// The state of the replica.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replica: Option<ReplicaState>,
    /// Who made the report, if it comes from a relay.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub origin: Option<Origin>,
}

/// Who made a report that a relay hands on. So a report has one identity, on each way to the authority.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Origin {
    /// The credential of the replica.
    pub credential: CredentialId,
    /// What it may read, as the query of a filter.
    pub reads: String,
}

impl Report {
    /// The longest report, in bytes.
    pub const BYTES_MAX: usize = 4 << 20;
    /// The largest number of credentials and outcomes in a report.
    pub const USAGE_MAX: usize = 20_000;

    /// Parses a report.
    pub(crate) fn parse(body: &[u8]) -> Result<Self, String> {
        let report: Self = serde_json::from_slice(body)
            .map_err(|error| format!("the report is malformed, at column {}", error.column()))?;
        if report.usage.len() > Self::USAGE_MAX {
            return Err(format!("usage: at most {} are allowed", Self::USAGE_MAX));
        }
        if report.hour.is_none() && !report.usage.is_empty() {
            return Err("hour: must be that of the usage".into());
        }
        if let Some(replica) = &report.replica {
            let is_short = |text: &str, most: usize| {
                text.len() <= most && text.chars().all(|c| matches!(c, ' '..='~'))
            };
            if !is_short(&replica.name, 128) || !is_short(&replica.version, 64) {
                return Err("replica: name and version must be short and printable".into());
            }
        }
        Ok(report)
    }

    /// The usage, as a store records it; `None` if there is none.
    pub(crate) fn batch(&self) -> Option<UsageBatch> {
        let hour = self.hour.filter(|_| !self.usage.is_empty())?;
        Some(UsageBatch {
            source: self.source,
            sequence: self.sequence,
            hour,
            usage: self.usage.clone(),
        })
    }
}

/// The state of a replica, as it reports it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct ReplicaState {
    /// What its operator calls it, such as its host.
    pub name: String,
    /// Its position; `None` if it has loaded nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub position: Option<Position>,
    /// How old its index is, in milliseconds.
    #[serde(default)]
    pub lag_ms: u64,
    /// The age of its index at which it refuses every call, in milliseconds, if it has such a bound.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bound_ms: Option<u64>,
    /// How many lines it refused, by reason.
    #[serde(default)]
    pub refused: Refusals,
    /// The version of its program.
    #[serde(default)]
    pub version: String,
}

/// The last report of a replica.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ReplicaReport {
    /// Its process: see [`Report::source`].
    pub source: UsageSource,
    /// The number of the report.
    pub sequence: u64,
    /// Its state.
    pub state: ReplicaState,
    /// Its credential, if that is one of Keyfob.
    pub credential: Option<CredentialId>,
    /// What its credential may read.
    pub right: Filter,
    /// When the report arrived, in Unix milliseconds.
    pub received_at: u64,
}

/// The last report of each replica. Cheap to clone.
#[derive(Clone, Default)]
pub struct Fleet(Arc<Mutex<BTreeMap<UsageSource, ReplicaReport>>>);

impl Fleet {
    /// How many replicas are kept: those that reported last, and of one credential at most
    /// [`UsageSource::GROUP_MAX`].
    pub const MOST: usize = 20_000;

    /// The last reports, by name. Those that are older than `oldest` (Unix milliseconds) are left
    /// out.
    pub fn replicas(&self, oldest: u64) -> Vec<ReplicaReport> {
        let reports = self.lock();
        let recent = reports
            .values()
            .filter(|report| report.received_at >= oldest);
        let mut recent: Vec<ReplicaReport> = recent.cloned().collect();
        drop(reports);
        recent.sort_by(|a, b| (&a.state.name, &a.source).cmp(&(&b.state.name, &b.source)));
        recent
    }

    pub(crate) fn keep(&self, report: &Report, right: &ReplicaRight, now: u64) {
        let (source, Some(state)) = (right.source(report.source), &report.replica) else {
            return;
        };
        let mut reports = self.lock();
        if !reports.contains_key(&source) {
            let (first, last) = source.group();
            let oldest = if reports.range(first..=last).count() >= UsageSource::GROUP_MAX {
                let own = reports.range(first..=last);
                own.min_by_key(|(_, report)| report.received_at)
            } else if reports.len() >= Self::MOST {
                reports.iter().min_by_key(|(_, report)| report.received_at)
            } else {
                None
            };
            if let Some(oldest) = oldest.map(|(source, _)| *source) {
                reports.remove(&oldest);
            }
        }
        let report = ReplicaReport {
            source: report.source,
            sequence: report.sequence,
            state: state.clone(),
            credential: right.credential(),
            right: right.filter().clone(),
            received_at: now,
        };
        // A report that was sent again and arrives late replaces none.
        match reports.get(&source) {
            Some(known) if known.sequence > report.sequence => {}
            _ => {
                reports.insert(source, report);
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<UsageSource, ReplicaReport>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Fleet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fleet")
            .field("replicas", &self.lock().len())
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(source: u32, sequence: u64) -> Report {
        let text = format!(
            r#"{{"source":"{source:032x}","sequence":{sequence},"replica":{{"name":"gw-{source}"}}}}"#
        );
        Report::parse(text.as_bytes()).unwrap()
    }

    fn right(reporter: u32) -> ReplicaRight {
        let right = ReplicaRight::new(Filter::All, |_| true);
        right.of_reporter(reporter.to_be_bytes())
    }

    #[test]
    fn the_last_report_of_each_replica_is_kept() {
        let fleet = Fleet::default();
        fleet.keep(&report(2, 1), &right(0), 100);
        fleet.keep(&report(1, 7), &right(0), 200);
        fleet.keep(&report(1, 6), &right(0), 300);
        let names = |oldest| {
            let replicas = fleet.replicas(oldest).into_iter();
            replicas
                .map(|r| (r.state.name, r.sequence))
                .collect::<Vec<_>>()
        };
        assert_eq!(names(0), [("gw-1".into(), 7), ("gw-2".into(), 1)]);
        assert_eq!(names(150), [("gw-1".into(), 7)]);
    }

    #[test]
    fn the_number_of_replicas_is_bounded() {
        let fleet = Fleet::default();
        for n in 0..u32::try_from(Fleet::MOST).unwrap() + 5 {
            fleet.keep(&report(n, 1), &right(n % 100), n.into());
        }
        let replicas = fleet.replicas(0);
        assert_eq!(replicas.len(), Fleet::MOST);
        assert!(replicas.iter().all(|replica| replica.received_at >= 5));
    }

    #[test]
    fn the_replicas_of_one_credential_do_not_displace_those_of_others() {
        let fleet = Fleet::default();
        fleet.keep(&report(0, 1), &right(1), 0);
        let most = u32::try_from(UsageSource::GROUP_MAX).unwrap();
        for n in 1..=most + 5 {
            fleet.keep(&report(n, 1), &right(2), n.into());
        }
        let replicas = fleet.replicas(0);
        assert_eq!(replicas.len(), UsageSource::GROUP_MAX + 1);
        let arrived = replicas.iter().map(|replica| replica.received_at);
        assert_eq!(arrived.filter(|at| (1..=5).contains(at)).count(), 0);
    }

    #[test]
    fn a_malformed_report_is_refused_without_its_text() {
        let source = "0".repeat(32);
        let used = format!(r#"{{"credential":"key:{source}","outcome":"accepted","count":1}}"#);
        let wrong = used.replace("accepted", "wrong_secret");
        let with_hour =
            format!(r#"{{"source":"{source}","sequence":1,"hour":0,"usage":[{used}]}}"#);
        assert!(Report::parse(with_hour.as_bytes()).is_ok());
        for bad in [
            "{}".to_owned(),
            "secret".into(),
            format!(r#"{{"source":"{source}"}}"#),
            format!(r#"{{"source":"{}","sequence":1}}"#, "A".repeat(32)),
            format!(r#"{{"source":"+{}","sequence":1}}"#, "0".repeat(31)),
            format!(r#"{{"source":"{source}","sequence":1,"secret":1}}"#),
            format!(r#"{{"source":"{source}","sequence":1,"usage":[{used}]}}"#),
            format!(r#"{{"source":"{source}","sequence":1,"hour":0,"usage":[{wrong}]}}"#),
            format!(r#"{{"source":"{source}","sequence":1,"replica":{{"name":"a\nb"}}}}"#),
        ] {
            let error = Report::parse(bad.as_bytes()).unwrap_err();
            assert!(!error.contains("secret"), "{error}");
        }
    }
}
