//! `keyfob relay`: serves the feed of an authority to gateways, byte for byte.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use axum::Router;
use clap::Args;
use futures_util::future::select_all;
use keyfob_feed::{
    Filter, Limits as FeedLimits,
    server::{self, KeyRights},
};
use keyfob_listen::Limits;
use keyfob_replica::{Follower, HttpSource, HttpUpstream, Replica};

use crate::{
    exit::Exit,
    failure::{Failure, with_sources},
    server::{Frontend, connections_within, health, log, metrics, signals},
    settings::{RelayFlags, Settings, UpstreamSettings},
    terminal::Terminal,
    upstream,
};

/// Run a relay: it serves the feed of an authority to gateways, byte for byte
///
/// It reads the signed feed of `keyfob serve --feed-listen` or of another relay. It has no signer, so
/// it cannot change what gateways accept. Other machines can reach it only by TLS. `/healthz`,
/// `/readyz` and `/metrics` are for operations.
#[derive(Args, Debug)]
pub(crate) struct Relay {
    #[command(flatten)]
    _flags: RelayFlags,
}

impl Relay {
    pub(crate) async fn run(self, settings: Settings, terminal: Terminal) -> Result<(), Failure> {
        let relay = settings.relay;
        log::start(&relay.server)?;
        let most = connections_within(relay.server.connections);
        let metrics = metrics::install()?;
        let tls = relay.tls.load(&relay.server.listen)?;
        let own = relay.upstream.only.clone().unwrap_or(Filter::All);
        let mut filters = vec![own];
        for filter in relay.carry {
            if !filters.contains(&filter) {
                filters.push(filter);
            }
        }

        let asks = upstream::built(upstream::source(&relay.upstream, "relay")?)?;
        let server = server::Relay::new(
            HttpUpstream::new(asks),
            upstream::trust(&relay.upstream)?,
            filters.iter().cloned(),
            FeedLimits::default(),
        );
        let sources = filters
            .iter()
            .map(|filter| relayed(&relay.upstream, filter, &server));
        let sources: Vec<Arc<HttpSource>> = sources.collect::<Result<_, Failure>>()?;

        let limits = Limits::for_streams()
            .with_connections(most)
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
                let follower = Follower::from_source(source, format);
                let follower = follower.stale_after(relay.upstream.stale_after);
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
            .merge(hub.router(rights))
            .merge(first.readyz())
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
        frontend.stop().await;
        tracing::info!("stopped");
        ended
    }
}

/// A source for one filter, which gives its lines to the relay.
fn relayed(
    settings: &UpstreamSettings,
    filter: &Filter,
    relay: &server::Relay,
) -> Result<Arc<HttpSource>, Failure> {
    let (lines, signers, of) = (relay.clone(), relay.clone(), filter.clone());
    let mut builder = upstream::source(settings, "relay")?
        .filter(filter.clone())
        .on_line(move |line| {
            if let Err(error) = lines.accept(&of, line) {
                tracing::error!(%error, "a line cannot be relayed");
            }
        })
        .on_signers(move |line| {
            if let Err(error) = signers.update_trust(line) {
                tracing::error!(%error, "the signers cannot be relayed");
            }
        });
    if let Some(folder) = &settings.state {
        builder = builder.saved_in(folder_of(folder, filter));
    }
    upstream::built(builder)
}

/// A folder for each filter.
fn folder_of(folder: &Path, filter: &Filter) -> PathBuf {
    match filter.id() {
        None => folder.join("all"),
        Some(id) => folder.join(id.to_string()),
    }
}
