//! The limits of `keyfob serve` on connections and on their request heads.

use std::{
    io::{self, ErrorKind, Read, Write},
    net::TcpStream,
    os::unix::net::UnixStream,
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use serde_json::json;

use crate::{
    gateway::Authority,
    program::{Program, secrets},
    server::{PATIENCE, Server, basic, bearer},
};

#[test]
fn an_incomplete_request_head_times_out() {
    let server = Server::start(&Program::new(), &["--header-timeout", "500ms"]);
    let half = "GET /healthz HTTP/1.1\r\nHost: key";
    let whole = "GET /healthz HTTP/1.1\r\nHost: keyfob\r\n\r\n";
    // An incomplete head, no head, and no second head.
    for (asked, answered) in [(half, false), ("", false), (whole, true)] {
        let start = Instant::now();
        let mut connection = open(&server);
        connection.write_all(asked.as_bytes()).unwrap();
        let mut answer = String::new();
        connection.read_to_string(&mut answer).unwrap();
        let took = start.elapsed();
        assert_eq!(answer.starts_with("HTTP/1.1 200"), answered, "{answer}");
        let (least, most) = (Duration::from_millis(400), Duration::from_secs(10));
        assert!(least < took && took < most, "{took:?}");
    }
}

#[test]
fn connections_beyond_the_limit_wait_and_open_ones_are_served() {
    let server = Server::start(&Program::new(), &["--connections", "2"]);
    let (mut one, mut two) = (open(&server), open(&server));
    assert_eq!(ask(&mut one).unwrap(), 200);
    assert_eq!(ask(&mut two).unwrap(), 200);

    let mut three = open(&server);
    // Shorter than a connection may be idle while others wait.
    let moment = Some(Duration::from_millis(200));
    three.set_read_timeout(moment).unwrap();
    let waits = ask(&mut three).unwrap_err();
    let kinds = [ErrorKind::WouldBlock, ErrorKind::TimedOut];
    assert!(kinds.contains(&waits.kind()), "{waits}");
    assert_eq!(ask(&mut one).unwrap(), 200);
    assert_eq!(ask(&mut two).unwrap(), 200);

    // Its request was sent, and is answered once a connection is closed.
    drop(one);
    three.set_read_timeout(Some(PATIENCE)).unwrap();
    assert_eq!(answer(&mut three).unwrap(), 200);
    assert_eq!(ask(&mut two).unwrap(), 200);
    drop((two, three));
    let metrics = server.send("GET", "/metrics", &[], "").body;
    assert!(
        metrics.contains("keyfob_connections{listener=\"control\"} "),
        "{metrics}"
    );
    assert!(
        server
            .kill()
            .contains("the limit on connections is reached")
    );
}

#[test]
fn requests_in_progress_are_answered_when_the_server_stops() {
    let program = Program::new();
    program.done(&["namespaces", "create", "orders"]);
    let server = Server::start(&program, &[]);
    let operator = bearer(server.operator.as_deref().unwrap());
    let mut idle = open(&server);
    assert_eq!(ask(&mut idle).unwrap(), 200);
    let body = json!({ "name": "laptop" }).to_string();
    let (early, late) = body.split_at(5);
    let head = format!(
        "POST /v2/functions/namespaces/orders/keys HTTP/1.1\r\nHost: keyfob\r\n{operator}\r\n\
         Content-Type: application/json\r\nExpect: 100-continue\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    let mut connection = open(&server);
    connection.write_all(head.as_bytes()).unwrap();
    // The call is being handled once it waits for its body.
    assert_eq!(answer(&mut connection).unwrap(), 100);
    connection.write_all(early.as_bytes()).unwrap();

    let pid = server.pid().to_string();
    assert!(Command::new("kill").arg(&pid).status().unwrap().success());
    let start = Instant::now();
    while TcpStream::connect(server.address).is_ok() {
        assert!(start.elapsed() < PATIENCE, "it does not stop");
        thread::sleep(Duration::from_millis(10));
    }
    connection.write_all(late.as_bytes()).unwrap();
    assert_eq!(answer(&mut connection).unwrap(), 201);
    // The idle connection is closed.
    assert_eq!(idle.read(&mut [0; 1]).unwrap(), 0);
    let (code, log) = server.stop("-TERM");
    assert_eq!(code, Some(0), "{log}");
    assert!(!log.contains("not answered in time"), "{log}");
    assert_eq!(secrets(&log), 0);
}

/// A proxy passes on what its clients send. What it passes on is judged; what is refused is counted.
#[test]
fn a_request_with_many_fields_is_judged() {
    let program = Program::new();
    let server = Server::start(&program, &[]);
    let key = program.create(&["laptop", "-n", "orders"]);
    server.await_auth(&key, "orders", 200);
    let ask = |fields: usize, length: usize| {
        let value = "v".repeat(length);
        let fields = (0..fields).map(|n| format!("X-F{n}: {value}"));
        let fields: Vec<String> = fields.chain([basic(&key)]).collect();
        let fields: Vec<&str> = fields.iter().map(String::as_str).collect();
        let answer = server.try_send("GET", "/auth/orders", &fields, "");
        // The rest of a head that is too long is not read, which may cut the answer off.
        answer.map_or(431, |answer| answer.status)
    };
    for (fields, length) in [(97, 1), (200, 10), (250, 20), (8, 8000), (1, 60_000)] {
        assert_eq!(ask(fields, length), 200, "{fields} of {length}");
    }
    for (fields, length) in [(300, 1), (1, 200_000)] {
        assert_eq!(ask(fields, length), 431, "{fields} of {length}");
    }
    let mut connection = TcpStream::connect(server.asked_at).unwrap();
    connection
        .write_all(b"GET /auth/orders HTTP/1.1\r\nno field\r\n\r\n")
        .unwrap();
    assert_eq!(answer(&mut connection).unwrap(), 400);
    let counted = [
        "keyfob_refused_heads_total{listener=\"auth\",reason=\"head_too_large\"} 2",
        "keyfob_refused_heads_total{listener=\"auth\",reason=\"malformed_head\"} 1",
    ];
    // Counted after the answer.
    let until = Instant::now() + Duration::from_secs(10);
    loop {
        let metrics = server.send("GET", "/metrics", &[], "").body;
        if counted.iter().all(|line| metrics.contains(line)) {
            break;
        }
        assert!(Instant::now() < until, "{metrics}");
        thread::sleep(Duration::from_millis(20));
    }
    let log = server.kill();
    assert!(
        log.contains("head_too_large") && log.contains("peer=127.0.0.1"),
        "{log}"
    );
    assert_eq!(secrets(&log), 0);
}

fn open(server: &Server) -> TcpStream {
    let connection = TcpStream::connect_timeout(&server.address, PATIENCE).unwrap();
    connection.set_read_timeout(Some(PATIENCE)).unwrap();
    connection
}

/// Requests `/healthz` on a kept-alive connection.
fn ask(connection: &mut TcpStream) -> io::Result<u16> {
    connection.write_all(b"GET /healthz HTTP/1.1\r\nHost: keyfob\r\n\r\n")?;
    answer(connection)
}

/// The status of a response, which arrives in one piece.
fn answer(connection: &mut TcpStream) -> io::Result<u16> {
    let mut buffer = [0; 4096];
    let length = connection.read(&mut buffer)?;
    let text = String::from_utf8_lossy(&buffer[..length]);
    let status = text
        .split(' ')
        .nth(1)
        .and_then(|status| status.parse().ok());
    status.ok_or(ErrorKind::InvalidData.into())
}

/// Clients that ask for something now and then keep their connections only while nobody waits.
#[test]
fn idle_clients_do_not_lock_out_new_ones() {
    let server = Server::start(&Program::new(), &["--connections", "4"]);
    let mut held: Vec<_> = (0..4).map(|_| open(&server)).collect();
    let deadline = Instant::now() + Duration::from_secs(20);
    let mut new = open(&server);
    new.set_read_timeout(Some(Duration::from_millis(200)))
        .unwrap();
    new.write_all(b"GET /healthz HTTP/1.1\r\nHost: keyfob\r\n\r\n")
        .unwrap();
    let start = Instant::now();
    loop {
        // They never leave a connection without a request for long.
        for connection in &mut held {
            let _ = ask(connection);
        }
        match answer(&mut new) {
            Ok(status) => {
                assert_eq!(status, 200);
                break;
            }
            Err(_) => assert!(Instant::now() < deadline, "the new client was locked out"),
        }
    }
    assert!(
        start.elapsed() > Duration::from_secs(1),
        "open connections have their turn"
    );
}

/// A client needs no key to open connections to the feed.
#[cfg(unix)]
#[test]
fn connections_to_the_feed_leave_files_for_the_other_listeners() {
    let authority = Authority::new();
    let feed = [
        "--feed-listen",
        &*authority.feed,
        "--feed-keys",
        "feed.keys",
    ];
    let server = Server::start_within(&authority.program, "ulimit -n 200", &feed);
    let held: Vec<_> = (0..300)
        .map(|_| TcpStream::connect(&authority.feed).unwrap())
        .collect();
    let mut control = open(&server);
    assert_eq!(ask(&mut control).unwrap(), 200);
    let answer = server.send("GET", "/auth/orders", &[], "");
    assert_eq!(answer.status, 401);
    drop(held);
    let log = server.kill();
    assert!(!log.contains("Too many open files"), "{log}");
}

/// Strangers' requests are counted too: their number must not cost memory if nobody scrapes.
#[cfg(target_os = "linux")]
#[test]
fn requests_cost_no_memory_if_nobody_reads_the_metrics() {
    const BATCH: usize = 200;
    let server = Server::start(&Program::new(), &["--log", "off"]);
    let mut connection = open(&server);
    connection.set_nodelay(true).unwrap();
    let batch = "GET /v1/caller HTTP/1.1\r\nHost: keyfob\r\n\r\n".repeat(BATCH);
    let mut ask_many = |batches| {
        for _ in 0..batches {
            connection.write_all(batch.as_bytes()).unwrap();
            let (mut seen, mut text, mut bytes) = (0, String::new(), [0; 8_192]);
            while seen < BATCH {
                let read = connection.read(&mut bytes).unwrap();
                assert!(read > 0, "the connection was closed");
                text.push_str(std::str::from_utf8(&bytes[..read]).unwrap());
                seen = text.matches("\"request_id\"").count();
            }
        }
        // A few times longer than the sums are made.
        thread::sleep(Duration::from_secs(3));
    };
    let memory = || {
        let status = std::fs::read_to_string(format!("/proc/{}/status", server.pid())).unwrap();
        let line = status
            .lines()
            .find(|line| line.starts_with("RssAnon:"))
            .unwrap();
        let number = line.split_whitespace().nth(1).unwrap();
        number.parse::<i64>().unwrap()
    };
    ask_many(200);
    let before = memory();
    ask_many(400);
    let grown = memory() - before;
    assert!(grown < 900, "{grown} kB for 80,000 requests");
}

#[test]
fn a_server_listens_on_a_unix_socket() {
    let program = Program::new();
    let socket = program.path("keyfob.sock");
    let mut server = Command::new(env!("CARGO_BIN_EXE_keyfob"))
        .args(["serve", "--api-host", "https://fn.example", "--listen"])
        .arg(format!("unix:{}", socket.display()))
        .args(["--auth-listen", "off"])
        .current_dir(program.folder())
        .env_clear()
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let start = Instant::now();
    let answer = loop {
        let asked = UnixStream::connect(&socket).and_then(|mut connection| {
            let request = "GET /readyz HTTP/1.1\r\nHost: keyfob\r\nConnection: close\r\n\r\n";
            connection.write_all(request.as_bytes())?;
            let mut answer = String::new();
            connection.read_to_string(&mut answer).map(|_| answer)
        });
        match asked {
            Ok(answer) if answer.starts_with("HTTP/1.1 200") => break answer,
            _ if start.elapsed() > PATIENCE => break String::new(),
            _ => thread::sleep(Duration::from_millis(20)),
        }
    };
    server.kill().unwrap();
    server.wait().unwrap();
    assert!(answer.ends_with("ready\n"), "{answer}");
}
