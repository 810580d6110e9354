//! When a connection has to end.

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use axum::body::{Body, Bytes};
use hyper::body::{Frame, SizeHint};
use tokio::{
    sync::watch,
    time::{Instant, timeout},
};

/// Tells when the connection of a request has to end, since the server stops or others wait for room: an
/// extension of the request, for a handler whose answer does not end by itself.
#[derive(Clone, Debug)]
pub struct Leaving(watch::Receiver<bool>);

impl Leaving {
    /// Waits until the connection has to end.
    pub async fn wait(mut self) {
        // The sender is dropped with the connection.
        let _ = self.0.wait_for(|leaves| *leaves).await;
    }
}

/// What is known about a connection: whether it has to end, and its requests in progress.
#[derive(Clone, Debug)]
pub(crate) struct Progress {
    leaves: watch::Sender<bool>,
    requests: watch::Sender<usize>,
    begun: Instant,
    /// When the last request came, in milliseconds since the beginning.
    last: Arc<AtomicU64>,
}

impl Progress {
    pub(crate) fn new() -> Self {
        Self {
            leaves: watch::Sender::new(false),
            requests: watch::Sender::new(0),
            begun: Instant::now(),
            last: Arc::default(),
        }
    }

    /// Notes that a request came.
    pub(crate) fn note(&self) {
        let since = self.begun.elapsed().as_millis();
        let since = u64::try_from(since).unwrap_or(u64::MAX);
        self.last.store(since, Ordering::Relaxed);
    }

    /// How long the connection may stay while others wait for room, as of `now`.
    pub(crate) fn stay(&self, now: Instant) -> Stay {
        let turn = self.begun + TURN;
        if *self.requests.borrow() > 0 {
            return Stay {
                until: turn,
                is_busy: true,
            };
        }
        let last = Duration::from_millis(self.last.load(Ordering::Relaxed));
        let idle = self.begun + last + IDLE;
        Stay {
            until: idle.min(turn),
            is_busy: idle > now,
        }
    }

    pub(crate) fn leaving(&self) -> Leaving {
        Leaving(self.leaves.subscribe())
    }

    /// Tells the connection and its requests in progress that it has to end.
    pub(crate) fn leave(&self) {
        self.leaves.send_replace(true);
    }

    pub(crate) fn has_to_end(&self) -> bool {
        *self.leaves.borrow()
    }

    /// A request is in progress until its answer is dropped.
    pub(crate) fn begin(&self) -> InProgress {
        self.requests.send_modify(|count| *count += 1);
        InProgress(self.requests.clone())
    }

    /// Waits until no request has been in progress for a moment, in which the last answer is sent.
    pub(crate) async fn quiet(&self) {
        let mut requests = self.requests.subscribe();
        loop {
            let _ = requests.wait_for(|count| *count == 0).await;
            let next = requests.wait_for(|count| *count > 0);
            if timeout(LAST_WRITE, next).await.is_err() {
                return;
            }
        }
    }
}

/// A request that is in progress.
pub(crate) struct InProgress(watch::Sender<usize>);

impl InProgress {
    /// The body of the answer, with which the request is in progress.
    pub(crate) fn until_sent(self, body: Body) -> Body {
        Body::new(Answered {
            body,
            _request: self,
        })
    }
}

impl Drop for InProgress {
    fn drop(&mut self) {
        self.0.send_modify(|count| *count = count.saturating_sub(1));
    }
}

struct Answered {
    body: Body,
    _request: InProgress,
}

impl hyper::body::Body for Answered {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// How long a connection may stay while others wait for room.
pub(crate) struct Stay {
    pub(crate) until: Instant,
    /// Whether it has a request, or had one a moment ago.
    pub(crate) is_busy: bool,
}

/// Waits until a connection has to end: after the request in progress, at once if there is none.
pub(crate) async fn leave(stopped: watch::Receiver<()>, progress: &Progress) {
    tokio::select! {
        () = closed(stopped) => {}
        () = progress.leaving().wait() => {}
    }
}

/// Waits until the server is to stop.
pub(crate) async fn closed(mut stopped: watch::Receiver<()>) {
    // Nothing is sent; the channel closes.
    while stopped.changed().await.is_ok() {}
}

/// How long a connection is kept although others wait.
pub(crate) const TURN: Duration = Duration::from_secs(5);
/// The same, if it has no request meanwhile. Gateways wait a second for an answer.
const IDLE: Duration = Duration::from_millis(500);
/// How long an answer that was made may take to be sent, once the connection has to end.
const LAST_WRITE: Duration = Duration::from_secs(1);
