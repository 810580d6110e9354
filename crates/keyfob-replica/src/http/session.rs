//! The state of a source between two calls: connecting, loading a snapshot, or reading the stream.
//!
//! The replica drops the future of a call that takes too long. So everything that takes time is kept
//! in the [`Phase`], and goes on with the next call.

use std::{
    sync::{Arc, Mutex, atomic::Ordering},
    time::Duration,
};

use bytes::Bytes;
use keyfob::{
    Timestamp,
    gateway::{Index, IndexError},
};
use keyfob_feed::{Accepted, Manifest, Position, Receiver, Refused};
use metrics::counter;
use tokio::{
    task::{JoinHandle, yield_now},
    time::{Instant, timeout},
};

use super::{
    Config, FeedStatus,
    broadcast::{LineReceiver, Listening, heard},
    client::ANSWER_WITHIN,
    compaction::Compaction,
    error::FeedError,
    keeper::Keeper,
    lock,
    opening::{Applying, Opened, Opening, Place, SIGNERS, SLICE, Streaming, download, open},
    saved::{Kind, Record, Saved},
};
use crate::{SourceError, metrics as names};

pub(super) struct Session {
    pub(super) config: Arc<Config>,
    pub(super) progress: Arc<Mutex<FeedStatus>>,
    pub(super) receiver: Receiver,
    /// What takes the place of the receiver with the snapshot that is loaded.
    fresh: Option<Receiver>,
    pub(super) filled: Filled,
    pub(super) keeper: Keeper,
    pub(super) compaction: Compaction,
    pub(super) phase: Phase,
    /// The broadcast, which makes the stream of the upstream unnecessary while it is in step.
    pub(super) listening: Option<Listening>,
    /// The upstream of the phase.
    upstream: usize,
    /// How many upstreams have failed one after the other.
    failed: usize,
    /// How many of them will go on refusing.
    refused: usize,
    start: Start,
    /// Whether there is a signers document to read.
    pub(super) wants_signers: bool,
    reading_signers: Option<JoinHandle<Result<Bytes, FeedError>>>,
}

/// What the index has.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Filled {
    Nothing,
    /// A part of a snapshot.
    Partly,
    /// What the receiver's position says.
    Fully,
}

/// How far the start of the replica is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Start {
    /// What was kept is not read yet.
    ToRestore,
    ToConnect,
    Done,
}

pub(super) enum Phase {
    Idle,
    Opening(Opening),
    Applying(Box<Applying>),
    Streaming(Box<Streaming>),
}

impl Session {
    pub(super) fn new(
        config: Arc<Config>,
        progress: Arc<Mutex<FeedStatus>>,
        receiver: Receiver,
        saved: Option<Saved>,
        broadcast: Option<LineReceiver>,
    ) -> Self {
        let pins = Record::pins(receiver.trust(), config.clocks.stamp());
        Self {
            listening: broadcast.map(Listening::to),
            config,
            progress,
            receiver,
            fresh: None,
            filled: Filled::Nothing,
            keeper: Keeper::new(saved, pins),
            compaction: Compaction::new(),
            phase: Phase::Idle,
            upstream: 0,
            failed: 0,
            refused: 0,
            start: Start::ToRestore,
            wants_signers: false,
            reading_signers: None,
        }
    }

    /// Waits for the next line; in another phase there is something to do already.
    pub(super) async fn wait(&mut self) {
        match (&mut self.phase, &self.listening) {
            (Phase::Streaming(streaming), listening) => tokio::select! {
                () = streaming.read() => {}
                () = heard(listening.as_ref()) => {}
            },
            (Phase::Idle, Some(listening)) if listening.is_in_step() => listening.wait().await,
            _ => {}
        }
    }

    /// Goes on until everything that has arrived is applied, or there was some progress.
    pub(super) async fn sync(&mut self, index: &Index) -> Result<(), SourceError> {
        if self.start == Start::ToRestore {
            self.start = Start::ToConnect;
            if self.restore(index).await {
                self.start = Start::Done;
                return Ok(());
            }
        }
        let until = Instant::now() + SLICE;
        loop {
            let step = match self.listen(index, until) {
                Ok(()) => self.step(index, until).await,
                Err(error) => Err(error),
            };
            let error = match step {
                Ok(Step::Again) => continue,
                Ok(Step::Pause) => {
                    (self.failed, self.refused) = (0, 0);
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
        let is_in_step = self.is_in_step();
        match &mut self.phase {
            Phase::Idle if is_in_step => {
                self.keeper.poll().await;
                self.compact(index).await;
                self.read_signers().await;
                Ok(Step::Pause)
            }
            Phase::Idle => {
                self.phase = Phase::Opening(self.open());
                Ok(Step::Again)
            }
            Phase::Opening(opening) => {
                let opened = tokio::select! {
                    biased;
                    opened = opening.progress(until) => opened?,
                    // It may make the upstream unnecessary.
                    () = heard(self.listening.as_ref()) => {
                        let is_over = Instant::now() >= until;
                        return Ok(if is_over { Step::Pause } else { Step::Again });
                    }
                };
                let Some(opened) = opened else {
                    return Ok(Step::Pause);
                };
                self.phase = Phase::Idle;
                self.opened(index, opened)?;
                Ok(Step::Again)
            }
            Phase::Applying(applying) => {
                while let Some(page) = applying.pages.next().await? {
                    self.filled = Filled::Partly;
                    if page.more {
                        index.apply_replica(page, None)?;
                    } else {
                        let now = self.config.clocks.now();
                        let confirmed = self.receiver.loaded(&applying.manifest, now);
                        index.apply_replica(page, confirmed.map(timestamp))?;
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
        let position = self.receiver.position();
        let position = position.filter(|_| self.filled == Filled::Fully);
        let config = Arc::clone(&self.config);
        let (upstream, wants_signers) = (self.upstream, self.wants_signers);
        Opening::new(|_| Box::pin(open(config, upstream, position, wants_signers)))
    }

    fn opened(&mut self, index: &Index, opened: Opened) -> Result<(), FeedError> {
        match opened {
            Opened::Stream { streaming, signers } => {
                self.take_signers(signers);
                self.start = Start::Done;
                self.phase = Phase::Streaming(streaming);
                let mut progress = lock(&self.progress);
                progress.upstream = self.config.upstreams.get(self.upstream).cloned();
                progress.is_connected = true;
            }
            Opened::Manifest {
                place,
                line,
                signers,
            } => {
                self.take_signers(signers);
                let manifest = self.manifest(&place, &line)?;
                if manifest.format() != *index.format() {
                    return Err(FeedError::OtherFormat);
                }
                if manifest.bytes() > self.config.snapshot_bytes_max {
                    return Err(FeedError::TooLarge(manifest.bytes()));
                }
                let filter = self.config.filter.clone();
                let has_others = self.config.upstreams.len() > 1;
                self.phase = Phase::Opening(Opening::new(|bytes| {
                    Box::pin(download(place, line, manifest, filter, has_others, bytes))
                }));
            }
            Opened::Object(applying) => {
                if let Some(fresh) = self.fresh.take() {
                    self.receiver = fresh;
                }
                self.empty(index);
                index.reserve(applying.pages.keys_max());
                self.phase = Phase::Applying(applying);
            }
        }
        Ok(())
    }

    /// Verifies a manifest. That in a folder may be older than what this process has, if the lines after it lead
    /// further: then the index is filled again, and is as old as the manifest until they are applied.
    fn manifest(&mut self, place: &Place, line: &[u8]) -> Result<Manifest, Refused> {
        let now = self.config.clocks.now();
        if let Place::Folder(kept) = place
            && kept.as_of > self.receiver.as_of()
        {
            let mut fresh = self.receiver.start_again();
            let manifest = fresh.manifest(line, now)?;
            self.fresh = Some(fresh);
            return Ok(manifest);
        }
        self.fresh = None;
        self.receiver.manifest(line, now)
    }

    pub(super) fn empty(&mut self, index: &Index) {
        if std::mem::replace(&mut self.filled, Filled::Nothing) != Filled::Nothing {
            index.reset();
        }
    }

    /// Takes note of a snapshot that was applied.
    fn loaded(&mut self, applying: Applying) {
        let Applying {
            manifest,
            line,
            object,
            ..
        } = applying;
        self.filled = Filled::Fully;
        counter!(names::FEED_SNAPSHOTS).increment(1);
        tracing::info!(position = %manifest.position(), entries = manifest.entries(), "a snapshot was loaded");
        let unproven = self.receiver.unproven_until().map(|until| {
            tracing::info!(
                "the snapshot may lack what was known: calls are refused until a line confirms it"
            );
            self.record(Kind::Unproven, until.to_string().as_bytes())
        });
        let record = self.record(Kind::Manifest, &line);
        self.compaction.stop();
        let name = manifest.object();
        self.keeper
            .begin(record, name, object, unproven.into_iter().collect());
        let mut progress = lock(&self.progress);
        progress.snapshots += 1;
        progress.position = self.receiver.position();
        progress.as_of = self.receiver.as_of();
    }

    async fn take_lines(&mut self, index: &Index, until: Instant) -> Result<Step, FeedError> {
        self.keeper.poll().await;
        self.compact(index).await;
        self.read_signers().await;
        loop {
            let Phase::Streaming(streaming) = &mut self.phase else {
                return Ok(Step::Again);
            };
            // What waits in the socket comes first, however long nobody read it.
            if timeout(Duration::ZERO, streaming.read()).await.is_err() {
                if !streaming.is_silent(self.config.silence) {
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
        self.apply(index, accepted, before, line.as_bytes())
    }

    /// Applies a line that was accepted by a reader that was at `before`.
    pub(super) fn apply(
        &mut self,
        index: &Index,
        accepted: Accepted,
        before: Option<Position>,
        line: &[u8],
    ) -> Result<(), FeedError> {
        let is_bookmark = Some(accepted.position) == before;
        if accepted.signers_version > self.receiver.trust().version() {
            self.wants_signers = true;
        }
        let is_applied = accepted.batch.is_some();
        if let Some(batch) = accepted.batch
            && let Err(error) = batch.apply(index)
        {
            self.filled = Filled::Partly;
            return Err(error.into());
        }
        let kind = if is_bookmark {
            Kind::Bookmark
        } else {
            Kind::Frame
        };
        let record = self.record(kind, line);
        let bytes_max = self.config.saved_bytes_max;
        self.compaction.note(before, &record, bytes_max);
        self.keeper.append(record);
        if let Some(told) = &self.config.on_line {
            told(line);
        }
        if is_applied {
            let mut progress = lock(&self.progress);
            progress.position = Some(accepted.position);
            progress.as_of = self.receiver.as_of();
        }
        Ok(())
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
        let lag = self.config.clocks.wall();
        let lag = lag.saturating_sub(self.receiver.as_of());
        if self.config.upstreams.len() > 1
            && streaming.opened.elapsed() > lag_max
            && u128::from(lag) > lag_max.as_millis()
        {
            return Err(FeedError::Behind);
        }
        Ok(Step::Pause)
    }

    /// Reads a signers document next to the stream.
    async fn read_signers(&mut self) {
        if let Some(reading) = self
            .reading_signers
            .take_if(|reading| reading.is_finished())
        {
            // It is finished, so nothing waits here.
            match reading.await {
                Ok(Ok(lines)) => self.take_signers(Some(lines)),
                // Nothing else turns away from this upstream.
                _ if self.is_in_step() => self.turn(),
                _ => {}
            }
        } else if self.reading_signers.is_none() && std::mem::take(&mut self.wants_signers) {
            let (config, upstream) = (Arc::clone(&self.config), self.upstream);
            self.reading_signers = Some(tokio::spawn(async move {
                if let Some(folder) = config.folder(upstream) {
                    return Ok(folder.kept().await?.signers);
                }
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
        let now = self.config.clocks.now();
        for line in lines.split(|byte| *byte == b'\n') {
            match self.receiver.update_trust(line, now) {
                Ok(true) => {
                    let version = self.receiver.trust().version();
                    tracing::info!(version, "the trusted signers were replaced");
                    let record = self.record(Kind::Signers, line);
                    self.keeper.append(record);
                    if let Some(told) = &self.config.on_trust {
                        told(self.receiver.trust());
                    }
                }
                Ok(false) => {}
                // Signed by a signer that is not known here yet, for example.
                Err(error) => tracing::debug!(%error, "a signers document was refused"),
            }
        }
    }

    /// The upstream that is read, or would be.
    pub(super) fn upstream(&self) -> usize {
        self.upstream
    }

    pub(super) fn mark_started(&mut self) {
        self.start = Start::Done;
    }

    /// Turns to the next upstream.
    fn turn(&mut self) {
        self.upstream = (self.upstream + 1) % self.config.upstreams.len();
    }

    /// Ends the phase, and turns to the next upstream. Returns the error, so that the replica waits
    /// before it is tried; at the start every upstream is tried first.
    fn fail(&mut self, index: &Index, error: FeedError) -> Option<SourceError> {
        let upstream = self.config.upstreams.get(self.upstream).cloned();
        let was_applying = matches!(self.phase, Phase::Applying(_));
        if let (Phase::Streaming(streaming), Some(no_upgrade)) =
            (&self.phase, self.config.no_upgrade.get(self.upstream))
        {
            // A proxy may pass on an upgrade, and not what follows.
            no_upgrade.fetch_or(streaming.is_untried, Ordering::Relaxed);
        }
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
        self.turn();
        self.failed += 1;
        self.refused += usize::from(error.is_refusal());
        let upstream = upstream.map_or(String::new(), |upstream| upstream.to_string());
        if self.start != Start::Done && self.failed < self.config.upstreams.len() {
            let error = crate::error::chain(&error);
            tracing::warn!(
                upstream,
                error,
                "the upstream failed: the next one is tried"
            );
            return None;
        }
        let is_refused = self.refused >= self.config.upstreams.len() || error.is_of_settings();
        (self.failed, self.refused) = (0, 0);
        let failed = Failed {
            upstream,
            source: error,
        };
        Some(if is_refused {
            SourceError::refused(failed)
        } else {
            SourceError::unavailable(failed)
        })
    }
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

pub(super) fn timestamp(milliseconds: u64) -> Timestamp {
    Timestamp::from_unix(i64::try_from(milliseconds / 1000).unwrap_or(i64::MAX))
}

/// The label of the counter of refused lines.
pub(super) fn reason(refused: Refused) -> &'static str {
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

/// How long a silent connection gets after the process itself may have been stopped.
const GRACE: Duration = Duration::from_millis(100);
