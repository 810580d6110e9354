//! Methods and bodies of every kind, `WebSocket` connections, HTTP/2 without TLS.

use std::{thread, time::Duration};

use h2::client;
use http::Request;
use keyfob_proxies::{Connection, Kind};

use crate::{
    calls::{basic, path, request},
    identity::is_of_key,
    keyfob::id,
    setup::{PATIENCE, Report, Setup},
};

const LARGE: usize = 8 * 1024 * 1024;

pub(crate) fn run(setup: &mut Setup, report: &mut Report) {
    methods(setup, report);
    continues(setup, report);
    bodies(setup, report);
    websocket(setup, report);
    http2(setup, report);
}

fn methods(setup: &Setup, report: &mut Report) {
    let (path, key) = (path("orders"), basic(&setup.key));
    for method in ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"] {
        let before = setup.backend.count();
        let good = setup
            .call(method, &path, &[&key, "Content-Length: 0"])
            .unwrap();
        let body = good.answer.body.len();
        report.check(
            good.status() == 200,
            format_args!("{method}: {}", good.status()),
        );
        report.check(
            method != "HEAD" || body == 0,
            format_args!("{method}: a body of {body}"),
        );
        let arrived = setup.backend.since(before);
        let same = arrived.first().is_some_and(|seen| seen.method == method);
        report.check(
            same && arrived.len() == 1,
            format_args!("{method} arrived as {arrived:?}"),
        );
        let bad = setup.call(method, &path, &["Content-Length: 0"]).unwrap();
        report.check(
            bad.status() == 401,
            format_args!("{method} without a key: {}", bad.status()),
        );
        report.check(
            setup.backend.count() == before + 1,
            format_args!("{method} passed without a key"),
        );
    }
    let origin = "Origin: https://app.example";
    let asks = "Access-Control-Request-Method: POST";
    let preflight = setup.call("OPTIONS", &path, &[origin, asks]).unwrap();
    report.check(
        preflight.status() == 200,
        format_args!("a preflight: {}", preflight.status()),
    );
    let allowed = preflight
        .answer
        .field("access-control-allow-origin")
        .is_some();
    report.check(allowed, "the backend's answer to a preflight");
    // Nothing else passes as a preflight.
    for (method, fields) in [
        ("GET", vec![origin, asks]),
        ("OPTIONS", vec![origin]),
        ("OPTIONS", vec![asks]),
        ("OPTION", vec![origin, asks]),
        ("options", vec![origin, asks]),
        (
            "POST",
            vec![origin, asks, "X-HTTP-Method-Override: OPTIONS"],
        ),
    ] {
        let before = setup.backend.count();
        let status = setup.call(
            method,
            &path,
            &[&fields[..], &["Content-Length: 0"]].concat(),
        );
        let status = status.map_or(0, |outcome| outcome.status());
        let refused =
            matches!(status, 0 | 400 | 401 | 405 | 501) && setup.backend.count() == before;
        report.check(refused, format_args!("{method} with {fields:?}: {status}"));
    }
}

/// A client that waits for 100 gets it, or the refusal.
fn continues(setup: &Setup, report: &mut Report) {
    let path = path("orders");
    for (credential, status) in [(&setup.key, 200), (&setup.other, 403)] {
        let key = basic(credential);
        let fields = [&*key, "Expect: 100-continue", "Content-Length: 5"];
        let before = setup.backend.count();
        let waits = Duration::from_secs(2);
        let mut connection = Connection::open(setup.gateway.address(), waits).unwrap();
        connection.send(&request("POST", &path, &fields)).unwrap();
        let first = connection.response(false);
        let first = first.map_or(0, |first| first.status);
        // Caddy answers a refused call when its body has come, and nginx asks for its body, which it discards.
        let allowed = match (setup.kind, status) {
            (_, 200) => [100, 200],
            (Kind::Caddy, _) => [0, 403],
            (Kind::Nginx, _) => [100, 403],
            _ => [403, 403],
        };
        report.check(
            allowed.contains(&first),
            format_args!("Expect: first {first}"),
        );
        if first == status {
            continue;
        }
        connection.send(b"hello").unwrap();
        let mut answer = connection.response(false);
        while answer.as_ref().is_ok_and(|answer| answer.status == 100) {
            answer = connection.response(false);
        }
        let answer = answer.unwrap_or_default();
        let last = answer.status;
        report.check(
            last == status,
            format_args!("Expect: {last}, and not {status}"),
        );
        if status == 200 {
            let length = setup.backend.seen(&answer.body).map(|seen| seen.length);
            report.check(
                length == Some(5),
                format_args!("Expect: a body of {length:?}"),
            );
        } else {
            report.check(
                setup.backend.count() == before,
                "Expect: a refused call passed",
            );
        }
    }
}

fn bodies(setup: &Setup, report: &mut Report) {
    let (path, key) = (path("orders"), basic(&setup.key));
    let body: Vec<u8> = (0..LARGE)
        .map(|at| u8::try_from(at % 251).unwrap_or(0))
        .collect();
    let sum: u64 = body.iter().map(|byte| u64::from(*byte)).sum();
    let length = format!("Content-Length: {LARGE}");
    let whole = [
        request("POST", &path, &[&key, &length, "Connection: close"]),
        body.clone(),
    ]
    .concat();
    let mut chunked = request(
        "POST",
        &path,
        &[&key, "Transfer-Encoding: chunked", "Connection: close"],
    );
    for part in body.chunks(100_000) {
        chunked.extend(format!("{:x}\r\n", part.len()).bytes());
        chunked.extend(part);
        chunked.extend(b"\r\n");
    }
    chunked.extend(b"0\r\n\r\n");
    for (name, bytes) in [("a large body", whole), ("a chunked body", chunked)] {
        let outcome = setup.send(&bytes, false, PATIENCE);
        let seen = outcome.ok().and_then(|outcome| outcome.seen);
        let got = seen.map(|seen| (seen.length, seen.sum));
        report.check(got == Some((LARGE, sum)), format_args!("{name}: {got:?}"));
    }
    let down = setup
        .call("GET", &format!("{path}/bytes/{LARGE}"), &[&key])
        .unwrap();
    report.check(
        down.answer.body.len() == LARGE,
        format_args!("a large answer: {}", down.answer.body.len()),
    );
    // A large body without a key: it is refused, and nothing of it arrives.
    let before = setup.backend.count();
    let refused = [
        request("POST", &path, &[&length, "Connection: close"]),
        body,
    ]
    .concat();
    if let Ok(outcome) = setup.send(&refused, false, PATIENCE) {
        report.check(
            outcome.status() == 401,
            format_args!("a large body, no key: {}", outcome.status()),
        );
    }
    report.check(
        setup.backend.count() == before,
        "a large body without a key arrived",
    );
}

/// A text frame that says "hello", masked with zeros (RFC 6455, section 5.2).
const FRAME: &[u8] = b"\x81\x85\0\0\0\0hello";

pub(crate) fn handshake(key: Option<&str>) -> Vec<u8> {
    let fields = [
        "Connection: Upgrade",
        "Upgrade: websocket",
        "Sec-WebSocket-Version: 13",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
    ];
    let key: Vec<&str> = key.into_iter().collect();
    request("GET", &path("orders"), &[&fields[..], &key].concat())
}

pub(crate) fn echoes(connection: &mut Connection) -> bool {
    connection.send(FRAME).is_ok() && connection.take(FRAME.len()).is_ok_and(|back| back == FRAME)
}

fn websocket(setup: &Setup, report: &mut Report) {
    let before = setup.backend.count();
    let refused = setup
        .send(&handshake(None), false, PATIENCE)
        .unwrap()
        .status();
    report.check(
        refused == 401,
        format_args!("a WebSocket without a key: {refused}"),
    );
    report.check(
        setup.backend.count() == before,
        "a WebSocket without a key arrived",
    );
    let key = setup.keyfob.create("orders", "websocket");
    setup.await_status(&key, "orders", 200);
    let mut connection = Connection::open(setup.gateway.address(), Duration::from_secs(5)).unwrap();
    let before = setup.backend.count();
    connection.send(&handshake(Some(&basic(&key)))).unwrap();
    let answer = connection.response(true).unwrap();
    report.check(
        answer.status == 101,
        format_args!("a WebSocket: {}", answer.status),
    );
    if answer.status != 101 {
        return;
    }
    if let Some(seen) = setup.backend.since(before).first() {
        is_of_key(setup, report, "a WebSocket", seen, &key, "orders");
    }
    report.check(echoes(&mut connection), "a WebSocket does not echo");
    // It outlives the key: docs/gateways.md says for how long.
    setup.keyfob.run(&["keys", "revoke", id(&key)]);
    setup.await_status(&key, "orders", 401);
    thread::sleep(Duration::from_millis(200));
    let open = echoes(&mut connection);
    report.check(
        open,
        "a WebSocket was closed with its key: say so in docs/gateways.md",
    );
    let again = setup
        .send(&handshake(Some(&basic(&key))), false, PATIENCE)
        .unwrap()
        .status();
    report.check(
        again == 401,
        format_args!("a WebSocket with a revoked key: {again}"),
    );
}

fn http2(setup: &Setup, report: &mut Report) {
    // nginx before 1.25 speaks HTTP/2 over TLS, or instead of HTTP/1.1.
    if setup.kind == Kind::Nginx {
        return;
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let good = basic(&setup.key);
    let good = good.trim_start_matches("Authorization: ");
    for (target, credential, expected) in [
        (path("orders"), Some(good), &[200][..]),
        (path("orders"), None, &[401]),
        (path("other"), Some(good), &[403]),
        (path("other/../orders"), Some(good), &[200, 400]),
        (path("orders%2f..%2fother"), Some(good), &[400]),
    ] {
        let before = setup.backend.count();
        let call =
            async { tokio::time::timeout(PATIENCE, one_http2(setup, &target, credential)).await };
        let status = runtime.block_on(call).expect("an answer in time");
        report.check(
            expected.contains(&status),
            format_args!("HTTP/2: {target}: {status}"),
        );
        for seen in setup.backend.since(before) {
            is_of_key(setup, report, "HTTP/2", &seen, &setup.key, "orders");
        }
    }
}

/// The status of a call over HTTP/2, with forged fields.
async fn one_http2(setup: &Setup, target: &str, credential: Option<&str>) -> u16 {
    let stream = tokio::net::TcpStream::connect(setup.gateway.address())
        .await
        .expect("it listens");
    let (mut client, connection) = client::handshake(stream).await.expect("it speaks HTTP/2");
    let driver = tokio::spawn(connection);
    let mut request = Request::builder().uri(format!("http://gw.test{target}"));
    for name in [
        "x-keyfob-owner",
        "x-keyfob-namespace",
        "x_keyfob_owner",
        "x-keyfob_key-id",
    ] {
        request = request.header(name, "forged");
    }
    if let Some(credential) = credential {
        request = request.header("authorization", credential);
    }
    let request = request.body(()).expect("a request");
    let (answer, _) = client
        .send_request(request, true)
        .expect("it takes requests");
    let status = answer.await.map_or(0, |answer| answer.status().as_u16());
    driver.abort();
    status
}
