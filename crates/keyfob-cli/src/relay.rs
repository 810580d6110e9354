//! `keyfob relay`: serves the feed of an authority to gateways, byte for byte.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use axum::{Router, http::StatusCode, routing::get};
use clap::Args;
use futures_util::future::select_all;
use keyfob_feed::{
    Filter, Limits as FeedLimits,
    server::{self, Hub, KeyRights},
};
use keyfob_listen::Limits;
use keyfob_replica::{Follower, HttpSourceBuilder, HttpUpstream, Monitor, Replica};

use crate::{
    exit::Exit,
    failure::{Failure, with_sources},
    nats::Nats,
    server::{Frontend, fit_open_files, health, log, metrics, signals},
    settings::{RelayFlags, Settings, UpstreamSettings},
    terminal::Terminal,
    upstream,
};

/// Run a relay: it serves the feed of an authority to gateways, byte for byte
///
/// It reads the signed feed of `keyfob serve --feed-listen` or of another relay. It has no signer, so
/// it cannot change what gateways accept. With `--nats` the lines come over NATS, and the feeds are read only
/// for what is missing. Other machines can reach it only by TLS. `/healthz`,
/// `/readyz` and `/metrics` are for operations.
#[derive(Args, Debug)]
pub(crate) struct Relay {
    #[command(flatten)]
    _flags: RelayFlags,
}

impl Relay {
    pub(crate) async fn run(self, settings: Settings, terminal: Terminal) -> Result<(), Failure> {
        let mut relay = settings.relay;
        log::start(&relay.server)?;
        let metrics = metrics::install()?;
        if let Some(name) = relay.nats.unused() {
            return Err(Failure::usage(format!("nats: needed with {name}")));
        }
        let tls = relay.tls.load(&relay.server.listen)?;
        let own = relay.upstream.only.clone().unwrap_or(Filter::All);
        let mut filters = vec![own];
        for filter in relay.carry {
            if !filters.contains(&filter) {
                filters.push(filter);
            }
        }
        // One more is for what gateways ask for.
        let upstreams = filters.len() + 1;
        fit_open_files([Some(&mut relay.server.connections)], upstreams);

        let asks = upstream::built(upstream::source(&relay.upstream, "relay")?)?;
        let server = server::Relay::new(
            HttpUpstream::new(asks),
            upstream::trust(&relay.upstream)?,
            filters.iter().cloned(),
            FeedLimits::default(),
        );
        let nats = Nats::connect(relay.nats, "keyfob relay").await?;
        let (mut sources, mut subscriptions) = (Vec::new(), Vec::new());
        for filter in &filters {
            let mut source = relayed(&relay.upstream, filter, &server)?;
            if let Some(nats) = &nats {
                let (lines, subscription) = nats.subscribe(filter);
                source = source.broadcast(lines);
                subscriptions.push(subscription);
            }
            sources.push(upstream::built(source)?);
        }

        let limits = Limits::for_streams()
            .with_connections(relay.server.connections)
            .with_header_timeout(relay.server.header_timeout);
        let starting = health::starting(metrics.clone());
        let frontend = Frontend::open("relay", &relay.server.listen, limits, tls, starting).await?;
        // Before the address is written: a supervisor may stop the process as soon as it reads that.
        let mut signals = signals()?;
        frontend.announce(terminal)?;
        tracing::info!(address = %frontend.address, "reading the feed");
        let start = async {
            // Every filter is of the same store.
            let format = match sources.first() {
                Some(source) => upstream::key_format(source, settings.prefix).await?,
                None => return Ok(Vec::new()),
            };
            let mut replicas = Vec::new();
            for source in sources {
                let follower = Follower::from_source(source, format)
                    .stale_after(relay.upstream.stale_after)
                    .peppers(settings.peppers.clone())
                    .wait_for_source();
                replicas.push(follower.start().await?);
            }
            Ok::<_, Failure>(replicas)
        };
        let replicas: Vec<Replica> = tokio::select! {
            replicas = start => replicas?,
            () = signals.received() => return Ok(()),
        };
        // The first one reads all that this relay may read, and with it the keys of gateways.
        let Some(first) = replicas.first() else {
            return Ok(());
        };
        let rights = KeyRights::new(first.verifier(), relay.operators);
        let index = Arc::clone(first.index());
        let hub = server.hub().clone();
        let hub = hub.with_tenants(move |credential| index.tenant_of(credential));
        let all = Router::new()
            .merge(readyz(hub.clone(), &replicas))
            .merge(hub.router(rights))
            .merge(health::routes(first.monitor(), None, metrics));
        frontend.ready(all);
        tracing::info!(address = %frontend.address, "serving");

        let failures = replicas.iter().map(|replica| Box::pin(replica.failed()));
        let failed = select_all(failures);
        let ended = tokio::select! {
            () = signals.received() => Ok(()),
            (failure, ..) = failed => {
                Err(Failure::new(Exit::Store, with_sources(&failure)))
            }
        };
        tracing::info!("stopping");
        drop(subscriptions);
        frontend.stop().await;
        for replica in replicas {
            replica.stop().await;
        }
        tracing::info!("stopped");
        ended
    }
}

/// The route `/readyz`: whether every part of the feed is up to date, since gateways of the others are refused.
fn readyz(hub: Hub, replicas: &[Replica]) -> Router {
    let monitors: Vec<Monitor> = replicas.iter().map(Replica::monitor).collect();
    let answer = async move || {
        if hub.is_current() && monitors.iter().all(Monitor::is_ready) {
            (StatusCode::OK, "ready\n")
        } else {
            let text = "a part of the feed is not up to date\n";
            (StatusCode::SERVICE_UNAVAILABLE, text)
        }
    };
    Router::new().route("/readyz", get(answer))
}

/// A source for one filter, which gives its lines to the relay.
fn relayed(
    settings: &UpstreamSettings,
    filter: &Filter,
    relay: &server::Relay,
) -> Result<HttpSourceBuilder, Failure> {
    let (lines, trusting, of) = (relay.clone(), relay.clone(), filter.clone());
    let mut builder = upstream::source(settings, "relay")?
        .filter(filter.clone())
        .on_line(move |line| {
            if let Err(error) = lines.accept(&of, line) {
                tracing::error!(%error, "a line cannot be relayed");
            }
        })
        .on_trust(move |trust| trusting.set_trust(trust));
    if let Some(folder) = &settings.state {
        builder = builder.saved_in(folder_of(folder, filter));
    }
    Ok(builder)
}

/// A folder for each filter.
fn folder_of(folder: &Path, filter: &Filter) -> PathBuf {
    match filter.id() {
        None => folder.join("all"),
        Some(id) => folder.join(id.to_string()),
    }
}
