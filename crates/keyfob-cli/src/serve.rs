//! `keyfob serve`: everything in one process.

mod connections;
mod first;
mod follower;
mod freshness;
mod gate;
mod health;
mod log;
mod measures;
mod stop;
mod usage;

use std::{net::SocketAddr, sync::Arc, time::Duration};

use axum::Router;
use clap::Args;
use keyfob::{
    Keyring,
    gateway::{Index, UsageRecorder},
};
use keyfob_api::{ControlKeys, ControlPlane};
use tokio::{net::TcpListener, sync::watch};

use crate::{
    exit::Exit,
    failure::Failure,
    settings::{ServeFlags, Settings},
    store::{Absent, Store},
    terminal::Terminal,
};

use connections::Connections;
use first::First;
use follower::Follower;
use freshness::{Freshness, WhileFresh};
use gate::Gate;

/// Serve the control plane, and answer proxies that ask whether a call may pass
///
/// `/v2/…` and `/v1/…` are the control plane (its document is at /openapi.json, to be read at
/// /docs), `/auth` and `/auth/NAMESPACE` answer a proxy (nginx `auth_request` and the like),
/// `/healthz`, `/readyz` and `/metrics` those who operate it. It speaks plain HTTP: put a proxy that
/// speaks TLS in front.
///
/// The first start on a store makes a credential for the operator, and shows it once on the
/// standard output.
#[derive(Args, Debug)]
pub(crate) struct Serve {
    #[command(flatten)]
    _flags: ServeFlags,
}

impl Serve {
    pub(crate) async fn run(self, settings: Settings, terminal: Terminal) -> Result<(), Failure> {
        log::start(&settings.serve)?;
        let metrics = measures::install()?;
        let store = Store::open(&settings.store.value, Absent::Create).await?;
        let serve = settings.serve;

        // First the population, then the port: whoever is let in finds it ready.
        let index = Arc::new(Index::new());
        let freshness = Arc::new(Freshness::new(serve.stale_after.value));
        let follower = Follower {
            store: store.clone(),
            index: Arc::clone(&index),
            freshness: Arc::clone(&freshness),
            every: serve.follow_every.value,
        };
        follower.begin().await?;

        let keyring = Keyring::new(store, settings.prefix.value)
            .with_peppers(settings.peppers)
            .with_index(Arc::clone(&index));
        let keyring = Arc::new(keyring);
        let usage = Arc::new(UsageRecorder::new(USAGE_CAPACITY));
        let verifier = keyring.verifier(index);
        let counting = verifier.clone().with_usage(Arc::clone(&usage));

        let listener = bind(serve.listen.value).await?;
        let address = listener.local_addr()?;
        let first = First {
            keyring: &keyring,
            team: serve.operators.value,
            owner: serve.operator.value,
            file: serve.operator_file.value.as_deref(),
        };
        first.show(terminal, address).await?;

        let plane =
            ControlPlane::new(Arc::clone(&keyring), verifier).with_authenticate(WhileFresh {
                authenticate: ControlKeys::new(counting.clone()),
                freshness: Arc::clone(&freshness),
            });
        let gate = Gate {
            verifier: counting,
            freshness: Arc::clone(&freshness),
            header: serve.namespace_header.value,
            format: settings.prefix.value,
        };
        let routes = Router::new()
            .merge(gate::routes(Arc::new(gate)))
            .merge(health::routes(freshness, metrics))
            .merge(plane.into_router());

        let (stop, stopped) = watch::channel(());
        let following = tokio::spawn(follower.run(stopped.clone()));
        let flushing = usage::Flusher { keyring, usage };
        let flusher = tokio::spawn(
            flushing
                .clone()
                .run(serve.flush_every.value, stopped.clone()),
        );

        let connections = Connections {
            listener,
            routes,
            most: serve.connections.value,
            header_timeout: serve.header_timeout.value,
        };
        let server = tokio::spawn(connections.serve(stopped));
        tracing::info!(%address, "serving");

        // Until somebody asks it to stop, or the store cannot be followed any more.
        let ended = tokio::select! {
            () = stop::asked() => Ok(()),
            ended = following => ended.unwrap_or_else(|_| Err(Failure::new(Exit::Failed, "the follower ended"))),
        };
        tracing::info!("stopping");
        drop(stop);
        // Calls that are under way are answered, as long as that takes no longer than this.
        if tokio::time::timeout(GRACE, server).await.is_err() {
            tracing::warn!("some calls were not answered in time");
        }
        // What the last calls used is known only now.
        flushing.finish(flusher, LAST_FLUSH).await;
        tracing::info!("stopped");
        ended
    }
}

/// Ready when the server is to stop.
async fn closed(mut stopped: watch::Receiver<()>) {
    // There is nothing to receive; the channel closes.
    while stopped.changed().await.is_ok() {}
}

async fn bind(address: SocketAddr) -> Result<TcpListener, Failure> {
    TcpListener::bind(address).await.map_err(|error| {
        Failure::new(Exit::Failed, format!("cannot listen on {address}: {error}"))
            .hint("`--listen` names another address and port; port 0 takes any that is free")
    })
}

/// For how many credentials a thread has room between two flushes.
const USAGE_CAPACITY: usize = 16_384;
/// For how long calls are still answered after the server was asked to stop.
const GRACE: Duration = Duration::from_secs(20);
/// For how long the store may take, after that, to write down the last uses.
const LAST_FLUSH: Duration = Duration::from_secs(5);
