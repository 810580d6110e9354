use std::{
    io::{self, BufRead as _, BufReader, ErrorKind, Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};

use crate::readings::{Readings, readings};

/// A server behind a gateway that records every request.
///
/// It answers with the number of the record, `{"seen": N}`, or with what a path asks for:
///
/// - `/api/v1/namespaces` -> a list of the namespace that the gateway names
/// - `…/bytes/N` -> so many bytes
/// - a WebSocket -> what it receives
/// - an upgrade to any other protocol -> it agrees, and takes what follows for further requests
#[derive(Debug)]
pub struct Backend {
    address: SocketAddr,
    seen: Arc<Mutex<Vec<Seen>>>,
    stopped: Arc<AtomicBool>,
}

/// A request that arrived.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    /// The method.
    pub method: String,
    /// The target as it arrived.
    pub target: String,
    /// The namespaces that backends would read in it.
    pub readings: Readings,
    /// The fields as they arrived.
    pub fields: Vec<(String, String)>,
    /// The fields after a chunked body.
    pub trailers: Vec<(String, String)>,
    /// The length of the body.
    pub length: usize,
    /// The sum of the bytes of the body.
    pub sum: u64,
}

impl Seen {
    /// The values of the fields that a program which ignores case and takes `_` for `-` reads under a name.
    pub fn all(&self, name: &str) -> Vec<&str> {
        let same = |field: &str| field.replace('_', "-").eq_ignore_ascii_case(name);
        let found = self.fields.iter().filter(|(field, _)| same(field));
        found.map(|(_, value)| value.as_str()).collect()
    }

    /// The only value of a field; `None` if there is none, or more than one.
    pub fn only(&self, name: &str) -> Option<&str> {
        match self.all(name)[..] {
            [one] => Some(one),
            _ => None,
        }
    }
}

impl Backend {
    /// Listens on a port of the loopback.
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("the loopback has a free port");
        let address = listener.local_addr().expect("it has an address");
        let seen = Arc::new(Mutex::new(Vec::new()));
        let stopped = Arc::new(AtomicBool::new(false));
        let (all, end) = (Arc::clone(&seen), Arc::clone(&stopped));
        thread::spawn(move || {
            for stream in listener.incoming() {
                if end.load(Ordering::Relaxed) {
                    return;
                }
                let Ok(stream) = stream else { return };
                let seen = Arc::clone(&all);
                // A connection ends with the gateway's side of it.
                thread::spawn(move || serve(stream, &seen));
            }
        });
        Self {
            address,
            seen,
            stopped,
        }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// How many requests arrived so far.
    pub fn count(&self) -> usize {
        lock(&self.seen).len()
    }

    /// The requests that arrived after the first `count`.
    pub fn since(&self, count: usize) -> Vec<Seen> {
        lock(&self.seen).iter().skip(count).cloned().collect()
    }

    /// The request that an answer is to.
    pub fn seen(&self, body: &[u8]) -> Option<Seen> {
        let text = std::str::from_utf8(body).ok()?;
        let number = text.strip_prefix("{\"seen\": ")?.strip_suffix('}')?;
        lock(&self.seen).get(number.parse::<usize>().ok()?).cloned()
    }
}

impl Drop for Backend {
    fn drop(&mut self) {
        self.stopped.store(true, Ordering::Relaxed);
        // Wakes the listener up.
        let _ = TcpStream::connect(self.address);
    }
}

fn lock(seen: &Mutex<Vec<Seen>>) -> MutexGuard<'_, Vec<Seen>> {
    seen.lock().expect("nothing panics meanwhile")
}

fn serve(stream: TcpStream, seen: &Mutex<Vec<Seen>>) {
    let _ = stream.set_nodelay(true);
    let Ok(mut output) = stream.try_clone() else {
        return;
    };
    let mut input = BufReader::new(stream);
    // Any fault of the connection ends it.
    while matches!(answer(&mut input, &mut output, seen), Ok(true)) {}
}

/// Answers a request, and tells whether another may follow.
fn answer(
    input: &mut BufReader<TcpStream>,
    output: &mut TcpStream,
    seen: &Mutex<Vec<Seen>>,
) -> io::Result<bool> {
    let line = read_line(input)?;
    let mut parts = line.splitn(2, ' ');
    let method = parts.next().unwrap_or_default().to_owned();
    let rest = parts.next().unwrap_or_default();
    let target = rest.rsplit_once(' ').map_or(rest, |(target, _)| target);
    let mut request = Seen {
        readings: readings(target),
        target: target.to_owned(),
        method,
        ..Seen::default()
    };
    loop {
        let line = read_line(input)?;
        if line.is_empty() {
            break;
        }
        request.fields.push(field(&line));
    }
    let head = request.clone();
    let protocols = head.all("upgrade");
    if !protocols.is_empty() {
        lock(seen).push(request);
        let other = protocols
            .iter()
            .find(|name| !name.eq_ignore_ascii_case("websocket"));
        let Some(protocol) = other else {
            output.write_all(SWITCHED.as_bytes())?;
            return echo(input, output).map(|()| false);
        };
        let fields = format!("Upgrade: {protocol}\r\nConnection: Upgrade");
        write!(
            output,
            "HTTP/1.1 101 Switching Protocols\r\n{fields}\r\n\r\n"
        )?;
        return Ok(true);
    }
    if head.only("expect").is_some() {
        output.write_all(b"HTTP/1.1 100 Continue\r\n\r\n")?;
    }
    read_body(input, &head, &mut request)?;
    let number = {
        let mut seen = lock(seen);
        seen.push(request);
        seen.len() - 1
    };
    let path = head.target.split('?').next().unwrap_or_default();
    let body = if let Some((_, length)) = path.rsplit_once("/bytes/") {
        vec![b'x'; length.parse().unwrap_or(0)]
    } else if path.trim_end_matches('/') == "/api/v1/namespaces" {
        let namespace = head.only("x-keyfob-namespace").unwrap_or_default();
        format!("[\"{namespace}\"]").into_bytes()
    } else {
        format!("{{\"seen\": {number}}}").into_bytes()
    };
    let fields = "content-type: application/json\r\naccess-control-allow-origin: *";
    write!(
        output,
        "HTTP/1.1 200 OK\r\n{fields}\r\ncontent-length: {}\r\n\r\n",
        body.len()
    )?;
    if head.method != "HEAD" {
        output.write_all(&body)?;
    }
    Ok(true)
}

/// The answer to the handshake of RFC 6455, section 1.3, which every test sends.
const SWITCHED: &str = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";

fn echo(input: &mut BufReader<TcpStream>, output: &mut TcpStream) -> io::Result<()> {
    loop {
        let some = input.fill_buf()?.to_vec();
        if some.is_empty() {
            return Ok(());
        }
        input.consume(some.len());
        output.write_all(&some)?;
    }
}

fn read_body(input: &mut BufReader<TcpStream>, head: &Seen, request: &mut Seen) -> io::Result<()> {
    let mut body = |input: &mut BufReader<TcpStream>, length: usize| {
        let mut part = vec![0; length];
        input.read_exact(&mut part)?;
        request.length += length;
        request.sum += part.iter().map(|byte| u64::from(*byte)).sum::<u64>();
        Ok::<_, io::Error>(())
    };
    let chunked = head.all("transfer-encoding");
    let lengths = head.all("content-length");
    match (&chunked[..], &lengths[..]) {
        ([], []) => Ok(()),
        ([], [length]) => body(input, length.parse().map_err(|_| ErrorKind::InvalidData)?),
        (["chunked"], []) => loop {
            let line = read_line(input)?;
            let size = line.split(';').next().unwrap_or_default();
            let size = usize::from_str_radix(size, 16).map_err(|_| ErrorKind::InvalidData)?;
            if size == 0 {
                loop {
                    let line = read_line(input)?;
                    if line.is_empty() {
                        return Ok(());
                    }
                    request.trailers.push(field(&line));
                }
            }
            body(input, size)?;
            read_line(input)?;
        },
        // A gateway must not send these.
        _ => Err(ErrorKind::InvalidData.into()),
    }
}

fn field(line: &str) -> (String, String) {
    let (name, value) = line.split_once(':').unwrap_or((line, ""));
    (name.to_owned(), value.trim().to_owned())
}

fn read_line(input: &mut BufReader<TcpStream>) -> io::Result<String> {
    let mut line = Vec::new();
    if input.take(512 * 1024).read_until(b'\n', &mut line)? == 0 {
        return Err(ErrorKind::UnexpectedEof.into());
    }
    while line
        .last()
        .is_some_and(|byte| matches!(byte, b'\r' | b'\n'))
    {
        line.pop();
    }
    Ok(String::from_utf8_lossy(&line).into_owned())
}
