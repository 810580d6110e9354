//! Accepting connections, with a limit on their number, on the time without a request, and on the
//! time without progress of an answer.

use std::{
    net::SocketAddr,
    num::NonZeroU32,
    pin::pin,
    sync::{Arc, OnceLock},
    time::Duration,
};

use ::metrics::{counter, gauge};
use axum::{Router, extract::ConnectInfo, http::Request, serve::Listener};
use hyper::{
    body::Incoming,
    server::conn::http1,
    service::{Service, service_fn},
};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore, watch},
    time::{Instant, sleep_until},
};
use tokio_io_timeout::TimeoutStream;

use super::{closed, metrics};

/// Accepts connections and serves them.
pub(super) struct Connections {
    pub(super) listener: TcpListener,
    pub(super) routes: Routes,
    /// The maximum number of open connections. Others wait.
    pub(super) most: NonZeroU32,
    /// The time limit for the head of a request, the first or the next.
    pub(super) header_timeout: Duration,
    /// How long the write of an answer may make no progress.
    pub(super) write_timeout: Duration,
}

/// What is served: at first that the server is starting, then everything.
#[derive(Clone, Debug)]
pub(super) struct Routes {
    starting: Router,
    all: Arc<OnceLock<Router>>,
}

impl Routes {
    pub(super) fn starting(starting: Router) -> Self {
        Self {
            starting,
            all: Arc::default(),
        }
    }

    /// Serves everything from now on.
    pub(super) fn serve(&self, all: Router) {
        // It is called once.
        let _ = self.all.set(all);
    }

    fn now(&self) -> Router {
        self.all.get().unwrap_or(&self.starting).clone()
    }
}

impl Connections {
    /// Serves until the server stops, and then until all requests in progress are answered.
    pub(super) async fn serve(self, stopped: watch::Receiver<()>) {
        let mut http = http1::Builder::new();
        http.timer(TokioTimer::new())
            .header_read_timeout(self.header_timeout)
            .max_headers(HEADERS_MAX)
            .max_buf_size(HEAD_MAX);
        let (mut listener, mut room) = (self.listener, Room::of(self.most));
        let mut stop = pin!(closed(stopped.clone()));
        loop {
            let (place, (stream, peer)) = tokio::select! {
                biased;
                () = &mut stop => break,
                next = next(&mut listener, &mut room) => next,
            };
            let routes = self.routes.clone();
            let service = service_fn(move |mut request: Request<Incoming>| {
                request.extensions_mut().insert(ConnectInfo(peer));
                TowerToHyperService::new(routes.now()).call(request)
            });
            // A client that does not read keeps its connection and what was written for it.
            let mut stream = TimeoutStream::new(stream);
            stream.set_write_timeout(Some(self.write_timeout));
            let connection = http.serve_connection(TokioIo::new(Box::pin(stream)), service);
            let leave = leave(stopped.clone(), room.crowded());
            let open = Open::at(place);
            tokio::spawn(async move {
                let mut connection = pin!(connection);
                let ended = tokio::select! {
                    ended = connection.as_mut() => ended,
                    () = leave => {
                        connection.as_mut().graceful_shutdown();
                        connection.await
                    }
                };
                if let Err(error) = ended {
                    report(&error, peer);
                }
                drop(open);
            });
        }
        drop(listener);
        room.emptied().await;
    }
}

/// Waits until a connection is to be closed: after the request in progress, at once if there is
/// none.
///
/// While others wait for room, a connection that has had its turn makes room. Otherwise clients that
/// ask for something now and then would lock out all others for as long as they like.
async fn leave(stopped: watch::Receiver<()>, mut crowded: watch::Receiver<bool>) {
    let turn = Instant::now() + TURN;
    let makes_room = async {
        sleep_until(turn).await;
        if crowded.wait_for(|crowded| *crowded).await.is_err() {
            std::future::pending::<()>().await;
        }
    };
    tokio::select! {
        () = closed(stopped) => {}
        () = makes_room => {}
    }
}

/// How long a connection is kept although others wait.
const TURN: Duration = Duration::from_secs(5);
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

/// The largest number of header fields. Envoy, `HAProxy` and Apache pass on about 100 by default, and
/// nginx as many as fit in 32 KiB. hyper allocates this number of places for every request: 256 take
/// about 4 us of it, 2048 about 25.
const HEADERS_MAX: usize = 256;

/// The longest request head, in bytes: twice the 60 KiB that Envoy passes on by default. As much is
/// kept of an answer for a client that reads slowly.
const HEAD_MAX: usize = 120 * 1024;

/// The next connection, once there is room for it.
async fn next(
    listener: &mut TcpListener,
    room: &mut Room,
) -> (OwnedSemaphorePermit, (TcpStream, SocketAddr)) {
    // Accepted first: only then is it known that somebody waits.
    let accepted = Listener::accept(listener).await;
    (room.place().await, accepted)
}

/// The limit on connections.
struct Room {
    places: Arc<Semaphore>,
    most: u32,
    /// Whether a connection waits for room.
    crowded: watch::Sender<bool>,
}

impl Room {
    fn of(most: NonZeroU32) -> Self {
        let most = most.get().min(PLACES_MAX);
        Self {
            places: Arc::new(Semaphore::new(usize::try_from(most).unwrap_or(usize::MAX))),
            most,
            crowded: watch::Sender::new(false),
        }
    }

    fn crowded(&self) -> watch::Receiver<bool> {
        self.crowded.subscribe()
    }

    /// Waits until there are fewer connections than the limit.
    async fn place(&mut self) -> OwnedSemaphorePermit {
        if let Ok(place) = Arc::clone(&self.places).try_acquire_owned() {
            self.crowded.send_replace(false);
            return place;
        }
        if !self.crowded.send_replace(true) {
            tracing::warn!("the limit on connections is reached: new ones wait");
        }
        match Arc::clone(&self.places).acquire_owned().await {
            Ok(place) => place,
            // The semaphore is never closed.
            Err(_) => std::future::pending().await,
        }
    }

    /// Waits until all connections are closed.
    async fn emptied(self) {
        let _ = self.places.acquire_many(self.most).await;
    }
}

/// A semaphore of Tokio has room for at least that many.
const PLACES_MAX: u32 = u32::MAX >> 4;

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

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use axum::{
        body::{Body, Bytes},
        http::StatusCode,
        routing::get,
    };
    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        time::timeout,
    };

    use super::*;

    const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: keyfob\r\n\r\n";

    async fn start(routes: &Routes) -> (SocketAddr, watch::Sender<()>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let connections = Connections {
            listener,
            routes: routes.clone(),
            most: NonZeroU32::MIN,
            header_timeout: Duration::from_secs(30),
            write_timeout: Duration::from_millis(200),
        };
        let (stop, stopped) = watch::channel(());
        tokio::spawn(connections.serve(stopped));
        (address, stop)
    }

    async fn ask(connection: &mut TcpStream) -> String {
        connection.write_all(REQUEST).await.unwrap();
        let mut bytes = [0; 4096];
        let read = connection.read(&mut bytes).await.unwrap();
        String::from_utf8_lossy(&bytes[..read]).into_owned()
    }

    #[tokio::test]
    async fn a_connection_of_the_start_is_served_as_soon_as_the_server_is_ready() {
        let not_yet = Router::new().fallback(|| async { StatusCode::SERVICE_UNAVAILABLE });
        let routes = Routes::starting(not_yet);
        let (address, _stop) = start(&routes).await;
        let mut connection = TcpStream::connect(address).await.unwrap();
        assert!(ask(&mut connection).await.starts_with("HTTP/1.1 503"));
        routes.serve(Router::new().route("/", get(|| async { "ready" })));
        assert!(ask(&mut connection).await.starts_with("HTTP/1.1 200"));
    }

    /// Tells when it is dropped.
    struct Endless(Arc<AtomicBool>);

    impl Drop for Endless {
        fn drop(&mut self) {
            self.0.store(true, Ordering::SeqCst);
        }
    }

    impl hyper::body::Body for Endless {
        type Data = Bytes;
        type Error = std::convert::Infallible;

        fn poll_frame(
            self: std::pin::Pin<&mut Self>,
            _: &mut std::task::Context<'_>,
        ) -> std::task::Poll<Option<Result<hyper::body::Frame<Bytes>, Self::Error>>> {
            let frame = hyper::body::Frame::data(Bytes::from_static(&[b'x'; 10_000]));
            std::task::Poll::Ready(Some(Ok(frame)))
        }
    }

    #[tokio::test]
    async fn a_client_that_reads_nothing_loses_its_connection() {
        let gone = Arc::new(AtomicBool::new(false));
        let body = Arc::clone(&gone);
        let endless = get(move || async move { Body::new(Endless(body)) });
        let routes = Routes::starting(Router::new().route("/", endless));
        let (address, _stop) = start(&routes).await;
        let mut connection = TcpStream::connect(address).await.unwrap();
        connection.write_all(REQUEST).await.unwrap();
        let dropped = async {
            while !gone.load(Ordering::SeqCst) {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        assert!(timeout(Duration::from_secs(10), dropped).await.is_ok());
    }
}
