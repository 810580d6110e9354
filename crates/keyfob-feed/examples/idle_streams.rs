//! Measures the memory of idle streams: starts an authority in a process of its own, opens streams on
//! the loopback that receive bookmarks only, and prints the resident memory for each, first with an upgrade
//! of their connections and then without.
//!
//! ```sh
//! cargo run --release -p keyfob-feed --features server --example idle_streams -- 1000
//! ```

#![expect(clippy::print_stdout, reason = "it prints what it measures")]

use std::{
    env,
    error::Error,
    fs,
    io::{self, BufRead, BufReader, Read, Write},
    net::TcpStream,
    num::NonZeroU32,
    process::{Child, Command, Stdio},
    thread::sleep,
    time::{Duration, Instant},
};

use axum::http::{HeaderMap, StatusCode};
use keyfob::{
    MemoryStore, Timestamp,
    key::{KeyFormat, SystemRandom},
};
use keyfob_feed::{
    FeedKeys, Filter, UPGRADE_PROTOCOL,
    server::{Authority, ReplicaRight},
};
use keyfob_listen::{Address, Limits, Routes, Server as Listening};

fn main() -> Result<(), Box<dyn Error>> {
    let argument = env::args().nth(1);
    if argument.as_deref() == Some("serve") {
        let runtime = tokio::runtime::Builder::new_multi_thread();
        return { runtime }.enable_all().build()?.block_on(authority());
    }
    let count: u64 = argument.map_or(Ok(1_000), |count| count.parse())?;
    for upgrade in [true, false] {
        measure(count, upgrade)?;
    }
    Ok(())
}

fn measure(count: u64, upgrade: bool) -> Result<(), Box<dyn Error>> {
    let server = Server::start()?;
    // What the first connections allocate is not theirs alone.
    let mut streams = server.open(20, upgrade)?;
    sleep(Duration::from_secs(2));
    let before = server.resident()?;
    streams.extend(server.open(count, upgrade)?);
    // Each stream gets some bookmarks.
    sleep(Duration::from_secs(4));
    let after = server.resident()?;
    let started = Instant::now();
    let processor = server.processor()?;
    sleep(Duration::from_secs(5));
    let used = server.processor()? - processor;
    let each = after.saturating_sub(before) / count;
    let kind = if upgrade { "upgraded" } else { "chunked" };
    println!("{count} idle streams, {kind}: {each} bytes of resident memory each");
    println!(
        "processor: {:.1} % of a core for a bookmark a second",
        used / started.elapsed().as_secs_f64() * 100.0
    );
    Ok(())
}

async fn authority() -> Result<(), Box<dyn Error>> {
    let keys = FeedKeys::generate(&SystemRandom)?;
    let format = KeyFormat::new("dof")?;
    let authority = Authority::over(MemoryStore::new(), keys, format)
        .start()
        .await?;
    let address: Address = "127.0.0.1:0".parse()?;
    let listener = address.bind().await?;
    let position = authority.hub().position().ok_or("nothing was read")?;
    println!("{} {position}", listener.address()?);
    io::stdout().flush()?;
    // Everybody may read everything: it is a measurement on the loopback.
    let anybody = |_: &HeaderMap, _: Timestamp| -> Result<ReplicaRight, StatusCode> {
        Ok(ReplicaRight::new(Filter::All, |_| true))
    };
    let router = authority.hub().router(anybody);
    let (_stop, stopped) = tokio::sync::watch::channel(());
    let limits = Limits::for_streams().with_connections(CONNECTIONS);
    Listening::new("feed", listener, Routes::of(router))
        .with_limits(limits)
        .serve(stopped)
        .await;
    Ok(())
}

const CONNECTIONS: NonZeroU32 = NonZeroU32::MIN.saturating_add(12_000);

/// The authority's process, which ends with this one.
struct Server {
    child: Child,
    address: String,
    position: String,
}

impl Server {
    fn start() -> Result<Self, Box<dyn Error>> {
        let mut child = Command::new(env::current_exe()?)
            .arg("serve")
            .stdout(Stdio::piped())
            .spawn()?;
        let mut line = String::new();
        BufReader::new(child.stdout.take().ok_or("no output")?).read_line(&mut line)?;
        let (address, position) = line.trim_end().split_once(' ').ok_or("no address")?;
        Ok(Self {
            address: address.to_owned(),
            position: position.to_owned(),
            child,
        })
    }

    /// Opens streams, and reads the head of each answer.
    fn open(&self, count: u64, upgrade: bool) -> Result<Vec<TcpStream>, Box<dyn Error>> {
        let (offer, status) = if upgrade {
            let offer = format!("Connection: upgrade\r\nUpgrade: {UPGRADE_PROTOCOL}\r\n");
            (offer, "HTTP/1.1 101")
        } else {
            (String::new(), "HTTP/1.1 200")
        };
        let head = format!(
            "GET /v1/feed?after={} HTTP/1.1\r\nHost: feed\r\nAuthorization: Bearer none\r\n{offer}\r\n",
            self.position
        );
        let streams = (0..count).map(|_| {
            let mut stream = TcpStream::connect(&self.address)?;
            stream.write_all(head.as_bytes())?;
            let mut answer = [0; 4096];
            let read = stream.read(&mut answer)?;
            if !answer[..read].starts_with(status.as_bytes()) {
                return Err("the stream was refused".into());
            }
            Ok(stream)
        });
        streams.collect()
    }

    /// The resident memory, in bytes.
    fn resident(&self) -> Result<u64, Box<dyn Error>> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kilobytes = line.and_then(|line| line.split_whitespace().next());
        Ok(kilobytes.ok_or("no VmRSS")?.parse::<u64>()? * 1024)
    }

    /// The processor time, in seconds.
    fn processor(&self) -> Result<f64, Box<dyn Error>> {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.child.id()))?;
        let (_, fields) = stat.rsplit_once(')').ok_or("no times")?;
        let ticks = fields.split_whitespace().skip(11).take(2);
        let ticks: f64 = ticks.map(|ticks| ticks.parse().unwrap_or(0.0)).sum();
        Ok(ticks / 100.0)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
