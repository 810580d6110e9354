//! Writing usage to the store.

use std::time::Duration;

use keyfob::gateway::{Usage, UsageRecorder};
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

    /// Writes down what the last calls used. What a failing store does not take stays for the next
    /// time.
    pub(crate) async fn flush(&self) {
        let shared = &self.monitor.0;
        let (batch, without_room) = shared.usage.drain();
        self.monitor.count_lost_usage(without_room);
        if batch.is_empty() {
            return;
        }
        let mut taken = Taken {
            batch,
            recorder: &shared.usage,
        };
        let recorded = shared.source.record_usage(&taken.batch);
        let error = match timeout(FLUSH_WITHIN, recorded).await {
            Ok(Ok(())) => return taken.batch.clear(),
            Ok(Err(error)) => chain(&error),
            Err(_) => format!("no answer within {FLUSH_WITHIN:?}"),
        };
        counter!(names::USAGE_FLUSH_FAILURES).increment(1);
        tracing::error!(error, "usage could not be written to the store");
    }
}

/// Usage taken from a recorder; it returns to the recorder unless the source took it.
struct Taken<'a> {
    batch: Vec<Usage>,
    recorder: &'a UsageRecorder,
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        for usage in &self.batch {
            self.recorder.record(usage);
        }
    }
}

/// Waits until the replica is to stop, or was dropped.
pub(crate) async fn stop_requested(stopped: &mut watch::Receiver<bool>) {
    let _ = stopped.wait_for(|stop| *stop).await;
}

const EVERY_MIN: Duration = Duration::from_millis(10);
/// How long the store may take to write a batch.
const FLUSH_WITHIN: Duration = Duration::from_secs(30);
