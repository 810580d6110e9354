//! Two clocks: that of the verifiers, which can be set, and that of the machine, which cannot.

use std::{sync::Arc, time::Duration};

use keyfob::Timestamp;
use tokio::time::Instant;

/// Tells the time of day.
pub(crate) type Clock = Arc<dyn Fn() -> Timestamp + Send + Sync>;
/// Tells how long the machine has been running.
pub(crate) type Uptime = Arc<dyn Fn() -> Duration + Send + Sync>;

/// How long the machine has been running, including the time that it was suspended.
///
/// [`std::time::Instant`] is `CLOCK_MONOTONIC` on Linux, which stands still while the machine is
/// suspended. Elsewhere this is the time of the process.
pub(crate) fn uptime() -> Duration {
    #[cfg(any(target_os = "linux", target_os = "android"))]
    {
        let time = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
        let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
        let nanos = u32::try_from(time.tv_nsec).unwrap_or(0);
        Duration::new(seconds, nanos)
    }
    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    {
        static START: std::sync::OnceLock<std::time::Instant> = std::sync::OnceLock::new();
        START.get_or_init(std::time::Instant::now).elapsed()
    }
}

/// A moment by the clocks that cannot be set.
#[derive(Clone)]
pub(crate) struct Moment {
    /// By Tokio's clock, which timers use.
    pub(crate) at: Instant,
    uptime_at: Duration,
    uptime: Uptime,
}

impl Moment {
    pub(crate) fn now(uptime: &Uptime) -> Self {
        Self {
            at: Instant::now(),
            uptime_at: uptime(),
            uptime: Arc::clone(uptime),
        }
    }

    /// How long ago it was. A timer does not count the time of a suspended machine, this does.
    pub(crate) fn elapsed(&self) -> Duration {
        let suspended = (self.uptime)().saturating_sub(self.uptime_at);
        self.at.elapsed().max(suspended)
    }
}

/// Notices when the clock of the verifiers is set.
pub(crate) struct Watch {
    clock: Clock,
    last: (Timestamp, Moment),
    /// Whether the verifiers were ahead of the clock when it was last looked at.
    was_ahead: bool,
    was_behind: bool,
}

/// What is wrong with the clock.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct ClockFault {
    /// How far the time by which the verifiers decide is ahead of the clock.
    pub(crate) ahead: Duration,
    /// How far the clock is behind the last change in the store.
    pub(crate) behind: Duration,
}

impl ClockFault {
    /// `now` by the clock; the latest time that the verifiers were given; the time of the last
    /// change in the store.
    pub(crate) fn of(
        now: Timestamp,
        latest: Option<Timestamp>,
        changed: Option<Timestamp>,
    ) -> Self {
        let since = |time: Option<Timestamp>| {
            let seconds = time.map_or(0, |time| time.as_unix().saturating_sub(now.as_unix()));
            let distance = Duration::from_secs(u64::try_from(seconds).unwrap_or(0));
            // Seconds are cut off, and clocks of several machines are never quite the same.
            if distance < NOTABLE {
                Duration::ZERO
            } else {
                distance
            }
        };
        Self {
            ahead: since(latest),
            behind: since(changed),
        }
    }
}

impl Watch {
    pub(crate) fn new(clock: Clock, uptime: &Uptime) -> Self {
        Self {
            last: (clock(), Moment::now(uptime)),
            clock,
            was_ahead: false,
            was_behind: false,
        }
    }

    /// Compares the clocks, and logs what changed.
    pub(crate) fn look(&mut self, fault: ClockFault, uptime: &Uptime) {
        let (before, moment) = &self.last;
        let (now, passed) = ((self.clock)(), moment.elapsed());
        let moved = now.as_unix().saturating_sub(before.as_unix());
        let passed = i64::try_from(passed.as_secs()).unwrap_or(i64::MAX);
        let set_by = moved.saturating_sub(passed);
        if set_by.unsigned_abs() >= NOTABLE.as_secs() {
            tracing::warn!(seconds = set_by, "the system's clock was set");
        }
        self.last = (now, Moment::now(uptime));
        let is_ahead = !fault.ahead.is_zero();
        if is_ahead != std::mem::replace(&mut self.was_ahead, is_ahead) {
            if is_ahead {
                let seconds = fault.ahead.as_secs();
                tracing::error!(seconds, "{AHEAD}");
            } else {
                tracing::info!("the system's clock has caught up with the verifiers");
            }
        }
        let is_behind = !fault.behind.is_zero();
        if is_behind != std::mem::replace(&mut self.was_behind, is_behind) && is_behind {
            let seconds = fault.behind.as_secs();
            tracing::error!(seconds, "{BEHIND}");
        }
    }
}

pub(crate) const AHEAD: &str = "the system's clock ran ahead and back: keys are judged by the later \
    time, and those that expire before it are refused; restart when the clock is right";
pub(crate) const BEHIND: &str = "the system's clock is behind the last change in the store: keys that \
    have expired may be accepted; correct the clock";

/// The least distance that is reported.
pub(crate) const NOTABLE: Duration = Duration::from_secs(5);
