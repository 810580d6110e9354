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
    time::{Instant, sleep, sleep_until, timeout},
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

    /// How long there has been no request.
    fn idle_for(&self) -> Duration {
        let last = Duration::from_millis(self.last.load(Ordering::Relaxed));
        self.begun.elapsed().saturating_sub(last)
    }

    /// Whether there is no request now, and has been none for a moment. What is left of the moment is waited
    /// for.
    async fn is_idle(&self) -> bool {
        let is_idle = || self.idle_for() >= IDLE && *self.requests.borrow() == 0;
        if is_idle() {
            return true;
        }
        let rest = IDLE.saturating_sub(self.idle_for());
        sleep(if rest.is_zero() { IDLE } else { rest }).await;
        is_idle()
    }

    pub(crate) fn leaving(&self) -> Leaving {
        Leaving(self.leaves.subscribe())
    }

    /// Tells the requests in progress that the connection has to end.
    pub(crate) fn leave(&self) {
        self.leaves.send_replace(true);
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

/// Waits until a connection that was accepted at `since` has to end: after the request in progress, at
/// once if there is none. `progress` is none during a TLS handshake.
///
/// While others wait for room, a connection makes room that has had its turn, or has had no request for
/// a moment. Otherwise clients that ask for something now and then, or for nothing, would lock out all
/// others for as long as they like.
pub(crate) async fn leave(
    since: Instant,
    stopped: watch::Receiver<()>,
    mut crowded: watch::Receiver<bool>,
    progress: Option<&Progress>,
) {
    let turn = since + TURN;
    let makes_room = async {
        loop {
            if crowded.wait_for(|crowded| *crowded).await.is_err() {
                std::future::pending::<()>().await;
            }
            let is_idle = if let Some(progress) = progress {
                progress.is_idle().await
            } else {
                sleep_until(turn).await;
                false
            };
            if *crowded.borrow() && (is_idle || Instant::now() >= turn) {
                break;
            }
        }
    };
    tokio::select! {
        () = closed(stopped) => {}
        () = makes_room => {}
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
