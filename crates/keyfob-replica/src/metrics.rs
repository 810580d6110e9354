//! The names of the metrics, which are reported through the crate `metrics`.

use metrics::{describe_counter, describe_gauge};

/// Gauge: seconds since the index was last known to hold everything that the store has.
pub const INDEX_AGE: &str = "keyfob_index_age_seconds";
/// Gauge: the store's revision up to which the index knows everything.
pub const INDEX_REVISION: &str = "keyfob_index_revision";
/// Gauge: seconds by which the time of the verifiers is ahead of the system's clock.
pub const CLOCK_AHEAD: &str = "keyfob_clock_ahead_seconds";
/// Gauge: seconds by which the system's clock is behind the last change in the store.
pub const CLOCK_BEHIND: &str = "keyfob_clock_behind_seconds";
/// Counter: failed attempts to read the store.
pub const FOLLOW_FAILURES: &str = "keyfob_follow_failures_total";
/// Counter: failed attempts to write usage to the store.
pub const USAGE_FLUSH_FAILURES: &str = "keyfob_usage_flush_failures_total";
/// Counter: uses that were not recorded.
pub const USAGE_LOST: &str = "keyfob_usage_lost_total";

/// Counter: lines of a feed that were refused, by `reason`.
#[cfg(feature = "http")]
pub const FEED_REFUSED: &str = "keyfob_feed_refused_total";
/// Counter: snapshots that were loaded over the network.
#[cfg(feature = "http")]
pub const FEED_SNAPSHOTS: &str = "keyfob_feed_snapshots_loaded_total";
/// Gauge: sources that take the lines of the feed from a broadcast, and do not read the upstream.
#[cfg(feature = "http")]
pub const FEED_BROADCAST: &str = "keyfob_feed_broadcast";
/// Counter: lines of a broadcast, by `outcome`: `accepted`, `repeated`, `ahead`, `refused`, or `unused` while
/// the upstream is read.
#[cfg(feature = "http")]
pub const FEED_BROADCAST_LINES: &str = "keyfob_feed_broadcast_lines_total";

/// Describes the metrics to the recorder of this process. Call it after installing one.
pub fn describe() {
    describe_gauge!(
        INDEX_AGE,
        "Seconds since the index was last known to hold everything that the store has"
    );
    describe_gauge!(
        INDEX_REVISION,
        "The store's revision up to which the index knows everything"
    );
    describe_gauge!(
        CLOCK_AHEAD,
        "Seconds by which the time of the verifiers is ahead of the system's clock"
    );
    describe_gauge!(
        CLOCK_BEHIND,
        "Seconds by which the system's clock is behind the last change in the store"
    );
    describe_counter!(FOLLOW_FAILURES, "Failed attempts to read the store");
    describe_counter!(
        USAGE_FLUSH_FAILURES,
        "Failed attempts to write usage to the store"
    );
    describe_counter!(USAGE_LOST, "Uses that were not recorded");
    #[cfg(feature = "http")]
    {
        describe_counter!(FEED_REFUSED, "Lines of the feed that were refused");
        describe_gauge!(
            FEED_BROADCAST,
            "Sources that take the lines of the feed from a broadcast"
        );
        describe_counter!(FEED_BROADCAST_LINES, "Lines of a broadcast, by outcome");
        describe_counter!(
            FEED_SNAPSHOTS,
            "Snapshots that were loaded over the network"
        );
    }
}
