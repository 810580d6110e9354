//! The bare authorizer over gRPC: a server of tonic that accepts every call with a credential, and answers with
//! the same fields.

use std::{
    convert::Infallible,
    env,
    future::{Ready, ready},
    net::{SocketAddr, TcpStream},
    process::{Child, Command, Stdio},
    task::{Context, Poll},
    thread,
    time::Duration,
};

use keyfob_proxies::free_port;
use tonic::{
    Status,
    body::Body,
    codegen::{BoxFuture, Service},
    server::{Grpc, NamedService, UnaryService},
    transport,
};
use tonic_prost::ProstCodec;

use crate::{
    IDENTITY,
    message::{
        BoolValue, CheckRequest, CheckResponse, DeniedHttpResponse, Header, HeaderValueOption,
        HttpResponse, HttpStatus, OkHttpResponse, Status as Code,
    },
};

/// The argument with which this program is the server.
pub(crate) const ROLE: &str = "bare-grpc";

/// The server, as a process of its own. It is killed with this value.
pub(crate) struct BareGrpc {
    pub(crate) child: Child,
    pub(crate) address: SocketAddr,
}

impl BareGrpc {
    pub(crate) fn start() -> Self {
        let address = SocketAddr::from(([127, 0, 0, 1], free_port()));
        let child = Command::new(env::current_exe().expect("it has a path"))
            .args([ROLE, &address.to_string()])
            .stdin(Stdio::null())
            .spawn()
            .expect("it can be run again");
        while TcpStream::connect(address).is_err() {
            thread::sleep(Duration::from_millis(20));
        }
        Self { child, address }
    }
}

impl Drop for BareGrpc {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Serves at this address until the process is killed.
pub(crate) fn serve(address: &str) {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let server = transport::Server::builder()
        .add_service(Bare)
        .serve(address.parse().expect("an address"));
    runtime.block_on(server).expect("it listens");
}

#[derive(Clone)]
struct Bare;

impl NamedService for Bare {
    const NAME: &'static str = "envoy.service.auth.v3.Authorization";
}

impl Service<http::Request<Body>> for Bare {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<Self::Response, Infallible>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let codec = ProstCodec::<CheckResponse, CheckRequest>::default();
        Box::pin(async move { Ok(Grpc::new(codec).unary(Answer, request).await) })
    }
}

struct Answer;

impl UnaryService<CheckRequest> for Answer {
    type Response = CheckResponse;
    type Future = Ready<Result<tonic::Response<CheckResponse>, Status>>;

    fn call(&mut self, request: tonic::Request<CheckRequest>) -> Self::Future {
        let answer = if has_credential(request.get_ref()) {
            accepted()
        } else {
            refused()
        };
        ready(Ok(tonic::Response::new(answer)))
    }
}

fn has_credential(request: &CheckRequest) -> bool {
    let attributes = request.attributes.as_ref();
    let request = attributes.and_then(|attributes| attributes.request.as_ref());
    let map = request.and_then(|request| request.http.as_ref()?.header_map.as_ref());
    map.is_some_and(|map| {
        map.headers
            .iter()
            .any(|field| field.key == b"authorization")
    })
}

fn accepted() -> CheckResponse {
    let headers = IDENTITY.map(|(name, value)| HeaderValueOption {
        header: Some(Header {
            key: format!("x-keyfob-{}", name.to_lowercase()),
            value: value.to_owned(),
        }),
        append: Some(BoolValue { value: false }),
        // OVERWRITE_IF_EXISTS_OR_ADD
        append_action: 2,
    });
    let removed = ["authorization", "x-keyfob-expires", "x-keyfob-identity"];
    CheckResponse {
        status: Some(Code { code: 0 }),
        http_response: Some(HttpResponse::Ok(OkHttpResponse {
            headers: headers.to_vec(),
            headers_to_remove: removed.map(str::to_owned).to_vec(),
        })),
        dynamic_metadata: None,
    }
}

/// As a gateway's first call without a key expects it.
fn refused() -> CheckResponse {
    CheckResponse {
        // UNAUTHENTICATED
        status: Some(Code { code: 16 }),
        http_response: Some(HttpResponse::Denied(DeniedHttpResponse {
            status: Some(HttpStatus { code: 401 }),
            ..DeniedHttpResponse::default()
        })),
        dynamic_metadata: None,
    }
}
