//! Throughput and latency of `keyfob serve`: creating and listing keys over HTTP, and verification by
//! `/auth`, on `SQLite` and on `PostgreSQL`.
//!
//! Server and callers share the machine's cores and use kept-alive connections over loopback. There
//! are as many callers as their rate limits require. `-- --write ../../docs/operations.md` writes the table between the
//! marks of the file.

#[path = "../tests/cli/program.rs"]
#[expect(dead_code, reason = "the tests use more of it")]
mod program;
#[path = "../tests/cli/server.rs"]
#[expect(dead_code, reason = "the tests use more of it")]
mod server;

use std::{
    fmt::Write as _,
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpStream},
    sync::atomic::{AtomicUsize, Ordering},
    thread,
    time::{Duration, Instant},
};

use keyfob_testkit::{figures, postgres as database};
use program::Program;
use server::{Server, basic, bearer};

/// Concurrent connections.
const CONNECTIONS: usize = 8;
/// Callers of the control plane, each limited to 250 requests per minute.
const CALLERS: usize = 24;
/// Measured requests: to the control plane, and to `/auth`.
const CALLS: usize = 2_400;
const VERIFICATIONS: usize = 40_000;
/// Keys in the list.
const LISTED: usize = 100;

fn main() {
    let mut table = String::from(
        "| store | call | calls/s | p50 (ms) | p99 (ms) |\n|---|---|---:|---:|---:|\n",
    );
    table += &measure("SQLite", &Program::new());
    database::run(async {
        // As in production: every commit is synchronised.
        let own = database::Server::start(&[]);
        let database = own.database().await;
        let program = Program::new().with("KEYFOB_STORE", &database.url());
        let rows = thread::spawn(move || measure("PostgreSQL", &program));
        table += &rows.join().expect("the server was measured");
    });
    figures::show("serve", &table);
}

/// The rows of a store.
fn measure(store: &str, program: &Program) -> String {
    let mut rows = String::new();
    for namespace in ["orders", "listed"] {
        program.done(&["namespaces", "create", namespace]);
    }
    let callers: Vec<String> = (0..CALLERS)
        .map(|n| {
            let name = format!("caller-{n}");
            let owner = format!("service:{name}");
            let args = [&*name, "-n", "control:acme", "--owner", &owner];
            program.create(&[&args[..], &["--scope", "team:admin"]].concat())
        })
        .collect();
    let server = Server::start(program, &[]);
    let key = program.create(&["laptop"]);
    for n in 0..LISTED {
        let caller = &callers[n % CALLERS];
        let made = server.create(caller, "listed", &format!("key {n}"));
        assert!(made.is_some(), "key {n}");
    }
    server.await_auth(&key, "orders", 200);

    let keys = "/v2/functions/namespaces/orders/keys";
    let create = |n: usize| {
        let body = format!(r#"{{"name": "key {n}", "expires_in": "90d"}}"#);
        let caller = bearer(&callers[n % CALLERS]);
        request(
            "POST",
            keys,
            &[&caller, "Content-Type: application/json"],
            &body,
        )
    };
    let listed = "/v2/functions/namespaces/listed/keys";
    let list = |n: usize| request("GET", listed, &[&bearer(&callers[n % CALLERS])], "");
    let verify = |_| request("GET", "/auth/orders", &[&basic(&key)], "");
    for (call, status, calls, request) in [
        (
            "create a key",
            201,
            CALLS,
            &create as &(dyn Fn(usize) -> String + Sync),
        ),
        ("list 100 keys", 200, CALLS, &list),
        ("verify by `/auth`", 200, VERIFICATIONS, &verify),
    ] {
        let address = if call.starts_with("verify") {
            server.asked_at
        } else {
            server.address
        };
        let (took, mut waits) = load(address, calls, status, request);
        waits.sort_unstable();
        let milliseconds = |part: usize| waits[waits.len() * part / 100].as_secs_f64() * 1e3;
        #[expect(clippy::cast_precision_loss, reason = "a figure for people")]
        let rate = waits.len() as f64 / took.as_secs_f64();
        let (median, late) = (milliseconds(50), milliseconds(99));
        let row = format!("| {store} | {call} | {rate:.0} | {median:.2} | {late:.2} |");
        let _ = writeln!(rows, "{row}");
    }
    rows
}

/// Sends requests over all connections, and returns the time of all and of each.
fn load(
    address: SocketAddr,
    calls: usize,
    status: u16,
    request: &(dyn Fn(usize) -> String + Sync),
) -> (Duration, Vec<Duration>) {
    let next = AtomicUsize::new(0);
    let start = Instant::now();
    let waits = thread::scope(|scope| {
        let connections: Vec<_> = (0..CONNECTIONS)
            .map(|_| {
                scope.spawn(|| {
                    let mut connection = Connection::open(address);
                    let mut waits = Vec::new();
                    loop {
                        let n = next.fetch_add(1, Ordering::Relaxed);
                        if n >= calls {
                            return waits;
                        }
                        let text = request(n);
                        let asked = Instant::now();
                        assert_eq!(connection.ask(&text), status, "request {n}");
                        waits.push(asked.elapsed());
                    }
                })
            })
            .collect();
        connections
            .into_iter()
            .flat_map(|connection| connection.join().expect("every answer came"))
            .collect()
    });
    (start.elapsed(), waits)
}

fn request(method: &str, target: &str, headers: &[&str], body: &str) -> String {
    let headers = headers.join("\r\n");
    let length = body.len();
    format!(
        "{method} {target} HTTP/1.1\r\nHost: keyfob\r\n{headers}\r\nContent-Length: {length}\r\n\r\n{body}"
    )
}

/// A kept-alive connection.
struct Connection(BufReader<TcpStream>);

impl Connection {
    fn open(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).expect("the server listens");
        stream.set_nodelay(true).expect("it is a socket");
        let patience = Some(Duration::from_secs(30));
        stream.set_read_timeout(patience).expect("it is a socket");
        Self(BufReader::new(stream))
    }

    /// Sends a request, reads the whole response, and returns its status.
    fn ask(&mut self, request: &str) -> u16 {
        let sent = self.0.get_mut().write_all(request.as_bytes());
        sent.expect("the server reads");
        let (mut status, mut length) = (None, 0);
        loop {
            let mut line = String::new();
            self.0.read_line(&mut line).expect("the server answers");
            if line.trim_end().is_empty() {
                break;
            }
            if status.is_none() {
                status = line.split(' ').nth(1).and_then(|text| text.parse().ok());
            }
            if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                length = value.trim().parse().expect("a length");
            }
        }
        let mut body = vec![0; length];
        self.0.read_exact(&mut body).expect("the body comes whole");
        status.expect("an answer has a status")
    }
}
