//! The examples of a gateway and a control plane on one database, as processes.

use std::{
    env,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::TcpStream,
    path::PathBuf,
    process::{Child, ChildStderr, Command, Stdio},
    time::{Duration, Instant},
};

use keyfob_testkit::postgres as server;

/// A running example, killed when it goes.
struct Example {
    child: Child,
    lines: BufReader<ChildStderr>,
}

impl Example {
    fn start(name: &str, url: &str) -> Self {
        let mut child = Command::new(folder().join("examples").join(name))
            .arg("127.0.0.1:0")
            .env("DATABASE_URL", url)
            .stderr(Stdio::piped())
            .spawn()
            .expect("the example was built with the tests");
        let lines = BufReader::new(child.stderr.take().expect("standard error is a pipe"));
        Self { child, lines }
    }

    /// What the next line of this beginning goes on with.
    fn told(&mut self, beginning: &str) -> String {
        loop {
            let mut line = String::new();
            let read = self.lines.read_line(&mut line).expect("the line is UTF-8");
            assert!(read > 0, "the example ended before it said: {beginning}");
            if let Some(rest) = line.trim_end().strip_prefix(beginning) {
                return rest.to_owned();
            }
        }
    }
}

impl Drop for Example {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Builds the examples with the features of the whole workspace: `cargo test --workspace` has built them so. For
/// this package alone, cargo would compile most dependencies again, with fewer features. A run of this test
/// alone has built no example.
fn build() {
    let profile = folder().file_name().expect("a profile").to_owned();
    let profile = if profile == "debug" {
        "dev".into()
    } else {
        profile
    };
    let mut cargo = Command::new(env!("CARGO"));
    // What cargo tells a test about its package would make build scripts run again.
    for (name, _) in env::vars_os() {
        let text = name.to_string_lossy();
        if text.starts_with("CARGO_PKG_") || text.starts_with("CARGO_MANIFEST_") {
            cargo.env_remove(name);
        }
    }
    let built = cargo
        .args(["build", "--locked", "--workspace", "--profile"])
        .arg(profile)
        .args([
            "--example",
            "postgres_gateway",
            "--example",
            "postgres_control_plane",
        ])
        .arg("--target-dir")
        .arg(folder().parent().expect("the folder of targets"))
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .status();
    assert!(built.expect("cargo runs").success());
}

/// The folder of the profile that the test was built with, `target/debug`.
fn folder() -> PathBuf {
    let test = env::current_exe().expect("the test has a path");
    let folder = test.parent().and_then(|deps| deps.parent());
    folder.expect("tests are in target/debug/deps").to_owned()
}

/// The status and the body of an HTTP response.
fn call(address: &str, method: &str, path: &str, key: &str, body: &str) -> (u16, String) {
    let mut socket = TcpStream::connect(address).expect("the example listens");
    let limit = Some(Duration::from_secs(30));
    socket.set_read_timeout(limit).expect("a limit");
    write!(
        socket,
        "{method} {path} HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer {key}\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    )
    .expect("the request can be sent");
    let mut answer = String::new();
    socket.read_to_string(&mut answer).expect("UTF-8");
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head and a body");
    let status = head.split(' ').nth(1).and_then(|code| code.parse().ok());
    (status.expect("a status"), body.to_owned())
}

/// The text of a field in a JSON object without escapes.
fn field(json: &str, name: &str) -> String {
    let from = json.split_once(&format!("\"{name}\":\""));
    let (_, rest) = from.expect("the field is there");
    rest.split('"').next().unwrap_or_default().to_owned()
}

#[test]
fn a_key_of_the_control_plane_opens_the_gateway_until_it_is_revoked() {
    server::run(async {
        build();
        let database = server::shared().database().await;
        let mut control_plane = Example::start("postgres_control_plane", &database.url());
        let operator = control_plane.told("operator's credential: ");
        let control_plane_at = control_plane.told("listening on ");
        let mut gateway = Example::start("postgres_gateway", &database.url());
        let gateway_at = gateway.told("listening on ");
        let orders = "/v2/functions/namespaces/orders/keys";

        let body = r#"{"name": "laptop", "owner": "user:alice"}"#;
        let (status, answer) = call(&control_plane_at, "POST", orders, &operator, body);
        assert_eq!(status, 201, "{answer}");
        let (id, secret) = (field(&answer, "id"), field(&answer, "secret"));
        let key = format!("{id}:{secret}");
        let enter = || call(&gateway_at, "GET", "/orders", &key, "");
        let until = |status| {
            let start = Instant::now();
            while enter().0 != status {
                assert!(start.elapsed() < Duration::from_secs(5), "never {status}");
                std::thread::sleep(Duration::from_millis(20));
            }
        };
        until(200);
        assert_eq!(enter().1, "user:alice");

        let path = format!("{orders}/{id}");
        let (status, answer) = call(&control_plane_at, "DELETE", &path, &operator, "");
        assert_eq!(status, 200, "{answer}");
        until(401);
        assert_eq!(call(&gateway_at, "GET", "/readyz", "", "").0, 200);
    });
}
