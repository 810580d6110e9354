//! A load of calls whose right answers are known.

use std::{
    collections::BTreeMap,
    io::{self, BufRead as _, BufReader, Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use crate::server::{PATIENCE, basic};

/// What is known of a credential.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Fate {
    /// It works.
    Works,
    /// It is being revoked: any answer is right.
    Ends,
    /// It was revoked, which was acknowledged at this time.
    Ended(Instant),
    /// It never worked.
    Never,
}

/// Asks gateways without a pause about credentials, and judges each answer.
pub(crate) struct Witness {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

struct Shared {
    /// How long a gateway may decide without news.
    bound: Duration,
    credentials: Mutex<Vec<(String, Fate)>>,
    counts: Mutex<BTreeMap<(usize, u16), u64>>,
    /// When each gateway last accepted a call.
    accepted: Mutex<Vec<Option<Instant>>>,
    wrong: Mutex<Vec<String>>,
    stop: AtomicBool,
}

impl Witness {
    /// Asks these gateways about these credentials.
    pub(crate) fn of(
        gateways: &[SocketAddr],
        bound: Duration,
        credentials: impl IntoIterator<Item = (String, Fate)>,
    ) -> Self {
        let credentials = credentials.into_iter();
        let credentials = credentials.map(|(credential, fate)| (basic(&credential), fate));
        let shared = Arc::new(Shared {
            bound,
            credentials: Mutex::new(credentials.collect()),
            counts: Mutex::default(),
            accepted: Mutex::new(vec![None; gateways.len()]),
            wrong: Mutex::default(),
            stop: AtomicBool::new(false),
        });
        let askers = (0..gateways.len()).flat_map(|gateway| [gateway; ASKERS]);
        let threads = askers.enumerate().map(|(asker, gateway)| {
            let (shared, address) = (Arc::clone(&shared), gateways[gateway]);
            thread::spawn(move || shared.ask(asker, gateway, address))
        });
        let threads = threads.collect();
        Self { shared, threads }
    }

    /// Changes what is known of the n-th credential.
    pub(crate) fn set(&self, n: usize, fate: Fate) {
        lock(&self.shared.credentials)[n].1 = fate;
    }

    /// The number of answers of a gateway with this status so far.
    pub(crate) fn count(&self, gateway: usize, status: u16) -> u64 {
        let counts = lock(&self.shared.counts);
        counts.get(&(gateway, status)).copied().unwrap_or_default()
    }

    /// When a gateway last accepted a call; `None` if it never did.
    pub(crate) fn last_accepted(&self, gateway: usize) -> Option<Instant> {
        lock(&self.shared.accepted)[gateway]
    }

    /// Waits until a gateway answers for a while, and with 503 only.
    pub(crate) fn await_refusal(&self, gateway: usize) -> Duration {
        let start = Instant::now();
        loop {
            let before = [200, 401, 503].map(|status| self.count(gateway, status));
            thread::sleep(Duration::from_millis(200));
            let after = [200, 401, 503].map(|status| self.count(gateway, status));
            if before[..2] == after[..2] && after[2] > before[2] {
                return start.elapsed();
            }
            assert!(start.elapsed() < PATIENCE, "it goes on: {after:?}");
        }
    }

    /// Waits until a gateway accepts calls.
    pub(crate) fn await_acceptance(&self, gateway: usize) -> Duration {
        let (start, before) = (Instant::now(), self.count(gateway, 200));
        while self.count(gateway, 200) <= before {
            assert!(start.elapsed() < PATIENCE, "it does not recover");
            thread::sleep(Duration::from_millis(5));
        }
        start.elapsed()
    }

    /// Stops asking, and returns the number of answers, none of which was wrong.
    pub(crate) fn right(mut self) -> u64 {
        self.stop();
        let wrong = lock(&self.shared.wrong);
        assert!(
            wrong.is_empty(),
            "{} wrong answers: {:?}",
            wrong.len(),
            &wrong[..wrong.len().min(5)]
        );
        lock(&self.shared.counts).values().sum()
    }

    fn stop(&mut self) {
        self.shared.stop.store(true, Ordering::Release);
        for thread in self.threads.drain(..) {
            // It has told what it found.
            let _ = thread.join();
        }
    }
}

impl Drop for Witness {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Shared {
    fn ask(&self, asker: usize, gateway: usize, address: SocketAddr) {
        let mut connection = None;
        for round in asker.. {
            if self.stop.load(Ordering::Acquire) {
                return;
            }
            let credentials = lock(&self.credentials);
            let n = round % credentials.len();
            let (credential, before) = credentials[n].clone();
            drop(credentials);
            let start = Instant::now();
            let status = connect(&mut connection, address, &credential);
            let after = lock(&self.credentials)[n].1;
            match status {
                Ok(status) => {
                    *lock(&self.counts).entry((gateway, status)).or_default() += 1;
                    if status == 200 {
                        lock(&self.accepted)[gateway] = Some(start);
                    }
                    if !self.is_right(status, before, after, start) {
                        let text = format!("{status} of gateway {gateway} for {n}: {before:?}");
                        lock(&self.wrong).push(text);
                    }
                }
                Err(error) => {
                    connection = None;
                    lock(&self.wrong).push(format!("gateway {gateway}: {error}"));
                }
            }
            thread::sleep(PAUSE);
        }
    }

    fn is_right(&self, status: u16, before: Fate, after: Fate, start: Instant) -> bool {
        match (status, before, after) {
            (503, ..)
            | (401, Fate::Ends | Fate::Ended(_) | Fate::Never, _)
            | (401, _, Fate::Ends | Fate::Ended(_))
            | (200, Fate::Works | Fate::Ends, _) => true,
            // What is signed has whole seconds.
            (200, Fate::Ended(at), _) => start < at + self.bound + Duration::from_secs(1),
            _ => false,
        }
    }
}

/// Asks over a connection that stays open, and returns the status.
fn connect(
    connection: &mut Option<BufReader<TcpStream>>,
    address: SocketAddr,
    credential: &str,
) -> io::Result<u16> {
    if connection.is_none() {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        *connection = Some(BufReader::new(stream));
    }
    let stream = connection.as_mut().ok_or(io::ErrorKind::NotConnected)?;
    let request = format!("GET /auth/orders HTTP/1.1\r\nHost: keyfob\r\n{credential}\r\n\r\n");
    stream.get_mut().write_all(request.as_bytes())?;
    let (mut status, mut length) = (None, 0);
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let line = line.trim_end().to_ascii_lowercase();
        if line.is_empty() {
            break;
        }
        if status.is_none() {
            status = line.split(' ').nth(1).and_then(|text| text.parse().ok());
        } else if let Some(value) = line.strip_prefix("content-length:") {
            length = value.trim().parse().unwrap_or_default();
        }
    }
    io::copy(&mut stream.take(length), &mut io::sink())?;
    status.ok_or(io::ErrorKind::InvalidData.into())
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("nothing panics meanwhile")
}

/// The number of connections to each gateway.
const ASKERS: usize = 2;
/// How long a connection waits between two calls.
const PAUSE: Duration = Duration::from_millis(2);
