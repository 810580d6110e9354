//! Waiting for a change. No behaviour waits longer than five seconds for an answer, so that a store
//! that never answers cannot stop the suite.

use std::{
    future::{Future, poll_fn},
    pin::Pin,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
    thread,
    time::Duration,
};

use keyfob::{KeyStore, store::Revision};

use crate::{
    fixture::{kept, key, sound},
    reading::{changes, head},
};

/// How long a store has for an answer that is due. It is never used up by a store that answers.
const LIMIT: Duration = Duration::from_secs(5);

/// How long a store that waits for a change is watched.
const PATIENCE: Duration = Duration::from_millis(100);

/// A wait for a change. It is polled only when it asked for it, as a task would be.
struct Wait<'a> {
    answer: Pin<Box<dyn Future<Output = bool> + Send + 'a>>,
    bell: Arc<Bell>,
}

/// Wakes the task of a behaviour, and remembers whether it was rung.
struct Bell {
    rung: AtomicBool,
    task: Mutex<Option<Waker>>,
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.rung.store(true, Ordering::Release);
        let task = self.task.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(task) = &*task {
            task.wake_by_ref();
        }
    }
}

impl<'a> Wait<'a> {
    fn after(store: &'a dyn KeyStore, revision: Revision) -> Self {
        Self {
            answer: Box::pin(async move { sound(store.wait_for_change(revision).await) }),
            bell: Arc::new(Bell {
                rung: AtomicBool::new(true),
                task: Mutex::default(),
            }),
        }
    }

    /// The answer, or `None` if there is none within this time.
    async fn within(&mut self, limit: Duration) -> Option<bool> {
        let over = Arc::new(AtomicBool::new(false));
        let mut timer_runs = false;
        poll_fn(|context| {
            let mut task = self
                .bell
                .task
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            *task = Some(context.waker().clone());
            drop(task);
            if self.bell.rung.swap(false, Ordering::AcqRel) {
                let waker = Waker::from(Arc::clone(&self.bell));
                let mut context = Context::from_waker(&waker);
                if let Poll::Ready(answer) = self.answer.as_mut().poll(&mut context) {
                    return Poll::Ready(Some(answer));
                }
            }
            if over.load(Ordering::Acquire) {
                return Poll::Ready(None);
            }
            if !timer_runs {
                timer_runs = true;
                let (over, waker) = (Arc::clone(&over), context.waker().clone());
                // The suite knows no runtime, and so no timer of one.
                thread::spawn(move || {
                    thread::sleep(limit);
                    over.store(true, Ordering::Release);
                    waker.wake();
                });
            }
            Poll::Pending
        })
        .await
    }
}

/// A wait that has begun and has no answer yet; `None` if the store cannot tell.
async fn begun(store: &dyn KeyStore, after: Revision) -> Option<Wait<'_>> {
    // An answer without a change is allowed, but not always.
    for _ in 0..100 {
        let mut waiting = Wait::after(store, after);
        match waiting.within(PATIENCE).await {
            None => return Some(waiting),
            Some(true) => {}
            Some(false) => return None,
        }
    }
    panic!("the store says every time that there may be a change, and there is none")
}

/// A store either says at once that it cannot tell, or waits until there is a commit, and then
/// answers everyone who waits. The commit can be read then.
pub async fn a_commit_ends_every_wait(store: &dyn KeyStore) {
    for n in 0..3 {
        let before = head(store).await;
        let Some(mut first) = begun(store, before).await else {
            return;
        };
        let Some(mut second) = begun(store, before).await else {
            panic!("the store can tell only sometimes");
        };
        let revision = kept(store, key(&format!("key {n}")).creation()).await;
        for (who, waiting) in [("first", &mut first), ("second", &mut second)] {
            let answer = waiting.within(LIMIT).await;
            assert_eq!(answer, Some(true), "the {who} wait after a commit");
        }
        let part = changes(store, before, 10).await;
        assert_eq!(part.next_after, revision, "read after the wait");
    }
}

/// A reader that is behind the store does not wait: neither one that has read nothing, nor one
/// that has read all but the last commit.
pub async fn a_reader_behind_the_store_does_not_wait(store: &dyn KeyStore) {
    let can_tell = begun(store, Revision::ZERO).await.is_some();
    for n in 1..=3 {
        kept(store, key(&format!("key {n}")).creation()).await;
        for after in [0, n - 1] {
            let mut waiting = Wait::after(store, Revision::new(after));
            let answer = waiting.within(LIMIT).await;
            assert_eq!(answer, Some(can_tell), "at revision {n}, after {after}");
        }
    }
}

/// A commit between a read and the wait that follows it is not missed, even if an earlier wait
/// was given up.
pub async fn no_commit_is_missed_between_two_waits(store: &dyn KeyStore) {
    let before = head(store).await;
    let Some(given_up) = begun(store, before).await else {
        return;
    };
    drop(given_up);
    let revision = kept(store, key("laptop").creation()).await;
    let mut waiting = Wait::after(store, before);
    let answer = waiting.within(LIMIT).await;
    assert_eq!(answer, Some(true), "the wait after a commit");
    let Some(mut waiting) = begun(store, revision).await else {
        panic!("the store can tell only sometimes");
    };
    kept(store, key("phone").creation()).await;
    let answer = waiting.within(LIMIT).await;
    assert_eq!(answer, Some(true), "the next wait");
}
