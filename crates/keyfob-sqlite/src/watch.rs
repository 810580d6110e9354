//! Waiting for changes, also for those of other processes.

use std::{
    io,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use keyfob::store::Revision;
use rusqlite::Connection;

use crate::{bell::Bell, snapshot::head};

/// Waits for changes of a store, whoever makes them: [`SqliteStore::watch`].
///
/// It is made for whoever follows the feed:
///
/// ```
/// # use std::{sync::Arc, time::Duration};
/// # use keyfob::{gateway::{FollowError, Index}};
/// # use keyfob_sqlite::SqliteStore;
/// async fn follow(store: SqliteStore, index: Arc<Index>) -> Result<(), FollowError> {
///     let mut watch = store.watch();
///     loop {
///         index.follow(&store).await?;
///         watch.changed(Duration::from_secs(1)).await;
///     }
/// }
/// ```
///
/// [`SqliteStore::watch`]: crate::SqliteStore::watch
#[derive(Debug)]
pub struct Watch {
    watcher: Arc<Watcher>,
    seen: Revision,
}

impl Watch {
    /// Waits until something may have changed since the last call, or for `at_most`, whichever
    /// comes first. What changed before the first call and after [`SqliteStore::watch`] counts.
    ///
    /// A change of this process is told at once, one of another after the
    /// [interval](crate::Options::with_interval). The future needs no runtime.
    ///
    /// [`SqliteStore::watch`]: crate::SqliteStore::watch
    pub async fn changed(&mut self, at_most: Duration) {
        let now = Instant::now();
        let until = now.checked_add(at_most).unwrap_or(now + AGE);
        let bell = &self.watcher.bell;
        if let Some(rung) = bell.wait(self.seen, until) {
            // Told, or sent away because the time is over.
            let _ = rung.await;
        }
        self.seen = bell.head();
    }
}

/// The thread that looks for changes of other processes while somebody waits.
#[derive(Debug)]
pub(crate) struct Watcher {
    bell: Arc<Bell>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Watcher {
    pub(crate) fn start(
        connection: Connection,
        bell: Arc<Bell>,
        interval: Duration,
    ) -> io::Result<Self> {
        let rung = Arc::clone(&bell);
        let thread = thread::Builder::new()
            .name("keyfob-sqlite-watcher".into())
            .spawn(move || {
                while rung.sleep(interval) {
                    // While the database cannot be read nothing is told, and whoever waits goes
                    // on when the time is over.
                    if let Ok((head, _)) = head(&connection) {
                        rung.ring(head);
                    }
                }
            })?;
        Ok(Self {
            bell,
            thread: Some(thread),
        })
    }

    pub(crate) fn watch(self: &Arc<Self>) -> Watch {
        Watch {
            watcher: Arc::clone(self),
            seen: self.bell.head(),
        }
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        self.bell.close();
        if let Some(thread) = self.thread.take() {
            // It does nothing that could panic and be missed.
            let _ = thread.join();
        }
    }
}

/// Longer than anybody waits.
const AGE: Duration = Duration::from_hours(24 * 365);
