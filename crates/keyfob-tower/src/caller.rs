use std::{fmt, ops::Deref};

use keyfob::gateway::OwnedPrincipal;

/// Who called: what a guard puts into the extensions of each request that it lets through.
///
/// It displays as `user:alice` or `service:bot`. In axum it is an extractor (feature `axum`); where
/// no guard ran before the handler, the response is 500.
///
/// It records the decision that was made when the request arrived. A handler that works for long,
/// as one of a WebSocket does, goes on when the key is revoked, unless it verifies again.
///
/// # Examples
///
/// In a service without axum:
///
/// ```
/// use keyfob_tower::Caller;
///
/// fn greeting<B>(request: &http::Request<B>) -> Option<String> {
///     let caller = request.extensions().get::<Caller>()?;
///     Some(format!("hello {caller}, this is {}", caller.tenant.namespace))
/// }
/// # assert_eq!(greeting(&http::Request::new(())), None);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller(OwnedPrincipal);

impl Caller {
    /// The principal.
    pub fn into_inner(self) -> OwnedPrincipal {
        self.0
    }
}

impl From<OwnedPrincipal> for Caller {
    fn from(principal: OwnedPrincipal) -> Self {
        Self(principal)
    }
}

impl Deref for Caller {
    type Target = OwnedPrincipal;

    fn deref(&self) -> &OwnedPrincipal {
        &self.0
    }
}

impl fmt::Display for Caller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// A handler asked for the [`Caller`], but no guard let the request through: the route lacks its
/// layer.
///
/// The response is 500, with this error in its extensions for logs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no keyfob guard is a layer of this route, so its caller is unknown")]
#[cfg(feature = "axum")]
pub struct CallerMissing;

#[cfg(feature = "axum")]
mod extract {
    use axum_core::{
        body::Body,
        extract::FromRequestParts,
        response::{IntoResponse, Response},
    };
    use http::{StatusCode, request::Parts};

    use super::{Caller, CallerMissing};
    use crate::response::json;

    impl<S: Sync> FromRequestParts<S> for Caller {
        type Rejection = CallerMissing;

        async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, CallerMissing> {
            parts.extensions.get().cloned().ok_or(CallerMissing)
        }
    }

    impl IntoResponse for CallerMissing {
        fn into_response(self) -> Response {
            let body = r#"{"id":"server_error","message":"the server failed"}"#;
            let mut response = json(body).map(Body::from);
            *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
            response.extensions_mut().insert(self);
            response
        }
    }
}
