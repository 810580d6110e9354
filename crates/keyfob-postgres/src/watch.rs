//! Waiting for changes, also for those of other machines.

use std::time::Duration;

use tokio::{
    sync::{mpsc, watch},
    task::JoinHandle,
    time::{Instant, MissedTickBehavior, interval, timeout_at},
};
use tokio_postgres::AsyncMessage;

use crate::{DatabaseError, connect::Connector, retry::Backoff, row::Columns, sql};

/// Waits for changes of a store, whoever makes them: [`PostgresStore::watch`].
///
/// A connection of its own listens for notices, which wake it within milliseconds. Notices can be
/// lost; so the head of the log is asked for at every
/// [interval](crate::Options::with_poll_interval) too, and after each time that the connection was
/// lost and made anew. What is lost costs delay, and never a change.
///
/// It is made for whoever follows the feed:
///
/// ```no_run
/// # use std::{sync::Arc, time::Duration};
/// # use keyfob::{gateway::{FollowError, Index}};
/// # use keyfob_postgres::PostgresStore;
/// async fn follow(store: PostgresStore, index: Arc<Index>) {
///     let mut watch = store.watch();
///     loop {
///         // While the database cannot be reached, the index stays as it is.
///         let _ = index.follow(&store).await;
///         watch.changed(Duration::from_secs(1)).await;
///     }
/// }
/// ```
///
/// [`PostgresStore::watch`]: crate::PostgresStore::watch
#[derive(Debug)]
pub struct Watch {
    connector: Connector,
    interval: Duration,
    listening: Option<Listening>,
}

/// The task that listens. It ends when this goes.
#[derive(Debug)]
struct Listening {
    /// The last head of the log that is known; none at first.
    head: watch::Receiver<Option<u64>>,
    task: JoinHandle<()>,
}

impl Drop for Listening {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Watch {
    pub(crate) fn new(connector: Connector, interval: Duration) -> Self {
        Self {
            connector,
            interval,
            listening: None,
        }
    }

    /// Waits until something may have changed since the last call, or for `at_most`, whichever
    /// comes first. The first call begins to listen, and returns as soon as it does: whatever was
    /// changed before that is there to be read.
    ///
    /// While the database cannot be reached this waits for `at_most`.
    pub async fn changed(&mut self, at_most: Duration) {
        let until = Instant::now()
            .checked_add(at_most)
            .unwrap_or_else(|| Instant::now() + AGE);
        let listening = self.listening.get_or_insert_with(|| {
            let (tell, head) = watch::channel(None);
            let task = tokio::spawn(listen(self.connector.clone(), self.interval, tell));
            Listening { head, task }
        });
        // The task ends only with this; then there is nothing to wait for but the time.
        if let Ok(Err(_)) = timeout_at(until, listening.head.changed()).await {
            tokio::time::sleep_until(until).await;
        }
    }
}

/// Listens for ever, over one connection after another.
async fn listen(connector: Connector, interval: Duration, tell: watch::Sender<Option<u64>>) {
    let first = Duration::from_millis(20);
    let mut backoff = Backoff::new(first, Duration::from_secs(5));
    loop {
        let began = Instant::now();
        let Err(error) = listen_once(&connector, interval, &tell).await;
        tracing::debug!(%error, "listening for changes begins anew");
        if began.elapsed() > Duration::from_secs(10) {
            backoff = Backoff::new(first, Duration::from_secs(5));
        }
        backoff.wait().await;
    }
}

/// Listens until the connection fails. It subscribes first, and then reads: what is changed in
/// between is told.
async fn listen_once(
    connector: &Connector,
    every: Duration,
    tell: &watch::Sender<Option<u64>>,
) -> Result<std::convert::Infallible, DatabaseError> {
    let (notice, mut noticed) = mpsc::channel(1);
    let connection = connector.connect(move |message| {
        if let AsyncMessage::Notification(_) = message {
            // If one waits already, what this one tells of is read with it.
            let _ = notice.try_send(());
        }
    });
    let connection = connection.await?;
    let client = &connection.client;
    client.batch_execute(sql::LISTEN).await?;
    let statement = client.prepare(sql::HEAD.text()).await?;
    let mut ticks = interval(every.max(Duration::from_millis(1)));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let row = tokio::time::timeout(every.max(PATIENCE), client.query_one(&statement, &[]))
            .await
            .map_err(|_| DatabaseError::late())??;
        let head = Columns::of(&row).revision()?.get();
        tell.send_if_modified(|known| known.replace(head) != Some(head));
        tokio::select! {
            told = noticed.recv() => {
                if told.is_none() {
                    return Err(DatabaseError::other("the connection was closed"));
                }
            }
            _ = ticks.tick() => {}
        }
    }
}

/// How long the server may take to tell the head of the log.
const PATIENCE: Duration = Duration::from_secs(5);

/// Longer than anybody waits.
const AGE: Duration = Duration::from_hours(24 * 365);
