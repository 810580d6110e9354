//! Requests whose end two programs could see in two places.

use std::{thread, time::Duration};

use keyfob_proxies::{Connection, Kind};

use crate::{
    calls::{basic, path},
    identity::is_identity,
    setup::{Report, Setup},
};

/// The request that must never arrive: it has no credential.
pub(crate) const SMUGGLED: &str = "GET /api/v1/namespaces/other/actions/smuggled HTTP/1.1\r\nHost: gw.test\r\n\
                        X-Keyfob-Owner: forged\r\nX-Keyfob-Namespace: other\r\n\r\n";

pub(crate) fn run(setup: &mut Setup, report: &mut Report) {
    let before = setup.backend.count();
    let attempts = attempts(setup);
    send_all(setup, attempts.iter().map(|(_, bytes)| bytes.as_str()));
    arrived(setup, report, before);
    report.check(
        attempts.len() == 47,
        format_args!("{} attempts", attempts.len()),
    );
    preflights(setup, report);
    let after = setup
        .call("GET", &path("orders"), &[&basic(&setup.key)])
        .map_or(0, |outcome| outcome.status());
    report.check(
        after == 200,
        format_args!("a good call afterwards: {after}"),
    );
}

/// Sends each on a connection of its own, and reads what follows.
fn send_all<'a>(setup: &Setup, attempts: impl Iterator<Item = &'a str>) {
    thread::scope(|scope| {
        for bytes in attempts {
            scope.spawn(|| {
                let Ok(mut connection) =
                    Connection::open(setup.gateway.address(), Duration::from_millis(1_500))
                else {
                    return;
                };
                // A gateway may close the connection at any time.
                let _ = connection.send(bytes.as_bytes());
                while connection.response(false).is_ok() {}
            });
        }
    });
}

/// A preflight needs no key, so it begins no other protocol: neither a tunnel nor a `WebSocket`.
fn preflights(setup: &Setup, report: &mut Report) {
    let path = path("orders");
    let start = format!(
        "OPTIONS {path} HTTP/1.1\r\nHost: gw.test\r\nOrigin: https://app.example\r\n\
         Access-Control-Request-Method: POST\r\n"
    );
    let attempts: Vec<String> = UPGRADES
        .iter()
        .chain(&["Connection: Upgrade\r\nUpgrade: websocket"])
        .map(|fields| format!("{start}{fields}\r\n\r\n{SMUGGLED}"))
        .collect();
    let before = setup.backend.count();
    send_all(setup, attempts.iter().map(String::as_str));
    for seen in setup.backend.since(before) {
        let what = format!("a preflight: {} {}", seen.method, seen.target);
        report.check(
            seen.method == "OPTIONS" && seen.target == path,
            format_args!("{what} was smuggled"),
        );
        for field in ["upgrade", "x-keyfob-owner", "x-keyfob-namespace"] {
            let got = seen.all(field).concat();
            report.check(got.is_empty(), format_args!("{what}: {field} is {got}"));
        }
    }
}

/// Fields that ask for more than one protocol, or for another one than `WebSocket`. A gateway that looks at
/// one value and passes on another one makes a tunnel to the backend.
const UPGRADES: [&str; 9] = [
    "Connection: Upgrade\r\nUpgrade: tunnel",
    "Connection: Upgrade\r\nUpgrade: tunnel\r\nUpgrade: websocket",
    "Connection: Upgrade\r\nUpgrade: websocket\r\nUpgrade: tunnel",
    "Connection: Upgrade\r\nUpgrade: tunnel, websocket",
    "Connection: Upgrade\r\nUpgrade: websocket, tunnel",
    "Connection: Upgrade\r\nUpgrade: tunnel\r\nUpgrade: WebSocket",
    "Connection: Upgrade\r\nUpgrade:\r\nUpgrade: tunnel\r\nUpgrade: websocket",
    "Connection: close\r\nConnection: Upgrade\r\nUpgrade: tunnel\r\nUpgrade: websocket",
    "Connection: Upgrade, X-Keyfob-Owner\r\nUpgrade: websocket\r\nUpgrade: tunnel",
];

/// What arrived after the first `before` requests has the identity of the key, and was not smuggled.
pub(crate) fn arrived(setup: &Setup, report: &mut Report, before: usize) {
    for seen in setup.backend.since(before) {
        let what = format!("{} {}", seen.method, seen.target);
        let target = seen.target.to_ascii_lowercase();
        let smuggled = target.contains("/smuggled") && !target.contains("%0");
        report.check(!smuggled, format_args!("{what} was smuggled"));
        let owner = seen.all("x-keyfob-owner");
        report.check(
            owner == ["user:alice"],
            format_args!("{what}: the owner is {owner:?}"),
        );
        let namespace = seen.all("x-keyfob-namespace");
        report.check(
            namespace == ["orders"],
            format_args!("{what}: the namespace is {namespace:?}"),
        );
        let upgrade = seen.all("upgrade");
        report.check(
            matches!(upgrade[..], [] | ["websocket"]),
            format_args!("{what}: an upgrade to {upgrade:?}"),
        );
        let named = seen.all("connection").join(", ").to_ascii_lowercase();
        report.check(
            !named.contains("keyfob"),
            format_args!("{what}: Connection names {named}"),
        );
        let mut trailers = seen.trailers.iter();
        let forged = trailers.find(|(name, _)| is_identity(name));
        // HAProxy passes trailers on before 3.2.
        report.check(
            forged.is_none() || setup.kind == Kind::Haproxy,
            format_args!("{what}: the trailer {forged:?}"),
        );
    }
}

/// What is sent, with a name of each.
fn attempts(setup: &Setup) -> Vec<(&'static str, String)> {
    let (path, key) = (path("orders"), basic(&setup.key));
    let start = format!("POST {path} HTTP/1.1\r\nHost: gw.test\r\n{key}\r\n");
    let length = SMUGGLED.len();
    let chunk = format!("{length:x}\r\n{SMUGGLED}\r\n0\r\n\r\n");
    let mut attempts: Vec<(&str, String)> = [
        ("CL.TE", format!("Content-Length: {}\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{SMUGGLED}", length + 5)),
        ("TE.CL", format!("Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n{chunk}")),
        ("CL.CL", format!("Content-Length: 0\r\nContent-Length: {length}\r\n\r\n{SMUGGLED}")),
        ("CL, CL", format!("Content-Length: 0, {length}\r\n\r\n{SMUGGLED}")),
        ("CL with a plus", format!("Content-Length: +{length}\r\n\r\n{SMUGGLED}")),
        ("CL with underscores", format!("Content_Length: {length}\r\n\r\n{SMUGGLED}")),
        ("CL in hex", format!("Content-Length: 0x0\r\n\r\n{SMUGGLED}")),
        ("a negative CL", format!("Content-Length: -1\r\n\r\n{SMUGGLED}")),
        ("TE.TE", format!("Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n{SMUGGLED}")),
        ("TE xchunked", format!("Content-Length: 5\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n{SMUGGLED}")),
        ("TE with a space", format!("Content-Length: 5\r\nTransfer-Encoding : chunked\r\n\r\n0\r\n\r\n{SMUGGLED}")),
        ("TE with a tab", format!("Content-Length: 5\r\nTransfer-Encoding:\tchunked\r\n\r\n0\r\n\r\n{SMUGGLED}")),
        ("TE folded", format!("Content-Length: 5\r\nTransfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n{SMUGGLED}")),
        ("TE after a line feed", format!("Content-Length: 5\r\nX-A: x\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{SMUGGLED}")),
        ("TE with a vertical tab", format!("Content-Length: 5\r\nTransfer-Encoding: \u{b}chunked\r\n\r\n0\r\n\r\n{SMUGGLED}")),
        ("a chunk extension", format!("Transfer-Encoding: chunked\r\n\r\n0;a=\"\r\n\r\n{SMUGGLED}\"\r\n\r\n")),
        ("a chunk with line feeds", format!("Transfer-Encoding: chunked\r\n\r\n0\n\n{SMUGGLED}")),
        ("a huge chunk size", format!("Transfer-Encoding: chunked\r\n\r\n10000000000000000\r\n{SMUGGLED}")),
        ("a trailer", format!("Transfer-Encoding: chunked\r\n\r\n0\r\nX-Keyfob-Owner: forged\r\n\r\n{SMUGGLED}")),
        ("an announced trailer", "Trailer: X-Keyfob-Owner\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\nX-Keyfob-Owner: forged\r\n\r\n".to_owned()),
        ("pipelined", format!("Content-Length: 0\r\n\r\n{SMUGGLED}")),
        ("named in Connection", format!("Connection: close, Content-Length\r\nContent-Length: {length}\r\n\r\n{SMUGGLED}")),
        ("Expect", format!("Expect: 100-continue\r\nContent-Length: 0\r\n\r\n{SMUGGLED}")),
        ("h2c", format!("Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAoAAAAAIAAAAA\r\n\r\n{SMUGGLED}")),
        ("two that name fields", format!("Connection: close\r\nConnection: X-Keyfob-Owner, Authorization\r\nContent-Length: 0\r\n\r\n{SMUGGLED}")),
        ("TE named in Connection", format!("Connection: close, Transfer-Encoding\r\nTransfer-Encoding: chunked\r\n\r\n{chunk}")),
    ]
    .into_iter()
    .map(|(name, rest)| (name, format!("{start}{rest}")))
    .collect();
    for fields in UPGRADES {
        attempts.push((
            "an upgrade",
            format!("GET {path} HTTP/1.1\r\nHost: gw.test\r\n{key}\r\n{fields}\r\n\r\n{SMUGGLED}"),
        ));
    }
    for (name, text) in [
        (
            "CRLF in the path",
            "x%0d%0aHost:%20a%0d%0a%0d%0aGET%20/smuggled",
        ),
        (
            "CRLF in the query",
            "x?a%0d%0aX-Keyfob-Owner:%20forged%0d%0a%0d%0aGET%20/smuggled",
        ),
        ("a line feed in the path", "x%0aX-Keyfob-Owner:%20forged"),
        ("a space in the path", "x HTTP/1.1\r\nX-A: x"),
        ("a carriage return in the path", "x\rX-Keyfob-Owner: forged"),
    ] {
        let line = format!("GET /api/v1/namespaces/orders/actions/{text} HTTP/1.1\r\n");
        attempts.push((
            name,
            format!("{line}Host: gw.test\r\n{key}\r\n\r\n{SMUGGLED}"),
        ));
    }
    for (name, head) in [
        (
            "a bare carriage return in the key",
            format!(
                "GET {path} HTTP/1.1\r\nHost: gw.test\r\n{key}\rX-Keyfob-Owner: forged\r\n\r\n"
            ),
        ),
        (
            "two hosts",
            format!("GET {path} HTTP/1.1\r\nHost: gw.test\r\nHost: x\r\n{key}\r\n\r\n{SMUGGLED}"),
        ),
        (
            "CONNECT",
            format!("CONNECT {path} HTTP/1.1\r\nHost: gw.test\r\n{key}\r\n\r\n{SMUGGLED}"),
        ),
        (
            "CONNECT to a host",
            format!("CONNECT gw.test:80 HTTP/1.1\r\nHost: gw.test:80\r\n{key}\r\n\r\n{SMUGGLED}"),
        ),
        ("HTTP/0.9", format!("GET {path}\r\n\r\n{SMUGGLED}")),
        (
            "HTTP/1.0 that is kept alive",
            format!("GET {path} HTTP/1.0\r\nConnection: keep-alive\r\n{key}\r\n\r\n{SMUGGLED}"),
        ),
        (
            "a line before",
            format!("\r\n\r\nGET {path} HTTP/1.1\r\nHost: gw.test\r\n{key}\r\n\r\n{SMUGGLED}"),
        ),
    ] {
        attempts.push((name, head));
    }
    attempts
}
