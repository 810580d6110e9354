//! A control plane over a store, a test clock, and a way to send requests.

use std::sync::{
    Arc,
    atomic::{AtomicI64, Ordering},
};

use axum::{
    Router,
    body::Body,
    http::{HeaderMap, Request},
};
use http_body_util::BodyExt as _;
use keyfob::{
    Context, IssuedKey, KeyInfo, KeyStore, Keyring, MemoryStore, NewKey, Owner, Scopes, Tenant,
    Timestamp, Verifier, block_on,
    gateway::{UsageBatch, UsageDelta},
    key::{KeyFormat, SystemRandom},
    name::{KeyName, NamespaceId, Region, Scope, TeamId, UserId},
};
use keyfob_api::{ApiHost, ControlPlane, Gateways, Limits, Right, control_namespace};
use serde_json::Value;
use tower::ServiceExt as _;

/// 2025-12-19T10:30:00Z
pub(crate) const NOW: i64 = 1_766_140_200;

/// Gateways in two regions, each with its own address.
fn gateways() -> Gateways {
    let api_host = ApiHost::parse("https://{region}.faas.example").expect("an address");
    let regions = ["blr1", "nyc1"].map(|name| Region::new(name).expect("a region"));
    Gateways::at(api_host).in_regions(regions)
}

/// A control plane, and its keyring.
pub(crate) struct Fixture {
    pub(crate) router: Router,
    pub(crate) keyring: Arc<Keyring>,
    pub(crate) verifier: Verifier,
    clock: Arc<AtomicI64>,
}

impl Fixture {
    pub(crate) fn new() -> Self {
        Self::with_limits(Limits::default())
    }

    pub(crate) fn with_limits(limits: Limits) -> Self {
        Self::over(MemoryStore::new(), limits)
    }

    /// A control plane over a store that never blocks.
    pub(crate) fn over(store: impl KeyStore + 'static, limits: Limits) -> Self {
        block_on(Self::open(store, limits))
    }

    pub(crate) async fn open(store: impl KeyStore + 'static, limits: Limits) -> Self {
        let format = KeyFormat::new("dof").expect("a prefix");
        let keyring = Keyring::builder(store, format)
            .open(Timestamp::from_unix(NOW))
            .await;
        let keyring = Arc::new(keyring.expect("the store can be read"));
        let verifier = keyring.verifier();
        let clock = Arc::new(AtomicI64::new(NOW));
        let hand = Arc::clone(&clock);
        let router = ControlPlane::new(Arc::clone(&keyring))
            .with_directory(gateways())
            .with_limits(limits)
            .with_clock(move || Timestamp::from_unix(hand.load(Ordering::SeqCst)))
            .into_router();
        Self {
            router,
            keyring,
            verifier,
            clock,
        }
    }

    /// Returns the time of the control plane's clock.
    pub(crate) fn now(&self) -> Timestamp {
        Timestamp::from_unix(self.clock.load(Ordering::SeqCst))
    }

    pub(crate) fn pass(&self, seconds: i64) {
        self.clock.fetch_add(seconds, Ordering::SeqCst);
    }

    /// Records usage once.
    pub(crate) async fn record_usage(&self, usage: Vec<UsageDelta>) {
        let batch = UsageBatch::single(usage, self.now(), &SystemRandom).expect("random bytes");
        let recorded = self.keyring.record_usage(&batch, self.now()).await;
        recorded.expect("usage is recorded");
    }

    /// Creates a control key for a user, with one right.
    pub(crate) async fn control_key(&self, team: &str, user: &str, right: Right) -> String {
        let owner = Owner::User(UserId::new(user).expect("a name"));
        let scopes = Scopes::only([Scope::new(right.as_str()).expect("a scope")]);
        self.control_key_of(team, owner, scopes.expect("few scopes"))
            .await
    }

    pub(crate) async fn control_key_of(&self, team: &str, owner: Owner, scopes: Scopes) -> String {
        let team = TeamId::new(team).expect("a name");
        let namespace = control_namespace(&team).expect("a name");
        let name = format!("control {owner} {scopes:?}");
        let name = KeyName::new(&name).expect("a name");
        let new = NewKey::new(Tenant::new(team, namespace), owner, name).with_scopes(scopes);
        self.make(new).await.0.expose().to_owned()
    }

    /// Creates a key for a user in a namespace, without using the HTTP interface.
    pub(crate) async fn key(
        &self,
        team: &str,
        namespace: &str,
        user: &str,
        name: &str,
    ) -> (IssuedKey, KeyInfo) {
        let owner = Owner::User(UserId::new(user).expect("a name"));
        let name = KeyName::new(name).expect("a name");
        self.make(NewKey::new(tenant(team, namespace), owner, name))
            .await
    }

    pub(crate) async fn make(&self, new: NewKey) -> (IssuedKey, KeyInfo) {
        let made = self.keyring.create(&self.context(), new).await;
        made.expect("the key is created").into_parts()
    }

    pub(crate) fn context(&self) -> Context {
        Context::system(self.now())
    }

    /// Sends a request with a JSON body, or without a body if it is null.
    pub(crate) async fn ask(
        &self,
        token: &str,
        method: &str,
        path: &str,
        body: impl Into<Value>,
    ) -> Answer {
        let body = body.into();
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("authorization", format!("Bearer {token}"));
        let request = if body.is_null() {
            request.body(Body::empty())
        } else {
            request
                .header("content-type", "application/json")
                .body(Body::from(body.to_string()))
        };
        self.send(request.expect("a request")).await
    }

    pub(crate) async fn send(&self, request: Request<Body>) -> Answer {
        Answer::of(&self.router, request).await
    }
}

pub(crate) fn tenant(team: &str, namespace: &str) -> Tenant {
    Tenant::new(
        TeamId::new(team).expect("a name"),
        NamespaceId::new(namespace).expect("a name"),
    )
}

/// A response.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) text: String,
    pub(crate) body: Value,
}

impl Answer {
    pub(crate) async fn of(router: &Router, request: Request<Body>) -> Self {
        let response = router.clone().oneshot(request).await.expect("an answer");
        let (head, body) = response.into_parts();
        let bytes = body.collect().await.expect("a whole body").to_bytes();
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let answer = Self {
            status: head.status.as_u16(),
            body: serde_json::from_str(&text).unwrap_or(Value::Null),
            headers: head.headers,
            text,
        };
        answer.assert_framed();
        answer
    }

    /// Checks what every response must have.
    fn assert_framed(&self) {
        for name in ["ratelimit-limit", "ratelimit-remaining", "ratelimit-reset"] {
            let value = self.header(name).parse::<u64>();
            assert!(value.is_ok(), "{name} of {self:?}");
        }
        assert!(!self.header("x-request-id").is_empty(), "{self:?}");
        if self.status >= 400 {
            assert_eq!(self.header("content-type"), "application/json", "{self:?}");
            let fields: Vec<_> = self.body.as_object().expect("an object").keys().collect();
            assert_eq!(fields, ["id", "message", "request_id"]);
            assert_eq!(self.body["request_id"], self.header("x-request-id"));
            assert!(self.body["message"].as_str().is_some_and(|m| !m.is_empty()));
        }
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        let value = self.headers.get(name);
        value.map_or("", |value| value.to_str().expect("ASCII"))
    }

    #[track_caller]
    pub(crate) fn expect(self, status: u16) -> Value {
        assert_eq!(self.status, status, "{}", self.text);
        self.body
    }

    #[track_caller]
    pub(crate) fn refused(self, status: u16, id: &str) -> String {
        assert_eq!(
            (self.status, self.body["id"].as_str()),
            (status, Some(id)),
            "{}",
            self.text
        );
        self.body["message"].as_str().unwrap_or_default().to_owned()
    }
}
