//! What goes back to the authority: usage, and how far the replica is.

use std::collections::VecDeque;

use keyfob::{
    Timestamp,
    gateway::{UsageBatch, UsageDelta, UsageSource},
    key::SystemRandom,
};
use keyfob_feed::Refusals;
use serde::Serialize;
use tokio::time::timeout;

use super::{
    Config, FeedStatus, Upstream,
    client::{Connection, WORK_WITHIN},
    error::FeedError,
};

/// Sends reports, one after the other.
///
/// The reports of a process have one source and numbers of their own, since a batch may be too
/// long for one report. A report whose answer was lost is sent again unchanged.
#[derive(Default)]
pub(super) struct Reporter {
    /// It is used again while it is open.
    connection: Option<(Upstream, Connection)>,
    source: Option<UsageSource>,
    /// The number of the last report with usage.
    sequence: u64,
    /// The batch that is on its way, or was the last one.
    batch: Option<(UsageSource, u64)>,
    /// What is left of it.
    parts: VecDeque<Part>,
}

struct Part {
    sequence: u64,
    hour: Timestamp,
    usage: Vec<UsageDelta>,
}

#[derive(Serialize)]
struct Report<'a> {
    source: UsageSource,
    sequence: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    hour: Option<Timestamp>,
    usage: &'a [UsageDelta],
    replica: ReplicaState<'a>,
}

#[derive(Serialize)]
struct ReplicaState<'a> {
    name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    position: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    lag_ms: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    bound_ms: Option<u64>,
    refused: Refusals,
    version: &'a str,
}

impl Reporter {
    pub(super) async fn report(
        &mut self,
        config: &Config,
        status: &FeedStatus,
        usage: Option<&UsageBatch>,
    ) -> Result<(), FeedError> {
        if let Some(batch) = usage {
            self.take(batch);
        }
        if self.parts.is_empty() {
            // The number of a report that was recorded before: it has no usage.
            return self.send(config, status, self.sequence, None).await;
        }
        while let Some(part) = self.parts.pop_front() {
            // It stays the first one if the future is dropped.
            let usage = (part.hour, part.usage.clone());
            let sequence = part.sequence;
            self.parts.push_front(part);
            self.send(config, status, sequence, Some(&usage)).await?;
            self.parts.pop_front();
        }
        Ok(())
    }

    /// Divides a batch, unless it is the one that is on its way.
    fn take(&mut self, batch: &UsageBatch) {
        let name = Some((batch.source, batch.sequence));
        if self.batch == name {
            return;
        }
        self.batch = name;
        for usage in batch.usage.chunks(USAGE_MAX) {
            self.sequence += 1;
            self.parts.push_back(Part {
                sequence: self.sequence,
                hour: batch.hour,
                usage: usage.to_vec(),
            });
        }
    }

    async fn send(
        &mut self,
        config: &Config,
        status: &FeedStatus,
        sequence: u64,
        usage: Option<&(Timestamp, Vec<UsageDelta>)>,
    ) -> Result<(), FeedError> {
        let source = match self.source {
            Some(source) => source,
            None => *self
                .source
                .insert(UsageSource::random(&SystemRandom).map_err(FeedError::Random)?),
        };
        let lag = (status.as_of > 0).then(|| config.clocks.wall().saturating_sub(status.as_of));
        let report = Report {
            source,
            sequence,
            hour: usage.map(|(hour, _)| *hour),
            usage: usage.map_or(&[], |(_, usage)| usage),
            replica: ReplicaState {
                name: &config.name,
                position: status.position.map(|position| position.to_string()),
                lag_ms: lag,
                bound_ms: config
                    .bound
                    .map(|bound| u64::try_from(bound.as_millis()).unwrap_or(u64::MAX)),
                refused: status.refused,
                version: env!("CARGO_PKG_VERSION"),
            },
        };
        let body = serde_json::to_vec(&report).map_err(|error| FeedError::Body(error.into()))?;
        // The upstream of the stream first, then the others in their order.
        let current = status.upstream.as_ref();
        let others = config.upstreams.iter();
        let others = others.filter(|other| Some(*other) != current);
        let mut result = Err(FeedError::Closed);
        for upstream in current.into_iter().chain(others) {
            result = self.send_to(config, upstream, body.clone()).await;
            if result.is_ok() {
                break;
            }
        }
        result
    }

    async fn send_to(
        &mut self,
        config: &Config,
        upstream: &Upstream,
        body: Vec<u8>,
    ) -> Result<(), FeedError> {
        // If it fails, the connection is not used again.
        let mut connection = match self.connection.take() {
            Some((of, connection)) if of == *upstream && connection.is_ready() => connection,
            _ => config.client.connect(upstream).await?,
        };
        let answer = timeout(WORK_WITHIN, connection.post("/v1/feed/report", body)).await;
        answer.unwrap_or(Err(FeedError::TimedOut("the answer")))?;
        self.connection = Some((upstream.clone(), connection));
        Ok(())
    }
}

/// How many credentials a report has at most, within `keyfob_feed::server::Report`'s limits.
const USAGE_MAX: usize = 10_000;

#[cfg(test)]
mod tests {
    use keyfob::{KeyId, key::CredentialId};

    use super::*;

    fn batch(sequence: u64, credentials: u32) -> UsageBatch {
        let usage = |number: u32| {
            let id = KeyId::from_bytes(u128::from(number).to_be_bytes());
            UsageDelta::accepted(CredentialId::Key(id), Timestamp::from_unix(1_700_000_000))
        };
        UsageBatch {
            source: UsageSource::from_bytes([7; 16]),
            sequence,
            hour: Timestamp::UNIX_EPOCH,
            usage: (0..credentials).map(usage).collect(),
        }
    }

    fn parts(reporter: &Reporter) -> Vec<(u64, usize)> {
        let parts = reporter.parts.iter();
        parts
            .map(|part| (part.sequence, part.usage.len()))
            .collect()
    }

    #[test]
    fn a_long_batch_is_divided_and_each_part_keeps_its_number() {
        let mut reporter = Reporter::default();
        reporter.take(&batch(1, 25_000));
        let expected = [(1, 10_000), (2, 10_000), (3, 5_000)];
        assert_eq!(parts(&reporter), expected);
        reporter.take(&batch(1, 25_000));
        assert_eq!(parts(&reporter), expected, "it is the same one");
        reporter.parts.clear();
        reporter.take(&batch(2, 1));
        assert_eq!(parts(&reporter), [(4, 1)]);
        // The recorder of another replica over the same source counts from one.
        reporter.parts.clear();
        reporter.take(&UsageBatch {
            source: UsageSource::from_bytes([8; 16]),
            ..batch(2, 1)
        });
        assert_eq!(parts(&reporter), [(5, 1)]);
    }

    #[test]
    fn the_longest_report_is_within_the_limits_of_the_server() {
        use keyfob_feed::server::Report as Limits;

        let mut usage = batch(1, u32::try_from(USAGE_MAX).unwrap()).usage;
        for usage in &mut usage {
            usage.outcome = keyfob::gateway::UsageOutcome::AcceptedPrevious;
            usage.count = u64::MAX;
        }
        assert!(usage.len() <= Limits::USAGE_MAX);
        let bytes = serde_json::to_vec(&usage).unwrap().len();
        // What a report has besides is short.
        assert!(bytes + (8 << 10) < Limits::BYTES_MAX, "{bytes}");
    }
}
