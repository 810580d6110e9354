//! A server, keys, and a client that asks like Envoy.

use std::{net::SocketAddr, path::PathBuf};

use keyfob::{
    Context, IssuedKey, Keyring, MemoryStore, NewKey, Scopes, Ttl, manage::CreatedKey, name::Scope,
};
use keyfob_envoy::ExtAuthz;
use keyfob_gateway::{Authorizer, AuthorizerBuilder};
use keyfob_listen::{Address, Limits, Routes, Server, Tls};
use tokio::sync::watch;
use tonic::{
    Request, Status,
    client::Grpc,
    codegen::http::uri::PathAndQuery,
    transport::{Channel, Endpoint},
};
use tonic_prost::ProstCodec;

use crate::message::{
    self, AttributeContext, CheckRequest, CheckResponse, DeniedHttpResponse, Entry, HeaderMap,
    HeaderValue, HttpRequest, HttpResponse, Kind, OkHttpResponse, Peer, SocketAddress, Struct,
};

/// A store with keys.
pub(crate) struct Fixture {
    pub(crate) keyring: Keyring,
    /// Of Alice, for `orders`, with the scopes `invoke` and `read`.
    pub(crate) orders: CreatedKey,
    /// Of a service, for `billing`, with all scopes and without an end.
    pub(crate) billing: CreatedKey,
}

impl Fixture {
    pub(crate) async fn new() -> Self {
        let keyring = Keyring::open(MemoryStore::new(), "acme").await.unwrap();
        let context = Context::system(keyfob::now());
        let scopes = ["read", "invoke"].map(|name| Scope::new(name).unwrap());
        let new = NewKey::for_user("team", "orders", "alice", "laptop")
            .unwrap()
            .with_scopes(Scopes::only(scopes).unwrap())
            .expires_in(Ttl::hours(1).unwrap());
        let orders = keyring.create(&context, new).await.unwrap();
        let new = NewKey::for_service("team", "billing", "bot", "bot").unwrap();
        let billing = keyring.create(&context, new).await.unwrap();
        Self {
            keyring,
            orders,
            billing,
        }
    }

    pub(crate) fn authorizer(&self) -> AuthorizerBuilder {
        Authorizer::builder(self.keyring.verifier(), *self.keyring.format())
    }

    /// Serves with the default settings.
    pub(crate) async fn serve(&self) -> Served {
        Served::new(ExtAuthz::new(self.authorizer().build())).await
    }
}

/// A running server, and a client.
pub(crate) struct Served {
    pub(crate) socket: SocketAddr,
    pub(crate) channel: Channel,
    _stop: watch::Sender<()>,
}

impl Served {
    pub(crate) async fn new(service: ExtAuthz) -> Self {
        let (socket, stop) = start(service, "127.0.0.1:0", None).await;
        let socket = socket.unwrap();
        let endpoint = Endpoint::from_shared(format!("http://{socket}")).unwrap();
        Self {
            socket,
            channel: endpoint.connect().await.unwrap(),
            _stop: stop,
        }
    }

    pub(crate) async fn check(&self, request: CheckRequest) -> CheckResponse {
        check(&self.channel, request).await.unwrap()
    }

    /// The answer to a request that may pass.
    pub(crate) async fn accepted(&self, asked: &Asked) -> (OkHttpResponse, Struct) {
        let response = self.check(asked.request()).await;
        assert_eq!(response.status.unwrap().code, 0);
        match response.http_response {
            Some(HttpResponse::Ok(ok)) => (ok, response.dynamic_metadata.unwrap()),
            other => panic!("{other:?}"),
        }
    }

    /// The answer to a request that may not pass, and the reason in the metadata.
    pub(crate) async fn refused(&self, asked: &Asked) -> (DeniedHttpResponse, String) {
        refused(self.check(asked.request()).await)
    }

    /// The status and the reason of a refusal.
    pub(crate) async fn reason(&self, asked: &Asked) -> (i32, String) {
        let (denied, reason) = self.refused(asked).await;
        (denied.status.unwrap().code, reason)
    }
}

/// Starts a server, which ends when the sender is dropped.
pub(crate) async fn start(
    service: ExtAuthz,
    address: &str,
    tls: Option<Tls>,
) -> (Option<SocketAddr>, watch::Sender<()>) {
    let address: Address = address.parse().unwrap();
    let listener = address.bind().await.unwrap();
    let socket = listener.socket_address();
    let (stop, stopped) = watch::channel(());
    let server = Server::new("grpc", listener, Routes::of(service.into_router()))
        .with_http2()
        .with_tls(tls);
    tokio::spawn(server.serve(stopped));
    (socket, stop)
}

/// Serves on loopback with these limits.
pub(crate) async fn serve_within(
    service: ExtAuthz,
    limits: Limits,
) -> (SocketAddr, watch::Sender<()>) {
    let address: Address = "127.0.0.1:0".parse().unwrap();
    let listener = address.bind().await.unwrap();
    let socket = listener.socket_address().unwrap();
    let (stop, stopped) = watch::channel(());
    let server = Server::new("grpc", listener, Routes::of(service.into_router()))
        .with_http2()
        .with_limits(limits);
    tokio::spawn(server.serve(stopped));
    (socket, stop)
}

pub(crate) fn refused(response: CheckResponse) -> (DeniedHttpResponse, String) {
    assert_ne!(response.status.unwrap().code, 0);
    let denied = match response.http_response {
        Some(HttpResponse::Denied(denied)) => denied,
        other => panic!("{other:?}"),
    };
    let metadata = texts(&response.dynamic_metadata.unwrap());
    assert_eq!(metadata.len(), 1, "{metadata:?}");
    (denied, metadata[0].1.clone())
}

pub(crate) async fn check(
    channel: &Channel,
    request: CheckRequest,
) -> Result<CheckResponse, Status> {
    let mut client = Grpc::new(channel.clone());
    client.ready().await.unwrap();
    let codec = ProstCodec::<CheckRequest, CheckResponse>::default();
    let path = PathAndQuery::from_static(CHECK);
    let response = client.unary(Request::new(request), path, codec).await?;
    Ok(response.into_inner())
}

/// The path of the call that Envoy makes.
pub(crate) const CHECK: &str = "/envoy.service.auth.v3.Authorization/Check";

/// The members of the metadata.
pub(crate) fn texts(metadata: &Struct) -> Vec<(String, String)> {
    let [keyfob] = &metadata.fields[..] else {
        panic!("{metadata:?}");
    };
    assert_eq!(keyfob.key, "keyfob");
    let Some(Kind::Struct(inner)) = keyfob.value.as_ref().and_then(|it| it.kind.as_ref()) else {
        panic!("{metadata:?}");
    };
    let member = |member: &message::Member| match member.value.as_ref().unwrap().kind.as_ref() {
        Some(Kind::Text(text)) => (member.key.clone(), text.clone()),
        other => panic!("{other:?}"),
    };
    inner.fields.iter().map(member).collect()
}

/// A request that Envoy asks about.
#[derive(Clone)]
pub(crate) struct Asked {
    pub(crate) method: &'static str,
    pub(crate) path: Vec<u8>,
    pub(crate) host: &'static str,
    pub(crate) headers: Vec<(String, Vec<u8>)>,
    pub(crate) extensions: Vec<(&'static str, String)>,
    pub(crate) client: &'static str,
    /// With `encode_raw_headers`.
    pub(crate) raw: bool,
}

impl Asked {
    pub(crate) fn new(path: impl AsRef<[u8]>) -> Self {
        Self {
            method: "POST",
            path: path.as_ref().to_owned(),
            host: "api.example",
            headers: Vec::new(),
            extensions: Vec::new(),
            client: "192.0.2.7",
            raw: true,
        }
    }

    /// For an action in a namespace.
    pub(crate) fn of(namespace: &str, key: &IssuedKey) -> Self {
        let path = format!("/api/v1/namespaces/{namespace}/actions/x?blocking=true");
        Self::new(path).with("authorization", format!("Bearer {}", key.expose()))
    }

    pub(crate) fn with(mut self, name: &str, value: impl AsRef<[u8]>) -> Self {
        self.headers
            .push((name.to_owned(), value.as_ref().to_owned()));
        self
    }

    pub(crate) fn extended(mut self, name: &'static str, value: &str) -> Self {
        self.extensions.push((name, value.to_owned()));
        self
    }

    pub(crate) fn texts(self) -> Self {
        Self { raw: false, ..self }
    }

    pub(crate) fn request(&self) -> CheckRequest {
        let pseudo = [
            (":method", self.method.as_bytes()),
            (":path", &*self.path),
            (":authority", self.host.as_bytes()),
        ];
        let pseudo = pseudo.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let all = pseudo.into_iter().chain(self.headers.clone());
        let mut http = HttpRequest {
            method: self.method.into(),
            path: text(&self.path),
            host: self.host.into(),
            ..HttpRequest::default()
        };
        if self.raw {
            let header = |(name, raw_value): (String, Vec<u8>)| HeaderValue {
                key: name.into(),
                value: Vec::new(),
                raw_value,
            };
            let headers = all.map(header).collect();
            http.header_map = Some(HeaderMap { headers });
        } else {
            let entry = |(name, value): (String, Vec<u8>)| Entry {
                key: name.into(),
                value: text(&value),
            };
            http.headers = all.map(entry).collect();
        }
        let address = SocketAddress {
            address: self.client.to_owned(),
        };
        let extension = |(name, value): &(&str, String)| Entry {
            key: (*name).into(),
            value: value.clone().into(),
        };
        CheckRequest {
            attributes: Some(AttributeContext {
                source: Some(Peer {
                    address: Some(message::Address {
                        socket_address: Some(address),
                    }),
                }),
                request: Some(message::Request { http: Some(http) }),
                context_extensions: self.extensions.iter().map(extension).collect(),
            }),
        }
    }
}

/// What Envoy makes of bytes in a text: each that is not UTF-8 is replaced.
fn text(bytes: &[u8]) -> Vec<u8> {
    let text = String::from_utf8_lossy(bytes);
    text.replace(char::REPLACEMENT_CHARACTER, "!").into_bytes()
}

/// The certificate of an authority, one of the server, and one of a client, with their keys: files in PEM.
pub(crate) struct Certificates {
    pub(crate) folder: tempfile::TempDir,
}

impl Certificates {
    pub(crate) fn new() -> Self {
        use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};

        let folder = tempfile::tempdir().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let authority = params.self_signed(&key).unwrap();
        let issuer = Issuer::new(params, key);
        let file =
            |name: &str, text: String| std::fs::write(folder.path().join(name), text).unwrap();
        file("ca.pem", authority.pem());
        for name in ["server", "client"] {
            let key = KeyPair::generate().unwrap();
            let params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
            file(
                &format!("{name}.pem"),
                params.signed_by(&key, &issuer).unwrap().pem(),
            );
            file(&format!("{name}.key"), key.serialize_pem());
        }
        Self { folder }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn read(&self, name: &str) -> Vec<u8> {
        std::fs::read(self.path(name)).unwrap()
    }
}
