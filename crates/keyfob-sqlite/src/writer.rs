//! The writer thread: it takes all tasks that are waiting, runs them in one transaction with one
//! `fsync`, and answers them.

use std::{
    sync::{Arc, mpsc},
    thread,
};

use futures_channel::oneshot;
use keyfob::{
    Timestamp,
    gateway::UsageBatch,
    key::KeyFormat,
    store::{Commit, CommitError, Conflict, Revision, StoreError},
};
use rusqlite::{Connection, ErrorCode, ffi};

use crate::{
    error::Gone,
    sql::Transaction,
    usage,
    write::{keep, record_key_format},
};

/// A task for the writer.
#[derive(Debug)]
pub(crate) enum Task {
    Commit(Box<Commit>, Answer<Result<Revision, CommitError>>),
    Usage(UsageBatch, Timestamp, Answer<Result<(), StoreError>>),
    KeyFormat(Box<KeyFormat>, Answer<Result<KeyFormat, StoreError>>),
}

/// What is called after each transaction that kept a commit.
pub(crate) type OnCommit = Box<dyn Fn() + Send>;

pub(crate) type Answer<T> = oneshot::Sender<T>;

/// The writer thread. It stops when this is dropped.
#[derive(Debug)]
pub(crate) struct Writer {
    tasks: Option<mpsc::Sender<Task>>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Writer {
    pub(crate) fn start(connection: Connection, on_commit: OnCommit) -> std::io::Result<Self> {
        let (tasks, inbox) = mpsc::channel();
        let thread = thread::Builder::new()
            .name("keyfob-sqlite-writer".into())
            .spawn(move || {
                let writer = WriteLoop {
                    connection,
                    on_commit,
                };
                writer.run(&inbox);
            })?;
        Ok(Self {
            tasks: Some(tasks),
            thread: Some(thread),
        })
    }

    /// Keeps a commit. Once this future was polled, the commit may be kept even if the future is
    /// dropped.
    pub(crate) async fn commit(&self, commit: Commit) -> Result<Revision, CommitError> {
        let (answer, answered) = oneshot::channel();
        self.send(Task::Commit(Box::new(commit), answer))?;
        answered
            .await
            .unwrap_or_else(|_| Err(StoreError::unknown(Gone).into()))
    }

    pub(crate) async fn record_usage(
        &self,
        batch: UsageBatch,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let (answer, answered) = oneshot::channel();
        self.send(Task::Usage(batch, now, answer))?;
        answered
            .await
            .unwrap_or_else(|_| Err(StoreError::unknown(Gone)))
    }

    pub(crate) async fn record_key_format(
        &self,
        format: KeyFormat,
    ) -> Result<KeyFormat, StoreError> {
        let (answer, answered) = oneshot::channel();
        self.send(Task::KeyFormat(Box::new(format), answer))?;
        answered
            .await
            .unwrap_or_else(|_| Err(StoreError::unknown(Gone)))
    }

    fn send(&self, task: Task) -> Result<(), StoreError> {
        let sent = self.tasks.as_ref().map(|tasks| tasks.send(task));
        match sent {
            Some(Ok(())) => Ok(()),
            _ => Err(StoreError::definite(Gone)),
        }
    }
}

/// Waits until every task that was sent is done.
impl Drop for Writer {
    fn drop(&mut self) {
        drop(self.tasks.take());
        if let Some(thread) = self.thread.take() {
            // Callers that waited got an error if the thread panicked.
            let _ = thread.join();
        }
    }
}

/// The state of the writer thread.
pub(crate) struct WriteLoop {
    pub(crate) connection: Connection,
    pub(crate) on_commit: OnCommit,
}

impl WriteLoop {
    fn run(mut self, inbox: &mpsc::Receiver<Task>) {
        while let Ok(first) = inbox.recv() {
            let waiting = inbox.try_iter().take(BATCH_MAX - 1);
            let tasks = [first].into_iter().chain(waiting);
            self.do_all(tasks.filter(Task::is_awaited).collect());
        }
    }

    /// Runs these tasks in one transaction. If one of them fails, each is run again in a
    /// transaction of its own, so that only that one fails.
    pub(crate) fn do_all(&mut self, tasks: Vec<Task>) {
        match self.transact(&tasks) {
            Ok(outcomes) => {
                if outcomes.iter().any(Outcome::is_kept) {
                    (self.on_commit)();
                }
                for (task, outcome) in tasks.into_iter().zip(outcomes) {
                    task.answer(Ok(outcome));
                }
            }
            Err(Failure {
                stage: Stage::Inside,
                ..
            }) if tasks.len() > 1 => {
                for task in tasks {
                    self.do_all(vec![task]);
                }
            }
            Err(failure) => {
                let failure = Arc::new(failure);
                for task in tasks {
                    task.answer(Err(Arc::clone(&failure)));
                }
            }
        }
    }

    fn transact(&mut self, tasks: &[Task]) -> Result<Vec<Outcome>, Failure> {
        let connection = &self.connection;
        Transaction::Begin.on(connection).map_err(|error| {
            roll_back(connection);
            Failure::new(error, Stage::Begin)
        })?;
        let outcomes: rusqlite::Result<Vec<Outcome>> =
            tasks.iter().map(|task| task.run(connection)).collect();
        let outcomes = outcomes.map_err(|error| {
            roll_back(connection);
            Failure::new(error, Stage::Inside)
        })?;
        Transaction::Commit.on(connection).map_err(|error| {
            roll_back(connection);
            Failure::new(error, Stage::Commit)
        })?;
        Ok(outcomes)
    }
}

impl Task {
    /// Whether a caller still waits for the answer. A task whose future was dropped before it began
    /// is not run.
    fn is_awaited(&self) -> bool {
        match self {
            Self::Commit(_, answer) => !answer.is_canceled(),
            Self::Usage(_, _, answer) => !answer.is_canceled(),
            Self::KeyFormat(_, answer) => !answer.is_canceled(),
        }
    }

    fn run(&self, connection: &Connection) -> rusqlite::Result<Outcome> {
        match self {
            Self::Commit(commit, _) => Ok(match keep(connection, commit)? {
                Ok(revision) => Outcome::Kept(revision),
                Err(conflict) => Outcome::Refused(conflict),
            }),
            Self::Usage(batch, now, _) => {
                usage::merge(connection, batch, *now)?;
                Ok(Outcome::Merged)
            }
            Self::KeyFormat(format, _) => {
                record_key_format(connection, format).map(Outcome::Format)
            }
        }
    }

    /// Sends the outcome to the caller, whose future may have been dropped meanwhile.
    fn answer(self, outcome: Result<Outcome, Arc<Failure>>) {
        match self {
            Self::Commit(_, answer) => {
                let _ = answer.send(match outcome {
                    Ok(Outcome::Kept(revision)) => Ok(revision),
                    Ok(Outcome::Refused(conflict)) => Err(conflict.into()),
                    Ok(_) => Err(StoreError::unknown(Gone).into()),
                    Err(failure) => Err(failure.told().into()),
                });
            }
            Self::Usage(_, _, answer) => {
                let _ = answer.send(outcome.map(drop).map_err(Failure::told));
            }
            Self::KeyFormat(_, answer) => {
                let _ = answer.send(match outcome {
                    Ok(Outcome::Format(format)) => Ok(format),
                    Ok(_) => Err(StoreError::unknown(Gone)),
                    Err(failure) => Err(failure.told()),
                });
            }
        }
    }
}

/// The outcome of a task whose transaction was committed.
#[derive(Debug)]
enum Outcome {
    Kept(Revision),
    Refused(Conflict),
    Merged,
    Format(KeyFormat),
}

impl Outcome {
    fn is_kept(&self) -> bool {
        matches!(self, Self::Kept(_))
    }
}

/// Why a transaction was not committed, or may not have been.
#[derive(Debug)]
struct Failure {
    error: rusqlite::Error,
    stage: Stage,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Begin,
    Inside,
    Commit,
}

impl Failure {
    fn new(error: rusqlite::Error, stage: Stage) -> Self {
        Self { error, stage }
    }

    /// Whether nothing was kept for certain. Before COMMIT nothing is. A COMMIT that got no lock or
    /// no space, or whose write failed, kept nothing: the transaction exists once its last page is
    /// written completely. If only the `fsync` failed, the disk may have the transaction, and a
    /// process that opens the file before the next commit overwrites it would find it.
    fn is_definite(&self) -> bool {
        let Some(error) = self.error.sqlite_error() else {
            return self.stage != Stage::Commit;
        };
        self.stage != Stage::Commit
            || error.extended_code == ffi::SQLITE_IOERR_WRITE
            || matches!(
                error.code,
                ErrorCode::DiskFull
                    | ErrorCode::DatabaseBusy
                    | ErrorCode::DatabaseLocked
                    | ErrorCode::OperationInterrupted
                    | ErrorCode::ConstraintViolation
                    | ErrorCode::ReadOnly
            )
    }

    fn told(self: Arc<Self>) -> StoreError {
        if self.is_definite() {
            StoreError::definite(Shared(self))
        } else {
            StoreError::unknown(Shared(self))
        }
    }
}

/// One failure, shared by all tasks of the transaction.
#[derive(Debug)]
struct Shared(Arc<Failure>);

impl std::fmt::Display for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self.0.stage {
            Stage::Begin => "the database could not be locked for writing",
            Stage::Inside => "the transaction failed",
            Stage::Commit => "the transaction could not be committed",
        })
    }
}

impl std::error::Error for Shared {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.0.error)
    }
}

/// Ends a transaction that failed. After some faults `SQLite` has done so itself.
fn roll_back(connection: &Connection) {
    if !connection.is_autocommit() {
        // If this fails too, the next BEGIN fails, and nothing is kept.
        let _ = Transaction::Rollback.on(connection);
    }
}

/// The most tasks in one transaction.
const BATCH_MAX: usize = 256;
