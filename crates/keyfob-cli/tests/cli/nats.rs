//! `keyfob serve` and `keyfob relay` over NATS, as processes of their own.

use std::{
    fs, thread,
    time::{Duration, Instant},
};

use keyfob_testkit::nats::{self, Server as Nats};

use crate::{
    gateway::Authority,
    program::{Program, id, secrets},
    server::Server,
};

/// The value of a metric, if it is there.
fn metric(server: &Server, name: &str) -> Option<f64> {
    let text = server.send("GET", "/metrics", &[], "").body;
    let mut lines = text.lines().filter_map(|line| line.strip_prefix(name));
    lines.find_map(|rest| rest.trim().parse().ok())
}

fn await_metric(server: &Server, name: &str, value: f64) {
    let start = Instant::now();
    while metric(server, name) != Some(value) {
        let text = server.send("GET", "/metrics", &[], "").body;
        assert!(start.elapsed() < Duration::from_secs(30), "{name}: {text}");
        thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn a_relay_is_fed_over_nats_and_reads_its_upstream_without_it() {
    if nats::program().is_none() {
        return;
    }
    let mut broker = Nats::start("nats-1", "");
    let authority = Authority::new();
    let key = authority.program.create(&["laptop"]);
    let all = authority.replica_key("operators", "control:operators");
    let server = authority.serve_with(&["--nats", &broker.url(), "--nats-carry", "acme"]);
    let elsewhere = Program::bare();
    let args = ["--nats", &broker.url()];
    let relay = authority.reader(&elsewhere, "relay", &authority.upstream(), &all, &args);
    let upstream = format!("http://{}", relay.address);
    let gateway = authority.reader(&Program::bare(), "gateway", &upstream, &all, &[]);
    gateway.await_auth(&key, "orders", 200);
    await_metric(&relay, "keyfob_feed_broadcast", 1.0);
    await_metric(&relay, "keyfob_nats_connected", 1.0);
    await_metric(&server, "keyfob_nats_connected", 1.0);
    let another = authority.program.create(&["another"]);
    gateway.await_auth(&another, "orders", 200);
    authority.program.done(&["keys", "revoke", id(&another)]);
    gateway.await_auth(&another, "orders", 401);
    assert!(metric(&relay, "keyfob_nats_received_total").unwrap() > 0.0);
    assert_eq!(metric(&relay, "keyfob_feed_refused_total"), None);

    broker.kill();
    let third = authority.program.create(&["third"]);
    gateway.await_auth(&third, "orders", 200);
    await_metric(&relay, "keyfob_feed_broadcast", 0.0);
    broker.restart();
    await_metric(&relay, "keyfob_feed_broadcast", 1.0);
    assert_eq!(gateway.auth(&key, "orders"), 200);
    for one in [relay, server] {
        let (code, log) = one.stop("-TERM");
        assert_eq!((code, secrets(&log)), (Some(0), 0), "{log}");
    }
}

#[test]
fn settings_of_nats_that_cannot_work_are_refused_and_not_repeated() {
    let program = Program::bare();
    for (args, message) in [
        (
            &["--nats", "nats://user:hunter2@127.0.0.1"][..],
            "nats: NATS server: must have no user and no password",
        ),
        (
            &["--nats", "nats://nats.example"],
            "nats: NATS server nats://nats.example:4222: without TLS, only this machine may be named",
        ),
        (
            &["--nats", "https://nats.example"],
            "nats: NATS server: must be tls://HOST[:PORT]",
        ),
        (
            &["--nats-subjects", "a b"],
            "nats_subjects: must be letters",
        ),
        (
            &["--nats-certificate", "a.pem"],
            "nats_certificate: needs nats_key",
        ),
    ] {
        fs::write(program.path("key"), "not-a-key").unwrap();
        let own = [
            "relay",
            "--upstream",
            "http://127.0.0.1:1",
            "--credential-file",
            "key",
        ];
        let signer = Authority::new().signer;
        let ran = program.run(&[&own[..], &["--signers", &signer], args].concat());
        assert_eq!(ran.code, 2, "{}", ran.err);
        assert!(ran.err.contains(message), "{}", ran.err);
        assert!(!ran.err.contains("hunter2"), "{}", ran.err);
    }
}

/// Runs a command that ends at once, since a setting has no effect.
fn refused(args: &[&str], message: &str) {
    let ran = Program::new().run(args);
    assert_eq!(ran.code, 2, "{args:?}: {}", ran.err);
    assert!(ran.err.contains(message), "{}", ran.err);
}

#[test]
fn a_setting_of_the_feed_that_has_no_effect_is_refused() {
    let serve = ["serve", "--listen", "127.0.0.1:0"];
    for (args, message) in [
        (
            &["--nats", "nats://127.0.0.1:1"][..],
            "feed_listen: needed with nats",
        ),
        (
            &["--tls-certificate", "c", "--tls-key", "k"],
            "feed_listen: needed with tls_certificate",
        ),
        (
            &["--nats-carry", "acme"],
            "feed_listen: needed with nats_carry",
        ),
        (
            &["--nats-credentials", "c"],
            "feed_listen: needed with nats_credentials",
        ),
        (
            &["--feed-connections", "7"],
            "feed_listen: needed with feed_connections",
        ),
        (
            &["--feed-listen", "127.0.0.1:0", "--nats-ca", "c"],
            "nats: needed with nats_ca",
        ),
        (
            &["--feed-listen", "127.0.0.1:0", "--nats-carry", "acme"],
            "nats: needed with nats_carry",
        ),
    ] {
        refused(&[&serve, args].concat(), message);
    }
    let relay = ["relay", "--upstream", "http://127.0.0.1:1"];
    let stream = &["--nats-stream", "feed"];
    refused(
        &[&relay, &stream[..]].concat(),
        "nats: needed with nats_stream",
    );
}
