//! How much one caller may ask.

use std::{num::NonZeroU32, time::Duration};

/// What the control plane reads, and how often.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The longest request body, in bytes: 413 beyond.
    pub body: usize,
    /// The longest time that a request may take: 503 beyond.
    pub timeout: Duration,
    /// What one caller may ask: 429 beyond.
    pub caller: Quota,
    /// How many refused attempts from one source are answered with 401: 429 beyond. A valid
    /// credential from the same source is not affected.
    pub refused: Quota,
    /// For how long a creation can be repeated under its `Idempotency-Key`.
    pub repeat: Duration,
}

/// 64 KiB, 30 seconds, 250 requests a minute and caller, 60 refusals a minute and source, ten
/// minutes to repeat.
impl Default for Limits {
    fn default() -> Self {
        let minute = Duration::from_mins(1);
        Self {
            body: 64 * 1024,
            timeout: Duration::from_secs(30),
            caller: Quota::new(NonZeroU32::MIN.saturating_add(249), minute),
            refused: Quota::new(NonZeroU32::MIN.saturating_add(59), minute),
            repeat: Duration::from_mins(10),
        }
    }
}

/// So many requests, which come back evenly over a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quota {
    /// How many at once.
    pub requests: NonZeroU32,
    /// In which time all of them come back; a nanosecond a request at least.
    pub per: Duration,
}

impl Quota {
    /// `requests` in `per`.
    pub const fn new(requests: NonZeroU32, per: Duration) -> Self {
        Self { requests, per }
    }

    /// The time in which one request comes back.
    pub(crate) fn replenishing(self) -> Duration {
        let one = self.per / self.requests.get();
        one.max(Duration::from_nanos(1))
    }
}
