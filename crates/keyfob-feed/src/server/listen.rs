//! Accepting connections, with limits that fit streams that do not end.

use std::{io, sync::Arc, time::Duration};

use axum::{Router, http::Request};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpListener,
    sync::Semaphore,
    task::JoinSet,
    time::sleep,
};
use tokio_io_timeout::TimeoutStream;

/// The limits on connections.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct ListenLimits {
    /// The maximum number of open connections. Others wait. The default is 12,000.
    pub connections: usize,
    /// The time limit for the head of a request. The default is 10 seconds.
    pub header_timeout: Duration,
    /// How long a client may take nothing of an answer before its connection is closed. The default is
    /// 5 seconds: a reader resumes by its position.
    pub write_timeout: Duration,
}

impl Default for ListenLimits {
    fn default() -> Self {
        Self {
            connections: 12_000,
            header_timeout: Duration::from_secs(10),
            write_timeout: Duration::from_secs(5),
        }
    }
}

/// Accepts connections and serves the router on them until `stop` is ready. Then all connections are
/// closed: readers resume by their positions.
///
/// It speaks plain HTTP. For TLS, accept connections yourself and call [`serve_connection`].
///
/// # Errors
///
/// Never at present: an error of accepting one connection is logged.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    limits: ListenLimits,
    stop: impl Future<Output = ()>,
) -> io::Result<()> {
    let places = Arc::new(Semaphore::new(
        limits.connections.min(Semaphore::MAX_PERMITS),
    ));
    let mut connections = JoinSet::new();
    let mut stop = std::pin::pin!(stop);
    loop {
        let accepted = async {
            let place = Arc::clone(&places).acquire_owned().await;
            (place, listener.accept().await)
        };
        let (place, accepted) = tokio::select! {
            biased;
            () = &mut stop => break,
            accepted = accepted => accepted,
            // Forgets those that ended.
            Some(_) = connections.join_next() => continue,
        };
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!(%error, "a connection cannot be accepted");
                sleep(Duration::from_millis(50)).await;
                continue;
            }
        };
        // A line is sent at once.
        let _ = stream.set_nodelay(true);
        let served = serve_connection(stream, router.clone(), limits);
        connections.spawn(async move {
            served.await;
            drop(place);
        });
    }
    connections.shutdown().await;
    Ok(())
}

/// Serves the router on one connection until it is closed.
pub async fn serve_connection(
    stream: impl AsyncRead + AsyncWrite + Send,
    router: Router,
    limits: ListenLimits,
) {
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new())
        .header_read_timeout(limits.header_timeout)
        // Lines are shared, never copied into a buffer of the connection.
        .writev(true)
        .max_headers(HEADERS_MAX)
        .max_buf_size(HEAD_MAX);
    let mut stream = TimeoutStream::new(stream);
    stream.set_write_timeout(Some(limits.write_timeout));
    let router = TowerToHyperService::new(router);
    let service = service_fn(move |request: Request<Incoming>| {
        hyper::service::Service::call(&router, request)
    });
    let connection = http.serve_connection(TokioIo::new(Box::pin(stream)), service);
    if let Err(error) = connection.await {
        tracing::debug!(%error, "a connection failed");
    }
}

/// The largest number of header fields of a request.
const HEADERS_MAX: usize = 64;
/// The longest request head, in bytes: the least that hyper allows.
const HEAD_MAX: usize = 8 << 10;
