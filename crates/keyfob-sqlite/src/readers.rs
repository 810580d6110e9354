//! The reader threads, each with its own connection.

use std::{
    fmt, io,
    sync::{Arc, Mutex, PoisonError, mpsc},
    thread,
};

use futures_channel::oneshot;
use keyfob::store::StoreError;
use rusqlite::{Connection, TransactionBehavior};

use crate::error::Gone;

type Task = Box<dyn FnOnce(&mut Connection) + Send>;

/// The reader threads. They stop when this is dropped.
pub(crate) struct Readers {
    tasks: Option<mpsc::Sender<Task>>,
    threads: Vec<thread::JoinHandle<()>>,
}

impl Readers {
    pub(crate) fn start(connections: Vec<Connection>) -> io::Result<Self> {
        let (tasks, inbox) = mpsc::channel::<Task>();
        let inbox = Arc::new(Mutex::new(inbox));
        let mut readers = Self {
            tasks: Some(tasks),
            threads: Vec::new(),
        };
        for mut connection in connections {
            let inbox = Arc::clone(&inbox);
            let thread = thread::Builder::new()
                .name("keyfob-sqlite-reader".into())
                .spawn(move || {
                    while let Ok(task) = next(&inbox) {
                        task(&mut connection);
                    }
                })?;
            readers.threads.push(thread);
        }
        Ok(readers)
    }

    /// Reads within one transaction: everything that `read` sees is one snapshot.
    pub(crate) async fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (answer, answered) = oneshot::channel();
        let task = Box::new(move |connection: &mut Connection| {
            if !answer.is_canceled() {
                // The future may have been dropped meanwhile.
                let _ = answer.send(read_at_once(connection, read));
            }
        });
        let sent = self.tasks.as_ref().map(|inbox| inbox.send(task));
        if !matches!(sent, Some(Ok(()))) {
            return Err(StoreError::definite(Gone));
        }
        answered
            .await
            .unwrap_or_else(|_| Err(StoreError::definite(Gone)))
    }
}

fn next(inbox: &Mutex<mpsc::Receiver<Task>>) -> Result<Task, mpsc::RecvError> {
    inbox.lock().unwrap_or_else(PoisonError::into_inner).recv()
}

/// Reads within one transaction.
pub(crate) fn read_at_once<T>(
    connection: &mut Connection,
    read: impl FnOnce(&Connection) -> rusqlite::Result<T>,
) -> Result<T, StoreError> {
    connection
        .transaction_with_behavior(TransactionBehavior::Deferred)
        .and_then(|transaction| {
            let found = read(&transaction)?;
            transaction.commit()?;
            Ok(found)
        })
        .map_err(StoreError::definite)
}

impl Drop for Readers {
    fn drop(&mut self) {
        drop(self.tasks.take());
        for thread in self.threads.drain(..) {
            // Callers that waited got an error if the thread panicked.
            let _ = thread.join();
        }
    }
}

impl fmt::Debug for Readers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Readers")
            .field("threads", &self.threads.len())
            .finish_non_exhaustive()
    }
}
