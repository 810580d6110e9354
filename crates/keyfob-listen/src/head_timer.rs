//! The time limit for the heads of a connection's requests.

use std::{
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll, ready},
    time::Duration,
};

use hyper::rt::Timer;
use tokio::time::{Instant, Sleep, sleep_until};

/// The timer of one connection: it has one entry in the runtime's timers, which is moved only when its time has come.
/// hyper waits for each head with a new sleep, and drops it when the head has come; with Tokio's own, each request
/// would add an entry and remove it.
///
/// One sleep at a time is waited for.
pub(crate) struct HeadTimer(Arc<Mutex<Pin<Box<Sleep>>>>);

impl HeadTimer {
    pub(crate) fn new() -> Self {
        Self(Arc::new(Mutex::new(Box::pin(sleep_until(Instant::now())))))
    }
}

impl Timer for HeadTimer {
    fn sleep(&self, duration: Duration) -> Pin<Box<dyn hyper::rt::Sleep>> {
        self.sleep_until(self.now() + duration)
    }

    fn sleep_until(&self, deadline: std::time::Instant) -> Pin<Box<dyn hyper::rt::Sleep>> {
        Box::pin(HeadSleep {
            deadline: deadline.into(),
            entry: Arc::clone(&self.0),
        })
    }

    fn now(&self) -> std::time::Instant {
        Instant::now().into_std()
    }
}

/// Waits until a deadline, with the entry of its connection.
struct HeadSleep {
    deadline: Instant,
    entry: Arc<Mutex<Pin<Box<Sleep>>>>,
}

impl Future for HeadSleep {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let mut entry = self.entry.lock().unwrap_or_else(PoisonError::into_inner);
        if entry.deadline() > self.deadline {
            entry.as_mut().reset(self.deadline);
        }
        loop {
            ready!(entry.as_mut().poll(cx));
            if entry.deadline() >= self.deadline {
                return Poll::Ready(());
            }
            // It was set for an earlier head.
            entry.as_mut().reset(self.deadline);
        }
    }
}

impl hyper::rt::Sleep for HeadSleep {}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn each_head_is_waited_for_until_its_own_deadline() {
        let timer = HeadTimer::new();
        let begun = Instant::now();
        let limit = Duration::from_secs(10);
        begin(&timer, limit).await;
        tokio::time::sleep(Duration::from_secs(9)).await;
        timer.sleep(limit).await;
        assert_eq!(begun.elapsed().as_secs(), 19);
        // Long after the deadline of the head before.
        tokio::time::sleep(Duration::from_secs(100)).await;
        timer.sleep(limit).await;
        assert_eq!(begun.elapsed().as_secs(), 129);
        // Earlier than that of the head before.
        begin(&timer, limit * 100).await;
        timer.sleep(limit).await;
        assert_eq!(begun.elapsed().as_secs(), 139);
    }

    /// Begins to wait for a head, which then comes.
    async fn begin(timer: &HeadTimer, limit: Duration) {
        let mut sleep = timer.sleep(limit);
        let poll = poll_fn(|cx| Poll::Ready(sleep.as_mut().poll(cx)));
        assert!(poll.await.is_pending());
    }
}
