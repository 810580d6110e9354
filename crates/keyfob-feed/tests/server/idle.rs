//! The memory of streams that carry bookmarks only.
#![cfg(target_os = "linux")]

use std::{
    env, fs,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::TcpStream,
    process::{Child, Command, Stdio},
    thread::sleep,
    time::Duration,
};

use axum::http::{HeaderMap, StatusCode};
use keyfob::{MemoryStore, Timestamp, key::SystemRandom};
use keyfob_feed::{
    FeedKeys, Filter, UPGRADE_PROTOCOL,
    server::{Authority, ReplicaRight},
};

use crate::fixture::{format, listen};

/// Says which role the process of a test has.
const ROLE: &str = "KEYFOB_TEST_IDLE_STREAMS";
const STREAMS: u64 = 600;
/// How many bytes of resident memory an idle stream may take.
const MOST: u64 = 8 << 10;

#[test]
fn an_idle_stream_takes_at_most_eight_kibibytes() {
    let server = Server::start();
    // What the first connections allocate is not theirs alone.
    let mut streams = server.open(20);
    sleep(Duration::from_secs(2));
    let before = server.resident();
    streams.extend(server.open(STREAMS));
    // Each stream gets some bookmarks.
    sleep(Duration::from_secs(4));
    let each = server.resident().saturating_sub(before) / STREAMS;
    println!("{STREAMS} idle streams: {each} bytes of resident memory each");
    assert!(each > 0 && each <= MOST, "{each}");
}

/// Not a test of its own: the process whose memory is measured.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_server_of_the_idle_streams() {
    if env::var_os(ROLE).is_none() {
        return;
    }
    let keys = FeedKeys::generate(&SystemRandom).unwrap();
    let authority = Authority::over(MemoryStore::new(), keys, format());
    let authority = authority.start().await.unwrap();
    let position = authority.hub().position().unwrap();
    let anybody = |_: &HeaderMap, _: Timestamp| -> Result<ReplicaRight, StatusCode> {
        Ok(ReplicaRight::new(Filter::All, |_| true))
    };
    let (address, _server) = listen(authority.hub().router(anybody)).await;
    println!("\nserving {address} {position}");
    std::future::pending::<()>().await;
}

/// The process of the server, which ends with the test.
struct Server {
    child: Child,
    address: String,
    position: String,
}

impl Server {
    fn start() -> Self {
        let mut child = Command::new(env::current_exe().unwrap())
            .args([
                "idle::the_server_of_the_idle_streams",
                "--exact",
                "--nocapture",
            ])
            .env(ROLE, "server")
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut server = Self {
            child,
            address: String::new(),
            position: String::new(),
        };
        for line in lines {
            let line = line.unwrap();
            if let Some(serving) = line.strip_prefix("serving ") {
                let (address, position) = serving.split_once(' ').unwrap();
                (server.address, server.position) = (address.to_owned(), position.to_owned());
                return server;
            }
        }
        panic!("the server did not start");
    }

    /// Opens streams, and reads the head of each answer.
    fn open(&self, count: u64) -> Vec<TcpStream> {
        let head = format!(
            "GET /v1/feed?after={} HTTP/1.1\r\nHost: feed\r\nAuthorization: Bearer none\r\n\
             Connection: upgrade\r\nUpgrade: {UPGRADE_PROTOCOL}\r\n\r\n",
            self.position
        );
        let streams = (0..count).map(|_| {
            let mut stream = TcpStream::connect(&self.address).unwrap();
            stream.write_all(head.as_bytes()).unwrap();
            let mut answer = [0; 4096];
            let read = stream.read(&mut answer).unwrap();
            assert!(answer[..read].starts_with(b"HTTP/1.1 101"));
            stream
        });
        streams.collect()
    }

    /// The resident memory, in bytes.
    fn resident(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kilobytes = line.and_then(|line| line.split_whitespace().next());
        kilobytes.unwrap().parse::<u64>().unwrap() * 1024
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
