//! A service behind a guard in a plain hyper server, asked over a socket.

use std::{convert::Infallible, net::SocketAddr};

use axum::http::{Request, Response};
use http_body_util::Full;
use hyper::{
    body::{Bytes, Incoming},
    server::conn::http1,
};
use hyper_util::{rt::TokioIo, service::TowerToHyperService};
use keyfob_tower::{Caller, GuardLayer};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};
use tower::{Layer, service_fn};

use crate::fixture::{Fixture, basic, bearer};

/// A server on loopback; it ends when it is dropped.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    task: JoinHandle<()>,
}

impl Server {
    /// Answers with the caller's name, after `look` has seen the request.
    pub(crate) async fn start(
        layer: GuardLayer,
        look: impl Fn(&Request<Incoming>) + Clone + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let service = layer.layer(service_fn(move |request: Request<Incoming>| {
            look(&request);
            let caller = request.extensions().get::<Caller>().map(Caller::to_string);
            let body = Full::<Bytes>::from(caller.unwrap_or_default());
            async { Ok::<_, Infallible>(Response::new(body)) }
        }));
        let task = tokio::spawn(async move {
            loop {
                let (socket, _) = listener.accept().await.unwrap();
                let service = TowerToHyperService::new(service.clone());
                let connection =
                    http1::Builder::new().serve_connection(TokioIo::new(socket), service);
                tokio::spawn(async move {
                    let _ = connection.await;
                });
            }
        });
        Self { address, task }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) text: String,
}

/// Sends a target and header fields as they are.
pub(crate) async fn get(address: SocketAddr, target: &[u8], fields: &[(&str, &str)]) -> Reply {
    let mut socket = TcpStream::connect(address).await.unwrap();
    let mut request = [
        b"GET ",
        target,
        b" HTTP/1.1\r\nHost: gw.test\r\nConnection: close\r\n",
    ]
    .concat();
    for (name, value) in fields {
        request.extend_from_slice(format!("{name}: {value}\r\n").as_bytes());
    }
    request.extend_from_slice(b"\r\n");
    socket.write_all(&request).await.unwrap();
    let mut reply = Vec::new();
    socket.read_to_end(&mut reply).await.unwrap();
    let text = String::from_utf8(reply).unwrap();
    let status = text.split(' ').nth(1).unwrap().parse().unwrap();
    Reply { status, text }
}

#[tokio::test]
async fn a_hyper_service_is_called_with_a_valid_key_only() {
    let fixture = Fixture::new().await;
    let key = fixture.key().await;
    let (bearer, basic) = (bearer(&key), basic(&key));
    let server = Server::start(fixture.guard().namespace("orders"), |request| {
        assert!(!request.headers().contains_key("authorization"));
    })
    .await;
    for (fields, status, body) in [
        (&[("Authorization", &*bearer)][..], 200, "user:alice"),
        (&[("AUTHORIZATION", &*basic)], 200, "user:alice"),
        (
            &[("authorization", &*basic), ("Authorization", &*bearer)],
            401,
            "{",
        ),
        (
            &[("authorization", &*bearer), ("AUTHORIZATION", &*bearer)],
            401,
            "{",
        ),
        (&[("Proxy-Authorization", &*bearer)], 401, "{"),
        (&[], 401, "{"),
    ] {
        let reply = get(server.address, b"/", fields).await;
        assert_eq!(reply.status, status);
        let (head, text) = reply.text.split_once("\r\n\r\n").unwrap();
        assert!(text.starts_with(body), "{text}");
        let head = head.to_lowercase();
        assert!(
            head.contains(&format!("content-length: {}", text.len())),
            "{head}"
        );
        for scheme in ["basic", "bearer"] {
            let challenge = format!("www-authenticate: {scheme} realm=\"keyfob\"\r\n");
            assert_eq!(head.contains(&challenge), status == 401, "{head}");
        }
    }
}
