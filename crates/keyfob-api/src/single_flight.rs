//! Serializes requests that are the same.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use tokio::sync::{Mutex as AsyncMutex, OwnedMutexGuard};

/// Lets one request at a time through for each digest; the others wait.
///
/// The lock of the table is held during a look-up, never across an await.
#[derive(Debug, Default)]
pub(crate) struct SingleFlight {
    turns: Arc<Turns>,
}

type Turns = Mutex<HashMap<Digest, Arc<AsyncMutex<()>>>>;

/// What makes two requests the same.
pub(crate) type Digest = [u8; 32];

impl SingleFlight {
    /// Waits until no other request has this digest's turn. The turn ends when the guard is dropped.
    pub(crate) async fn turn(&self, digest: Digest) -> Turn {
        let lock = {
            let mut turns = self.turns.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(turns.entry(digest).or_default())
        };
        // Made before the wait: a request that is dropped while it waits also cleans up.
        let mut turn = Turn {
            turns: Arc::clone(&self.turns),
            digest,
            guard: None,
        };
        turn.guard = Some(lock.lock_owned().await);
        turn
    }
}

/// A request's turn.
#[derive(Debug)]
pub(crate) struct Turn {
    turns: Arc<Turns>,
    digest: Digest,
    guard: Option<OwnedMutexGuard<()>>,
}

impl Drop for Turn {
    fn drop(&mut self) {
        let mut turns = self.turns.lock().unwrap_or_else(PoisonError::into_inner);
        drop(self.guard.take());
        // Only the table still holds it: no request waits.
        if turns
            .get(&self.digest)
            .is_some_and(|turn| Arc::strong_count(turn) == 1)
        {
            turns.remove(&self.digest);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn equal_requests_are_serialized_and_leave_no_entry() {
        let flight = Arc::new(SingleFlight::default());
        let inside = Arc::new(AtomicU32::new(0));
        let tasks: Vec<_> = (0..64)
            .map(|_| {
                let (flight, inside) = (Arc::clone(&flight), Arc::clone(&inside));
                tokio::spawn(async move {
                    let turn = flight.turn([1; 32]).await;
                    assert_eq!(inside.fetch_add(1, Ordering::SeqCst), 0);
                    tokio::task::yield_now().await;
                    inside.fetch_sub(1, Ordering::SeqCst);
                    drop(turn);
                })
            })
            .collect();
        let other = flight.turn([2; 32]).await;
        let impatient = tokio::time::timeout(std::time::Duration::ZERO, flight.turn([2; 32]));
        assert!(impatient.await.is_err());
        for task in tasks {
            task.await.unwrap();
        }
        drop(other);
        assert!(flight.turns.lock().unwrap().is_empty());
    }
}
