//! The loop that follows the store.

use std::{sync::Arc, time::Duration};

use backon::{BackoffBuilder, ExponentialBuilder};
use keyfob::{Timestamp, gateway::FollowError, manage::KeyringBuilder};
use metrics::{counter, gauge};
use tokio::time::{Instant, error::Elapsed, sleep_until, timeout_at};

use crate::{
    Failure,
    clock::{Moment, Uptime, Watch},
    error::chain,
    metrics as names,
    replica::Monitor,
};

pub(crate) struct Follow {
    pub(crate) monitor: Monitor,
    /// The longest time between two readings.
    interval: Duration,
    /// How long one attempt to read the store may take. What was read by then is in force, and the
    /// next attempt continues there.
    attempt: Duration,
    started: Moment,
    uptime: Uptime,
}

/// When the index was last confirmed.
struct Confirmed {
    /// By the clocks that cannot be set.
    at: Moment,
    /// By the clock of the verifiers; none if every call is refused.
    stamp: Option<Timestamp>,
}

impl Follow {
    /// For an index that was confirmed at `started`.
    pub(crate) fn new(
        monitor: Monitor,
        poll_every: Duration,
        started: Moment,
        uptime: Uptime,
    ) -> Self {
        let bound = monitor.0.keyring.stale_after();
        let attempt = bound.unwrap_or(KeyringBuilder::STALE_AFTER) / 4;
        let interval = bound.map_or(poll_every, |bound| poll_every.min(bound / 4));
        Self {
            monitor,
            interval: interval.max(PAUSE_MIN),
            attempt,
            started,
            uptime,
        }
    }

    /// Follows the store until that is no longer possible.
    pub(crate) async fn run(&self) -> Failure {
        let keyring = &self.monitor.0.keyring;
        let index = keyring.index();
        let mut confirmed = Confirmed {
            at: self.started.clone(),
            stamp: index.confirmed_at(),
        };
        let mut delays = None;
        let clock = Arc::clone(&self.monitor.0.clock);
        let mut watch = Watch::new(clock, &self.uptime);
        loop {
            self.report(&mut watch);
            let (before, turn) = (index.as_of(), Instant::now());
            match &mut delays {
                None => self.wait().await,
                Some(delays) => {
                    let delay = Iterator::next(delays).unwrap_or(DELAY_MAX);
                    sleep_until(self.within_bound(&confirmed, turn + delay)).await;
                }
            }
            let asked = Moment::now(&self.uptime);
            let limit = self.within_bound(&confirmed, asked.at + self.attempt);
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
                Err(Elapsed { .. }) => format!("no answer within {:?}", limit - asked.at),
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
        let stamp = index.confirmed_at();
        if stamp != confirmed.stamp {
            // Another task read the store, as after a change that this process made.
            let at = Moment::now(&self.uptime);
            *confirmed = Confirmed { at, stamp };
        } else if self.left(confirmed).is_some_and(|left| left.is_zero()) {
            index.invalidate();
            confirmed.stamp = None;
        }
    }

    /// How long it is until the bound passes; none if there is none, or every call is refused.
    fn left(&self, confirmed: &Confirmed) -> Option<Duration> {
        confirmed.stamp?;
        let bound = self.monitor.0.keyring.stale_after()?;
        Some(bound.saturating_sub(confirmed.at.elapsed()))
    }

    fn within_bound(&self, confirmed: &Confirmed, moment: Instant) -> Instant {
        self.left(confirmed)
            .map_or(moment, |left| moment.min(Instant::now() + left))
    }

    fn report(&self, watch: &mut Watch) {
        let status = self.monitor.status();
        let fault = self.monitor.clock_fault();
        watch.look(fault, &self.uptime);
        gauge!(names::CLOCK_AHEAD).set(fault.ahead.as_secs_f64());
        gauge!(names::CLOCK_BEHIND).set(fault.behind.as_secs_f64());
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
