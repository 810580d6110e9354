//! Other settings of `[auth]`: rules about hosts, a limit on refused attempts, and answers that a cache keeps.

use std::{
    fmt::Write as _,
    io,
    net::Ipv4Addr,
    thread,
    time::{Duration, Instant},
};

use keyfob_proxies::{Connection, Kind, Response};

use crate::{
    calls::{basic, bearer, path, request},
    keyfob::{Keyfob, id, wrong_secret},
    setup::{PATIENCE, Report, Setup},
};

const AUTH: &str = r#"
refused_per_minute = 3
reason = true
max_age = "2s"

[[auth.rules]]
host = "{namespace}.fn.test"

[[auth.rules]]
host = "gw.test"
path = "/api/v1/namespaces/{namespace}/*"
"#;
const MAX_AGE: Duration = Duration::from_secs(2);

/// With the cache of `nginx/keyfob.conf`, and a log of what it answers and why.
const NGINX: [(&str, &str); 5] = [
    (
        "# proxy_cache_path /var/cache/nginx/keyfob ",
        "log_format keyfob '$status $keyfob_cache $keyfob_reason';\nproxy_cache_path cache ",
    ),
    ("# proxy_cache keyfob;", "proxy_cache keyfob;"),
    ("# proxy_cache_key ", "proxy_cache_key "),
    (
        "auth_request /keyfob;",
        "auth_request /keyfob;\nauth_request_set $keyfob_cache $upstream_cache_status;",
    ),
    (
        "client_max_body_size 50m;",
        "client_max_body_size 50m;\naccess_log access.log keyfob;",
    ),
];

pub(crate) fn run(setup: &mut Setup, report: &mut Report) {
    let kind = setup.kind;
    let changes: &[_] = if kind == Kind::Nginx { &NGINX } else { &[] };
    let keyfob = Keyfob::start_one(kind, AUTH);
    let Some(setup) = Setup::start_changed(kind, keyfob, changes) else {
        return;
    };
    hosts(&setup, report);
    attempts(&setup, report);
    if kind == Kind::Nginx {
        cached(&setup, report);
        let log = setup.gateway.log();
        for line in [
            "401 MISS malformed",
            "429 MISS throttled",
            "403 MISS wrong_namespace",
        ] {
            report.check(
                log.contains(line),
                format_args!("the log has no {line}: {log}"),
            );
        }
    }
}

/// The host that is judged is the one that the backend gets.
fn hosts(setup: &Setup, report: &mut Report) {
    let path = path("x");
    let key = basic(&setup.key);
    let other = format!("http://other.fn.test{path}");
    let orders = format!("http://orders.fn.test{path}");
    let one = "Host: orders.fn.test";
    let wrong = "Host: other.fn.test";
    let attempts: [(&str, &[&str]); 17] = [
        (&path, &[one]),
        (&path, &[wrong]),
        (&path, &["Host: other.fn.test, orders.fn.test"]),
        (&path, &["Host: other.fn.test,orders.fn.test"]),
        (&path, &["Host: orders.fn.test, other.fn.test"]),
        (&path, &["Host: orders.fn.test,other.fn.test"]),
        (&path, &["Host: other.fn.test:80,orders.fn.test"]),
        (&path, &["Host: other.fn.test orders.fn.test"]),
        (&path, &["Host: other.fn.test\torders.fn.test"]),
        (&path, &["Host: other.fn.test@orders.fn.test"]),
        (&path, &[wrong, one]),
        (&path, &[one, wrong]),
        (&path, &[wrong, "X-Forwarded-Host: orders.fn.test"]),
        (&path, &[wrong, "X-Original-Host: orders.fn.test"]),
        (&path, &[wrong, "Forwarded: host=orders.fn.test"]),
        (&other, &[one]),
        (&orders, &[wrong]),
    ];
    let mut answered = 0;
    for (number, (target, lines)) in attempts.into_iter().enumerate() {
        let mut head = format!("GET {target} HTTP/1.1\r\n");
        for line in [lines, &[&*key, "Connection: close"]].concat() {
            let _ = write!(head, "{line}\r\n");
        }
        head.push_str("\r\n");
        let outcome = setup.send(head.as_bytes(), false, PATIENCE);
        let what = format!("{target} with {lines:?}");
        let Ok(outcome) = outcome else { continue };
        answered += 1;
        let Some(seen) = outcome.seen else {
            let status = outcome.status();
            let refused = matches!(status, 400 | 401 | 403 | 404) && number > 0;
            report.check(refused, format_args!("{what}: {status}"));
            continue;
        };
        let hosts = seen.all("host");
        let namespace = seen.all("x-keyfob-namespace");
        report.check(
            hosts == ["orders.fn.test"] && namespace == ["orders"] && seen.target == path,
            format_args!("{what}: {hosts:?} was judged as {namespace:?}"),
        );
    }
    report.check(
        answered >= 15,
        format_args!("{answered} hosts were answered"),
    );
}

/// A client that is refused too often has to wait, also if it claims another address; others and valid keys do not.
fn attempts(setup: &Setup, report: &mut Report) {
    let [second, third] = [2, 3].map(|last| Ipv4Addr::new(127, 0, 0, last));
    let wrong = bearer("wrong");
    let mut check = |what: &str, client, field: &str, expected: u16| {
        let answer = ask(setup, client, field);
        let status = answer.as_ref().map_or(0, |answer| answer.status);
        report.check(
            status == expected,
            format_args!("{what}: {status}, and not {expected}"),
        );
        answer.unwrap_or_default()
    };
    for number in 1..=3 {
        check(&format!("attempt {number}"), second, &wrong, 401);
    }
    let answer = check("too many attempts", second, &wrong, 429);
    check("another client", third, &wrong, 401);
    check("a valid key", second, &basic(&setup.key), 200);
    let wait: Option<u32> = answer
        .field("retry-after")
        .and_then(|wait| wait.parse().ok());
    report.check(
        wait.is_some_and(|wait| (1..=20).contains(&wait)),
        format_args!("429 with Retry-After: {wait:?}"),
    );
    let log = setup.keyfob.log();
    let of = |client: Ipv4Addr| {
        let client = format!("client=\"{client}\"");
        let lines = log.lines().filter(move |line| line.contains(&client));
        lines.collect::<Vec<_>>()
    };
    report.check(
        (of(second).len(), of(third).len()) == (3, 1),
        format_args!("the log has other clients: {log}"),
    );
    for line in of(second) {
        for part in [
            "namespace=\"orders\"",
            "trace=\"4bf92f3577b34da6a3ce929d0e0e4736\"",
            "malformed",
        ] {
            report.check(line.contains(part), format_args!("no {part} in {line}"));
        }
        // Envoy gives each call an identifier of its own.
        let is_envoy = matches!(setup.kind, Kind::EnvoyHttp | Kind::EnvoyGrpc);
        let names = if is_envoy {
            !line.contains("request=\"-\"")
        } else {
            line.contains("request=\"r-limits\"")
        };
        report.check(
            names,
            format_args!("no identifier of the request in {line}"),
        );
    }
}

/// Asks from this address of the loopback, and claims another one.
fn ask(setup: &Setup, client: Ipv4Addr, field: &str) -> io::Result<Response> {
    let fields = [
        field,
        "X-Forwarded-For: 127.0.0.9",
        "X-Real-IP: 127.0.0.9",
        "X-Envoy-External-Address: 127.0.0.9",
        "Forwarded: for=127.0.0.9",
        "X-Request-Id: r-limits",
        "traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        "Connection: close",
    ];
    let mut connection = Connection::open_from(client, setup.gateway.address(), PATIENCE)?;
    connection.send(&request("GET", &path("orders"), &fields))?;
    connection.response(false)
}

/// nginx uses an answer again for `max_age`, for the same call with the same credential alone.
fn cached(setup: &Setup, report: &mut Report) {
    let hits = || {
        // A line is written after its answer.
        thread::sleep(Duration::from_millis(200));
        setup
            .gateway
            .log()
            .lines()
            .filter(|line| line.contains(" HIT "))
            .count()
    };
    let key = setup.keyfob.create("orders", "cached");
    let began = Instant::now();
    while setup.status(&key, "orders") != 200 && began.elapsed() < PATIENCE {
        thread::sleep(Duration::from_millis(20));
    }
    let before = hits();
    let status = setup.status(&key, "orders");
    let more: Vec<u16> = (0..5).map(|_| setup.status(&key, "orders")).collect();
    let used = hits() - before;
    report.check(
        status == 200 && more == [200; 5] && used >= 4,
        format_args!("{used} of {more:?} were answered from the cache"),
    );
    let before = hits();
    let field = basic(&key);
    let wrong = basic(&wrong_secret(&key));
    let other = basic(&setup.other);
    for (what, method, namespace, fields, allowed) in [
        ("another key", "GET", "orders", vec![&*other], &[403][..]),
        (
            "a wrong secret",
            "GET",
            "orders",
            vec![&*wrong],
            &[401, 429],
        ),
        ("no key", "GET", "orders", vec![], &[401]),
        ("another target", "GET", "other", vec![&*field], &[403]),
        (
            "another method",
            "POST",
            "orders",
            vec![&*field, "Content-Length: 0"],
            &[200],
        ),
    ] {
        let outcome = setup.call(method, &path(namespace), &fields);
        let status = outcome.map_or(0, |outcome| outcome.status());
        report.check(allowed.contains(&status), format_args!("{what}: {status}"));
    }
    let used = hits() - before;
    report.check(
        used == 0,
        format_args!("{used} answers were used for other calls"),
    );
    setup.keyfob.run(&["keys", "revoke", id(&key)]);
    let revoked = Instant::now();
    let (mut passed, mut status) = (0, 200);
    while status == 200 && revoked.elapsed() < PATIENCE {
        status = setup.status(&key, "orders");
        passed += usize::from(status == 200);
        thread::sleep(Duration::from_millis(20));
    }
    let took = revoked.elapsed();
    report.note(format_args!(
        "cached, and revoked after {} ms",
        took.as_millis()
    ));
    // The authorizer knows within 200 ms, and nginx counts in whole seconds.
    let most = MAX_AGE + Duration::from_secs(1) + Duration::from_millis(700);
    report.check(
        passed > 0 && matches!(status, 401 | 429) && took < most,
        format_args!("revoked: {passed} calls passed for {took:?}, then {status}"),
    );
    let again = setup.status(&key, "orders");
    report.check(matches!(again, 401 | 429), format_args!("revoked: {again}"));
}
