//! Accepting connections, with a limit on their number and on the time without a request.

use std::{net::SocketAddr, num::NonZeroU32, pin::pin, sync::Arc, time::Duration};

use ::metrics::{counter, gauge};
use axum::{Router, extract::ConnectInfo, http::Request, serve::Listener};
use hyper::{
    body::Incoming,
    server::conn::http1,
    service::{Service, service_fn},
};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    server::graceful::GracefulShutdown,
    service::TowerToHyperService,
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore, watch},
};

use super::{closed, metrics};

/// Accepts connections and serves them.
pub(super) struct Connections {
    pub(super) listener: TcpListener,
    pub(super) routes: Router,
    /// The maximum number of open connections. Others wait in the system's queue.
    pub(super) most: NonZeroU32,
    /// The time limit for the head of a request, the first or the next.
    pub(super) header_timeout: Duration,
}

impl Connections {
    /// Serves until the server stops, and then until all requests in progress are answered.
    pub(super) async fn serve(self, stopped: watch::Receiver<()>) {
        let mut http = http1::Builder::new();
        http.timer(TokioTimer::new())
            .header_read_timeout(self.header_timeout)
            .max_headers(HEADERS_MAX)
            .max_buf_size(HEAD_MAX);
        let service = TowerToHyperService::new(self.routes);
        let (mut listener, mut room) = (self.listener, Room::of(self.most));
        let graceful = GracefulShutdown::new();
        let mut stop = pin!(closed(stopped));
        loop {
            let (place, (stream, peer)) = tokio::select! {
                biased;
                () = &mut stop => break,
                next = next(&mut listener, &mut room) => next,
            };
            let service = service.clone();
            let service = service_fn(move |mut request: Request<Incoming>| {
                request.extensions_mut().insert(ConnectInfo(peer));
                service.call(request)
            });
            let connection = http.serve_connection(TokioIo::new(stream), service);
            let connection = graceful.watch(connection);
            let open = Open::at(place);
            tokio::spawn(async move {
                if let Err(error) = connection.await {
                    report(&error, peer);
                }
                drop(open);
            });
        }
        drop(listener);
        graceful.shutdown().await;
    }
}

/// Reports the end of a connection that failed. The server has answered a malformed head itself, so
/// no handler saw it.
fn report(error: &hyper::Error, peer: SocketAddr) {
    let reason = if error.is_parse_too_large() {
        "head_too_large"
    } else if error.is_parse() {
        "malformed_head"
    } else {
        tracing::debug!(%error, %peer, "a connection failed");
        return;
    };
    tracing::info!(reason, %peer, "refused");
    counter!(metrics::REFUSED_HEADS, "reason" => reason).increment(1);
}

/// The largest number of header fields. Proxies limit the length of a head rather than their number;
/// this is what nginx passes on by default (32 KiB) if each field takes 16 bytes.
const HEADERS_MAX: usize = 2048;

/// The longest request head, in bytes: twice the 60 KiB that Envoy passes on by default.
const HEAD_MAX: usize = 120 * 1024;

/// The next connection, once there is room for it.
async fn next(
    listener: &mut TcpListener,
    room: &mut Room,
) -> (OwnedSemaphorePermit, (TcpStream, SocketAddr)) {
    let place = room.place().await;
    (place, Listener::accept(listener).await)
}

/// The limit on connections.
struct Room {
    places: Arc<Semaphore>,
    /// Whether the limit was reached at the last connection.
    full: bool,
}

impl Room {
    fn of(most: NonZeroU32) -> Self {
        let most = usize::try_from(most.get()).unwrap_or(usize::MAX);
        Self {
            places: Arc::new(Semaphore::new(most.min(Semaphore::MAX_PERMITS))),
            full: false,
        }
    }

    /// Waits until there are fewer connections than the limit.
    async fn place(&mut self) -> OwnedSemaphorePermit {
        if let Ok(place) = Arc::clone(&self.places).try_acquire_owned() {
            self.full = false;
            return place;
        }
        if !self.full {
            tracing::warn!("the limit on connections is reached: new ones wait");
        }
        self.full = true;
        match Arc::clone(&self.places).acquire_owned().await {
            Ok(place) => place,
            // The semaphore is never closed.
            Err(_) => std::future::pending().await,
        }
    }
}

/// Counts an open connection until it is dropped.
struct Open {
    _place: OwnedSemaphorePermit,
}

impl Open {
    fn at(place: OwnedSemaphorePermit) -> Self {
        gauge!(metrics::CONNECTIONS).increment(1.0);
        Self { _place: place }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        gauge!(metrics::CONNECTIONS).decrement(1.0);
    }
}
