//! The service that Envoy calls.

use std::{
    convert::Infallible,
    fmt,
    future::{Ready, ready},
    sync::Arc,
    time::Duration,
};

use axum::{Router, body::Body, extract::Request, response::Response, routing::post};
use keyfob_gateway::{Answer, Authorizer, http::Peers};
use keyfob_listen::Head;
use tokio::time::{sleep, timeout};
use tonic::{
    Status,
    codegen::Service as _,
    server::{Grpc, UnaryService},
};
use tonic_health::pb::health_server::HealthServer;
use tonic_prost::ProstCodec;

use crate::{
    answer,
    health::Health,
    message::{CheckRequest, CheckResponse},
    question::Asked,
};

/// Answers questions of Envoy over gRPC: `envoy.service.auth.v3.Authorization`, and the health service of
/// gRPC.
#[derive(Clone)]
pub struct ExtAuthz {
    authorizer: Authorizer,
    peers: Arc<Peers>,
    health: Health,
}

impl ExtAuthz {
    /// A service that answers processes of this machine only, and says that it is always healthy.
    pub fn new(authorizer: Authorizer) -> Self {
        Self {
            authorizer,
            peers: Arc::default(),
            health: Health(Arc::new(|| true)),
        }
    }

    /// Answers these peers.
    #[must_use]
    pub fn with_peers(self, peers: Peers) -> Self {
        let peers = Arc::new(peers);
        Self { peers, ..self }
    }

    /// Says that it is healthy while this function returns `true`. It must not wait.
    #[must_use]
    pub fn healthy_while(self, is_ready: impl Fn() -> bool + Send + Sync + 'static) -> Self {
        let health = Health(Arc::new(is_ready));
        Self { health, ..self }
    }

    /// The routes of both services, to be served over HTTP/2.
    ///
    /// Requests must have the extension `keyfob_listen::Peer`, as those of `keyfob_listen::Server` do.
    pub fn into_router(self) -> Router {
        let health = self.clone();
        Router::new()
            .route(CHECK, post(move |request| self.clone().check(request)))
            .route(HEALTH, post(move |request| health.clone().health(request)))
    }

    async fn health(self, request: Request) -> Response {
        if self.refused_peer(&request).is_some() {
            let status = Status::permission_denied("this peer may not ask");
            return status.into_http();
        }
        let mut server = HealthServer::new(self.health);
        let answer: Result<_, Infallible> = server.call(request).await;
        match answer {
            Ok(answer) => answer.map(Body::new),
            Err(never) => match never {},
        }
    }

    /// The answer for a peer that may not ask.
    fn refused_peer(&self, request: &Request) -> Option<Answer> {
        let head = Head::of(request);
        if self.peers.trust(&head) {
            return None;
        }
        Some(match &head.peer {
            Some(peer) => self.authorizer.refuse_peer(peer),
            None => self.authorizer.refuse_peer(&"unknown"),
        })
    }

    async fn check(self, request: Request) -> Response {
        let codec = ProstCodec::<CheckResponse, CheckRequest>::default();
        let mut grpc = Grpc::new(codec).max_decoding_message_size(QUESTION_BYTES_MAX);
        if let Some(refusal) = self.refused_peer(&request) {
            // What it sends is not read: the answer is to an empty question.
            let request = request.map(|_| Body::from(&EMPTY_QUESTION[..]));
            return grpc.unary(Refuse(refusal), request).await.map(Body::new);
        }
        // After a pause of the process, until what was revoked meanwhile is known.
        let mut waits = WAITS;
        while waits > 0 && !self.authorizer.is_current() {
            sleep(WAIT).await;
            waits -= 1;
        }
        let check = Check(self.authorizer);
        let answered = timeout(READ_WITHIN, grpc.unary(check, request)).await;
        answered
            .unwrap_or_else(|_| Status::deadline_exceeded("the question is incomplete").into_http())
            .map(Body::new)
    }
}

/// The answer for a peer that may not ask.
struct Refuse(Answer);

impl UnaryService<CheckRequest> for Refuse {
    type Response = CheckResponse;
    type Future = Ready<Result<tonic::Response<CheckResponse>, Status>>;

    fn call(&mut self, _: tonic::Request<CheckRequest>) -> Self::Future {
        let response = answer::response(&self.0, None);
        ready(Ok(tonic::Response::new(response)))
    }
}

/// One question.
struct Check(Authorizer);

impl UnaryService<CheckRequest> for Check {
    type Response = CheckResponse;
    type Future = Ready<Result<tonic::Response<CheckResponse>, Status>>;

    fn call(&mut self, request: tonic::Request<CheckRequest>) -> Self::Future {
        let response = self.decide(request.get_ref());
        ready(Ok(tonic::Response::new(response)))
    }
}

impl Check {
    fn decide(&self, request: &CheckRequest) -> CheckResponse {
        // The question has arrived now.
        let now = keyfob::now();
        let authorizer = &self.0;
        let refused = |answer: Answer| answer::response(&answer, None);
        let asked = match Asked::read(request) {
            Ok(asked) => asked,
            Err(misconfigured) => return refused(misconfigured.answer(authorizer)),
        };
        match asked.decide(authorizer, now) {
            Ok(answer) => answer::response(&answer, Some(asked.fields())),
            Err(misconfigured) => refused(misconfigured.answer(authorizer)),
        }
    }
}

impl fmt::Debug for ExtAuthz {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ExtAuthz")
            .field("authorizer", &self.authorizer)
            .field("peers", &self.peers)
            .finish_non_exhaustive()
    }
}

const CHECK: &str = "/envoy.service.auth.v3.Authorization/Check";
const HEALTH: &str = "/grpc.health.v1.Health/{method}";
/// A message without fields, as gRPC frames it.
const EMPTY_QUESTION: [u8; 5] = [0; 5];
/// Envoy sends a head of 60 KiB by default, and a part of the body if it is told to.
const QUESTION_BYTES_MAX: usize = 1 << 20;
/// How long a question may take to arrive.
const READ_WITHIN: Duration = Duration::from_secs(5);
/// How often a question waits after a pause, and how long each time: half a second in all.
const WAITS: u32 = 50;
const WAIT: Duration = Duration::from_millis(10);
