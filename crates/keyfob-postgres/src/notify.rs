//! Waiting for changes of all machines: one connection that listens, shared by all who wait.

use std::{
    convert::Infallible,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use backon::BackoffBuilder;
use keyfob::store::Revision;
use tokio::{
    sync::{mpsc, watch},
    task::JoinHandle,
    time::{MissedTickBehavior, interval, sleep},
};
use tokio_postgres::AsyncMessage;

use crate::{DatabaseError, connect::Connector, feed, retry, row, session::Sessions, sql};

/// Tells the last revision of the log to every caller that waits for a change.
///
/// The first wait starts a task with a connection of its own, which gets the notices that commits
/// send. Notices can be lost, so the task also reads the last revision once per poll interval, and
/// whenever it has connected again: a lost notice costs delay, never a change. Where no notice comes,
/// it only reads the last revision, over the connections of the store.
pub(crate) struct ChangeNotifier {
    source: Source,
    interval: Duration,
    listening: Mutex<Option<Listening>>,
}

/// How changes are noticed.
#[derive(Clone)]
struct Source {
    /// What connects to a server that sends notices, if there is one.
    listener: Option<Connector>,
    sessions: Sessions,
}

/// What the listening task last knew.
#[derive(Clone, Debug)]
enum Seen {
    /// It is connecting for the first time.
    Nothing,
    /// The last revision of the log.
    Revision(Revision),
    /// The database could not be read.
    Failed(Arc<DatabaseError>),
}

struct Listening {
    seen: watch::Receiver<Seen>,
    task: JoinHandle<()>,
}

impl Drop for Listening {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl ChangeNotifier {
    pub(crate) fn new(listener: Option<Connector>, sessions: Sessions, interval: Duration) -> Self {
        Self {
            source: Source { listener, sessions },
            interval,
            listening: Mutex::new(None),
        }
    }

    /// Waits until the log may have a revision after `after`.
    ///
    /// # Errors
    ///
    /// The database cannot be read; the task goes on trying.
    pub(crate) async fn wait(&self, after: Revision) -> Result<(), Arc<DatabaseError>> {
        let mut seen = self.subscribe();
        let mut is_change = false;
        loop {
            match &*seen.borrow_and_update() {
                // A revision before `after` is a change only if the task read it meanwhile: the
                // caller may have read a later one than the task.
                Seen::Revision(revision) if *revision > after => return Ok(()),
                Seen::Revision(revision) if is_change && *revision != after => return Ok(()),
                Seen::Failed(error) => return Err(Arc::clone(error)),
                Seen::Revision(_) | Seen::Nothing => {}
            }
            if seen.changed().await.is_err() {
                let error = "the runtime of the task that listens was shut down";
                return Err(Arc::new(DatabaseError::other(error)));
            }
            is_change = true;
        }
    }

    fn subscribe(&self) -> watch::Receiver<Seen> {
        let mut listening = self
            .listening
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        match &*listening {
            // The task ends only if its runtime does.
            Some(listening) if !listening.task.is_finished() => listening.seen.clone(),
            _ => {
                let (tell, seen) = watch::channel(Seen::Nothing);
                let task = tokio::spawn(listen(self.source.clone(), self.interval, tell));
                let started = Listening {
                    seen: seen.clone(),
                    task,
                };
                *listening = Some(started);
                seen
            }
        }
    }
}

/// Listens until the task is aborted, and connects again whenever the connection fails.
async fn listen(source: Source, interval: Duration, tell: watch::Sender<Seen>) {
    let mut pauses = retry::connection().build();
    loop {
        let began = Instant::now();
        let Err(error) = match &source.listener {
            Some(connector) => listen_once(connector, interval, &tell).await,
            None => poll(&source.sessions, interval, &tell).await,
        };
        tracing::debug!(%error, "the connection that listens for changes failed");
        if error.is_lost() {
            // The primary may be another server now. Who is told of the failure reads next.
            source.sessions.close_idle();
        }
        tell.send_replace(Seen::Failed(Arc::new(error)));
        if began.elapsed() > Duration::from_secs(10) {
            pauses = retry::connection().build();
        }
        sleep(pauses.next().unwrap_or_default()).await;
    }
}

/// Reads the last revision once per interval until that fails.
async fn poll(
    sessions: &Sessions,
    every: Duration,
    tell: &watch::Sender<Seen>,
) -> Result<Infallible, DatabaseError> {
    let mut ticks = interval(every.max(Duration::from_millis(1)));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let reading = async { feed::head(&mut sessions.session().await?).await };
        let head = tokio::time::timeout(every.max(PATIENCE), reading).await;
        let head = head.map_err(|_| DatabaseError::late())??;
        seen(tell, head.revision);
    }
}

fn seen(tell: &watch::Sender<Seen>, revision: Revision) {
    tell.send_if_modified(|seen| {
        let is_new = !matches!(seen, Seen::Revision(known) if *known == revision);
        *seen = Seen::Revision(revision);
        is_new
    });
}

/// Listens until the connection fails. It subscribes first, then reads: a commit in between is
/// noticed.
async fn listen_once(
    connector: &Connector,
    every: Duration,
    tell: &watch::Sender<Seen>,
) -> Result<Infallible, DatabaseError> {
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
        seen(tell, row::revision(&row, 0)?);
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

/// How long the server may take to tell the last revision.
const PATIENCE: Duration = Duration::from_secs(5);
