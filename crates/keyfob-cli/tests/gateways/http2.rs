//! HTTP/2 without TLS, with frames that a library would not send: what a gateway makes of them for a
//! backend that speaks HTTP/1.1.

use std::{collections::BTreeSet, thread, time::Duration};

use keyfob_proxies::{Connection, Kind};

use crate::{
    calls::{basic, path},
    framing::{SMUGGLED, arrived},
    setup::{Report, Setup},
};

/// The fields of a request, its body, and the fields after that.
struct Attempt {
    name: &'static str,
    fields: Vec<(String, String)>,
    body: String,
    trailers: Vec<(String, String)>,
}

pub(crate) fn run(setup: &mut Setup, report: &mut Report) {
    let before = setup.backend.count();
    send(setup, &attempt(setup, "good", &[], &[]));
    let good = setup.backend.count() - before;
    // nginx before 1.25 speaks HTTP/2 over TLS, or instead of HTTP/1.1.
    let expected = usize::from(setup.kind != Kind::Nginx);
    report.check(good == expected, format_args!("a good call: {good}"));
    let mut attempts = attempts(setup);
    attempts.extend(with_bodies(setup));
    for some in attempts.chunks(8) {
        thread::scope(|scope| {
            for one in some {
                scope.spawn(|| send(setup, one));
            }
        });
    }
    arrived(setup, report, before);
    let names: BTreeSet<_> = attempts.iter().map(|attempt| attempt.name).collect();
    report.check(names.len() == 39, format_args!("{} attempts", names.len()));
    let after = setup.status(&setup.key, "orders");
    report.check(
        after == 200,
        format_args!("a good call afterwards: {after}"),
    );
}

/// A good request with other pseudo-fields, and with more fields.
fn attempt(
    setup: &Setup,
    name: &'static str,
    changes: &[(&str, &str)],
    more: &[(&str, &str)],
) -> Attempt {
    let (path, key) = (path("orders"), basic(&setup.key));
    let key = key.trim_start_matches("Authorization: ");
    let usual = [
        (":method", "POST"),
        (":scheme", "http"),
        (":authority", "gw.test"),
        (":path", &*path),
        ("authorization", key),
    ];
    let sent = usual.map(|(name, value)| {
        let change = changes.iter().find(|(changed, _)| *changed == name);
        (name, change.map_or(value, |(_, value)| value))
    });
    // Pseudo-fields come first.
    let (first, more): (Vec<_>, Vec<_>) = more.iter().partition(|(name, _)| *name == ":protocol");
    let fields = first.into_iter().chain(&sent).chain(more);
    Attempt {
        name,
        fields: owned(fields),
        body: String::new(),
        trailers: Vec::new(),
    }
}

fn owned<'a>(fields: impl Iterator<Item = &'a (&'a str, &'a str)>) -> Vec<(String, String)> {
    fields
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect()
}

fn attempts(setup: &Setup) -> Vec<Attempt> {
    let own = path("orders");
    let other = path("other");
    let split = format!("x\r\n\r\n{SMUGGLED}");
    let in_line = format!("{own} HTTP/1.1\r\nHost: x\r\n\r\n{SMUGGLED}");
    let method = format!("{SMUGGLED}POST");
    let mut attempts = Vec::new();
    for (name, more) in [
        ("CRLF in a value", [("x-a", "x\r\nX-Keyfob-Owner: forged")]),
        (
            "a line feed in a value",
            [("x-a", "x\nX-Keyfob-Owner: forged")],
        ),
        (
            "a carriage return in a value",
            [("x-a", "x\rX-Keyfob-Owner: forged")],
        ),
        ("a null in a value", [("x-a", "x\0X-Keyfob-Owner: forged")]),
        ("a request in a value", [("x-a", &*split)]),
        ("CRLF in a name", [("x-a: x\r\nx-keyfob-owner", "forged")]),
        ("a colon in a name", [("x-keyfob-owner: forged", "x")]),
        ("a space after a name", [("x-keyfob-owner ", "forged")]),
        ("a name in upper case", [("X-Keyfob-Owner", "forged")]),
        ("a name with underscores", [("x_keyfob_owner", "forged")]),
        ("an empty name", [("", "x\r\nX-Keyfob-Owner: forged")]),
        ("named in Connection", [("connection", "x-keyfob-owner")]),
        ("an upgrade", [("upgrade", "h2c")]),
        ("another host", [("host", "x\r\nX-Keyfob-Owner: forged")]),
        ("two paths", [(":path", &*other)]),
        (
            "an unknown pseudo-field",
            [(":x", "x\r\nX-Keyfob-Owner: forged")],
        ),
        (
            "CRLF in the credential",
            [("authorization", "x\r\nX-Keyfob-Owner: forged")],
        ),
    ] {
        attempts.push(attempt(setup, name, &[], &more));
    }
    for (name, changes) in [
        ("CRLF in the path", [(":path", &*in_line)]),
        (
            "a space in the path",
            [(":path", "/api/v1/namespaces/orders/x HTTP/1.1\r\nX-A: x")],
        ),
        ("CRLF in the method", [(":method", &*method)]),
        (
            "CRLF in the authority",
            [(":authority", "x\r\nX-Keyfob-Owner: forged")],
        ),
        (
            "CRLF in the scheme",
            [(":scheme", "http\r\nX-Keyfob-Owner: forged")],
        ),
        (
            "a path that is a URL",
            [(":path", "http://gw.test/api/v1/namespaces/other/x")],
        ),
        (
            "a path without a slash",
            [(":path", "api/v1/namespaces/other/x")],
        ),
        ("an empty path", [(":path", "")]),
        (
            "a fragment",
            [(":path", "/api/v1/namespaces/orders#/../other/x")],
        ),
    ] {
        attempts.push(attempt(setup, name, &changes, &[]));
    }
    attempts
}

/// Requests with a body or trailers.
fn with_bodies(setup: &Setup) -> Vec<Attempt> {
    let other = path("other");
    let length = SMUGGLED.len().to_string();
    let mut attempts = Vec::new();
    for (name, more) in [
        ("H2.TE", vec![("transfer-encoding", "chunked")]),
        ("H2.CL of zero", vec![("content-length", "0")]),
        ("H2.CL that is too short", vec![("content-length", "5")]),
        ("H2.CL that is too long", vec![("content-length", "9999")]),
        (
            "two lengths",
            vec![("content-length", "0"), ("content-length", &*length)],
        ),
        ("a length with a plus", vec![("content-length", "+0")]),
        (
            "TE in a line",
            vec![("x-a", "x\r\nTransfer-Encoding: chunked")],
        ),
    ] {
        let mut attempt = attempt(setup, name, &[], &more);
        let end = if name.contains("TE") { "0\r\n\r\n" } else { "" };
        attempt.body = format!("{end}{SMUGGLED}");
        attempts.push(attempt);
    }
    for (name, more) in [
        ("CONNECT", vec![]),
        ("an upgrade by CONNECT", vec![(":protocol", "tunnel")]),
        ("a WebSocket by CONNECT", vec![(":protocol", "websocket")]),
    ] {
        let mut attempt = attempt(setup, name, &[(":method", "CONNECT")], &more);
        SMUGGLED.clone_into(&mut attempt.body);
        attempts.push(attempt);
    }
    for (name, trailer) in [
        ("a trailer", ("x-keyfob-owner", "forged")),
        (
            "a trailer with CRLF",
            ("x-a", "x\r\n\r\nX-Keyfob-Owner: forged"),
        ),
        ("a pseudo-field as a trailer", (":path", &*other)),
    ] {
        let mut attempt = attempt(setup, name, &[], &[("trailer", "x-keyfob-owner")]);
        "x".clone_into(&mut attempt.body);
        attempt.trailers = owned([trailer].iter());
        attempts.push(attempt);
    }
    attempts
}

/// Sends a request on a connection of its own, and reads what comes back until it is silent.
fn send(setup: &Setup, attempt: &Attempt) {
    let patience = Duration::from_millis(700);
    let Ok(mut connection) = Connection::open(setup.gateway.address(), patience) else {
        return;
    };
    let mut bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    bytes.extend(frame(SETTINGS, 0, 0, &[]));
    let (has_body, has_trailers) = (!attempt.body.is_empty(), !attempt.trailers.is_empty());
    let last = |is_last: bool| if is_last { END_STREAM } else { 0 };
    let head = END_HEADERS | last(!has_body && !has_trailers);
    bytes.extend(frame(HEADERS, head, 1, &block(&attempt.fields)));
    if has_body {
        bytes.extend(frame(DATA, last(!has_trailers), 1, attempt.body.as_bytes()));
    }
    if has_trailers {
        let flags = END_HEADERS | END_STREAM;
        bytes.extend(frame(HEADERS, flags, 1, &block(&attempt.trailers)));
    }
    // A gateway may close the connection at any time.
    if connection.send(&bytes).is_ok() {
        while connection.take(1).is_ok() {}
    }
}

/// A frame (RFC 9113, section 4.1).
fn frame(kind: u8, flags: u8, stream: u8, payload: &[u8]) -> Vec<u8> {
    let [_, length @ ..] = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let head = [&length[..], &[kind, flags, 0, 0, 0, stream]].concat();
    [&head, payload].concat()
}

/// Fields as literals that are neither indexed nor compressed (RFC 7541, section 6.2.2).
fn block(fields: &[(String, String)]) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in fields {
        block.push(0);
        for text in [name, value] {
            // The length, with a prefix of seven bits (section 5.1).
            match text.len().checked_sub(127) {
                None => block.push(u8::try_from(text.len()).unwrap()),
                Some(rest) => {
                    let [low, high] =
                        [rest & 0x7f, rest >> 7].map(|part| u8::try_from(part).unwrap());
                    block.extend([127, low | 0x80, high]);
                }
            }
            block.extend(text.bytes());
        }
    }
    block
}

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const SETTINGS: u8 = 4;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
