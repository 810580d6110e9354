//! The example `gateway` as a child process, with a minimal HTTP/1.1 client.

use std::{
    collections::BTreeMap,
    env,
    fmt::Write as _,
    fs,
    io::{self, BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::{OnceLock, mpsc},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::Value;

/// Time limit for each step of the gateway.
const TIMEOUT: Duration = Duration::from_secs(20);

/// A running gateway, which is killed when the value is dropped.
///
/// It does not implement `Debug`, because it holds plaintext keys.
pub(crate) struct GatewayProcess {
    child: Child,
    log: Option<JoinHandle<String>>,
    address: SocketAddr,
    keys: BTreeMap<String, String>,
}

impl GatewayProcess {
    /// Starts a gateway on a free port.
    pub(crate) fn start(args: &[&str]) -> Self {
        let mut child = Command::new(binary())
            .args(["--port", "0", "--json"])
            .args(args)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the gateway starts");
        let stdout = child.stdout.take().expect("stdout is piped");
        let mut stderr = child.stderr.take().expect("stderr is piped");
        let log = thread::spawn(move || {
            let mut text = Vec::new();
            // If reading fails, the log is what was read before the failure.
            let _ = stderr.read_to_end(&mut text);
            String::from_utf8_lossy(&text).into_owned()
        });
        let (sender, receiver) = mpsc::channel();
        thread::spawn(move || {
            let mut line = String::new();
            let _ = BufReader::new(stdout).read_line(&mut line);
            let _ = sender.send(line);
        });
        // From here on, `Drop` kills the child if the test panics.
        let mut process = Self {
            child,
            log: Some(log),
            address: SocketAddr::from(([127, 0, 0, 1], 0)),
            keys: BTreeMap::new(),
        };
        let line = receiver
            .recv_timeout(TIMEOUT)
            .expect("the gateway says where it listens");
        // The line contains secrets, so no message repeats any part of it.
        let hello: Value = serde_json::from_str(&line).expect("the first line is JSON");
        process.address = hello["address"]
            .as_str()
            .and_then(|text| text.parse().ok())
            .expect("the first line has an address");
        assert!(process.address.ip().is_loopback());
        process.keys = hello["keys"]
            .as_object()
            .expect("the first line has keys")
            .iter()
            .map(|(label, key)| (label.clone(), key.as_str().expect("a key is text").into()))
            .collect();
        process
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Returns the plaintext key with this label.
    pub(crate) fn key(&self, label: &str) -> &str {
        &self.keys[label]
    }

    /// Sends a request without a body, with these header lines.
    pub(crate) fn send(&self, method: &str, target: &str, headers: &[&str]) -> Answer {
        self.send_body(method, target, headers, b"")
    }

    /// Sends a request with these header lines and this body.
    pub(crate) fn send_body(
        &self,
        method: &str,
        target: &str,
        headers: &[&str],
        body: &[u8],
    ) -> Answer {
        let mut request = format!("{method} {target} HTTP/1.1\r\nHost: gateway\r\n");
        for header in headers {
            write!(request, "{header}\r\n").expect("a string takes text");
        }
        write!(request, "Content-Length: {}\r\n", body.len()).expect("a string takes text");
        request.push_str("Connection: close\r\n\r\n");
        self.exchange(&[request.as_bytes(), body].concat())
    }

    /// Sends these bytes, and reads the response to its end.
    pub(crate) fn exchange(&self, request: &[u8]) -> Answer {
        let mut stream =
            TcpStream::connect_timeout(&self.address, TIMEOUT).expect("the gateway listens");
        stream
            .set_read_timeout(Some(TIMEOUT))
            .and_then(|()| stream.set_write_timeout(Some(TIMEOUT)))
            .expect("a socket takes time-outs");
        stream
            .write_all(request)
            .expect("the gateway takes the request");
        let mut answer = Vec::new();
        stream
            .take(1 << 24)
            .read_to_end(&mut answer)
            .expect("the gateway answers in time");
        Answer::parse(&String::from_utf8(answer).expect("the answer is text"))
    }

    /// Removes a member of the team `acme`, as the operator.
    pub(crate) fn remove_member(&self, user: &str) {
        let target = format!("/teams/acme/members/{user}");
        let removed = self.send("DELETE", &target, &[&bearer(self.key("operator"))]);
        assert_eq!(removed.status, 204);
    }

    /// Stops the gateway and returns its log, after checking that it contains no secret.
    pub(crate) fn end(mut self) -> String {
        // If it has already stopped, there is nothing to kill.
        let _ = self.child.kill();
        self.child.wait().expect("the gateway ends");
        let log = self.log.take().expect("the log was not taken before");
        let log = log.join().expect("the log is read to its end");
        for (label, key) in &self.keys {
            let (_, secret) = key.split_once(':').expect("a credential has a colon");
            // What Basic sends, without the part that depends on the text before the secret.
            let encoded = &STANDARD.encode(key)[64..];
            let said = [secret, encoded].iter().any(|text| log.contains(text));
            assert!(!said, "the log holds the secret of {label}");
        }
        log
    }

    /// Interrupts the gateway as ctrl-c does, and returns its exit status.
    #[cfg(unix)]
    pub(crate) fn interrupt(&mut self) -> ExitStatus {
        let id = self.child.id().to_string();
        let sent = Command::new("kill").args(["-INT", &id]).status();
        assert!(sent.expect("kill starts").success());
        wait(&mut self.child, TIMEOUT).expect("the gateway stops in time")
    }
}

impl Drop for GatewayProcess {
    fn drop(&mut self) {
        // It may have stopped already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A response of the gateway.
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// The status line and the header without `Date`, then the body.
    pub(crate) text: String,
    head_len: usize,
}

impl Answer {
    fn parse(answer: &str) -> Self {
        let (head, body) = answer
            .split_once("\r\n\r\n")
            .expect("the answer has a header");
        let lines = head.split("\r\n");
        let head: String = lines
            .filter(|line| !line.to_ascii_lowercase().starts_with("date:"))
            .fold(String::new(), |head, line| head + line + "\r\n");
        Self {
            status: head
                .split(' ')
                .nth(1)
                .and_then(|status| status.parse().ok())
                .expect("the answer has a status"),
            head_len: head.len(),
            text: head + body,
        }
    }

    /// Returns the value of a header field.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.text[..self.head_len]
            .lines()
            .filter_map(|line| line.split_once(": "))
            .find(|(field, _)| field.eq_ignore_ascii_case(name))
            .map(|(_, value)| value)
    }

    /// Parses the body as JSON.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text[self.head_len..]).expect("the body is JSON")
    }
}

/// Returns an `Authorization` header line with a credential as HTTP Basic.
pub(crate) fn basic(text: &str) -> String {
    format!("Authorization: Basic {}", STANDARD.encode(text))
}

/// Returns an `Authorization` header line with a key as bearer token.
pub(crate) fn bearer(text: &str) -> String {
    format!("Authorization: Bearer {text}")
}

/// Waits for a child, and kills it after the timeout.
pub(crate) fn wait(child: &mut Child, timeout: Duration) -> Option<ExitStatus> {
    let start = Instant::now();
    while start.elapsed() < timeout {
        if let Some(status) = child.try_wait().expect("a child can be waited for") {
            return Some(status);
        }
        thread::sleep(Duration::from_millis(20));
    }
    child.kill().expect("a child can be killed");
    child.wait().expect("a killed child ends");
    None
}

/// Returns the path of the example's program. `cargo test` builds it together with the tests; a run
/// of a single test does not, and then it is built here if it is missing or older than its source.
fn binary() -> PathBuf {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    let binary = BINARY.get_or_init(|| {
        let deps = env::current_exe().expect("a test knows where it is");
        let beside = deps
            .parent()
            .and_then(|deps| deps.parent())
            .expect("tests are two folders deep")
            .join("examples")
            .join(format!("gateway{}", env::consts::EXE_SUFFIX));
        if is_current(&beside).unwrap_or(false) {
            beside
        } else {
            build()
        }
    });
    binary.clone()
}

fn is_current(binary: &Path) -> io::Result<bool> {
    let built = fs::metadata(binary)?.modified()?;
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut places = vec![root.join("src"), root.join("examples/gateway")];
    while let Some(place) = places.pop() {
        for entry in fs::read_dir(place)? {
            let entry = entry?;
            let metadata = entry.metadata()?;
            if metadata.is_dir() {
                places.push(entry.path());
            } else if metadata.modified()? > built {
                return Ok(false);
            }
        }
    }
    Ok(true)
}

fn build() -> PathBuf {
    let mut cargo = Command::new(env!("CARGO"));
    // The variables that cargo sets for a test would make build scripts run again.
    let told = env::vars_os().map(|(name, _)| name).filter(|name| {
        let name = name.to_string_lossy();
        name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_")
    });
    told.for_each(|name| {
        cargo.env_remove(name);
    });
    let output = cargo
        .args(["build", "--example", "gateway", "--features", "import"])
        .args(["--message-format", "json-render-diagnostics"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .stderr(Stdio::inherit())
        .output()
        .expect("cargo starts");
    assert!(output.status.success(), "the example does not build");
    output
        .stdout
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(&line.ok()?).ok())
        .filter(|message| message["target"]["name"] == "gateway")
        .find_map(|message| message["executable"].as_str().map(PathBuf::from))
        .expect("cargo says where the example is")
}
