//! The control plane: its settings and its router.

use std::sync::Arc;

use axum::{Router, middleware::from_fn_with_state, response::IntoResponse};
use keyfob::{Keyring, Timestamp};
use tower_http::catch_panic::CatchPanicLayer;

use crate::{
    admission::admit,
    authenticate::Authenticate,
    control_keys::ControlKeys,
    directory::{ApiHost, Directory, Gateways},
    docs,
    fleet::Fleet,
    limits::Limits,
    middleware, openapi,
    refusal::Refusal,
    request_limits::{Clock, RequestLimits},
    routes,
    single_flight::SingleFlight,
    state::AppState,
};

/// The control plane over a keyring; [`into_router`](Self::into_router) makes an [`axum::Router`]
/// of it.
///
/// The router speaks plain HTTP and manages no connections: TLS, slow clients and the number of
/// connections are up to the server. Served with `into_make_service_with_connect_info`, it limits
/// failed attempts by network address, otherwise for all clients together.
///
/// # Examples
///
/// See `examples/control_plane.rs`.
pub struct ControlPlane {
    keyring: Arc<Keyring>,
    authenticate: Arc<dyn Authenticate>,
    directory: Arc<dyn Directory>,
    fleet: Option<Arc<dyn Fleet>>,
    limits: Limits,
    clock: Clock,
}

impl ControlPlane {
    /// A control plane over this keyring that authenticates control keys ([`ControlKeys`]) and uses
    /// the system's clock.
    ///
    /// [`Keyring::verifier`] verifies the callers' keys, and the credentials that are introspected,
    /// revoked by their holders or reported as leaked. If other processes can change the store,
    /// something must call [`Keyring::sync`] often: see there.
    pub fn new(keyring: Arc<Keyring>) -> Self {
        Self {
            authenticate: Arc::new(ControlKeys::new(keyring.verifier())),
            keyring,
            directory: Arc::new(Gateways::at(ApiHost::local())),
            fleet: None,
            limits: Limits::default(),
            clock: Arc::new(keyfob::now),
        }
    }

    /// With this authentication in place of [`ControlKeys`].
    #[must_use]
    pub fn with_authenticate(mut self, authenticate: impl Authenticate + 'static) -> Self {
        self.authenticate = Arc::new(authenticate);
        self
    }

    /// With this directory of namespaces.
    #[must_use]
    pub fn with_directory(mut self, directory: impl Directory + 'static) -> Self {
        self.directory = Arc::new(directory);
        self
    }

    /// With what tells the state of the replicas. Without it, `/v1/fleet` is not found.
    #[must_use]
    pub fn with_fleet(mut self, fleet: impl Fleet + 'static) -> Self {
        self.fleet = Some(Arc::new(fleet));
        self
    }

    /// With these limits.
    #[must_use]
    pub fn with_limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// With this clock. It is read when a request is authenticated, and again when it changes
    /// something, after its body was read.
    #[must_use]
    pub fn with_clock(mut self, clock: impl Fn() -> Timestamp + Send + Sync + 'static) -> Self {
        self.clock = Arc::new(clock);
        self
    }

    /// The router, with all its paths from the root.
    pub fn into_router(self) -> Router {
        let limits = RequestLimits::new(self.authenticate, self.limits, self.clock);
        let limits = Arc::new(limits);
        let state = Arc::new(AppState {
            verifier: self.keyring.verifier().without_usage(),
            keyring: self.keyring,
            directory: self.directory,
            fleet: self.fleet,
            creations: SingleFlight::default(),
            limits: Arc::clone(&limits),
        });
        let (admitted, public) = (routes::admitted(), routes::public());
        let document =
            openapi::complete(admitted.get_openapi().clone(), public.get_openapi().clone());
        let admitted = Router::from(admitted)
            .with_state(Arc::clone(&state))
            .fallback(|| async { Refusal::NOT_FOUND })
            .method_not_allowed_fallback(|| async { Refusal::METHOD_NOT_ALLOWED })
            .layer(from_fn_with_state(Arc::clone(&limits), admit));
        Router::from(public)
            .with_state(state)
            .merge(docs::routes(&document))
            .method_not_allowed_fallback(|| async { Refusal::METHOD_NOT_ALLOWED })
            .merge(admitted)
            .layer(CatchPanicLayer::custom(|_| {
                Refusal::SERVER_ERROR.into_response()
            }))
            .layer(from_fn_with_state(limits, middleware::wrap))
    }

    /// The `OpenAPI` document of the router, which also serves it at `/openapi.json`.
    pub fn openapi() -> serde_json::Value {
        let (admitted, public) = (routes::admitted(), routes::public());
        openapi::complete(admitted.into_openapi(), public.into_openapi())
    }
}
