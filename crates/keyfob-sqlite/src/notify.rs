//! Waiting for changes, those of other processes included.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use event_listener::{Event, EventListener};
use keyfob::store::Revision;
use rusqlite::Connection;

use crate::{open::Source, snapshot::head};

/// Wakes the callers that wait for a change.
///
/// A commit of this process wakes them at once. A thread looks for commits of other processes, once
/// per interval and only while a caller waits. It also wakes them if the database cannot be read:
/// each caller then reads for itself and gets the error.
#[derive(Debug)]
pub(crate) struct ChangeNotifier {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Shared {
    changed: Event,
    closed: AtomicBool,
}

impl ChangeNotifier {
    pub(crate) fn start(
        source: Source,
        connection: Connection,
        interval: Duration,
    ) -> io::Result<Self> {
        let shared = Arc::new(Shared::default());
        let poll = Arc::clone(&shared);
        let thread = thread::Builder::new()
            .name("keyfob-sqlite-watcher".into())
            .spawn(move || poll.run(&source, &connection, interval))?;
        Ok(Self {
            shared,
            thread: Some(thread),
        })
    }

    /// Starts to listen: every change after this call wakes the listener.
    pub(crate) fn listen(&self) -> EventListener {
        let listener = self.shared.changed.listen();
        if let Some(thread) = &self.thread {
            thread.thread().unpark();
        }
        listener
    }

    /// What the writer calls after each commit.
    pub(crate) fn on_commit(&self) -> impl Fn() + Send + use<> {
        let shared = Arc::clone(&self.shared);
        move || shared.wake_all()
    }
}

impl Shared {
    fn wake_all(&self) {
        self.changed.notify(usize::MAX);
    }

    fn run(&self, source: &Source, connection: &Connection, interval: Duration) {
        let mut seen = Revision::ZERO;
        while !self.closed.load(Ordering::Acquire) {
            if self.changed.total_listeners() == 0 {
                thread::park();
                continue;
            }
            let found = source
                .check_place()
                .ok()
                .and_then(|()| head(connection).ok());
            if found.is_none_or(|head| head.revision != seen) {
                self.wake_all();
            }
            seen = found.map_or(seen, |head| head.revision);
            thread::park_timeout(interval);
        }
    }
}

impl Drop for ChangeNotifier {
    fn drop(&mut self) {
        self.shared.closed.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            // No caller waits any more, so a panic of the thread can be ignored.
            let _ = thread.join();
        }
    }
}
