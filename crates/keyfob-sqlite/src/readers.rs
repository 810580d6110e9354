//! The threads that read, each with a connection of its own.

use std::{
    fmt, io,
    sync::{Arc, Mutex, PoisonError, mpsc},
    thread,
};

use futures_channel::oneshot;
use keyfob::store::StoreError;
use rusqlite::{Connection, TransactionBehavior};

use crate::error::Gone;

type Question = Box<dyn FnOnce(&mut Connection) + Send>;

/// The readers' threads, for as long as this value lives.
pub(crate) struct Readers {
    read_set: Option<mpsc::Sender<Question>>,
    threads: Vec<thread::JoinHandle<()>>,
}

impl Readers {
    pub(crate) fn start(connections: Vec<Connection>) -> io::Result<Self> {
        let (read_set, inbox) = mpsc::channel::<Question>();
        let inbox = Arc::new(Mutex::new(inbox));
        let mut readers = Self {
            read_set: Some(read_set),
            threads: Vec::new(),
        };
        for mut connection in connections {
            let inbox = Arc::clone(&inbox);
            let thread = thread::Builder::new()
                .name("keyfob-sqlite-reader".into())
                .spawn(move || {
                    while let Ok(question) = next(&inbox) {
                        question(&mut connection);
                    }
                })?;
            readers.threads.push(thread);
        }
        Ok(readers)
    }

    /// Reads within one transaction: everything that `read` sees is of one moment.
    pub(crate) async fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (answer, answered) = oneshot::channel();
        let question = Box::new(move |connection: &mut Connection| {
            if !answer.is_canceled() {
                // Nobody waits if the future was dropped meanwhile.
                let _ = answer.send(read_at_once(connection, read));
            }
        });
        let asked = self.read_set.as_ref().map(|inbox| inbox.send(question));
        if !matches!(asked, Some(Ok(()))) {
            return Err(StoreError::definite(Gone));
        }
        answered
            .await
            .unwrap_or_else(|_| Err(StoreError::definite(Gone)))
    }
}

fn next(inbox: &Mutex<mpsc::Receiver<Question>>) -> Result<Question, mpsc::RecvError> {
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
        drop(self.read_set.take());
        for thread in self.threads.drain(..) {
            // A panic of the thread has been told to whoever asked.
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
