//! The authorizer over gRPC, for Envoy.

use keyfob_gateway::Authorizer;
use keyfob_listen::Limits;
use keyfob_replica::Monitor;

use crate::{failure::Failure, settings::AuthSettings};

use super::Frontend;

/// The name of the listener in logs and metrics.
pub(super) const NAME: &str = "auth_grpc";

/// Listens, if the settings have an address for it. Until it is [`ready`], every call fails with 503.
#[cfg(feature = "envoy")]
pub(crate) async fn open(
    settings: &AuthSettings,
    limits: Limits,
) -> Result<Option<Frontend>, Failure> {
    use axum::{Router, http::StatusCode};
    use keyfob_listen::{Routes, Server};

    let Some(address) = &settings.grpc_listen else {
        return Ok(None);
    };
    let tls = settings.tls.clone().load_if_set()?;
    let starting = Router::new().fallback(async || StatusCode::SERVICE_UNAVAILABLE);
    let routes = Routes::starting(starting);
    let changed = |server: Server| {
        super::on_own_threads(server.with_limits(limits).with_tls(tls).with_http2())
    };
    let frontend = Frontend::serving(NAME, address, routes, changed).await?;
    tracing::info!(address = %frontend.address, "listening for Envoy");
    Ok(Some(frontend))
}

/// Answers by this authorizer from now on.
#[cfg(feature = "envoy")]
pub(crate) fn ready(
    frontend: Option<&Frontend>,
    settings: &AuthSettings,
    authorizer: &Authorizer,
    monitor: Monitor,
) {
    use keyfob_envoy::ExtAuthz;

    if let Some(frontend) = frontend {
        let service = ExtAuthz::new(authorizer.clone())
            .with_peers(settings.peers.clone())
            .healthy_while(move || monitor.is_ready());
        frontend.ready(service.into_router());
    }
}

#[cfg(not(feature = "envoy"))]
#[expect(clippy::unused_async, reason = "it waits where the feature is on")]
pub(crate) async fn open(settings: &AuthSettings, _: Limits) -> Result<Option<Frontend>, Failure> {
    match &settings.grpc_listen {
        None => Ok(None),
        Some(_) => Err(
            Failure::usage("auth.grpc_listen: this program was built without gRPC")
                .hint("build it with `--features envoy`, as `just release` does"),
        ),
    }
}

#[cfg(not(feature = "envoy"))]
pub(crate) fn ready(_: Option<&Frontend>, _: &AuthSettings, _: &Authorizer, _: Monitor) {}

/// Waits for the calls that are under way, and stops.
pub(crate) async fn stop(frontend: Option<Frontend>) {
    if let Some(frontend) = frontend {
        frontend.stop().await;
    }
}
