//! Compaction: a newer snapshot takes the place of the one that is kept, and of the frames after it.
//!
//! A task downloads a snapshot, and frames from its position to the present. They lead to the same state as what
//! this process has applied, as soon as both are at one position. From there on the lines are those that it
//! has accepted since.

use std::{io::Cursor, mem, sync::Arc, time::Duration};

use bytes::Bytes;
use keyfob::{gateway::Index, key::KeyFormat};
use keyfob_feed::{Manifest, Position, Receiver};
use tokio::{
    task::JoinHandle,
    time::{Instant, timeout},
};

use super::{
    Config,
    client::{ANSWER_WITHIN, Connection, Lines, WORK_WITHIN, next_line},
    error::FeedError,
    folder::Found,
    opening::{Place, with_query},
    pages::Pages,
    saved::{Kind, Record},
    session::Session,
};

/// The compaction of what is kept, which begins when it is long.
pub(super) struct Compaction {
    state: State,
    /// Each line that was accepted since it began, with the position before it.
    since: Vec<(Position, Record)>,
    since_bytes: u64,
    not_before: Option<Instant>,
    /// How many have begun without making what is kept shorter.
    tries: u32,
}

enum State {
    Idle,
    Loading(JoinHandle<Result<Base, FeedError>>),
    Loaded(Box<Base>),
}

/// A snapshot, and the frames from its position to another one.
struct Base {
    manifest: Manifest,
    line: Record,
    object: Bytes,
    frames: Vec<Record>,
    end: Position,
}

impl Compaction {
    pub(super) fn new() -> Self {
        Self {
            state: State::Idle,
            since: Vec::new(),
            since_bytes: 0,
            not_before: None,
            tries: 0,
        }
    }

    /// Takes note of a line that was accepted by a reader that was at `before`.
    pub(super) fn note(&mut self, before: Option<Position>, record: &Record, bytes_max: u64) {
        let Some(before) = before.filter(|_| !matches!(self.state, State::Idle)) else {
            return;
        };
        if let Some((_, last)) = self.since.last()
            && last.kind == Kind::Bookmark
        {
            self.since_bytes -= last.line.len() as u64;
            self.since.pop();
        }
        self.since_bytes += record.line.len() as u64;
        self.since.push((before, record.clone()));
        if self.since_bytes > bytes_max / 2 {
            tracing::warn!("what is kept for a warm restart is long: a snapshot takes too long");
            self.stop();
        }
    }

    /// Gives it up, such as when a snapshot was loaded in another way.
    pub(super) fn stop(&mut self) {
        if let State::Loading(task) = mem::replace(&mut self.state, State::Idle) {
            task.abort();
        }
        self.since = Vec::new();
        self.since_bytes = 0;
    }

    /// The records after the manifest, if the lines that were accepted continue where the base ends; none
    /// while this process is not as far, or [`Behind`] if it will not be.
    fn joined(&self, position: Position) -> Result<Option<Vec<Record>>, Behind> {
        let State::Loaded(base) = &self.state else {
            return Ok(None);
        };
        let at = self
            .since
            .iter()
            .position(|(before, _)| *before == base.end);
        let at = at.or((position == base.end).then_some(self.since.len()));
        match at {
            Some(at) => {
                let since = self.since[at..].iter().map(|(_, record)| record);
                Ok(Some(base.frames.iter().chain(since).cloned().collect()))
            }
            None if position.revision >= base.end.revision => Err(Behind),
            None => Ok(None),
        }
    }
}

impl Drop for Compaction {
    fn drop(&mut self) {
        self.stop();
    }
}

/// The reader has passed the end of the base, with lines of other lengths.
struct Behind;

impl Session {
    /// Begins a compaction, or goes on with it.
    pub(super) async fn compact(&mut self, index: &Index) {
        if let State::Loading(task) = &mut self.compaction.state {
            if !task.is_finished() {
                return;
            }
            // It is finished, so nothing waits here.
            let loaded = task.await;
            self.compaction.state = match loaded {
                Ok(Ok(base)) => State::Loaded(Box::new(base)),
                Ok(Err(error)) => {
                    let error = crate::error::chain(&error);
                    tracing::warn!(error, "no snapshot can be kept for a warm restart");
                    return self.compaction.stop();
                }
                Err(_) => return self.compaction.stop(),
            };
        }
        let Some(position) = self.receiver.position() else {
            return;
        };
        if self.receiver.unproven_until().is_some() {
            return;
        }
        match self.compaction.joined(position) {
            Ok(Some(frames)) => {
                if let State::Loaded(base) = mem::replace(&mut self.compaction.state, State::Idle) {
                    tracing::info!(position = %base.manifest.position(), "what is kept for a warm restart begins with a newer snapshot");
                    let name = base.manifest.object();
                    self.keeper.compact(base.line, name, base.object, frames);
                }
                self.compaction.stop();
            }
            Ok(None) => self.begin_compaction(index),
            Err(Behind) => {
                tracing::debug!("a snapshot does not lead to the lines that were accepted");
                self.compaction.stop();
            }
        }
    }

    fn begin_compaction(&mut self, index: &Index) {
        let is_idle = matches!(self.compaction.state, State::Idle);
        match self.keeper.is_long() {
            Some(true) if is_idle => {}
            Some(false) if is_idle => return self.compaction.tries = 0,
            _ => return,
        }
        let now = Instant::now();
        if self.compaction.not_before.is_some_and(|at| now < at) {
            return;
        }
        let pause = PAUSE.saturating_mul(1 << self.compaction.tries.min(6));
        self.compaction.not_before = Some(now + pause);
        self.compaction.tries += 1;
        let receiver = Receiver::new(self.receiver.trust().clone(), self.config.filter.clone());
        let (config, upstream) = (Arc::clone(&self.config), self.upstream());
        let loading = load(config, upstream, receiver, *index.format());
        self.compaction.state = State::Loading(tokio::spawn(loading));
    }
}

async fn load(
    config: Arc<Config>,
    upstream: usize,
    mut receiver: Receiver,
    format: KeyFormat,
) -> Result<Base, FeedError> {
    let record = |kind, line: &[u8]| Record {
        kind,
        stamp: config.clocks.stamp(),
        line: line.to_vec(),
    };
    let (line, place) = if let Some(folder) = config.folder(upstream) {
        let kept = folder.kept().await?;
        (kept.manifest.clone(), Place::Folder(kept))
    } else {
        let upstream = config.upstreams.get(upstream).ok_or(FeedError::Closed)?;
        let mut connection = config.client.connect(upstream).await?;
        let path = with_query("/v1/feed/snapshot", &config.query);
        let line = connection.read(&path, WORK_WITHIN).await?;
        (line, Place::Server(connection))
    };
    let manifest = receiver.manifest(&line, config.clocks.now())?;
    if manifest.format() != format {
        return Err(FeedError::OtherFormat);
    }
    if manifest.bytes() > config.snapshot_bytes_max {
        return Err(FeedError::TooLarge(manifest.bytes()));
    }
    let line = record(Kind::Manifest, &line);
    let (name, bytes) = (manifest.object(), manifest.bytes());
    let (object, mut frames_of) = match place {
        Place::Folder(kept) => {
            let folder = config.folder(upstream).ok_or(FeedError::Closed)?;
            let object = kept.object(name, bytes).await?;
            let start = manifest.position();
            match folder.open(start).await? {
                Found::Lines(lines, _) => (object, Frames::Lines(lines, kept.end.unwrap_or(start))),
                // Another snapshot has taken its place meanwhile.
                Found::Manifest(_) => return Err(FeedError::Gone),
            }
        }
        Place::Server(mut connection) => {
            let object = connection.object(name, bytes, None, |_| ()).await?;
            (object, Frames::Server(connection))
        }
    };
    let filter = config.filter.clone();
    drop(Pages::open(manifest.clone(), filter, Cursor::new(object.clone())).await?);
    receiver.loaded(&manifest, config.clocks.now());
    let (mut at, mut frames, mut length) = (manifest.position(), Vec::<Record>::new(), 0);
    while !frames_of.is_at_end(at) {
        let frame = frames_of.next(&config, at).await?;
        let accepted = receiver.receive(&frame, config.clocks.now())?;
        let is_bookmark = accepted.position == at;
        at = accepted.position;
        if let Some(last) = frames.pop_if(|last| last.kind == Kind::Bookmark) {
            length -= last.line.len() as u64;
        }
        length += frame.len() as u64;
        let kind = if is_bookmark {
            Kind::Bookmark
        } else {
            Kind::Frame
        };
        frames.push(record(kind, &frame));
        if accepted.batch.is_some() && frames_of.is_whole() {
            break;
        }
        if length > config.saved_bytes_max / 2 {
            return Err(FeedError::TooLarge(length));
        }
    }
    Ok(Base {
        manifest,
        line,
        object,
        frames,
        end: at,
    })
}

/// Where the frames after a snapshot come from.
enum Frames {
    Server(Connection),
    /// The lines of a folder, and the position after the last one.
    Lines(Lines, Position),
}

impl Frames {
    fn is_at_end(&self, at: Position) -> bool {
        matches!(self, Self::Lines(_, end) if at == *end)
    }

    /// Whether a frame after which there is no more is the last one.
    fn is_whole(&self) -> bool {
        matches!(self, Self::Server(_))
    }

    async fn next(&mut self, config: &Config, at: Position) -> Result<Bytes, FeedError> {
        match self {
            Self::Server(connection) => {
                let path = with_query(&format!("/v1/feed/frame?after={at}"), &config.query);
                connection.read(&path, ANSWER_WITHIN).await
            }
            Self::Lines(lines, _) => {
                let line = timeout(ANSWER_WITHIN, next_line(lines)).await;
                let line = line.map_err(|_| FeedError::TimedOut("reading the folder"))?;
                Ok(line.unwrap_or(Err(FeedError::Closed))?.into())
            }
        }
    }
}

/// The time between two compactions; twice as long after each one that did not help, up to an hour.
const PAUSE: Duration = Duration::from_mins(1);
