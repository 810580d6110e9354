//! The versions of HTTP that a server speaks.

#[cfg(feature = "http2")]
use std::time::Duration;

use hyper::server::conn::http1;
#[cfg(feature = "http2")]
use hyper::server::conn::http2;
#[cfg(feature = "http2")]
use hyper_util::rt::{TokioExecutor, TokioTimer};

use crate::Limits;

/// The version that a server speaks.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Speaks {
    Http1,
    #[cfg(feature = "http2")]
    Http2,
}

impl Speaks {
    /// The name of the protocol in the handshake of TLS.
    pub(crate) fn alpn(self) -> &'static [u8] {
        match self {
            Self::Http1 => b"http/1.1",
            #[cfg(feature = "http2")]
            Self::Http2 => b"h2",
        }
    }
}

/// What serves connections.
#[derive(Clone)]
pub(crate) enum Http {
    One(http1::Builder),
    #[cfg(feature = "http2")]
    Two(http2::Builder<TokioExecutor>),
}

impl Http {
    pub(crate) fn new(speaks: Speaks, limits: &Limits) -> Self {
        let head_bytes = limits.head_bytes.max(HEAD_MIN);
        match speaks {
            Speaks::Http1 => {
                let mut http = http1::Builder::new();
                // Each connection adds a timer of its own.
                http.header_read_timeout(limits.header_timeout)
                    .max_headers(HEADERS_MAX)
                    .max_buf_size(head_bytes);
                Self::One(http)
            }
            #[cfg(feature = "http2")]
            Speaks::Http2 => {
                let mut http = http2::Builder::new(TokioExecutor::new());
                http.timer(TokioTimer::new())
                    .keep_alive_interval(limits.header_timeout.min(PING_EVERY * 3) / 3)
                    .keep_alive_timeout(limits.header_timeout)
                    .max_concurrent_streams(STREAMS_MAX)
                    .initial_stream_window_size(STREAM_WINDOW)
                    .initial_connection_window_size(CONNECTION_WINDOW)
                    .max_header_list_size(u32::try_from(head_bytes).unwrap_or(u32::MAX));
                Self::Two(http)
            }
        }
    }
}

/// The largest number of header fields. Envoy, `HAProxy` and Apache pass on about 100 by default, and
/// nginx as many as fit in 32 KiB. hyper allocates this number of places for every request; compared with
/// its 100 places on the stack, 256 take 0.2 us of the 9 us that an authorizer's request takes.
const HEADERS_MAX: usize = 256;

/// The least that hyper takes for a head.
const HEAD_MIN: usize = 8 * 1024;

/// How often the client of a connection is asked whether it is there.
#[cfg(feature = "http2")]
const PING_EVERY: Duration = Duration::from_secs(10);
/// The maximum number of requests that a connection has at the same time. A proxy has one connection
/// for each of its threads.
#[cfg(feature = "http2")]
const STREAMS_MAX: u32 = 1_024;
/// How much of a body a client may send ahead, in bytes.
#[cfg(feature = "http2")]
const STREAM_WINDOW: u32 = 64 << 10;
/// The same for all bodies of a connection.
#[cfg(feature = "http2")]
const CONNECTION_WINDOW: u32 = 1 << 20;
