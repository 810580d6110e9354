//! Who waits for changes, and who tells them.

use std::{
    mem,
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use futures_channel::oneshot;
use keyfob::store::Revision;

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

    /// Nothing of anybody else's runs under the lock: who is to be woken is woken after it.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn head(&self) -> Revision {
        self.state().head
    }

    /// Tells everybody of a new head.
    pub(crate) fn ring(&self, head: Revision) {
        let mut state = self.state();
        if head <= state.head {
            return;
        }
        state.head = head;
        let waiting = mem::take(&mut state.waiting);
        drop(state);
        for (_, waiting) in waiting {
            // Whoever does not wait any more need not be told.
            let _ = waiting.send(());
        }
    }

    /// Waits for a head other than `seen`; none to wait for if there is one already.
    pub(crate) fn wait(&self, seen: Revision, until: Instant) -> Option<oneshot::Receiver<()>> {
        let mut state = self.state();
        if state.head != seen {
            return None;
        }
        let (sender, receiver) = oneshot::channel();
        state.waiting.push((until, sender));
        self.stirred.notify_one();
        Some(receiver)
    }

    pub(crate) fn close(&self) {
        self.state().blocked = true;
        self.stirred.notify_one();
    }

    /// Sleeps until it is time to look again: after `interval`, or for as long as nobody waits.
    /// Those whose time is over are sent away meanwhile. `false` once the bell is closed.
    pub(crate) fn sleep(&self, interval: Duration) -> bool {
        let wake_up = Instant::now() + interval;
        loop {
            let mut state = self.state();
            let now = Instant::now();
            let is_over = |(until, waiting): &mut (Instant, oneshot::Sender<()>)| {
                *until <= now || waiting.is_canceled()
            };
            let over: Vec<_> = state.waiting.extract_if(.., is_over).collect();
            if !over.is_empty() {
                drop(state);
                // This wakes them.
                drop(over);
                continue;
            }
            if state.blocked {
                return false;
            }
            let Some(next) = state.waiting.iter().map(|(until, _)| *until).min() else {
                // Whoever comes first wants to know at once whether something has changed.
                return self.wait_for_somebody(state);
            };
            if wake_up <= now {
                return true;
            }
            let pause = next.min(wake_up).saturating_duration_since(now);
            let woken = self.stirred.wait_timeout(state, pause);
            drop(woken.unwrap_or_else(PoisonError::into_inner));
        }
    }

    fn wait_for_somebody(&self, state: MutexGuard<'_, State>) -> bool {
        let nobody = |state: &mut State| state.waiting.is_empty() && !state.blocked;
        let state = self
            .stirred
            .wait_while(state, nobody)
            .unwrap_or_else(PoisonError::into_inner);
        !state.blocked
    }
}
