//! A limit on what strangers can write into the log.

use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

/// Limits lines about refused connections to [`MOST`] a second, and counts those that are left out.
#[derive(Debug)]
pub(crate) struct LogLimit(Mutex<Second>);

#[derive(Debug)]
struct Second {
    began: Instant,
    /// Written and left out.
    lines: u64,
}

impl LogLimit {
    pub(crate) fn new() -> Self {
        Self(Mutex::new(Second {
            began: Instant::now(),
            lines: 0,
        }))
    }

    /// Whether a line may be written. If others were left out before, one about them is written first.
    pub(crate) fn allows(&self, listener: &'static str) -> bool {
        let left_out = self.left_out(Instant::now());
        if let Some(left_out @ 1..) = left_out {
            tracing::warn!(
                listener,
                left_out,
                "refused connections that were not logged, since they were too many"
            );
        }
        left_out.is_some()
    }

    /// None if no line may be written; else how many were left out in the second before.
    fn left_out(&self, now: Instant) -> Option<u64> {
        let mut second = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut left_out = 0;
        if now.duration_since(second.began) >= Duration::from_secs(1) {
            left_out = second.lines.saturating_sub(MOST);
            *second = Second {
                began: now,
                lines: 0,
            };
        }
        second.lines = second.lines.saturating_add(1);
        (second.lines <= MOST).then_some(left_out)
    }
}

/// The lines of one second.
const MOST: u64 = 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_beyond_the_limit_are_counted() {
        let limit = LogLimit::new();
        let start = Instant::now();
        for _ in 0..MOST {
            assert_eq!(limit.left_out(start), Some(0));
        }
        for _ in 0..7 {
            assert_eq!(limit.left_out(start), None);
        }
        let later = start + Duration::from_secs(2);
        assert_eq!(limit.left_out(later), Some(7));
        assert_eq!(limit.left_out(later), Some(0));
    }
}
