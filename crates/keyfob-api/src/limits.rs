//! Limits of requests.

use std::{
    num::{NonZeroU32, NonZeroUsize},
    time::Duration,
};

/// Limits of the size, the time and the number of requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The longest request body, in bytes: 413 beyond.
    pub body: usize,
    /// The longest time in which a request's body must arrive: 408 beyond. It is part of `timeout`.
    pub body_timeout: Duration,
    /// The longest time that a request may take: 503 beyond.
    pub timeout: Duration,
    /// The requests of one caller: 429 beyond.
    pub caller: Quota,
    /// The failed attempts from one network address: 429 beyond. A valid credential from the same
    /// address is not affected.
    pub refused: Quota,
    /// How many requests of one caller may be under way, which includes answers that are being sent:
    /// 429 beyond.
    pub at_once: NonZeroUsize,
    /// For how long a creation can be repeated under its `Idempotency-Key`.
    pub repeat: Duration,
}

/// 64 KiB in 20 seconds, 30 seconds in all, 250 requests per minute and caller, 60 failed attempts per minute and address,
/// 64 requests of a caller at once, ten minutes to repeat a creation.
impl Default for Limits {
    fn default() -> Self {
        let minute = Duration::from_mins(1);
        Self {
            body: 64 * 1024,
            body_timeout: Duration::from_secs(20),
            timeout: Duration::from_secs(30),
            caller: Quota::new(NonZeroU32::MIN.saturating_add(249), minute),
            refused: Quota::new(NonZeroU32::MIN.saturating_add(59), minute),
            at_once: NonZeroUsize::MIN.saturating_add(63),
            repeat: Duration::from_mins(10),
        }
    }
}

/// A token bucket: its size, and the time in which it fills.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quota {
    /// The number of requests at once.
    pub requests: NonZeroU32,
    /// The time in which an empty bucket fills; at least a nanosecond per request.
    pub per: Duration,
}

impl Quota {
    /// `requests` in `per`.
    pub const fn new(requests: NonZeroU32, per: Duration) -> Self {
        Self { requests, per }
    }

    /// The time in which one token comes back.
    pub(crate) fn replenishing(self) -> Duration {
        let one = self.per / self.requests.get();
        one.max(Duration::from_nanos(1))
    }
}
