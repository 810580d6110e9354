//! The names of the metrics, which are reported through the crate `metrics`.

use metrics::{describe_counter, describe_gauge};

/// Gauge: connections to NATS that are open.
pub const CONNECTED: &str = "keyfob_nats_connected";
/// Counter: lines that were given to NATS.
pub const PUBLISHED: &str = "keyfob_nats_published_total";
/// Counter: lines that were not given to NATS, by `reason`: `disconnected`, `too_long` or `failed`.
pub const NOT_PUBLISHED: &str = "keyfob_nats_not_published_total";
/// Counter: messages that arrived.
pub const RECEIVED: &str = "keyfob_nats_received_total";
/// Counter: messages that were dropped, since they were too long or the relay was too slow.
pub const DROPPED: &str = "keyfob_nats_dropped_total";

/// Describes the metrics to the recorder of this process. Call it after installing one.
pub fn describe() {
    describe_gauge!(CONNECTED, "Connections to NATS that are open");
    describe_counter!(PUBLISHED, "Lines of the feed that were given to NATS");
    describe_counter!(
        NOT_PUBLISHED,
        "Lines of the feed that were not given to NATS, by reason"
    );
    describe_counter!(RECEIVED, "Messages of NATS that arrived");
    describe_counter!(
        DROPPED,
        "Messages of NATS that were dropped, since they were too long or the relay was too slow"
    );
}
