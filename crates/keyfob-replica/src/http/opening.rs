//! Requests that take long, and what they bring: the stream, or a snapshot.

use std::{
    io::Cursor,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use http::Response;
use hyper::body::Incoming;
use keyfob_feed::{Filter, Manifest, Position, SignedLine, SnapshotReader};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use tokio::{
    task::spawn_blocking,
    time::{Instant, timeout, timeout_at},
};

use super::{
    Config,
    client::{ANSWER_WITHIN, Connection, Lines, WORK_WITHIN, lines, next_line},
    error::FeedError,
};

/// Requests that are not answered yet.
pub(super) struct Opening {
    future: Pin<Box<dyn Future<Output = Result<Opened, FeedError>> + Send>>,
    /// How many bytes of a snapshot have arrived.
    bytes: Arc<AtomicU64>,
    seen: u64,
}

/// What was requested.
pub(super) enum Opened {
    Stream {
        streaming: Box<Streaming>,
        signers: Option<Bytes>,
    },
    Manifest {
        connection: Connection,
        line: Bytes,
        signers: Option<Bytes>,
    },
    Object(Box<Applying>),
}

/// A snapshot that was downloaded and verified, while its pages are applied.
pub(super) struct Applying {
    pub(super) manifest: Manifest,
    pub(super) line: Bytes,
    pub(super) object: Bytes,
    pub(super) reader: SnapshotReader<Cursor<Bytes>>,
}

pub(super) struct Streaming {
    _connection: Connection,
    pub(super) lines: Lines,
    /// What was read and is not applied yet: a line, the end, or why there is none.
    pub(super) next: Option<Result<String, FeedError>>,
    pub(super) opened: Instant,
    pub(super) last: Instant,
}

impl Opening {
    pub(super) fn new(
        start: impl FnOnce(
            Arc<AtomicU64>,
        ) -> Pin<Box<dyn Future<Output = Result<Opened, FeedError>> + Send>>,
    ) -> Self {
        let bytes = Arc::new(AtomicU64::new(0));
        Self {
            future: start(Arc::clone(&bytes)),
            bytes,
            seen: 0,
        }
    }

    /// Waits for the answer; none if more of a snapshot has arrived until then.
    pub(super) async fn progress(
        &mut self,
        mut until: Instant,
    ) -> Result<Option<Opened>, FeedError> {
        loop {
            if let Ok(opened) = timeout_at(until, &mut self.future).await {
                return opened.map(Some);
            }
            let bytes = self.bytes.load(Ordering::Relaxed);
            if std::mem::replace(&mut self.seen, bytes) != bytes {
                return Ok(None);
            }
            until = Instant::now() + SLICE;
        }
    }
}

impl Streaming {
    fn new(connection: Connection, response: Response<Incoming>) -> Self {
        let now = Instant::now();
        Self {
            _connection: connection,
            lines: lines(response, SignedLine::BYTES_MAX),
            next: None,
            opened: now,
            last: now,
        }
    }

    /// Reads the next line, if there is none yet.
    pub(super) async fn read(&mut self) {
        if self.next.is_none() {
            let line = next_line(&mut self.lines).await;
            self.next = Some(line.unwrap_or(Err(FeedError::Closed)));
            self.last = Instant::now();
        }
    }
}

pub(super) async fn open(
    config: Arc<Config>,
    upstream: usize,
    position: Option<Position>,
    wants_signers: bool,
) -> Result<Opened, FeedError> {
    let upstream = config.upstreams.get(upstream).ok_or(FeedError::Closed)?;
    let mut connection = config.client.connect(upstream).await?;
    // Before a snapshot, which may take long, it also shows that the upstream answers.
    let signers = if wants_signers || position.is_none() {
        Some(connection.read(SIGNERS, ANSWER_WITHIN).await?)
    } else {
        None
    };
    if let Some(position) = position {
        let path = with_query(&format!("/v1/feed?after={position}"), &config.query);
        let response = timeout(ANSWER_WITHIN, connection.get(&path)).await;
        match response.unwrap_or(Err(FeedError::TimedOut("the answer"))) {
            Err(FeedError::Gone) => {
                tracing::warn!(%position, "the upstream does not have this position: a snapshot is loaded");
                connection = config.client.connect(upstream).await?;
            }
            response => {
                let streaming = Box::new(Streaming::new(connection, response?));
                return Ok(Opened::Stream { streaming, signers });
            }
        }
    }
    let path = with_query("/v1/feed/snapshot", &config.query);
    let line = connection.read(&path, WORK_WITHIN).await?;
    Ok(Opened::Manifest {
        connection,
        line,
        signers,
    })
}

pub(super) async fn download(
    mut connection: Connection,
    line: Bytes,
    manifest: Manifest,
    filter: Filter,
    progress: Arc<AtomicU64>,
) -> Result<Opened, FeedError> {
    let object = connection.object(manifest.object(), manifest.bytes(), |read| {
        progress.fetch_add(read, Ordering::Relaxed);
    });
    let object = object.await?;
    let opening = spawn_blocking(move || {
        let reader = SnapshotReader::open(&manifest, &filter, Cursor::new(object.clone()))?;
        Ok(Opened::Object(Box::new(Applying {
            manifest,
            line,
            object,
            reader,
        })))
    });
    opening
        .await
        .map_err(|error| FeedError::Body(error.into()))?
}

/// The query of requests for this filter.
pub(super) fn query(filter: &Filter) -> String {
    let pairs = filter.to_query();
    let pairs: Vec<_> = pairs
        .iter()
        .map(|(name, value)| format!("{name}={}", utf8_percent_encode(value, NON_ALPHANUMERIC)))
        .collect();
    pairs.join("&")
}

pub(super) fn with_query(path: &str, query: &str) -> String {
    match query {
        "" => path.to_owned(),
        query if path.contains('?') => format!("{path}&{query}"),
        query => format!("{path}?{query}"),
    }
}

pub(super) const SIGNERS: &str = "/v1/feed/signers";
/// How long a call goes on before it lets the replica look at the bound.
pub(super) const SLICE: Duration = Duration::from_millis(200);
