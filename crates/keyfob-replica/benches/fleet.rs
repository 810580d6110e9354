//! How fast a revocation reaches all replicas, and what a large store costs a replica:
//! `cargo bench -p keyfob-replica --features http --bench fleet`.
//!
//! The authority keeps its keys in a SQLite file in a temporary folder, and feeds the replicas over
//! the loopback. All replicas are tasks of this process, each with an index and a connection of its
//! own. A revocation is timed from the answer of the keyring to the refusal by the last replica.
//!
//! - `-- --revocations N --keys N`: in place of 10,000 revocations and a million keys
//! - `-- --quick`: 200 revocations and 20,000 keys
//! - `-- --write ../../README.md`: writes the table between the `<!-- fleet -->` marks of the file

#![expect(
    clippy::print_stderr,
    clippy::print_stdout,
    reason = "the table is what the benchmark is for"
)]
#![expect(clippy::expect_used, reason = "a benchmark may stop")]
#![expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "figures for people"
)]

use std::{
    env,
    fmt::Write as _,
    fs,
    hint::black_box,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use axum::http::{HeaderMap, StatusCode};
use keyfob::{
    Access, Context, IssuedKey, KeyId, KeyStore, Keyring, MemoryStore, NewKey, Tenant, Timestamp,
    Verifier, key::SystemRandom,
};
use keyfob_feed::{
    FeedKeys, Filter, Trust,
    server::{Authority, ReplicaRight},
};
use keyfob_listen::{Address, Limits, Routes, Server};
use keyfob_replica::{Follower, HttpSource, HttpSourceBuilder, Replica, Upstream};
use keyfob_sqlite::SqliteStore;
use tokio::{
    sync::watch,
    task::spawn_blocking,
    time::{interval, sleep},
};

fn main() {
    let options = Options::read();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime can be made");
    let mut table = String::from(
        "| revocation, from the answer to the last refusal | p50 | p99 | p99.9 | longest |\n\
         |---|---:|---:|---:|---:|\n",
    );
    for (replicas, share, load) in [
        (1, 1, false),
        (8, 1, false),
        (8, 1, true),
        (100, 1, false),
        (1_000, 20, false),
    ] {
        let times = (options.revocations / share).max(50);
        let times = runtime.block_on(revocations(replicas, times, load));
        let name = match (replicas, load) {
            (1, _) => "1 replica".to_owned(),
            (_, true) => format!("{replicas} replicas that verify all the time"),
            _ => format!("{replicas} replicas"),
        };
        row(&mut table, &name, times);
    }
    runtime.block_on(many_keys(options.keys, &mut table));
    print!("{table}");
    if let Some(path) = options.write {
        write_between_marks(&path, &table);
    }
}

struct Options {
    revocations: usize,
    keys: usize,
    write: Option<String>,
}

impl Options {
    fn read() -> Self {
        let mut options = Self {
            revocations: 10_000,
            keys: 1_000_000,
            write: None,
        };
        let mut arguments = env::args().skip(1);
        let number = |text: Option<String>| {
            let number = text.and_then(|text| text.parse().ok());
            number.expect("the option takes a number")
        };
        while let Some(argument) = arguments.next() {
            match argument.as_str() {
                "--quick" => (options.revocations, options.keys) = (200, 20_000),
                "--revocations" => options.revocations = number(arguments.next()),
                "--keys" => options.keys = number(arguments.next()),
                "--write" => options.write = Some(arguments.next().expect("--write takes a path")),
                // Cargo's own.
                "--bench" => {}
                other => eprintln!(
                    "{other}: unknown; the options are --quick, --revocations N, --keys N, --write FILE"
                ),
            }
        }
        options
    }
}

fn row(table: &mut String, name: &str, mut times: Vec<Duration>) {
    times.sort();
    let at = |share: f64| {
        let at = (share * times.len() as f64) as usize;
        times[at.min(times.len() - 1)].as_secs_f64() * 1_000.0
    };
    let _ = writeln!(
        table,
        "| {name}, {} times | {:.1} ms | {:.1} ms | {:.1} ms | {:.1} ms |",
        times.len(),
        at(0.5),
        at(0.99),
        at(0.999),
        at(1.0),
    );
}

/// An authority that feeds on the loopback.
struct Fed {
    keyring: Keyring,
    _authority: Authority,
    upstream: Upstream,
    trust: Trust,
    _stop: watch::Sender<()>,
}

impl Fed {
    async fn over(store: impl KeyStore + 'static) -> Self {
        let store = Arc::new(store);
        let keyring = Keyring::open(Arc::clone(&store), "acme").await;
        let keyring = keyring.expect("the store is empty");
        let keys = FeedKeys::generate(&SystemRandom).expect("there are random numbers");
        let trust = Trust::pinned(keys.signers()).expect("there is a signer");
        let authority = Authority::over(store, keys, *keyring.format()).start();
        let authority = authority.await.expect("the store can be read");
        // Everybody may read everything: it is a measurement on the loopback.
        let anybody = |_: &HeaderMap, _: Timestamp| -> Result<ReplicaRight, StatusCode> {
            Ok(ReplicaRight::new(Filter::All, |_| true))
        };
        let address: Address = "127.0.0.1:0".parse().expect("it is an address");
        let listener = address.bind().await.expect("the loopback has a free port");
        let socket = listener.socket_address().expect("it is TCP");
        let routes = Routes::of(authority.hub().router(anybody));
        let limits = Limits::for_streams();
        let (stop, stopped) = watch::channel(());
        let server = Server::new("feed", listener, routes).with_limits(limits);
        tokio::spawn(server.serve(stopped));
        Self {
            keyring,
            _authority: authority,
            upstream: format!("http://{socket}").parse().expect("it is a URL"),
            trust,
            _stop: stop,
        }
    }

    fn source(&self) -> HttpSourceBuilder {
        HttpSource::builder(self.trust.clone())
            .upstream(self.upstream.clone())
            .key("not-a-key")
    }

    async fn replica(&self) -> Replica {
        let source = self.source().build().expect("the settings are sound");
        let replica = Follower::from_source(source, "acme").start();
        replica.await.expect("the feed can be read")
    }

    async fn create(&self, number: usize) -> (KeyId, IssuedKey) {
        // A few keys of each owner: there is a limit.
        let owner = format!("user-{}", number / 100);
        let new = NewKey::for_user("team", "orders", &owner, &format!("key-{number}"));
        let new = new.expect("the names are valid");
        let context = Context::system(keyfob::now());
        let created = self.keyring.create(&context, new);
        let created = created.await.expect("the store takes it");
        (created.info.id, created.secret)
    }

    async fn revoke(&self, id: KeyId) {
        let tenant = Tenant::parse("team", "orders").expect("the names are valid");
        let context = Context::system(keyfob::now());
        let revoked = self.keyring.revoke(&context, &tenant, id, None);
        revoked.await.expect("the store takes it");
    }
}

fn accepts(verifier: &Verifier, key: &str) -> bool {
    let access = Access::to("orders");
    let now = keyfob::now();
    verifier.verify_text(key.as_bytes(), &access, now).is_ok()
}

async fn revocations(replicas: usize, times: usize, load: bool) -> Vec<Duration> {
    let folder = tempfile::tempdir().expect("there is a temporary folder");
    let store = SqliteStore::open(folder.path().join("keyfob.db")).expect("it can be made");
    let fed = Fed::over(store).await;
    let (_, steady) = fed.create(usize::MAX).await;
    let mut fleet = Vec::new();
    for _ in 0..replicas {
        fleet.push(fed.replica().await);
    }
    let verifiers: Vec<Verifier> = fleet.iter().map(Replica::verifier).collect();
    let stop = Arc::new(AtomicBool::new(false));
    for verifier in verifiers.iter().filter(|_| load) {
        let (verifier, stop) = (verifier.clone(), Arc::clone(&stop));
        let key = steady.expose().to_owned();
        tokio::spawn(async move {
            while !stop.load(Ordering::Relaxed) {
                for _ in 0..100 {
                    black_box(accepts(&verifier, &key));
                }
                tokio::task::yield_now().await;
            }
        });
    }
    let mut measured = Vec::with_capacity(times);
    for number in 0..times {
        let (id, key) = fed.create(number).await;
        for verifier in &verifiers {
            while !accepts(verifier, key.expose()) {
                sleep(Duration::from_micros(200)).await;
            }
        }
        fed.revoke(id).await;
        let answered = Instant::now();
        for verifier in &verifiers {
            while accepts(verifier, key.expose()) {
                tokio::task::yield_now().await;
            }
        }
        measured.push(answered.elapsed());
    }
    stop.store(true, Ordering::Relaxed);
    for replica in fleet {
        replica.stop().await;
    }
    measured
}

/// Measures starts with many keys, and verifications while others are changed.
async fn many_keys(keys: usize, table: &mut String) {
    let fed = Fed::over(MemoryStore::new()).await;
    let mut last = fed.create(0).await;
    for number in 1..keys {
        last = fed.create(number).await;
    }
    let key = last.1.expose();
    let _ = writeln!(table, "\n| {keys} keys | |\n|---|---:|");
    let folder = tempfile::tempdir().expect("there is a temporary folder");
    let kept = folder.path().join("kept");
    for (from, keeps) in [
        ("the network, with a snapshot that is made for it", false),
        ("the network, with a snapshot that others had", true),
        ("what it kept on its disk", true),
    ] {
        let source = if keeps {
            fed.source().saved_in(&kept)
        } else {
            fed.source()
        };
        let source = source.build().expect("the settings are sound");
        let start = Instant::now();
        let replica = Follower::from_source(source, "acme").start().await;
        let replica = replica.expect("the feed can be read");
        let took = start.elapsed().as_secs_f64();
        assert!(accepts(&replica.verifier(), key), "it has all keys");
        let _ = writeln!(table, "| start from {from} | {took:.1} s |");
        // What was received is written to the disk.
        sleep(Duration::from_secs(5)).await;
        replica.stop().await;
    }
    let replica = fed.replica().await;
    let (mut ratios, mut changes) = (Vec::new(), 0);
    for _ in 0..ROUNDS {
        let idle = rate(replica.verifier(), key.to_owned());
        let idle = spawn_blocking(move || idle.join()).await;
        let busy = rate(replica.verifier(), key.to_owned());
        let start = Instant::now();
        let mut ticks = interval(Duration::from_millis(1));
        while start.elapsed() < ROUND {
            ticks.tick().await;
            fed.create(keys + changes).await;
            changes += 1;
        }
        let busy = spawn_blocking(move || busy.join()).await;
        let calls = |rate: Result<thread::Result<f64>, _>| {
            let rate = rate.expect("the thread is waited for");
            rate.expect("the thread ends")
        };
        ratios.push(calls(busy) / calls(idle));
    }
    ratios.sort_by(f64::total_cmp);
    let changes = changes as f64 / (ROUND * ROUNDS).as_secs_f64();
    let median = ratios[ratios.len() / 2];
    let _ = writeln!(
        table,
        "| verifications while {changes:.0} changes/s are applied, to those of an idle replica | {median:.2} |"
    );
    replica.stop().await;
}

const ROUNDS: u32 = 5;
const ROUND: Duration = Duration::from_secs(2);

/// Verifies in a thread, and returns the calls per second.
fn rate(verifier: Verifier, key: String) -> thread::JoinHandle<f64> {
    thread::spawn(move || {
        let (start, mut calls) = (Instant::now(), 0.0);
        while start.elapsed() < ROUND {
            for _ in 0..1_000 {
                black_box(accepts(&verifier, &key));
            }
            calls += 1_000.0;
        }
        calls / start.elapsed().as_secs_f64()
    })
}

fn write_between_marks(path: &str, table: &str) {
    let text = fs::read_to_string(path).expect("the file can be read");
    let (before, rest) = text.split_once("<!-- fleet -->\n").expect("it has marks");
    let (_, after) = rest.split_once("<!-- /fleet -->").expect("it has marks");
    let text = format!("{before}<!-- fleet -->\n{table}<!-- /fleet -->{after}");
    fs::write(path, text).expect("the file can be written");
}
