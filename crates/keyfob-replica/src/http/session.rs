//! The state of a source between two calls: connecting, loading a snapshot, or reading the stream.
//!
//! The replica drops the future of a call that takes too long. So everything that takes time is kept
//! in the [`Phase`], and goes on with the next call.

use std::{
    fs::File,
    io::Cursor,
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use keyfob::{
    Timestamp,
    gateway::{Index, IndexError, ReplicaChanges},
};
use keyfob_feed::{Filter, Manifest, Position, Receiver, Refused, SignedLine, SnapshotReader};
use metrics::counter;
use tokio::{
    task::{JoinHandle, spawn_blocking, yield_now},
    time::{Instant, timeout, timeout_at},
};

use super::{
    Config, FeedStatus,
    client::{ANSWER_WITHIN, Connection, Lines, WORK_WITHIN, lines, next_line},
    error::FeedError,
    lock,
    saved::{Kind, Record, Saved},
};
use crate::{SourceError, metrics as names};

pub(super) struct Session {
    pub(super) config: Arc<Config>,
    progress: Arc<Mutex<FeedStatus>>,
    pub(super) receiver: Receiver,
    /// Whether the index has what the receiver's position says.
    is_loaded: bool,
    /// Whether anything was applied to the index since it was empty.
    is_filled: bool,
    phase: Phase,
    /// The upstream of the phase.
    upstream: usize,
    /// How many upstreams have failed one after the other.
    failed: usize,
    /// Whether a stream was open before, or there was no need for one.
    was_connected: bool,
    /// None while a snapshot is written to it.
    pub(super) saved: Option<Saved>,
    saving: Option<JoinHandle<Saved>>,
    /// What was accepted while a snapshot is written.
    unsaved: Vec<Record>,
    is_restored: bool,
    /// The signers documents that were accepted.
    signers: Vec<Record>,
    /// Whether there is a signers document to read.
    wants_signers: bool,
    reading_signers: Option<JoinHandle<Result<Bytes, FeedError>>>,
}

enum Phase {
    Idle,
    Opening(Opening),
    Applying(Box<Applying>),
    Streaming(Box<Streaming>),
}

/// Requests that are not answered yet.
struct Opening {
    future: Pin<Box<dyn Future<Output = Result<Opened, FeedError>> + Send>>,
    /// How many bytes of a snapshot have arrived.
    bytes: Arc<AtomicU64>,
    seen: u64,
}

/// What was requested.
enum Opened {
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
struct Applying {
    manifest: Manifest,
    line: Bytes,
    object: Bytes,
    reader: SnapshotReader<Cursor<Bytes>>,
}

struct Streaming {
    _connection: Connection,
    lines: Lines,
    /// What was read and is not applied yet: a line, the end, or why there is none.
    next: Option<Result<String, FeedError>>,
    opened: Instant,
    last: Instant,
}

impl Session {
    pub(super) fn new(
        config: Arc<Config>,
        progress: Arc<Mutex<FeedStatus>>,
        receiver: Receiver,
        saved: Option<Saved>,
    ) -> Self {
        Self {
            config,
            progress,
            receiver,
            is_loaded: false,
            is_filled: false,
            phase: Phase::Idle,
            upstream: 0,
            failed: 0,
            was_connected: false,
            saved,
            saving: None,
            unsaved: Vec::new(),
            is_restored: false,
            signers: Vec::new(),
            wants_signers: false,
            reading_signers: None,
        }
    }

    /// Waits for the next line of the stream; in another phase there is something to do already.
    pub(super) async fn wait(&mut self) {
        if let Phase::Streaming(streaming) = &mut self.phase {
            streaming.read().await;
        }
    }

    /// Goes on until everything that has arrived is applied, or there was some progress.
    pub(super) async fn sync(&mut self, index: &Index) -> Result<(), SourceError> {
        if !self.is_restored {
            self.is_restored = true;
            if self.restore(index).await {
                self.was_connected = true;
                return Ok(());
            }
        }
        let until = Instant::now() + SLICE;
        loop {
            let error = match self.step(index, until).await {
                Ok(Step::Again) => continue,
                Ok(Step::Pause) => {
                    self.failed = 0;
                    return Ok(());
                }
                Err(error) => error,
            };
            if let Some(error) = self.fail(index, error) {
                return Err(error);
            }
        }
    }

    async fn step(&mut self, index: &Index, until: Instant) -> Result<Step, FeedError> {
        match &mut self.phase {
            Phase::Idle => {
                self.phase = Phase::Opening(self.open());
                Ok(Step::Again)
            }
            Phase::Opening(opening) => {
                let Some(opened) = opening.progress(until).await? else {
                    return Ok(Step::Pause);
                };
                self.phase = Phase::Idle;
                self.opened(index, opened)?;
                Ok(Step::Again)
            }
            Phase::Applying(applying) => {
                while let Some(page) = applying.reader.next_page()? {
                    self.is_filled = true;
                    if page.more {
                        index.apply_replica(page, Timestamp::MIN)?;
                    } else {
                        let now = self.config.clocks.now();
                        let confirmed = self.receiver.loaded(&applying.manifest, now);
                        index.apply_replica(page, timestamp(confirmed))?;
                        break;
                    }
                    if Instant::now() >= until {
                        return Ok(Step::Pause);
                    }
                    yield_now().await;
                }
                let Phase::Applying(applying) = std::mem::replace(&mut self.phase, Phase::Idle)
                else {
                    return Ok(Step::Again);
                };
                self.loaded(*applying);
                Ok(Step::Again)
            }
            Phase::Streaming(_) => self.take_lines(index, until).await,
        }
    }

    /// Asks the upstream for the stream from the position, or for a snapshot.
    fn open(&self) -> Opening {
        let position = self.receiver.position().filter(|_| self.is_loaded);
        let config = Arc::clone(&self.config);
        let (upstream, wants_signers) = (self.upstream, self.wants_signers);
        Opening::new(|_| Box::pin(open(config, upstream, position, wants_signers)))
    }

    fn opened(&mut self, index: &Index, opened: Opened) -> Result<(), FeedError> {
        match opened {
            Opened::Stream { streaming, signers } => {
                self.take_signers(signers);
                self.was_connected = true;
                self.phase = Phase::Streaming(streaming);
                let mut progress = lock(&self.progress);
                progress.upstream = self.config.upstreams.get(self.upstream).cloned();
                progress.is_connected = true;
            }
            Opened::Manifest {
                connection,
                line,
                signers,
            } => {
                self.take_signers(signers);
                let manifest = self.receiver.manifest(&line, self.config.clocks.now())?;
                if manifest.format() != *index.format() {
                    return Err(FeedError::OtherFormat);
                }
                if manifest.bytes() > self.config.snapshot_bytes_max {
                    return Err(FeedError::TooLarge(manifest.bytes()));
                }
                let filter = self.config.filter.clone();
                self.phase = Phase::Opening(Opening::new(|bytes| {
                    Box::pin(download(connection, line, manifest, filter, bytes))
                }));
            }
            Opened::Object(applying) => {
                self.empty(index);
                self.phase = Phase::Applying(applying);
            }
        }
        Ok(())
    }

    fn empty(&mut self, index: &Index) {
        self.is_loaded = false;
        if std::mem::take(&mut self.is_filled) {
            index.reset();
        }
    }

    /// Takes note of a snapshot that was applied.
    fn loaded(&mut self, applying: Applying) {
        self.is_loaded = true;
        counter!(names::FEED_SNAPSHOTS).increment(1);
        {
            let mut progress = lock(&self.progress);
            progress.snapshots += 1;
            progress.position = self.receiver.position();
            progress.as_of = self.receiver.as_of();
        }
        let Applying {
            manifest,
            line,
            object,
            ..
        } = applying;
        tracing::info!(position = %manifest.position(), entries = manifest.entries(), "a snapshot was loaded");
        let Some(mut saved) = self.saved.take() else {
            return;
        };
        let record = self.record(Kind::Manifest, &line);
        let signers = self.signers.clone();
        self.saving = Some(spawn_blocking(move || {
            let written = saved.begin(&signers, &record, manifest.object(), &object);
            if let Err(error) = written {
                tracing::error!(%error, "the snapshot cannot be kept for a warm restart");
                saved.forget();
            }
            saved
        }));
    }

    async fn take_lines(&mut self, index: &Index, until: Instant) -> Result<Step, FeedError> {
        self.take_saved();
        self.read_signers();
        loop {
            let Phase::Streaming(streaming) = &mut self.phase else {
                return Ok(Step::Again);
            };
            // What waits in the socket comes first, however long nobody read it.
            if timeout(Duration::ZERO, streaming.read()).await.is_err() {
                if streaming.last.elapsed() < self.config.silence {
                    return self.check_lag();
                }
                if timeout(GRACE, streaming.read()).await.is_err() {
                    return Err(FeedError::Silent);
                }
            }
            if let Some(line) = streaming.next.take() {
                self.take_line(index, &line?)?;
            }
            if Instant::now() >= until {
                return Ok(Step::Pause);
            }
        }
    }

    fn take_line(&mut self, index: &Index, line: &str) -> Result<(), FeedError> {
        let before = self.receiver.position();
        let now = self.config.clocks.now();
        let accepted = self.receiver.receive(line.as_bytes(), now)?;
        let is_bookmark = accepted.changes.entries.is_empty() && Some(accepted.position) == before;
        if accepted.signers_version > self.receiver.trust().version() {
            self.wants_signers = true;
        }
        self.is_filled = true;
        let confirmed = accepted.confirmed_at().unwrap_or(Timestamp::MIN);
        if let Err(error) = index.apply_replica(accepted.changes, confirmed) {
            self.is_loaded = false;
            return Err(error.into());
        }
        let kind = if is_bookmark {
            Kind::Bookmark
        } else {
            Kind::Frame
        };
        self.save(kind, line.as_bytes());
        if let Some(told) = &self.config.on_line {
            told(line.as_bytes());
        }
        let mut progress = lock(&self.progress);
        progress.position = Some(accepted.position);
        progress.as_of = self.receiver.as_of();
        Ok(())
    }

    fn save(&mut self, kind: Kind, line: &[u8]) {
        let record = self.record(kind, line);
        match (&mut self.saved, &self.saving) {
            (Some(saved), _) => append(saved, &record),
            (None, Some(_)) => self.unsaved.push(record),
            (None, None) => {}
        }
    }

    /// Goes on with the folder when a snapshot was written to it.
    fn take_saved(&mut self) {
        let Some(saving) = self.saving.take_if(|saving| saving.is_finished()) else {
            return;
        };
        let unsaved = std::mem::take(&mut self.unsaved);
        if let Some(Ok(mut saved)) = finished(saving) {
            for record in &unsaved {
                append(&mut saved, record);
            }
            self.saved = Some(saved);
        }
    }

    fn record(&self, kind: Kind, line: &[u8]) -> Record {
        Record {
            kind,
            stamp: self.config.clocks.stamp(),
            line: line.to_vec(),
        }
    }

    /// Turns away from an upstream that has been behind for long, if there is another one.
    fn check_lag(&self) -> Result<Step, FeedError> {
        let Phase::Streaming(streaming) = &self.phase else {
            return Ok(Step::Pause);
        };
        let lag_max = self.config.lag_max;
        let lag = self
            .config
            .clocks
            .now()
            .saturating_sub(self.receiver.as_of());
        if self.config.upstreams.len() > 1
            && streaming.opened.elapsed() > lag_max
            && u128::from(lag) > lag_max.as_millis()
        {
            return Err(FeedError::Behind);
        }
        Ok(Step::Pause)
    }

    /// Reads a signers document next to the stream.
    fn read_signers(&mut self) {
        if let Some(reading) = self
            .reading_signers
            .take_if(|reading| reading.is_finished())
        {
            if let Some(Ok(Ok(line))) = finished(reading) {
                self.take_signers(Some(line));
            }
        } else if self.reading_signers.is_none() && std::mem::take(&mut self.wants_signers) {
            let (config, upstream) = (Arc::clone(&self.config), self.upstream);
            self.reading_signers = Some(tokio::spawn(async move {
                let upstream = config.upstreams.get(upstream).ok_or(FeedError::Closed)?;
                let mut connection = config.client.connect(upstream).await?;
                connection.read(SIGNERS, ANSWER_WITHIN).await
            }));
        }
    }

    /// Takes the document of the signers, which each of them has signed in a line of its own.
    fn take_signers(&mut self, lines: Option<Bytes>) {
        let Some(lines) = lines else { return };
        self.wants_signers = false;
        for line in lines.split(|byte| *byte == b'\n') {
            match self.receiver.update_trust(line) {
                Ok(true) => {
                    let version = self.receiver.trust().version();
                    tracing::info!(version, "the trusted signers were replaced");
                    let record = self.record(Kind::Signers, line);
                    self.signers.push(record);
                    self.save(Kind::Signers, line);
                    if let Some(told) = &self.config.on_signers {
                        told(line);
                    }
                }
                Ok(false) => {}
                // Signed by a signer that is not known here yet, for example.
                Err(error) => tracing::debug!(%error, "a signers document was refused"),
            }
        }
    }

    /// Ends the phase, and turns to the next upstream. Returns the error, so that the replica waits
    /// before it is tried; at the start every upstream is tried first.
    fn fail(&mut self, index: &Index, error: FeedError) -> Option<SourceError> {
        let upstream = self.config.upstreams.get(self.upstream).cloned();
        let was_applying = matches!(self.phase, Phase::Applying(_));
        self.phase = Phase::Idle;
        if was_applying {
            self.empty(index);
        }
        {
            let mut progress = lock(&self.progress);
            progress.is_connected = false;
            progress.refused = self.receiver.refusals();
        }
        if let FeedError::Refused(refused) = &error {
            counter!(names::FEED_REFUSED, "reason" => reason(*refused)).increment(1);
            self.wants_signers |= *refused == Refused::UnknownSigner;
        }
        if let FeedError::Index(full @ IndexError::Full) = error {
            return Some(full.into());
        }
        self.upstream = (self.upstream + 1) % self.config.upstreams.len();
        self.failed += 1;
        let upstream = upstream.map_or(String::new(), |upstream| upstream.to_string());
        if !self.was_connected && self.failed < self.config.upstreams.len() {
            let error = crate::error::chain(&error);
            tracing::warn!(
                upstream,
                error,
                "the upstream failed: the next one is tried"
            );
            return None;
        }
        self.failed = 0;
        Some(SourceError::unavailable(Failed {
            upstream,
            source: error,
        }))
    }

    /// Applies what was kept. Returns whether the index is filled then.
    async fn restore(&mut self, index: &Index) -> bool {
        let Some(saved) = self.saved.take() else {
            return false;
        };
        let records = saved.read().unwrap_or_else(|error| {
            tracing::error!(%error, "what was kept for a warm restart cannot be read");
            Vec::new()
        });
        let mut restored = Restored::default();
        let mut receiver = self.receiver.clone();
        let result = self
            .apply_records(index, &saved, &records, &mut receiver, &mut restored)
            .await;
        self.saved = Some(saved);
        if let Err(error) = &result
            && !records.is_empty()
        {
            let error = crate::error::chain(error);
            tracing::warn!(
                error,
                "not all that was kept for a warm restart can be used"
            );
        }
        if !restored.is_loaded {
            // The next snapshot takes its place.
            self.empty(index);
            return false;
        }
        let kept = records.get(..restored.records).unwrap_or_default();
        self.signers = kept
            .iter()
            .filter(|record| record.kind == Kind::Signers)
            .cloned()
            .collect();
        if let Some(saved) = &mut self.saved
            && let Err(error) = saved.resume(kept)
        {
            tracing::error!(%error, "the log for a warm restart cannot be continued");
            saved.forget();
        }
        self.receiver = receiver;
        self.is_loaded = true;
        let Some((end, stamp)) = restored.end else {
            return false;
        };
        let now = self.config.clocks.stamp();
        let as_of = self.receiver.as_of();
        let confirmed = now
            .age(as_of, &stamp)
            .map(|age| now.wall.saturating_sub(age));
        match confirmed {
            Some(confirmed) => {
                let age = now.wall.saturating_sub(confirmed);
                tracing::info!(position = %end, age_ms = age, "a warm restart");
            }
            None => tracing::warn!("the clock ran back: calls are refused until the feed is read"),
        }
        let at = confirmed.map_or(Timestamp::MIN, timestamp);
        let confirmation = ReplicaChanges {
            after: end.revision,
            entries: Vec::new(),
            next_after: end.revision,
            more: false,
            last_revision: end.horizon,
        };
        let mut progress = lock(&self.progress);
        progress.position = Some(end);
        progress.as_of = as_of;
        drop(progress);
        index.apply_replica(confirmation, at).is_ok()
    }

    async fn apply_records(
        &mut self,
        index: &Index,
        saved: &Saved,
        records: &[Record],
        receiver: &mut Receiver,
        restored: &mut Restored,
    ) -> Result<(), FeedError> {
        // A wall clock that ran back does not make the records come from the future: their age decides.
        let latest = records.iter().map(|record| record.stamp.wall).max();
        let now = self.config.clocks.now().max(latest.unwrap_or(0));
        for record in records {
            match record.kind {
                Kind::Signers => {
                    let updated = receiver.update_trust(&record.line);
                    updated.map_err(|_| Refused::UnknownSigner)?;
                }
                Kind::Manifest => {
                    let manifest = receiver.manifest(&record.line, now)?;
                    if manifest.format() != *index.format() {
                        return Err(FeedError::OtherFormat);
                    }
                    let object = saved.object(manifest.object()).map_err(FeedError::Object)?;
                    self.is_filled = true;
                    let opening =
                        SnapshotReader::<File>::open(&manifest, &self.config.filter, object);
                    let mut reader = opening?;
                    while let Some(page) = reader.next_page()? {
                        // Nothing is confirmed before all of it is known.
                        let page = ReplicaChanges { more: true, ..page };
                        index.apply_replica(page, Timestamp::MIN)?;
                        yield_now().await;
                    }
                    receiver.loaded(&manifest, now);
                    restored.is_loaded = true;
                    restored.end = Some((manifest.position(), record.stamp.clone()));
                }
                Kind::Frame | Kind::Bookmark => {
                    let accepted = receiver.receive(&record.line, now)?;
                    let is_end = accepted.confirmed.is_some();
                    let page = ReplicaChanges {
                        more: true,
                        ..accepted.changes
                    };
                    if let Err(error) = index.apply_replica(page, Timestamp::MIN) {
                        restored.is_loaded = false;
                        return Err(error.into());
                    }
                    let end = (accepted.position, record.stamp.clone());
                    restored.end = is_end.then_some(end);
                }
            }
            restored.records += 1;
        }
        Ok(())
    }
}

/// What was applied of the records.
#[derive(Default)]
struct Restored {
    records: usize,
    is_loaded: bool,
    /// The position and the clocks of the last record; none if the authority had more then.
    end: Option<(Position, super::steady::Stamp)>,
}

enum Step {
    /// There is more to do.
    Again,
    /// Everything is done for now, or enough for one call.
    Pause,
}

/// An upstream failed.
#[derive(Debug, thiserror::Error)]
#[error("{upstream}")]
struct Failed {
    upstream: String,
    source: FeedError,
}

impl Opening {
    fn new(
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
    async fn progress(&mut self, mut until: Instant) -> Result<Option<Opened>, FeedError> {
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
    fn new(connection: Connection, response: http::Response<hyper::body::Incoming>) -> Self {
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
    async fn read(&mut self) {
        if self.next.is_none() {
            let line = next_line(&mut self.lines).await;
            self.next = Some(line.unwrap_or(Err(FeedError::Closed)));
            self.last = Instant::now();
        }
    }
}

async fn open(
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

async fn download(
    mut connection: Connection,
    line: Bytes,
    manifest: Manifest,
    filter: Filter,
    progress: Arc<AtomicU64>,
) -> Result<Opened, FeedError> {
    let path = format!("/v1/feed/snapshots/{}.ndjson.zst", manifest.object());
    let response = timeout(WORK_WITHIN, connection.get(&path)).await;
    let mut body = response
        .unwrap_or(Err(FeedError::TimedOut("the answer")))?
        .into_body();
    let too_long = || FeedError::Body("it is longer than its manifest says".into());
    let length = usize::try_from(manifest.bytes()).map_err(|_| too_long())?;
    let mut object = BytesMut::new();
    loop {
        let frame = timeout(STALLED, body.frame()).await;
        let Some(frame) = frame.map_err(|_| FeedError::TimedOut("the snapshot"))? else {
            break;
        };
        let Ok(data) = frame?.into_data() else {
            continue;
        };
        if object.len() + data.len() > length {
            return Err(too_long());
        }
        object.extend_from_slice(&data);
        progress.fetch_add(data.len() as u64, Ordering::Relaxed);
    }
    let object = object.freeze();
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

fn append(saved: &mut Saved, record: &Record) {
    if let Err(error) = saved.append(record) {
        tracing::error!(%error, "a frame cannot be kept for a warm restart");
    }
}

/// The query of requests for this filter.
pub(super) fn query(filter: &Filter) -> String {
    let pairs = filter.to_query();
    let pairs: Vec<_> = pairs
        .iter()
        .map(|(name, value)| format!("{name}={value}"))
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

/// The result of a task that is finished.
fn finished<T>(handle: JoinHandle<T>) -> Option<Result<T, tokio::task::JoinError>> {
    let mut handle = std::pin::pin!(handle);
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    match handle.as_mut().poll(&mut context) {
        std::task::Poll::Ready(result) => Some(result),
        std::task::Poll::Pending => None,
    }
}

fn timestamp(milliseconds: u64) -> Timestamp {
    Timestamp::from_unix(i64::try_from(milliseconds / 1000).unwrap_or(i64::MAX))
}

/// The label of the counter of refused lines.
fn reason(refused: Refused) -> &'static str {
    match refused {
        Refused::Malformed => "malformed",
        Refused::UnknownSigner => "unknown_signer",
        Refused::Forged => "forged",
        Refused::OtherFilter => "other_filter",
        Refused::NotLoaded => "not_loaded",
        Refused::Gap => "gap",
        Refused::Replayed => "replayed",
        Refused::OtherHistory => "other_history",
        Refused::Older => "older",
        Refused::Future => "future",
        _ => "other",
    }
}

const SIGNERS: &str = "/v1/feed/signers";
/// How long a call goes on before it lets the replica look at the bound.
const SLICE: Duration = Duration::from_millis(200);
/// How long a silent connection gets after the process itself may have been stopped.
const GRACE: Duration = Duration::from_millis(100);
/// How long a snapshot may send nothing.
const STALLED: Duration = Duration::from_secs(10);
