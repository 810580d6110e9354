use std::{
    fs,
    path::Path,
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
    thread,
};

use axum::{
    Extension,
    body::{Body, Bytes},
    http::{Method, StatusCode},
    routing::get,
};
use keyfob_testkit::certificates::Authority;
use rustls::{
    ClientConfig, RootCertStore,
    crypto::ring::default_provider,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpStream, UnixStream},
    time::Instant,
};
use tokio_rustls::TlsConnector;

use super::*;
use crate::{Address, Leaving};

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
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
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

/// What a new client is answered while another one holds the only connection.
async fn answered_nevertheless(address: SocketAddr) -> String {
    let asked = async { ask(&mut TcpStream::connect(address).await.unwrap()).await };
    timeout(Duration::from_secs(8), asked).await.unwrap()
}

#[tokio::test]
async fn a_connection_without_a_complete_head_makes_room() {
    let (address, _stop) = start(&routes(), None).await;
    for starts in [&b""[..], b"G", &[REQUEST, b"G"].concat()] {
        let mut held = TcpStream::connect(address).await.unwrap();
        held.write_all(starts).await.unwrap();
        let answer = answered_nevertheless(address).await;
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    }
}

#[tokio::test]
async fn a_connection_that_has_been_idle_makes_room_at_once() {
    let (address, _stop) = start(&routes(), None).await;
    let mut least = Duration::MAX;
    // The shortest of some times: the machine may be busy.
    for _ in 0..4 {
        let mut held = TcpStream::connect(address).await.unwrap();
        assert!(ask(&mut held).await.starts_with("HTTP/1.1 200"));
        tokio::time::sleep(Duration::from_millis(700)).await;
        let asked = Instant::now();
        let answer = answered_nevertheless(address).await;
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        least = least.min(asked.elapsed());
    }
    assert!(least < Duration::from_millis(400), "{least:?}");
}

#[tokio::test]
async fn a_connection_that_waited_may_be_idle_once_no_other_waits() {
    let (address, _stop) = start(&routes(), None).await;
    let mut first = TcpStream::connect(address).await.unwrap();
    assert!(ask(&mut first).await.starts_with("HTTP/1.1 200"));
    let mut second = TcpStream::connect(address).await.unwrap();
    let closes = async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        drop(first);
    };
    let (answer, ()) = tokio::join!(ask(&mut second), closes);
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    tokio::time::sleep(Duration::from_secs(2)).await;
    let answer = ask(&mut second).await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}

#[tokio::test]
async fn a_tls_handshake_makes_room() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    Authority::new(folder, "authority").issue(folder, "server");
    let (address, _stop) = start(&routes(), Some(tls(folder, None))).await;
    let _held = TcpStream::connect(address).await.unwrap();
    let asked = ask_over_tls(address, folder, "authority", None);
    let answer = timeout(Duration::from_secs(8), asked).await.unwrap();
    assert!(answer.unwrap().starts_with("HTTP/1.1 200"));
}

#[tokio::test]
async fn a_request_in_progress_is_answered_before_its_connection_makes_room() {
    let slow = get(|| async {
        tokio::time::sleep(Duration::from_secs(3)).await;
        "done"
    });
    let (address, _stop) = start(&Routes::of(Router::new().route("/", slow)), None).await;
    let mut held = TcpStream::connect(address).await.unwrap();
    held.write_all(REQUEST).await.unwrap();
    let other = answered_nevertheless(address);
    let mut answer = String::new();
    let (other, read) = tokio::join!(other, held.read_to_string(&mut answer));
    read.unwrap();
    assert!(answer.ends_with("done") && other.ends_with("done"));
}

#[tokio::test]
async fn a_handler_is_told_that_its_connection_has_to_end() {
    let told = |Extension(leaving): Extension<Leaving>| async move {
        leaving.wait().await;
        "told"
    };
    let routes = Routes::of(Router::new().route("/", get(told)));
    for stops in [false, true] {
        let (address, stop) = start(&routes, None).await;
        let mut held = TcpStream::connect(address).await.unwrap();
        held.write_all(REQUEST).await.unwrap();
        tokio::time::sleep(Duration::from_millis(100)).await;
        let _other = TcpStream::connect(address).await.unwrap();
        let _stop = if stops {
            drop(stop);
            None
        } else {
            Some(stop)
        };
        let mut answer = String::new();
        let read = timeout(Duration::from_secs(8), held.read_to_string(&mut answer));
        read.await.unwrap().unwrap();
        assert!(answer.ends_with("told"), "{answer}");
    }
}

#[tokio::test]
async fn a_connection_without_a_request_makes_room_within_a_second() {
    let routes = Routes::of(Router::new().route("/", get(|| async { "hello" })));
    let (address, _stop) = start(&routes, None).await;
    // Nothing, a part of a head, and a request after which nothing follows.
    let held: [&[u8]; 3] = [b"", &REQUEST[..20], REQUEST];
    for sent in held {
        let mut idle = TcpStream::connect(address).await.unwrap();
        idle.write_all(sent).await.unwrap();
        let start = Instant::now();
        let mut next = TcpStream::connect(address).await.unwrap();
        let answer = timeout(Duration::from_secs(20), ask(&mut next)).await;
        assert!(answer.unwrap().starts_with("HTTP/1.1 200"), "{sent:?}");
        // Less than a turn, also on a busy machine.
        assert!(
            start.elapsed() + Duration::from_secs(1) < crate::leaving::TURN,
            "{sent:?}"
        );
        drop(next);
    }
}

#[tokio::test]
async fn connections_are_served_on_threads_of_their_own_until_the_server_stops() {
    let name = || async { thread::current().name().unwrap_or_default().to_owned() };
    let routes = Routes::of(Router::new().route("/", get(name)));
    let listener = "127.0.0.1:0".parse::<Address>().unwrap().bind().await;
    let listener = listener.unwrap();
    let address = listener.socket_address().unwrap();
    let server = Server::new("test", listener, routes);
    let server = server.on_threads(NonZeroUsize::new(2).unwrap()).unwrap();
    let (stop, stopped) = watch::channel(());
    let serving = tokio::spawn(server.serve(stopped));
    let mut connections = Vec::new();
    for expected in ["test-0", "test-1", "test-0", "test-1"] {
        let mut connection = TcpStream::connect(address).await.unwrap();
        let answer = ask(&mut connection).await;
        assert!(answer.ends_with(expected), "{expected}: {answer}");
        connections.push(connection);
    }
    drop(stop);
    timeout(Duration::from_secs(5), serving)
        .await
        .unwrap()
        .unwrap();
    let mut byte = [0];
    for connection in &mut connections {
        assert_eq!(connection.read(&mut byte).await.unwrap_or(0), 0);
    }
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

const UPGRADE: &[u8] =
    b"GET / HTTP/1.1\r\nHost: keyfob\r\nConnection: upgrade\r\nUpgrade: test\r\n\r\n";

/// Routes that upgrade each connection, and then run this on it. The flag is set when it has ended.
fn upgrading<F>(
    then: impl Fn(TokioIo<hyper::upgrade::Upgraded>) -> F + Clone + Send + Sync + 'static,
) -> (Routes, Arc<AtomicBool>)
where
    F: Future<Output = ()> + Send + 'static,
{
    let ended = Arc::new(AtomicBool::new(false));
    let told = Arc::clone(&ended);
    let route = get(move |request: axum::extract::Request| {
        let (then, told) = (then.clone(), Arc::clone(&told));
        tokio::spawn(async move {
            let upgraded = hyper::upgrade::on(request).await.unwrap();
            then(TokioIo::new(upgraded)).await;
            told.store(true, Ordering::SeqCst);
        });
        let headers = [("connection", "upgrade"), ("upgrade", "test")];
        std::future::ready((StatusCode::SWITCHING_PROTOCOLS, headers))
    });
    (Routes::of(Router::new().route("/", route)), ended)
}

/// Reads one byte, and no more: it ends when the client or the server does.
async fn read_to_end(mut io: impl AsyncRead + Unpin) {
    let _ = io.read(&mut [0]).await;
}

async fn upgraded(address: SocketAddr) -> TcpStream {
    let mut connection = TcpStream::connect(address).await.unwrap();
    connection.write_all(UPGRADE).await.unwrap();
    let mut head = [0; 1024];
    let read = connection.read(&mut head).await.unwrap();
    let head = String::from_utf8_lossy(&head[..read]);
    assert!(head.starts_with("HTTP/1.1 101"), "{head}");
    connection
}

async fn until(flag: &AtomicBool) {
    let set = async {
        while !flag.load(Ordering::SeqCst) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(Duration::from_secs(10), set).await.unwrap();
}

#[tokio::test]
async fn an_upgraded_connection_keeps_its_place() {
    let (routes, _) = upgrading(read_to_end);
    let (address, _stop) = start(&routes, None).await;
    let first = upgraded(address).await;
    let second = tokio::spawn(upgraded(address));
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(!second.is_finished(), "there is one place");
    drop(first);
    timeout(Duration::from_secs(5), second)
        .await
        .unwrap()
        .unwrap();
}

#[tokio::test]
async fn an_upgraded_connection_whose_client_reads_nothing_is_closed() {
    let (routes, ended) =
        upgrading(|mut io| async move { while io.write_all(&[b'x'; 10_000]).await.is_ok() {} });
    let (address, _stop) = start(&routes, None).await;
    let _connection = upgraded(address).await;
    until(&ended).await;
}

#[tokio::test]
async fn a_stop_ends_upgraded_connections_after_the_grace() {
    for grace in [Duration::ZERO, Duration::from_secs(20)] {
        let (routes, ended) = upgrading(read_to_end);
        let address: Address = "127.0.0.1:0".parse().unwrap();
        let listener = address.bind().await.unwrap();
        let address = listener.socket_address().unwrap();
        let limits = Limits::for_streams().with_grace(grace);
        let server = Server::new("test", listener, routes).with_limits(limits);
        let (stop, stopped) = watch::channel(());
        let serving = tokio::spawn(server.serve(stopped));
        let connection = upgraded(address).await;
        drop(stop);
        if !grace.is_zero() {
            tokio::time::sleep(Duration::from_millis(300)).await;
            assert!(!serving.is_finished() && !ended.load(Ordering::SeqCst));
            drop(connection);
        }
        timeout(Duration::from_secs(5), serving)
            .await
            .unwrap()
            .unwrap();
        until(&ended).await;
    }
}

/// The answers of one thread, which a client with many requests must not have to itself.
#[tokio::test(flavor = "multi_thread")]
async fn a_request_does_not_wait_for_all_refusals_that_another_client_sent_for() {
    /// Refusals so far, and how many there were when the last other request was answered.
    static REFUSALS: AtomicUsize = AtomicUsize::new(0);
    static BEFORE: AtomicUsize = AtomicUsize::new(0);
    /// Whether the other client has sent its request.
    static SENT: AtomicBool = AtomicBool::new(false);
    let routes = Routes::of(Router::new()).with_answer(|head| {
        let mut response = Response::new(Bytes::new());
        if head.method == Method::POST {
            *response.status_mut() = StatusCode::UNAUTHORIZED;
            if REFUSALS.fetch_add(1, Ordering::SeqCst) == 0 {
                // The other client's request arrives meanwhile.
                while !SENT.load(Ordering::SeqCst) {
                    thread::sleep(Duration::from_millis(1));
                }
                thread::sleep(Duration::from_millis(50));
            }
        } else {
            BEFORE.store(REFUSALS.load(Ordering::SeqCst), Ordering::SeqCst);
        }
        Some(response)
    });
    let address: Address = "127.0.0.1:0".parse().unwrap();
    let listener = address.bind().await.unwrap();
    let address = listener.socket_address().unwrap();
    let server = Server::new("test", listener, routes).on_threads(NonZeroUsize::MIN);
    let (_stop, stopped) = watch::channel(());
    tokio::spawn(server.unwrap().serve(stopped));

    let mut other = TcpStream::connect(address).await.unwrap();
    assert!(ask(&mut other).await.starts_with("HTTP/1.1 200"));
    let mut many = TcpStream::connect(address).await.unwrap();
    let requests = "POST / HTTP/1.1\r\nHost: keyfob\r\n\r\n".repeat(100);
    many.write_all(requests.as_bytes()).await.unwrap();
    while REFUSALS.load(Ordering::SeqCst) == 0 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    other.write_all(REQUEST).await.unwrap();
    SENT.store(true, Ordering::SeqCst);
    let mut bytes = [0; 4096];
    let read = other.read(&mut bytes).await.unwrap();
    assert!(bytes[..read].starts_with(b"HTTP/1.1 200"));
    let before = BEFORE.load(Ordering::SeqCst);
    assert!((1..=3).contains(&before), "after {before} refusals");
}
