//! Who may ask, and how.

use std::time::Duration;

use keyfob_envoy::ExtAuthz;
use keyfob_gateway::http::Peers;
use keyfob_listen::{Limits, Tls};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};
use tonic::{
    Request,
    client::Grpc,
    codegen::{http::uri::PathAndQuery, tokio_stream::pending},
    transport::{Certificate, ClientTlsConfig, Endpoint, Identity},
};
use tonic_prost::ProstCodec;

use crate::fixture::{
    Asked, CHECK, Certificates, Fixture, Served, check, refused, serve_within, start,
};
use crate::message::{CheckRequest, CheckResponse};

#[tokio::test]
async fn a_peer_that_is_not_configured_may_not_ask() {
    let fixture = Fixture::new().await;
    let nobody = Peers::of([]);
    let service = ExtAuthz::new(fixture.authorizer().build()).with_peers(nobody);
    let served = Served::new(service.clone()).await;
    let asked = Asked::of("orders", &fixture.orders.secret);
    assert_eq!(
        served.reason(&asked).await,
        (403, "untrusted_peer".to_owned())
    );

    // One over a Unix socket may.
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("grpc.sock");
    let (_, stop) = start(service, &format!("unix:{}", path.display()), None).await;
    let endpoint = Endpoint::from_shared(format!("unix://{}", path.display())).unwrap();
    let channel = endpoint.connect().await.unwrap();
    let response = check(&channel, asked.request()).await.unwrap();
    assert_eq!(response.status.unwrap().code, 0);
    drop(stop);
}

#[tokio::test]
async fn the_question_of_a_peer_that_is_not_configured_is_not_read() {
    let fixture = Fixture::new().await;
    let service = ExtAuthz::new(fixture.authorizer().build()).with_peers(Peers::of([]));
    let served = Served::new(service).await;
    let mut client = Grpc::new(served.channel.clone());
    client.ready().await.unwrap();
    let codec = ProstCodec::<CheckRequest, CheckResponse>::default();
    // It never arrives.
    let path = PathAndQuery::from_static(CHECK);
    let asked = client.client_streaming(Request::new(pending()), path, codec);
    let response = timeout(Duration::from_secs(3), asked).await.unwrap();
    assert_eq!(refused(response.unwrap().into_inner()).1, "untrusted_peer");
}

#[tokio::test]
async fn a_peer_with_a_client_certificate_may_ask_over_tls() {
    let fixture = Fixture::new().await;
    let files = Certificates::new();
    let service = ExtAuthz::new(fixture.authorizer().build()).with_peers(Peers::of([]));
    let tls = |clients| {
        let tls = Tls::from_files(files.path("server.pem"), files.path("server.key"), clients);
        Some(tls.unwrap())
    };
    let asked = Asked::of("orders", &fixture.orders.secret);
    let root = || Certificate::from_pem(files.read("ca.pem"));
    let config = || {
        ClientTlsConfig::new()
            .ca_certificate(root())
            .domain_name("localhost")
    };
    let identity = Identity::from_pem(files.read("client.pem"), files.read("client.key"));

    let demanded = start(
        service.clone(),
        "127.0.0.1:0",
        tls(Some(files.path("ca.pem"))),
    )
    .await;
    let url = format!("https://{}", demanded.0.unwrap());
    let endpoint = Endpoint::from_shared(url).unwrap();
    let with = endpoint
        .clone()
        .tls_config(config().identity(identity))
        .unwrap();
    let response = check(&with.connect().await.unwrap(), asked.request())
        .await
        .unwrap();
    assert_eq!(response.status.unwrap().code, 0);
    let without = endpoint.tls_config(config()).unwrap();
    // The refusal is seen by the handshake, or by the first call.
    if let Ok(channel) = without.connect().await {
        check(&channel, asked.request()).await.unwrap_err();
    }

    // TLS alone says nothing of the peer.
    let encrypted = start(service, "127.0.0.1:0", tls(None)).await;
    let url = format!("https://{}", encrypted.0.unwrap());
    let endpoint = Endpoint::from_shared(url)
        .unwrap()
        .tls_config(config())
        .unwrap();
    let response = check(&endpoint.connect().await.unwrap(), asked.request())
        .await
        .unwrap();
    assert_eq!(refused(response).1, "untrusted_peer");
}

#[tokio::test]
async fn a_client_of_http_1_is_disconnected() {
    let served = Fixture::new().await.serve().await;
    let mut stream = TcpStream::connect(served.socket).await.unwrap();
    stream
        .write_all(b"GET /auth HTTP/1.1\r\nHost: x\r\n\r\n")
        .await
        .unwrap();
    let mut answer = Vec::new();
    let read = timeout(Duration::from_secs(5), stream.read_to_end(&mut answer)).await;
    // It ends, with or without a frame of HTTP/2 that says why.
    let _ = read.unwrap();
    assert!(!answer.starts_with(b"HTTP/1"), "{}", answer.escape_ascii());
}

#[tokio::test]
async fn a_connection_without_a_client_is_closed_and_an_idle_one_is_kept() {
    let fixture = Fixture::new().await;
    let service = ExtAuthz::new(fixture.authorizer().build());
    let limits = Limits::default().with_header_timeout(Duration::from_millis(600));
    let (socket, _stop) = serve_within(service, limits).await;

    let endpoint = Endpoint::from_shared(format!("http://{socket}")).unwrap();
    let idle = endpoint.connect().await.unwrap();
    // It says nothing, so that it is closed; meanwhile the other one answers pings.
    let mut silent = TcpStream::connect(socket).await.unwrap();
    let mut rest = Vec::new();
    let read = timeout(Duration::from_secs(10), silent.read_to_end(&mut rest)).await;
    let _ = read.unwrap();
    let asked = Asked::of("orders", &fixture.orders.secret);
    let response = check(&idle, asked.request()).await.unwrap();
    assert_eq!(response.status.unwrap().code, 0);
}
