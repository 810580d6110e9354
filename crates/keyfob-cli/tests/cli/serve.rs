//! `keyfob serve`

use std::{
    io::{BufRead as _, BufReader},
    process::{Command, Stdio},
    thread,
    time::Duration,
};

use serde_json::Value;

use crate::{
    program::{BINARY, Program, id, redacted, secrets},
    server::{Server, basic, bearer},
};

fn program() -> Program {
    let program = Program::new();
    program.done(&["namespaces", "create", "orders"]);
    program
}

/// The bound: another process's change is in force after `follow_every`, one second here, and the
/// time to read it, for which a busy machine gets two seconds.
const BOUND: Duration = Duration::from_secs(3);

#[test]
fn a_key_created_over_http_works_until_another_process_revokes_it() {
    let program = program();
    let server = Server::start(&program, &[]);
    let operator = server.operator.clone().expect("the first start shows one");
    let key = server.create(&operator, "orders", "laptop").unwrap();
    assert_eq!(server.auth(&key, "orders"), 200);
    assert_eq!(server.auth(&key, "billing"), 403);
    assert_eq!(server.auth(&key[..key.len() - 1], "orders"), 401);

    program.done(&["keys", "revoke", id(&key)]);
    let took = server.await_auth(&key, "orders", 401);
    assert!(took < BOUND, "{took:?}");

    // The reverse: created by another process, accepted here.
    let key = program.create(&["desk"]);
    let took = server.await_auth(&key, "orders", 200);
    assert!(took < BOUND, "{took:?}");
    program.done(&["members", "remove", "alice"]);
    let took = server.await_auth(&key, "orders", 401);
    assert!(took < BOUND, "{took:?}");

    let log = server.kill();
    assert_eq!(secrets(&log), 0);
    assert!(log.contains("reason=\"revoked\""), "{log}");
}

#[test]
fn the_proxy_learns_the_caller_and_the_caller_learns_the_status_only() {
    let program = program();
    let server = Server::start(&program, &[]);
    let key = program.create(&["laptop"]);
    server.await_auth(&key, "orders", 200);
    let named = "X-Keyfob-Namespace: orders";
    for method in ["GET", "POST", "PUT", "DELETE", "HEAD", "PATCH", "OPTIONS"] {
        let answer = server.send(method, "/auth", &[named, &bearer(&key)], "");
        assert_eq!(answer.status, 200, "{method}");
        assert_eq!(answer.header("x-keyfob-key-id"), Some(id(&key)));
        assert_eq!(answer.header("x-keyfob-owner"), Some("user:alice"));
        assert_eq!(answer.header("x-keyfob-namespace"), Some("orders"));
        assert_eq!(answer.header("x-keyfob-team"), Some("acme"));
        assert_eq!(answer.header("x-keyfob-scopes"), Some("*"));
    }
    let reader = program.create(&["reader", "--scope", "read", "--scope", "list"]);
    server.await_auth(&reader, "orders", 200);
    let limited = server.send("GET", "/auth/orders", &[&bearer(&reader)], "");
    assert_eq!(limited.header("x-keyfob-scopes"), Some("list read"));
    let own = server.send("GET", "/auth/_", &[&basic(&key)], "");
    assert_eq!(own.header("x-keyfob-namespace"), Some("orders"));

    let refused = server.send("GET", "/auth/orders", &[], "");
    assert_eq!(refused.status, 401);
    assert!(
        refused
            .header("www-authenticate")
            .unwrap()
            .starts_with("Basic ")
    );
    let said = r#"{"type":"about:blank","title":"Unauthorized","status":401,"detail":"unable to authenticate you"}"#;
    assert_eq!(refused.body, said);
    assert_eq!(
        refused.header("content-type"),
        Some("application/problem+json")
    );
    assert_eq!(refused.header("x-keyfob-key-id"), None);
    // Two credentials, of which the proxy may have checked the other one.
    let twice = [&*bearer(&key), &*basic(&key)];
    assert_eq!(server.send("GET", "/auth/orders", &twice, "").status, 401);
    // A proxy that names no namespace, or two, is misconfigured, and the call does not pass.
    for fields in [&[&*bearer(&key)][..], &[&*bearer(&key), named, named]] {
        assert_eq!(server.send("GET", "/auth", fields, "").status, 503);
    }
    let program = program.with("KEYFOB_AUTH_NAMESPACE_HEADER", "X-Tenant");
    let other = Server::start(&program, &[]);
    assert_eq!(other.operator, None, "only the first start makes one");
    let answer = other.send("GET", "/auth", &["X-Tenant: orders", &bearer(&key)], "");
    assert_eq!(answer.status, 200);
}

#[test]
fn health_readiness_and_metrics_are_served() {
    let program = program();
    let server = Server::start(&program, &["--flush-every", "100ms"]);
    let key = program.create(&["laptop"]);
    server.await_auth(&key, "orders", 200);
    server.auth("nonsense", "orders");
    for path in ["/healthz", "/readyz"] {
        assert_eq!(server.send("GET", path, &[], "").status, 200);
    }
    let metrics = server.send("GET", "/metrics", &[], "").body;
    for name in [
        "keyfob_auth_total{result=\"accepted\",reason=\"valid\"} 1",
        "keyfob_auth_total{result=\"refused\",reason=\"malformed\"} 1",
        "keyfob_index_age_seconds ",
        "keyfob_index_revision ",
    ] {
        assert!(metrics.contains(name), "{name} in {metrics}");
    }
    assert!(!metrics.contains(id(&key)) && !metrics.contains("alice"));

    // The usage is written soon.
    let used = (0..200).any(|_| {
        thread::sleep(Duration::from_millis(50));
        program.json(&["keys", "show", id(&key)])["uses"] == 1
    });
    assert!(used);
    assert_eq!(server.send("GET", "/openapi.json", &[], "").status, 200);
}

#[test]
fn a_stop_loses_no_usage() {
    for signal in ["-TERM", "-INT"] {
        let program = program();
        let server = Server::start(&program, &["--flush-every", "1h"]);
        let key = program.create(&["laptop"]);
        server.await_auth(&key, "orders", 200);
        let (code, log) = server.stop(signal);
        assert_eq!(code, Some(0), "{log}");
        assert!(log.contains("stopped"), "{log}");
        assert_eq!(program.json(&["keys", "show", id(&key)])["uses"], 1);
    }
}

#[test]
fn the_operators_credential_can_go_to_a_file() {
    let program = Program::bare();
    let args = ["--operator-file", "operator"];
    let server = Server::start(&program, &args);
    assert_eq!(server.operator, None);
    let credential = std::fs::read_to_string(program.path("operator")).unwrap();
    let credential = credential.trim_end();
    assert_eq!(server.auth(credential, "control:operators"), 200);
    let caller = server.send("GET", "/v1/caller", &[&bearer(credential)], "");
    assert_eq!(caller.status, 200, "{}", caller.body);
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let mode = std::fs::metadata(program.path("operator"))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600);
    }
    assert_eq!(secrets(&server.kill()), 0);
    // The next start creates none, and ignores the file.
    let server = Server::start(&program, &args);
    assert_eq!(server.auth(credential, "control:operators"), 200);

    // An existing file is not overwritten.
    let other = Program::bare();
    other.write("operator", "mine\n");
    let ran = other.run(&[
        "serve",
        "--listen",
        "127.0.0.1:0",
        "--operator-file",
        "operator",
    ]);
    assert_eq!(ran.code, 6, "{}", ran.redacted());
    assert_eq!(
        std::fs::read_to_string(other.path("operator")).unwrap(),
        "mine\n"
    );
}

#[test]
#[cfg(target_os = "linux")]
fn a_first_credential_that_could_not_be_shown_is_replaced() {
    let program = Program::bare();
    let team = ["--team", "operators", "-n", "control:operators"];
    let keys = |program: &Program| {
        let keys = program.json(&[&["keys", "list"], &team[..]].concat());
        keys["keys"].as_array().unwrap().len()
    };
    for form in ["table", "json", "env"] {
        // Every write to it fails.
        let full = std::fs::File::options().write(true).open("/dev/full");
        let output = Command::new(BINARY)
            .args(["serve", "--listen", "127.0.0.1:0", "--output", form])
            .current_dir(program.folder())
            .env_clear()
            .env("KEYFOB_AUTH_LISTEN", "127.0.0.1:0")
            .stdout(full.unwrap())
            .stderr(Stdio::piped())
            .output()
            .unwrap();
        let told = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(6), "{}", redacted(&told));
        assert!(told.contains("could not be written"), "{}", redacted(&told));
        assert_eq!(secrets(&told), 0);
        assert_eq!(keys(&program), 0);
    }

    let server = Server::start(&program, &[]);
    let operator = server.operator.clone().expect("one that is shown");
    assert_eq!(server.auth(&operator, "control:operators"), 200);
    drop(server);
    // A credential that was shown is not created again, even after its deletion.
    program.done(&[&["keys", "delete", id(&operator)], &team[..]].concat());
    assert_eq!(Server::start(&program, &[]).operator, None);
}

#[test]
fn a_port_in_use_is_reported() {
    let program = program();
    let server = Server::start(&program, &[]);
    let addresses = [server.address, server.asked_at].map(|address| address.to_string());
    for (flag, other, address) in [
        ("--listen", "--auth-listen", &addresses[0]),
        ("--auth-listen", "--listen", &addresses[1]),
    ] {
        let ran = program.run(&["serve", other, "127.0.0.1:0", flag, address]);
        assert_eq!(ran.code, 6);
        let said = redacted(&ran.err);
        assert!(
            said.contains("cannot listen on") && said.contains(&format!("`{flag}`")),
            "{said}"
        );
    }
}

/// Clients call the address that a namespace names, so it must be the one that works.
#[test]
fn a_namespace_names_the_address_of_the_gateways() {
    let program = program();
    let create = |server: &Server, operator: &str, region: &str| {
        let headers = [&*bearer(operator), "Content-Type: application/json"];
        // As `doctl` sends it.
        let body = format!(r#"{{"namespace": {{"label": "orders", "Region": "{region}"}}}}"#);
        let answer = server.send("POST", "/v2/functions/namespaces", &headers, &body);
        let json: Value = serde_json::from_str(&answer.body).unwrap();
        (answer.status, json)
    };
    let server = Server::start(&program, &[]);
    let operator = server.operator.clone().unwrap();
    let (status, made) = create(&server, &operator, "nyc1");
    assert_eq!(status, 200, "{made}");
    let namespace = &made["namespace"];
    assert_eq!(namespace["label"], "orders");
    assert_eq!(namespace["region"], "nyc1");
    let address = format!("http://{}", server.address);
    assert_eq!(namespace["api_host"], address);
    server.stop("-TERM");

    let template = "https://{namespace}.{region}.fn.example";
    let server = Server::start(
        &program,
        &["--api-host", template, "--regions", "blr1, nyc1"],
    );
    let (_, made) = create(&server, &operator, "nyc1");
    let name = made["namespace"]["namespace"].as_str().unwrap();
    let api_host = format!("https://{name}.nyc1.fn.example");
    assert_eq!(made["namespace"]["api_host"], api_host);
    let (status, refused) = create(&server, &operator, "ams3");
    assert_eq!(status, 400);
    assert_eq!(refused["message"], "region: must be one of blr1, nyc1");

    for (flag, value, message) in [
        (
            "--api-host",
            "fn.example",
            "api_host: must be an http or https URL",
        ),
        (
            "--api-host",
            "https://{ns}.example",
            "api_host: has a placeholder other than",
        ),
        ("--regions", "blr1,,nyc1", "regions: region is empty"),
    ] {
        let ran = program.run(&["serve", flag, value]);
        assert_eq!(ran.code, 2);
        assert!(ran.err.contains(message), "{}", ran.err);
    }
}

/// Some proxies append the path of the call to `/auth/NAMESPACE`.
#[test]
fn everything_below_the_path_of_the_namespace_is_judged_alike() {
    let program = program();
    let server = Server::start(&program, &[]);
    let key = program.create(&["laptop"]);
    server.await_auth(&key, "orders", 200);
    let metric = |name: &str| -> u64 {
        let metrics = server.send("GET", "/metrics", &[], "").body;
        let values = metrics.lines().filter(|line| line.starts_with(name));
        let values = values.filter_map(|line| line.rsplit_once(' ')?.1.parse::<u64>().ok());
        values.sum()
    };
    let before = metric("keyfob_auth_total");
    let credential = basic(&key);
    let own = "X-Keyfob-Namespace: orders";
    let mut calls = 0;
    let mut ask = |method: &str, target: &str, headers: &[&str]| {
        calls += 1;
        server.send(method, target, headers, "").status
    };
    for method in ["GET", "POST", "DELETE", "OPTIONS", "PROPFIND"] {
        for target in [
            "/auth/orders",
            "/auth/orders/",
            "/auth/orders/any/path",
            "/auth/orders/any/path?q=/auth/billing/../..",
            "/auth/orders/v2/functions/namespaces",
            "/auth/orders/caf%C3%A9%20x",
            "/auth/_/any/path",
        ] {
            assert_eq!(
                ask(method, target, &[&credential]),
                200,
                "{method} {target}"
            );
            assert_eq!(ask(method, target, &[]), 401, "{method} {target}");
        }
        for target in ["/auth", "/auth/"] {
            assert_eq!(ask(method, target, &[&credential, own]), 200, "{target}");
            assert_eq!(ask(method, target, &[&credential]), 503, "{target}");
        }
        // The path names the namespace, and a field that names another one is the client's.
        assert_eq!(ask(method, "/auth/billing/orders", &[&credential]), 403);
        assert_eq!(
            ask(method, "/auth/billing/orders", &[&credential, own]),
            400
        );
        for target in [
            "/auth/o%72ders/x",
            "/auth/orders%2fx",
            "/auth/orders/../billing",
            "/auth/billing/../orders",
            "/auth/orders/%2e%2e/billing",
            "/auth/orders/..%2fbilling",
            "/auth/orders/..;/billing",
            "/auth//orders",
            "/auth//",
            "/auth/./orders",
            "/auth/%ff",
            "/auth/orders/%ff",
        ] {
            assert_eq!(ask(method, target, &[&credential, own]), 400, "{target}");
        }
    }
    // Counted, and never limited as attempts on the control plane are.
    assert_eq!(metric("keyfob_auth_total") - before, calls);
    assert_eq!(metric("keyfob_api_requests_total"), 0);
    let log = server.kill();
    assert!(log.contains("ambiguous_target"), "{log}");
}

#[test]
fn every_start_says_where_the_panel_is_unless_there_is_none() {
    let program = Program::new();
    for first in [true, false] {
        let server = Server::start(&program, &[]);
        assert_eq!(server.operator.is_some(), first);
        let panel = format!("http://{}/", server.address);
        assert_eq!(server.panel.as_deref(), Some(&*panel));
        assert_eq!(server.send("GET", "/session", &[], "").status, 200);
    }
    let server = Server::start(&program, &["--panel", "false"]);
    assert_eq!(server.panel, None);
    for path in ["/", "/session", "/keys"] {
        assert_eq!(server.send("GET", path, &[], "").status, 401, "{path}");
    }
    drop(server);
    // In text, with an address that a browser can reach.
    for folder in [&Program::new(), &program] {
        let told = notes(folder, &["--listen", "0.0.0.0:0"]);
        let port = told.split("listening on http://0.0.0.0:").nth(1);
        let port = port.and_then(|rest| rest.split([',', ';']).next());
        let port = port.expect("it says where it listens");
        let panel = format!("control panel, for a browser: http://127.0.0.1:{port}/\n");
        assert!(told.contains(&panel), "{told}");
    }
    let told = notes(&program, &["--listen", "127.0.0.1:0", "--panel", "false"]);
    assert!(!told.contains("panel"), "{told}");
}

/// What a server prints for people when it starts.
fn notes(program: &Program, args: &[&str]) -> String {
    let mut child = Command::new(BINARY)
        .args(["serve", "--auth-listen", "127.0.0.1:0"])
        .args(args)
        .current_dir(program.folder())
        .env_clear()
        .envs(program.environment())
        .stdin(Stdio::null())
        // It can have the credential.
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the server starts");
    let (sender, receiver) = std::sync::mpsc::channel();
    let stderr = child.stderr.take().expect("it is piped");
    thread::spawn(move || {
        for line in BufReader::new(stderr).lines().map_while(Result::ok) {
            let _ = sender.send(line);
        }
    });
    let mut told = String::new();
    let mut patience = Duration::from_secs(30);
    while let Ok(line) = receiver.recv_timeout(patience) {
        told.push_str(&line);
        told.push('\n');
        if told.contains("listening on") {
            // What belongs to it comes at once.
            patience = Duration::from_millis(500);
        }
    }
    let _ = child.kill();
    let _ = child.wait();
    told
}
