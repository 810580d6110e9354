//! The control plane as a whole: what it is made of, and its router.

use std::sync::Arc;

use axum::{Router, middleware::from_fn_with_state, response::IntoResponse};
use keyfob::{KeyStore, Keyring, Timestamp, Verifier, key::KeyFormat};
use time::OffsetDateTime;
use tower_http::catch_panic::CatchPanicLayer;

use crate::{
    admission::{RateKey, admit},
    authenticate::Authenticate,
    calls,
    control_keys::ControlKeys,
    directory::{Directory, OneRegion},
    docs,
    frame::frame,
    key::single_flight::SingleFlight,
    limits::Limits,
    openapi,
    rate::{Rate, Source},
    refusal::Refusal,
};

/// The control plane over a store, to be made into an [`axum::Router`].
///
/// The router speaks plain HTTP and keeps no connection: TLS, slow clients and the number of
/// connections are for whoever serves it. Served with `into_make_service_with_connect_info`, it
/// bounds refused attempts for each source, and else for all together.
///
/// # Examples
///
/// See `examples/control_plane.rs`.
pub struct ControlPlane<S> {
    keyring: Arc<Keyring<S>>,
    verifier: Verifier,
    authenticate: Arc<dyn Authenticate>,
    directory: Arc<dyn Directory>,
    limits: Limits,
    clock: Clock,
}

impl<S: KeyStore + 'static> ControlPlane<S> {
    /// A control plane over this keyring, that lets in whoever has a control key
    /// ([`ControlKeys`]), by the system's clock.
    ///
    /// The verifier is [`Keyring::verifier`]: it judges the callers' keys, and those that are
    /// introspected, revoked by their holders or reported as leaked.
    pub fn new(keyring: Arc<Keyring<S>>, verifier: Verifier) -> Self {
        Self {
            keyring,
            authenticate: Arc::new(ControlKeys::new(verifier.clone())),
            verifier,
            directory: Arc::new(OneRegion::default()),
            limits: Limits::default(),
            clock: Arc::new(|| Timestamp::from(OffsetDateTime::now_utc())),
        }
    }

    /// Letting in whom this knows, in place of [`ControlKeys`].
    #[must_use]
    pub fn with_authenticate(mut self, authenticate: impl Authenticate + 'static) -> Self {
        self.authenticate = Arc::new(authenticate);
        self
    }

    /// Telling of namespaces what this knows.
    #[must_use]
    pub fn with_directory(mut self, directory: impl Directory + 'static) -> Self {
        self.directory = Arc::new(directory);
        self
    }

    /// Within these limits.
    #[must_use]
    pub fn with_limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// By this clock, which is read once for each request.
    #[must_use]
    pub fn with_clock(mut self, clock: impl Fn() -> Timestamp + Send + Sync + 'static) -> Self {
        self.clock = Arc::new(clock);
        self
    }

    /// The router, with all of its paths from the root on.
    pub fn into_router(self) -> Router {
        let gate = Arc::new(Gate {
            authenticate: self.authenticate,
            callers: Rate::new(self.limits.caller),
            refused: Rate::new(self.limits.refused),
            clock: self.clock,
            limits: self.limits,
        });
        let plane = Arc::new(Plane {
            keyring: self.keyring,
            verifier: self.verifier,
            directory: self.directory,
            creations: SingleFlight::default(),
            gate: Arc::clone(&gate),
        });
        let (admitted, public) = (calls::admitted::<S>(), calls::public::<S>());
        let document =
            openapi::complete(admitted.get_openapi().clone(), public.get_openapi().clone());
        let admitted = Router::from(admitted)
            .with_state(Arc::clone(&plane))
            .fallback(|| async { Refusal::NOT_FOUND })
            .method_not_allowed_fallback(|| async { Refusal::METHOD_NOT_ALLOWED })
            .layer(from_fn_with_state(Arc::clone(&gate), admit));
        Router::from(public)
            .with_state(plane)
            .merge(docs::routes(&document))
            .method_not_allowed_fallback(|| async { Refusal::METHOD_NOT_ALLOWED })
            .merge(admitted)
            .layer(CatchPanicLayer::custom(|_| {
                Refusal::SERVER_ERROR.into_response()
            }))
            .layer(from_fn_with_state(gate, frame))
    }

    /// The `OpenAPI` document of the router, which also serves it at `/openapi.json`.
    pub fn openapi() -> utoipa::openapi::OpenApi {
        let (admitted, public) = (calls::admitted::<S>(), calls::public::<S>());
        openapi::complete(admitted.into_openapi(), public.into_openapi())
    }
}

/// What the handlers work with.
pub(crate) struct Plane<S> {
    pub(crate) keyring: Arc<Keyring<S>>,
    pub(crate) verifier: Verifier,
    pub(crate) directory: Arc<dyn Directory>,
    pub(crate) creations: SingleFlight,
    pub(crate) gate: Arc<Gate>,
}

impl<S: KeyStore> Plane<S> {
    pub(crate) fn format(&self) -> &KeyFormat {
        self.keyring.format()
    }
}

/// What stands before the handlers.
pub(crate) struct Gate {
    pub(crate) authenticate: Arc<dyn Authenticate>,
    pub(crate) callers: Rate<RateKey>,
    pub(crate) refused: Rate<Source>,
    pub(crate) clock: Clock,
    pub(crate) limits: Limits,
}

/// Tells the time.
type Clock = Arc<dyn Fn() -> Timestamp + Send + Sync>;
