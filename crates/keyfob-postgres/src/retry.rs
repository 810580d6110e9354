//! How long to wait before something that failed is tried again.

use std::time::Duration;

use backon::ExponentialBuilder;

/// For a call that failed for a passing reason: 10 ms, twice as long each time, with jitter so that
/// callers that failed together do not try together.
pub(crate) fn call() -> ExponentialBuilder {
    ExponentialBuilder::new()
        .with_min_delay(Duration::from_millis(10))
        .with_max_delay(Duration::from_millis(500))
        .with_factor(2.0)
        .with_jitter()
        .with_max_times(5)
}

/// For a connection that is to be made again, however often it fails.
pub(crate) fn connection() -> ExponentialBuilder {
    call()
        .with_max_delay(Duration::from_secs(5))
        .without_max_times()
}
