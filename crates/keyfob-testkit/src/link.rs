//! A network path that a test breaks: what it carries is lost without a word, delayed, or altered.

use std::{
    io::{self, Read as _, Write as _},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

/// A path from a port of the loopback to a server, for any number of connections.
#[derive(Debug)]
pub struct Link {
    address: SocketAddr,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    server: SocketAddr,
    mode: AtomicU8,
    altered: AtomicU64,
    /// How long each piece of the server's is held, in milliseconds.
    delay: AtomicU64,
    closed: AtomicBool,
}

/// What a path does with the bytes that it is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Mode {
    /// It carries them.
    Open,
    /// It loses them, in both directions and in silence. Connections stay open, and new ones are
    /// accepted, as when packets are dropped behind a load balancer.
    Silent,
    /// It closes all connections, and new ones as soon as they are accepted.
    Closed,
    /// It carries them, and flips a bit in every second piece that the server sends.
    Corrupt,
    /// It carries them, and sends a line of the server's again in place of a later one of the same
    /// length.
    Replay,
}

impl Link {
    /// A path to a server of the loopback.
    pub fn to(server: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("the loopback has a free port");
        let address = listener.local_addr().expect("the loopback has a free port");
        let shared = Arc::new(Shared {
            server,
            mode: AtomicU8::new(Mode::Open as u8),
            altered: AtomicU64::new(0),
            delay: AtomicU64::new(0),
            closed: AtomicBool::new(false),
        });
        let accepting = Arc::clone(&shared);
        thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                if accepting.closed.load(Ordering::Acquire) {
                    return;
                }
                let shared = Arc::clone(&accepting);
                thread::spawn(move || shared.connect(client));
            }
        });
        Self { address, shared }
    }

    /// Where clients connect.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Changes what the path does, also with connections that are open.
    pub fn set(&self, mode: Mode) {
        self.shared.mode.store(mode as u8, Ordering::Release);
    }

    /// Holds each piece that the server sends for this long, also on connections that are open.
    pub fn set_delay(&self, delay: Duration) {
        let delay = u64::try_from(delay.as_millis()).unwrap_or(u64::MAX);
        self.shared.delay.store(delay, Ordering::Release);
    }

    /// The number of pieces that the path has altered so far.
    pub fn altered(&self) -> u64 {
        self.shared.altered.load(Ordering::Relaxed)
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.set(Mode::Closed);
        self.shared.closed.store(true, Ordering::Release);
        // The thread that accepts ends with the next connection.
        let _ = TcpStream::connect(self.address);
    }
}

impl Shared {
    fn mode(&self) -> Mode {
        match self.mode.load(Ordering::Acquire) {
            0 => Mode::Open,
            1 => Mode::Silent,
            3 => Mode::Corrupt,
            4 => Mode::Replay,
            _ => Mode::Closed,
        }
    }

    fn connect(&self, client: TcpStream) {
        // A path that loses everything connects when it carries again.
        while self.mode() == Mode::Silent {
            thread::sleep(PAUSE);
        }
        if self.mode() == Mode::Closed {
            return;
        }
        let Ok(server) = TcpStream::connect(self.server) else {
            return;
        };
        let pair = (client.try_clone(), server.try_clone());
        let (Ok(from_client), Ok(to_server)) = pair else {
            return;
        };
        thread::scope(|scope| {
            scope.spawn(|| self.carry(from_client, to_server, false));
            self.carry(server, client, true);
        });
    }

    /// Carries bytes one way, until either end closes; any failure closes both ways.
    fn carry(&self, mut from: TcpStream, mut to: TcpStream, is_answer: bool) {
        // A broken connection is as good as one that has ended.
        let _ = self.try_carry(&mut from, &mut to, is_answer);
        let _ = from.shutdown(Shutdown::Both);
        let _ = to.shutdown(Shutdown::Both);
    }

    fn try_carry(
        &self,
        from: &mut TcpStream,
        to: &mut TcpStream,
        is_answer: bool,
    ) -> io::Result<()> {
        from.set_read_timeout(Some(PAUSE))?;
        to.set_nodelay(true)?;
        let mut piece = vec![0; 1 << 16];
        let mut kept: Vec<Vec<u8>> = Vec::new();
        let mut count = 0_u64;
        loop {
            if self.mode() == Mode::Closed {
                return Ok(());
            }
            let read = match from.read(&mut piece) {
                Ok(0) => return Ok(()),
                Ok(read) => read,
                Err(error) if is_idle(&error) => continue,
                Err(error) => return Err(error),
            };
            let Some(bytes) = piece.get_mut(..read) else {
                return Ok(());
            };
            count += 1;
            match self.mode() {
                // What was lost is not sent again: the stream goes on with a hole, and never ends.
                Mode::Silent => {
                    while self.mode() == Mode::Silent {
                        thread::sleep(PAUSE);
                    }
                    return Ok(());
                }
                Mode::Closed => return Ok(()),
                Mode::Corrupt if is_answer && count.is_multiple_of(2) => {
                    let at = read * 2 / 3;
                    if let Some(byte) = bytes.get_mut(at) {
                        *byte ^= 1;
                        self.altered.fetch_add(1, Ordering::Relaxed);
                    }
                }
                Mode::Replay if is_answer => {
                    // An older piece of the same length: chunks of bookmarks are.
                    let older = kept.iter().find(|old| old.len() == read);
                    if let Some(older) = older.filter(|old| *old != bytes) {
                        bytes.copy_from_slice(older);
                        self.altered.fetch_add(1, Ordering::Relaxed);
                    }
                }
                Mode::Open | Mode::Corrupt | Mode::Replay => {}
            }
            if is_answer && kept.len() < KEPT && self.mode() == Mode::Open {
                kept.push(bytes.to_vec());
            }
            if is_answer {
                self.hold();
                if self.mode() == Mode::Closed {
                    return Ok(());
                }
            }
            to.write_all(bytes)?;
        }
    }

    /// Waits for the delay of an answer, or until the path is closed.
    fn hold(&self) {
        let delay = Duration::from_millis(self.delay.load(Ordering::Acquire));
        let began = Instant::now();
        while self.mode() != Mode::Closed {
            let left = delay.saturating_sub(began.elapsed());
            if left.is_zero() {
                return;
            }
            thread::sleep(left.min(PAUSE));
        }
    }
}

fn is_idle(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut
    )
}

/// How often a path looks whether it has changed.
const PAUSE: Duration = Duration::from_millis(20);
/// How many pieces of a connection are kept to be sent again.
const KEPT: usize = 64;
