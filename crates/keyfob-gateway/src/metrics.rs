//! The names of the metrics, which are reported through the crate `metrics`.

use metrics::describe_counter;

/// Counter: questions of gateways, by `result` and `reason`.
pub const QUESTIONS: &str = "keyfob_auth_total";
/// Counter: accepted calls with a legacy credential.
pub const LEGACY: &str = "keyfob_auth_legacy_total";

/// Describes the metrics to the recorder of this process. Call it after installing one, and before an
/// [`Authorizer`](crate::Authorizer) is built.
pub fn describe() {
    describe_counter!(QUESTIONS, "Calls that a proxy asked about");
    describe_counter!(LEGACY, "Accepted calls with a legacy credential");
}
