//! Requests to an upstream.

use std::{io, path::PathBuf, pin::Pin, sync::Arc, time::Duration};

use bytes::{Bytes, BytesMut};
use http::{
    HeaderValue, Method, Request, Response, StatusCode,
    header::{ACCEPT, AUTHORIZATION, CONNECTION, CONTENT_TYPE, HOST, UPGRADE, USER_AGENT},
};
use http_body_util::{BodyDataStream, BodyExt, Full, Limited};
use hyper::{
    body::Incoming,
    client::conn::http1::{SendRequest, handshake},
};
use hyper_util::rt::TokioIo;
use keyfob_feed::{ObjectName, SignedLine, UPGRADE_PROTOCOL};
use rustls::{ClientConfig, pki_types::ServerName};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    task::JoinHandle,
    time::{Instant, timeout, timeout_at},
};
use tokio_rustls::TlsConnector;
use tokio_util::{
    codec::{Decoder, FramedRead, LinesCodec, LinesCodecError},
    io::StreamReader,
};
use zeroize::Zeroizing;

use super::{
    error::FeedError,
    upstream::{Address, Upstream},
};

/// The lines of a stream.
pub(super) type Lines = FramedRead<Box<dyn AsyncRead + Send + Unpin>, WholeLines>;

/// Lines that end with a line break: without HTTP's framing, nothing else tells that a line is whole.
pub(super) struct WholeLines(LinesCodec);

/// The key with which a source reads a feed.
pub(super) enum ServiceKey {
    Value(HeaderValue),
    /// It is read for each connection, so that the key can be replaced.
    File(PathBuf),
    /// There are no connections.
    None,
}

impl ServiceKey {
    pub(super) fn new(text: &str) -> Option<Self> {
        bearer(text).map(Self::Value)
    }

    async fn header(&self) -> Result<HeaderValue, FeedError> {
        match self {
            Self::Value(value) => Ok(value.clone()),
            Self::File(path) => {
                let text = tokio::fs::read(path).await.map_err(FeedError::KeyFile)?;
                let text = Zeroizing::new(text);
                std::str::from_utf8(&text)
                    .ok()
                    .and_then(|text| bearer(text.trim()))
                    .ok_or(FeedError::KeyText)
            }
            Self::None => Err(FeedError::KeyText),
        }
    }
}

fn bearer(text: &str) -> Option<HeaderValue> {
    let printable = |byte: u8| byte.is_ascii_graphic();
    if text.is_empty() || !text.bytes().all(printable) {
        return None;
    }
    let text = Zeroizing::new(["Bearer ", text].concat());
    let mut value = HeaderValue::from_str(&text).ok()?;
    value.set_sensitive(true);
    Some(value)
}

/// What connections need.
pub(super) struct Client {
    pub(super) key: ServiceKey,
    pub(super) tls: Option<Arc<ClientConfig>>,
}

/// A connection to an upstream, for one request at a time.
pub(super) struct Connection {
    sender: SendRequest<Full<Bytes>>,
    driver: JoinHandle<()>,
    host: HeaderValue,
    key: HeaderValue,
}

impl Client {
    pub(super) async fn connect(&self, upstream: &Upstream) -> Result<Connection, FeedError> {
        timeout(CONNECT_WITHIN, self.connect_to(upstream))
            .await
            .unwrap_or(Err(FeedError::TimedOut("the connection")))
    }

    async fn connect_to(&self, upstream: &Upstream) -> Result<Connection, FeedError> {
        if upstream.is_folder() {
            return Err(FeedError::NoServer);
        }
        let key = self.key.header().await?;
        let (tls, host, port) = match &upstream.0 {
            #[cfg(unix)]
            Address::Unix(path) => {
                let socket = tokio::net::UnixStream::connect(path).await;
                return Connection::over(socket.map_err(FeedError::Connect)?, upstream, key).await;
            }
            #[cfg(not(unix))]
            Address::Unix(_) => {
                return Err(FeedError::Connect(io::ErrorKind::Unsupported.into()));
            }
            Address::Folder(_) => return Err(FeedError::NoServer),
            Address::Tcp { tls, host, port } => (tls, host, *port),
        };
        let socket = TcpStream::connect((host.as_str(), port))
            .await
            .map_err(FeedError::Connect)?;
        socket.set_nodelay(true).map_err(FeedError::Connect)?;
        if !tls {
            return Connection::over(socket, upstream, key).await;
        }
        let config = self.tls.as_ref().ok_or(FeedError::NoTls)?;
        let name = ServerName::try_from(host.clone())
            .map_err(|error| FeedError::Connect(io::Error::other(error)))?;
        let socket = TlsConnector::from(Arc::clone(config))
            .connect(name, socket)
            .await
            .map_err(FeedError::Connect)?;
        Connection::over(socket, upstream, key).await
    }
}

impl Connection {
    async fn over(
        socket: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
        upstream: &Upstream,
        key: HeaderValue,
    ) -> Result<Self, FeedError> {
        let (sender, connection) = handshake(TokioIo::new(socket)).await?;
        let driver = tokio::spawn(async move {
            if let Err(error) = connection.with_upgrades().await {
                tracing::debug!(%error, "the connection to the upstream ended");
            }
        });
        let host = HeaderValue::try_from(upstream.host());
        Ok(Self {
            sender,
            driver,
            host: host.map_err(|error| FeedError::Connect(io::Error::other(error)))?,
            key,
        })
    }

    /// Whether another request can be sent.
    pub(super) fn is_ready(&self) -> bool {
        self.sender.is_ready() && !self.driver.is_finished()
    }

    pub(super) async fn get(&mut self, path: &str) -> Result<Response<Incoming>, FeedError> {
        let request = self.request(Method::GET, path, Bytes::new())?;
        self.send(request).await
    }

    /// Reads the lines of an answer that does not end, and tells whether the connection was upgraded. Without
    /// `upgrade`, none is offered.
    pub(super) async fn lines(
        &mut self,
        path: &str,
        upgrade: bool,
        bytes_max: usize,
    ) -> Result<(Lines, bool), FeedError> {
        let mut request = self.request(Method::GET, path, Bytes::new())?;
        if upgrade {
            let headers = request.headers_mut();
            headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
            headers.insert(UPGRADE, HeaderValue::from_static(UPGRADE_PROTOCOL));
        }
        let response = self.send(request).await?;
        let is_upgraded = response.status() == StatusCode::SWITCHING_PROTOCOLS;
        let lines: Box<dyn AsyncRead + Send + Unpin> = if is_upgraded {
            Box::new(TokioIo::new(hyper::upgrade::on(response).await?))
        } else {
            let body = response.into_body().map_err(io::Error::other);
            Box::new(StreamReader::new(BodyDataStream::new(body)))
        };
        Ok((lines_of(lines, bytes_max), is_upgraded))
    }

    pub(super) async fn post(
        &mut self,
        path: &str,
        body: Vec<u8>,
    ) -> Result<Response<Incoming>, FeedError> {
        let request = self.request(Method::POST, path, body.into())?;
        self.send(request).await
    }

    fn request(
        &self,
        method: Method,
        path: &str,
        body: Bytes,
    ) -> Result<Request<Full<Bytes>>, FeedError> {
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = method;
        *request.uri_mut() = path
            .parse()
            .map_err(|error: http::uri::InvalidUri| FeedError::Connect(io::Error::other(error)))?;
        let is_post = request.method() == Method::POST;
        let headers = request.headers_mut();
        headers.insert(HOST, self.host.clone());
        headers.insert(AUTHORIZATION, self.key.clone());
        headers.insert(USER_AGENT, HeaderValue::from_static(AGENT));
        if is_post {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        } else {
            headers.insert(ACCEPT, HeaderValue::from_static("application/x-ndjson"));
        }
        Ok(request)
    }

    async fn send(
        &mut self,
        request: Request<Full<Bytes>>,
    ) -> Result<Response<Incoming>, FeedError> {
        let offers = request.headers().contains_key(UPGRADE);
        self.sender.ready().await?;
        let response = self.sender.send_request(request).await?;
        match response.status() {
            status if status.is_success() => Ok(response),
            StatusCode::SWITCHING_PROTOCOLS if offers => Ok(response),
            StatusCode::GONE => Err(FeedError::Gone),
            status => Err(FeedError::Status(status)),
        }
    }

    /// Downloads the object of a snapshot, which has at most `most` bytes, and tells `read` how many
    /// have arrived since it was told last. It takes no longer than `within`, if there is a limit.
    pub(super) async fn object(
        &mut self,
        name: ObjectName,
        most: u64,
        within: Option<Duration>,
        read: impl Fn(u64),
    ) -> Result<Bytes, FeedError> {
        let until = within.map(|within| Instant::now() + within);
        let path = format!("/v1/feed/snapshots/{name}.ndjson.zst");
        let response = timeout(WORK_WITHIN, self.get(&path)).await;
        let mut body = response
            .unwrap_or(Err(FeedError::TimedOut("the answer")))?
            .into_body();
        let most = usize::try_from(most).unwrap_or(usize::MAX);
        let mut object = BytesMut::new();
        loop {
            let stalled = Instant::now() + STALLED;
            let stalled = until.map_or(stalled, |until| until.min(stalled));
            let frame = timeout_at(stalled, body.frame()).await;
            let Some(frame) = frame.map_err(|_| FeedError::TimedOut("the snapshot"))? else {
                return Ok(object.freeze());
            };
            let Ok(data) = frame?.into_data() else {
                continue;
            };
            if data.len() > most - object.len() {
                return Err(FeedError::Body("the object is longer than expected".into()));
            }
            object.extend_from_slice(&data);
            read(data.len() as u64);
        }
    }

    /// Reads a response of one signed line, or of a few short ones, within this time.
    pub(super) async fn read(&mut self, path: &str, within: Duration) -> Result<Bytes, FeedError> {
        let reading = async {
            let response = self.get(path).await?;
            let body = Limited::new(response.into_body(), SignedLine::SENT_BYTES_MAX);
            let body = body.collect().await.map_err(FeedError::Body)?.to_bytes();
            Ok(body
                .strip_suffix(b"\n")
                .map_or(body.clone(), |line| body.slice_ref(line)))
        };
        timeout(within, reading)
            .await
            .unwrap_or(Err(FeedError::TimedOut("the answer")))
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

impl Decoder for WholeLines {
    type Item = String;
    type Error = LinesCodecError;

    fn decode(&mut self, bytes: &mut BytesMut) -> Result<Option<String>, LinesCodecError> {
        self.0.decode(bytes)
    }

    fn decode_eof(&mut self, bytes: &mut BytesMut) -> Result<Option<String>, LinesCodecError> {
        match self.0.decode(bytes)? {
            None if !bytes.is_empty() => Err(io::Error::from(io::ErrorKind::UnexpectedEof).into()),
            line => Ok(line),
        }
    }
}

/// The lines of a text.
pub(super) fn lines_of(text: Box<dyn AsyncRead + Send + Unpin>, bytes_max: usize) -> Lines {
    let codec = WholeLines(LinesCodec::new_with_max_length(bytes_max));
    FramedRead::new(text, codec)
}

/// The next line; `None` at the end. A call whose future is dropped loses no line.
pub(super) async fn next_line(lines: &mut Lines) -> Option<Result<String, FeedError>> {
    use futures_core::Stream;

    let next = std::future::poll_fn(|cx| Pin::new(&mut *lines).poll_next(cx)).await;
    next.map(|line| line.map_err(FeedError::Lines))
}

const AGENT: &str = concat!("keyfob-replica/", env!("CARGO_PKG_VERSION"));
const CONNECT_WITHIN: Duration = Duration::from_secs(3);
/// How long the answer to a request may take for which a server has everything. It waits 2 seconds
/// itself if the position is later than what it has read.
pub(super) const ANSWER_WITHIN: Duration = Duration::from_secs(4);
/// How long the object of a snapshot may take that has this many bytes, if there is another upstream.
pub(super) fn object_within(bytes: u64) -> Duration {
    WORK_WITHIN + Duration::from_secs(bytes / OBJECT_BYTES_PER_SECOND)
}

/// How fast an object must arrive at least, if there is another upstream.
const OBJECT_BYTES_PER_SECOND: u64 = 256 << 10;
/// How long a snapshot may send nothing.
const STALLED: Duration = Duration::from_secs(10);
/// How long a server may take to make a snapshot, or to record usage.
pub(super) const WORK_WITHIN: Duration = Duration::from_secs(30);

#[cfg(test)]
mod tests {
    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        time::sleep,
    };

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn an_object_that_trickles_is_given_up_if_there_is_another_upstream() {
        let name = ObjectName::parse(&"0".repeat(64)).unwrap();
        let upstream = "http://127.0.0.1:1".parse().unwrap();
        for (within, whole) in [(Some(object_within(1_000)), false), (None, true)] {
            let (own, mut other) = tokio::io::duplex(1 << 10);
            let server = tokio::spawn(async move {
                let _request = other.read(&mut [0; 1 << 10]).await;
                let head = b"HTTP/1.1 200 OK\r\ncontent-length: 20\r\n\r\n";
                other.write_all(head).await.unwrap();
                for _ in 0..20 {
                    sleep(STALLED / 2).await;
                    if other.write_all(b"x").await.is_err() {
                        return;
                    }
                }
            });
            let key = HeaderValue::from_static("Bearer key");
            let mut connection = Connection::over(own, &upstream, key).await.unwrap();
            let started = Instant::now();
            let object = connection.object(name, 20, within, |_| ()).await;
            assert_eq!(object.is_ok(), whole, "{within:?}");
            if let Some(within) = within {
                assert!(started.elapsed() <= within + Duration::from_secs(1));
            }
            server.abort();
        }
    }
}
