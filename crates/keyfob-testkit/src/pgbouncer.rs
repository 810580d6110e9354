//! A private `PgBouncer` in front of a [`Server`], from the installed program.
//!
//! It listens on a free port of the loopback, runs as an unprivileged user, and is gone when the
//! process is, as the server.

use std::{
    env,
    fmt::Write as _,
    fs,
    future::Future,
    net::TcpStream,
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use crate::{
    peer::missing,
    postgres::{self, Server, as_server, folder, free_port, give},
};

/// As [`postgres::run`], where `PgBouncer` is installed too.
pub fn run<F: Future<Output = ()>>(test: F) {
    if installed() {
        postgres::run(test);
    }
}

fn installed() -> bool {
    let installed = program().is_some();
    if !installed {
        missing("no PgBouncer is installed; Debian has it in the package pgbouncer");
    }
    installed
}

/// A running pooler.
#[derive(Debug)]
pub struct PgBouncer {
    port: u16,
    folder: PathBuf,
    settings: Vec<String>,
    /// What stops the pooler when its standard input ends.
    guard: Child,
}

impl PgBouncer {
    /// Starts a pooler in transaction mode with these lines in its configuration.
    pub fn start(server: &Server, settings: &[&str]) -> Self {
        let (port, folder) = (free_port(), folder("keyfob-pgbouncer-"));
        let settings: Vec<String> = settings.iter().map(|&line| line.to_owned()).collect();
        let file = folder.join("pgbouncer.ini");
        configure(&file, port, server, &settings);
        give(&folder);
        let pooler = Self {
            port,
            guard: guard(&file, &folder),
            folder,
            settings,
        };
        let until = Instant::now() + Duration::from_mins(1);
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            let log = fs::read_to_string(pooler.folder.join("log")).unwrap_or_default();
            assert!(Instant::now() < until, "the pooler does not start: {log}");
            thread::sleep(Duration::from_millis(20));
        }
        pooler
    }

    /// Lets the pooler connect to another server from its next transaction on.
    pub fn point_to(&self, server: &Server) {
        let file = self.folder.join("pgbouncer.ini");
        configure(&file, self.port, server, &self.settings);
        give(&self.folder);
        let process = fs::read_to_string(self.folder.join("process")).unwrap_or_default();
        let told = Command::new("sh")
            .args(["-c", "kill -HUP \"$1\"", "reload", process.trim()])
            .status();
        assert!(told.is_ok_and(|status| status.success()), "kill");
    }

    /// The port on the loopback.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The URL of a database through the pooler, which asks for no password.
    pub fn url(&self, database: &str) -> String {
        let port = self.port;
        format!("postgres://keyfob@127.0.0.1:{port}/{database}?sslmode=disable")
    }
}

impl Drop for PgBouncer {
    fn drop(&mut self) {
        drop(self.guard.stdin.take());
        let _ = self.guard.wait();
    }
}

fn configure(file: &Path, port: u16, server: &Server, settings: &[String]) {
    let folder = file.parent().unwrap_or(file).display();
    let mut lines = format!(
        "[databases]\n\
         * = host={} port={} user=keyfob\n\
         [pgbouncer]\n\
         listen_addr = 127.0.0.1\n\
         listen_port = {port}\n\
         unix_socket_dir =\n\
         auth_type = any\n\
         logfile = {folder}/log\n\
         pidfile = {folder}/process\n\
         max_client_conn = 1000\n\
         pool_mode = transaction\n",
        server.folder().display(),
        server.port(),
    );
    for line in settings {
        writeln!(lines, "{line}").expect("a text can be written");
    }
    fs::write(file, lines).expect("the folder can be written");
}

fn program() -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let folders = env::split_paths(&path).chain(["/usr/sbin".into()]);
    folders
        .map(|folder| folder.join("pgbouncer"))
        .find(|file| file.is_file())
}

/// Runs the pooler, waits for the end of this process, then ends the pooler and removes its folder.
fn guard(file: &Path, folder: &Path) -> Child {
    let program = program().expect("PgBouncer is installed");
    let mut command = as_server(&program);
    command.arg("-q").arg(file);
    let script = "f=\"$1\"; shift; cd /; \"$@\" </dev/null & p=$!; cat >/dev/null; \
                  kill -KILL \"$p\"; wait \"$p\"; rm -rf \"$f\"";
    Command::new("sh")
        .args(["-c", script, "guard"])
        .arg(folder)
        .arg(command.get_program())
        .args(command.get_args())
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        // What is meant for the test, such as an interrupt, is not meant for it.
        .process_group(0)
        .spawn()
        .expect("a shell can be run")
}
