//! `keyfob gateway`: forward authentication from memory, without access to the store.

use std::sync::Arc;

use axum::Router;
use clap::Args;
use keyfob_listen::Limits;
use keyfob_replica::Follower;

use crate::{
    exit::Exit,
    failure::{Failure, with_sources},
    server::{
        Frontend, connections_within,
        forward_auth::{self, ForwardAuth},
        health, log, metrics, signals,
    },
    settings::{GatewayFlags, Settings},
    terminal::Terminal,
    upstream,
};

/// Run a gateway's authorizer: it verifies from memory, and needs no access to the store
///
/// It reads the signed feed of `keyfob serve --feed-listen` or of a `keyfob relay`, and answers
/// `/auth` as `keyfob serve` does. `/healthz`, `/readyz` and `/metrics` are for operations. When what
/// it knows is older than `stale_after`, it answers every call with 503.
#[derive(Args, Debug)]
pub(crate) struct Gateway {
    #[command(flatten)]
    _flags: GatewayFlags,
}

impl Gateway {
    pub(crate) async fn run(self, settings: Settings, terminal: Terminal) -> Result<(), Failure> {
        let Settings {
            gateway,
            peppers,
            prefix,
            ..
        } = settings;
        log::start(&gateway.server)?;
        let most = connections_within(gateway.server.connections);
        let metrics = metrics::install()?;
        let stale_after = gateway.upstream.stale_after;
        let mut builder = upstream::source(&gateway.upstream, "gateway")?;
        if let Some(part) = gateway.upstream.only {
            builder = builder.filter(part);
        }
        if let Some(folder) = gateway.upstream.state {
            builder = builder.saved_in(folder);
        }
        let source = upstream::built(builder)?;

        let limits = Limits::default()
            .with_connections(most)
            .with_header_timeout(gateway.server.header_timeout);
        let starting = health::starting(metrics.clone());
        let frontend = Frontend::open("gateway", &gateway.server.listen, limits, None, starting);
        let frontend = frontend.await?;
        // Before the address is written: a supervisor may stop the process as soon as it reads that.
        let mut signals = signals()?;
        frontend.announce(terminal)?;
        tracing::info!(address = %frontend.address, "reading the feed");
        let format = tokio::select! {
            format = upstream::key_format(&source, prefix) => format?,
            () = signals.received() => return Ok(()),
        };
        let replica = Follower::from_source(Arc::clone(&source), format)
            .stale_after(stale_after)
            .peppers(peppers)
            .flush_usage_every(gateway.flush_every)
            .start();
        let replica = tokio::select! {
            replica = replica => replica?,
            () = signals.received() => return Ok(()),
        };
        let auth = ForwardAuth::new(replica.verifier(), gateway.namespace_header, format);
        let all = Router::new()
            .merge(forward_auth::routes(auth))
            .merge(replica.readyz())
            .merge(health::routes(replica.monitor(), None, metrics));
        frontend.ready(all);
        tracing::info!(address = %frontend.address, "serving");

        let ended = tokio::select! {
            () = signals.received() => Ok(()),
            failure = replica.failed() => Err(Failure::new(Exit::Store, with_sources(&failure))),
        };
        tracing::info!("stopping");
        frontend.stop().await;
        // After the last call, so that its use is sent too.
        replica.stop().await;
        tracing::info!("stopped");
        ended
    }
}
