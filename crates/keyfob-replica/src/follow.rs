//! The loop that follows the store.

use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBuilder};
use keyfob::{Timestamp, gateway::FollowError, manage::KeyringBuilder};
use metrics::{counter, gauge};
use tokio::time::{Instant, error::Elapsed, sleep_until, timeout_at};

use crate::{Failure, error::chain, metrics as names, replica::Monitor};

pub(crate) struct Follow {
    pub(crate) monitor: Monitor,
    /// The longest time between two readings.
    interval: Duration,
    /// How long one attempt to read the store may take. What was read by then is in force, and the
    /// next attempt continues there.
    attempt: Duration,
    started: Instant,
}

/// When the index was last confirmed.
struct Confirmed {
    /// By the monotonic clock.
    at: Instant,
    /// By the clock of the verifiers; none if every call is refused.
    stamp: Option<Timestamp>,
}

impl Follow {
    /// For an index that was confirmed at `started`.
    pub(crate) fn new(monitor: Monitor, poll_every: Duration, started: Instant) -> Self {
        let bound = monitor.0.keyring.stale_after();
        let attempt = bound.unwrap_or(KeyringBuilder::STALE_AFTER) / 4;
        let interval = bound.map_or(poll_every, |bound| poll_every.min(bound / 4));
        Self {
            monitor,
            interval: interval.max(PAUSE_MIN),
            attempt,
            started,
        }
    }

    /// Follows the store until that is no longer possible.
    pub(crate) async fn run(&self) -> Failure {
        let keyring = &self.monitor.0.keyring;
        let index = keyring.index();
        let mut confirmed = Confirmed {
            at: self.started,
            stamp: index.confirmed_at(),
        };
        let mut delays = None;
        loop {
            self.report();
            let (before, turn) = (index.as_of(), Instant::now());
            match &mut delays {
                None => self.wait().await,
                Some(delays) => {
                    let delay = Iterator::next(delays).unwrap_or(DELAY_MAX);
                    sleep_until(self.within_bound(&confirmed, turn + delay)).await;
                }
            }
            let asked = Instant::now();
            let limit = self.within_bound(&confirmed, asked + self.attempt);
            let sync = keyring.sync((self.monitor.0.clock)());
            let error = match timeout_at(limit, sync).await {
                Ok(Ok(_)) => {
                    if delays.take().is_some() {
                        tracing::info!("the store can be read again");
                        self.monitor.set_last_error(None);
                    }
                    let stamp = index.confirmed_at();
                    confirmed = Confirmed { at: asked, stamp };
                    if index.as_of() == before {
                        // A store may wake its follower too early, but not without a pause.
                        sleep_until(turn + PAUSE_MIN).await;
                    }
                    continue;
                }
                Ok(Err(FollowError::Index(error))) => {
                    index.invalidate();
                    self.monitor.set_last_error(Some(error.to_string()));
                    return error.into();
                }
                Ok(Err(error)) => chain(&error),
                Err(Elapsed { .. }) => format!("no answer within {:?}", limit - asked),
            };
            counter!(names::FOLLOW_FAILURES).increment(1);
            if delays.is_none() {
                tracing::error!(error, "the store cannot be read");
                delays = Some(backoff().build());
            }
            self.monitor.set_last_error(Some(error));
            self.hold_to_bound(&mut confirmed);
        }
    }

    /// Waits until the store may have changed, or for the interval.
    async fn wait(&self) {
        let until = Instant::now() + self.interval;
        let keyring = &self.monitor.0.keyring;
        let change = keyring.store().wait_for_change(keyring.index().as_of());
        match timeout_at(until, change).await {
            Ok(Ok(true)) | Err(Elapsed { .. }) => {}
            Ok(Ok(false)) => sleep_until(until).await,
            Ok(Err(error)) => {
                tracing::debug!(error = chain(&error), "the store cannot tell of changes");
                sleep_until(until).await;
            }
        }
    }

    /// Refuses every call once the bound has passed by the monotonic clock. By the clock of the
    /// verifiers it has not, if that has run back meanwhile.
    fn hold_to_bound(&self, confirmed: &mut Confirmed) {
        let index = self.monitor.0.keyring.index();
        let (now, stamp) = (Instant::now(), index.confirmed_at());
        if stamp != confirmed.stamp {
            // Another task read the store, as after a change that this process made.
            *confirmed = Confirmed { at: now, stamp };
        } else if self.bound_of(confirmed).is_some_and(|bound| bound <= now) {
            index.invalidate();
            confirmed.stamp = None;
        }
    }

    /// The time at which the bound passes; none if there is none, or every call is refused.
    fn bound_of(&self, confirmed: &Confirmed) -> Option<Instant> {
        confirmed.stamp?;
        Some(confirmed.at + self.monitor.0.keyring.stale_after()?)
    }

    fn within_bound(&self, confirmed: &Confirmed, moment: Instant) -> Instant {
        self.bound_of(confirmed)
            .map_or(moment, |bound| moment.min(bound))
    }

    fn report(&self) {
        let status = self.monitor.status();
        #[expect(clippy::cast_precision_loss, reason = "a gauge is a float")]
        gauge!(names::INDEX_REVISION).set(status.revision.get() as f64);
        if let Some(age) = status.age {
            gauge!(names::INDEX_AGE).set(age.as_secs_f64());
        }
    }
}

/// The pauses after failures: doubled each time, with jitter, so that the processes of a fleet do
/// not all come back at once.
fn backoff() -> ExponentialBuilder {
    ExponentialBuilder::default()
        .with_min_delay(DELAY_MIN)
        .with_max_delay(DELAY_MAX)
        .without_max_times()
        .with_jitter()
}

const DELAY_MIN: Duration = Duration::from_millis(50);
const DELAY_MAX: Duration = Duration::from_secs(1);
const PAUSE_MIN: Duration = Duration::from_millis(10);
