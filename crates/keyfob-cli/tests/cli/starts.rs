//! Gateways and relays that start while their upstream is away, or does not have all that they carry.

use std::{
    fs, thread,
    time::{Duration, Instant},
};

use crate::{
    gateway::Authority,
    program::Program,
    server::{Server, bearer},
};

/// Answers as a server that runs and is not ready.
fn assert_waits(server: &Server, time: Duration) {
    let start = Instant::now();
    while start.elapsed() < time {
        for (target, status) in [("/healthz", 200), ("/readyz", 503), ("/metrics", 200)] {
            assert_eq!(
                server.send("GET", target, &[], "").status,
                status,
                "{target}"
            );
        }
        thread::sleep(Duration::from_millis(100));
    }
}

#[test]
fn a_gateway_and_a_relay_that_start_before_their_authority_wait_for_it() {
    // Without a prefix they would ask the authority for it first.
    let with_prefix = |program: Program| program.with("KEYFOB_PREFIX", "acme");
    let authority = Authority::with(with_prefix(Program::new()));
    let key = authority.program.create(&["laptop"]);
    let all = authority.replica_key("operators", "control:operators");
    let reader = |command: &str, upstream: &str| {
        let program = with_prefix(Program::bare());
        authority.reader(&program, command, upstream, &all, &[])
    };
    let relay = reader("relay", &authority.upstream());
    let relayed = format!("http://{}", relay.address);
    let gateways = [
        reader("gateway", &authority.upstream()),
        reader("gateway", &relayed),
    ];
    for server in [&relay, &gateways[0], &gateways[1]] {
        assert_waits(server, Duration::from_secs(1));
    }
    for gateway in &gateways {
        assert_eq!(gateway.auth(&key, "orders"), 503);
    }
    let server = authority.serve();
    for gateway in &gateways {
        gateway.await_auth(&key, "orders", 200);
    }
    relay.await_ready();
    drop(server);
}

#[test]
fn a_gateway_waits_for_its_authority_if_what_it_kept_cannot_be_used() {
    let authority = Authority::new();
    let key = authority.program.create(&["laptop"]);
    let all = authority.replica_key("operators", "control:operators");
    let server = authority.serve();
    let elsewhere = Program::bare();
    let args = ["--state", "state"];
    let gateway = authority.gateway(&elsewhere, &all, &args);
    gateway.await_auth(&key, "orders", 200);
    gateway.stop("-TERM");
    drop(server);
    let mut altered = 0;
    for entry in fs::read_dir(elsewhere.path("state")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "zst") {
            fs::write(path, "another object").unwrap();
            altered += 1;
        }
    }
    assert_eq!(altered, 1);
    let gateway = authority.gateway(&elsewhere, &all, &args);
    assert_waits(&gateway, Duration::from_secs(1));
    assert_eq!(gateway.auth(&key, "orders"), 503);
    let server = authority.serve();
    gateway.await_auth(&key, "orders", 200);
    drop(server);
}

#[test]
fn a_relay_is_ready_when_every_part_that_it_carries_is_up_to_date() {
    let authority = Authority::new();
    let all = authority.replica_key("operators", "control:operators");
    let orders = authority.replica_key("acme", "orders");
    let server = authority.serve();
    let relay = |carry: &str| {
        let args = ["--only", "acme/orders", "--carry", carry];
        authority.reader(
            &Program::bare(),
            "relay",
            &authority.upstream(),
            &orders,
            &args,
        )
    };
    // The key reads one namespace: the other part is refused, and the first one alone is no relay.
    let refused = relay("acme/billing");
    let (code, log) = refused.ended();
    assert_ne!(code, Some(0), "{log}");
    assert!(log.contains("403"), "{log}");
    let ready = relay("acme/orders");
    ready.await_ready();

    // Cut off from the authority, it says so before its bound has passed, as its answers do.
    let args = ["--carry", "acme/orders", "--stale-after", "60s"];
    let both = authority.reader(
        &Program::bare(),
        "relay",
        &authority.upstream(),
        &all,
        &args,
    );
    both.await_ready();
    drop(server);
    let start = Instant::now();
    while both.send("GET", "/readyz", &[], "").status == 200 {
        assert!(start.elapsed() < Duration::from_secs(15), "it stays ready");
        thread::sleep(Duration::from_millis(50));
    }
    let headers = [&*bearer(&fs::read_to_string(&all).unwrap())];
    let answer = both.send("GET", "/v1/feed/snapshot", &headers, "");
    assert_eq!(answer.status, 503);
}
