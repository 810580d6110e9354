//! Carrying to the store who used what.

use std::{pin::pin, sync::Arc, time::Duration};

use keyfob::{Keyring, UsageRecorder};
use metrics::counter;
use tokio::sync::watch;

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

    /// What a failing store does not take stays for the next time.
    pub(super) async fn flush(&self) {
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
