//! What one question of a proxy costs the authorizer: instructions, allocations and system calls, which a busy
//! machine does not change.
//!
//! ```sh
//! cargo bench -p keyfob-gateway --bench call [-- --write ../../docs/gateways.md]
//! ```
//!
//! It runs itself as a server under `valgrind` and under `strace` (Debian: packages of these names), asks it as
//! nginx does with two numbers of requests, and divides the difference. `valgrind` does not count what the kernel
//! does, nor what it takes to read the clock.

#![expect(clippy::expect_used, clippy::panic, reason = "a benchmark may stop")]

use std::{
    env,
    fmt::Write as _,
    io::{self, BufRead as _, BufReader, Read as _, Write as _},
    net::TcpStream,
    num::NonZeroUsize,
    process::{Command, Stdio},
};

use axum::{
    body::Bytes,
    http::{HeaderValue, Response, header::CACHE_CONTROL},
};
use keyfob::{Context, Keyring, MemoryStore, NewKey, block_on, now};
use keyfob_gateway::{
    Authorizer, field,
    http::{Front, RequestSource},
};
use keyfob_listen::{Address, Routes, Server};
use keyfob_testkit::figures;
use tokio::{runtime::Builder, sync::watch};

/// Connections of the client, which has a request on each.
const CONNECTIONS: usize = 8;
/// The requests of the two runs.
const REQUESTS: [usize; 2] = [4_000, 12_000];

fn main() {
    let mut arguments = env::args().skip(1);
    if arguments.next().as_deref() == Some("serve") {
        serve(arguments.next().as_deref() == Some("bare"));
    } else {
        measure();
    }
}

fn measure() {
    let mut table = String::from(
        "| answer | instructions | allocations | bytes | system calls |\n|---|---:|---:|---:|---:|\n",
    );
    for (kind, name) in [
        ("bare", "200 with the same fields, without a decision"),
        ("keyfob", "Keyfob's to a question with a valid key"),
    ] {
        let instructions = per_request(|requests| {
            let text = under("valgrind", &["--tool=callgrind", FILE], kind, requests);
            vec![after(&text, "Collected : ")]
        });
        let blocks = per_request(|requests| {
            let text = under("valgrind", &["--tool=dhat", DHAT_FILE], kind, requests);
            let (_, total) = text.split_once("Total:").expect("dhat has a total");
            vec![after(total, "bytes in "), after(total, "")]
        });
        let calls = per_request(|requests| {
            let text = under("strace", &["-f", "-c", "-U", "calls,name"], kind, requests);
            let total = text.lines().rev().find(|line| line.contains("total"));
            vec![after(total.expect("strace has a total"), "")]
        });
        let _ = writeln!(
            table,
            "| {name} | {:.0} | {:.1} | {:.0} | {:.1} |",
            instructions[0], blocks[0], blocks[1], calls[0]
        );
    }
    figures::show("call", &table);
}

/// Of each figure, the difference between two runs for one request.
fn per_request(run: impl Fn(usize) -> Vec<f64>) -> Vec<f64> {
    let [few, many] = REQUESTS.map(&run);
    #[expect(clippy::cast_precision_loss, reason = "a figure for people")]
    let requests = (REQUESTS[1] - REQUESTS[0]) as f64;
    let both = many.into_iter().zip(few);
    both.map(|(many, few)| (many - few) / requests).collect()
}

/// What a tool says about a server that answers this number of requests.
fn under(tool: &str, arguments: &[&str], kind: &str, requests: usize) -> String {
    let server = Command::new(tool)
        .args(arguments)
        .arg(env::current_exe().expect("it has a path"))
        .args(["serve", kind])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let mut server = server.unwrap_or_else(|error| panic!("{tool}: {error}"));
    let mut lines = BufReader::new(server.stdout.take().expect("it is piped")).lines();
    let mut line = || lines.next().expect("it serves").expect("it is text");
    let (address, authorization) = (line(), line());
    ask(&address, requests, &authorization);
    // It ends with its input.
    let output = server.wait_with_output().expect("it ends");
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{text}");
    text
}

/// The first number after a mark.
fn after(text: &str, mark: &str) -> f64 {
    let (_, rest) = text.split_once(mark).expect("the tool says it");
    let digits = rest.trim_start().chars();
    let digits = digits.take_while(|digit| digit.is_ascii_digit() || *digit == ',');
    let digits: String = digits.filter(char::is_ascii_digit).collect();
    digits.parse().expect("it is a number")
}

/// Serves on one thread, until the input ends.
fn serve(is_bare: bool) {
    let keyring = block_on(Keyring::open(MemoryStore::new(), "acme")).expect("it is empty");
    let new = NewKey::for_user("team", "orders", "alice", "laptop").expect("the names are valid");
    let key = block_on(keyring.create(&Context::system(now()), new)).expect("it can be made");
    let authorizer = Authorizer::builder(keyring.verifier(), *keyring.format()).build();
    let front = Front::new(authorizer, RequestSource::XOriginalUri);
    let routes = Routes::of(front.clone().into_router());
    let routes = if is_bare {
        routes.with_answer(|_| Some(bare()))
    } else {
        routes.with_answer(move |head| front.answer(head))
    };
    let runtime = Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime can be made").block_on(async {
        let address: Address = "127.0.0.1:0".parse().expect("it is an address");
        let listener = address.bind().await.expect("a free port");
        let address = listener.socket_address().expect("it is TCP");
        let server = Server::new("auth", listener, routes);
        let server = server.on_threads(NonZeroUsize::MIN).expect("a thread");
        let (stop, stopped) = watch::channel(());
        let server = tokio::spawn(server.serve(stopped));
        let mut output = io::stdout().lock();
        writeln!(output, "{address}\n{}", key.secret.bearer().as_str()).expect("it is read");
        let wait = || io::read_to_string(io::stdin()).expect("it ends");
        let input = tokio::task::spawn_blocking(wait);
        input.await.expect("it was read");
        drop(stop);
        server.await.expect("it serves");
    });
}

fn bare() -> Response<Bytes> {
    let mut response = Response::new(Bytes::new());
    let headers = response.headers_mut();
    headers.reserve(8);
    for name in field::IDENTITY {
        let name = axum::http::HeaderName::from_static(name);
        headers.insert(name, HeaderValue::from_static("orders"));
    }
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// Asks as nginx does, on several connections at the same time.
fn ask(address: &str, count: usize, authorization: &str) {
    let request = format!(
        "GET /auth HTTP/1.1\r\nHost: keyfob\r\nX-Original-URI: /api/v1/namespaces/orders/actions/x\r\n\
         X-Original-Method: GET\r\nX-Original-Host: 127.0.0.1\r\nX-Real-IP: 127.0.0.1\r\n\
         X-Request-ID: 0f343b0931126a20f133d67c2b018a3b\r\nAuthorization: {authorization}\r\n\r\n"
    );
    let connect = |_| TcpStream::connect(address).expect("it listens");
    let mut connections: Vec<_> = (0..CONNECTIONS).map(connect).collect();
    let mut answer = [0; 4_096];
    for _ in 0..count / CONNECTIONS {
        for connection in &mut connections {
            connection.write_all(request.as_bytes()).expect("it reads");
        }
        for connection in &mut connections {
            let read = connection.read(&mut answer).expect("it answers");
            let answer = &answer[..read];
            let is_whole = answer.starts_with(b"HTTP/1.1 200") && answer.ends_with(b"\r\n\r\n");
            assert!(is_whole, "{}", String::from_utf8_lossy(answer));
        }
    }
}

const FILE: &str = "--callgrind-out-file=/dev/null";
const DHAT_FILE: &str = "--dhat-out-file=/dev/null";
