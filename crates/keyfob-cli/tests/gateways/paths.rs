//! No path is judged as one namespace and read as another by a backend.

use std::{io::ErrorKind, thread};

use keyfob_proxies::Seen;

use crate::{
    calls::{basic, path, request},
    identity::is_of_key,
    setup::{PATIENCE, Report, Setup},
};

/// Targets, one a line, sent as they are.
const TARGETS: &[u8] = include_bytes!("paths.txt");
/// Bytes that have no place in a line of a file.
const OTHERS: [&[u8]; 6] = [
    b"/api/v1/namespaces/orders\x00/actions/x",
    b"/api/v1/namespaces/orders\x0b/../other/actions/x",
    b"/api/v1/namespaces/other\r/actions/x",
    b"/api/v1/namespaces/caf\xc3\xa9/actions/x",
    b"/api/v1/namespaces/orders\xc0\xaf..\xc0\xafother/actions/x",
    b"/api/v1/namespaces/orders\xff/actions/x",
];
/// What must be served: no program reads these in two ways.
const PLAIN: [&str; 8] = [
    "/api/v1/namespaces/orders/actions/x",
    "/api/v1/namespaces/orders?x/actions/x",
    "/api/v1/namespaces/_/actions/x",
    "/api/v1/namespaces/orders",
    "/api/v1/namespaces/orders/",
    "/api/v1/namespaces/orders/actions?limit=10&skip=0",
    "/api/v1/namespaces/orders/actions/x?y=/api/v1/namespaces/other/actions/z",
    "/api/v1/namespaces/orders/actions/a.b-c_d~e/h%C3%A9%20x",
];

pub(crate) fn run(setup: &mut Setup, report: &mut Report) {
    let key = basic(&setup.key);
    for target in PLAIN {
        let outcome = setup.call("GET", target, &[&key]).unwrap();
        let status = outcome.status();
        report.check(status == 200, format_args!("{target}: {status}"));
        if let Some(seen) = outcome.seen {
            is_of_key(setup, report, target, &seen, &setup.key, "orders");
            reads(report, target, &seen);
        }
    }
    let own = setup.call("GET", "/api/v1/namespaces", &[&key]).unwrap();
    report.check(
        own.answer.text() == "[\"orders\"]",
        format_args!("own: {}", own.answer.text()),
    );

    let lines = TARGETS
        .split(|byte| *byte == b'\n')
        .filter(|line| !line.is_empty());
    let targets: Vec<&[u8]> = lines.chain(OTHERS).collect();
    let odd = [
        "Origin: https://app.example",
        "Access-Control-Request-Method: POST",
    ];
    let kinds: [(&str, &str, Vec<&str>); 3] = [
        ("with a key", "GET", vec![&key]),
        ("without a key", "GET", vec![]),
        ("preflight", "OPTIONS", odd.to_vec()),
    ];
    for (kind, method, fields) in kinds {
        let before = setup.backend.count();
        let setup = &*setup;
        let fields = &fields;
        // Each on a connection of its own, some at a time.
        let statuses: Vec<u16> = targets
            .chunks(8)
            .flat_map(|some| {
                thread::scope(|scope| {
                    let calls: Vec<_> = some
                        .iter()
                        .map(|target| scope.spawn(move || send(setup, method, target, fields)))
                        .collect();
                    calls
                        .into_iter()
                        .map(|call| call.join().expect("a status"))
                        .collect::<Vec<_>>()
                })
            })
            .collect();
        let answered = statuses.iter().filter(|status| **status != 0).count();
        report.check(
            answered * 10 >= targets.len() * 9,
            format_args!("{kind}: {answered} of {} were answered", targets.len()),
        );
        for (target, status) in targets.iter().zip(&statuses) {
            let target = target.escape_ascii();
            // 503 would be a fault of ours, and could be provoked.
            report.check(
                matches!(status, 0 | 200 | 400 | 401 | 403 | 404),
                format_args!("{kind}: {target}: {status}"),
            );
        }
        for seen in setup.backend.since(before) {
            let what = format!("{kind}: {}", seen.target);
            match kind {
                "with a key" => {
                    is_of_key(setup, report, &what, &seen, &setup.key, "orders");
                    reads(report, &what, &seen);
                }
                "preflight" => {
                    let namespace = seen.all("x-keyfob-namespace").concat();
                    report.check(namespace.is_empty(), format_args!("{what}: {namespace}"));
                }
                _ => report.check(false, format_args!("{what} reached the backend")),
            }
        }
    }
    odd_questions(setup, report, &key);
    // With the key of the other one, its paths work, and those of the first do not.
    let other = basic(&setup.other);
    for (target, status) in [(path("other"), 200), (path("orders"), 403)] {
        let got = setup.call("GET", &target, &[&other]).unwrap().status();
        report.check(
            got == status,
            format_args!("{target} with the other key: {got}"),
        );
    }
}

/// Fields by which a client could make the gateway's question one that Keyfob cannot answer: a 503 would
/// make some gateways leave the authorizers out, for all clients.
const ODD_FIELDS: [&[&str]; 16] = [
    &[
        "X-Forwarded-Uri: /api/v1/namespaces/other",
        "X-Forwarded-Uri: /x",
    ],
    &["X-Forwarded-Method: x", "X-Forwarded-Method: \u{e9}"],
    &["X-Forwarded-Host: a", "X-Forwarded-Host: b"],
    &["X-Forwarded-Host: [::1"],
    &["X-Forwarded-For: x", "X-Forwarded-For: 256.1.1.1, y"],
    &["X-Forwarded-For: 10.0.0.1"],
    &["Forwarded: for=x"],
    &["X-Real-IP: x", "X-Real-IP: y"],
    &["X-Envoy-External-Address: x"],
    &[
        "X-Original-URI: /api/v1/namespaces/other",
        "X-Original-Method: x",
    ],
    &["X-Original-Host: x", "X-Original-Host: y"],
    &["X-Rewrite-URL: /api/v1/namespaces/other"],
    &["X-Keyfob-Scope: admin", "X-Keyfob-Scope: \u{e9}"],
    &["X-Request-Id: \u{e9}", "X-Request-Id: x"],
    &["traceparent: x", "traceparent: y"],
    &["Connection: X-Forwarded-Uri, Authorization, X-Original-URI, X-Forwarded-For"],
];
/// Hosts, of which only the last is one.
const ODD_HOSTS: [&str; 8] = [
    "",
    "a b",
    "[::1",
    "a:b",
    "a,b",
    "a/b",
    "h\u{e9}.test",
    "gw.test:8000",
];

fn odd_questions(setup: &Setup, report: &mut Report, key: &str) {
    let with = |fields: &[&str]| request("GET", &path("orders"), fields);
    let fields = ODD_FIELDS
        .iter()
        .map(|odd| with(&[*odd, &[key, "Connection: close"]].concat()));
    let host = |host: &&str| {
        let head = format!(
            "GET {} HTTP/1.1\r\nHost: {host}\r\n{key}\r\n",
            path("orders")
        );
        format!("{head}Connection: close\r\n\r\n").into_bytes()
    };
    let queries = [
        "?scope=admin",
        "?x",
        "?",
        "??",
        "?scope=a%20b",
        "?%",
        "?a=%0d%0aX-A:%20x",
    ];
    let query = |query: &&str| {
        request(
            "GET",
            &(path("orders") + query),
            &[key, "Connection: close"],
        )
    };
    let all = fields
        .chain(ODD_HOSTS.iter().map(host))
        .chain(queries.iter().map(query));
    let (mut count, mut answered) = (0, 0);
    for bytes in all.collect::<Vec<_>>() {
        count += 1;
        let what = bytes.escape_ascii().to_string();
        let what = what.replace(key, "(the key)");
        let outcome = setup.send(&bytes, false, PATIENCE);
        let status = outcome.as_ref().map_or(0, |outcome| outcome.answer.status);
        answered += usize::from(status != 0);
        report.check(
            matches!(status, 0 | 200 | 400 | 401),
            format_args!("{what}: {status}"),
        );
        if let Some(seen) = outcome.ok().and_then(|outcome| outcome.seen) {
            is_of_key(setup, report, &what, &seen, &setup.key, "orders");
        }
        let after = setup
            .call("GET", &path("orders"), &[key])
            .map_or(0, |after| after.status());
        report.check(
            after == 200,
            format_args!("a good call after {what}: {after}"),
        );
    }
    report.check(
        answered * 10 >= count * 9,
        format_args!("{answered} of {count} odd questions were answered"),
    );
}

/// The status of a call to bytes; 0 if the connection is closed without an answer, 1 if nothing comes in time.
fn send(setup: &Setup, method: &str, target: &[u8], fields: &[&str]) -> u16 {
    let head = request(method, "", &[fields, &["Connection: close"]].concat());
    let (start, rest) = head.split_at(method.len() + 1);
    let bytes = [start, target, rest].concat();
    let outcome = setup.send(&bytes, false, PATIENCE);
    outcome.map_or_else(
        |error| match error.kind() {
            ErrorKind::WouldBlock | ErrorKind::TimedOut => 1,
            _ => 0,
        },
        |outcome| outcome.status(),
    )
}

/// No kind of backend reads another namespace than the one that the key opens.
fn reads(report: &mut Report, what: &str, seen: &Seen) {
    for (kind, namespace) in seen.readings.all() {
        report.check(
            matches!(namespace, None | Some("orders" | "_" | "")),
            format_args!("{what}: a backend of the kind {kind} serves {namespace:?}"),
        );
    }
}
