use std::time::Duration;

use http::StatusCode;
use keyfob::Denied;

use crate::namespace::NamespaceFault;

/// Why a guard refused a request: data for logs and metrics, which the guard puts into the
/// extensions of the response.
///
/// What it displays is one text for every reason, as that of [`Denied`]; its `Debug` form and
/// [`Refusal::reason`] have the reason. No form has anything in it that the client wrote.
///
/// # Examples
///
/// A line of the log for each refused request, written outside the guard:
///
/// ```
/// use keyfob_tower::Refusal;
///
/// fn log<B>(response: http::Response<B>) -> http::Response<B> {
///     if let Some(refusal) = response.extensions().get::<Refusal>() {
///         let credential = refusal.denied().and_then(|denied| denied.credential());
///         let credential = credential.map_or("-".to_owned(), |id| id.to_string());
///         eprintln!(
///             "refused status={} reason={} credential={credential}",
///             refusal.status().as_u16(),
///             refusal.reason(),
///         );
///     }
///     response
/// }
/// # log(http::Response::new(()));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("access denied")]
#[non_exhaustive]
pub enum Refusal {
    /// The verifier refused the credential: 401, 403 or 503.
    Denied(Denied),
    /// The embedder's throttle found that the client calls too often: 429.
    #[non_exhaustive]
    Throttled {
        /// The time after which the client may call again.
        retry_after: Duration,
        /// Why the credential was refused; `None` if it is valid.
        denied: Option<Denied>,
    },
    /// The process was paused, and what was revoked meanwhile is not known yet: 503.
    Paused,
    /// The request does not say which namespace it is for: 400 or 404. Its credential was not
    /// looked at.
    Namespace(NamespaceFault),
}

impl Refusal {
    /// The HTTP status of the response.
    pub fn status(&self) -> StatusCode {
        match self {
            Self::Denied(denied) => {
                StatusCode::from_u16(denied.status()).unwrap_or(StatusCode::UNAUTHORIZED)
            }
            Self::Throttled { .. } => StatusCode::TOO_MANY_REQUESTS,
            Self::Paused => StatusCode::SERVICE_UNAVAILABLE,
            Self::Namespace(NamespaceFault::Missing) => StatusCode::NOT_FOUND,
            Self::Namespace(_) => StatusCode::BAD_REQUEST,
        }
    }

    /// The lasting name of the reason, as in `unknown_key`: a label for metrics.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Denied(denied) => denied.reason().as_str(),
            Self::Throttled { .. } => "throttled",
            Self::Paused => "paused",
            Self::Namespace(NamespaceFault::Missing) => "no_namespace",
            Self::Namespace(NamespaceFault::Ambiguous) => "ambiguous_namespace",
            Self::Namespace(NamespaceFault::Invalid(_)) => "invalid_namespace",
        }
    }

    /// What the verifier said, if it refused the credential.
    pub fn denied(&self) -> Option<&Denied> {
        match self {
            Self::Denied(denied) => Some(denied),
            Self::Throttled { denied, .. } => denied.as_ref(),
            Self::Paused | Self::Namespace(_) => None,
        }
    }
}

impl From<Denied> for Refusal {
    fn from(denied: Denied) -> Self {
        Self::Denied(denied)
    }
}

impl From<NamespaceFault> for Refusal {
    fn from(fault: NamespaceFault) -> Self {
        Self::Namespace(fault)
    }
}
