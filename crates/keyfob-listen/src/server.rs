//! Serving connections, with a limit on their number, on the time without a request, and on the time
//! without progress of an answer.

use std::{
    convert::Infallible,
    fmt, io,
    net::SocketAddr,
    num::{NonZeroU32, NonZeroUsize},
    pin::{Pin, pin},
    sync::{Arc, OnceLock},
    time::Duration,
};

use axum::{
    Router,
    body::{Body, Bytes},
    extract::ConnectInfo,
    http::{Request, Response, StatusCode},
};
use futures_util::future::Either;
use http_body_util::Full;
#[cfg(feature = "http2")]
use hyper::server::conn::http2;
use hyper::{
    body::Incoming,
    server::conn::http1,
    service::{Service, service_fn},
};
use hyper_util::{rt::TokioIo, service::TowerToHyperService};
use metrics::counter;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::watch,
    task::yield_now,
    time::timeout,
};

use crate::{
    Listener,
    address::{Accepted, Connection},
    head::{AtOnce, Head},
    head_timer::HeadTimer,
    leaving::{Progress, closed, leave},
    log_limit::LogLimit,
    metrics::REFUSED_HEADS,
    protocol::{Http, Speaks},
    room::{Listed, Place, Room},
    socket::Socket,
    tls::{ClientCertificate, Tls},
    workers::Workers,
};

/// Accepts the connections of a listener, and serves them.
#[derive(Debug)]
pub struct Server {
    name: &'static str,
    listener: Listener,
    routes: Routes,
    limits: Limits,
    tls: Option<Tls>,
    speaks: Speaks,
    workers: Workers,
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
    /// Limits for streams that do not end: a head with a query of 32 KiB, a client that reads nothing
    /// for 5 seconds loses its connection, and a stop closes all of them at once.
    pub fn for_streams() -> Self {
        Self {
            connections: NonZeroU32::MIN.saturating_add(2_047),
            header_timeout: Duration::from_secs(10),
            write_timeout: Duration::from_secs(5),
            grace: Duration::ZERO,
            head_bytes: 40 * 1024,
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
    at_once: Option<AtOnce>,
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
            at_once: None,
        }
    }

    /// Serves this router from now on, also on connections that are open. The first call counts.
    pub fn serve(&self, all: Router) {
        let _ = self.all.set(all);
    }

    /// Answers requests by their heads, before the router is asked: for a service whose own work is less
    /// than a router's. `None` leaves a request to the router.
    #[must_use]
    pub fn with_answer(
        self,
        answer: impl Fn(&Head<'_>) -> Option<Response<Bytes>> + Send + Sync + 'static,
    ) -> Self {
        Self {
            at_once: Some(AtOnce::new(answer)),
            ..self
        }
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
            speaks: Speaks::Http1,
            workers: Workers::of_caller(),
        }
    }

    /// Serves connections on this number of threads of their own, in place of the runtime that calls
    /// [`Server::serve`]: for a service whose own work is less than the switch between two threads.
    ///
    /// A connection stays on the thread that has the fewest when it is accepted, so requests must not
    /// block, and it takes as many connections as threads to use all cores.
    ///
    /// # Errors
    ///
    /// If a thread cannot be started.
    pub fn on_threads(self, count: NonZeroUsize) -> io::Result<Self> {
        let workers = Workers::start(self.name, count)?;
        Ok(Self { workers, ..self })
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

    /// Speaks HTTP/2 in the place of HTTP/1.1: over TLS, or with prior knowledge (h2c). A client that
    /// begins with HTTP/1.1 is disconnected.
    ///
    /// A connection that sends nothing for [`Limits::header_timeout`], not even an answer to a
    /// ping, is closed. The time for a request's body is its handler's to limit.
    #[cfg(feature = "http2")]
    #[must_use]
    pub fn with_http2(self) -> Self {
        let speaks = Speaks::Http2;
        Self { speaks, ..self }
    }

    /// Serves until the sender of `stopped` is dropped, and then until all requests in progress are
    /// answered, for [`Limits::grace`] at most.
    ///
    /// A connection that a route has upgraded to another protocol (`hyper::upgrade`, over HTTP/1.1) keeps its
    /// place until it is closed, and these limits hold for it: [`Limits::write_timeout`], and
    /// [`Limits::grace`] as for a request in progress. One task must read and write it, and notices the end of
    /// the server if it reads or writes.
    pub async fn serve(self, stopped: watch::Receiver<()>) {
        let (open, is_open) = watch::channel(());
        let handler = Handler {
            name: self.name,
            http: Http::new(self.speaks, &self.limits),
            routes: self.routes,
            limits: self.limits,
            stopped: stopped.clone(),
            open: is_open,
            log: Arc::new(LogLimit::new()),
        };
        let _reload = self.tls.as_ref().map(Tls::reload);
        let mut room = Room::new(self.name, self.limits.connections);
        let mut workers = self.workers;
        let mut stop = pin!(closed(stopped));
        loop {
            let ((place, listed), (connection, peer)) = tokio::select! {
                biased;
                () = &mut stop => break,
                next = next(&self.listener, &mut room) => next,
            };
            let client = Client {
                peer: peer.map_or(Peer::Unix, Peer::Tcp),
                certificate: None,
                place,
                listed,
            };
            let handler = handler.clone();
            let acceptor = self
                .tls
                .as_ref()
                .map(|tls| tls.acceptor(self.speaks.alpn()));
            workers.spawn(async move {
                let Ok(connection) = connection.here() else {
                    return;
                };
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
        let ended = async {
            workers.ended().await;
            // Those that were upgraded are left.
            room.empty().await;
        };
        if timeout(self.limits.grace, ended).await.is_err() && !self.limits.grace.is_zero() {
            let listener = self.name;
            tracing::warn!(listener, "some requests were not answered in time");
        }
        // Dropping the workers closes the connections that are left, and this those that were upgraded.
        drop(open);
    }
}

/// The next connection, once there is room for it.
async fn next(
    listener: &Listener,
    room: &mut Room,
) -> ((Place, Listed), (Accepted, Option<SocketAddr>)) {
    // Accepted first: only then is it known that somebody waits.
    let accepted = listener.accept().await;
    (room.enter().await, accepted)
}

/// The client at the other end of a connection.
struct Client {
    peer: Peer,
    certificate: Option<ClientCertificate>,
    place: Place,
    listed: Listed,
}

#[derive(Clone)]
struct Handler {
    name: &'static str,
    http: Http,
    routes: Routes,
    limits: Limits,
    stopped: watch::Receiver<()>,
    /// Closes when all connections are to end.
    open: watch::Receiver<()>,
    log: Arc<LogLimit>,
}

impl Handler {
    async fn serve_tls<S>(self, tls: tokio_rustls::TlsAcceptor, stream: S, mut client: Client)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let progress = client.listed.progress();
        let handshake = progress.begin();
        let accepted = tokio::select! {
            accepted = timeout(self.limits.header_timeout, tls.accept(stream)) => accepted,
            () = leave(self.stopped.clone(), progress) => return,
        };
        drop(handshake);
        let refused = match accepted {
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
        if self.log.allows(listener) {
            tracing::info!(listener, peer = %client.peer, error = refused, reason, "refused");
        }
        counter!(REFUSED_HEADS, "listener" => listener, "reason" => reason).increment(1);
    }

    async fn serve<S>(self, stream: S, client: Client)
    where
        S: AsyncRead + AsyncWrite + Send + 'static,
    {
        let Client {
            peer,
            certificate,
            place,
            listed,
        } = client;
        let routes = self.routes.clone();
        let socket = Socket::new(stream, self.limits.write_timeout, self.open, place);
        let upgraded = socket.upgraded();
        let progress = listed.progress();
        let requests = progress.clone();
        let service = service_fn(move |mut request: Request<Incoming>| {
            requests.note();
            let at_once = routes.at_once.as_ref().and_then(|at_once| {
                at_once.answer(&Head {
                    peer: Some(peer),
                    certificate: certificate.as_ref(),
                    ..Head::bare(&request)
                })
            });
            if let Some(response) = at_once {
                return Either::Left(async move {
                    if !response.status().is_success() {
                        // hyper would go on with the requests that the client has sent already, and the
                        // thread's other connections would wait for all of them.
                        yield_now().await;
                    }
                    Ok(response.map(|bytes| AnswerBody::Left(Full::new(bytes))))
                });
            }
            let extensions = request.extensions_mut();
            extensions.insert(peer);
            if let Peer::Tcp(address) = peer {
                extensions.insert(ConnectInfo(address));
            }
            if let Some(certificate) = &certificate {
                extensions.insert(certificate.clone());
            }
            extensions.insert(requests.leaving());
            let (in_progress, upgraded) = (requests.begin(), upgraded.clone());
            let answer = TowerToHyperService::new(routes.now()).call(request);
            Either::Right(async move {
                let answer: Result<Response<Body>, Infallible> = answer.await;
                answer.map(|answer| {
                    if answer.status() == StatusCode::SWITCHING_PROTOCOLS {
                        upgraded.set();
                    }
                    answer.map(|body| AnswerBody::Right(in_progress.until_sent(body)))
                })
            })
        });
        let leave = leave(self.stopped, progress);
        let ended = match self.http {
            Http::One(mut http) => {
                http.timer(HeadTimer::new());
                let connection = http.serve_connection(TokioIo::new(socket), service);
                let shut_down = http1::UpgradeableConnection::graceful_shutdown;
                // The time for an answer is its handler's to limit.
                let never = std::future::pending();
                serve_until(
                    connection.with_upgrades(),
                    shut_down,
                    leave,
                    progress,
                    never,
                )
                .await
            }
            #[cfg(feature = "http2")]
            Http::Two(http) => {
                let mut socket = socket;
                // Answers to pings count, so only a connection whose client is gone is closed.
                socket.set_read_timeout(self.limits.header_timeout);
                let connection = http.serve_connection(TokioIo::new(socket), service);
                let shut_down = http2::Connection::graceful_shutdown;
                let at_last = async { tokio::time::sleep(STREAMS_END_WITHIN).await };
                serve_until(connection, shut_down, leave, progress, at_last).await
            }
        };
        if let Err(error) = ended {
            report(self.name, &self.log, &error, peer);
        }
    }
}

/// The body of an answer: of one that was made from the head, without an allocation, or of the router's.
type AnswerBody = http_body_util::Either<Full<Bytes>, Body>;

/// Serves a connection to its end, or until it is asked to leave. Then it ends with its requests in
/// progress, `at_last` in any case; the head of a next one is not waited for.
async fn serve_until<C>(
    connection: C,
    shut_down: fn(Pin<&mut C>),
    leave: impl Future<Output = ()>,
    progress: &Progress,
    at_last: impl Future<Output = ()>,
) -> hyper::Result<()>
where
    C: Future<Output = hyper::Result<()>>,
{
    let mut connection = pin!(connection);
    tokio::select! {
        ended = connection.as_mut() => return ended,
        () = leave => {}
    }
    progress.leave();
    shut_down(connection.as_mut());
    tokio::select! {
        ended = connection => ended,
        () = progress.quiet() => Ok(()),
        () = at_last => Ok(()),
    }
}

/// Reports the end of a connection that failed. The server has answered a malformed head itself, so
/// no handler saw it.
fn report(listener: &'static str, log: &LogLimit, error: &hyper::Error, peer: Peer) {
    let reason = if error.is_parse_too_large() {
        "head_too_large"
    } else if error.is_parse() {
        "malformed_head"
    } else {
        tracing::debug!(listener, %error, %peer, "a connection failed");
        return;
    };
    if log.allows(listener) {
        tracing::info!(listener, reason, %peer, "refused");
    }
    counter!(REFUSED_HEADS, "listener" => listener, "reason" => reason).increment(1);
}

/// How long the requests of a connection of HTTP/2 may take after it was told to end. A client can keep
/// one open by never making room for its answer.
#[cfg(feature = "http2")]
const STREAMS_END_WITHIN: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests;
