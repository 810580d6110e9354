//! The server's metrics.

use std::time::Duration;

use keyfob_replica::metrics as replica;
use metrics::describe_gauge;
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};

use tokio::time::{MissedTickBehavior, interval};

use crate::{exit::Exit, failure::Failure};

/// Gauge: 1 if the last write to the store succeeded, 0 if it failed.
pub(crate) const WRITABLE: &str = "keyfob_store_writable";

/// Installs the recorder for all metrics of this process.
pub(crate) fn install() -> Result<PrometheusHandle, Failure> {
    let handle = PrometheusBuilder::new()
        .install_recorder()
        .map_err(|error| Failure::new(Exit::Failed, format!("metrics: {error}")))?;
    replica::describe();
    keyfob_listen::describe();
    keyfob_feed::server::metrics::describe();
    keyfob_gateway::metrics::describe();
    crate::nats::describe_metrics();
    describe_gauge!(WRITABLE, "Whether the last write to the store succeeded");
    tokio::spawn(upkeep(handle.clone()));
    Ok(handle)
}

/// Sums up what histograms recorded, which takes memory for each request until then. A scrape does
/// it too, but nobody may scrape.
async fn upkeep(handle: PrometheusHandle) {
    let mut ticks = interval(UPKEEP_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        handle.run_upkeep();
    }
}

const UPKEEP_EVERY: Duration = Duration::from_secs(1);
