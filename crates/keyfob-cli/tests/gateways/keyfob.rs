//! Two authorizers: `keyfob serve` on one store, or `keyfob gateway` of one feed.

use std::{
    fs,
    io::{BufRead as _, BufReader},
    net::SocketAddr,
    path::Path,
    process::{Child, Command, Stdio},
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use keyfob_proxies::{Kind, free_port};
use tempfile::TempDir;

const BINARY: &str = env!("CARGO_BIN_EXE_keyfob");

/// For how long a `keyfob gateway` answers without its authority.
pub(crate) const STALE_AFTER: Duration = Duration::from_secs(3);

/// The store, and two servers that answer gateways. They are killed with this value.
pub(crate) struct Keyfob {
    folder: TempDir,
    kind: Kind,
    ports: [u16; 2],
    servers: [Option<Child>; 2],
    /// What feeds the servers; none if they read the store themselves.
    feed: Option<Feed>,
}

/// A `keyfob serve` that feeds the authorizers, and answers no gateway itself.
struct Feed {
    port: u16,
    signer: String,
    server: Option<Child>,
}

impl Keyfob {
    /// Two `keyfob serve`, with these settings in `[auth]`.
    pub(crate) fn start(kind: Kind, auth: &str) -> Self {
        let mut keyfob = Self::new(kind, auth);
        keyfob.serve(0);
        keyfob.serve(1);
        keyfob
    }

    /// One `keyfob serve`, at both addresses: it counts all attempts.
    pub(crate) fn start_one(kind: Kind, auth: &str) -> Self {
        let mut keyfob = Self::new(kind, auth);
        keyfob.ports[1] = keyfob.ports[0];
        keyfob.serve(0);
        keyfob
    }

    /// Two `keyfob gateway`, which have no access to the store, and a `keyfob serve` that feeds them.
    pub(crate) fn start_fed(kind: Kind, auth: &str) -> Self {
        let mut keyfob = Self::new(kind, auth);
        let created = keyfob.run(&["feed", "create", "feed.keys", "--output", "json"]);
        let (_, signer) = created.split_once("keyfob-feed-v1:").expect("a signer");
        let signer = signer.split('"').next().unwrap_or_default();
        let operators = "control:operators";
        keyfob.run(&["namespaces", "create", operators, "--team", "operators"]);
        let place = ["--team", "operators", "--namespace", operators];
        let owner = ["--owner", "service:gateway", "--scope", "replica"];
        let create = ["keys", "create", "gateway"];
        let key = keyfob.run(&[&create[..], &owner, &place].concat());
        fs::write(keyfob.folder().join("gateway.key"), key).expect("the folder can be written");
        keyfob.feed = Some(Feed {
            port: free_port(),
            signer: format!("keyfob-feed-v1:{signer}"),
            server: None,
        });
        keyfob.serve_feed();
        keyfob.serve(0);
        keyfob.serve(1);
        keyfob
    }

    fn new(kind: Kind, auth: &str) -> Self {
        let folder = TempDir::new().unwrap();
        let file = settings(kind, auth);
        fs::write(folder.path().join("keyfob.toml"), file).unwrap();
        let key = ["genpkey", "-algorithm", "ed25519", "-out", "identity.pem"];
        openssl(folder.path(), &key);
        let keyfob = Self {
            folder,
            kind,
            ports: [free_port(), free_port()],
            servers: [None, None],
            feed: None,
        };
        keyfob.run(&["namespaces", "create", "orders"]);
        keyfob.run(&["namespaces", "create", "other"]);
        keyfob
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Whether identities are signed.
    pub(crate) fn signs(&self) -> bool {
        let settings = fs::read_to_string(self.folder().join("keyfob.toml"));
        settings.is_ok_and(|settings| settings.contains("identity_keys"))
    }

    /// The public key of signed identities.
    pub(crate) fn identity_key(&self) -> Vec<u8> {
        let read = ["pkey", "-in", "identity.pem", "-pubout", "-outform", "DER"];
        // The key is at the end of its description (RFC 8410).
        let mut described = openssl(self.folder(), &read);
        described.split_off(described.len() - 32)
    }

    /// Where gateways ask.
    pub(crate) fn addresses(&self) -> [SocketAddr; 2] {
        self.ports
            .map(|port| SocketAddr::from(([127, 0, 0, 1], port)))
    }

    /// Starts one of the servers, and waits until it decides calls.
    pub(crate) fn serve(&mut self, which: usize) {
        let log = format!("serve-{which}.log");
        let starts = || {
            let log = fs::read_to_string(self.folder().join(&log)).unwrap_or_default();
            log.matches(": serving ").count()
        };
        let before = starts();
        let port = format!("127.0.0.1:{}", self.ports[which]);
        let none = "127.0.0.1:0";
        let mut command = self.command();
        if let Some(feed) = &self.feed {
            let upstream = format!("http://127.0.0.1:{}", feed.port);
            let bound = format!("{}s", STALE_AFTER.as_secs());
            command
                .args(["gateway", "--upstream", &upstream, "--stale-after", &bound])
                .args(["--signers", &feed.signer])
                .args(["--credential-file", "gateway.key"]);
            match self.kind {
                Kind::EnvoyGrpc => command.args(["--listen", none, "--auth-grpc-listen", &port]),
                _ => command.args(["--listen", &port]),
            };
        } else {
            command.args(["serve", "--listen", none]);
            match self.kind {
                Kind::EnvoyGrpc => {
                    command.args(["--auth-listen", "off", "--auth-grpc-listen", &port])
                }
                _ => command.args(["--auth-listen", &port]),
            };
        }
        let server = self.spawn(command, &log);
        let began = Instant::now();
        while starts() == before && began.elapsed() < Duration::from_secs(30) {
            thread::sleep(Duration::from_millis(20));
        }
        self.servers[which] = Some(server);
    }

    /// Starts the `keyfob serve` that feeds the servers, and waits until it listens.
    pub(crate) fn serve_feed(&mut self) {
        let port = self.feed.as_ref().expect("the servers are fed").port;
        let address = format!("127.0.0.1:{port}");
        let mut command = self.command();
        command
            .args(["serve", "--listen", "127.0.0.1:0", "--auth-listen", "off"])
            .args(["--feed-listen", &address, "--feed-keys", "feed.keys"]);
        let server = Some(self.spawn(command, "feed.log"));
        self.feed.as_mut().expect("the servers are fed").server = server;
    }

    /// Starts a server, and waits until it listens.
    fn spawn(&self, mut command: Command, log: &str) -> Child {
        let log = fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.folder().join(log));
        let mut child = command
            .args(["--output", "json"])
            .stdout(Stdio::piped())
            .stderr(log.expect("the folder can be written"))
            .spawn()
            .expect("the server starts");
        let output = child.stdout.take().expect("it is piped");
        let (sender, receiver) = mpsc::channel();
        thread::spawn(move || {
            let mut line = String::new();
            let _ = BufReader::new(output).read_line(&mut line);
            let _ = sender.send(!line.is_empty());
        });
        // The line may contain a secret: no message repeats it.
        let listens = receiver.recv_timeout(Duration::from_secs(30));
        if listens != Ok(true) {
            let _ = child.kill();
            let _ = child.wait();
            panic!("the server does not start: {}", self.log());
        }
        child
    }

    /// The processes of the servers that run.
    pub(crate) fn pids(&self) -> [Option<u32>; 2] {
        let servers = self.servers.each_ref();
        servers.map(|server| server.as_ref().map(Child::id))
    }

    /// Sends a signal to one of the servers.
    pub(crate) fn signal(&self, which: usize, signal: &str) {
        send_signal(self.pids()[which].expect("it runs"), signal);
    }

    /// Sends a signal to the server that feeds the others.
    pub(crate) fn signal_feed(&self, signal: &str) {
        let server = self.feed.as_ref().and_then(|feed| feed.server.as_ref());
        send_signal(server.expect("it runs").id(), signal);
    }

    /// Asks one of the servers to stop, and waits until it has.
    pub(crate) fn stop(&mut self, which: usize) {
        self.signal(which, "-TERM");
        let mut server = self.servers[which].take().expect("it runs");
        let ended = server.wait().expect("it ends");
        assert!(ended.success(), "{ended}: {}", self.log());
    }

    /// Kills one of the servers.
    pub(crate) fn kill(&mut self, which: usize) {
        kill(self.servers[which].take());
    }

    /// Kills the server that feeds the others.
    pub(crate) fn kill_feed(&mut self) {
        kill(self.feed.as_mut().and_then(|feed| feed.server.take()));
    }

    /// Creates a key, and returns its credential.
    pub(crate) fn create(&self, namespace: &str, name: &str) -> String {
        self.run(&["keys", "create", name, "--namespace", namespace])
    }

    /// Runs a command, which must succeed, and returns its output.
    pub(crate) fn run(&self, args: &[&str]) -> String {
        let output = self.command().args(args).output().expect("it can be run");
        let error = String::from_utf8_lossy(&output.stderr);
        // The output may contain a secret; the error does not.
        assert!(output.status.success(), "{args:?}: {error}");
        String::from_utf8(output.stdout)
            .expect("text")
            .trim_end()
            .to_owned()
    }

    /// What the servers have logged.
    pub(crate) fn log(&self) -> String {
        let files = ["feed.log", "serve-0.log", "serve-1.log"];
        let read = |name| fs::read_to_string(self.folder().join(name)).unwrap_or_default();
        files.map(read).concat()
    }

    fn command(&self) -> Command {
        let mut command = Command::new(BINARY);
        command
            .current_dir(self.folder())
            .env_clear()
            .env("KEYFOB_CONFIG", self.folder().join("keyfob.toml"))
            .stdin(Stdio::null());
        command
    }
}

impl Drop for Keyfob {
    fn drop(&mut self) {
        let feed = self.feed.as_mut().and_then(|feed| feed.server.as_mut());
        for child in self.servers.iter_mut().flatten().chain(feed) {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn kill(server: Option<Child>) {
    let mut child = server.expect("it runs");
    child.kill().expect("it can be killed");
    child.wait().expect("it is gone");
}

/// Sends a signal, and waits until the process is stopped if it stops it.
fn send_signal(pid: u32, signal: &str) {
    let pid = pid.to_string();
    let sent = Command::new("kill").args([signal, &pid]).status();
    assert!(sent.expect("there is a `kill`").success());
    if signal == "-STOP" {
        let tasks = format!("/proc/{pid}/task");
        while !all_stopped(&tasks) {
            thread::sleep(Duration::from_millis(2));
        }
    }
}

/// Whether every thread is stopped: a thread may run on for a while after the signal was sent.
fn all_stopped(tasks: &str) -> bool {
    let tasks = fs::read_dir(tasks).expect("the process is there");
    tasks.flatten().all(|task| {
        let stat = fs::read_to_string(task.path().join("stat")).unwrap_or_default();
        stat.rsplit_once(") ")
            .is_none_or(|(_, rest)| rest.starts_with('T'))
    })
}

fn settings(kind: Kind, auth: &str) -> String {
    // Over gRPC nothing is asked at the other listener.
    let request = kind.request_setting().unwrap_or("appended");
    format!(
        "team = \"acme\"\nnamespace = \"orders\"\nas = \"alice\"\nprefix = \"acme\"\n\
         [serve]\nfollow_every = \"200ms\"\n[auth]\nrequest = \"{request}\"\n{auth}"
    )
}

/// Runs `openssl` in a folder, and returns its output.
fn openssl(folder: &Path, args: &[&str]) -> Vec<u8> {
    let made = Command::new("openssl")
        .args(args)
        .current_dir(folder)
        .output();
    let made = made.expect("there is an `openssl`");
    let error = String::from_utf8_lossy(&made.stderr);
    assert!(made.status.success(), "{args:?}: {error}");
    made.stdout
}

/// A credential with the public part of this one, and another well-formed secret.
pub(crate) fn wrong_secret(credential: &str) -> String {
    format!(
        "{}:acme_sk_AAECAwQFBgcICQoLDA0ODxAREhMUFRYdXLQI",
        id(credential)
    )
}

/// The public part of a credential.
pub(crate) fn id(credential: &str) -> &str {
    credential
        .split_once(':')
        .expect("a credential has a colon")
        .0
}
