//! The clocks of a machine, as plain data.

/// True time, in Unix milliseconds.
pub(crate) type Ms = u64;

/// The time of the first event.
pub(crate) const START: Ms = 1_800_000_000_000;

/// The clocks of one machine.
#[derive(Clone, Debug)]
pub(crate) struct Machine {
    /// How far the wall clock is ahead of true time, in milliseconds.
    pub(crate) error: i64,
    /// The number of this boot.
    pub(crate) boot: u64,
    /// When it was started.
    booted_at: Ms,
}

impl Machine {
    pub(crate) fn new(error: i64, now: Ms) -> Self {
        Self {
            error,
            boot: 1,
            booted_at: now - 1_000,
        }
    }

    /// The wall clock, in Unix milliseconds.
    pub(crate) fn wall(&self, now: Ms) -> u64 {
        now.saturating_add_signed(self.error)
    }

    /// The wall clock in whole seconds, which is what verifiers are given.
    pub(crate) fn seconds(&self, now: Ms) -> i64 {
        i64::try_from(self.wall(now) / 1000).unwrap_or(i64::MAX)
    }

    /// The time since the start of the machine, which nobody can set.
    pub(crate) fn uptime(&self, now: Ms) -> u64 {
        now.saturating_sub(self.booted_at)
    }

    pub(crate) fn reboot(&mut self, now: Ms) {
        self.boot += 1;
        self.booted_at = now;
    }
}

/// The clock of a process: it moves on at least as the uptime does, and does not run back.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Ratchet {
    last: Option<(u64, u64)>,
}

impl Ratchet {
    pub(crate) fn now(&mut self, machine: &Machine, now: Ms) -> u64 {
        let (wall, uptime) = (machine.wall(now), machine.uptime(now));
        let read = match self.last {
            None => wall,
            Some((before, at)) => wall.max(before + uptime.saturating_sub(at)),
        };
        self.last = Some((read, uptime));
        read
    }
}

/// The clocks when something was written to disk.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stamp {
    pub(crate) boot: u64,
    pub(crate) uptime: u64,
    pub(crate) wall: u64,
    /// The true time and the error of the wall clock, which only the oracle reads.
    pub(crate) truly: (Ms, i64),
}

impl Stamp {
    pub(crate) fn of(machine: &Machine, now: Ms) -> Self {
        Self {
            boot: machine.boot,
            uptime: machine.uptime(now),
            wall: machine.wall(now),
            truly: (now, machine.error),
        }
    }

    /// How long before this moment `as_of` was, by every clock that tells; `saved` was recorded when
    /// `as_of` was known. `None` if one of the clocks has run back.
    pub(crate) fn age(&self, as_of: u64, saved: &Self) -> Option<u64> {
        let passed = self.wall.checked_sub(saved.wall)?;
        let passed = if self.boot == saved.boot {
            passed.max(self.uptime.checked_sub(saved.uptime)?)
        } else {
            passed
        };
        Some(saved.wall.saturating_sub(as_of).saturating_add(passed))
    }
}
