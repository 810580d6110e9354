//! What goes back to the authority: usage, and how far the replica is.

use keyfob::gateway::{Usage, UsageBatch, UsageSource};
use keyfob_feed::Refusals;
use serde::Serialize;
use tokio::time::timeout;

use super::{
    Config, FeedStatus, Upstream,
    client::{Connection, WORK_WITHIN},
    error::FeedError,
};

/// The connection for reports, which is used again while it is open.
#[derive(Default)]
pub(super) struct Reporter(Option<(Upstream, Connection)>);

#[derive(Serialize)]
struct Report<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    source: Option<UsageSource>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sequence: Option<u64>,
    usage: &'a [Usage],
    replica: ReplicaReport<'a>,
}

#[derive(Serialize)]
struct ReplicaReport<'a> {
    name: &'a str,
    position: Option<String>,
    lag_ms: Option<u64>,
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
        let lag = (status.as_of > 0).then(|| config.clocks.now().saturating_sub(status.as_of));
        let report = Report {
            source: usage.map(|batch| batch.source),
            sequence: usage.map(|batch| batch.sequence),
            usage: usage.map_or(&[], |batch| &batch.usage),
            replica: ReplicaReport {
                name: &config.name,
                position: status.position.map(|position| position.to_string()),
                lag_ms: lag,
                refused: status.refused,
                version: env!("CARGO_PKG_VERSION"),
            },
        };
        let body = serde_json::to_vec(&report).map_err(|error| FeedError::Body(error.into()))?;
        // The upstream of the stream first, then the others in their order.
        let current = status.upstream.as_ref();
        let others = config
            .upstreams
            .iter()
            .filter(|other| Some(*other) != current);
        let mut result = Err(FeedError::Closed);
        for upstream in current.into_iter().chain(others) {
            result = self.send(config, upstream, body.clone()).await;
            if result.is_ok() {
                break;
            }
        }
        result
    }

    async fn send(
        &mut self,
        config: &Config,
        upstream: &Upstream,
        body: Vec<u8>,
    ) -> Result<(), FeedError> {
        // If it fails, the connection is not used again.
        let mut connection = match self.0.take() {
            Some((of, connection)) if of == *upstream && connection.is_ready() => connection,
            _ => config.client.connect(upstream).await?,
        };
        let answer = timeout(WORK_WITHIN, connection.post("/v1/feed/report", body)).await;
        answer.unwrap_or(Err(FeedError::TimedOut("the answer")))?;
        self.0 = Some((upstream.clone(), connection));
        Ok(())
    }
}
