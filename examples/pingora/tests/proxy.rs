//! The proxy with a real backend: what passes, what is refused, and what the backend sees.

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use keyfob::{Context, Keyring, MemoryStore, NewKey, block_on, manage::CreatedKey, now};
use keyfob_gateway::Authorizer;
use keyfob_pingora::KeyfobProxy;
use pingora_core::server::Server;
use pingora_proxy::http_proxy_service;

/// Answers every request with its head.
struct Backend {
    address: SocketAddr,
    requests: Arc<AtomicUsize>,
}

impl Backend {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let requests = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&requests);
        thread::spawn(move || {
            for stream in listener.incoming() {
                let counted = Arc::clone(&counted);
                thread::spawn(move || echo(&mut stream.unwrap(), &counted));
            }
        });
        Self { address, requests }
    }
}

fn echo(stream: &mut TcpStream, requests: &AtomicUsize) {
    let mut head = Vec::new();
    let mut bytes = [0; 4096];
    while !head.windows(4).any(|end| end == b"\r\n\r\n") {
        match stream.read(&mut bytes) {
            Ok(read) if read > 0 => head.extend_from_slice(&bytes[..read]),
            _ => return,
        }
    }
    requests.fetch_add(1, Ordering::SeqCst);
    let length = head.len();
    let answer =
        format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n");
    let _ = stream.write_all(answer.as_bytes());
    let _ = stream.write_all(&head);
}

struct Proxy {
    address: SocketAddr,
    backend: Backend,
    keyring: Keyring,
    key: CreatedKey,
    /// Whether the process stood still, and the source was not yet asked.
    paused: Arc<AtomicBool>,
}

impl Proxy {
    fn start() -> Self {
        let keyring = block_on(Keyring::open(MemoryStore::new(), "acme")).unwrap();
        let new = NewKey::for_user("team", "orders", "alice", "laptop").unwrap();
        let key = block_on(keyring.create(&Context::system(now()), new)).unwrap();
        let backend = Backend::start();
        let paused = Arc::new(AtomicBool::new(false));
        let pauses = Arc::clone(&paused);
        let authorizer = Authorizer::builder(keyring.verifier(), *keyring.format())
            .pauses(move || (!pauses.load(Ordering::SeqCst)).then_some(0))
            .build();
        let proxy = KeyfobProxy::new(authorizer, backend.address);
        let free = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = free.local_addr().unwrap();
        drop(free);
        thread::spawn(move || {
            let mut server = Server::new(None).unwrap();
            server.bootstrap();
            let mut service = http_proxy_service(&server.configuration, proxy);
            service.add_tcp(&address.to_string());
            server.add_service(service);
            // Until the end of the test's process.
            server.run_forever()
        });
        let start = Instant::now();
        while TcpStream::connect(address).is_err() {
            assert!(
                start.elapsed() < Duration::from_secs(20),
                "it never listens"
            );
            thread::sleep(Duration::from_millis(10));
        }
        Self {
            address,
            backend,
            keyring,
            key,
            paused,
        }
    }

    /// Status line and fields, and the body, of the answer to a request with these lines.
    fn send(&self, path: &str, lines: &[&str]) -> (String, String) {
        let mut stream = TcpStream::connect(self.address).unwrap();
        stream
            .set_read_timeout(Some(Duration::from_secs(10)))
            .unwrap();
        let mut request =
            format!("GET {path} HTTP/1.1\r\nHost: api.example\r\nConnection: close\r\n");
        for line in lines {
            request.push_str(line);
            request.push_str("\r\n");
        }
        request.push_str("\r\n");
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        let answer = String::from_utf8(answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        (head.to_ascii_lowercase(), body.to_owned())
    }

    fn status(&self, path: &str, lines: &[&str]) -> u16 {
        let (head, _) = self.send(path, lines);
        head.split(' ').nth(1).unwrap().parse().unwrap()
    }
}

/// One server for all: Pingora's settings are the process's.
#[test]
fn a_proxy_lets_through_what_the_authorizer_accepts_and_no_forged_identity() {
    let proxy = Proxy::start();
    let bearer = format!("Authorization: Bearer {}", proxy.key.secret.expose());
    let path = "/api/v1/namespaces/orders/actions/x?a=/../b";

    // What the backend sees.
    let forged = [
        &*bearer,
        "X-Keyfob-Owner: user:root",
        "x_keyfob_team: root",
        "X-KEYFOB-Key-Name: forged",
        "X-Keyfob-Future: forged",
        "X-Other: kept",
    ];
    let (head, body) = proxy.send(path, &forged);
    assert!(head.starts_with("http/1.1 200"), "{head}");
    let seen = body.to_ascii_lowercase();
    assert!(
        seen.starts_with("get /api/v1/namespaces/orders/actions/x?a=/../b "),
        "{seen}"
    );
    for line in [
        "x-keyfob-owner: user:alice",
        "x-keyfob-team: team",
        "x-keyfob-namespace: orders",
        "x-keyfob-scopes: *",
        "x-other: kept",
    ] {
        assert!(seen.contains(&format!("\r\n{line}\r\n")), "{line}: {seen}");
    }
    for text in ["authorization", "root", "forged", "x_keyfob"] {
        assert!(!seen.contains(text), "{text}: {seen}");
    }
    // A client cannot have the identity dropped on the way either.
    let (_, body) = proxy.send(path, &[&bearer, "Connection: x-keyfob-owner"]);
    assert!(
        body.to_ascii_lowercase()
            .contains("x-keyfob-owner: user:alice"),
        "{body}"
    );

    // Only a WebSocket is upgraded to, also if a client names other protocols.
    for (upgrades, passed) in [
        (vec!["Upgrade: websocket"], true),
        (vec!["Upgrade: tunnel", "Upgrade: websocket"], true),
        (vec!["Upgrade: WebSocket", "Upgrade: tunnel"], true),
        (vec!["Upgrade: tunnel"], false),
        (vec!["Upgrade: tunnel, websocket"], false),
        (
            vec!["Upgrade: h2c", "HTTP2-Settings: AAMAAABkAAQAoAAAAAIAAAAA"],
            false,
        ),
    ] {
        let lines = [&[&*bearer, "Connection: Upgrade"][..], &upgrades].concat();
        let (_, body) = proxy.send(path, &lines);
        let seen = body.to_ascii_lowercase();
        let names: Vec<&str> = seen
            .lines()
            .filter_map(|line| line.strip_prefix("upgrade: "))
            .collect();
        let expected: &[&str] = if passed { &["websocket"] } else { &[] };
        assert_eq!(names, expected, "{upgrades:?}: {seen}");
    }

    // After a pause nothing passes until the source was asked.
    let before = proxy.backend.requests.load(Ordering::SeqCst);
    proxy.paused.store(true, Ordering::SeqCst);
    assert_eq!(proxy.status(path, &[&bearer]), 503);
    assert_eq!(proxy.backend.requests.load(Ordering::SeqCst), before);
    proxy.paused.store(false, Ordering::SeqCst);

    // Refusals, of which the backend sees nothing.
    let before = proxy.backend.requests.load(Ordering::SeqCst);
    let (head, body) = proxy.send(path, &[]);
    assert!(head.starts_with("http/1.1 401"), "{head}");
    assert!(
        head.contains("www-authenticate: basic realm=\"keyfob\""),
        "{head}"
    );
    assert!(
        head.contains("www-authenticate: bearer realm=\"keyfob\""),
        "{head}"
    );
    assert!(
        head.contains("content-type: application/problem+json"),
        "{head}"
    );
    assert!(body.contains("\"status\":401"), "{body}");
    assert_eq!(proxy.status(path, &["Authorization: Bearer nothing"]), 401);
    assert_eq!(proxy.status(path, &[&bearer, &bearer]), 401);
    assert_eq!(
        proxy.status("/api/v1/namespaces/billing/actions/x", &[&bearer]),
        403
    );
    assert_eq!(proxy.status("/other", &[&bearer]), 403);
    for path in [
        "/api/v1/namespaces/billing/..%2forders/actions/x",
        "/api/v1/namespaces/orders/../billing",
        "/api/v1/namespaces//orders",
        "/API/v1/namespaces/orders",
    ] {
        assert_eq!(proxy.status(path, &[&bearer]), 400, "{path}");
    }

    // Revoked: refused from the next request on.
    assert_eq!(proxy.status(path, &[&bearer]), 200);
    let (context, info) = (Context::system(now()), &proxy.key.info);
    block_on(proxy.keyring.revoke(&context, &info.tenant, info.id, None)).unwrap();
    assert_eq!(proxy.status(path, &[&bearer]), 401);
    let seen = proxy.backend.requests.load(Ordering::SeqCst);
    assert_eq!(seen, before + 1);
}
