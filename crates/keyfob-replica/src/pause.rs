//! Pauses of the process.

use std::{
    sync::{
        Arc, OnceLock, Weak,
        atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

use keyfob::Timestamp;
use tokio::sync::Notify;

use crate::{Synced, clock::uptime};

/// Notices when the process stood still, as by `SIGSTOP`, a frozen virtual machine or a suspended
/// computer: [`Replica::pauses`](crate::Replica::pauses).
///
/// Calls wait during a pause, and keys are revoked meanwhile. The bound on staleness does not see a pause that is
/// shorter, so the first calls after it would be decided by what was known before. After a pause, this
/// says so until the source was asked again. Cheap to clone.
///
/// # Examples
///
/// ```no_run
/// # use keyfob::{Denied, Principal};
/// # fn verify<'a>() -> Result<Principal<'a>, Denied> { unimplemented!() }
/// # fn decide(pauses: &keyfob_replica::Pauses) -> Option<Result<Principal<'_>, Denied>> {
/// let before = pauses.current()?; // else answer 503
/// let verdict = verify();
/// // Nor was there a pause while it was decided.
/// (pauses.current() == Some(before)).then_some(verdict)
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Pauses(Arc<Shared>);

/// All times are those since the start of the machine, in microseconds.
#[derive(Debug, Default)]
struct Shared {
    /// When the process was last seen running.
    beat: AtomicU64,
    /// Set by the signal that ends a stop, `SIGCONT`.
    continued: Arc<AtomicBool>,
    /// The end of the last pause.
    resumed: AtomicU64,
    /// The same by the clock that others have too, in seconds of Unix time.
    resumed_at: AtomicI64,
    /// When the source was last asked with success.
    asked: AtomicU64,
    woken: Notify,
    is_watched: OnceLock<()>,
}

impl Pauses {
    pub(crate) fn new() -> Self {
        Self(Arc::new(Shared {
            resumed_at: AtomicI64::new(i64::MIN),
            ..Shared::default()
        }))
    }

    /// Watches this process from now on, in a thread of its own.
    pub(crate) fn watch(&self) {
        self.0.is_watched.get_or_init(|| {
            #[cfg(unix)]
            {
                let continued = Arc::clone(&self.0.continued);
                let signal = signal_hook::consts::SIGCONT;
                if let Err(error) = signal_hook::flag::register(signal, continued) {
                    tracing::error!(%error, "short pauses of the process cannot be noticed");
                }
            }
            self.0.beat.store(micros(), Ordering::Release);
            let watched = Arc::downgrade(&self.0);
            let spawned = thread::Builder::new()
                .name("keyfob-pauses".to_owned())
                .spawn(move || watch(&watched));
            if let Err(error) = spawned {
                // Without beats every call is refused, which is noticed; a pause would not be.
                tracing::error!(%error, "pauses of the process cannot be noticed");
            }
        });
    }

    /// A number that changes with each pause, if everything is known that the source had at the end of the
    /// last one; else none, and calls must be refused with 503, or wait.
    pub fn current(&self) -> Option<u64> {
        let shared = &*self.0;
        let now = micros();
        let beat = shared.beat.load(Ordering::Acquire);
        if shared.continued.load(Ordering::Acquire) {
            shared.resume(now, now.saturating_sub(beat));
        }
        let resumed = shared.resumed.load(Ordering::Acquire);
        let asked = shared.asked.load(Ordering::Acquire);
        let is_running = now.saturating_sub(beat) < GAP;
        (is_running && (resumed == 0 || asked > resumed)).then_some(resumed)
    }

    /// Waits until the source should be asked because of a pause.
    pub(crate) async fn woken(&self) {
        self.0.woken.notified().await;
    }

    /// The time now, for [`Pauses::confirm`].
    pub(crate) fn now() -> u64 {
        micros()
    }

    /// Takes note of a reading that began at `asked`; `stamp` is the time as of which the index is
    /// confirmed, which is younger than `bound`.
    pub(crate) fn confirm(
        &self,
        synced: Synced,
        stamp: Option<Timestamp>,
        asked: u64,
        bound: Duration,
    ) {
        let resumed_at = self.0.resumed_at.load(Ordering::Acquire);
        let resumed = self.0.resumed.load(Ordering::Acquire);
        // What was sent during the pause may wait in the connection, or with the sender.
        let is_after = match synced {
            Synced::ToEnd => true,
            // The sender's clock may be ahead.
            Synced::AsSent => stamp.is_some_and(|stamp| {
                stamp.as_unix() > resumed_at.saturating_add(SKEW_SECONDS)
                    // The clock may have been ahead at the end of the pause, and set back since. Once the
                    // bound has passed, what is younger than the bound is from after the pause.
                    || Duration::from_micros(asked.saturating_sub(resumed)) > bound + SKEW
            }),
        };
        if is_after {
            self.0.asked.fetch_max(asked, Ordering::AcqRel);
        }
    }
}

impl Shared {
    /// Takes note of the end of a pause, of about this length.
    fn resume(&self, now: u64, stood: u64) {
        let at = keyfob::now().as_unix();
        self.resumed_at.fetch_max(at, Ordering::AcqRel);
        self.resumed.fetch_max(now, Ordering::AcqRel);
        // After the pause was noted: who does not see the signal sees the pause.
        self.continued.store(false, Ordering::Release);
        self.woken.notify_one();
        let stood = Duration::from_micros(stood);
        tracing::warn!(?stood, "the process stood still: calls wait for the source");
    }

    /// The process runs. It did not for `stood` before.
    fn beat(&self, stood: u64) {
        let now = micros();
        // A machine that is busy makes a gap too, but none so long.
        if self.continued.load(Ordering::Acquire) || stood >= LONG {
            self.resume(now, stood);
        }
        // After the pause was noted: who sees the beat sees the pause.
        self.beat.store(now, Ordering::Release);
    }
}

fn watch(watched: &Weak<Shared>) {
    loop {
        thread::sleep(BEAT);
        let Some(shared) = watched.upgrade() else {
            return;
        };
        let stood = micros().saturating_sub(shared.beat.load(Ordering::Acquire));
        if stood >= GAP {
            // The signal may still be on its way to the thread that handles it.
            thread::sleep(SETTLE);
            if is_continuing() {
                shared.continued.store(true, Ordering::Release);
            }
        }
        shared.beat(stood);
    }
}

/// Whether the signal that ends a stop was sent, and no thread has taken it yet: on a busy machine, that takes
/// a while.
fn is_continuing() -> bool {
    #[cfg(target_os = "linux")]
    {
        let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        let mut lines = status.lines();
        let pending = lines.find_map(|line| line.strip_prefix("ShdPnd:"));
        let pending = pending.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
        let bit = 1_u64 << (signal_hook::consts::SIGCONT - 1);
        pending.is_some_and(|pending| pending & bit != 0)
    }
    #[cfg(not(target_os = "linux"))]
    false
}

fn micros() -> u64 {
    u64::try_from(uptime().as_micros()).unwrap_or(u64::MAX)
}

/// How far the clock of a sender may be ahead, in seconds: as far as a feed's reader accepts.
const SKEW_SECONDS: i64 = 2;
const SKEW: Duration = Duration::from_secs(2);
const BEAT: Duration = Duration::from_millis(15);
/// After so long without a beat, in microseconds, nothing is decided until the next one, which tells a pause
/// from a busy machine.
const GAP: u64 = 40_000;
const SETTLE: Duration = Duration::from_millis(10);
/// So long without a beat is a pause, in microseconds.
const LONG: u64 = 1_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    const BOUND: Duration = Duration::from_secs(10);

    fn shared() -> Pauses {
        let pauses = Pauses::new();
        pauses.0.beat.store(micros(), Ordering::Release);
        pauses
    }

    #[test]
    fn a_process_that_runs_is_current() {
        let pauses = shared();
        assert_eq!(pauses.current(), Some(0));
        pauses.0.beat(5_000);
        assert_eq!(pauses.current(), Some(0));
    }

    #[test]
    fn after_a_pause_the_source_must_be_asked() {
        let pauses = shared();
        let asked_before = micros();
        pauses.0.continued.store(true, Ordering::Release);
        assert_eq!(pauses.current(), None);
        assert!(!pauses.0.continued.load(Ordering::Acquire));
        pauses.0.beat(0);
        assert_eq!(pauses.current(), None);
        // The answer to a question from before the pause.
        pauses.confirm(Synced::ToEnd, None, asked_before, BOUND);
        assert_eq!(pauses.current(), None);
        pauses.confirm(Synced::ToEnd, None, micros() + 1, BOUND);
        let resumed = pauses.current();
        assert!(resumed.is_some_and(|resumed| resumed > 0));
    }

    #[test]
    fn a_gap_is_a_pause_if_it_is_long_and_else_a_busy_machine() {
        let pauses = shared();
        pauses.0.beat.store(micros() - GAP, Ordering::Release);
        // The first to run after it sees it, also before the watching thread does.
        assert_eq!(pauses.current(), None);
        pauses.0.beat(GAP);
        assert_eq!(pauses.current(), Some(0));
        pauses.0.beat(LONG);
        assert_eq!(pauses.current(), None);
    }

    #[test]
    fn what_was_sent_must_be_from_after_the_pause() {
        let pauses = shared();
        let now = keyfob::now();
        pauses.0.beat(LONG);
        let before = Timestamp::from_unix(now.as_unix() - 1);
        pauses.confirm(Synced::AsSent, Some(before), micros() + 1, BOUND);
        assert_eq!(pauses.current(), None);
        // It may be from before the end of the pause, by a clock that is ahead.
        for ahead in 0..=2 {
            let stamp = now.plus_seconds(ahead);
            pauses.confirm(Synced::AsSent, Some(stamp), micros() + 1, BOUND);
            assert_eq!(pauses.current(), None, "{ahead}");
        }
        // A second may have passed since the end of the pause.
        let stamp = now.plus_seconds(4);
        pauses.confirm(Synced::AsSent, Some(stamp), micros() + 1, BOUND);
        assert!(pauses.current().is_some());
    }

    #[test]
    fn a_clock_that_was_ahead_during_a_pause_delays_calls_by_the_bound_only() {
        let pauses = shared();
        let now = keyfob::now();
        pauses.0.beat(LONG);
        let ahead = now.as_unix() + 3_600;
        pauses.0.resumed_at.store(ahead, Ordering::Release);
        let since = |after: Duration| {
            let after = u64::try_from(after.as_micros()).unwrap();
            pauses.0.resumed.load(Ordering::Acquire) + after
        };
        // What was confirmed may still be from before the end of the pause.
        let asked = since(BOUND + SKEW);
        pauses.confirm(Synced::AsSent, Some(now), asked, BOUND);
        assert_eq!(pauses.current(), None);
        pauses.confirm(Synced::AsSent, None, asked + 1_000, BOUND);
        assert_eq!(pauses.current(), None, "nothing is confirmed");
        pauses.confirm(Synced::AsSent, Some(now), asked + 1_000, BOUND);
        assert!(pauses.current().is_some());
    }

    #[test]
    #[cfg(unix)]
    fn the_signal_that_ends_a_stop_is_noticed() {
        let pauses = shared();
        pauses.watch();
        signal_hook::low_level::raise(signal_hook::consts::SIGCONT).unwrap();
        let start = std::time::Instant::now();
        while pauses.current().is_some() {
            assert!(start.elapsed() < Duration::from_secs(5));
        }
        pauses.confirm(Synced::ToEnd, None, u64::MAX, BOUND);
        while pauses.current().is_none() {
            assert!(start.elapsed() < Duration::from_secs(5));
        }
    }
}
