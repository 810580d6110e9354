//! `keyfob serve`: control plane and forward authentication in one process.

mod bootstrap;
mod feed;
mod pause;
mod rehash;

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    path::Path,
    sync::Arc,
    time::Duration,
};

use axum::{Router, middleware::from_fn_with_state};
use clap::Args;
use keyfob_api::{ApiHost, ControlKeys, ControlPlane, Gateways};
use keyfob_listen::Limits;
use keyfob_panel::Panel;
use keyfob_replica::Follower;

use crate::{
    exit::Exit,
    failure::{Failure, with_sources},
    server::{
        Frontend,
        auth::{self, Later, OnAccepted},
        fit_open_files, grpc, health, log, metrics, signals,
    },
    settings::{ServeFlags, Settings},
    store::{Absent, Store, StoreUrl},
    terminal::Terminal,
};

use bootstrap::Bootstrap;
use feed::{FedReplicas, Feed};
use rehash::Rehasher;

/// Run the server: control plane and forward authentication
///
/// `/v2/…` and `/v1/…` are the control plane, documented at /docs and in /openapi.json. `/healthz`,
/// `/readyz` and `/metrics` are for operations. They are served over plain HTTP: put a proxy with TLS
/// in front.
///
/// `/auth` and everything below it tell a proxy whether a call may pass (nginx `auth_request`, for
/// example). It has a listener of its own, `--auth-listen`, with TLS if `[auth]` has a certificate.
///
/// The first start on a store creates a credential for the operator, and shows it once on the
/// standard output.
#[derive(Args, Debug)]
pub(crate) struct Serve {
    #[command(flatten)]
    _flags: ServeFlags,
}

impl Serve {
    #[expect(clippy::too_many_lines, reason = "the start of a server, step by step")]
    pub(crate) async fn run(self, settings: Settings, terminal: Terminal) -> Result<(), Failure> {
        log::start(&settings.serve.server)?;
        let file = settings
            .file
            .as_deref()
            .map_or("none".into(), Path::to_string_lossy);
        tracing::info!(configuration = %file, store = %settings.store, "starting");
        if let StoreUrl::Postgres(_, location) = &settings.store
            && location.may_lose_tls()
        {
            tracing::warn!(
                "the connection to the database may go on without TLS: add `?sslmode=verify-full` to the URL of the store"
            );
        }
        let auth = settings.auth;
        let mut serve = settings.serve;
        auth.check(serve.stale_after)?;
        let (mut over_http, mut over_grpc) = (auth.connections, auth.connections);
        let listeners = [
            Some(&mut serve.server.connections),
            auth.listen.as_ref().map(|_| &mut over_http),
            auth.grpc_listen.as_ref().map(|_| &mut over_grpc),
            (serve.feed.listen.as_ref()).map(|_| &mut serve.feed.connections),
        ];
        fit_open_files(listeners, 0);
        let signer = auth::signer(&auth)?;
        let metrics = metrics::install()?;
        let (store, writes) = Store::open(&settings.store, Absent::Create)
            .await?
            .watched();

        let has_pepper = settings.peppers.current_id().is_some();
        let builder = store.keyring(settings.prefix).await?;
        let keyring = builder
            .peppers(settings.peppers)
            .stale_after(serve.stale_after)
            .sync_limit(|| Box::pin(tokio::time::sleep(SYNC_WITHIN)))
            .open_to_manage()
            .await?;
        let keyring = Arc::new(keyring);

        let limits = Limits::default()
            .with_connections(serve.server.connections)
            .with_header_timeout(serve.server.header_timeout);
        let starting = health::starting(metrics.clone());
        let frontend = Frontend::open("control", &serve.server.listen, limits, None, starting);
        let frontend = frontend.await?;
        let address = frontend.address.clone();
        let later = Later::default();
        let grpc = grpc::open(&auth, limits.with_connections(over_grpc)).await?;
        let limits = limits.with_connections(over_http);
        let over_http = match &auth.listen {
            Some(listen) => {
                let tls = auth.tls.clone();
                let starting = health::starting_auth();
                let tls = tls.load_if_set()?;
                let front = Some(later.clone());
                Some(Frontend::open_with("auth", listen, limits, tls, starting, front).await?)
            }
            None => None,
        };
        // Before the address is written: a supervisor may stop the server as soon as it reads that.
        let mut signals = signals()?;
        tracing::info!(%address, "reading the store");
        // A damaged file may lack revocations.
        tokio::select! {
            checked = store.quick_check() => checked?,
            () = signals.received() => return Ok(()),
        }
        let replica = Follower::over(Arc::clone(&keyring))
            .poll_every(serve.follow_every)
            .flush_usage_every(serve.flush_every)
            .start();
        let replica = tokio::select! {
            replica = replica => replica?,
            () = signals.received() => return Ok(()),
        };

        let bootstrap = Bootstrap {
            keyring: &keyring,
            team: serve.operators.clone(),
            owner: serve.operator,
            file: serve.operator_file.as_deref(),
            panel: serve.panel,
            auth_tls: auth.tls.certificate.is_some(),
        };
        let authenticate = ControlKeys::new(replica.verifier());
        let gateways = Gateways::at(match serve.api_host {
            Some(api_host) => api_host,
            None => own_address(frontend.socket)?,
        });
        let plane = ControlPlane::new(Arc::clone(&keyring))
            .with_authenticate(authenticate)
            .with_directory(gateways.in_regions(serve.regions));
        let fleet = serve.feed.listen.is_some().then(FedReplicas::default);
        let plane = match &fleet {
            Some(fleet) => plane.with_fleet(fleet.clone()),
            None => plane,
        };
        let rehasher = Rehasher::start(Arc::clone(&keyring), has_pepper);
        let plane = match &rehasher {
            // It records no use: the control plane does.
            Some(rehasher) => plane.into_router().layer(from_fn_with_state(
                (rehasher.clone(), keyring.unbounded_verifier()),
                rehash::of_control_plane,
            )),
            None => plane.into_router(),
        };
        let plane = plane.layer(from_fn_with_state(replica.pauses(), pause::wait));
        let on_accepted = rehasher.map(|rehasher| -> OnAccepted {
            Box::new(move |principal, header| rehasher.offer(principal, header))
        });
        let format = *keyring.format();
        let authorizer = auth::authorizer(&auth, &replica, format, signer, on_accepted);
        grpc::ready(grpc.as_ref(), &auth, &authorizer, replica.monitor());
        let front = auth::front(&auth, authorizer);
        let panel = serve.panel.then(|| Panel::new(plane.clone()).into_router());
        let all = Router::new()
            .merge(panel.unwrap_or_default())
            .merge(replica.readyz())
            .merge(health::routes(replica.monitor(), Some(writes), metrics))
            .merge(plane);

        let (verifier, operators) = (replica.verifier(), serve.operators);
        let feed = Feed::start(serve.feed, store.keys(), &keyring, verifier, operators).await?;
        if let (Some(feed), Some(fleet)) = (&feed, &fleet) {
            fleet.are_fed_by(feed);
        }
        frontend.ready(all);
        later.set(front.clone());
        let asked_at = over_http.as_ref().map(|frontend| {
            let routes = health::of_auth(replica.readyz()).merge(front.into_router());
            frontend.ready(routes);
            &frontend.address
        });
        bootstrap.show(terminal, &address, asked_at).await?;
        if let Some(auth) = asked_at {
            tracing::info!(%address, %auth, "serving");
        } else {
            tracing::info!(%address, "serving");
        }

        let ended = tokio::select! {
            () = signals.received() => Ok(()),
            failure = replica.failed() => Err(cannot_follow(&failure)),
            failure = failed(feed.as_ref()) => Err(failure),
        };
        tracing::info!("stopping");
        if let Some(feed) = feed {
            feed.stop().await;
        }
        let auth = async {
            if let Some(frontend) = over_http {
                frontend.stop().await;
            }
        };
        tokio::join!(frontend.stop(), auth, grpc::stop(grpc));
        // After the last call, so that its use is written too.
        replica.stop().await;
        tracing::info!("stopped");
        ended
    }
}

/// The address of the gateways if none is set: the one that the server listens on. One that stands
/// for all addresses of the machine is no address to connect to.
fn own_address(socket: Option<SocketAddr>) -> Result<ApiHost, Failure> {
    let Some(address) = socket else {
        return Err(Failure::usage(
            "api_host: must be set if the server listens on a Unix socket",
        ));
    };
    let reachable = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    if reachable != address.ip() {
        tracing::warn!(
            "clients on other machines read the wrong address from namespaces: set api_host to that of your gateway"
        );
    }
    ApiHost::parse(&format!(
        "http://{}",
        SocketAddr::new(reachable, address.port())
    ))
    .map_err(|error| Failure::new(Exit::Failed, format!("api_host {error}")))
}

/// Waits until the feed, if there is one, cannot be published any more.
async fn failed(feed: Option<&Feed>) -> Failure {
    match feed {
        Some(feed) => feed.failed().await,
        None => std::future::pending().await,
    }
}

fn cannot_follow(failure: &keyfob_replica::Failure) -> Failure {
    Failure::new(Exit::Store, with_sources(failure))
        .hint("start the server again: it then reads all keys from the store")
}

/// How long an answer waits until this process applies the change that it made.
const SYNC_WITHIN: Duration = Duration::from_secs(5);
