use std::{
    fs,
    path::Path,
    sync::atomic::{AtomicBool, Ordering},
};

use axum::{
    Extension,
    body::{Body, Bytes},
    http::StatusCode,
    routing::get,
};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::{
    ClientConfig, RootCertStore,
    crypto::ring::default_provider,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpStream, UnixStream},
};
use tokio_rustls::TlsConnector;

use super::*;
use crate::Address;

const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: keyfob\r\n\r\n";

/// A server that stops when the sender is dropped.
async fn start(routes: &Routes, tls: Option<Tls>) -> (SocketAddr, watch::Sender<()>) {
    let address: Address = "127.0.0.1:0".parse().unwrap();
    let listener = address.bind().await.unwrap();
    let address = listener.socket_address().unwrap();
    let limits = Limits::default()
        .with_connections(NonZeroU32::MIN)
        .with_write_timeout(Duration::from_millis(200));
    let server = Server::new("test", listener, routes.clone())
        .with_limits(limits)
        .with_tls(tls);
    let (stop, stopped) = watch::channel(());
    tokio::spawn(server.serve(stopped));
    (address, stop)
}

async fn ask(connection: &mut (impl AsyncRead + AsyncWrite + Unpin)) -> String {
    connection.write_all(REQUEST).await.unwrap();
    let mut bytes = [0; 4096];
    let read = connection.read(&mut bytes).await.unwrap_or(0);
    String::from_utf8_lossy(&bytes[..read]).into_owned()
}

#[tokio::test]
async fn an_open_connection_gets_the_final_routes_once_they_are_set() {
    let not_yet = Router::new().fallback(|| async { StatusCode::SERVICE_UNAVAILABLE });
    let routes = Routes::starting(not_yet);
    let (address, _stop) = start(&routes, None).await;
    let mut connection = TcpStream::connect(address).await.unwrap();
    assert!(ask(&mut connection).await.starts_with("HTTP/1.1 503"));
    routes.serve(Router::new().route("/", get(|| async { "ready" })));
    assert!(ask(&mut connection).await.starts_with("HTTP/1.1 200"));
}

/// A body without end, which tells when it is dropped.
struct Endless(Arc<AtomicBool>);

impl Drop for Endless {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

impl hyper::body::Body for Endless {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<hyper::body::Frame<Bytes>, Self::Error>>> {
        let frame = hyper::body::Frame::data(Bytes::from_static(&[b'x'; 10_000]));
        std::task::Poll::Ready(Some(Ok(frame)))
    }
}

#[tokio::test]
async fn a_client_that_reads_nothing_loses_its_connection() {
    let gone = Arc::new(AtomicBool::new(false));
    let body = Arc::clone(&gone);
    let endless = get(move || async move { Body::new(Endless(body)) });
    let routes = Routes::of(Router::new().route("/", endless));
    let (address, _stop) = start(&routes, None).await;
    let mut connection = TcpStream::connect(address).await.unwrap();
    connection.write_all(REQUEST).await.unwrap();
    let dropped = async {
        while !gone.load(Ordering::SeqCst) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    assert!(timeout(Duration::from_secs(10), dropped).await.is_ok());
}

#[tokio::test]
async fn a_unix_socket_has_no_address_as_its_peer() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("keyfob.sock");
    let listener = Address::Unix(path.clone()).bind().await.unwrap();
    let tell = |Extension(peer): Extension<Peer>| async move { format!("{peer:?}") };
    let routes = Routes::of(Router::new().route("/", get(tell)));
    let (_stop, stopped) = watch::channel(());
    tokio::spawn(Server::new("test", listener, routes).serve(stopped));
    let mut connection = UnixStream::connect(&path).await.unwrap();
    assert!(ask(&mut connection).await.ends_with("\r\n\r\nUnix"));
}

/// An authority for tests.
struct Authority(Issuer<'static, KeyPair>);

impl Authority {
    fn new(folder: &Path, name: &str) -> Self {
        let mut params = CertificateParams::new([]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap();
        fs::write(folder.join(format!("{name}.pem")), certificate.pem()).unwrap();
        Self(Issuer::new(params, key))
    }

    /// Writes `NAME.pem` and `NAME.key`.
    fn issue(&self, folder: &Path, name: &str) {
        let params = CertificateParams::new(["localhost".to_owned()]).unwrap();
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.0).unwrap();
        fs::write(folder.join(format!("{name}.pem")), certificate.pem()).unwrap();
        fs::write(folder.join(format!("{name}.key")), key.serialize_pem()).unwrap();
    }
}

/// What a client that trusts the authority of the file `trusts` is answered.
async fn ask_over_tls(
    address: SocketAddr,
    folder: &Path,
    trusts: &str,
    shows: Option<&str>,
) -> Option<String> {
    let mut roots = RootCertStore::empty();
    let file = folder.join(format!("{trusts}.pem"));
    roots
        .add(CertificateDer::from_pem_file(file).unwrap())
        .unwrap();
    let builder = ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots);
    let config = match shows {
        None => builder.with_no_client_auth(),
        Some(name) => {
            let chain = CertificateDer::from_pem_file(folder.join(format!("{name}.pem"))).unwrap();
            let key = PrivateKeyDer::from_pem_file(folder.join(format!("{name}.key"))).unwrap();
            builder.with_client_auth_cert(vec![chain], key).unwrap()
        }
    };
    let stream = TcpStream::connect(address).await.unwrap();
    let name = ServerName::try_from("localhost").unwrap();
    let connector = TlsConnector::from(Arc::new(config));
    let mut stream = connector.connect(name, stream).await.ok()?;
    stream.write_all(REQUEST).await.ok()?;
    let mut bytes = [0; 4096];
    let read = stream
        .read(&mut bytes)
        .await
        .ok()
        .filter(|read| *read > 0)?;
    Some(String::from_utf8_lossy(&bytes[..read]).into_owned())
}

fn tls(folder: &Path, clients: Option<&str>) -> Tls {
    let clients = clients.map(|name| folder.join(format!("{name}.pem")));
    Tls::from_files(
        folder.join("server.pem"),
        folder.join("server.key"),
        clients,
    )
    .unwrap()
}

fn routes() -> Routes {
    let tell = |certificate: Option<Extension<ClientCertificate>>| async move {
        certificate.map_or("none", |_| "certificate")
    };
    Routes::of(Router::new().route("/", get(tell)))
}

#[tokio::test]
async fn a_client_needs_a_certificate_of_the_authority_if_there_is_one() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    Authority::new(folder, "authority").issue(folder, "server");
    Authority::new(folder, "clients").issue(folder, "client");
    Authority::new(folder, "others").issue(folder, "stranger");

    let (address, _stop) = start(&routes(), Some(tls(folder, Some("clients")))).await;
    let known = ask_over_tls(address, folder, "authority", Some("client")).await;
    assert!(known.unwrap().ends_with("\r\n\r\ncertificate"));
    for shows in [None, Some("stranger")] {
        assert_eq!(
            ask_over_tls(address, folder, "authority", shows).await,
            None
        );
    }

    let (address, _stop) = start(&routes(), Some(tls(folder, None))).await;
    let anybody = ask_over_tls(address, folder, "authority", None).await;
    assert!(anybody.unwrap().ends_with("\r\n\r\nnone"));
    let plain = &mut TcpStream::connect(address).await.unwrap();
    assert!(!ask(plain).await.contains("HTTP/1.1 200"));
}

#[tokio::test]
async fn certificates_are_read_again_when_they_change() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    Authority::new(folder, "before").issue(folder, "server");
    let (address, _stop) = start(&routes(), Some(tls(folder, None))).await;
    assert!(
        ask_over_tls(address, folder, "before", None)
            .await
            .is_some()
    );

    // What cannot be read changes nothing.
    fs::write(folder.join("server.pem"), "no certificate").unwrap();
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert!(
        ask_over_tls(address, folder, "before", None)
            .await
            .is_some()
    );

    Authority::new(folder, "after").issue(folder, "server");
    let renewed = async {
        while ask_over_tls(address, folder, "after", None).await.is_none() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(Duration::from_secs(10), renewed).await.unwrap();
    assert_eq!(ask_over_tls(address, folder, "before", None).await, None);
}

#[test]
fn a_file_that_cannot_be_used_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    Authority::new(folder, "authority").issue(folder, "server");
    let (certificate, key) = (folder.join("server.pem"), folder.join("server.key"));
    fs::write(folder.join("empty.pem"), "").unwrap();
    for (certificate, key, clients, named) in [
        (folder.join("none.pem"), key.clone(), None, "none.pem"),
        (certificate.clone(), certificate.clone(), None, "server.pem"),
        (folder.join("empty.pem"), key.clone(), None, "empty.pem"),
        (
            certificate,
            key,
            Some(folder.join("empty.pem")),
            "empty.pem",
        ),
    ] {
        let error = Tls::from_files(certificate, key, clients).unwrap_err();
        assert!(error.to_string().ends_with(named), "{error}");
    }
}

#[tokio::test]
async fn a_stop_closes_streams_after_the_grace() {
    let gone = Arc::new(AtomicBool::new(false));
    let body = Arc::clone(&gone);
    let endless = get(move || async move { Body::new(Endless(body)) });
    let address: Address = "127.0.0.1:0".parse().unwrap();
    let listener = address.bind().await.unwrap();
    let address = listener.socket_address().unwrap();
    let routes = Routes::of(Router::new().route("/", endless));
    let server = Server::new("test", listener, routes).with_limits(Limits::for_streams());
    let (stop, stopped) = watch::channel(());
    let serving = tokio::spawn(server.serve(stopped));
    let mut connection = TcpStream::connect(address).await.unwrap();
    assert!(ask(&mut connection).await.starts_with("HTTP/1.1 200"));
    assert!(!gone.load(Ordering::SeqCst));
    drop(stop);
    timeout(Duration::from_secs(5), serving)
        .await
        .unwrap()
        .unwrap();
    assert!(gone.load(Ordering::SeqCst));
}
