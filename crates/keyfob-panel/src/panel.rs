//! The panel: its settings and its router.

use std::{sync::Arc, time::Duration};

use axum::{
    Router,
    extract::DefaultBodyLimit,
    middleware::from_fn_with_state,
    routing::{get, post},
};
use keyfob::Timestamp;

use crate::{
    assets,
    client::Api,
    frame,
    screens::{
        audit, create, expiring, fleet, key, keys, leaks, leave, migration, namespace, policies,
        revoke, rotate, search, sign_in, team,
    },
    session::{Limits, Sessions},
    visit,
};

/// The control panel over the router of a control plane; [`into_router`](Self::into_router) makes an
/// [`axum::Router`] of it.
///
/// # Examples
///
/// ```
/// use std::sync::Arc;
///
/// use keyfob::{Keyring, MemoryStore};
/// use keyfob_api::ControlPlane;
/// use keyfob_panel::Panel;
///
/// # async fn router() -> Result<axum::Router, keyfob::manage::Error> {
/// let keyring = Keyring::open(MemoryStore::new(), "acme").await?;
/// let api = ControlPlane::new(Arc::new(keyring)).into_router();
/// let app = Panel::new(api.clone()).into_router().merge(api);
/// # Ok(app)
/// # }
/// ```
pub struct Panel {
    api: Router,
    limits: Limits,
    clock: Clock,
}

/// Tells the time.
pub(crate) type Clock = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// What the requests share.
pub(crate) struct Shared {
    pub(crate) api: Api,
    pub(crate) sessions: Arc<Sessions>,
    pub(crate) clock: Clock,
}

impl Panel {
    /// A panel over this router, which must be that of a control plane, with all its paths.
    pub fn new(api: Router) -> Self {
        Self {
            api,
            limits: Limits::default(),
            clock: Arc::new(keyfob::now),
        }
    }

    /// Ends a session after this time without a request. The default is 15 minutes.
    #[must_use]
    pub fn with_idle(mut self, idle: Duration) -> Self {
        self.limits.idle = idle;
        self
    }

    /// Ends a session this long after it began. The default is 12 hours.
    #[must_use]
    pub fn with_lifetime(mut self, lifetime: Duration) -> Self {
        self.limits.lifetime = lifetime;
        self
    }

    /// Keeps this many sessions at most: one more ends the one that was idle for the longest time.
    /// The default is 10,000.
    #[must_use]
    pub fn with_sessions(mut self, most: usize) -> Self {
        self.limits.most = most;
        self
    }

    /// With this clock, by which pages tell how long ago something was.
    #[must_use]
    pub fn with_clock(mut self, clock: impl Fn() -> Timestamp + Send + Sync + 'static) -> Self {
        self.clock = Arc::new(clock);
        self
    }

    /// The router, with all its paths from the root. None of them is a path of the control plane.
    pub fn into_router(self) -> Router {
        let shared = Arc::new(Shared {
            api: Api::new(self.api),
            sessions: Arc::new(Sessions::new(self.limits)),
            clock: self.clock,
        });
        let signed_in = Router::new()
            .route("/", get(keys::home))
            .route("/keys", get(keys::show).post(search::submit))
            .route("/keys/new", get(create::show).post(create::submit))
            .route("/keys/revoke", get(revoke::show).post(revoke::submit))
            .route("/keys/{namespace}/{id}", get(key::show).post(key::update))
            .route("/keys/{namespace}/{id}/disable", post(key::disable))
            .route("/keys/{namespace}/{id}/enable", post(key::enable))
            .route(
                "/keys/{namespace}/{id}/rotate",
                get(rotate::show).post(rotate::submit),
            )
            .route("/people/{owner}", get(leave::person))
            .route(
                "/people/{owner}/leave",
                get(leave::show).post(leave::submit),
            )
            .route("/people/{owner}/restore", post(leave::restore))
            .route("/migration", get(migration::show))
            .route(
                "/migration/{namespace}",
                get(migration::edit).post(migration::submit),
            )
            .route(
                "/migration/{namespace}/cut-off",
                get(migration::confirm).post(migration::cut_off),
            )
            .route("/migration/{namespace}/undo", post(migration::undo))
            .route("/expiring", get(expiring::show))
            .route("/policies", get(policies::show))
            .route(
                "/policies/{namespace}",
                get(policies::edit).post(policies::submit),
            )
            .route("/audit", get(audit::show))
            .route("/audit/export", get(audit::export))
            .route("/audit/verify", post(audit::verify))
            .route("/fleet", get(fleet::show))
            .route("/team", get(team::show).post(team::switch))
            .route("/namespaces", post(team::create_namespace))
            .route(
                "/namespaces/{namespace}/remove",
                get(namespace::confirm).post(namespace::remove),
            )
            .route("/namespaces/{namespace}/restore", post(namespace::restore))
            .route("/session/choose", post(sign_in::choose))
            .route("/leaks", get(leaks::show).post(leaks::submit))
            .layer(from_fn_with_state(Arc::clone(&shared), visit::require));
        Router::new()
            .route("/session", get(sign_in::show).post(sign_in::submit))
            .route("/session/end", post(sign_in::end))
            .route("/assets/{version}/{name}", get(assets::serve))
            .with_state(Arc::clone(&shared))
            .merge(signed_in.with_state(Arc::clone(&shared)))
            .layer(DefaultBodyLimit::max(BODY_MAX))
            .layer(from_fn_with_state(shared, frame::wrap))
    }
}

/// The longest form, in bytes.
pub(crate) const BODY_MAX: usize = 128 * 1024;
