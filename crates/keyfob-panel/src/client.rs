//! Calls of the control plane, in process.
//!
//! The panel is a client like any other: its requests carry the user's credential, and the control
//! plane decides about each of them.

use std::net::SocketAddr;

use axum::{
    Router,
    body::{Body, Bytes},
    extract::ConnectInfo,
    http::{HeaderValue, Method, Request, StatusCode, header},
    response::Response,
};
use http_body_util::BodyExt as _;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use tower::ServiceExt as _;
use zeroize::Zeroizing;

/// The router of the control plane.
#[derive(Clone)]
pub(crate) struct Api(Router);

impl Api {
    pub(crate) fn new(router: Router) -> Self {
        Self(router)
    }

    /// Calls with this credential, for a client at this address.
    pub(crate) fn with(&self, credential: Zeroizing<String>, from: Origin) -> Client {
        Client {
            api: self.clone(),
            credential,
            from,
        }
    }
}

/// Where a request came from: for the limits of failed attempts, and for the audit trail.
#[derive(Clone, Default)]
pub(crate) struct Origin {
    pub(crate) address: Option<ConnectInfo<SocketAddr>>,
    pub(crate) request_id: Option<HeaderValue>,
}

/// Makes calls of the control plane with a user's credential.
#[derive(Clone)]
pub(crate) struct Client {
    api: Api,
    credential: Zeroizing<String>,
    from: Origin,
}

/// Why a call failed: the control plane's answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refused {
    pub(crate) status: StatusCode,
    pub(crate) message: String,
    pub(crate) request_id: String,
}

impl Refused {
    /// The answer of a control plane that does not answer as its document says.
    fn unreadable(status: StatusCode) -> Self {
        Self {
            status: if status.is_success() {
                StatusCode::BAD_GATEWAY
            } else {
                status
            },
            message: "the control plane's answer could not be read".to_owned(),
            request_id: String::new(),
        }
    }
}

impl Client {
    pub(crate) async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, Refused> {
        read(self.call(Method::GET, path, None, &[]).await?).await
    }

    /// Sends a body of JSON.
    pub(crate) async fn send<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: &impl Serialize,
    ) -> Result<T, Refused> {
        self.send_with(method, path, body, &[]).await
    }

    pub(crate) async fn post<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &impl Serialize,
    ) -> Result<T, Refused> {
        self.send(Method::POST, path, body).await
    }

    /// Sends a body of JSON, with these fields in addition.
    pub(crate) async fn send_with<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: &impl Serialize,
        fields: &[(&'static str, &str)],
    ) -> Result<T, Refused> {
        let body = serde_json::to_vec(body);
        let body = body.map_err(|_| Refused::unreadable(StatusCode::INTERNAL_SERVER_ERROR))?;
        read(self.call(method, path, Some(body), fields).await?).await
    }

    pub(crate) async fn delete(&self, path: &str) -> Result<(), Refused> {
        self.call(Method::DELETE, path, None, &[]).await.map(drop)
    }

    /// The answer as it is, unless it is a refusal.
    async fn call(
        &self,
        method: Method,
        path: &str,
        body: Option<Vec<u8>>,
        fields: &[(&'static str, &str)],
    ) -> Result<Response, Refused> {
        let invalid = || Refused {
            status: StatusCode::BAD_REQUEST,
            message: "this cannot be asked".to_owned(),
            request_id: String::new(),
        };
        let bearer = Zeroizing::new(format!("Bearer {}", &*self.credential));
        let mut bearer = HeaderValue::from_str(&bearer).map_err(|_| Refused {
            status: StatusCode::UNAUTHORIZED,
            ..invalid()
        })?;
        bearer.set_sensitive(true);
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::AUTHORIZATION, bearer);
        if body.is_some() {
            request = request.header(header::CONTENT_TYPE, "application/json");
        }
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        if let Some(id) = &self.from.request_id {
            request = request.header("x-request-id", id);
        }
        let body = body.map_or_else(Body::empty, Body::from);
        let mut request = request.body(body).map_err(|_| invalid())?;
        if let Some(address) = self.from.address {
            request.extensions_mut().insert(address);
        }
        let Ok(response) = self.api.0.clone().oneshot(request).await;
        if response.status().is_success() {
            return Ok(response);
        }
        let status = response.status();
        let body = collect(response).await?;
        let refusal: Refusal =
            serde_json::from_slice(&body).map_err(|_| Refused::unreadable(status))?;
        Err(Refused {
            status,
            message: refusal.message,
            request_id: refusal.request_id,
        })
    }
}

/// The body of a refusal.
#[derive(Deserialize)]
struct Refusal {
    message: String,
    request_id: String,
}

async fn read<T: DeserializeOwned>(response: Response) -> Result<T, Refused> {
    let status = response.status();
    let body = collect(response).await?;
    serde_json::from_slice(&body).map_err(|error| {
        // The error names a position and a type; the body may hold a secret.
        tracing::error!(
            line = error.line(),
            column = error.column(),
            "an answer of the control plane does not fit"
        );
        Refused::unreadable(status)
    })
}

async fn collect(response: Response) -> Result<Bytes, Refused> {
    let status = response.status();
    let body = response.into_body().collect().await;
    body.map(http_body_util::Collected::to_bytes)
        .map_err(|_| Refused::unreadable(status))
}

/// A name as a segment of a path, or a value of a query.
pub(crate) fn segment(name: &str) -> String {
    const RESERVED: &AsciiSet = &NON_ALPHANUMERIC
        .remove(b'-')
        .remove(b'_')
        .remove(b'.')
        .remove(b'~');
    // A path of only dots would be another path.
    if name.bytes().all(|byte| byte == b'.') {
        return name.replace('.', "%2E");
    }
    utf8_percent_encode(name, RESERVED).to_string()
}

/// Builds the query of an address from fields, without those that are empty.
pub(crate) fn query<'a>(fields: impl IntoIterator<Item = (&'a str, &'a str)>) -> String {
    let given = fields.into_iter().filter(|(_, value)| !value.is_empty());
    let given = given.map(|(name, value)| format!("{name}={}", segment(value)));
    let text = given.collect::<Vec<_>>().join("&");
    if text.is_empty() {
        text
    } else {
        format!("?{text}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_stays_one_segment_of_a_path() {
        for (name, expected) in [
            ("laptop", "laptop"),
            ("user:alice", "user%3Aalice"),
            ("../admin?x=1#y", "..%2Fadmin%3Fx%3D1%23y"),
            ("..", "%2E%2E"),
            ("ü", "%C3%BC"),
        ] {
            assert_eq!(segment(name), expected);
        }
    }

    #[test]
    fn a_query_has_the_fields_that_are_given() {
        assert_eq!(query([("a", ""), ("b", "x&y"), ("c", "z")]), "?b=x%26y&c=z");
        assert_eq!(query([("a", "")]), "");
    }
}
