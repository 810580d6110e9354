//! The loop that follows the source.

use std::{sync::Arc, time::Duration};

use backon::{BackoffBuilder, ExponentialBuilder};
use keyfob::{
    Timestamp,
    gateway::{Index, IndexError},
    manage::KeyringBuilder,
};
use metrics::{counter, gauge};
use tokio::time::{Instant, error::Elapsed, sleep_until, timeout_at};

use crate::{
    Failure, Pauses, Source, SourceError, Synced,
    clock::{Moment, Uptime, Watch},
    error::chain,
    metrics as names,
    replica::Monitor,
};

pub(crate) struct Follow {
    pub(crate) monitor: Monitor,
    /// The longest time between two readings.
    interval: Duration,
    /// The bound on staleness.
    bound: Duration,
    /// How long one attempt to read the source may take. What was read by then is in force, and the
    /// next attempt continues there.
    attempt: Duration,
    started: Confirmed,
    uptime: Uptime,
}

/// The last confirmation of the index, and its age by the clocks that cannot be set.
#[derive(Clone)]
pub(crate) struct Confirmed {
    /// The time as of which the index was confirmed; none if it never was.
    stamp: Option<Timestamp>,
    /// When that became known.
    seen: Moment,
    /// How old the confirmation was then.
    age: Duration,
}

impl Confirmed {
    /// The confirmation of an index that was never confirmed.
    pub(crate) fn never(uptime: &Uptime) -> Self {
        Self {
            stamp: None,
            seen: Moment::now(uptime),
            age: Duration::ZERO,
        }
    }

    /// Takes note of what a reading confirmed that began at `asked`, when the time was `now`.
    pub(crate) fn update(
        &mut self,
        synced: Synced,
        stamp: Option<Timestamp>,
        asked: Moment,
        now: Timestamp,
    ) {
        match synced {
            Synced::ToEnd => {
                *self = Self {
                    stamp,
                    seen: asked,
                    age: Duration::ZERO,
                };
            }
            Synced::AsSent => self.observe(stamp, asked, now),
        }
    }

    /// Takes note of a confirmation that was seen when the time was `now`. The one that is known
    /// already keeps its age, also if it is sent again after every call was refused for it.
    fn observe(&mut self, stamp: Option<Timestamp>, seen: Moment, now: Timestamp) {
        if let Some(confirmed) = stamp
            && stamp != self.stamp
        {
            *self = Self {
                stamp,
                seen,
                age: Duration::from_secs(now.seconds_since(confirmed)),
            };
        }
    }

    fn elapsed(&self) -> Duration {
        self.age.saturating_add(self.seen.elapsed())
    }
}

impl Follow {
    /// For an index that was last confirmed as `started` says.
    pub(crate) fn new(
        monitor: Monitor,
        poll_every: Duration,
        started: Confirmed,
        uptime: Uptime,
    ) -> Self {
        let bound = monitor.0.stale_after;
        let longest = bound.unwrap_or(KeyringBuilder::STALE_AFTER);
        let attempt = longest / 4;
        let interval = bound.map_or(poll_every, |bound| poll_every.min(bound / 4));
        Self {
            monitor,
            interval: interval.max(PAUSE_MIN),
            bound: longest,
            attempt,
            started,
            uptime,
        }
    }

    /// Follows the source until that is no longer possible.
    pub(crate) async fn run(&self) -> Failure {
        let shared = &self.monitor.0;
        let index = &shared.index;
        let mut confirmed = self.started.clone();
        self.hold_to_bound(&mut confirmed);
        let mut delays = None;
        let mut watch = Watch::new(Arc::clone(&shared.clock), &self.uptime);
        loop {
            self.report(&mut watch);
            let (before, turn) = (index.as_of(), Instant::now());
            match &mut delays {
                None => {
                    let until = self.within_bound(&confirmed, turn + self.interval);
                    let waited = tokio::select! {
                        waited = wait(&*shared.source, index, until) => waited,
                        () = shared.pauses.woken() => Ok(()),
                    };
                    if let Err(error) = waited {
                        return self.fail(error);
                    }
                }
                Some(delays) => {
                    let delay = Iterator::next(delays).unwrap_or(DELAY_MAX);
                    sleep_until(self.within_bound(&confirmed, turn + delay)).await;
                }
            }
            let (asked, now) = (Moment::now(&self.uptime), (shared.clock)());
            let asked_at = Pauses::now();
            let limit = self.within_bound(&confirmed, asked.at + self.attempt);
            let error = match timeout_at(limit, shared.source.sync(index, now)).await {
                Ok(Ok(synced)) => {
                    if delays.take().is_some() {
                        tracing::info!("the store can be read again");
                        self.monitor.set_last_error(None);
                    }
                    confirmed.update(synced, index.confirmed_at(), asked, now);
                    // What was sent may be too old already.
                    self.hold_to_bound(&mut confirmed);
                    let stamp = index.confirmed_at();
                    shared.pauses.confirm(synced, stamp, asked_at, self.bound);
                    if index.as_of() == before {
                        // A source may wake its follower too early, but not without a pause.
                        sleep_until(turn + PAUSE_MIN).await;
                    }
                    continue;
                }
                Ok(Err(SourceError::Index(error))) => return self.fail(error),
                Ok(Err(error)) => chain(&error),
                Err(Elapsed { .. }) => {
                    let time = limit - asked.at;
                    if time < self.attempt && delays.is_some() {
                        // The bound passes: the error before says more.
                        self.hold_to_bound(&mut confirmed);
                        continue;
                    }
                    format!("no answer within {time:?}")
                }
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

    fn fail(&self, error: IndexError) -> Failure {
        self.monitor.0.index.invalidate();
        self.monitor.set_last_error(Some(error.to_string()));
        error.into()
    }

    /// Refuses every call once the bound has passed by the monotonic clock. By the clock of the
    /// verifiers it has not, if that has run back meanwhile.
    fn hold_to_bound(&self, confirmed: &mut Confirmed) {
        let shared = &self.monitor.0;
        // Another task may have read the store, as after a change that this process made.
        let stamp = shared.index.confirmed_at();
        confirmed.observe(stamp, Moment::now(&self.uptime), (shared.clock)());
        if self.left(confirmed).is_some_and(|left| left.is_zero()) {
            shared.index.invalidate();
        }
    }

    /// How long it is until the bound passes; none if there is none, or every call is refused.
    fn left(&self, confirmed: &Confirmed) -> Option<Duration> {
        let shared = &self.monitor.0;
        let bound = shared.stale_after?;
        shared.index.confirmed_at()?;
        Some(bound.saturating_sub(confirmed.elapsed()))
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

/// Waits until there may be something new, or until a moment.
pub(crate) async fn wait(
    source: &dyn Source,
    index: &Index,
    until: Instant,
) -> Result<(), IndexError> {
    match timeout_at(until, source.wait(index)).await {
        Ok(Ok(true)) | Err(Elapsed { .. }) => {}
        Ok(Ok(false)) => sleep_until(until).await,
        Ok(Err(SourceError::Index(error))) => return Err(error),
        Ok(Err(error)) => {
            tracing::debug!(error = chain(&error), "the store cannot tell of changes");
            sleep_until(until).await;
        }
    }
    Ok(())
}

/// The pauses after failures: doubled each time, with jitter, so that the processes of a fleet do
/// not all come back at once.
pub(crate) fn backoff() -> ExponentialBuilder {
    ExponentialBuilder::default()
        .with_min_delay(DELAY_MIN)
        .with_max_delay(DELAY_MAX)
        .without_max_times()
        .with_jitter()
}

/// The least and the longest pause, without its jitter.
const DELAY_MIN: Duration = Duration::from_millis(50);
const DELAY_MAX: Duration = Duration::from_secs(1);
/// The least time between two readings that find nothing new.
pub(crate) const PAUSE_MIN: Duration = Duration::from_millis(10);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processes_that_fail_together_do_not_come_back_together() {
        let pauses = |n: usize| backoff().build().nth(n).unwrap();
        for n in 0..8 {
            let base = DELAY_MAX.min(DELAY_MIN * (1 << n));
            let mut fleet: Vec<Duration> = (0..200).map(|_| pauses(n)).collect();
            fleet.sort();
            let (first, last) = (fleet[0], fleet[199]);
            assert!(first >= base && last <= 2 * base, "{n}: {first:?} {last:?}");
            // Spread over the time of the pause, and not in one part of it.
            assert!(last > first + base * 3 / 4, "{n}: {first:?} {last:?}");
            let half = fleet.iter().filter(|pause| **pause < base * 3 / 2).count();
            assert!((60..=140).contains(&half), "{n}: {half}");
        }
    }
}
