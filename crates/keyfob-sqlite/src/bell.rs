//! Who waits for changes, and who tells them.

use std::{
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use futures_channel::oneshot;
use keyfob::Revision;

/// The last revision that anybody in the process heard of, and those who wait for the next.
#[derive(Debug, Default)]
pub(crate) struct Bell {
    state: Mutex<State>,
    /// Wakes the watching thread: somebody waits, or it is time to end.
    stirred: Condvar,
}

#[derive(Debug, Default)]
struct State {
    head: Revision,
    waiting: Vec<(Instant, oneshot::Sender<()>)>,
    closed: bool,
}

impl Bell {
    pub(crate) fn new(head: Revision) -> Self {
        Self {
            state: Mutex::new(State {
                head,
                ..State::default()
            }),
            stirred: Condvar::new(),
        }
    }

    /// No code that can panic runs under the lock.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn head(&self) -> Revision {
        self.state().head
    }

    /// Tells everybody of a new head.
    pub(crate) fn ring(&self, head: Revision) {
        let mut state = self.state();
        if state.head < head {
            state.head = head;
            for (_, waiting) in state.waiting.drain(..) {
                // Whoever does not wait any more need not be told.
                let _ = waiting.send(());
            }
        }
    }

    /// Waits for a head other than `seen`; none to wait for if there is one already.
    pub(crate) fn wait(&self, seen: Revision, until: Instant) -> Option<oneshot::Receiver<()>> {
        let mut state = self.state();
        if state.head != seen {
            return None;
        }
        let (sender, receiver) = oneshot::channel();
        state.waiting.retain(|(_, other)| !other.is_canceled());
        state.waiting.push((until, sender));
        self.stirred.notify_one();
        Some(receiver)
    }

    pub(crate) fn close(&self) {
        self.state().closed = true;
        self.stirred.notify_one();
    }

    /// Sends away those whose time is over, then sleeps until it is time to look again: after
    /// `interval` or when the next one's time is over; for as long as nobody waits. `false` once
    /// the bell is closed.
    pub(crate) fn sleep(&self, interval: Duration) -> bool {
        let mut state = self.state();
        let now = Instant::now();
        let wake_up = now + interval;
        loop {
            let now = Instant::now();
            // What is dropped here wakes its receiver.
            state
                .waiting
                .retain(|(until, waiting)| *until > now && !waiting.is_canceled());
            if state.closed {
                return false;
            }
            let next = state.waiting.iter().map(|(until, _)| *until).min();
            let Some(next) = next else {
                state = self
                    .stirred
                    .wait(state)
                    .unwrap_or_else(PoisonError::into_inner);
                if !state.waiting.is_empty() {
                    return !state.closed;
                }
                continue;
            };
            let pause = next.min(wake_up).saturating_duration_since(now);
            if wake_up <= now {
                return true;
            }
            let (guard, _) = self
                .stirred
                .wait_timeout(state, pause)
                .unwrap_or_else(PoisonError::into_inner);
            state = guard;
        }
    }
}
