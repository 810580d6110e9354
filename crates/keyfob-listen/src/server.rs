//! Serving connections, with a limit on their number, on the time without a request, and on the time
//! without progress of an answer.

use std::{
    fmt,
    net::SocketAddr,
    num::NonZeroU32,
    pin::pin,
    sync::{Arc, OnceLock},
    time::Duration,
};

use axum::{Router, extract::ConnectInfo, http::Request};
use hyper::{
    body::Incoming,
    server::conn::http1,
    service::{Service, service_fn},
};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use metrics::counter;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::watch,
    task::JoinSet,
    time::{Instant, sleep_until, timeout},
};
use tokio_io_timeout::TimeoutStream;

use crate::{
    Listener,
    address::Connection,
    metrics::REFUSED_HEADS,
    room::{Place, Room},
    tls::{ClientCertificate, Tls},
};

/// Accepts the connections of a listener, and serves them.
#[derive(Debug)]
pub struct Server {
    name: &'static str,
    listener: Listener,
    routes: Routes,
    limits: Limits,
    tls: Option<Tls>,
}

/// What a server grants its clients.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Limits {
    /// The maximum number of open connections; others wait. The default is 512.
    pub connections: NonZeroU32,
    /// The time limit for the head of a request, the first or the next, and for the TLS handshake.
    /// The default is 30 seconds.
    pub header_timeout: Duration,
    /// How long the write of an answer may make no progress. The default is 30 seconds.
    pub write_timeout: Duration,
    /// How long requests in progress may take after the server was asked to stop. Then their connections
    /// are closed. The default is 20 seconds.
    pub grace: Duration,
    /// The longest request head, in bytes. As much is kept of an answer for a client that reads
    /// slowly. The default is twice the 60 KiB that Envoy passes on by default; the least is 8 KiB.
    pub head_bytes: usize,
}

impl Limits {
    /// Limits for streams that do not end: a short head, a client that reads nothing for 5 seconds
    /// loses its connection, and a stop closes all of them at once.
    pub fn for_streams() -> Self {
        Self {
            connections: NonZeroU32::MIN.saturating_add(2_047),
            header_timeout: Duration::from_secs(10),
            write_timeout: Duration::from_secs(5),
            grace: Duration::ZERO,
            head_bytes: HEAD_MIN,
        }
    }

    /// The limits with this number of connections.
    #[must_use]
    pub fn with_connections(self, connections: NonZeroU32) -> Self {
        Self {
            connections,
            ..self
        }
    }

    /// The limits with this time for a request's head.
    #[must_use]
    pub fn with_header_timeout(self, header_timeout: Duration) -> Self {
        Self {
            header_timeout,
            ..self
        }
    }

    /// The limits with this time without progress of an answer.
    #[must_use]
    pub fn with_write_timeout(self, write_timeout: Duration) -> Self {
        Self {
            write_timeout,
            ..self
        }
    }

    /// The limits with this time for requests in progress when the server stops.
    #[must_use]
    pub fn with_grace(self, grace: Duration) -> Self {
        Self { grace, ..self }
    }

    /// The limits with this length of a request's head, in bytes.
    #[must_use]
    pub fn with_head_bytes(self, head_bytes: usize) -> Self {
        Self { head_bytes, ..self }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: NonZeroU32::MIN.saturating_add(511),
            header_timeout: Duration::from_secs(30),
            write_timeout: Duration::from_secs(30),
            grace: Duration::from_secs(20),
            head_bytes: 120 * 1024,
        }
    }
}

/// Where a request came from: an extension of the request. Requests over TCP also have axum's
/// `ConnectInfo<SocketAddr>`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Peer {
    /// An address.
    Tcp(SocketAddr),
    /// A process of this machine, over a Unix socket.
    Unix,
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix => f.pad("unix"),
        }
    }
}

/// What is served: at first that the program is starting, then everything.
#[derive(Clone, Debug)]
pub struct Routes {
    starting: Router,
    all: Arc<OnceLock<Router>>,
}

impl Routes {
    /// Serves this router.
    pub fn of(all: Router) -> Self {
        Self::starting(all)
    }

    /// Serves this router until [`Routes::serve`] is called.
    pub fn starting(starting: Router) -> Self {
        Self {
            starting,
            all: Arc::default(),
        }
    }

    /// Serves this router from now on, also on connections that are open. The first call counts.
    pub fn serve(&self, all: Router) {
        let _ = self.all.set(all);
    }

    fn now(&self) -> Router {
        self.all.get().unwrap_or(&self.starting).clone()
    }
}

impl Server {
    /// Creates a server; `name` stands in logs and metrics.
    pub fn new(name: &'static str, listener: Listener, routes: Routes) -> Self {
        Self {
            name,
            listener,
            routes,
            limits: Limits::default(),
            tls: None,
        }
    }

    /// Sets the limits.
    #[must_use]
    pub fn with_limits(self, limits: Limits) -> Self {
        Self { limits, ..self }
    }

    /// Speaks TLS.
    #[must_use]
    pub fn with_tls(self, tls: impl Into<Option<Tls>>) -> Self {
        Self {
            tls: tls.into(),
            ..self
        }
    }

    /// Serves until the sender of `stopped` is dropped, and then until all requests in progress are
    /// answered, for [`Limits::grace`] at most.
    pub async fn serve(self, stopped: watch::Receiver<()>) {
        let mut http = http1::Builder::new();
        http.timer(TokioTimer::new())
            .header_read_timeout(self.limits.header_timeout)
            .max_headers(HEADERS_MAX)
            .max_buf_size(self.limits.head_bytes.max(HEAD_MIN));
        let handler = Handler {
            name: self.name,
            http,
            routes: self.routes,
            limits: self.limits,
            stopped: stopped.clone(),
        };
        let _reload = self.tls.as_ref().map(Tls::reload);
        let mut room = Room::new(self.name, self.limits.connections);
        let mut connections = JoinSet::new();
        let mut stop = pin!(closed(stopped));
        loop {
            let (place, (connection, peer)) = tokio::select! {
                biased;
                () = &mut stop => break,
                next = next(&self.listener, &mut room) => next,
            };
            // Forgets those that have ended.
            while connections.try_join_next().is_some() {}
            let client = Client {
                peer: peer.map_or(Peer::Unix, Peer::Tcp),
                certificate: None,
                crowded: room.crowded(),
                place,
            };
            let handler = handler.clone();
            let acceptor = self.tls.as_ref().map(Tls::acceptor);
            connections.spawn(async move {
                match (connection, acceptor) {
                    (Connection::Tcp(stream), None) => handler.serve(stream, client).await,
                    (Connection::Unix(stream), None) => handler.serve(stream, client).await,
                    (Connection::Tcp(stream), Some(tls)) => {
                        handler.serve_tls(tls, stream, client).await;
                    }
                    (Connection::Unix(stream), Some(tls)) => {
                        handler.serve_tls(tls, stream, client).await;
                    }
                }
            });
        }
        drop(self.listener);
        let ended = async { while connections.join_next().await.is_some() {} };
        if timeout(self.limits.grace, ended).await.is_err() && !self.limits.grace.is_zero() {
            let listener = self.name;
            tracing::warn!(listener, "some requests were not answered in time");
        }
        // Dropping the set closes the connections that are left.
    }
}

/// The next connection, once there is room for it.
async fn next(listener: &Listener, room: &mut Room) -> (Place, (Connection, Option<SocketAddr>)) {
    // Accepted first: only then is it known that somebody waits.
    let accepted = listener.accept().await;
    (room.place().await, accepted)
}

/// The client at the other end of a connection.
struct Client {
    peer: Peer,
    certificate: Option<ClientCertificate>,
    /// Whether others wait for room.
    crowded: watch::Receiver<bool>,
    place: Place,
}

#[derive(Clone)]
struct Handler {
    name: &'static str,
    http: http1::Builder,
    routes: Routes,
    limits: Limits,
    stopped: watch::Receiver<()>,
}

impl Handler {
    async fn serve_tls<S>(self, tls: tokio_rustls::TlsAcceptor, stream: S, mut client: Client)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let refused = match timeout(self.limits.header_timeout, tls.accept(stream)).await {
            Ok(Ok(stream)) => {
                let certificates = stream.get_ref().1.peer_certificates();
                client.certificate = certificates
                    .and_then(|certificates| certificates.first())
                    .map(|certificate| ClientCertificate(Arc::from(certificate.as_ref())));
                return self.serve(stream, client).await;
            }
            Ok(Err(error)) => error.to_string(),
            Err(_) => "the handshake took too long".to_owned(),
        };
        let (listener, reason) = (self.name, "tls_handshake");
        tracing::info!(listener, peer = %client.peer, error = refused, reason, "refused");
        counter!(REFUSED_HEADS, "listener" => listener, "reason" => reason).increment(1);
    }

    async fn serve<S>(self, stream: S, client: Client)
    where
        S: AsyncRead + AsyncWrite + Send + 'static,
    {
        let Client {
            peer,
            certificate,
            crowded,
            place,
        } = client;
        let routes = self.routes.clone();
        let service = service_fn(move |mut request: Request<Incoming>| {
            let extensions = request.extensions_mut();
            extensions.insert(peer);
            if let Peer::Tcp(address) = peer {
                extensions.insert(ConnectInfo(address));
            }
            if let Some(certificate) = &certificate {
                extensions.insert(certificate.clone());
            }
            TowerToHyperService::new(routes.now()).call(request)
        });
        // A client that does not read keeps its connection and what was written for it.
        let mut stream = TimeoutStream::new(stream);
        stream.set_write_timeout(Some(self.limits.write_timeout));
        let connection = self
            .http
            .serve_connection(TokioIo::new(Box::pin(stream)), service);
        let mut connection = pin!(connection);
        let ended = tokio::select! {
            ended = connection.as_mut() => ended,
            () = leave(self.stopped, crowded) => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        };
        if let Err(error) = ended {
            report(self.name, &error, peer);
        }
        drop(place);
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

/// Waits until the server is to stop.
async fn closed(mut stopped: watch::Receiver<()>) {
    // Nothing is sent; the channel closes.
    while stopped.changed().await.is_ok() {}
}

/// Reports the end of a connection that failed. The server has answered a malformed head itself, so
/// no handler saw it.
fn report(listener: &'static str, error: &hyper::Error, peer: Peer) {
    let reason = if error.is_parse_too_large() {
        "head_too_large"
    } else if error.is_parse() {
        "malformed_head"
    } else {
        tracing::debug!(listener, %error, %peer, "a connection failed");
        return;
    };
    tracing::info!(listener, reason, %peer, "refused");
    counter!(REFUSED_HEADS, "listener" => listener, "reason" => reason).increment(1);
}

/// How long a connection is kept although others wait.
const TURN: Duration = Duration::from_secs(5);

/// The largest number of header fields. Envoy, `HAProxy` and Apache pass on about 100 by default, and
/// nginx as many as fit in 32 KiB. hyper allocates this number of places for every request: 256 take
/// about 4 us of it, 2048 about 25.
const HEADERS_MAX: usize = 256;

/// The least that hyper takes for a head.
const HEAD_MIN: usize = 8 * 1024;

#[cfg(test)]
mod tests;
