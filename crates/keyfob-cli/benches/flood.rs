//! What valid calls to the authorizer wait while others attack it: with 100,000 unknown keys a second, connections
//! without a request, requests that arrive byte by byte, and answers that nobody reads.
//!
//! ```sh
//! cargo bench -p keyfob-cli --bench flood [-- --seconds N] [--print] [--write ../../docs/gateways.md]
//! ```
//!
//! It fails if the p99 of valid calls is more than twice that without the others in any row, or if the server's
//! memory grows when all of them are repeated; with `--print` it only says so.
//!
//! Everything runs on the loopback of one machine for `N` (5) seconds per row; the quiet p99 is the median of as many
//! runs as there are rows. In the field the server, the callers and the attackers have machines of their own, so here the
//! server has the first core, the valid calls come from threads that get the second one at once (`chrt --fifo`, for
//! which one must be root), and the attackers are a process that runs only where nothing else does (`chrt --idle`).

#![expect(clippy::print_stderr, reason = "it says what it does")]

#[path = "../tests/cli/program.rs"]
#[expect(dead_code, reason = "the tests use more of it")]
mod program;
#[path = "../tests/cli/server.rs"]
#[expect(dead_code, reason = "the tests use more of it")]
mod server;

use std::{
    env,
    fmt::Write as _,
    fs,
    io::{self, BufRead as _, BufReader, Read, Write},
    iter,
    net::{Ipv4Addr, SocketAddr, TcpStream},
    process::{Child, ChildStdin, ChildStdout, Command, ExitCode, Stdio},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use keyfob::{Context, Keyring, MemoryStore, NewKey, block_on, now};
use keyfob_testkit::figures;
use program::Program;
use rustix::{
    net::sockopt::set_socket_recv_buffer_size,
    thread::{CpuSet, gettid, sched_setaffinity},
};
use server::{Server, bearer};

/// Connections of valid calls, as a gateway keeps them open.
const VALID: usize = 4;
/// How long each of them waits between two calls.
const BETWEEN: Duration = Duration::from_millis(2);
/// Connections that never send a request: as many as the server takes.
const IDLE: usize = 512;
/// Connections that send a request byte by byte, and as many that read no answer.
const SLOW: usize = 64;
/// Connections that send unknown keys.
const FLOODING: usize = 8;
/// Requests that each of them sends before it reads the answers.
const PIPELINED: usize = 16;
/// How often each of them does so: all of them send 100,000 unknown keys a second.
const EVERY: Duration =
    Duration::from_nanos(1_000_000_000 * (PIPELINED * FLOODING) as u64 / 100_000);
/// Unknown keys, which are sent in turns.
const UNKNOWN: usize = 4_096;

fn main() -> ExitCode {
    let mut arguments = env::args().skip(1);
    if arguments.next().as_deref() == Some(ROLE) {
        run_on(|_| true);
        attack(arguments);
        return ExitCode::SUCCESS;
    }
    let seconds = env::args().skip_while(|argument| argument != "--seconds");
    let seconds = seconds.skip(1).find_map(|number| number.parse().ok());
    let time = Duration::from_secs(seconds.unwrap_or(5));
    let program = Program::new();
    let key = program.create(&["laptop"]);
    run_on(|core| core == 0);
    let server = Server::start(&program, &[]);
    run_on(|core| core > 0);
    server.await_auth(&key, "orders", 200);
    let prefix = key.split("_v1_").next().unwrap_or_default();
    let bench = Bench {
        prefix: prefix.to_owned(),
        key,
        server,
        time,
    };
    let _ = bench.row(&[]);

    let mut table = String::from(
        "| besides the valid calls | unknown keys/s | valid calls: p50 (ms) | p99 (ms) | to the quiet p99 | longest (ms) | server (MiB) |\n\
         |---|---:|---:|---:|---:|---:|---:|\n",
    );
    let mut faults = Vec::new();
    let mut readings = Vec::new();
    let (mut quiet, mut attacked) = (Vec::new(), Vec::new());
    for (name, attacks) in [
        ("512 connections without a request", &[Attack::Idle][..]),
        (
            "64 that send byte by byte, 64 that read nothing",
            &[Attack::SlowSenders, Attack::SlowReaders],
        ),
        ("unknown keys of one client", &[Attack::OneClient]),
        (
            "unknown keys, each of another client",
            &[Attack::AllClients],
        ),
        ("all of them", &ALL),
    ] {
        eprintln!("{name}");
        quiet.push(bench.row(&[]));
        attacked.push((name, bench.row(attacks)));
    }
    quiet.sort_by(|one: &Row, other| one.part(99).total_cmp(&other.part(99)));
    let quiet = quiet.swap_remove(quiet.len() / 2);
    let quiet_late = quiet.part(99);
    for (name, row) in iter::once(("nothing", quiet)).chain(attacked) {
        let late = row.part(99);
        if late > quiet_late * LATER {
            faults.push(format!(
                "{name}: the p99 is {:.1} times the quiet one",
                late / quiet_late
            ));
        }
        #[expect(clippy::cast_precision_loss, reason = "a figure for people")]
        let rate = row.unknown as f64 / time.as_secs_f64();
        let _ = writeln!(
            table,
            "| {name} | {rate:.0} | {:.2} | {late:.2} | {:.1} | {:.0} | {} |",
            row.part(50),
            late / quiet_late,
            row.part(100),
            row.memory,
        );
    }
    figures::show("flood", &table);
    for _ in 0..READINGS {
        readings.push(bench.row(&ALL).memory);
    }
    eprintln!("the server's memory with all of them, again: {readings:?} MiB");
    if let (Some(first), Some(last)) = (readings.first(), readings.last())
        && *last > first + first / GROWTH
    {
        faults.push(format!("the server's memory grows: {readings:?} MiB"));
    }
    for fault in &faults {
        eprintln!("{fault}");
    }
    let only_prints = env::args().any(|argument| argument == "--print");
    if faults.is_empty() || only_prints {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// Lets this thread run on these of the two cores, and what it starts from now on.
fn run_on(cores: impl Fn(usize) -> bool) {
    let mut set = CpuSet::new();
    for core in (0..2).filter(|core| cores(*core)) {
        set.set(core);
    }
    sched_setaffinity(None, &set).expect("two cores");
}

/// All attacks at once.
const ALL: [Attack; 4] = [
    Attack::Idle,
    Attack::SlowSenders,
    Attack::SlowReaders,
    Attack::AllClients,
];
/// How much later than without the others valid calls may be answered.
const LATER: f64 = 2.0;
/// How often the server's memory is read, with all attacks each time.
const READINGS: usize = 5;
/// It may grow by one part in this many.
const GROWTH: u64 = 10;

/// What others do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Attack {
    Idle,
    SlowSenders,
    SlowReaders,
    OneClient,
    AllClients,
}

impl Attack {
    const ALL: [Self; 5] = [
        Self::Idle,
        Self::SlowSenders,
        Self::SlowReaders,
        Self::OneClient,
        Self::AllClients,
    ];
}

/// What was measured.
struct Row {
    /// Refused calls with unknown keys.
    unknown: u64,
    /// How long each valid call waited, from the shortest.
    waits: Vec<Duration>,
    /// The server's memory afterwards, in MiB.
    memory: u64,
}

impl Row {
    /// So many of a hundred valid calls waited no longer, in milliseconds.
    fn part(&self, part: usize) -> f64 {
        self.waits[(self.waits.len() - 1) * part / 100].as_secs_f64() * 1e3
    }
}

struct Bench {
    server: Server,
    /// What begins every key.
    prefix: String,
    key: String,
    time: Duration,
}

impl Bench {
    fn row(&self, attacks: &[Attack]) -> Row {
        let mut attackers = Attackers::start(self.server.asked_at, &self.prefix, attacks);
        // Until they have begun.
        thread::sleep(Duration::from_millis(500));
        let before = attackers.refused();
        let waits = thread::scope(|scope| {
            let valid: Vec<_> = (0..VALID)
                .map(|_| scope.spawn(|| self.valid_calls()))
                .collect();
            let waits = valid.into_iter().map(thread::ScopedJoinHandle::join);
            let waits = waits.flat_map(|waits| waits.expect("every valid call passed"));
            let mut waits: Vec<_> = waits.collect();
            waits.sort_unstable();
            waits
        });
        let row = Row {
            unknown: attackers.refused() - before,
            waits,
            memory: memory(self.server.pid()),
        };
        drop(attackers);
        // The server closes what is left of the attack.
        thread::sleep(Duration::from_millis(500));
        row
    }

    /// Calls until the time is over, and returns how long each call waited.
    fn valid_calls(&self) -> Vec<Duration> {
        // A core that the server keeps busy would let the caller wait for the end of its slice, also with the highest
        // priority of the usual class. Only root may.
        let _ = Command::new("chrt")
            .args(["--fifo", "--pid", "1", &gettid().to_string()])
            .status();
        let credential = bearer(&self.key);
        let request = format!("GET /auth/orders HTTP/1.1\r\nHost: keyfob\r\n{credential}\r\n\r\n");
        let mut connection = None;
        let mut waits = Vec::new();
        let start = Instant::now();
        while start.elapsed() < self.time {
            let asked = Instant::now();
            // The server may have closed it in the meantime, as a gateway has to expect.
            let head = loop {
                let mut open = connection
                    .take()
                    .unwrap_or_else(|| connect(self.server.asked_at));
                if let Ok(head) = ask(&mut open, &request) {
                    connection = Some(open);
                    break head;
                }
                assert!(asked.elapsed() < PATIENCE, "a valid call was not answered");
            };
            waits.push(asked.elapsed());
            assert!(head.starts_with("HTTP/1.1 200"), "refused: {head}");
            if head.contains("connection: close") {
                connection = None;
            }
            thread::sleep(BETWEEN);
        }
        waits
    }
}

/// The process of the attackers. It is killed with this value.
struct Attackers {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Attackers {
    fn start(address: SocketAddr, prefix: &str, attacks: &[Attack]) -> Self {
        let mut child = Command::new("chrt")
            .args(["--idle", "0"])
            .arg(env::current_exe().expect("the program has a path"))
            .args([ROLE, &address.to_string(), prefix])
            .args(attacks.iter().map(|attack| format!("{attack:?}")))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("chrt (util-linux) is installed");
        let output = child.stdout.take().expect("it is piped");
        Self {
            input: child.stdin.take().expect("it is piped"),
            output: BufReader::new(output),
            child,
        }
    }

    /// Refused calls with unknown keys so far.
    fn refused(&mut self) -> u64 {
        writeln!(self.input).expect("it runs");
        let mut line = String::new();
        self.output.read_line(&mut line).expect("it answers");
        line.trim().parse().expect("a number")
    }
}

impl Drop for Attackers {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

const ROLE: &str = "in-the-role-of-attackers";

/// Attacks, and tells how many calls were refused each time it is asked, until the input ends.
#[expect(clippy::print_stdout, reason = "another process reads it")]
fn attack(mut arguments: impl Iterator<Item = String>) {
    let address = arguments.next().and_then(|text| text.parse().ok());
    let prefix = arguments.next().expect("a prefix");
    let attacker = Arc::new(Attacker {
        address: address.expect("an address"),
        unknown: unknown(&prefix),
        refused: AtomicU64::new(0),
    });
    for name in arguments {
        let attack = Attack::ALL
            .into_iter()
            .find(|attack| format!("{attack:?}") == name);
        let attack = attack.expect("a known attack");
        let threads = match attack {
            Attack::OneClient | Attack::AllClients => FLOODING,
            _ => 1,
        };
        for number in 0..threads {
            let attacker = Arc::clone(&attacker);
            thread::spawn(move || attacker.attack(attack, number));
        }
    }
    for _ in io::stdin().lines().map_while(Result::ok) {
        println!("{}", attacker.refused.load(Ordering::Relaxed));
    }
}

struct Attacker {
    address: SocketAddr,
    unknown: Vec<String>,
    refused: AtomicU64,
}

impl Attacker {
    fn attack(&self, attack: Attack, number: usize) {
        match attack {
            Attack::Idle => self.hold(IDLE, |_| Ok(())),
            Attack::SlowSenders => {
                let mut request = b"GET /auth/orders HTTP/1.1\r\nX-Slow: ".iter().cycle();
                self.hold(SLOW, |connection| {
                    let byte = request.next().copied().unwrap_or(b'x');
                    connection.write_all(&[byte])
                });
            }
            Attack::SlowReaders => {
                let requests = self.requests(0, false).repeat(8);
                self.hold(SLOW, |connection| {
                    match connection.write(requests.as_bytes()) {
                        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(()),
                        written => written.map(drop),
                    }
                });
            }
            Attack::OneClient => self.flood(number, false),
            Attack::AllClients => self.flood(number, true),
        }
    }

    /// Keeps a number of connections, does this with each from time to time, and opens those again that the server has
    /// closed.
    fn hold(&self, count: usize, mut act: impl FnMut(&mut TcpStream) -> io::Result<()>) {
        let open = || {
            let connection = connect(self.address);
            let _ = connection.set_nonblocking(true);
            // Answers that are not read soon wait at the server.
            let _ = set_socket_recv_buffer_size(&connection, 4_096);
            connection
        };
        let mut connections: Vec<TcpStream> = (0..count).map(|_| open()).collect();
        loop {
            for connection in &mut connections {
                let is_closed = matches!(connection.peek(&mut [0]), Ok(0));
                if is_closed || act(connection).is_err() {
                    *connection = open();
                }
            }
            thread::sleep(Duration::from_millis(100));
        }
    }

    fn flood(&self, number: usize, many_clients: bool) {
        let batches: Vec<String> = (0..UNKNOWN / PIPELINED)
            .map(|batch| self.requests(batch * PIPELINED + number * 7, many_clients))
            .collect();
        let mut connection = connect(self.address);
        let mut next = Instant::now();
        for batch in batches.iter().cycle() {
            thread::sleep(next.saturating_duration_since(Instant::now()));
            next += EVERY;
            match ask_all(&mut connection, batch) {
                Ok(()) => {
                    self.refused.fetch_add(PIPELINED as u64, Ordering::Relaxed);
                }
                Err(_) => connection = connect(self.address),
            }
        }
    }

    /// Requests with unknown keys.
    fn requests(&self, first: usize, many_clients: bool) -> String {
        let requests = (first..first + PIPELINED).map(|number| {
            let credential = bearer(&self.unknown[number % UNKNOWN]);
            let client = if many_clients { number } else { 0 };
            let client = Ipv4Addr::from(0x0a00_0000 + u32::try_from(client).unwrap_or(0));
            format!(
                "GET /auth/orders HTTP/1.1\r\nHost: keyfob\r\nX-Real-IP: {client}\r\n{credential}\r\n\r\n"
            )
        });
        requests.collect()
    }
}

fn connect(address: SocketAddr) -> TcpStream {
    let connection = TcpStream::connect(address).expect("the server listens");
    let _ = connection.set_nodelay(true);
    let _ = connection.set_read_timeout(Some(PATIENCE));
    connection
}

/// Sends a request, and returns the head of its answer, which has no body.
fn ask(connection: &mut TcpStream, request: &str) -> io::Result<String> {
    connection.write_all(request.as_bytes())?;
    let (mut answer, mut length) = ([0; 4_096], 0);
    while !answer[..length].ends_with(b"\r\n\r\n") {
        match connection.read(&mut answer[length..])? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            more => length += more,
        }
    }
    Ok(String::from_utf8_lossy(&answer[..length]).into_owned())
}

/// Sends requests at once, and reads their answers, which are refusals.
fn ask_all(connection: &mut TcpStream, requests: &str) -> io::Result<()> {
    connection.write_all(requests.as_bytes())?;
    let (mut answers, mut length) = (vec![0; PIPELINED * 1_024], 0);
    // Each has a body of JSON.
    let ends = |answers: &[u8]| answers.split(|byte| *byte == b'}').count() - 1;
    while ends(&answers[..length]) < PIPELINED {
        match connection.read(&mut answers[length..])? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            more => length += more,
        }
    }
    Ok(())
}

/// Well-formed keys that the server does not know.
fn unknown(prefix: &str) -> Vec<String> {
    let keyring = block_on(Keyring::open(MemoryStore::new(), prefix)).expect("a valid prefix");
    let create = |number: usize| {
        let owner = format!("user-{}", number / 8);
        let new = NewKey::for_user("acme", "orders", &owner, &format!("key {number}"));
        let new = new.expect("the names are valid");
        let created = block_on(keyring.create(&Context::system(now()), new));
        created.expect("it can be made").secret.expose().to_owned()
    };
    (0..UNKNOWN).map(create).collect()
}

/// The resident memory of a process, in MiB.
fn memory(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("the process runs");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kilobytes = line.and_then(|line| line.split_whitespace().next());
    kilobytes
        .and_then(|text| text.parse::<u64>().ok())
        .expect("a number")
        / 1_024
}

const PATIENCE: Duration = Duration::from_secs(30);
