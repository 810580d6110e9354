//! Writing usage to the store.

use std::time::Duration;

use keyfob::key::SystemRandom;
use metrics::counter;
use tokio::{
    sync::watch,
    time::{Instant, MissedTickBehavior, interval_at, timeout},
};

use crate::{error::chain, metrics as names, replica::Monitor};

/// Writes usage to the store, one batch for all calls since the last one.
#[derive(Clone, Debug)]
pub(crate) struct Flusher {
    monitor: Monitor,
    every: Duration,
}

impl Flusher {
    pub(crate) fn new(monitor: Monitor, every: Duration) -> Self {
        Self {
            monitor,
            every: every.max(EVERY_MIN),
        }
    }

    /// Flushes until it is to stop. It ends between two batches, never within one.
    pub(crate) async fn run(&self, mut stopped: watch::Receiver<bool>) {
        let mut ticks = interval_at(Instant::now() + self.every, self.every);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                biased;
                () = stop_requested(&mut stopped) => return,
                _ = ticks.tick() => {}
            }
            self.flush().await;
        }
    }

    /// Hands over what the last calls used, and how far the replica is. A batch that the source did
    /// not take stays for the next time, unchanged.
    pub(crate) async fn flush(&self) {
        let shared = &self.monitor.0;
        // What was left before, and then all usage since.
        for _ in 0..=shared.usage.waiting() {
            let batch = match shared.usage.batch(&SystemRandom, (shared.clock)()) {
                Ok(batch) => batch,
                Err(error) => {
                    tracing::error!(%error, "usage cannot be handed over");
                    break;
                }
            };
            let report = shared.source.report(batch.as_ref(), (shared.clock)());
            let error = match timeout(FLUSH_WITHIN, report).await {
                Ok(Ok(())) => match batch {
                    Some(batch) => {
                        shared.usage.confirm(batch.sequence);
                        continue;
                    }
                    None => break,
                },
                Ok(Err(error)) => chain(&error),
                Err(_) => format!("no answer within {FLUSH_WITHIN:?}"),
            };
            if batch.is_some() {
                counter!(names::USAGE_FLUSH_FAILURES).increment(1);
                tracing::error!(error, "usage could not be written to the store");
            } else {
                tracing::debug!(error, "the state of the replica could not be reported");
            }
            break;
        }
        self.monitor.count_lost_usage(shared.usage.take_lost());
    }

    /// The uses that were not handed over: after the end, they are lost.
    pub(crate) fn left(&self) -> u64 {
        let usage = &self.monitor.0.usage;
        let unconfirmed = if usage.has_unconfirmed() {
            let now = (self.monitor.0.clock)();
            usage.batch(&SystemRandom, now).ok().flatten()
        } else {
            None
        };
        let (left, without_room) = usage.drain();
        unconfirmed
            .iter()
            .flat_map(|batch| &batch.usage)
            .chain(&left)
            .map(|delta| delta.count)
            .fold(without_room, u64::saturating_add)
    }
}

/// Waits until the replica is to stop, or was dropped.
pub(crate) async fn stop_requested(stopped: &mut watch::Receiver<bool>) {
    let _ = stopped.wait_for(|stop| *stop).await;
}

const EVERY_MIN: Duration = Duration::from_millis(10);
/// How long the store may take to write a batch.
const FLUSH_WITHIN: Duration = Duration::from_secs(30);
