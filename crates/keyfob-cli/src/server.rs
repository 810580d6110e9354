//! What every command that serves has: a listener, a log, metrics, health, and an orderly stop.

pub(crate) mod forward_auth;
pub(crate) mod health;
pub(crate) mod log;
pub(crate) mod metrics;
mod stop;

use std::{net::SocketAddr, num::NonZeroU32};

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
        let listener = address.bind().await.map_err(|error| {
            Failure::new(Exit::Failed, with_sources(&error))
                .hint("use `--listen` for another address; port 0 takes any free port")
        })?;
        let address = listener.address()?;
        let socket = listener.socket_address();
        let routes = Routes::starting(starting);
        let (stop, stopped) = watch::channel(());
        let server = Server::new(name, listener, routes.clone())
            .with_limits(limits)
            .with_tls(tls);
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

/// Receives the signals that stop a server.
pub(crate) fn signals() -> Result<StopSignals, Failure> {
    StopSignals::listen()
        .map_err(|error| Failure::new(Exit::Failed, format!("signals: {}", cause(&error))))
}

/// The number of connections for which there are open files.
pub(crate) fn connections_within(wanted: NonZeroU32) -> NonZeroU32 {
    let needed = u64::from(wanted.get()) + OTHER_FILES;
    let Some(limit) = process::raise_open_files(needed).filter(|limit| *limit < needed) else {
        return wanted;
    };
    let left = u32::try_from(limit.saturating_sub(OTHER_FILES)).unwrap_or(u32::MAX);
    let most = NonZeroU32::new(left.max(LEAST_CONNECTIONS)).unwrap_or(wanted);
    tracing::warn!(
        limit,
        needed,
        connections = most.get(),
        "the limit on open files is too low for the setting `connections`, which is lowered: raise it with `ulimit -n` or LimitNOFILE"
    );
    most.min(wanted)
}

/// Open files besides connections: the store, its threads, the log, the libraries.
const OTHER_FILES: u64 = 64;
const LEAST_CONNECTIONS: u32 = 8;
