//! What every command that serves has: a listener, a log, metrics, health, and an orderly stop.

pub(crate) mod auth;
pub(crate) mod grpc;
pub(crate) mod health;
pub(crate) mod log;
pub(crate) mod metrics;
mod stop;

use std::{
    io,
    net::SocketAddr,
    num::{NonZeroU32, NonZeroUsize},
    thread,
};

use axum::Router;
use keyfob_listen::{Address, Limits, Routes, Server, Tls};
use serde::Serialize;
use tokio::{sync::watch, task::JoinHandle};

use crate::{
    exit::Exit,
    failure::{Failure, cause, with_sources},
    process,
    settings::Form,
    terminal::{self, Terminal},
};

pub(crate) use stop::StopSignals;

/// A listener that is open.
pub(crate) struct Frontend {
    /// The address as others reach it.
    pub(crate) address: Address,
    /// The same, unless it is a Unix socket.
    pub(crate) socket: Option<SocketAddr>,
    routes: Routes,
    stop: watch::Sender<()>,
    server: JoinHandle<()>,
}

impl Frontend {
    /// Listens, and answers with `starting` until everything is [ready](Self::ready): reading all
    /// keys takes a while, and an answer of 503 says more than a closed port.
    pub(crate) async fn open(
        name: &'static str,
        address: &Address,
        limits: Limits,
        tls: Option<Tls>,
        starting: Router,
    ) -> Result<Self, Failure> {
        Self::open_with(name, address, limits, tls, starting, None).await
    }

    /// The same, with a front that answers proxies before the router is asked, once there is one.
    pub(crate) async fn open_with(
        name: &'static str,
        address: &Address,
        limits: Limits,
        tls: Option<Tls>,
        starting: Router,
        front: Option<auth::Later>,
    ) -> Result<Self, Failure> {
        let routes = Routes::starting(starting);
        let (routes, is_authorizer) = match front {
            Some(front) => (routes.with_answer(move |head| front.answer(head)), true),
            None => (routes, false),
        };
        let changed = |server: Server| {
            let server = server.with_limits(limits).with_tls(tls);
            if is_authorizer {
                on_own_threads(server)
            } else {
                Ok(server)
            }
        };
        Self::serving(name, address, routes, changed).await
    }

    /// Listens with a server that is changed like this.
    async fn serving(
        name: &'static str,
        address: &Address,
        routes: Routes,
        changed: impl FnOnce(Server) -> io::Result<Server>,
    ) -> Result<Self, Failure> {
        let listener = address.bind().await.map_err(|error| {
            let flag = match name {
                "auth" => "--auth-listen",
                grpc::NAME => "--auth-grpc-listen",
                "feed" => "--feed-listen",
                _ => "--listen",
            };
            Failure::new(Exit::Failed, with_sources(&error)).hint(format!(
                "use `{flag}` for another address; port 0 takes any free port"
            ))
        })?;
        let address = listener.address()?;
        let socket = listener.socket_address();
        let (stop, stopped) = watch::channel(());
        let server = changed(Server::new(name, listener, routes.clone()))
            .map_err(|error| no_threads(&error))?;
        Ok(Self {
            address,
            socket,
            routes,
            stop,
            server: tokio::spawn(server.serve(stopped)),
        })
    }

    /// Writes the address: as JSON to the standard output, or for people to the standard error.
    pub(crate) fn announce(&self, terminal: Terminal) -> Result<(), Failure> {
        #[derive(Serialize)]
        struct Hello {
            address: String,
        }
        if terminal.form() == Form::Json {
            let address = self.address.to_string();
            return terminal::json_line(&Hello { address });
        }
        let address = &self.address;
        terminal.note(format_args!("listening on {address}; stop with ctrl-c"));
        Ok(())
    }

    /// Serves everything from now on.
    pub(crate) fn ready(&self, all: Router) {
        self.routes.serve(all);
    }

    /// Stops listening, and waits for the calls that are under way.
    pub(crate) async fn stop(self) {
        drop(self.stop);
        // It has its own limit.
        let _ = self.server.await;
    }
}

/// Serves the connections of an authorizer: one thread for each core, since an answer takes less time than it
/// takes to wake another thread.
fn on_own_threads(server: Server) -> io::Result<Server> {
    server.on_threads(thread::available_parallelism().unwrap_or(NonZeroUsize::MIN))
}

/// Threads could not be started.
pub(crate) fn no_threads(error: &io::Error) -> Failure {
    Failure::new(Exit::Failed, format!("no threads: {}", cause(error)))
}

/// Receives the signals that stop a server.
pub(crate) fn signals() -> Result<StopSignals, Failure> {
    StopSignals::listen()
        .map_err(|error| Failure::new(Exit::Failed, format!("signals: {}", cause(&error))))
}

/// Lowers the numbers of connections of this process's listeners to those for which there are open
/// files, each in proportion. `upstreams` is the number of upstreams that the process reads.
pub(crate) fn fit_open_files<const N: usize>(
    listeners: [Option<&mut NonZeroU32>; N],
    upstreams: usize,
) {
    let others = OTHER_FILES + FILES_OF_UPSTREAM * upstreams as u64;
    let counts = listeners.iter().flatten().map(|most| u64::from(most.get()));
    let wanted: u64 = counts.sum();
    let needed = wanted + others;
    let Some(limit) = process::raise_open_files(needed).filter(|limit| *limit < needed) else {
        return;
    };
    let left = limit.saturating_sub(others).max(LEAST_CONNECTIONS);
    tracing::warn!(
        limit,
        needed,
        connections = left,
        "the limit on open files is too low for the numbers of connections of the settings, which are lowered: raise it with `ulimit -n` or LimitNOFILE"
    );
    for most in listeners.into_iter().flatten() {
        *most = share(*most, left, wanted);
    }
}

/// The share of a listener in the connections that are left, in proportion to what all wanted.
fn share(most: NonZeroU32, left: u64, wanted: u64) -> NonZeroU32 {
    let share = u64::from(most.get()).saturating_mul(left) / wanted.max(1);
    let share = u32::try_from(share).ok().and_then(NonZeroU32::new);
    share.unwrap_or(NonZeroU32::MIN).min(most)
}

/// Open files besides connections: the store, its threads, the log, the libraries.
const OTHER_FILES: u64 = 64;
/// The stream, the reports, a snapshot, and the file that it is saved in.
const FILES_OF_UPSTREAM: u64 = 4;
const LEAST_CONNECTIONS: u64 = 8;
