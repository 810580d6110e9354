//! Runs `OpenWhisk`'s own client from npm against the example `gateway`.
//!
//! Needs Node.js and npm. Without them the tests print a message and pass, unless `CI=true` is set.

#[path = "gateway/process.rs"]
#[expect(
    dead_code,
    reason = "here the client calls the gateway, not the test itself"
)]
mod process;

use std::{
    env, fs,
    io::{self, Read, Write},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::OnceLock,
    thread,
    time::Duration,
};

use serde_json::{Value, json};

use process::{GatewayProcess, wait};

#[test]
fn the_client_accepts_a_key_in_place_of_a_legacy_credential() {
    let Some(client) = Client::installed() else {
        return;
    };
    let gateway = GatewayProcess::start(&[]);
    for (label, namespace) in [
        ("alice", "fn-demo"),
        ("service", "fn-demo"),
        ("carol", "fn-other"),
        ("guest", "guest"),
    ] {
        client
            .run(&gateway, label, namespace)
            .assert_served(namespace);
        client.run(&gateway, label, "_").assert_served(namespace);
    }
    gateway.end();
}

#[test]
fn a_removed_member_is_refused_and_other_members_are_served() {
    let Some(client) = Client::installed() else {
        return;
    };
    let gateway = GatewayProcess::start(&[]);
    client
        .run(&gateway, "bob", "fn-demo")
        .assert_served("fn-demo");
    gateway.remove_member("bob");
    client
        .run(&gateway, "bob", "fn-demo")
        .assert_refused(401, "unauthorized");
    for label in ["alice", "service"] {
        client
            .run(&gateway, label, "fn-demo")
            .assert_served("fn-demo");
    }
    client
        .run(&gateway, "guest", "guest")
        .assert_served("guest");
    gateway.end();
}

#[test]
fn the_client_reports_refusals_with_their_status() {
    let Some(client) = Client::installed() else {
        return;
    };
    let gateway = GatewayProcess::start(&["--sunset", "2020-01-01T00:00:00Z"]);
    client
        .run(&gateway, "guest", "guest")
        .assert_refused(401, "unauthorized");

    let report = client.run(&gateway, "alice", "fn-other").0;
    for call in ["result", "activation", "accepted", "actions"] {
        assert_eq!(
            report[call],
            json!({"statusCode": 403, "code": "forbidden"}),
            "{call}"
        );
    }
    // Every key may list its own namespace.
    assert_eq!(report["namespaces"], json!({"value": ["fn-demo"]}));
    gateway.end();
}

/// The client, installed in a separate folder.
struct Client {
    folder: PathBuf,
}

impl Client {
    /// Installs the client once for all tests. Returns `None` if that is not possible.
    fn installed() -> Option<&'static Self> {
        static CLIENT: OnceLock<Option<Client>> = OnceLock::new();
        CLIENT.get_or_init(Self::install).as_ref()
    }

    fn install() -> Option<Self> {
        for program in ["node", "npm"] {
            let answers = Command::new(program)
                .arg("--version")
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .status();
            if !answers.is_ok_and(|status| status.success()) {
                let wanted =
                    format!("install Node.js 18 or later with npm: {program} does not run");
                assert!(env::var("CI").as_deref() != Ok("true"), "{wanted}");
                // Bypasses the capture of test output, which would hide the message.
                let _ = writeln!(io::stderr(), "skipped: {wanted}");
                return None;
            }
        }
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients/openwhisk");
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("openwhisk-client");
        fs::create_dir_all(&folder).expect("the target folder can be written");
        for file in ["package.json", "package-lock.json", "client.mjs"] {
            fs::copy(source.join(file), folder.join(file)).expect("the client can be copied");
        }
        let mut install = Command::new("npm");
        install
            .args(["ci", "--ignore-scripts", "--no-audit", "--no-fund"])
            .current_dir(&folder);
        run(install, Duration::from_secs(120), "npm ci");
        Some(Self { folder })
    }

    /// Runs all calls of the client with the key of this label.
    fn run(&self, gateway: &GatewayProcess, label: &str, namespace: &str) -> Report {
        let mut node = Command::new("node");
        node.arg("client.mjs")
            .current_dir(&self.folder)
            // Ignores proxy settings of the machine and npm settings of the user.
            .env_clear()
            .env("PATH", env::var_os("PATH").unwrap_or_default())
            .env("KEYFOB_API_HOST", format!("http://{}", gateway.address()))
            .env("KEYFOB_API_KEY", gateway.key(label))
            .env("KEYFOB_NAMESPACE", namespace);
        let output = run(node, Duration::from_secs(60), "node client.mjs");
        Report(serde_json::from_str(&output).expect("the client prints JSON"))
    }
}

/// The outcome of each call of the client.
struct Report(Value);

impl Report {
    fn assert_served(&self, namespace: &str) {
        let Self(report) = self;
        let echoed = json!({"greeting": "hello", "n": 1});
        assert_eq!(report["result"]["value"], echoed);
        let activation = &report["activation"]["value"];
        assert_eq!(activation["response"]["result"], echoed);
        assert_eq!(activation["namespace"], namespace);
        assert!(report["accepted"]["value"]["activationId"].is_string());
        let actions = report["actions"]["value"]
            .as_array()
            .expect("a list of actions");
        let names = actions.iter().map(|action| &action["name"]);
        assert_eq!(names.collect::<Vec<_>>(), ["echo", "hello", "whoami"]);
        assert!(
            actions
                .iter()
                .all(|action| action["namespace"] == namespace)
        );
        assert_eq!(report["namespaces"]["value"], json!([namespace]));
    }

    fn assert_refused(&self, status: u16, code: &str) {
        let calls = self.0.as_object().expect("an outcome for each call");
        assert_eq!(calls.len(), 5);
        for (call, outcome) in calls {
            assert_eq!(
                *outcome,
                json!({"statusCode": status, "code": code}),
                "{call}"
            );
        }
    }
}

/// Runs a program to its end within the timeout, and returns its output.
fn run(mut command: Command, timeout: Duration, what: &str) -> String {
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program starts");
    let mut stdout = child.stdout.take().expect("stdout is piped");
    let mut stderr = child.stderr.take().expect("stderr is piped");
    // Read while the program runs: a full pipe would block it.
    let printed = thread::spawn(move || {
        let mut text = String::new();
        stdout.read_to_string(&mut text).map(|_| text)
    });
    let complaints = thread::spawn(move || {
        let mut text = String::new();
        stderr.read_to_string(&mut text).map(|_| text)
    });
    let status = wait(&mut child, timeout);
    let status = status.unwrap_or_else(|| panic!("{what} took longer than {timeout:?}"));
    let complaints = complaints.join().expect("stderr is read");
    let complaints = complaints.expect("stderr is text");
    assert!(status.success(), "{what} failed ({status}): {complaints}");
    printed
        .join()
        .expect("stdout is read")
        .expect("stdout is text")
}
