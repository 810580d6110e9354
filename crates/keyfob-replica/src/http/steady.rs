//! The reader's time in milliseconds, which does not run back.

use std::{
    fs,
    sync::Mutex,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use crate::clock::{Uptime, uptime};

/// Tells the time of day in Unix milliseconds.
pub(super) type Wall = std::sync::Arc<dyn Fn() -> u64 + Send + Sync>;

/// Two clocks, and the boot of the machine to which the second one belongs.
pub(super) struct Clocks {
    wall: Wall,
    uptime: Uptime,
    boot: String,
    /// The latest time, and the uptime then.
    last: Mutex<(u64, Duration)>,
}

/// A moment by the clocks, which is still of use after a restart of the process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Stamp {
    /// The boot of the machine; empty if unknown.
    pub(super) boot: String,
    /// How long the machine had been running, in milliseconds.
    pub(super) uptime: u64,
    /// The wall clock, in Unix milliseconds.
    pub(super) wall: u64,
}

impl Clocks {
    pub(super) fn new(wall: Option<Wall>, uptime_of_tests: Option<Uptime>) -> Self {
        let boot = match &uptime_of_tests {
            Some(_) => "test".to_owned(),
            None => boot(),
        };
        Self {
            wall: wall.unwrap_or_else(|| std::sync::Arc::new(unix_ms)),
            uptime: uptime_of_tests.unwrap_or_else(|| std::sync::Arc::new(uptime)),
            boot,
            last: Mutex::new((0, Duration::ZERO)),
        }
    }

    /// The time in Unix milliseconds. It moves on at least as `CLOCK_BOOTTIME` does: the wall clock may
    /// run back, this does not.
    pub(super) fn now(&self) -> u64 {
        let (wall, uptime) = ((self.wall)(), (self.uptime)());
        let mut last = self
            .last
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        let (before, at) = *last;
        let now = if before == 0 {
            wall
        } else {
            wall.max(before.saturating_add(millis(uptime.saturating_sub(at))))
        };
        *last = (now, uptime);
        now
    }

    /// The wall clock, which may run back: for what decides nothing, and must recover from a wall clock that
    /// ran ahead.
    pub(super) fn wall(&self) -> u64 {
        (self.wall)()
    }

    pub(super) fn stamp(&self) -> Stamp {
        Stamp {
            boot: self.boot.clone(),
            uptime: millis((self.uptime)()),
            wall: (self.wall)(),
        }
    }
}

impl Stamp {
    /// How long before this moment `as_of` was, in milliseconds, by every clock that tells; `saved` was
    /// recorded when `as_of` was known. `None` if no clock tells: one of them has run back.
    pub(super) fn age(&self, as_of: u64, saved: &Self) -> Option<u64> {
        let passed = self.wall.checked_sub(saved.wall)?;
        let passed = if self.is_of_boot(saved) {
            passed.max(self.uptime.checked_sub(saved.uptime)?)
        } else {
            passed
        };
        Some(saved.wall.saturating_sub(as_of).saturating_add(passed))
    }

    /// Whether the machine was not restarted between the two moments.
    pub(super) fn is_of_boot(&self, other: &Self) -> bool {
        !self.boot.is_empty() && self.boot == other.boot
    }

    pub(super) fn to_text(&self) -> String {
        let boot = if self.boot.is_empty() {
            "-"
        } else {
            &self.boot
        };
        format!("{boot}:{}:{}", self.uptime, self.wall)
    }

    pub(super) fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split(':');
        let boot = parts.next()?;
        let (uptime, wall) = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
        if parts.next().is_some() {
            return None;
        }
        let boot = if boot == "-" { "" } else { boot };
        Some(Self {
            boot: boot.to_owned(),
            uptime,
            wall,
        })
    }
}

fn unix_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, millis)
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// The random name of this boot of the machine; empty where there is none.
fn boot() -> String {
    let text = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    let text = text.trim();
    let is_name = |byte: u8| byte.is_ascii_hexdigit() || byte == b'-';
    if text.len() > 64 || text == "-" || !text.bytes().all(is_name) {
        return String::new();
    }
    text.to_owned()
}

#[cfg(test)]
mod tests {
    use std::sync::{
        Arc,
        atomic::{AtomicU64, Ordering::SeqCst},
    };

    use super::*;

    fn stamp(boot: &str, uptime: u64, wall: u64) -> Stamp {
        Stamp {
            boot: boot.to_owned(),
            uptime,
            wall,
        }
    }

    #[test]
    fn the_time_moves_on_with_the_uptime_when_the_wall_clock_runs_back() {
        let (wall, up) = (
            Arc::new(AtomicU64::new(10_000)),
            Arc::new(AtomicU64::new(50)),
        );
        let (of_wall, of_up) = (Arc::clone(&wall), Arc::clone(&up));
        let clocks = Clocks::new(
            Some(Arc::new(move || of_wall.load(SeqCst))),
            Some(Arc::new(move || Duration::from_millis(of_up.load(SeqCst)))),
        );
        assert_eq!(clocks.now(), 10_000);
        wall.store(3_000, SeqCst);
        up.store(1_050, SeqCst);
        assert_eq!(clocks.now(), 11_000);
        wall.store(20_000, SeqCst);
        assert_eq!(clocks.now(), 20_000);
    }

    #[test]
    fn the_age_of_what_was_saved_counts_by_every_clock() {
        let saved = stamp("a", 5_000, 100_000);
        let age = |now: Stamp| now.age(99_000, &saved);
        assert_eq!(age(stamp("a", 7_000, 102_000)), Some(3_000));
        // The wall clock lost time within one boot.
        assert_eq!(age(stamp("a", 25_000, 102_000)), Some(21_000));
        // After a boot, only the wall clock tells.
        assert_eq!(age(stamp("b", 1_000, 102_000)), Some(3_000));
        assert_eq!(age(stamp("", 1_000, 102_000)), Some(3_000));
        // A clock that ran back says nothing.
        assert_eq!(age(stamp("a", 7_000, 99_999)), None);
        assert_eq!(age(stamp("b", 7_000, 99_999)), None);
        assert_eq!(age(stamp("a", 4_999, 102_000)), None);
    }

    #[test]
    fn a_stamp_is_read_as_it_was_written() {
        for saved in [stamp("0f-a", 1, 2), stamp("", 3, 4)] {
            assert_eq!(Stamp::parse(&saved.to_text()), Some(saved));
        }
        for text in ["", "a:1", "a:1:2:3", "a:x:2", "a:1:-2"] {
            assert_eq!(Stamp::parse(text), None, "{text}");
        }
        assert_eq!(Clocks::new(None, None).stamp().boot, boot());
    }
}
