//! What is measured, under which name.

use metrics::{describe_counter, describe_gauge};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};

use crate::{exit::Exit, failure::Failure};

/// Calls that a proxy asked about, by `result` and `reason`.
pub(super) const AUTH: &str = "keyfob_auth_total";
/// Accepted calls with a legacy credential.
pub(super) const LEGACY: &str = "keyfob_auth_legacy_total";
/// How long ago the index was known to be up to date.
pub(super) const AGE: &str = "keyfob_index_age_seconds";
/// The revision that the index is at.
pub(super) const REVISION: &str = "keyfob_index_revision";
/// Connections at once.
pub(super) const CONNECTIONS: &str = "keyfob_connections";
/// Attempts to follow the store that failed.
pub(super) const FOLLOW_FAILED: &str = "keyfob_follow_failures_total";
/// Attempts to write usage down that failed.
pub(super) const FLUSH_FAILED: &str = "keyfob_usage_flush_failures_total";
/// Uses that were not counted for want of room.
pub(super) const USAGE_LOST: &str = "keyfob_usage_lost_total";

/// Makes the recorder that everything in this process reports to.
pub(super) fn install() -> Result<PrometheusHandle, Failure> {
    let handle = PrometheusBuilder::new()
        .install_recorder()
        .map_err(|error| Failure::new(Exit::Failed, format!("metrics: {error}")))?;
    describe_counter!(AUTH, "Calls that a proxy asked about");
    describe_counter!(LEGACY, "Accepted calls with a legacy credential");
    describe_gauge!(AGE, "How long ago the index was known to be up to date");
    describe_gauge!(REVISION, "The revision that the index is at");
    describe_gauge!(CONNECTIONS, "Connections at once");
    describe_counter!(FOLLOW_FAILED, "Attempts to follow the store that failed");
    describe_counter!(FLUSH_FAILED, "Attempts to write usage down that failed");
    describe_counter!(USAGE_LOST, "Uses that were not counted for want of room");
    Ok(handle)
}
