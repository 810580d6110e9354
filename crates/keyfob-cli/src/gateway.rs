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
        Frontend,
        auth::{self, Later},
        fit_open_files, grpc, health, log, metrics, signals,
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
            auth,
            gateway,
            peppers,
            prefix,
            ..
        } = settings;
        log::start(&gateway.server)?;
        let (mut over_http, mut over_grpc) = (gateway.server.connections, auth.connections);
        let listeners = [
            Some(&mut over_http),
            auth.grpc_listen.as_ref().map(|_| &mut over_grpc),
        ];
        fit_open_files(listeners, 1);
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
            .with_connections(over_http)
            .with_header_timeout(gateway.server.header_timeout);
        auth.check(stale_after)?;
        let signer = auth::signer(&auth)?;
        let tls = auth.tls.clone().load_if_set()?;
        let starting = health::starting(metrics.clone());
        let later = Later::default();
        let frontend = Frontend::open_with(
            "gateway",
            &gateway.server.listen,
            limits,
            tls,
            starting,
            Some(later.clone()),
        );
        let frontend = frontend.await?;
        let grpc = grpc::open(&auth, limits.with_connections(over_grpc)).await?;
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
            .wait_for_source()
            .start();
        let replica = tokio::select! {
            replica = replica => replica?,
            () = signals.received() => return Ok(()),
        };
        let authorizer = auth::authorizer(&auth, &replica, format, signer, None);
        grpc::ready(grpc.as_ref(), &auth, &authorizer, replica.monitor());
        let front = auth::front(&auth, authorizer);
        later.set(front.clone());
        let all = Router::new()
            .merge(front.into_router())
            .merge(replica.readyz())
            .merge(health::routes(replica.monitor(), None, metrics));
        frontend.ready(all);
        tracing::info!(address = %frontend.address, "serving");

        let ended = tokio::select! {
            () = signals.received() => Ok(()),
            failure = replica.failed() => Err(Failure::new(Exit::Store, with_sources(&failure))),
        };
        tracing::info!("stopping");
        tokio::join!(frontend.stop(), grpc::stop(grpc));
        // After the last call, so that its use is sent too.
        replica.stop().await;
        tracing::info!("stopped");
        ended
    }
}
