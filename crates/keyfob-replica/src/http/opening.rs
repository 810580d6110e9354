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
use http::StatusCode;
use keyfob_feed::{Filter, Manifest, Position, SignedLine};
use tokio::time::{Instant, timeout, timeout_at};

use super::{
    Config,
    client::{ANSWER_WITHIN, Connection, Lines, WORK_WITHIN, next_line, object_within},
    error::FeedError,
    folder::{Found, Kept},
    pages::Pages,
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
        place: Place,
        line: Bytes,
        signers: Option<Bytes>,
    },
    Object(Box<Applying>),
}

/// Where the object of a snapshot is.
pub(super) enum Place {
    Server(Connection),
    Folder(Kept),
}

/// A snapshot that was downloaded and verified, while its pages are applied.
pub(super) struct Applying {
    pub(super) manifest: Manifest,
    pub(super) line: Bytes,
    pub(super) object: Bytes,
    pub(super) pages: Pages,
}

pub(super) struct Streaming {
    /// None for a folder, which may bring nothing for long.
    connection: Option<Connection>,
    pub(super) lines: Lines,
    /// Whether the connection was upgraded, and has brought no line yet.
    pub(super) is_untried: bool,
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
    fn new(connection: Option<Connection>, lines: Lines, is_upgraded: bool) -> Self {
        let now = Instant::now();
        Self {
            connection,
            lines,
            is_untried: is_upgraded,
            next: None,
            opened: now,
            last: now,
        }
    }

    /// Whether the upstream has sent nothing for longer than `silence`.
    pub(super) fn is_silent(&self, silence: Duration) -> bool {
        self.connection.is_some() && self.last.elapsed() >= silence
    }

    /// Reads the next line, if there is none yet.
    pub(super) async fn read(&mut self) {
        if self.next.is_none() {
            let line = next_line(&mut self.lines).await;
            self.is_untried &= !matches!(line, Some(Ok(_)));
            self.next = Some(line.unwrap_or(Err(FeedError::Closed)));
            self.last = Instant::now();
        }
    }
}

pub(super) async fn open(
    config: Arc<Config>,
    number: usize,
    position: Option<Position>,
    wants_signers: bool,
) -> Result<Opened, FeedError> {
    let upstream = config.upstreams.get(number).ok_or(FeedError::Closed)?;
    if let Some(folder) = config.folder(number) {
        let found = match position {
            Some(position) => folder.open(position).await?,
            None => Found::Manifest(folder.kept().await?),
        };
        return Ok(match found {
            Found::Lines(lines, signers) => Opened::Stream {
                streaming: Box::new(Streaming::new(None, lines, false)),
                signers: Some(signers),
            },
            Found::Manifest(kept) => Opened::Manifest {
                line: kept.manifest.clone(),
                signers: Some(kept.signers.clone()),
                place: Place::Folder(kept),
            },
        });
    }
    let mut connection = config.client.connect(upstream).await?;
    // Before a snapshot, which may take long, it also shows that the upstream answers.
    let signers = if wants_signers || position.is_none() {
        Some(connection.read(SIGNERS, ANSWER_WITHIN).await?)
    } else {
        None
    };
    if let Some(position) = position {
        let path = with_query(&format!("/v1/feed?after={position}"), &config.query);
        let no_upgrade = &config.no_upgrade[number];
        let mut upgrade = !no_upgrade.load(Ordering::Relaxed);
        loop {
            let lines = connection.lines(&path, upgrade, SignedLine::BYTES_MAX);
            let lines = timeout(ANSWER_WITHIN, lines).await;
            match lines.unwrap_or(Err(FeedError::TimedOut("the answer"))) {
                Err(FeedError::Gone) => {
                    tracing::warn!(%position, "the upstream does not have this position: a snapshot is loaded");
                    connection = config.client.connect(upstream).await?;
                    break;
                }
                Err(FeedError::Status(status)) if upgrade && may_be_for_upgrade(status) => {
                    connection = config.client.connect(upstream).await?;
                    upgrade = false;
                }
                lines => {
                    let (lines, is_upgraded) = lines?;
                    no_upgrade.fetch_or(!upgrade, Ordering::Relaxed);
                    let streaming = Box::new(Streaming::new(Some(connection), lines, is_upgraded));
                    return Ok(Opened::Stream { streaming, signers });
                }
            }
        }
    }
    let path = with_query("/v1/feed/snapshot", &config.query);
    let line = connection.read(&path, WORK_WITHIN).await?;
    Ok(Opened::Manifest {
        place: Place::Server(connection),
        line,
        signers,
    })
}

pub(super) async fn download(
    place: Place,
    line: Bytes,
    manifest: Manifest,
    filter: Filter,
    has_others: bool,
    progress: Arc<AtomicU64>,
) -> Result<Opened, FeedError> {
    let (name, bytes) = (manifest.object(), manifest.bytes());
    let within = has_others.then(|| object_within(bytes));
    let object = match place {
        Place::Folder(kept) => kept.object(name, bytes).await?,
        Place::Server(mut connection) => {
            let object = connection.object(name, bytes, within, |read| {
                progress.fetch_add(read, Ordering::Relaxed);
            });
            object.await?
        }
    };
    let pages = Pages::open(manifest.clone(), filter, Cursor::new(object.clone())).await?;
    Ok(Opened::Object(Box::new(Applying {
        manifest,
        line,
        object,
        pages,
    })))
}

/// Whether a request may have been refused because it offered an upgrade: proxies refuse those that they do not
/// know with several statuses, such as Envoy with 403.
fn may_be_for_upgrade(status: StatusCode) -> bool {
    !matches!(
        status,
        StatusCode::UNAUTHORIZED | StatusCode::SERVICE_UNAVAILABLE
    )
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
