//! Pauses of the process, looked for once in each tick of the kernel's clock.

use std::sync::atomic::{AtomicU64, Ordering};

use keyfob_replica::Pauses;

use crate::clock::Moment;

/// Says whether a call can be decided, or the process was paused and what was revoked meanwhile is not known.
pub(crate) struct Gate {
    pauses: Pauses,
    /// The tick in which there was last no such pause, and the number of the pauses then. A pause is longer
    /// than a tick, so in the same tick there is none either.
    tick: AtomicU64,
    number: AtomicU64,
}

/// That a call can be decided.
#[derive(Clone, Copy)]
pub(crate) struct Open {
    number: u64,
    tick: Option<u64>,
}

impl Gate {
    pub(crate) fn new(pauses: Pauses) -> Self {
        Self {
            pauses,
            tick: AtomicU64::new(0),
            number: AtomicU64::new(0),
        }
    }

    /// Before a call is decided; none if it must be refused.
    #[inline]
    pub(crate) fn enter(&self, now: Moment) -> Option<Open> {
        let tick = now.tick;
        if tick.is_some_and(|tick| self.tick.load(Ordering::Acquire) == tick) {
            let number = self.number.load(Ordering::Relaxed);
            return Some(Open { number, tick });
        }
        self.look(tick)
    }

    #[cold]
    fn look(&self, tick: Option<u64>) -> Option<Open> {
        let number = self.pauses.current()?;
        self.number.store(number, Ordering::Relaxed);
        self.tick.store(tick.unwrap_or(0), Ordering::Release);
        Some(Open { number, tick })
    }

    /// After a call was decided: whether there was no pause since it entered.
    #[inline]
    pub(crate) fn is_open(&self, before: Open, now: Moment) -> bool {
        let same = now.tick.is_some() && now.tick == before.tick;
        same || self.pauses.current() == Some(before.number)
    }
}
