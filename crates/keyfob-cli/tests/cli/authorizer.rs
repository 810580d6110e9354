//! The listener that proxies ask: apart from the control plane's, and what it knows after a pause.

use std::{
    fs,
    io::{BufRead as _, BufReader, Read, Write},
    net::TcpStream,
    os::unix::net::UnixStream,
    process::Stdio,
    thread,
    time::{Duration, Instant},
};

use keyfob_testkit::certificates::Authority;
use serde_json::Value;

use crate::{
    program::{BINARY, Program, id, pattern, secrets},
    server::{PATIENCE, Server, basic, bearer},
};

fn program() -> Program {
    let program = Program::new();
    program.done(&["namespaces", "create", "orders"]);
    program
}

/// The status of an answer that is read from a connection.
fn status(connection: &mut impl Read) -> u16 {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        match connection.read(&mut byte) {
            Ok(1) => head.push(byte[0]),
            _ => return 0,
        }
    }
    let head = String::from_utf8_lossy(&head);
    head.split(' ')
        .nth(1)
        .and_then(|status| status.parse().ok())
        .unwrap_or(0)
}

fn question(key: &str) -> String {
    let credential = basic(key);
    format!("GET /auth/orders HTTP/1.1\r\nHost: keyfob\r\n{credential}\r\n\r\n")
}

fn open(server: &Server) -> TcpStream {
    let connection = TcpStream::connect(server.asked_at).unwrap();
    connection.set_read_timeout(Some(PATIENCE)).unwrap();
    connection
}

/// Whether all threads of a process have stopped.
fn is_stopped(pid: u32) -> bool {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).unwrap();
    tasks.flatten().all(|task| {
        let state = fs::read_to_string(task.path().join("stat")).unwrap_or_default();
        let state = state
            .rsplit_once(") ")
            .map(|(_, rest)| rest.starts_with('T'));
        state.unwrap_or(true)
    })
}

/// Stops a server, sends it questions, lets `revoke` revoke the key, and lets the server go on after at
/// least this time. No question may be answered with 200.
fn pause(server: &Server, key: &str, least: Duration, revoke: impl FnOnce()) {
    // Connections that are kept, and new ones.
    let mut kept: Vec<TcpStream> = (0..4).map(|_| open(server)).collect();
    for connection in &mut kept {
        connection.write_all(question(key).as_bytes()).unwrap();
        assert_eq!(status(connection), 200);
    }
    server.signal("-STOP");
    let start = Instant::now();
    // Until it has stopped, it answers.
    while !is_stopped(server.pid()) {
        assert!(start.elapsed() < PATIENCE);
        thread::sleep(Duration::from_millis(1));
    }
    let mut waiting = kept;
    waiting.extend((0..4).map(|_| open(server)));
    for connection in &mut waiting {
        connection.write_all(question(key).as_bytes()).unwrap();
    }
    revoke();
    thread::sleep(least.saturating_sub(start.elapsed()));
    server.signal("-CONT");
    for connection in &mut waiting {
        let status = status(connection);
        assert!([401, 503].contains(&status), "{status} after {least:?}");
    }
    server.await_auth(key, "orders", 401);
}

#[test]
fn no_call_that_waited_during_a_pause_passes_with_a_key_that_was_revoked() {
    let program = program();
    // Longer than any pause here, and a notification is not waited for.
    let args = ["--stale-after", "60s", "--follow-every", "10s"];
    let server = Server::start(&program, &args);
    let other = program.create(&["other"]);
    server.await_auth(&other, "orders", 200);
    for (n, milliseconds) in [0, 150, 400, 1_200].into_iter().enumerate() {
        let key = program.create(&[&format!("key {n}")]);
        server.await_auth(&key, "orders", 200);
        let least = Duration::from_millis(milliseconds);
        pause(&server, &key, least, || {
            program.done(&["keys", "revoke", id(&key)]);
        });
        // Everybody else goes on.
        server.await_auth(&other, "orders", 200);
    }
    let log = server.kill();
    assert!(log.contains("the process stood still"), "{log}");
}

#[test]
fn the_same_holds_for_a_gateway_that_is_fed_over_the_network() {
    let authority = crate::gateway::Authority::new();
    let all = authority.replica_key("operators", "control:operators");
    let server = authority.serve();
    let elsewhere = Program::bare();
    let args = ["--stale-after", "60s"];
    let gateway = authority.reader(&elsewhere, "gateway", &authority.upstream(), &all, &args);
    for (n, milliseconds) in [200, 1_500].into_iter().enumerate() {
        let key = authority.program.create(&[&format!("key {n}")]);
        gateway.await_auth(&key, "orders", 200);
        pause(&gateway, &key, Duration::from_millis(milliseconds), || {
            authority.program.done(&["keys", "revoke", id(&key)]);
        });
    }
    drop(server);
}

#[test]
fn idle_connections_to_the_control_plane_do_not_touch_the_authorizer() {
    let program = program().with("KEYFOB_AUTH_CONNECTIONS", "4");
    let server = Server::start(&program, &["--connections", "512"]);
    let key = program.create(&["laptop"]);
    server.await_auth(&key, "orders", 200);
    let idle: Vec<TcpStream> = (0..512)
        .map(|_| TcpStream::connect(server.address).unwrap())
        .collect();
    for _ in 0..20 {
        let start = Instant::now();
        assert_eq!(server.auth(&key, "orders"), 200);
        assert!(
            start.elapsed() < Duration::from_secs(2),
            "{:?}",
            start.elapsed()
        );
    }
    drop(idle);

    // It has a limit of its own, which is not the control plane's.
    let mut taken: Vec<TcpStream> = (0..4).map(|_| open(&server)).collect();
    for connection in &mut taken {
        connection.write_all(question(&key).as_bytes()).unwrap();
        assert_eq!(status(connection), 200);
    }
    let mut fifth = open(&server);
    fifth.write_all(question(&key).as_bytes()).unwrap();
    fifth
        .set_read_timeout(Some(Duration::from_millis(200)))
        .unwrap();
    assert_eq!(status(&mut fifth), 0);
    let metrics = server.send("GET", "/metrics", &[], "");
    let line = "keyfob_connections{listener=\"auth\"} 4";
    assert!(metrics.body.contains(line), "{}", metrics.body);
    taken.truncate(1);
    fifth.set_read_timeout(Some(PATIENCE)).unwrap();
    assert_eq!(status(&mut fifth), 200);
}

#[test]
fn idle_connections_to_the_authorizer_make_room_for_questions() {
    let program = program();
    let server = Server::start(&program, &[]);
    let key = program.create(&["laptop"]);
    server.await_auth(&key, "orders", 200);
    // As many as it takes, and more that wait.
    let idle: Vec<TcpStream> = (0..600)
        .map(|_| TcpStream::connect(server.asked_at).unwrap())
        .collect();
    for _ in 0..10 {
        let start = Instant::now();
        assert_eq!(server.auth(&key, "orders"), 200);
        let took = start.elapsed();
        assert!(took < Duration::from_secs(2), "{took:?}");
    }
    drop(idle);
}

#[test]
fn a_flood_of_refusals_does_not_fill_the_log() {
    let program = program();
    let server = Server::start(&program, &[]);
    let began = Instant::now();
    for _ in 0..400 {
        assert_eq!(server.send("GET", "/auth/orders", &[], "").status, 401);
    }
    let seconds = began.elapsed().as_secs() + 2;
    // The next line has the number of those that were left out.
    thread::sleep(Duration::from_millis(1_100));
    assert_eq!(server.send("GET", "/auth/orders", &[], "").status, 401);
    let log = server.kill();
    let lines = log.matches("no_credential").count() as u64;
    assert!(lines <= 20 * seconds + 1, "{lines} lines in {seconds} s");
    let left_out = pattern("left_out=(\\d+)");
    let left_out: u64 = left_out
        .captures_iter(&log)
        .map(|found| found[1].parse::<u64>().unwrap())
        .sum();
    assert_eq!(lines + left_out, 401, "{log}");
}

#[test]
fn the_control_plane_and_the_authorizer_have_nothing_in_common() {
    let program = program();
    let server = Server::start(&program, &[]);
    let key = program.create(&["laptop"]);
    server.await_auth(&key, "orders", 200);
    let at = |address, target: &str| {
        let headers = [&*bearer(&key), "X-Keyfob-Namespace: orders"];
        crate::server::send(address, "GET", target, &headers, "").status
    };
    assert_eq!(at(server.asked_at, "/auth"), 200);
    assert_eq!(at(server.asked_at, "/readyz"), 200);
    assert_eq!(at(server.asked_at, "/healthz"), 200);
    for target in ["/metrics", "/docs", "/openapi.json", "/v1/caller", "/"] {
        assert_eq!(at(server.asked_at, target), 404, "{target}");
    }
    // The control plane has no such path.
    for target in ["/auth", "/auth/orders"] {
        assert!(
            [401, 403, 404].contains(&at(server.address, target)),
            "{target}"
        );
    }
}

#[test]
fn a_refusal_is_logged_with_request_client_namespace_and_trace() {
    let program = program().with("KEYFOB_AUTH_REQUEST", "x-original-uri");
    let server = Server::start(&program, &[]);
    let wrong = bearer("confidential");
    let question = [
        "X-Original-URI: /api/v1/namespaces/orders/actions/x?token=confidential",
        "X-Original-Method: POST",
        "X-Original-Host: gw.test",
        "X-Real-IP: 192.0.2.7",
        "X-Request-Id: r-1234",
        "traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
    ];
    let ask = |more: &[&str]| server.send("GET", "/auth", &[&question[..], more].concat(), "");
    assert_eq!(ask(&[&wrong]).status, 401);
    // A misconfigured proxy is a fault of the operator's.
    assert_eq!(server.send("GET", "/auth", &[&wrong], "").status, 503);
    let log = server.kill();
    let line = log.lines().find(|line| line.contains("malformed"));
    let line = line.expect("it is logged");
    for part in [
        "INFO",
        "refused",
        "namespace=\"orders\"",
        "client=\"192.0.2.7\"",
        "request=\"r-1234\"",
        "trace=\"4bf92f3577b34da6a3ce929d0e0e4736\"",
    ] {
        assert!(line.contains(part), "{part} in {line}");
    }
    let fault = log.lines().find(|line| line.contains("no_target"));
    assert!(fault.is_some_and(|line| line.contains("ERROR")), "{log}");
    assert!(!log.contains("confidential"), "{log}");
}

#[test]
fn rules_of_the_file_decide_and_identities_are_signed() {
    let program = program().with("KEYFOB_CONFIG", "keyfob.toml");
    let made = std::process::Command::new("openssl")
        .args(["genpkey", "-algorithm", "ed25519", "-out"])
        .arg(program.path("identity.pem"))
        .status();
    assert!(made.expect("there is an `openssl`").success());
    program.write(
        "keyfob.toml",
        r#"
        [auth]
        request = "x-forwarded"
        refusal = "openwhisk"
        realm = "functions"
        schemes = "bearer"
        reason = true
        max_age = "2s"
        identity_keys = "identity.pem"
        identity_issuer = "https://gw.test"

        [[auth.rules]]
        path = "/fn/{namespace}/*"
        methods = ["POST"]
        scopes = ["invoke"]

        [[auth.rules]]
        path = "/fn/{namespace}/*"

        [[auth.rules]]
        host = "{namespace}.fn.test"

        [[auth.rules]]
        path = "/own"
        namespace = "_"
        "#,
    );
    let server = Server::start(&program, &[]);
    let (key, reader) = (
        program.create(&["laptop"]),
        program.create(&["reader", "--scope", "read"]),
    );
    let ask = |key: &str, method: &str, host: &str, uri: &str| {
        let fields = [
            format!("X-Forwarded-Method: {method}"),
            format!("X-Forwarded-Host: {host}"),
            format!("X-Forwarded-Uri: {uri}"),
            basic(key),
        ];
        let fields: Vec<&str> = fields.iter().map(String::as_str).collect();
        server.send("GET", "/auth", &fields, "")
    };
    let start = Instant::now();
    while ask(&reader, "GET", "gw.test", "/fn/orders/x").status != 200 {
        assert!(start.elapsed() < PATIENCE);
        thread::sleep(Duration::from_millis(20));
    }
    for (key, method, host, uri, status, reason) in [
        (&key, "POST", "gw.test", "/fn/orders/x", 200, None),
        (
            &reader,
            "POST",
            "gw.test",
            "/fn/orders/x",
            403,
            Some("missing_scope"),
        ),
        (&reader, "GET", "orders.fn.test", "/x", 200, None),
        (
            &reader,
            "GET",
            "Orders.fn.test",
            "/x",
            400,
            Some("ambiguous_target"),
        ),
        (
            &reader,
            "GET",
            "billing.fn.test",
            "/x",
            403,
            Some("wrong_namespace"),
        ),
        (&key, "GET", "gw.test", "/own", 200, None),
        (
            &key,
            "GET",
            "gw.test",
            "/api/v1/namespaces/orders",
            403,
            Some("no_rule"),
        ),
        (
            &key,
            "GET",
            "gw.test",
            "/fn/x/..%2forders",
            400,
            Some("ambiguous_target"),
        ),
    ] {
        let answer = ask(key, method, host, uri);
        assert_eq!(answer.status, status, "{method} {host} {uri}");
        assert_eq!(
            answer.header("x-keyfob-reason"),
            reason,
            "{method} {host} {uri}"
        );
    }
    let accepted = ask(&key, "GET", "gw.test", "/own");
    assert_eq!(accepted.header("cache-control"), Some("max-age=2"));
    let token = accepted.header("x-keyfob-identity").unwrap();
    assert_eq!(token.split('.').count(), 3);
    let keys = server.send("GET", "/.well-known/jwks.json", &[], "");
    let keys: Value = serde_json::from_str(&keys.body).unwrap();
    assert_eq!(keys["keys"][0]["crv"], "Ed25519");
    let refused = ask("x", "GET", "gw.test", "/own");
    assert_eq!(
        refused.header("www-authenticate"),
        Some("Bearer realm=\"functions\"")
    );
    assert_eq!(
        refused.body,
        r#"{"error":"The supplied authentication is invalid.","code":""}"#
    );
    assert_eq!(secrets(&server.kill()), 0);
}

#[test]
fn a_proxy_asks_over_a_socket_or_with_a_certificate() {
    let program = program();
    let socket = format!("unix:{}", program.path("auth.sock").display());
    let server = Server::start(&program, &["--auth-listen", &socket]);
    let key = program.create(&["laptop"]);
    accepts_over_socket(&program, &key);
    drop(server);

    let program = with_certificates(program);
    let server = Server::start(&program, &[]);
    accepts_certificates(&program, &server, &key);
}

#[test]
fn a_proxy_asks_keyfob_gateway_over_a_socket_or_with_a_certificate() {
    let authority = crate::gateway::Authority::new();
    let key = authority.program.create(&["laptop"]);
    let all = authority.replica_key("operators", "control:operators");
    let _server = authority.serve();
    let elsewhere = Program::bare();
    let socket = format!("unix:{}", elsewhere.path("auth.sock").display());
    let gateway = authority.gateway(&elsewhere, &all, &["--listen", &socket]);
    accepts_over_socket(&elsewhere, &key);
    drop(gateway);

    let elsewhere = with_certificates(elsewhere);
    let gateway = authority.gateway(&elsewhere, &all, &[]);
    accepts_certificates(&elsewhere, &gateway, &key);
}

/// A question over the socket `auth.sock` is accepted in the end.
fn accepts_over_socket(program: &Program, key: &str) {
    let start = Instant::now();
    loop {
        let mut connection = UnixStream::connect(program.path("auth.sock")).unwrap();
        connection.write_all(question(key).as_bytes()).unwrap();
        let status = status(&mut connection);
        if status == 200 {
            return;
        }
        assert!(start.elapsed() < PATIENCE, "{status}");
        thread::sleep(Duration::from_millis(20));
    }
}

/// With TLS, and no other peers than those with a certificate.
fn with_certificates(program: Program) -> Program {
    let folder = program.folder();
    let openssl = |args: &str| {
        let made = std::process::Command::new("openssl")
            .args(args.split(' '))
            .current_dir(folder)
            .output()
            .expect("there is an `openssl`");
        let error = String::from_utf8_lossy(&made.stderr).into_owned();
        assert!(made.status.success(), "{args}: {error}");
    };
    let new = "req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout";
    for authority in ["clients", "others", "server"] {
        let names = format!("-subj /CN={authority} -addext subjectAltName=DNS:localhost");
        openssl(&format!(
            "{new} {authority}.key -x509 -days 1 {names} -out {authority}.pem"
        ));
    }
    for (name, authority) in [("client", "clients"), ("stranger", "others")] {
        openssl(&format!(
            "{new} {name}.key -subj /CN={name} -addext subjectAltName=DNS:{name} -out {name}.csr"
        ));
        let by = format!(
            "-CA {authority}.pem -CAkey {authority}.key -CAcreateserial -copy_extensions copy"
        );
        openssl(&format!(
            "x509 -req -days 1 -in {name}.csr {by} -out {name}.pem"
        ));
    }
    program
        .with("KEYFOB_AUTH_TLS_CERTIFICATE", "server.pem")
        .with("KEYFOB_AUTH_TLS_KEY", "server.key")
        .with("KEYFOB_AUTH_TLS_CLIENTS", "clients.pem")
        .with("KEYFOB_AUTH_PEERS", "192.0.2.1")
}

/// A question is accepted in the end with a certificate of the configured authority, and with no other.
fn accepts_certificates(program: &Program, server: &Server, key: &str) {
    let ask = |certificate: &str| {
        let asked = std::process::Command::new("curl")
            .args(["-s", "-o", "/dev/null", "-w", "%{http_code}"])
            .args(["--cacert", "server.pem"])
            .args(["--cert", &format!("{certificate}.pem")])
            .args(["--key", &format!("{certificate}.key")])
            .args(["-H", &basic(key)])
            .arg(format!(
                "https://localhost:{}/auth/orders",
                server.asked_at.port()
            ))
            .current_dir(program.folder())
            .output()
            .expect("there is a `curl`");
        String::from_utf8_lossy(&asked.stdout).into_owned()
    };
    let start = Instant::now();
    while ask("client") != "200" {
        assert!(start.elapsed() < PATIENCE, "{}", ask("client"));
        thread::sleep(Duration::from_millis(50));
    }
    assert_eq!(ask("stranger"), "000");
}

#[cfg(feature = "envoy")]
#[test]
fn keyfob_serve_and_keyfob_gateway_answer_over_grpc() {
    let authority = crate::gateway::Authority::new();
    let key = authority.program.create(&["laptop"]);
    let all = authority.replica_key("operators", "control:operators");
    let [of_serve, of_gateway] =
        [(); 2].map(|()| format!("127.0.0.1:{}", keyfob_testkit::port::free_port()));
    let _server = authority.serve_with(&["--auth-grpc-listen", &of_serve]);
    let elsewhere = Program::bare();
    let args = ["--auth-grpc-listen", &of_gateway];
    let _gateway = authority.gateway(&elsewhere, &all, &args);
    for address in [of_serve, of_gateway] {
        let start = Instant::now();
        while !ask_over_grpc(&elsewhere, &address, &key, "orders").contains("user:alice") {
            assert!(start.elapsed() < PATIENCE, "{address} accepts no key");
            thread::sleep(Duration::from_millis(50));
        }
        for (key, namespace, reason) in [
            (&*key, "other", "wrong_namespace"),
            ("x", "orders", "malformed"),
        ] {
            let answer = ask_over_grpc(&elsewhere, &address, key, namespace);
            let refused = answer.contains(reason) && !answer.contains("user:alice");
            assert!(refused, "{address} with a key of orders in {namespace}");
        }
    }
}

/// The bytes of an answer to a question as Envoy asks it, as far as they are text.
#[cfg(feature = "envoy")]
fn ask_over_grpc(program: &Program, address: &str, key: &str, namespace: &str) -> String {
    // A field of a message of protocol buffers whose value has a length.
    let field = |tag: u8, value: &[u8]| {
        let length = u16::try_from(value.len()).unwrap();
        let [low, high] =
            [length & 0x7f | 0x80, length >> 7].map(|part| u8::try_from(part).unwrap());
        [&[tag << 3 | 2, low, high][..], value].concat()
    };
    let credential = basic(key);
    let credential = credential.trim_start_matches("Authorization: ");
    let header = [field(1, b"authorization"), field(2, credential.as_bytes())];
    let path = format!("/api/v1/namespaces/{namespace}/actions");
    let http = [
        field(2, b"GET"),
        field(3, &header.concat()),
        field(4, path.as_bytes()),
        field(5, b"gw.test"),
    ];
    let message = field(1, &field(4, &field(2, &http.concat())));
    let length = u32::try_from(message.len()).unwrap().to_be_bytes();
    program.write("question", [&[0][..], &length, &message].concat());
    let asked = std::process::Command::new("curl")
        .args([
            "-s",
            "--http2-prior-knowledge",
            "-H",
            "content-type: application/grpc",
        ])
        .args(["-H", "te: trailers", "--data-binary", "@question"])
        .arg(format!(
            "http://{address}/envoy.service.auth.v3.Authorization/Check"
        ))
        .current_dir(program.folder())
        .output()
        .expect("there is a `curl`");
    String::from_utf8_lossy(&asked.stdout).into_owned()
}

#[test]
fn the_log_of_a_refused_peer_names_the_setting_that_lets_it_ask() {
    let program = program().with("KEYFOB_AUTH_PEERS", "192.0.2.1");
    let key = program.create(&["laptop"]);
    let server = Server::start(&program, &[]);
    assert_eq!(server.auth(&key, "orders"), 403);
    let log = server.kill();
    assert!(log.contains("KEYFOB_AUTH_PEERS"), "{log}");
    assert!(log.contains("peer=127.0.0.1"), "{log}");
}

#[test]
fn the_first_start_prints_the_scheme_with_which_proxies_ask() {
    let program = Program::bare()
        .with("KEYFOB_AUTH_TLS_CERTIFICATE", "server.pem")
        .with("KEYFOB_AUTH_TLS_KEY", "server.key");
    Authority::new(program.folder(), "authority").issue(program.folder(), "server");
    let mut child = std::process::Command::new(BINARY)
        .args(["serve", "--listen", "127.0.0.1:0"])
        .args(["--auth-listen", "127.0.0.1:0"])
        .current_dir(program.folder())
        .env_clear()
        .envs(program.environment())
        .stdin(Stdio::null())
        // It has the credential.
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the server starts");
    let lines = BufReader::new(child.stderr.take().expect("it is piped")).lines();
    let mut text = String::new();
    for line in lines.map_while(Result::ok) {
        text.push_str(&line);
        text.push('\n');
        if line.contains("/docs") {
            break;
        }
    }
    let _ = child.kill();
    let _ = child.wait();
    let listens = pattern("listening on http://(\\S+), for proxies on https://(\\S+);");
    let listens = listens.captures(&text).expect("both addresses");
    let (control, auth) = (&listens[1], &listens[2]);
    for (url, count) in [
        (format!("https://{auth}/auth/o"), 2),
        (format!("http://{auth}"), 0),
        (format!("https://{control}"), 0),
        (format!("http://{control}/v2/"), 1),
    ] {
        assert_eq!(text.matches(&*url).count(), count, "{url}: {text}");
    }
    assert!(text.contains("--cacert"), "{text}");
}

#[test]
fn settings_that_cannot_work_are_refused_with_their_place() {
    for (text, said) in [
        (
            "request = \"guess\"",
            "auth_request: must be one of named, x-original-uri",
        ),
        (
            "peers = \"10.0.0.0/40\"",
            "auth_peers: must be addresses or networks",
        ),
        (
            "refusal = \"html\"",
            "auth_refusal: must be problem, openwhisk or contract",
        ),
        (
            "schemes = \"basic\"",
            "auth_schemes: must be basic,bearer or bearer",
        ),
        (
            "tls_key = \"a\"",
            "auth.tls_key: needs auth.tls_certificate",
        ),
        (
            "max_age = \"1m\"",
            "auth.max_age: must not be longer than stale_after",
        ),
        ("listn = \"a\"", "line 2, column 1: unknown field `listn`"),
        ("identity_keys = \"none.pem\"\nlisten = \"off\"", "none.pem"),
        (
            "[[auth.rules]]\npath = \"/{namespace}\"",
            "auth.rules: are about the request, but auth.request is \"named\"",
        ),
        (
            "request = \"appended\"\nnamespace_header = \"x-ns\"",
            "auth.namespace_header: is read only if",
        ),
        (
            "request = \"appended\"\n[[auth.rules]]\npath = \"/x\"",
            "auth.rules: rule 1 says of no namespace",
        ),
        (
            "request = \"appended\"\n[[auth.rules]]\npath = \"x\"",
            "auth.rules: path of rule 1 must begin with /",
        ),
        (
            "request = \"appended\"\n[[auth.rules]]\nhost = \"X\"",
            "auth.rules: host of rule 1 must be a host name",
        ),
        (
            "request = \"appended\"\n[[auth.rules]]\nmethods = [\"GET\"]",
            "auth.rules: path of rule 1 is missing",
        ),
    ] {
        let program = Program::bare().with("KEYFOB_CONFIG", "keyfob.toml");
        program.write("keyfob.toml", format!("[auth]\n{text}\n"));
        let ran = program.run(&["serve", "--listen", "127.0.0.1:0"]);
        assert_ne!(ran.code, 0, "{text}");
        assert!(ran.err.contains(said), "{text}: {}", ran.err);
    }
}
