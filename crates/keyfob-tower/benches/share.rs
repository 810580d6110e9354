//! What a guard costs of a service that does nothing else: `cargo bench -p keyfob-tower`.
//!
//! An axum router that says hello, bare and with a guard, is measured in turns in one run: called in this
//! process, and over the loopback by a client with 32 connections that has a request on each. Both are sent
//! the same requests, with a valid key. `-- --quick` measures fewer rounds, `-- --write README.md` writes the table
//! between the marks of the file.

#![expect(clippy::expect_used, reason = "a benchmark may stop")]

use std::{
    env,
    fmt::Write as _,
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    time::{Duration, Instant},
};

use axum::{
    Router,
    body::Body,
    http::{Request, StatusCode, header::AUTHORIZATION},
    routing::get,
    serve::ListenerExt as _,
};
use keyfob::{Context, Keyring, MemoryStore, NewKey, block_on, now};
use keyfob_testkit::figures;
use keyfob_tower::Guard;
use tokio::{net::TcpListener, runtime::Builder};
use tower::ServiceExt as _;

/// Calls that are timed together.
const CALLS: u32 = 1_024;
/// Connections of a client.
const CONNECTIONS: u32 = 32;

fn main() {
    let rounds = if env::args().any(|argument| argument == "--quick") {
        20
    } else {
        400
    };
    let keyring = block_on(Keyring::open(MemoryStore::new(), "acme")).expect("it is empty");
    let new = NewKey::for_user("team", "orders", "alice", "laptop").expect("the names are valid");
    let key = block_on(keyring.create(&Context::system(now()), new)).expect("it can be made");
    let header = format!("Bearer {}", key.secret.expose());
    let bare: Router = Router::new().route("/hello", get(async || "hello"));
    let guard = Guard::new(keyring.verifier()).namespace("orders");
    // As a server does it once, so that a call finds the routes with their layers.
    let [bare, guarded] = [bare.clone(), bare.layer(guard)].map(|router| router.with_state(()));

    let mut table = String::from(
        "| one thread | bare (ns) | guarded (ns) | the guard's share |\n|---|---:|---:|---:|\n",
    );
    let mut times = [Vec::new(), Vec::new()];
    let runtime = Builder::new_current_thread().enable_all().build();
    let runtime = runtime.expect("a runtime can be made");
    for _ in 0..rounds {
        for (router, times) in [&bare, &guarded].into_iter().zip(&mut times) {
            times.push(runtime.block_on(in_process(router, &header)));
        }
    }
    report(&mut table, "a call in the process", times);

    let servers = [bare, guarded].map(serve);
    let mut clients = servers.map(|server| {
        let connect = |_| TcpStream::connect(server).expect("it listens");
        (0..CONNECTIONS).map(connect).collect::<Vec<_>>()
    });
    let mut times = [Vec::new(), Vec::new()];
    for _ in 0..rounds {
        for (client, times) in clients.iter_mut().zip(&mut times) {
            times.push(over_loopback(client, &header));
        }
    }
    report(&mut table, "a request over the loopback", times);
    figures::show("share", &table);
}

fn report(table: &mut String, name: &str, times: [Vec<Duration>; 2]) {
    let [bare, guarded] = times.map(|mut times| {
        times.sort();
        times[times.len() / 2].as_secs_f64() * 1e9 / f64::from(CALLS)
    });
    let share = (guarded / bare - 1.0) * 100.0;
    let _ = writeln!(
        table,
        "| {name} | {bare:.0} | {guarded:.0} | {share:.1} % |"
    );
}

async fn in_process(router: &Router, header: &str) -> Duration {
    let mut requests = Vec::new();
    for _ in 0..CALLS {
        let request = Request::get("/hello").header(AUTHORIZATION, header);
        requests.push(request.body(Body::empty()).expect("it is a request"));
    }
    let start = Instant::now();
    for request in requests {
        let Ok(response) = router.clone().oneshot(request).await;
        assert_eq!(response.status(), StatusCode::OK);
    }
    start.elapsed()
}

/// Serves in a thread of its own until the process ends.
fn serve(router: Router) -> SocketAddr {
    let (sender, receiver) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let runtime = Builder::new_current_thread().enable_all().build();
        runtime.expect("a runtime can be made").block_on(async {
            let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
            let address = listener.local_addr().expect("it is TCP");
            sender.send(address).expect("somebody waits");
            // Else answers wait for the client's acknowledgement of those before.
            let listener = listener.tap_io(|stream| stream.set_nodelay(true).expect("it is open"));
            axum::serve(listener, router).await.expect("it serves");
        });
    });
    receiver.recv().expect("it listens")
}

fn over_loopback(client: &mut [TcpStream], header: &str) -> Duration {
    let request =
        format!("GET /hello HTTP/1.1\r\nHost: localhost\r\nAuthorization: {header}\r\n\r\n");
    let mut answer = [0; 4_096];
    let start = Instant::now();
    for _ in 0..CALLS / CONNECTIONS {
        for connection in &mut *client {
            connection.write_all(request.as_bytes()).expect("it reads");
        }
        for connection in &mut *client {
            let read = connection.read(&mut answer).expect("it answers");
            assert!(
                answer[..read].ends_with(b"\r\n\r\nhello"),
                "one answer, at once"
            );
        }
    }
    start.elapsed()
}
