//! A server behind a guard that is stopped (`SIGSTOP`) and goes on: requests that waited meanwhile.
#![cfg(target_os = "linux")]
#![expect(clippy::print_stdout, reason = "the server tells its address")]

use std::{
    env, fs,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    path::Path,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use axum::{Router, routing::get};
use keyfob::{Context, Keyring, NewKey, block_on, manage::CreatedKey, now};
use keyfob_replica::Follower;
use keyfob_sqlite::SqliteStore;
use keyfob_tower::Guard;
use rustix::process::{Pid, Signal, kill_process};
use tokio::net::TcpListener;

/// The variable that makes the test binary the server, with the store's file.
const STORE: &str = "KEYFOB_TEST_PAUSED";
const PATIENCE: Duration = Duration::from_secs(30);

#[test]
fn no_request_that_waited_during_a_pause_passes_a_guard_with_a_key_that_was_revoked() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("keys.db");
    let store = SqliteStore::open(&file).unwrap();
    let keyring = block_on(Keyring::open(store, "acme")).unwrap();
    let create = |name: &str| {
        let new = NewKey::for_user("team", "orders", "alice", name).unwrap();
        block_on(keyring.create(&Context::system(now()), new)).unwrap()
    };
    let other = create("other");
    let server = Server::start(&file);
    for pause in [0, 100, 400, 1_200].map(Duration::from_millis) {
        let key = create(&format!("{pause:?}"));
        server.until(&key, 200);
        let mut waiting: Vec<_> = (0..8).map(|_| server.connect()).collect();
        for connection in &mut waiting[..4] {
            until(connection, &key, 200);
        }

        server.stop();
        for connection in &mut waiting {
            send(connection, &key);
        }
        let stopped = Instant::now();
        let context = Context::system(now());
        block_on(keyring.revoke(&context, &key.info.tenant, key.info.id, None)).unwrap();
        thread::sleep(pause.saturating_sub(stopped.elapsed()));
        server.signal(Signal::CONT);

        for connection in &mut waiting {
            let status = answer(connection);
            assert!([401, 503].contains(&status), "{status} after {pause:?}");
        }
        server.until(&key, 401);
        server.until(&other, 200);
    }
}

/// Not a test of its own: the server that the test stops.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_server() {
    let Some(file) = env::var_os(STORE) else {
        return;
    };
    // Longer than any pause here. It is told of each change at once, but not while it is stopped.
    let replica = Follower::new(SqliteStore::open(file).unwrap(), "acme")
        .stale_after(2 * PATIENCE)
        .poll_every(PATIENCE)
        .start()
        .await
        .unwrap();
    let pauses = replica.pauses();
    let guard = Guard::new(replica.verifier()).with_pauses(move || pauses.current());
    let app = Router::new()
        .route("/", get(async || "hello"))
        .layer(guard.namespace("orders"));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    println!("\naddress {}", listener.local_addr().unwrap());
    axum::serve(listener, app).await.unwrap();
}

struct Server {
    process: Child,
    address: SocketAddr,
}

impl Server {
    fn start(file: &Path) -> Self {
        let mut process = Command::new(env::current_exe().unwrap())
            .args(["--exact", "the_server", "--nocapture"])
            .env(STORE, file)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let output = BufReader::new(process.stdout.take().unwrap());
        // The test harness writes lines of its own.
        let mut lines = output.lines().map_while(Result::ok);
        let address = lines.find_map(|line| line.strip_prefix("address ")?.parse().ok());
        let address = address.expect("it listens");
        Self { process, address }
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.process), signal).unwrap();
    }

    /// Stops the process, and waits until every thread has stopped.
    fn stop(&self) {
        self.signal(Signal::STOP);
        let start = Instant::now();
        let tasks = format!("/proc/{}/task", self.process.id());
        let is_stopped = || {
            fs::read_dir(&tasks).unwrap().flatten().all(|task| {
                let text = fs::read_to_string(task.path().join("stat")).unwrap_or_default();
                text.rsplit_once(") ")
                    .is_none_or(|(_, rest)| rest.starts_with('T'))
            })
        };
        while !is_stopped() {
            assert!(start.elapsed() < PATIENCE);
            thread::sleep(Duration::from_millis(1));
        }
    }

    fn connect(&self) -> TcpStream {
        let connection = TcpStream::connect(self.address).unwrap();
        connection.set_read_timeout(Some(PATIENCE)).unwrap();
        connection
    }

    /// Asks until this status is the answer.
    fn until(&self, key: &CreatedKey, status: u16) {
        until(&mut self.connect(), key, status);
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Asks until this status is the answer. A busy machine can stop the server for a moment as well, after which
/// it answers 503.
fn until(connection: &mut TcpStream, key: &CreatedKey, status: u16) {
    let start = Instant::now();
    loop {
        send(connection, key);
        if answer(connection) == status {
            return;
        }
        assert!(start.elapsed() < PATIENCE, "the answer is not {status}");
        thread::sleep(Duration::from_millis(5));
    }
}

fn send(connection: &mut TcpStream, key: &CreatedKey) {
    let credential = key.secret.bearer();
    let credential = credential.as_str();
    let request = format!("GET / HTTP/1.1\r\nHost: x\r\nAuthorization: {credential}\r\n\r\n");
    connection.write_all(request.as_bytes()).unwrap();
}

/// The status of an answer, which is read to its end.
fn answer(connection: &mut TcpStream) -> u16 {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        connection
            .read_exact(&mut byte)
            .expect("there is an answer");
        head.push(byte[0]);
    }
    let head = String::from_utf8(head).unwrap().to_ascii_lowercase();
    let length = head
        .lines()
        .find_map(|line| line.strip_prefix("content-length: "));
    let mut body = vec![0; length.map_or(0, |length| length.parse().unwrap())];
    connection.read_exact(&mut body).unwrap();
    head.split(' ').nth(1).unwrap().parse().unwrap()
}
