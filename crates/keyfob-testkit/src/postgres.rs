//! A private `PostgreSQL` server from installed binaries, with a database for each test, and
//! streaming standbys of it.
//!
//! It is in a temporary folder, listens on a socket in it and on a free port of the loopback, runs
//! as an unprivileged user if the test does not, and is gone when the process is, however that
//! ends: a shell waits for the end of a pipe that this process holds, and then stops the server and
//! removes the folder.

use std::{
    env, fs,
    future::Future,
    io::Write as _,
    os::unix::{
        fs::{MetadataExt as _, PermissionsExt as _},
        process::CommandExt as _,
    },
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{
        OnceLock,
        atomic::{AtomicU32, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use tokio_postgres::{Client, NoTls};

use crate::peer::missing;

pub use crate::port::free_port;

/// Runs a future to its end, on a runtime of its own. Where no `PostgreSQL` is installed it says so
/// and does not; with `CI=true` that is a failure.
pub fn run<F: Future<Output = ()>>(test: F) {
    if installed() {
        runtime().block_on(test);
    }
}

/// A runtime with two threads.
pub fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime can be made")
}

fn installed() -> bool {
    let installed = binaries().is_some();
    if !installed {
        missing("no PostgreSQL is installed; Debian has it in the package postgresql");
    }
    installed
}

/// The server of this test binary.
pub fn shared() -> &'static Server {
    static SERVER: OnceLock<Server> = OnceLock::new();
    SERVER.get_or_init(|| Server::start(&["fsync = off", "full_page_writes = off"]))
}

/// A running server.
#[derive(Debug)]
pub struct Server {
    folder: PathBuf,
    port: u16,
    password: String,
    bin: PathBuf,
    /// What stops the server when its standard input ends.
    guard: Child,
}

impl Server {
    /// Starts a server with these lines in its configuration.
    pub fn start(settings: &[&str]) -> Self {
        let server = Self::empty(format!("{:016x}", random()));
        done(
            as_server(&server.bin.join("initdb"))
                .arg("--pgdata")
                .arg(server.data())
                .args(["--username=keyfob", "--auth-local=trust", "--auth-host=md5"])
                .args(["--encoding=UTF8", "--locale=C", "--no-sync"])
                .arg("--pwfile")
                .arg(server.folder.join("password")),
        );
        server.configure(
            "listen_addresses = '127.0.0.1'\n\
             max_connections = 300\n\
             password_encryption = md5\n\
             shared_buffers = 64MB\n\
             autovacuum_naptime = 5s",
        );
        server.start_at_its_place(settings);
        server
    }

    /// Starts a streaming standby of this running server. It is `name` in the primary's
    /// `synchronous_standby_names`, and has the primary's settings and then these.
    #[must_use]
    pub fn standby(&self, name: &str, settings: &[&str]) -> Self {
        let standby = Self::empty(self.password.clone());
        done(
            as_server(&self.bin.join("pg_basebackup"))
                .arg("--pgdata")
                .arg(standby.data())
                .arg("--host")
                .arg(&self.folder)
                .args(["--port", &self.port.to_string(), "--username=keyfob"])
                .args(["--write-recovery-conf", "--wal-method=stream"])
                .args(["--checkpoint=fast", "--no-sync", "--no-password"]),
        );
        standby.configure(&format!("cluster_name = '{name}'"));
        standby.start_at_its_place(settings);
        standby
    }

    /// A folder for a server, with what stops the server and removes it.
    fn empty(password: String) -> Self {
        let folder = folder("keyfob-postgres-");
        fs::write(folder.join("password"), &password).expect("the folder can be written");
        give(&folder);
        Self {
            port: free_port(),
            guard: guard(&folder),
            folder,
            password,
            bin: binaries().expect("PostgreSQL is installed"),
        }
    }

    fn start_at_its_place(&self, settings: &[&str]) {
        let (port, folder) = (self.port, self.folder.display());
        self.configure(&format!(
            "port = {port}\nunix_socket_directories = '{folder}'"
        ));
        self.configure(&settings.join("\n"));
        self.up();
    }

    /// Makes this standby a primary, and waits until it is.
    pub fn promote(&self) {
        let promoted = self.control("promote", &["--wait", "--timeout=60"]);
        assert!(promoted, "the standby is not promoted: {}", self.log());
    }

    /// Waits until this holds of a standby's row in `pg_stat_replication`.
    pub async fn await_replication(&self, condition: &str) {
        let sql = format!("SELECT EXISTS (SELECT 1 FROM pg_stat_replication WHERE {condition})");
        self.await_true(&sql).await;
    }

    /// Lets no commit be acknowledged before the standby of this name has it, and waits until that
    /// is so.
    pub async fn synchronize(&self, standby: &str) {
        self.configure(&format!("synchronous_standby_names = '{standby}'"));
        self.reload();
        self.await_replication("sync_state = 'sync'").await;
    }

    /// Cuts this standby off from its primary: from now on it gets nothing.
    pub async fn cut_off(&self) {
        let client = self.client("postgres").await;
        let cut = "ALTER SYSTEM SET primary_conninfo = ''";
        client.batch_execute(cut).await.expect("it is a setting");
        self.reload();
        self.await_true("SELECT NOT EXISTS (SELECT 1 FROM pg_stat_wal_receiver)")
            .await;
    }

    async fn await_true(&self, sql: &str) {
        let client = self.client("postgres").await;
        let until = Instant::now() + Duration::from_mins(2);
        while !client.query_one(sql, &[]).await.is_ok_and(|row| row.get(0)) {
            assert!(Instant::now() < until, "{sql}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Reads the configuration again.
    pub fn reload(&self) {
        assert!(self.control("reload", &[]), "the server cannot be told");
    }

    /// Stops every process of the server where it is: its connections stay open, and nothing
    /// answers until [`thaw`](Self::thaw).
    pub fn freeze(&self) {
        // The one that starts others first.
        self.signal("STOP");
        self.signal("STOP");
    }

    /// Lets the processes of the server go on.
    pub fn thaw(&self) {
        self.signal("CONT");
    }

    fn signal(&self, signal: &str) {
        let file = fs::read_to_string(self.data().join("postmaster.pid"));
        let Some(parent) = file
            .ok()
            .and_then(|text| text.lines().next().map(str::to_owned))
        else {
            return;
        };
        // A process that has ended meanwhile is none that could be told.
        let _ = Command::new("sh")
            .args(["-c", "kill -s \"$@\" 2>/dev/null", "signal", signal])
            .arg(&parent)
            .args(children(&parent))
            .status();
    }

    fn log(&self) -> String {
        fs::read_to_string(self.folder.join("log")).unwrap_or_default()
    }

    /// Adds lines to the configuration, which hold from the next start or
    /// [`reload`](Self::reload) on.
    pub fn configure(&self, lines: &str) {
        let mut file = fs::File::options()
            .append(true)
            .open(self.data().join("postgresql.conf"))
            .expect("the configuration can be opened");
        writeln!(file, "{lines}").expect("the configuration can be written");
    }

    /// Writes a file that only the server may read.
    pub fn keep(&self, name: &str, text: &[u8]) -> PathBuf {
        let path = self.folder.join(name);
        fs::write(&path, text).expect("the folder can be written");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("it is this user's");
        give(&path);
        path
    }

    /// Starts the server, and waits until it answers.
    pub fn up(&self) {
        let until = Instant::now() + Duration::from_mins(1);
        loop {
            let started = self.control("start", &["--wait", "--timeout=60"]);
            if started {
                return;
            }
            assert!(
                Instant::now() < until,
                "the server does not start: {}",
                self.log()
            );
            thread::sleep(Duration::from_millis(100));
        }
    }

    /// Stops the server: `smart`, `fast` or `immediate`, which is as good as a crash.
    pub fn down(&self, mode: &str) {
        self.control("stop", &["--wait", "--mode", mode]);
    }

    fn control(&self, what: &str, arguments: &[&str]) -> bool {
        let status = as_server(&self.bin.join("pg_ctl"))
            .arg(what)
            .arg("--pgdata")
            .arg(self.data())
            .arg("--log")
            .arg(self.folder.join("log"))
            .args(arguments)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .expect("pg_ctl can be run");
        status.success()
    }

    fn data(&self) -> PathBuf {
        self.folder.join("data")
    }

    /// The port on the loopback.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The folder of the socket.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// The folder of the socket, as the host of a URL.
    pub fn socket(&self) -> String {
        self.folder.display().to_string().replace('/', "%2F")
    }

    /// The URL of a database, over the socket.
    pub fn url(&self, database: &str) -> String {
        let (socket, port) = (self.socket(), self.port);
        format!("postgres://keyfob@{socket}:{port}/{database}")
    }

    /// The URL of a database, over the loopback or something between that listens on this port.
    pub fn url_over(&self, port: u16, database: &str) -> String {
        format!(
            "postgres://keyfob:{}@127.0.0.1:{port}/{database}",
            self.password
        )
    }

    /// A plain connection, for what a store has no words for.
    pub async fn client(&self, database: &str) -> Client {
        let connected = tokio_postgres::connect(&self.url(database), NoTls).await;
        let (client, connection) = connected.expect("the server can be connected to");
        tokio::spawn(async move {
            // A test that ends the connection on purpose sees it by its client.
            let _ = connection.await;
        });
        client
    }

    /// An empty database.
    pub async fn database(&self) -> Database {
        self.copy_of("template0").await
    }

    /// A copy of a database without connections.
    pub async fn copy_of(&self, template: &str) -> Database {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("test_{}", NEXT.fetch_add(1, Ordering::Relaxed));
        let maker = self.client("postgres").await;
        let make = format!("CREATE DATABASE {name} TEMPLATE {template}");
        maker.batch_execute(&make).await.expect("it can be made");
        Database {
            socket: self.url(&name),
            maintenance: self.url("postgres"),
            name,
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.guard.stdin.take());
        let _ = self.guard.wait();
    }
}

/// A database, dropped with this.
#[derive(Debug)]
pub struct Database {
    /// Its name.
    pub name: String,
    socket: String,
    maintenance: String,
}

impl Database {
    /// Its URL, over the socket.
    pub fn url(&self) -> String {
        self.socket.clone()
    }

    /// A plain connection.
    pub async fn client(&self) -> Client {
        let connected = tokio_postgres::connect(&self.socket, NoTls).await;
        let (client, connection) = connected.expect("the server can be connected to");
        tokio::spawn(async move {
            let _ = connection.await;
        });
        client
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        let drop = format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", self.name);
        let url = self.maintenance.clone();
        let dropping = thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()?;
            runtime.block_on(async {
                // The server may be down on purpose; then it takes the database with it.
                if let Ok((client, connection)) = tokio_postgres::connect(&url, NoTls).await {
                    let connection = tokio::spawn(connection);
                    let _ = client.batch_execute(&drop).await;
                    std::mem::drop(client);
                    let _ = connection.await;
                }
            });
            std::io::Result::Ok(())
        });
        let _ = dropping.join();
    }
}

/// The folder of the newest `PostgreSQL` that is installed.
fn binaries() -> Option<PathBuf> {
    let mut folders: Vec<(u32, PathBuf)> = fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .filter_map(|entry| {
            let entry = entry.ok()?;
            let version = entry.file_name().to_str()?.parse().ok()?;
            Some((version, entry.path().join("bin")))
        })
        .collect();
    folders.sort();
    let named = Command::new("pg_config").arg("--bindir").output().ok();
    let named = named.and_then(|output| String::from_utf8(output.stdout).ok());
    let named = named.map(|folder| PathBuf::from(folder.trim()));
    let path = env::var_os("PATH").unwrap_or_default();
    folders
        .into_iter()
        .rev()
        .map(|(_, folder)| folder)
        .chain(named)
        .chain(env::split_paths(&path))
        .find(|folder| folder.join("initdb").is_file() && folder.join("pg_ctl").is_file())
}

/// A new temporary folder, which the caller removes.
pub(crate) fn folder(prefix: &str) -> PathBuf {
    let folder = tempfile::Builder::new().prefix(prefix).tempdir();
    folder.expect("a temporary folder can be made").keep()
}

/// Runs a command to its end, which must be a good one.
fn done(command: &mut Command) {
    let output = command.output().expect("it is installed");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {said}");
}

/// The processes that a process has started.
fn children(parent: &str) -> Vec<String> {
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    processes
        .filter(|process| {
            let stat = fs::read_to_string(process.path().join("stat")).unwrap_or_default();
            // The name, in parentheses, may hold anything; then come the state and the parent.
            let rest = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
            rest.split_whitespace().nth(1) == Some(parent)
        })
        .filter_map(|process| process.file_name().into_string().ok())
        .collect()
}

/// A command as the user that the server runs as: `PostgreSQL` refuses to run as root.
pub(crate) fn as_server(program: &Path) -> Command {
    if !is_root() {
        return Command::new(program);
    }
    let mut command = Command::new("setpriv");
    let (user, group) = server_user();
    command
        .args(["--reuid", user, "--regid", group, "--clear-groups", "--"])
        .arg(program)
        // A folder that the user may enter.
        .current_dir("/");
    command
}

fn is_root() -> bool {
    fs::metadata("/proc/self").is_ok_and(|process| process.uid() == 0)
}

fn server_user() -> (&'static str, &'static str) {
    let users = fs::read_to_string("/etc/passwd").unwrap_or_default();
    if users.lines().any(|line| line.starts_with("postgres:")) {
        ("postgres", "postgres")
    } else {
        ("nobody", "nogroup")
    }
}

/// Gives a file or a folder with all that is in it to the server's user.
pub(crate) fn give(path: &Path) {
    if is_root() {
        let (user, group) = server_user();
        let status = Command::new("chown")
            .args(["-R", &format!("{user}:{group}")])
            .arg(path)
            .status();
        assert!(status.is_ok_and(|status| status.success()), "chown");
    }
}

/// Waits for the end of this process, then stops the server and removes its folder.
fn guard(folder: &Path) -> Child {
    let script = "cat >/dev/null; cd /; p=$(head -n 1 \"$1/data/postmaster.pid\" 2>/dev/null); \
                  if [ -n \"$p\" ]; then kill -CONT \"$p\"; kill -QUIT \"$p\"; \
                  n=0; while kill -0 \"$p\" 2>/dev/null && [ $n -lt 100 ]; \
                  do sleep 0.1; n=$((n+1)); done; fi; rm -rf \"$1\"";
    Command::new("sh")
        .args(["-c", script, "guard"])
        .arg(folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        // What is meant for the test, such as an interrupt, is not meant for it.
        .process_group(0)
        .spawn()
        .expect("a shell can be run")
}

/// A random number.
pub fn random() -> u64 {
    use std::hash::{BuildHasher as _, RandomState};

    RandomState::new().hash_one(Instant::now())
}
