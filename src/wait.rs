//! Running a future without a runtime.

use std::{
    sync::Arc,
    task::{Context, Poll, Wake, Waker},
    thread::{self, Thread},
};

use core::{future::Future, pin::pin};

/// Runs a future to its end on this thread, parking the thread while it waits.
///
/// It makes a plain call of any `async` call in this crate. Over a store that never waits, such
/// as [`MemoryStore`](crate::store::MemoryStore), the future is ready at once and nothing is
/// parked. A store that needs a runtime's reactor says so; then use that runtime.
pub fn wait<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut context = Context::from_waker(&waker);
    loop {
        match future.as_mut().poll(&mut context) {
            Poll::Ready(output) => return output,
            Poll::Pending => thread::park(),
        }
    }
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_future_that_is_woken_from_elsewhere_comes_to_its_end() {
        let mut polls = 0;
        let answer = wait(core::future::poll_fn(|context| {
            polls += 1;
            if polls < 3 {
                let waker = context.waker().clone();
                thread::spawn(move || waker.wake());
                return Poll::Pending;
            }
            Poll::Ready(polls)
        }));
        assert_eq!(answer, 3);
    }
}
