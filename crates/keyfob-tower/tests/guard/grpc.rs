//! A tonic service behind a guard, called by a tonic client.

use std::{net::SocketAddr, time::Duration};

use axum::http::{HeaderValue, Response, header::CONTENT_TYPE};
use keyfob_tower::{Caller, GuardLayer};
use tonic::{
    Code, Request, Status,
    transport::{Channel, Server, server::TcpIncoming},
};
use tonic_health::pb::{
    HealthCheckRequest, HealthCheckResponse,
    health_check_response::ServingStatus,
    health_client::HealthClient,
    health_server::{Health, HealthServer},
};

use crate::fixture::{Fixture, bearer, request, send};

/// Healthy for Alice.
struct AliceOnly;

#[tonic::async_trait]
impl Health for AliceOnly {
    async fn check(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<tonic::Response<HealthCheckResponse>, Status> {
        assert!(request.metadata().get("authorization").is_none());
        let caller = request.extensions().get::<Caller>().map(Caller::to_string);
        let status = match caller.as_deref() {
            Some("user:alice") => ServingStatus::Serving,
            _ => ServingStatus::NotServing,
        };
        let status = status.into();
        Ok(tonic::Response::new(HealthCheckResponse { status }))
    }

    type WatchStream = tonic::codegen::BoxStream<HealthCheckResponse>;

    async fn watch(
        &self,
        _: Request<HealthCheckRequest>,
    ) -> Result<tonic::Response<Self::WatchStream>, Status> {
        Err(Status::unimplemented("watch"))
    }
}

/// Starts a server, which ends with the test's runtime.
fn serve(layer: GuardLayer) -> SocketAddr {
    let incoming = TcpIncoming::bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let address = incoming.local_addr().unwrap();
    let server = Server::builder()
        .layer(layer)
        .add_service(HealthServer::new(AliceOnly));
    tokio::spawn(server.serve_with_incoming(incoming));
    address
}

async fn check(address: SocketAddr, credential: Option<&str>) -> Result<i32, Status> {
    let channel = Channel::from_shared(format!("http://{address}")).unwrap();
    let mut client = HealthClient::new(channel.connect().await.unwrap());
    let mut request = Request::new(HealthCheckRequest::default());
    if let Some(credential) = credential {
        let value = credential.parse().unwrap();
        request.metadata_mut().insert("authorization", value);
    }
    let response = client.check(request).await?;
    Ok(response.into_inner().status)
}

#[tokio::test]
async fn a_tonic_service_is_called_with_a_valid_key_only() {
    let fixture = Fixture::new().await;
    let key = bearer(&fixture.key().await);
    let plain = fixture.guard();
    for guard in [plain.clone().with_grpc_http_200(), plain] {
        let orders = serve(guard.namespace("orders"));
        let billing = serve(guard.namespace("billing"));
        let serving: i32 = ServingStatus::Serving.into();
        assert_eq!(check(orders, Some(&key)).await.unwrap(), serving);
        for (address, credential, code) in [
            (orders, None, Code::Unauthenticated),
            (orders, Some("Bearer x"), Code::Unauthenticated),
            (billing, Some(&*key), Code::PermissionDenied),
        ] {
            let status = check(address, credential).await.unwrap_err();
            assert_eq!(status.code(), code);
        }
    }
    let stale = serve(fixture.guard().with_grpc_http_200().namespace("orders"));
    fixture.advance(10);
    let status = check(stale, Some(&key)).await.unwrap_err();
    assert_eq!(
        (status.code(), status.message()),
        (Code::Unavailable, "try again later")
    );
    assert_eq!(status.metadata().get("retry-after").unwrap(), "1");
}

#[tokio::test]
async fn each_status_has_its_code_of_grpc() {
    let fixture = Fixture::new().await;
    let key = bearer(&fixture.key().await);
    let guard = fixture
        .guard()
        .with_throttle(|parts, _| {
            (parts.uri.path() == "/ns/slow").then_some(Duration::from_secs(5))
        })
        .with_response(|_| -> Response<&str> { panic!("not used for gRPC") });
    let pattern = "/ns/{namespace}";
    let layers = [
        (guard.namespace_in_path(pattern), false),
        (guard.with_grpc_http_200().namespace_in_path(pattern), true),
    ];
    for (layer, is_200) in layers {
        for (uri, credentials, status, code, reason) in [
            ("/ns/orders", &[][..], 401, "16", "no_credential"),
            ("/ns/billing", &[&*key], 403, "7", "wrong_namespace"),
            ("/ns/..", &[], 400, "3", "ambiguous_namespace"),
            ("/other", &[], 404, "5", "no_namespace"),
            ("/ns/slow", &[&*key], 429, "8", "throttled"),
        ] {
            let mut call = request(uri, credentials);
            let grpc = HeaderValue::from_static("application/grpc+proto");
            call.headers_mut().insert(CONTENT_TYPE, grpc);
            let answer = send(&layer, call).await;
            assert_eq!(answer.status, if is_200 { 200 } else { status });
            assert_eq!(answer.body, "");
            assert_eq!(answer.all("grpc-status"), [code]);
            assert_eq!(answer.all("content-type"), ["application/grpc"]);
            assert_eq!(answer.all("grpc-message").len(), 1);
            assert_eq!(answer.reason(), reason);
            assert_eq!(answer.refusal.unwrap().status(), status);
            assert!(answer.seen.is_none());
        }
    }
}

#[tokio::test]
async fn only_a_grpc_call_is_refused_with_200() {
    let fixture = Fixture::new().await;
    let layer = fixture.guard().with_grpc_http_200().namespace("orders");
    for content_type in [
        "application/json",
        "application/grpc-web",
        "text/application/grpc",
    ] {
        let mut call = request("/", &[]);
        let value = HeaderValue::from_static(content_type);
        call.headers_mut().insert(CONTENT_TYPE, value);
        let answer = send(&layer, call).await;
        assert_eq!(answer.status, 401, "{content_type}");
        assert!(answer.all("grpc-status").is_empty());
    }
}
