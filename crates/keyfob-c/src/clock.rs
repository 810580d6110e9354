//! The time of a verification.

use keyfob::Timestamp;

/// The time, and a mark that changes a few milliseconds later.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Moment {
    pub(crate) time: Timestamp,
    /// None if the system has none that is cheap.
    pub(crate) tick: Option<u64>,
}

/// The time of the system's clock, in whole seconds.
///
/// It is the kernel's time at its last tick, some milliseconds ago, which costs a quarter of the exact
/// time: expiry and staleness count in seconds.
#[cfg(target_os = "linux")]
#[expect(
    clippy::useless_conversion,
    clippy::cast_sign_loss,
    reason = "of 32 bits on some systems; the mark may wrap"
)]
pub(crate) fn moment() -> Moment {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: the function writes to the pointer only.
    let failed = unsafe { libc::clock_gettime(libc::CLOCK_REALTIME_COARSE, &raw mut time) };
    if failed != 0 {
        return exact();
    }
    let (seconds, nanos) = (i64::from(time.tv_sec), i64::from(time.tv_nsec));
    Moment {
        time: Timestamp::from_unix(seconds),
        // Never zero, which is the mark of nothing.
        tick: Some(((seconds as u64) << 30 | nanos as u64) | 1),
    }
}

#[cfg(not(target_os = "linux"))]
pub(crate) fn moment() -> Moment {
    exact()
}

fn exact() -> Moment {
    Moment {
        time: keyfob::now(),
        tick: None,
    }
}

/// The time alone.
pub(crate) fn now() -> Timestamp {
    moment().time
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_the_time_of_the_system() {
        let (before, time, after) = (keyfob::now(), now(), keyfob::now());
        assert!(time.as_unix() >= before.as_unix() - 1 && time <= after);
    }
}
