//! A limit on what strangers can write into the log.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use keyfob::Timestamp;

/// Limits lines of the log to [`MOST`] a second, and counts those that are left out.
#[derive(Debug)]
pub(crate) struct LogLimit {
    second: AtomicI64,
    /// The lines of that second, written and left out.
    lines: AtomicU64,
}

impl LogLimit {
    pub(crate) fn new() -> Self {
        Self {
            second: AtomicI64::new(i64::MIN),
            lines: AtomicU64::new(0),
        }
    }

    /// Whether a line may be written at `now`. If it is the first one of its second, returns how many were left out
    /// before.
    pub(crate) fn allow(&self, now: Timestamp) -> Option<u64> {
        let now = now.as_unix();
        let last = self.second.load(Ordering::Relaxed);
        // A thread that is a moment behind does not begin another second; a clock that was set back does.
        let is_new = now > last || last.saturating_sub(now) > 1;
        let begins = is_new
            && self
                .second
                .compare_exchange(last, now, Ordering::Relaxed, Ordering::Relaxed)
                .is_ok();
        let before = if begins {
            self.lines.swap(0, Ordering::Relaxed)
        } else {
            0
        };
        let lines = self.lines.fetch_add(1, Ordering::Relaxed);
        (lines < MOST).then_some(before.saturating_sub(MOST))
    }
}

/// The lines of one second.
pub(crate) const MOST: u64 = 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_beyond_the_limit_are_counted() {
        let limit = LogLimit::new();
        let at = |second: i64| Timestamp::from_unix(1_700_000_000 + second);
        for _ in 0..MOST {
            assert_eq!(limit.allow(at(0)), Some(0));
        }
        for _ in 0..7 {
            assert_eq!(limit.allow(at(0)), None);
        }
        assert_eq!(limit.allow(at(1)), Some(7));
        // Another thread read the clock before.
        assert_eq!(limit.allow(at(0)), Some(0));
        for _ in 2..MOST {
            assert_eq!(limit.allow(at(1)), Some(0));
        }
        assert_eq!(limit.allow(at(1)), None);
        // The clock was set back.
        assert_eq!(limit.allow(at(-1_000)), Some(1));
    }
}
