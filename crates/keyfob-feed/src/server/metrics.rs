//! The names of the metrics, which are reported through the crate `metrics`.

use metrics::{describe_counter, describe_gauge};

/// Gauge: open streams.
pub const STREAMS: &str = "keyfob_feed_streams";
/// Gauge: the store's revision up to which the feed is published.
pub const REVISION: &str = "keyfob_feed_revision";
/// Gauge: filters in use.
pub const FILTERS: &str = "keyfob_feed_filters";
/// Counter: signatures made.
pub const SIGNATURES: &str = "keyfob_feed_signatures_total";
/// Counter: bytes of lines given to streams.
pub const BYTES: &str = "keyfob_feed_bytes_total";
/// Counter: snapshots made or fetched.
pub const SNAPSHOTS: &str = "keyfob_feed_snapshots_total";
/// Counter: streams refused since their position is gone; their readers load a snapshot.
pub const GONE: &str = "keyfob_feed_gone_total";
/// Counter: streams ended since their reader was too slow.
pub const SLOW: &str = "keyfob_feed_slow_readers_total";
/// Counter: streams ended since their credential no longer works.
pub const REVOKED: &str = "keyfob_feed_revoked_streams_total";
/// Counter: failed attempts to read the store.
pub const STORE_FAILURES: &str = "keyfob_feed_store_failures_total";
/// Counter: reports of replicas.
pub const REPORTS: &str = "keyfob_feed_reports_total";

/// Describes the metrics to the recorder of this process. Call it after installing one.
pub fn describe() {
    describe_gauge!(STREAMS, "Open streams");
    describe_gauge!(
        REVISION,
        "The store's revision up to which the feed is published"
    );
    describe_gauge!(FILTERS, "Filters in use");
    describe_counter!(SIGNATURES, "Signatures made");
    describe_counter!(BYTES, "Bytes of lines given to streams");
    describe_counter!(SNAPSHOTS, "Snapshots made or fetched");
    describe_counter!(
        GONE,
        "Streams refused since their position is gone; their readers load a snapshot"
    );
    describe_counter!(SLOW, "Streams ended since their reader was too slow");
    describe_counter!(
        REVOKED,
        "Streams ended since their credential no longer works"
    );
    describe_counter!(STORE_FAILURES, "Failed attempts to read the store");
    describe_counter!(REPORTS, "Reports of replicas");
}
