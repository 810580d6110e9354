//! What Keyfob costs behind each gateway, against an authorizer that accepts everything with the same fields: nginx
//! with `return 200`, and over gRPC a server of tonic.
//!
//! ```sh
//! cargo bench -p keyfob-cli --bench gateways [-- SECONDS ROUNDS [GATEWAY...]] [--write ../../docs/gateways.md]
//! ```
//!
//! Two copies of each gateway run at the same time, with the configuration of `packaging/gateways`, one
//! before Keyfob and one before the other. Their backend is a process of its own. `wrk` (Debian: `wrk`) calls them in
//! turn. All share the machine's cores, so only ratios within one run mean something.

#[path = "gateways/bare_grpc.rs"]
mod bare_grpc;
#[path = "../tests/gateways/keyfob.rs"]
#[expect(dead_code, reason = "the tests use more of it")]
mod keyfob;
#[path = "../../keyfob-envoy/src/message.rs"]
mod message;

use std::{
    env,
    fmt::Write as _,
    fs,
    net::{SocketAddr, TcpStream},
    path::Path,
    process::{Child, Command, Stdio},
    thread,
    time::Duration,
};

use bare_grpc::BareGrpc;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use keyfob::Keyfob;
use keyfob_proxies::{Gateway, Kind, Places, free_port};
use keyfob_testkit::figures;
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

const KINDS: [Kind; 6] = [
    Kind::Nginx,
    Kind::Caddy,
    Kind::Traefik,
    Kind::Haproxy,
    Kind::EnvoyHttp,
    Kind::EnvoyGrpc,
];

fn main() {
    let mut arguments = env::args().skip(1);
    if arguments.next().as_deref() == Some(bare_grpc::ROLE) {
        return bare_grpc::serve(&arguments.next().expect("an address"));
    }
    let numbers: Vec<u32> = env::args().filter_map(|word| word.parse().ok()).collect();
    let seconds = numbers.first().copied().unwrap_or(3);
    let rounds = numbers.get(1).copied().unwrap_or(5);
    let mut table = String::from(
        "| gateway | bare, calls/s | Keyfob, calls/s | ratio | bare, CPU us/call | Keyfob, CPU us/call | ratio \
         | Keyfob without calls, CPU ms/s | ratio without that |\n\
         |---|---:|---:|---:|---:|---:|---:|---:|---:|\n",
    );
    let named = |kind: &Kind| env::args().any(|word| word == kind.to_string());
    let all = !KINDS.iter().any(named);
    for kind in KINDS.into_iter().filter(|kind| all || named(kind)) {
        if let Some(row) = measure(kind, seconds, rounds) {
            let _ = writeln!(table, "{row}");
        }
    }
    figures::show("gateways", &table);
}

fn measure(kind: Kind, seconds: u32, rounds: u32) -> Option<String> {
    let keyfob = Keyfob::start(kind, "refused_per_minute = 0\n");
    let bare = Bare::start(kind);
    let backend = Nginx::start();
    let start = |kind, authorizers| {
        let backend = backend.backend;
        Gateway::start(
            kind,
            &Places {
                authorizers,
                backend,
            },
            &[],
        )
    };
    let with_keyfob = start(kind, keyfob.addresses())?;
    let with_bare = start(kind, bare.addresses())?;
    let key = keyfob.create("orders", "laptop");
    // Both authorizers follow the store.
    thread::sleep(Duration::from_secs(2));
    let pids: Vec<u32> = keyfob.pids().into_iter().flatten().collect();
    let idle = idle(&pids);
    let (mut of_keyfob, mut of_bare) = (Vec::new(), Vec::new());
    for _ in 0..rounds {
        of_bare.push(load(with_bare.address(), &key, seconds, &bare.pids()));
        of_keyfob.push(load(with_keyfob.address(), &key, seconds, &pids));
    }
    let (bare_rate, bare_cpu) = median(of_bare);
    let (keyfob_rate, keyfob_cpu) = median(of_keyfob);
    Some(format!(
        "| {kind} | {bare_rate:.0} | {keyfob_rate:.0} | {:.2} | {bare_cpu:.1} | {keyfob_cpu:.1} | {:.2} | {:.0} | {:.2} |",
        keyfob_rate / bare_rate,
        keyfob_cpu / bare_cpu,
        idle * 1e3,
        (keyfob_cpu - idle * 1e6 / keyfob_rate) / bare_cpu,
    ))
}

/// The processor time of processes in a second, in seconds.
fn idle(pids: &[u32]) -> f64 {
    let time = Duration::from_secs(5);
    let before = processor_time(pids);
    thread::sleep(time);
    (processor_time(pids) - before) / time.as_secs_f64()
}

/// Calls a second, and the authorizer's processor time per call in microseconds.
fn load(gateway: SocketAddr, key: &str, seconds: u32, authorizers: &[u32]) -> (f64, f64) {
    let before = processor_time(authorizers);
    let output = Command::new("wrk")
        .args(["-t1", "-c16", &format!("-d{seconds}s"), "-H"])
        .arg(format!("Authorization: Basic {}", STANDARD.encode(key)))
        .arg(format!(
            "http://{gateway}/api/v1/namespaces/orders/actions/x"
        ))
        .output()
        .expect("wrk is installed");
    let after = processor_time(authorizers);
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(!text.contains("Non-2xx"), "calls were refused: {text}");
    let rate = text
        .lines()
        .find_map(|line| line.strip_prefix("Requests/sec:"));
    let rate: f64 = rate
        .and_then(|rate| rate.trim().parse().ok())
        .expect("wrk prints a rate");
    (rate, (after - before) * 1e6 / (rate * f64::from(seconds)))
}

/// The seconds that these processes and their threads have run.
fn processor_time(pids: &[u32]) -> f64 {
    pids.iter().map(|pid| processor_time_of(*pid)).sum()
}

fn processor_time_of(pid: u32) -> f64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).expect("the process runs");
    let rest = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
    let numbers: Vec<&str> = rest.split_whitespace().collect();
    let ticks: f64 = [11, 12]
        .iter()
        .filter_map(|at| numbers[*at].parse::<f64>().ok())
        .sum();
    // Linux counts a hundred a second.
    ticks / 100.0
}

fn median(mut all: Vec<(f64, f64)>) -> (f64, f64) {
    let middle = all.len() / 2;
    all.sort_by(|a, b| a.0.total_cmp(&b.0));
    let rate = all[middle].0;
    all.sort_by(|a, b| a.1.total_cmp(&b.1));
    (rate, all[middle].1)
}

/// Two authorizers that accept everything.
enum Bare {
    Http([Nginx; 2]),
    Grpc([BareGrpc; 2]),
}

impl Bare {
    fn start(kind: Kind) -> Self {
        match kind {
            Kind::EnvoyGrpc => Self::Grpc([(); 2].map(|()| BareGrpc::start())),
            _ => Self::Http([(); 2].map(|()| Nginx::start())),
        }
    }

    fn addresses(&self) -> [SocketAddr; 2] {
        match self {
            Self::Http(servers) => servers.each_ref().map(|nginx| nginx.authorizer),
            Self::Grpc(servers) => servers.each_ref().map(|server| server.address),
        }
    }

    fn pids(&self) -> Vec<u32> {
        match self {
            Self::Http(servers) => servers.iter().flat_map(Nginx::workers).collect(),
            Self::Grpc(servers) => servers.iter().map(|server| server.child.id()).collect(),
        }
    }
}

/// What the answer to an accepted call says, as Keyfob does. A field with an empty value is left out.
const IDENTITY: [(&str, &str); 5] = [
    ("Key-Id", "acme_v1_d79e8aeb42e5476893c7d4c59a166264"),
    ("Owner", "user:alice"),
    ("Team", "acme"),
    ("Namespace", "orders"),
    ("Scopes", "*"),
];

/// An nginx that can be a backend or a bare authorizer, with a worker for each core, as Keyfob has threads. It is
/// stopped with this value.
struct Nginx {
    child: Child,
    _folder: TempDir,
    backend: SocketAddr,
    authorizer: SocketAddr,
}

impl Nginx {
    fn start() -> Self {
        let folder = TempDir::new().unwrap();
        let [backend, authorizer] =
            [(); 2].map(|()| SocketAddr::from(([127, 0, 0, 1], free_port())));
        let file = folder.path().join("nginx.conf");
        fs::write(&file, configuration(folder.path(), backend, authorizer)).unwrap();
        let program = ["/usr/sbin/nginx", "/usr/bin/nginx"]
            .into_iter()
            .find(|file| Path::new(file).exists());
        let child = Command::new(program.expect("nginx is installed"))
            .arg("-p")
            .arg(folder.path())
            .arg("-c")
            .arg(file)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        while TcpStream::connect(authorizer).is_err() {
            thread::sleep(Duration::from_millis(20));
        }
        Self {
            child,
            _folder: folder,
            backend,
            authorizer,
        }
    }

    fn workers(&self) -> Vec<u32> {
        let pid = self.child.id();
        let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"));
        let children = children.expect("the process runs");
        let workers = children.split_whitespace().map(str::parse);
        workers.map(|pid| pid.expect("a number")).collect()
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        // It ends its workers too.
        let _ = kill_process(Pid::from_child(&self.child), Signal::TERM);
        let _ = self.child.wait();
    }
}

fn configuration(folder: &Path, backend: SocketAddr, authorizer: SocketAddr) -> String {
    let folder = folder.display();
    let temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"];
    let temporary = temporary
        .map(|kind| format!("{kind}_temp_path {folder}/{kind};\n"))
        .concat();
    let identity = IDENTITY
        .map(|(name, value)| format!("add_header X-Keyfob-{name} {value};\n"))
        .concat();
    // As a gateway's first call without a key expects it.
    format!(
        "daemon off;\nworker_processes auto;\npid {folder}/pid;\nerror_log {folder}/error.log;\n\
         events {{ worker_connections 4096; }}\nhttp {{\naccess_log off;\nkeepalive_requests 100000000;\n{temporary}\
         map $http_authorization $refused {{ default 0; \"\" 1; }}\n\
         server {{ listen {backend}; location / {{ return 200 x; }} }}\n\
         server {{ listen {authorizer};\n\
         location = /readyz {{ return 200; }}\n\
         location / {{ if ($refused) {{ return 401; }} {identity}add_header Cache-Control no-store; return 200; }} }}\n}}\n"
    )
}
