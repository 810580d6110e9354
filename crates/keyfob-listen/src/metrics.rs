//! The names of the metrics, which are reported through the crate `metrics`.

use metrics::{describe_counter, describe_gauge};

/// Gauge: open connections, by `listener`.
pub const CONNECTIONS: &str = "keyfob_connections";
/// Counter: request heads that were refused, by `listener` and `reason`.
pub const REFUSED_HEADS: &str = "keyfob_refused_heads_total";

/// Describes the metrics to the recorder of this process. Call it after installing one.
pub fn describe() {
    describe_gauge!(CONNECTIONS, "Open connections");
    describe_counter!(
        REFUSED_HEADS,
        "Requests whose head was malformed or too large, and failed TLS handshakes"
    );
}
