//! The limit on connections.

use std::{
    num::NonZeroU32,
    sync::Arc,
    time::{Duration, Instant},
};

use metrics::gauge;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, watch},
    time::timeout,
};

use crate::metrics::CONNECTIONS;

/// Has a place for each connection.
pub(crate) struct Room {
    places: Arc<Semaphore>,
    most: u32,
    /// Whether a connection waits for a place, or did a moment ago.
    crowded: watch::Sender<bool>,
    /// When a connection waited last.
    waited: Option<Instant>,
    /// When the log last said so.
    said: Option<Instant>,
    name: &'static str,
}

impl Room {
    pub(crate) fn new(name: &'static str, most: NonZeroU32) -> Self {
        let most = most.get().min(PLACES_MAX);
        Self {
            places: Arc::new(Semaphore::new(usize::try_from(most).unwrap_or(usize::MAX))),
            most,
            crowded: watch::Sender::new(false),
            waited: None,
            said: None,
            name,
        }
    }

    pub(crate) fn crowded(&self) -> watch::Receiver<bool> {
        self.crowded.subscribe()
    }

    /// The next connection, unless there is none soon after one that had to wait: then nobody waits any more.
    pub(crate) async fn settle<T>(&mut self, next: impl Future<Output = T>) -> Option<T> {
        if !*self.crowded.borrow() {
            return Some(next.await);
        }
        let next = timeout(SETTLED, next).await;
        if next.is_err() {
            self.waited = None;
            self.crowded.send_replace(false);
        }
        next.ok()
    }

    /// Waits until there is no connection.
    pub(crate) async fn empty(&self) {
        let _ = self.places.acquire_many(self.most).await;
    }

    /// Waits until there are fewer connections than the limit.
    pub(crate) async fn place(&mut self) -> Place {
        if let Ok(permit) = Arc::clone(&self.places).try_acquire_owned() {
            if self.waited.is_some_and(|at| at.elapsed() > SETTLED) {
                self.waited = None;
                self.crowded.send_replace(false);
            }
            return Place::new(permit, self.name);
        }
        self.crowded.send_replace(true);
        if self.said.is_none_or(|said| said.elapsed() > SAID_EVERY) {
            self.said = Some(Instant::now());
            let listener = self.name;
            tracing::warn!(
                listener,
                "the limit on connections is reached: new ones wait"
            );
        }
        let permit = Arc::clone(&self.places).acquire_owned().await;
        self.waited = Some(Instant::now());
        match permit {
            Ok(permit) => Place::new(permit, self.name),
            // The semaphore is never closed.
            Err(_) => std::future::pending().await,
        }
    }
}

/// How long after the last connection that waited nobody else does, if there is a place. It is shorter than the time without a request
/// after which a connection makes room, so that they all make room for one that waited, and none for nobody.
const SETTLED: Duration = Duration::from_millis(200);

/// How often the log says that connections wait.
const SAID_EVERY: Duration = Duration::from_secs(10);

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
