//! A running replica, and what it tells of itself.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

use backon::BackoffBuilder as _;
use keyfob::{
    Timestamp, Verifier,
    gateway::{Index, UsageRecorder},
    store::Revision,
};
use tokio::{
    sync::watch,
    task::JoinHandle,
    time::{Instant, sleep, timeout},
};

use crate::{
    Failure, Pauses, Source, SourceError, StartError,
    clock::{Clock, ClockFault, Moment},
    error::chain,
    follow::{Confirmed, Follow, PAUSE_MIN, backoff, wait},
    follower::Settings,
    usage::{Flusher, stop_requested},
};

/// A verifier that is kept up to date with a store or another source by a task: what [`Follower`](crate::Follower)
/// starts.
///
/// Dropping it aborts the task, and loses the uses that were not yet written;
/// [`Replica::stop`] writes them. Without the task the verifiers refuse every call once the bound
/// on staleness has passed.
#[derive(Debug)]
pub struct Replica {
    monitor: Monitor,
    failure: watch::Receiver<Option<Failure>>,
    stop: watch::Sender<bool>,
    flusher: Flusher,
    task: JoinHandle<()>,
}

/// What a replica is made of: a source, the index that it fills, and the bound on its age.
pub(crate) struct Origin {
    pub(crate) source: Arc<dyn Source>,
    pub(crate) index: Arc<Index>,
    pub(crate) stale_after: Option<Duration>,
}

impl Replica {
    /// Reads the source to its end, and starts the task.
    pub(crate) async fn start(origin: Origin, settings: Settings) -> Result<Self, StartError> {
        let Origin {
            source,
            index,
            stale_after,
        } = origin;
        if let Some(bound) = stale_after
            && bound < STALE_AFTER_MIN
        {
            return Err(StartError::StaleAfter(bound));
        }
        let Settings { clock, uptime, .. } = settings;
        let mut confirmed = Confirmed::never(&uptime);
        let mut took_long = false;
        let mut delays = backoff().build();
        loop {
            let (asked, now) = (Moment::now(&uptime), clock());
            let synced = match source.sync(&index, now).await {
                Err(error @ SourceError::Unavailable(_)) if settings.waits_for_source => {
                    let error = chain(&error);
                    tracing::warn!(error, "the source cannot be read yet");
                    sleep(delays.next().unwrap_or_default()).await;
                    continue;
                }
                synced => synced?,
            };
            delays = backoff().build();
            let took = asked.elapsed();
            confirmed.update(synced, index.confirmed_at(), asked, now);
            if !index.is_ready() {
                // A sender has not sent everything yet.
                let until = Instant::now() + settings.poll_every;
                wait(&*source, &index, until)
                    .await
                    .map_err(SourceError::from)?;
                sleep(PAUSE_MIN).await;
            } else if took_long || stale_after.is_none_or(|bound| took <= bound / 4) {
                break;
            } else {
                // The next reading has few changes to read.
                took_long = true;
            }
        }
        let monitor = Monitor(Arc::new(Shared {
            usage: Arc::new(UsageRecorder::new(USAGE_CAPACITY)),
            verifier: index.verifier(stale_after),
            source,
            index,
            stale_after,
            clock,
            pauses: Pauses::new(),
            last_error: Mutex::new(None),
            lost_usage: AtomicU64::new(0),
        }));
        let follow = Follow::new(monitor.clone(), settings.poll_every, confirmed, uptime);
        let flusher = Flusher::new(monitor.clone(), settings.flush_usage_every);
        let (stop, stopped) = watch::channel(false);
        let (failed, failure) = watch::channel(None);
        let task = tokio::spawn(run(follow, flusher.clone(), failed, stopped));
        Ok(Self {
            monitor,
            failure,
            stop,
            flusher,
            task,
        })
    }

    /// The verifier. It records who used what.
    ///
    /// # Security
    ///
    /// It does not notice pauses of the process by itself: a server should ask [`Replica::pauses`] too, as by
    /// `keyfob_tower::Guard::with_pauses`.
    pub fn verifier(&self) -> Verifier {
        let shared = &self.monitor.0;
        shared
            .verifier
            .clone()
            .with_usage(Arc::clone(&shared.usage))
    }

    /// The index that the verifiers read.
    pub fn index(&self) -> &Arc<Index> {
        &self.monitor.0.index
    }

    /// The state of the replica, for health checks and metrics.
    pub fn status(&self) -> Status {
        self.monitor.status()
    }

    /// A handle that reads the state from elsewhere. It does not keep the replica running.
    pub fn monitor(&self) -> Monitor {
        self.monitor.clone()
    }

    /// Notices pauses of the process, from the first call on: calls that waited during one must not be decided
    /// by what was known before.
    pub fn pauses(&self) -> Pauses {
        let pauses = &self.monitor.0.pauses;
        pauses.watch();
        pauses.clone()
    }

    /// Waits until the replica cannot go on, and returns why. From then on its verifiers refuse
    /// every call with 503: end the process, and start a new one.
    ///
    /// A source that cannot be read is no such failure: it is tried again, and meanwhile the bound
    /// on staleness holds.
    pub async fn failed(&self) -> Failure {
        let mut failure = self.failure.clone();
        match failure.wait_for(Option::is_some).await {
            Ok(failure) => failure.clone().unwrap_or(Failure::Panicked),
            // The task ends without a word only if it panics.
            Err(_) => Failure::Panicked,
        }
    }

    /// Ends the task, and hands the last uses to the source. It takes 5 seconds at most; the
    /// number of uses that were not written by then is returned.
    pub async fn stop(mut self) -> u64 {
        self.stop.send_replace(true);
        let written = async {
            let _ = (&mut self.task).await;
            self.flusher.flush().await;
        };
        if timeout(STOP_WITHIN, written).await.is_err() {
            tracing::error!("the store did not take the last uses in time");
            if !self.task.is_finished() {
                self.task.abort();
                let _ = (&mut self.task).await;
            }
        }
        let lost = self.flusher.left();
        self.monitor.count_lost_usage(lost);
        lost
    }
}

impl Drop for Replica {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn run(
    follow: Follow,
    flusher: Flusher,
    failed: watch::Sender<Option<Failure>>,
    stopped: watch::Receiver<bool>,
) {
    let _guard = RefuseAfterPanic(follow.monitor.clone());
    let mut stop = stopped.clone();
    let following = async {
        tokio::select! {
            biased;
            () = stop_requested(&mut stop) => {}
            failure = follow.run() => {
                tracing::error!(error = %failure, "the store cannot be followed any more");
                failed.send_replace(Some(failure));
            }
        }
    };
    tokio::join!(following, flusher.run(stopped));
}

/// Refuses every call if the task panics.
struct RefuseAfterPanic(Monitor);

impl Drop for RefuseAfterPanic {
    fn drop(&mut self) {
        if thread::panicking() {
            self.0.0.index.invalidate();
        }
    }
}

/// The state of a [`Replica`], for health checks and metrics. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Monitor(pub(crate) Arc<Shared>);

pub(crate) struct Shared {
    pub(crate) source: Arc<dyn Source>,
    pub(crate) index: Arc<Index>,
    pub(crate) stale_after: Option<Duration>,
    pub(crate) usage: Arc<UsageRecorder>,
    /// Without usage.
    verifier: Verifier,
    pub(crate) clock: Clock,
    pub(crate) pauses: Pauses,
    last_error: Mutex<Option<String>>,
    lost_usage: AtomicU64,
}

impl Monitor {
    /// The state now.
    pub fn status(&self) -> Status {
        let shared = &self.0;
        let now = (shared.clock)();
        let confirmed_at = shared.index.confirmed_at();
        Status {
            revision: shared.index.as_of(),
            confirmed_at,
            clock_ahead: self.clock_fault().ahead,
            age: confirmed_at.map(|at| Duration::from_secs(now.seconds_since(at))),
            is_ready: shared.verifier.is_ready(now),
            last_error: self.last_error().clone(),
            lost_usage: shared.lost_usage.load(Ordering::Relaxed),
        }
    }

    /// Whether calls are decided now, or all refused with 503.
    pub fn is_ready(&self) -> bool {
        self.0.verifier.is_ready((self.0.clock)())
    }

    pub(crate) fn clock_fault(&self) -> ClockFault {
        let index = &self.0.index;
        ClockFault::of((self.0.clock)(), index.clock(), index.changed_at())
    }

    pub(crate) fn set_last_error(&self, error: Option<String>) {
        *self.last_error() = error;
    }

    fn last_error(&self) -> std::sync::MutexGuard<'_, Option<String>> {
        let last_error = self.0.last_error.lock();
        last_error.unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn count_lost_usage(&self, lost: u64) {
        if lost > 0 {
            tracing::warn!(lost, "some uses were not recorded");
            self.0.lost_usage.fetch_add(lost, Ordering::Relaxed);
            metrics::counter!(crate::metrics::USAGE_LOST).increment(lost);
        }
    }
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared")
            .field("index", &self.index)
            .field("stale_after", &self.stale_after)
            .field("last_error", &self.last_error)
            .field("lost_usage", &self.lost_usage)
            .finish_non_exhaustive()
    }
}

/// What a [`Replica`] tells of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Status {
    /// The store's revision up to which everything is known.
    pub revision: Revision,
    /// When everything was last known that the store had; none after a [`Failure`].
    pub confirmed_at: Option<Timestamp>,
    /// How long ago that was.
    pub age: Option<Duration>,
    /// How far the time by which calls are decided is ahead of the system's clock: that ran ahead,
    /// and then back. Keys that expire before that time are refused.
    pub clock_ahead: Duration,
    /// Whether calls are decided, or all refused with 503.
    pub is_ready: bool,
    /// Why the last attempt to read the store failed; none if it did not.
    pub last_error: Option<String>,
    /// How many uses were lost, for want of room or of a store that took them.
    pub lost_usage: u64,
}

/// The least bound on staleness: of a bound of one second, timestamps in whole seconds leave
/// nothing.
const STALE_AFTER_MIN: Duration = Duration::from_secs(2);
/// For how many credentials a thread has room between two flushes.
const USAGE_CAPACITY: usize = 16_384;
/// How long the end may take.
const STOP_WITHIN: Duration = Duration::from_secs(5);
