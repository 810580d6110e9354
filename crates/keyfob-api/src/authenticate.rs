//! How the control plane learns who calls.

use std::{future::Future, pin::Pin};

use axum::http::request::Parts;
use keyfob::Timestamp;

use crate::caller::Caller;

/// Tells who sends a request, and what they may: the embedder's, or [`ControlKeys`].
///
/// [`ControlKeys`]: crate::ControlKeys
///
/// # Security
///
/// It is asked anew for every request, so that a right that was taken away is gone at once. It
/// must refuse a request with more than one `Authorization` field, and look for no credential in
/// the URL.
///
/// # Examples
///
/// Behind a proxy that has authenticated the caller and whose header nobody else can set:
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
    /// Judges a request by its head, at `now`.
    ///
    /// - it shows who calls -> `Ok`
    /// - it does not -> [`Unauthenticated::Refused`]
    /// - a valid credential that opens something else -> [`Unauthenticated::Forbidden`]
    /// - it cannot be judged now -> [`Unauthenticated::Unavailable`]
    fn authenticate<'a>(&'a self, request: &'a Parts, now: Timestamp) -> Authentication<'a>;
}

/// The future of [`Authenticate::authenticate`].
pub type Authentication<'a> =
    Pin<Box<dyn Future<Output = Result<Caller, Unauthenticated>> + Send + 'a>>;

/// Why it is not known who calls; the word is for the log and the metrics, never for the caller.
///
/// The word must be one of few: it becomes a label of a metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Unauthenticated {
    /// No credential, or not a valid one: 401.
    #[error("refused: {0}")]
    Refused(&'static str),
    /// A valid credential that is none of this interface: 403.
    #[error("forbidden: {0}")]
    Forbidden(&'static str),
    /// Not the caller's fault: 503.
    #[error("unavailable: {0}")]
    Unavailable(&'static str),
}
