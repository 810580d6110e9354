//! How the control plane authenticates its callers.

use std::{future::Future, pin::Pin};

use axum::http::request::Parts;
use keyfob::Timestamp;

use crate::caller::Caller;

/// Authenticates the caller of a request: the embedder's implementation, or [`ControlKeys`].
///
/// [`ControlKeys`]: crate::ControlKeys
///
/// # Security
///
/// It is called for every request. It must refuse a request with more than one `Authorization`
/// field, and must not take a credential from the URL.
///
/// A request's body can arrive long after its head. So the store checks the caller's
/// [`authority`](Caller::authority) again when it keeps a change: a person or service that was
/// removed from the team meanwhile, or a credential that no longer works, changes nothing. Rights
/// that only the embedder knows of are as old as the head.
///
/// # Examples
///
/// Behind a proxy that has authenticated the caller, and whose header no one else can set:
///
/// ```
/// use axum::http::request::Parts;
/// use keyfob::{Actor, Timestamp, name::{TeamId, UserId}};
/// use keyfob_api::{Authenticate, Authentication, Caller, Right, Rights, Unauthenticated};
///
/// struct Proxy;
///
/// impl Authenticate for Proxy {
///     fn authenticate<'a>(&'a self, request: &'a Parts, _: Timestamp) -> Authentication<'a> {
///         Box::pin(async move {
///             let mut names = request.headers.get_all("x-proxy-user").iter();
///             let (Some(name), None) = (names.next(), names.next()) else {
///                 return Err(Unauthenticated::Refused("no user"));
///             };
///             let user = name.to_str().ok().and_then(|name| UserId::new(name).ok());
///             let user = user.ok_or(Unauthenticated::Refused("user name"))?;
///             let team = TeamId::new("acme").map_err(|_| Unauthenticated::Refused("team"))?;
///             let rights = Rights::new([Right::FunctionAdmin]);
///             Ok(Caller::new(Actor::user(user), team, rights))
///         })
///     }
/// }
/// ```
pub trait Authenticate: Send + Sync {
    /// Authenticates the caller by the head of a request, at `now`.
    ///
    /// - the credential is valid -> `Ok`
    /// - it is missing or invalid -> [`Unauthenticated::Refused`]
    /// - it is valid, and not for this interface -> [`Unauthenticated::Forbidden`]
    /// - it cannot be checked now -> [`Unauthenticated::Unavailable`]
    fn authenticate<'a>(&'a self, request: &'a Parts, now: Timestamp) -> Authentication<'a>;
}

/// The future of [`Authenticate::authenticate`].
pub type Authentication<'a> =
    Pin<Box<dyn Future<Output = Result<Caller, Unauthenticated>> + Send + 'a>>;

/// Why a caller was not authenticated. The reason is for the log and the metrics; the caller does not
/// get it.
///
/// There must be few reasons: they become a label of a metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Unauthenticated {
    /// The credential is missing or invalid: 401.
    #[error("refused: {0}")]
    Refused(&'static str),
    /// A valid credential that is not for this interface: 403.
    #[error("forbidden: {0}")]
    Forbidden(&'static str),
    /// It cannot be checked now, which is not the caller's fault: 503.
    #[error("unavailable: {0}")]
    Unavailable(&'static str),
}
