//! Carrying to the store who used what.

use std::{pin::pin, sync::Arc, time::Duration};

use keyfob::{Keyring, gateway::UsageRecorder};
use metrics::counter;
use tokio::{sync::watch, task::JoinHandle, time::timeout};

use crate::{failure::with_sources, store::Store};

use super::{closed, measures};

/// Carries usage to the store, one batch at a time however many calls there were.
#[derive(Clone)]
pub(super) struct Flusher {
    pub(super) keyring: Arc<Keyring<Store>>,
    pub(super) usage: Arc<UsageRecorder>,
}

impl Flusher {
    /// Flushes until the server stops. It ends between two batches, never within one.
    pub(super) async fn run(self, every: Duration, stopped: watch::Receiver<()>) {
        let mut stop = pin!(closed(stopped));
        let mut ticks = tokio::time::interval(every);
        loop {
            tokio::select! {
                biased;
                () = &mut stop => return,
                _ = ticks.tick() => self.flush().await,
            }
        }
    }

    /// Writes down what the last calls used, if the store takes it within this time, and says what
    /// it did not take.
    pub(super) async fn finish(&self, mut running: JoinHandle<()>, within: Duration) {
        let written = async {
            let _ = (&mut running).await;
            self.flush().await;
        };
        if timeout(within, written).await.is_err() {
            tracing::error!("the store did not take the last uses in time");
            if !running.is_finished() {
                // What it holds goes back to the recorder.
                running.abort();
                let _ = running.await;
            }
        }
        let (left, without_room) = self.usage.drain();
        let uses = left.iter().map(|usage| usage.accepted + usage.refused);
        let lost = uses.sum::<u64>() + without_room;
        if lost > 0 {
            counter!(measures::USAGE_LOST).increment(lost);
            let credentials = left.len();
            tracing::warn!(lost, credentials, "some uses were not counted");
        }
    }

    /// What a failing store does not take stays for the next time.
    async fn flush(&self) {
        match self.keyring.flush_usage(&self.usage).await {
            Ok(0) => {}
            Ok(lost) => {
                counter!(measures::USAGE_LOST).increment(lost);
                tracing::warn!(lost, "some uses were not counted");
            }
            Err(error) => {
                counter!(measures::FLUSH_FAILED).increment(1);
                let error = with_sources(&error);
                tracing::error!(error, "usage was not written down");
            }
        }
    }
}
