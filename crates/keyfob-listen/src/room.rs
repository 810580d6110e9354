//! The limit on connections.

use std::{num::NonZeroU32, sync::Arc};

use metrics::gauge;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

use crate::metrics::CONNECTIONS;

/// Has a place for each connection.
pub(crate) struct Room {
    places: Arc<Semaphore>,
    /// Whether a connection waits for a place.
    crowded: watch::Sender<bool>,
    name: &'static str,
}

impl Room {
    pub(crate) fn new(name: &'static str, most: NonZeroU32) -> Self {
        let most = most.get().min(PLACES_MAX);
        Self {
            places: Arc::new(Semaphore::new(usize::try_from(most).unwrap_or(usize::MAX))),
            crowded: watch::Sender::new(false),
            name,
        }
    }

    pub(crate) fn crowded(&self) -> watch::Receiver<bool> {
        self.crowded.subscribe()
    }

    /// Waits until there are fewer connections than the limit.
    pub(crate) async fn place(&mut self) -> Place {
        if let Ok(permit) = Arc::clone(&self.places).try_acquire_owned() {
            self.crowded.send_replace(false);
            return Place::new(permit, self.name);
        }
        if !self.crowded.send_replace(true) {
            let listener = self.name;
            tracing::warn!(
                listener,
                "the limit on connections is reached: new ones wait"
            );
        }
        match Arc::clone(&self.places).acquire_owned().await {
            Ok(permit) => Place::new(permit, self.name),
            // The semaphore is never closed.
            Err(_) => std::future::pending().await,
        }
    }
}

/// A semaphore of Tokio has room for at least that many.
const PLACES_MAX: u32 = u32::MAX >> 4;

/// The place of an open connection, which is counted until it is dropped.
pub(crate) struct Place {
    _permit: OwnedSemaphorePermit,
    name: &'static str,
}

impl Place {
    fn new(permit: OwnedSemaphorePermit, name: &'static str) -> Self {
        gauge!(CONNECTIONS, "listener" => name).increment(1.0);
        Self {
            _permit: permit,
            name,
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        gauge!(CONNECTIONS, "listener" => self.name).decrement(1.0);
    }
}
