//! A keyring with a few keys, and services to call through a guard.

use std::{
    convert::Infallible,
    sync::{
        Arc, Mutex,
        atomic::{AtomicI64, AtomicU32, Ordering},
    },
    time::Duration,
};

use axum::http::{HeaderMap, Request, Response, StatusCode, header::AUTHORIZATION};
use base64::{Engine, engine::general_purpose::STANDARD};
use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use keyfob::{
    Context, Keyring, MemoryStore, NewKey, Scopes, Timestamp, Ttl,
    key::{KeyFormat, Peppers},
    manage::CreatedKey,
    name::Scope,
};
use keyfob_tower::{Caller, Guard, GuardLayer, Refusal};
use tower::{Layer, ServiceExt, service_fn};

pub(crate) const START: i64 = 1_780_000_000;

/// A keyring over memory, and a clock that tests move.
pub(crate) struct Fixture {
    pub(crate) keyring: Keyring,
    clock: Arc<AtomicI64>,
    keys: AtomicU32,
}

impl Fixture {
    pub(crate) async fn new() -> Self {
        let format = KeyFormat::new("acme").unwrap();
        let keyring = Keyring::builder(MemoryStore::new(), format)
            .peppers(Peppers::none())
            .open(Timestamp::from_unix(START))
            .await
            .unwrap();
        Self {
            keyring,
            clock: Arc::new(AtomicI64::new(START)),
            keys: AtomicU32::new(0),
        }
    }

    pub(crate) fn context(&self) -> Context {
        Context::system(Timestamp::from_unix(self.clock.load(Ordering::Relaxed)))
    }

    pub(crate) fn advance(&self, seconds: i64) {
        self.clock.fetch_add(seconds, Ordering::Relaxed);
    }

    /// A guard whose verifier refuses when its index is older than ten seconds.
    pub(crate) fn guard(&self) -> Guard {
        let bound = Some(Duration::from_secs(10));
        self.guard_of(self.keyring.index().verifier(bound))
    }

    /// A guard whose verifier never finds its index too old.
    pub(crate) fn unbounded_guard(&self) -> Guard {
        self.guard_of(self.keyring.unbounded_verifier())
    }

    pub(crate) fn guard_of(&self, verifier: keyfob::Verifier) -> Guard {
        let clock = Arc::clone(&self.clock);
        Guard::new(verifier).with_clock(move || Timestamp::from_unix(clock.load(Ordering::Relaxed)))
    }

    /// Alice's key of the namespace `orders`, which ends after an hour.
    pub(crate) async fn key(&self) -> CreatedKey {
        self.create(Scopes::All).await
    }

    pub(crate) async fn key_with_scopes(&self, scopes: &[&str]) -> CreatedKey {
        let scopes = scopes.iter().map(|scope| Scope::new(scope).unwrap());
        self.create(Scopes::only(scopes).unwrap()).await
    }

    async fn create(&self, scopes: Scopes) -> CreatedKey {
        let name = format!("laptop {}", self.keys.fetch_add(1, Ordering::Relaxed));
        let new = NewKey::for_user("team", "orders", "alice", name.as_str())
            .unwrap()
            .expires_in(Ttl::hours(1).unwrap())
            .with_scopes(scopes);
        self.keyring.create(&self.context(), new).await.unwrap()
    }
}

pub(crate) fn bearer(key: &CreatedKey) -> String {
    format!("Bearer {}", key.secret.expose())
}

pub(crate) fn basic(key: &CreatedKey) -> String {
    format!("Basic {}", STANDARD.encode(key.secret.expose()))
}

/// A request with these `Authorization` fields.
pub(crate) fn request(uri: &str, credentials: &[&str]) -> Request<Full<Bytes>> {
    let mut request = Request::builder().uri(uri);
    for credential in credentials {
        request = request.header(AUTHORIZATION, *credential);
    }
    request.body(Full::default()).unwrap()
}

/// A response as a client sees it, and the reason that only logs see.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: String,
    pub(crate) refusal: Option<Refusal>,
    /// What the inner service was given, if it was called.
    pub(crate) seen: Option<Seen>,
}

#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) headers: HeaderMap,
    pub(crate) caller: Option<Caller>,
}

impl Answer {
    pub(crate) fn reason(&self) -> &'static str {
        self.refusal.map_or("admitted", |refusal| refusal.reason())
    }

    pub(crate) fn all(&self, name: &str) -> Vec<&str> {
        let values = self.headers.get_all(name).iter();
        values.map(|value| value.to_str().unwrap()).collect()
    }
}

/// Sends a request to a service behind a guard.
pub(crate) async fn send(layer: &GuardLayer, request: Request<Full<Bytes>>) -> Answer {
    let seen = Arc::new(Mutex::new(None));
    let inner = service_fn(|request: Request<Full<Bytes>>| {
        *seen.lock().unwrap() = Some(Seen {
            headers: request.headers().clone(),
            caller: request.extensions().get::<Caller>().cloned(),
        });
        async { Ok::<_, Infallible>(Response::new(Full::<Bytes>::from("inner"))) }
    });
    let response = layer.layer(inner).oneshot(request).await.unwrap();
    let (parts, body) = response.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    Answer {
        status: parts.status,
        headers: parts.headers,
        body: String::from_utf8(body.to_vec()).unwrap(),
        refusal: parts.extensions.get::<Refusal>().copied(),
        seen: seen.lock().unwrap().clone(),
    }
}
