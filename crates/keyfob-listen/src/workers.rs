//! The threads that serve connections.

use std::{io, num::NonZeroUsize, thread};

use tokio::{
    runtime::{Builder, Handle},
    sync::oneshot,
    task::JoinSet,
};

/// Where the connections of a server run: on the runtime of the caller, or on threads of their own.
#[derive(Debug)]
pub(crate) struct Workers(Vec<Worker>);

#[derive(Debug)]
struct Worker {
    /// None stands for the runtime of the caller.
    thread: Option<Thread>,
    connections: JoinSet<()>,
}

impl Workers {
    /// Serves connections on the runtime of the caller.
    pub(crate) fn of_caller() -> Self {
        Self(vec![Worker {
            thread: None,
            connections: JoinSet::new(),
        }])
    }

    /// Starts threads that end with this value.
    pub(crate) fn start(name: &str, count: NonZeroUsize) -> io::Result<Self> {
        let workers = (0..count.get()).map(|number| {
            Ok(Worker {
                thread: Some(Thread::start(format!("{name}-{number}"))?),
                connections: JoinSet::new(),
            })
        });
        Ok(Self(workers.collect::<io::Result<_>>()?))
    }

    /// Serves a connection where there are the fewest.
    pub(crate) fn spawn(&mut self, connection: impl Future<Output = ()> + Send + 'static) {
        for worker in &mut self.0 {
            // Forgets those that have ended.
            while worker.connections.try_join_next().is_some() {}
        }
        let workers = self.0.iter_mut();
        let Some(worker) = workers.min_by_key(|worker| worker.connections.len()) else {
            return;
        };
        match &worker.thread {
            Some(thread) => worker.connections.spawn_on(connection, &thread.runtime),
            None => worker.connections.spawn(connection),
        };
    }

    /// Waits until all connections have ended.
    pub(crate) async fn ended(&mut self) {
        for worker in &mut self.0 {
            while worker.connections.join_next().await.is_some() {}
        }
    }
}

/// A thread with a runtime of its own.
#[derive(Debug)]
struct Thread {
    runtime: Handle,
    /// The thread ends when this is dropped.
    _stop: oneshot::Sender<()>,
}

impl Thread {
    fn start(name: String) -> io::Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let handle = runtime.handle().clone();
        let (stop, stopped) = oneshot::channel();
        thread::Builder::new().name(name).spawn(move || {
            let _ = runtime.block_on(stopped);
        })?;
        Ok(Self {
            runtime: handle,
            _stop: stop,
        })
    }
}
