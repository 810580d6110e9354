//! The front that proxies ask over HTTP: nginx `auth_request`, Caddy `forward_auth`, Traefik `ForwardAuth`,
//! `HAProxy`, and Envoy `ext_authz` with an HTTP service.
//!
//! `/auth` and everything below it answers, for any method: 200 with the
//! [identity fields](crate::field::IDENTITY), or a refusal. Where the request that is asked about stands is a
//! setting, [`RequestSource`].

mod peers;
mod query;
mod source;

use std::{fmt, net::IpAddr, sync::Arc, time::Duration};

use axum::{
    Router,
    body::{Body, Bytes},
    http::{
        HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode,
        header::{AUTHORIZATION, CACHE_CONTROL, CONTENT_TYPE},
    },
    routing::any,
};
use bytes::BytesMut;
use keyfob_listen::Head;

use crate::{Answer, Authorizer, Question, field};
pub use peers::{Network, NetworkError, Peers};
use source::{Asked, Fault};
pub use source::{RequestSource, UnknownSource};

/// Answers questions of proxies over HTTP.
#[derive(Clone)]
pub struct Front(Arc<Inner>);

struct Inner {
    authorizer: Authorizer,
    source: RequestSource,
    peers: Peers,
    namespace_field: HeaderName,
    /// The public keys of signed identities.
    jwks: Option<Bytes>,
}

impl Front {
    /// A front that finds the request that is asked about where `source` says, and answers processes of
    /// this machine only.
    pub fn new(authorizer: Authorizer, source: RequestSource) -> Self {
        Self(Arc::new(Inner {
            jwks: authorizer.jwks().map(Bytes::from),
            authorizer,
            source,
            peers: Peers::default(),
            namespace_field: source::NAMESPACE,
        }))
    }

    /// Answers these peers.
    #[must_use]
    pub fn with_peers(self, peers: Peers) -> Self {
        self.with(|inner| inner.peers = peers)
    }

    /// Reads the namespace that the proxy names from this field. The default is
    /// `X-Keyfob-Namespace`.
    #[must_use]
    pub fn with_namespace_field(self, name: HeaderName) -> Self {
        self.with(|inner| inner.namespace_field = name)
    }

    fn with(self, change: impl FnOnce(&mut Inner)) -> Self {
        let mut inner = Arc::try_unwrap(self.0).unwrap_or_else(|shared| Inner {
            authorizer: shared.authorizer.clone(),
            source: shared.source,
            peers: shared.peers.clone(),
            namespace_field: shared.namespace_field.clone(),
            jwks: shared.jwks.clone(),
        });
        change(&mut inner);
        Self(Arc::new(inner))
    }

    /// Answers a request to the front. `None` if it is for another path: the front has only `/auth` and
    /// what is below it, and `/.well-known/jwks.json` if identities are signed.
    ///
    /// It is what `keyfob_listen::Routes::with_answer` takes.
    pub fn answer(&self, head: &Head<'_>) -> Option<Response<Bytes>> {
        let path = head.uri.path();
        if path == JWKS {
            return self.0.jwks.clone().map(|jwks| {
                let mut response = Response::new(jwks);
                let headers = response.headers_mut();
                headers.insert(
                    CONTENT_TYPE,
                    HeaderValue::from_static("application/jwk-set+json"),
                );
                headers.insert(
                    CACHE_CONTROL,
                    HeaderValue::from_static("public, max-age=300"),
                );
                response
            });
        }
        let below = path.strip_prefix(PREFIX)?;
        if !below.is_empty() && !below.starts_with('/') {
            return None;
        }
        Some(response(&self.0.judge(head)))
    }

    /// Whether questions can be answered, or should wait for a moment: see [`Authorizer::is_current`].
    pub fn is_current(&self) -> bool {
        self.0.authorizer.is_current()
    }

    /// The routes of the front, for any method. After a pause of the process, a question waits for half a second
    /// at most until what was revoked meanwhile is known.
    ///
    /// Requests must have the extension `keyfob_listen::Peer`, as those of `keyfob_listen::Server` do.
    pub fn into_router(self) -> Router {
        let answer = async move |request: Request<Body>| {
            let mut waits = WAITS;
            while waits > 0 && !self.is_current() {
                tokio::time::sleep(WAIT).await;
                waits -= 1;
            }
            if let Some(response) = self.answer(&Head::of(&request)) {
                return response.map(Body::from);
            }
            let mut response = Response::new(Body::empty());
            *response.status_mut() = StatusCode::NOT_FOUND;
            response
        };
        Router::new()
            .route(PREFIX, any(answer.clone()))
            .route("/auth/", any(answer.clone()))
            .route("/auth/{*below}", any(answer.clone()))
            .route(JWKS, any(answer))
    }
}

impl Inner {
    fn judge(&self, head: &Head<'_>) -> Answer {
        let now = keyfob::now();
        let (authorizer, headers) = (&self.authorizer, head.headers);
        if !self.peers.trust(head) {
            return match &head.peer {
                Some(peer) => authorizer.refuse_peer(peer),
                None => authorizer.refuse_peer(&"unknown"),
            };
        }
        let mut fields: [&[u8]; 2] = [b"", b""];
        let mut values = headers.get_all(AUTHORIZATION).iter();
        let mut count = 0;
        for (place, value) in fields.iter_mut().zip(&mut values) {
            *place = value.as_bytes();
            count += 1;
        }
        let fields = fields.get(..count).unwrap_or_default();
        let asked = self.source.read(head, &self.namespace_field);
        let (Asked { what, method, host }, scopes) =
            match asked.and_then(|asked| Ok((asked, query::scopes(head, self.source)?))) {
                Ok(read) => read,
                Err(Fault::OfProxy(reason)) => return authorizer.refuse_gateway(reason),
                Err(Fault::Ambiguous) => {
                    // An empty target is ambiguous, so it is refused and counted as the others are.
                    let question = Question::of_request(b"", fields);
                    let describe = |question| described(question, headers, None);
                    return authorizer.decide_described(&question, now, describe);
                }
            };
        let question = match what {
            source::What::Target(target) => Question::of_request(target, fields),
            source::What::Namespace(name) => Question::of_namespace(name, fields),
        };
        let question = match method {
            Some(method) => question.with_method(method),
            None => question,
        };
        let question = match host {
            Some(host) => question.with_host(host),
            None => question,
        };
        let question = question.with_scopes(&scopes);
        authorizer.decide_described(&question, now, |question| {
            described(question, headers, self.source.client(headers))
        })
    }
}

/// Adds what is only logged or counted.
fn described<'a>(
    question: Question<'a>,
    headers: &'a HeaderMap,
    client: Option<IpAddr>,
) -> Question<'a> {
    let bytes = |name: &HeaderName| headers.get(name).map(HeaderValue::as_bytes);
    question
        .with_client(client)
        .with_request_id(bytes(&REQUEST_ID))
        .with_traceparent(bytes(&TRACEPARENT))
}

/// An answer as a response.
fn response(answer: &Answer) -> Response<Bytes> {
    let body = answer.body();
    let bytes = match body {
        Some(body) => Bytes::copy_from_slice(body.text.as_bytes()),
        None => Bytes::new(),
    };
    let mut response = Response::new(bytes);
    *response.status_mut() =
        StatusCode::from_u16(answer.status()).unwrap_or(StatusCode::UNAUTHORIZED);
    let headers = response.headers_mut();
    headers.reserve(12);
    // All values are in one allocation.
    let mut values = BytesMut::with_capacity(VALUES);
    for (place, (name, value)) in answer.fields().enumerate() {
        values.extend_from_slice(value.as_bytes());
        let value = HeaderValue::from_maybe_shared(values.split().freeze());
        let known = ACCEPTED.get(place).filter(|known| known.as_str() == name);
        let name = known.map_or_else(|| HeaderName::from_static(name), HeaderName::clone);
        // Values are printable ASCII.
        if let Ok(value) = value {
            headers.append(name, value);
        }
    }
    if let Some(body) = body {
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(body.content_type));
    }
    response
}

impl fmt::Debug for Front {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Front")
            .field("source", &self.0.source)
            .field("peers", &self.0.peers)
            .finish_non_exhaustive()
    }
}

/// The path that is asked.
const PREFIX: &str = "/auth";

/// The names of the fields of an accepting answer, in their order: a name that is made from text is looked at
/// byte by byte.
static ACCEPTED: [HeaderName; 8] = [
    HeaderName::from_static(field::KEY_ID),
    HeaderName::from_static(field::OWNER),
    HeaderName::from_static(field::TEAM),
    HeaderName::from_static(field::NAMESPACE),
    HeaderName::from_static(field::SCOPES),
    HeaderName::from_static(field::EXPIRES),
    HeaderName::from_static(field::TOKEN),
    CACHE_CONTROL,
];

/// Room for the values of most answers without a signed identity, in bytes.
const VALUES: usize = 256;

/// How long a question waits after a pause, and how often it looks.
const WAIT: Duration = Duration::from_millis(10);
const WAITS: u32 = 50;

/// The path of the public keys.
const JWKS: &str = "/.well-known/jwks.json";

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
