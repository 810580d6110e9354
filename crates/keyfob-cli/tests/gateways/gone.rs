//! Clients and authorizers that close their connection during a question, and a script of the gateway that
//! fails: nothing passes that was not accepted.

use std::{io, thread, time::Duration};

use keyfob_proxies::{Connection, Kind};
use keyfob_testkit::link::{Link, Mode};

use crate::{
    calls::{basic, path, request},
    keyfob::wrong_secret,
    setup::{PATIENCE, Report, Setup},
};

/// How late the authorizers answer.
const DELAY: Duration = Duration::from_millis(100);
/// When the client goes: before the answer.
const STAYS: Duration = Duration::from_millis(30);
/// How many clients there are of each kind.
const CLIENTS: usize = 8;

/// `HAProxy` goes on to the next rule when a script fails. These faults are of the script.
const HAPROXY_FAULTS: [(&str, &str); 2] = [
    (
        "    lua-load-per-thread ",
        "    tune.lua.session-timeout 100ms\n    lua-load-per-thread ",
    ),
    (
        "  local answer = ask(txn, headers)\n",
        "  if txn.f:pathq():find('/fails$') then error('a fault of the script') end\n  \
         while txn.f:pathq():find('/hangs$') do end\n  \
         local answer = ask(txn, headers)\n",
    ),
];

pub(crate) fn run(setup: &mut Setup, report: &mut Report) {
    let is_haproxy = setup.kind == Kind::Haproxy;
    let changes: &[_] = if is_haproxy { &HAPROXY_FAULTS } else { &[] };
    setup.over_links(changes, |setup, links| {
        leave(setup, report, links);
        for _ in 0..2 {
            cut(setup, report, links);
        }
        if is_haproxy {
            fail(setup, report);
        }
    });
}

/// Clients whose questions are on their way.
fn clients(setup: &Setup, request: &[u8]) -> Vec<Connection> {
    let open = |_| {
        let mut client = Connection::open(setup.gateway.address(), PATIENCE).unwrap();
        client.send(request).unwrap();
        client
    };
    let clients = (0..CLIENTS).map(open).collect();
    thread::sleep(STAYS);
    clients
}

fn leave(setup: &Setup, report: &mut Report, links: &[Link]) {
    for link in links {
        link.set_delay(DELAY);
    }
    let wrong = wrong_secret(&setup.key);
    let none: &[String] = &[];
    for (name, fields) in [
        ("no key", none),
        ("a wrong secret", &[basic(&wrong)]),
        ("another namespace's key", &[basic(&setup.other)]),
    ] {
        let mut fields: Vec<&str> = fields.iter().map(String::as_str).collect();
        fields.push("Content-Length: 2");
        let mut bytes = request("POST", &path("orders"), &fields);
        bytes.extend_from_slice(b"{}");
        for (end, go) in [
            (
                "reset",
                Connection::reset as fn(Connection) -> io::Result<()>,
            ),
            ("closed", |_| Ok(())),
            ("half closed", Connection::half_close),
        ] {
            let before = setup.backend.count();
            for client in clients(setup, &bytes) {
                go(client).unwrap();
            }
            thread::sleep(DELAY * 4);
            let passed = setup.backend.count() - before;
            report.check(
                passed == 0,
                format_args!("{name}, {end}: {passed} of {CLIENTS} calls passed"),
            );
        }
    }
    let status = setup.status(&setup.key, "orders");
    report.check(status == 200, format_args!("{status} after they left"));
}

/// Both authorizers close their connections before they answer.
fn cut(setup: &Setup, report: &mut Report, links: &[Link]) {
    let before = setup.backend.count();
    for link in links {
        // Longer than any gateway waits.
        link.set_delay(PATIENCE);
    }
    let bytes = request("GET", &path("orders"), &[&basic(&setup.key)]);
    let clients = clients(setup, &bytes);
    for link in links {
        link.set(Mode::Closed);
    }
    for mut client in clients {
        let answer = client.response(false);
        let status = answer.map(|answer| answer.status);
        // Traefik can lose its question to itself at that moment.
        let is_lost = setup.kind == Kind::Traefik && matches!(status, Ok(500));
        report.check(
            is_lost || matches!(status, Ok(503)),
            format_args!("the authorizers close: {status:?}"),
        );
    }
    let passed = setup.backend.count() - before;
    report.check(
        passed == 0,
        format_args!("the authorizers close: {passed} calls passed"),
    );
    for link in links {
        link.set_delay(Duration::ZERO);
        link.set(Mode::Open);
    }
    setup.await_status(&setup.key, "orders", 200);
}

fn fail(setup: &Setup, report: &mut Report) {
    let key = basic(&setup.key);
    for (fault, fields) in [
        ("fails", &[][..]),
        ("hangs", &[]),
        ("fails", &[key.as_str()]),
        ("hangs", &[&key]),
    ] {
        let before = setup.backend.count();
        let target = format!("{}/{fault}", path("orders"));
        let answer = setup.call("GET", &target, fields).unwrap();
        let (status, passed) = (answer.status(), setup.backend.count() - before);
        report.check(
            status == 503 && passed == 0,
            format_args!("the script {fault}: {status}, {passed} calls passed"),
        );
    }
}
