//! The authority: one task reads the store, for all readers.

use std::{
    error::Error,
    fmt, iter,
    sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard},
    time::Duration,
};

use backon::{BackoffBuilder, ExponentialBuilder};
use bytes::Bytes;
use keyfob::{
    KeyStore,
    audit::TrailHead,
    key::KeyFormat,
    store::{Changes, Revision, StoreError, async_trait},
};
use metrics::{counter, gauge};
use tokio::{
    sync::{Mutex, watch},
    task::{JoinHandle, spawn_blocking},
    time::{Instant, sleep, sleep_until, timeout, timeout_at},
};

use crate::{
    filter::Filter,
    history::{FeedRead, HistoryError, Progress},
    keys::FeedKeys,
    line::SignedLine,
    lines::{Cursor, Next},
    position::Position,
    publisher::{Join, Limits, Publisher},
    receiver::READ_MS,
    snapshot::{ObjectName, Snapshot, SnapshotWriter},
};

use super::{
    authorize::ReplicaRight,
    hub::{AHEAD_WITHIN, CURRENT_WITHIN, Clock, Hub, Joined, Source, system_clock},
    metrics as names,
    parts::{Parts, Whole},
    refusal::Refusal,
    report::{Fleet, Report},
    snapshots::{Keeps, Made, Snapshots, not_made},
};

/// Publishes the feed of a store: a task that reads the store, and the [`Hub`] that serves what it
/// signed.
///
/// Several processes with the same [`FeedKeys`] can publish one store: a reader can move from one to the
/// other. Dropping it ends the task.
#[derive(Debug)]
pub struct Authority {
    hub: Hub,
    failure: watch::Receiver<Option<AuthorityError>>,
    task: JoinHandle<()>,
}

impl Authority {
    /// Publishes this store.
    pub fn over(
        store: impl KeyStore + 'static,
        keys: FeedKeys,
        format: KeyFormat,
    ) -> AuthorityBuilder {
        AuthorityBuilder {
            store: Arc::new(store),
            keys: Arc::new(keys),
            format,
            limits: Limits::default(),
            tail: 20_000,
            snapshot_every: Duration::from_mins(1),
            snapshot_bytes: 1 << 30,
            clock: system_clock(),
        }
    }

    /// What connections share.
    pub fn hub(&self) -> &Hub {
        &self.hub
    }

    /// Waits until the feed cannot be published any more, and returns why. From then on every
    /// stream ends, and requests are answered 503: end the process, and start a new one.
    ///
    /// A store that cannot be read is no such failure: it is tried again.
    pub async fn failed(&self) -> AuthorityError {
        let mut failure = self.failure.clone();
        match failure.wait_for(Option::is_some).await {
            Ok(failure) => failure.clone().unwrap_or(AuthorityError::Panicked),
            Err(_) => AuthorityError::Panicked,
        }
    }
}

impl Drop for Authority {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// The settings of an [`Authority`].
pub struct AuthorityBuilder {
    store: Arc<dyn KeyStore>,
    keys: Arc<FeedKeys>,
    format: KeyFormat,
    limits: Limits,
    tail: u64,
    snapshot_every: Duration,
    snapshot_bytes: usize,
    clock: Clock,
}

impl AuthorityBuilder {
    /// The bounds on memory. The default is [`Limits::default`].
    #[must_use]
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// How many revisions before the store's head are read at the start, for readers of a process that
    /// was restarted. The default is 20,000.
    #[must_use]
    pub fn tail(mut self, revisions: u64) -> Self {
        self.tail = revisions;
        self
    }

    /// How long a snapshot is given to readers before another one is made. The default is a minute.
    #[must_use]
    pub fn snapshot_every(mut self, interval: Duration) -> Self {
        self.snapshot_every = interval;
        self
    }

    /// How many bytes an object may have, and all of parts that are kept. The default is 1 GiB.
    #[must_use]
    pub fn snapshot_bytes(mut self, bytes: usize) -> Self {
        self.snapshot_bytes = bytes;
        self
    }

    /// Reads the end of the store's feed, and starts the task.
    ///
    /// # Errors
    ///
    /// The store failed -> [`AuthorityError::Store`].
    pub async fn start(self) -> Result<Authority, AuthorityError> {
        let head = self.store.head().await?;
        let tail = head.revision.get().saturating_sub(self.tail);
        let start = self.store.changes(Revision::new(tail), 1).await?;
        let start = TrailHead {
            revision: start.after,
            // It went back in between: the first read tells.
            hash: start.after_hash.unwrap_or(head.hash),
        };
        let published = Arc::new(Published {
            publisher: RwLock::new(Publisher::new(Arc::clone(&self.keys), start, self.limits)),
            parts: Parts::new(Arc::clone(&self.keys), self.snapshot_bytes),
            keys: self.keys,
            store: self.store,
            format: self.format,
            changed: watch::Sender::new(()),
            asking: Mutex::new(()),
            snapshots: Snapshots::new(self.snapshot_every, self.snapshot_bytes),
            snapshot_bytes: self.snapshot_bytes,
            clock: self.clock,
            read_at: std::sync::Mutex::default(),
        });
        published.read().await.map_err(|error| match error {
            ReadError::History(error) => AuthorityError::History(error),
            ReadError::Store(error) => AuthorityError::Unreadable(error),
        })?;
        let (failed, failure) = watch::channel(None);
        let source: Arc<dyn Source> = Arc::clone(&published) as _;
        Ok(Authority {
            hub: Hub::over(source, Fleet::default()),
            failure,
            task: tokio::spawn(follow(published, failed)),
        })
    }
}

impl fmt::Debug for AuthorityBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AuthorityBuilder")
            .field("keys", &self.keys)
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}

/// The feed cannot be published.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AuthorityError {
    /// The store failed at the start.
    #[error("the store failed")]
    Store(#[source] Arc<StoreError>),
    /// The store could not be read at the start.
    #[error("the store cannot be read: {0}")]
    Unreadable(String),
    /// The store has another history than before: it was replaced by a backup, for example.
    #[error(transparent)]
    History(#[from] HistoryError),
    /// The task panicked.
    #[error("the task that publishes the feed panicked")]
    Panicked,
}

impl From<StoreError> for AuthorityError {
    fn from(error: StoreError) -> Self {
        Self::Store(Arc::new(error))
    }
}

/// What the task and the connections share.
struct Published {
    publisher: RwLock<Publisher>,
    keys: Arc<FeedKeys>,
    store: Arc<dyn KeyStore>,
    format: KeyFormat,
    changed: watch::Sender<()>,
    /// One look at the store at a time for positions that are not known.
    asking: Mutex<()>,
    snapshots: Snapshots,
    snapshot_bytes: usize,
    parts: Parts,
    clock: Clock,
    /// When the last read that reached the end of the store's feed began.
    read_at: std::sync::Mutex<Option<Instant>>,
}

/// Why the store is read.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Waited {
    /// The store told of a change.
    ForChange,
    /// It is time for a bookmark, or to try again.
    ForTime,
}

enum ReadError {
    History(HistoryError),
    Store(String),
}

impl Published {
    fn publisher(&self) -> RwLockReadGuard<'_, Publisher> {
        self.publisher
            .read()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn publisher_mut(&self) -> RwLockWriteGuard<'_, Publisher> {
        let guard = self.publisher.write();
        guard.unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads the store to the end of its feed.
    async fn read(&self) -> Result<(), ReadError> {
        loop {
            let wants = self.publisher().wants();
            let (asked, began) = ((self.clock)(), Instant::now());
            let changes = self.changes(wants, PAGE).await.map_err(ReadError::Store)?;
            let progress = self.publisher_mut().answer(&changes, asked);
            self.changed.send_replace(());
            match progress {
                Ok(Progress::End) => {
                    let read_at = &mut *self.read_at.lock().unwrap_or_else(PoisonError::into_inner);
                    *read_at = Some(began);
                    break;
                }
                Ok(Progress::Again) => {}
                Err(error @ HistoryError::Unexpected) => {
                    return Err(ReadError::Store(error.to_string()));
                }
                Err(error) => return Err(ReadError::History(error)),
            }
        }
        let publisher = self.publisher();
        #[expect(clippy::cast_precision_loss, reason = "a gauge is a float")]
        gauge!(names::REVISION).set(publisher.position().revision.get() as f64);
        #[expect(clippy::cast_precision_loss, reason = "a gauge is a float")]
        gauge!(names::FILTERS).set(publisher.filters() as f64);
        counter!(names::SIGNATURES).absolute(publisher.signatures());
        Ok(())
    }

    async fn changes(&self, after: Revision, limit: usize) -> Result<Changes, String> {
        let began = Instant::now();
        match timeout(READ_WITHIN, self.store.changes(after, limit)).await {
            Ok(Err(error)) => Err(chain(&error)),
            // The process may have been stopped meanwhile.
            Ok(Ok(changes)) if began.elapsed() < READ_WITHIN => Ok(changes),
            Ok(Ok(_)) | Err(_) => Err(format!("no answer within {READ_WITHIN:?}")),
        }
    }

    /// Waits until the store may have changed, or a bookmark is due. `last` is when the last read began.
    async fn wait(&self, last: Instant) -> Waited {
        let (due, at) = {
            let publisher = self.publisher();
            (publisher.bookmark_due(), publisher.position().revision)
        };
        let until_due = due.map(|due| Duration::from_millis(due.saturating_sub((self.clock)())));
        let longest = last + IDLE_MAX;
        let until = until_due.map_or(longest, |due| longest.min(Instant::now() + due));
        let until = until.max(last + IDLE_MIN);
        match timeout_at(until, self.store.wait_for_change(at)).await {
            // The first change is published at once; those of a burst that follow are one frame.
            Ok(Ok(true)) => {
                sleep_until(last + COALESCE).await;
                return Waited::ForChange;
            }
            Ok(Ok(false)) => sleep_until(until.min(last + IDLE_MIN)).await,
            Ok(Err(error)) => {
                tracing::debug!(error = chain(&error), "the store cannot tell of changes");
                sleep_until(until).await;
            }
            Err(_) => {}
        }
        Waited::ForTime
    }

    /// Places a reader, and answers what the publisher asks for that.
    async fn place(
        &self,
        position: Position,
        join: impl Fn(&mut Publisher) -> Join,
    ) -> Result<Joined, Refusal> {
        let deadline = Instant::now() + AHEAD_WITHIN;
        let mut changed = self.changed.subscribe();
        loop {
            if !self.is_current() {
                return Err(Refusal::NotCurrent);
            }
            changed.borrow_and_update();
            let joined = join(&mut self.publisher_mut());
            match joined {
                Join::At(cursor) => return Ok(Joined::At(cursor)),
                Join::CatchUp(line, to) => return Ok(Joined::Line(line, to)),
                Join::Ask(_) => self.ask(&join).await?,
                Join::Ahead => {
                    if timeout_at(deadline, changed.changed()).await.is_err() {
                        let refusal = self.beyond(position);
                        return Err(refusal);
                    }
                }
                Join::Gone => return Err(Refusal::gone()),
                Join::Failed(_) => return Err(Refusal::NotCurrent),
            }
        }
    }

    /// Why a reader is refused that was ahead of this process for too long: it was of a history that the
    /// store no longer has, unless this process is late.
    fn beyond(&self, position: Position) -> Refusal {
        let at = self.publisher().position();
        if self.is_current() && position.horizon > at.horizon {
            Refusal::gone()
        } else {
            Refusal::NotCurrent
        }
    }

    /// Looks up the hash that the publisher asks for. Readers that come back with one position cost one look.
    async fn ask(&self, join: impl Fn(&mut Publisher) -> Join) -> Result<(), Refusal> {
        let _one = self.asking.lock().await;
        let again = join(&mut self.publisher_mut());
        if let Join::Ask(revision) = again {
            let changes = self.changes(revision, 1).await.map_err(|error| {
                tracing::warn!(error, "a position cannot be looked up");
                Refusal::NotCurrent
            })?;
            let hash = changes.after_hash.ok_or_else(Refusal::gone)?;
            self.publisher_mut().learn(revision, hash);
        }
        Ok(())
    }

    /// The manifest of everything, or of a part, which is taken from the snapshot of everything: the
    /// store is read once for all filters.
    async fn made(
        self: Arc<Self>,
        filter: &Filter,
        right: &ReplicaRight,
    ) -> Result<SignedLine, Refusal> {
        // A reader must be able to read the object, and to continue from it.
        let usable = |made: &Made| {
            made.position.revision >= self.publisher().kept_from().revision
                && self.snapshots.touch(made.manifest.object())
        };
        let all = self.snapshots.manifest(&Filter::All, usable, || {
            let published = Arc::clone(&self);
            async move { published.make().await }
        });
        let all = all.await?;
        if *filter == Filter::All {
            return Ok(all.line);
        }
        let part = self.snapshots.manifest(filter, usable, || {
            let (published, filter) = (Arc::clone(&self), filter.clone());
            let reporter = Arc::clone(right.reporter());
            async move {
                let object = published.snapshots.object(all.manifest.object());
                let whole = Whole {
                    object: object.ok_or(Refusal::NotCurrent)?,
                    manifest: all.manifest,
                };
                let snapshot = published.parts.make(&filter, &reporter, whole).await?;
                Ok(published.keep(snapshot, Keeps::Part(reporter)))
            }
        });
        Ok(part.await?.line)
    }

    fn keep(&self, snapshot: Snapshot, keeps: Keeps) -> Made {
        counter!(names::SNAPSHOTS).increment(1);
        tracing::info!(
            entries = snapshot.manifest.entries(),
            bytes = snapshot.manifest.bytes(),
            "made a snapshot"
        );
        let made = Made::new(snapshot.line, snapshot.manifest);
        let name = made.manifest.object();
        self.snapshots.keep(name, snapshot.object, keeps);
        made
    }

    /// Reads the whole store, and makes a snapshot of it.
    async fn make(&self) -> Result<Made, Refusal> {
        let mut read = FeedRead::after(TrailHead::START);
        let mut writer = SnapshotWriter::new(Filter::All, self.snapshot_bytes)
            .map_err(|error| not_made(&error))?;
        // The time of a page that waits for a proof.
        let mut waiting = None;
        let as_of = loop {
            let now = (self.clock)();
            let changes = self.changes(read.wants(), PAGE).await.map_err(|error| {
                tracing::error!(error, "a snapshot cannot be made");
                Refusal::NotCurrent
            })?;
            let (page, progress) = read.answer(&changes).map_err(|error| not_made(&error))?;
            let asked = waiting.take().unwrap_or(now);
            match page {
                None => waiting = Some(asked),
                Some(page) => {
                    let written =
                        spawn_blocking(move || writer.write(&page.entries).map(|()| writer));
                    writer = written
                        .await
                        .map_err(|error| not_made(&error))?
                        .map_err(|error| not_made(&error))?;
                }
            }
            if progress == Progress::End {
                break asked;
            }
        };
        let position = self.publisher().position_of(read.at());
        let snapshot = writer
            .finish(position, as_of, self.format, &self.keys)
            .map_err(|error| not_made(&error))?;
        Ok(self.keep(snapshot, Keeps::Everything))
    }
}

#[async_trait]
impl Source for Published {
    fn changed(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }

    fn open(&self, filter: &Filter) -> Result<(), Refusal> {
        if self.publisher_mut().open(filter) {
            Ok(())
        } else {
            Err(Refusal::TooManyFilters)
        }
    }

    fn close(&self, filter: &Filter) {
        self.publisher_mut().close(filter);
    }

    fn next(&self, filter: &Filter, cursor: Cursor) -> Next {
        self.publisher().next(filter, cursor)
    }

    async fn join(
        &self,
        filter: &Filter,
        position: Position,
        fresh: bool,
    ) -> Result<Joined, Refusal> {
        self.place(position, |publisher| {
            publisher.join(filter, position, fresh)
        })
        .await
    }

    async fn frame(&self, filter: &Filter, position: Position) -> Result<SignedLine, Refusal> {
        let placed = self.place(position, |publisher| publisher.catch_up(filter, position));
        match placed.await? {
            Joined::Line(line, _) => Ok(line),
            Joined::At(_) => Err(Refusal::NotCurrent),
        }
    }

    async fn manifest(
        self: Arc<Self>,
        filter: &Filter,
        right: &ReplicaRight,
    ) -> Result<SignedLine, Refusal> {
        if !self.is_current() {
            return Err(Refusal::NotCurrent);
        }
        self.made(filter, right).await
    }

    async fn object(self: Arc<Self>, name: ObjectName) -> Result<Bytes, Refusal> {
        self.snapshots.object(name).ok_or(Refusal::NotFound)
    }

    async fn signers(&self) -> Result<Vec<SignedLine>, Refusal> {
        Ok(self.keys.signers_document((self.clock)()))
    }

    async fn report(&self, report: &Report, _: &Bytes) -> Result<(), Refusal> {
        let Some(batch) = report.batch() else {
            return Ok(());
        };
        let recorded = self.store.record_usage(&batch, keyfob::now());
        let error = match timeout(READ_WITHIN, recorded).await {
            Ok(Ok(())) => return Ok(()),
            Ok(Err(error)) => chain(&error),
            Err(_) => format!("no answer within {READ_WITHIN:?}"),
        };
        tracing::error!(error, "the usage of a replica could not be recorded");
        Err(Refusal::NotCurrent)
    }

    fn is_current(&self) -> bool {
        let read_at = *self.read_at.lock().unwrap_or_else(PoisonError::into_inner);
        read_at.is_some_and(|at| at.elapsed() < CURRENT_WITHIN)
            && self.publisher().failed().is_none()
    }

    fn position(&self) -> Option<Position> {
        Some(self.publisher().position())
    }
}

/// Follows the store until it has another history.
async fn follow(published: Arc<Published>, failed: watch::Sender<Option<AuthorityError>>) {
    let mut delays = None;
    let mut last = Instant::now();
    loop {
        let waited = match &mut delays {
            None => published.wait(last).await,
            Some(delays) => {
                sleep(Iterator::next(delays).unwrap_or(DELAY_MAX)).await;
                Waited::ForTime
            }
        };
        last = Instant::now();
        let before = published.publisher().position();
        match published.read().await {
            Ok(()) => {
                if waited == Waited::ForChange && published.publisher().position() == before {
                    // A store may wake the task too early, but not without a pause.
                    sleep(PAUSE).await;
                }
                if delays.take().is_some() {
                    tracing::info!("the store can be read again");
                }
            }
            Err(ReadError::History(error)) => {
                tracing::error!(%error, "the feed cannot be published any more");
                failed.send_replace(Some(error.into()));
                return;
            }
            Err(ReadError::Store(error)) => {
                counter!(names::STORE_FAILURES).increment(1);
                if delays.is_none() {
                    tracing::error!(error, "the store cannot be read");
                    delays = Some(backoff().build());
                }
            }
        }
    }
}

fn backoff() -> ExponentialBuilder {
    ExponentialBuilder::default()
        .with_min_delay(DELAY_MIN)
        .with_max_delay(DELAY_MAX)
        .without_max_times()
        .with_jitter()
}

/// The text of an error with its sources.
pub(super) fn chain(error: &dyn Error) -> String {
    let errors = iter::successors(Some(error), |&error| error.source());
    let texts: Vec<String> = errors.map(ToString::to_string).collect();
    texts.join(": ")
}

/// How many entries are read at a time.
const PAGE: usize = 1_000;
/// How long the store may take to answer.
const READ_WITHIN: Duration = Duration::from_millis(READ_MS);
/// The least time between two reads of a store that tells of changes.
const COALESCE: Duration = Duration::from_millis(3);
/// The time between two reads of a store that tells of no change: two queries a second at most, one
/// at least.
const IDLE_MIN: Duration = Duration::from_millis(500);
const IDLE_MAX: Duration = Duration::from_millis(950);
/// The pause after a read without changes.
const PAUSE: Duration = Duration::from_millis(10);
const DELAY_MIN: Duration = Duration::from_millis(50);
const DELAY_MAX: Duration = Duration::from_secs(1);
