//! The program as a server, and a minimal HTTP/1.1 client.

use std::{
    fmt::Write as _,
    io::{self, BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpStream},
    process::{Child, Command, Stdio},
    sync::mpsc,
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::Value;

use crate::program::{BINARY, Program};

/// The time limit for every response of the server.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// A running server. It is killed on drop.
pub(crate) struct Server {
    child: Child,
    log: Option<JoinHandle<String>>,
    pub(crate) address: SocketAddr,
    /// Where proxies ask; the same address if the command has no other.
    pub(crate) asked_at: SocketAddr,
    /// The operator's credential if this was the first start.
    pub(crate) operator: Option<String>,
    /// Where the control panel is, if there is one.
    pub(crate) panel: Option<String>,
}

impl Server {
    /// Starts one on a free port of loopback.
    pub(crate) fn start(program: &Program, args: &[&str]) -> Self {
        Self::start_command(program, "serve", args)
    }

    /// Starts another command that serves.
    pub(crate) fn start_command(program: &Program, name: &str, args: &[&str]) -> Self {
        let mut command = Command::new(BINARY);
        command.arg(name);
        Self::start_as(command, program, args)
    }

    /// Starts one in a shell that first runs `limits`.
    pub(crate) fn start_within(program: &Program, limits: &str, args: &[&str]) -> Self {
        let mut shell = Command::new("sh");
        let line = format!("{limits} && exec {BINARY} \"$@\"");
        shell.args(["-c", &line, "keyfob", "serve"]);
        Self::start_as(shell, program, args)
    }

    fn start_as(mut command: Command, program: &Program, args: &[&str]) -> Self {
        let given = args.contains(&"--listen");
        let listen = if given {
            &[][..]
        } else {
            &["--listen", "127.0.0.1:0"]
        };
        let mut child = command
            .args(["--output", "json"])
            .args(listen)
            .args(args)
            .current_dir(program.folder())
            .env_clear()
            .env("KEYFOB_AUTH_LISTEN", "127.0.0.1:0")
            .envs(program.environment())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the server starts");
        let stdout = child.stdout.take().expect("stdout is piped");
        let mut stderr = child.stderr.take().expect("stderr is piped");
        let log = thread::spawn(move || {
            let mut text = Vec::new();
            // The log is what was read before an error.
            let _ = stderr.read_to_end(&mut text);
            String::from_utf8_lossy(&text).into_owned()
        });
        let (sender, receiver) = mpsc::channel();
        thread::spawn(move || {
            let mut line = String::new();
            let _ = BufReader::new(stdout).read_line(&mut line);
            let _ = sender.send(line);
        });
        // From here on a panic kills the child.
        let mut server = Self {
            child,
            log: Some(log),
            address: SocketAddr::from(([127, 0, 0, 1], 0)),
            asked_at: SocketAddr::from(([127, 0, 0, 1], 0)),
            operator: None,
            panel: None,
        };
        let line = receiver.recv_timeout(PATIENCE);
        let line = line.expect("the server says where it listens");
        // The line may contain a secret: no message repeats it.
        let hello: Value = serde_json::from_str(&line).unwrap_or_default();
        let address = hello["address"].as_str().and_then(|text| match text {
            // Over a socket it has none.
            text if text.starts_with("unix:") => Some(server.address),
            text => text.parse().ok(),
        });
        let Some(address) = address else {
            let log = server.kill();
            panic!("no address, but: {log}");
        };
        server.address = address;
        let asked_at = hello["auth"].as_str().and_then(|text| text.parse().ok());
        server.asked_at = asked_at.unwrap_or(address);
        assert!(server.address.ip().is_loopback());
        server.operator = hello["operator"].as_str().map(str::to_owned);
        server.panel = hello["panel"].as_str().map(str::to_owned);
        server
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal, after which the server goes on or stands still.
    pub(crate) fn signal(&self, signal: &str) {
        let pid = self.child.id().to_string();
        let sent = Command::new("kill").args([signal, &pid]).status();
        assert!(sent.expect("there is a `kill`").success());
    }

    /// The status of `/auth` for a credential and a namespace.
    pub(crate) fn auth(&self, credential: &str, namespace: &str) -> u16 {
        let target = format!("/auth/{namespace}");
        self.send("GET", &target, &[&basic(credential)], "").status
    }

    /// Repeats it until the status is this one, and returns how long that took.
    pub(crate) fn await_auth(&self, credential: &str, namespace: &str, status: u16) -> Duration {
        let start = Instant::now();
        loop {
            let answer = self.auth(credential, namespace);
            let took = start.elapsed();
            if answer == status {
                return took;
            }
            assert!(took < PATIENCE, "still {answer}, and not {status}");
            thread::sleep(Duration::from_millis(10));
        }
    }

    /// Waits until the server is ready.
    pub(crate) fn await_ready(&self) {
        let start = Instant::now();
        while self.send("GET", "/readyz", &[], "").status != 200 {
            assert!(start.elapsed() < PATIENCE, "the server does not get ready");
            thread::sleep(Duration::from_millis(10));
        }
    }

    /// Sends a request that is answered.
    pub(crate) fn send(&self, method: &str, target: &str, headers: &[&str], body: &str) -> Answer {
        self.try_send(method, target, headers, body)
            .expect("the server answers")
    }

    /// Sends a request.
    pub(crate) fn try_send(
        &self,
        method: &str,
        target: &str,
        headers: &[&str],
        body: &str,
    ) -> io::Result<Answer> {
        let is_question = target.starts_with("/auth") || target.starts_with("/.well-known");
        let address = if is_question {
            self.asked_at
        } else {
            self.address
        };
        try_send(address, method, target, headers, body)
    }

    /// Creates a key over HTTP, and returns its credential if the server answers.
    pub(crate) fn create(&self, operator: &str, namespace: &str, name: &str) -> Option<String> {
        let target = format!("/v2/functions/namespaces/{namespace}/keys");
        let headers = [&*bearer(operator), "Content-Type: application/json"];
        let body = serde_json::json!({ "name": name }).to_string();
        let answer = self.try_send("POST", &target, &headers, &body).ok()?;
        assert_eq!(
            answer.status,
            201,
            "{}",
            crate::program::redacted(&answer.body)
        );
        let key = &serde_json::from_str::<Value>(&answer.body).ok()?["access_key"];
        Some(format!(
            "{}:{}",
            key["id"].as_str()?,
            key["secret"].as_str()?
        ))
    }

    /// Kills the server, and returns its log.
    pub(crate) fn kill(mut self) -> String {
        // It may have exited by itself.
        let _ = self.child.kill();
        self.child.wait().expect("the server ends");
        self.log()
    }

    /// Stops the server with a signal, and returns its exit code and its log.
    pub(crate) fn stop(mut self, signal: &str) -> (Option<i32>, String) {
        let pid = self.child.id().to_string();
        let sent = Command::new("kill").args([signal, &pid]).status();
        assert!(sent.expect("there is a `kill`").success());
        let status = self.child.wait().expect("the server ends");
        (status.code(), self.log())
    }

    /// Waits until the server ends by itself, and returns its exit code and its log.
    pub(crate) fn ended(mut self) -> (Option<i32>, String) {
        let start = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().expect("it is a child") {
                return (status.code(), self.log());
            }
            assert!(start.elapsed() < 2 * PATIENCE, "the server does not end");
            thread::sleep(Duration::from_millis(20));
        }
    }

    fn log(&mut self) -> String {
        let log = self.log.take().expect("the log was not taken before");
        log.join().expect("the log is read to its end")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Sends a request that is answered.
pub(crate) fn send(
    address: SocketAddr,
    method: &str,
    target: &str,
    headers: &[&str],
    body: &str,
) -> Answer {
    try_send(address, method, target, headers, body).expect("an answer")
}

fn try_send(
    address: SocketAddr,
    method: &str,
    target: &str,
    headers: &[&str],
    body: &str,
) -> io::Result<Answer> {
    let mut request = format!("{method} {target} HTTP/1.1\r\nHost: keyfob\r\n");
    for header in headers {
        let _ = write!(request, "{header}\r\n");
    }
    let _ = write!(request, "Content-Length: {}\r\n", body.len());
    request.push_str("Connection: close\r\n\r\n");
    request.push_str(body);
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(request.as_bytes())?;
    let mut answer = String::new();
    stream.take(1 << 24).read_to_string(&mut answer)?;
    Answer::parse(&answer).ok_or(io::ErrorKind::UnexpectedEof.into())
}

pub(crate) struct Answer {
    pub(crate) status: u16,
    head: String,
    pub(crate) body: String,
}

impl Answer {
    fn parse(text: &str) -> Option<Self> {
        let (head, body) = text.split_once("\r\n\r\n")?;
        let status = head.split(' ').nth(1)?.parse().ok()?;
        Some(Self {
            status,
            head: head.to_owned(),
            body: body.to_owned(),
        })
    }

    /// The value of a header field.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let fields = self.head.lines().filter_map(|line| line.split_once(": "));
        let mut named = fields.filter(|(field, _)| field.eq_ignore_ascii_case(name));
        named.next().map(|(_, value)| value)
    }
}

pub(crate) fn basic(credential: &str) -> String {
    format!("Authorization: Basic {}", STANDARD.encode(credential))
}

pub(crate) fn bearer(credential: &str) -> String {
    format!("Authorization: Bearer {credential}")
}
