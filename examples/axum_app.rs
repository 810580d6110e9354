//! A service with two protected namespaces, in axum.
//!
//! ```text
//! cargo run --example axum_app              # serves until ctrl-c, with commands to try
//! cargo run --example axum_app -- --once    # calls itself, checks the answers, and exits
//! ```
//!
//! `app` is what a service of your own needs. The rest makes two keys and shows them.

#![expect(clippy::print_stdout, reason = "this example is meant to be read")]

use std::{
    error::Error,
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
};

use axum::{Router, routing::get};
use keyfob::{Context, Keyring, MemoryStore, NewKey, Scopes, Ttl, Verifier, name::Scope, now};
use keyfob_tower::{Caller, Guard};
use tokio::{net::TcpListener, task::spawn_blocking};

fn app(verifier: Verifier) -> Router {
    let guard = Guard::new(verifier);
    let orders = Router::new().route("/orders", get(orders));
    let billing = Router::new().route("/billing", get(invoices));
    Router::new()
        .merge(orders.layer(guard.namespace("orders")))
        .merge(billing.layer(guard.namespace("billing").requiring(["invoices:read"])))
}

async fn orders(caller: Caller) -> String {
    format!("{caller} has no orders\n")
}

async fn invoices(caller: Caller) -> String {
    format!("{caller} has no invoices\n")
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let keyring = Keyring::open(MemoryStore::new(), "acme").await?;
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let calls = calls(&keyring).await?;
    let server = axum::serve(listener, app(keyring.verifier())).into_future();
    if std::env::args().any(|arg| arg == "--once") {
        tokio::spawn(server);
        spawn_blocking(move || check(address, &calls)).await??;
    } else {
        for (key, path, status) in calls {
            // Other users can read the arguments of a process: curl reads the key from a pipe.
            println!(
                "printf 'header = \"Authorization: Bearer {key}\"' | curl -i -K - http://{address}{path}  # {status}"
            );
        }
        server.await?;
    }
    Ok(())
}

/// The text of a key, a path and the status of the answer, for each call to try.
type Calls = Vec<(String, &'static str, u16)>;

/// Makes a key for Alice and one for a service that may not read invoices.
async fn calls(keyring: &Keyring) -> Result<Calls, Box<dyn Error>> {
    let context = Context::system(now());
    let alice = NewKey::for_user("team", "orders", "alice", "laptop")?.expires_in(Ttl::days(90)?);
    let reader = NewKey::for_user("team", "billing", "bob", "reports")?
        .with_scopes(Scopes::only([Scope::new("invoices:read")?])?);
    let bot = NewKey::for_service("team", "billing", "bot", "exports")?.with_scopes(Scopes::none());
    let mut texts = Vec::new();
    for new in [alice, reader, bot] {
        let key = keyring.create(&context, new).await?.secret;
        texts.push(key.expose().to_owned());
    }
    let [alice, reader, bot] = <[String; 3]>::try_from(texts).map_err(|_| "three keys")?;
    Ok(vec![
        (alice.clone(), "/orders", 200),
        (alice, "/billing", 403),
        (reader, "/billing", 200),
        (bot, "/billing", 403),
        ("unknown".to_owned(), "/orders", 401),
    ])
}

/// Makes each call.
fn check(address: SocketAddr, calls: &Calls) -> Result<(), String> {
    for (key, path, status) in calls {
        let answer = call(address, key, path).map_err(|error| error.to_string())?;
        println!("GET {path}\n{answer}\n");
        if !answer.starts_with(&format!("HTTP/1.1 {status} ")) {
            return Err(format!("{path}: expected {status}"));
        }
    }
    Ok(())
}

fn call(address: SocketAddr, key: &str, path: &str) -> std::io::Result<String> {
    let mut socket = TcpStream::connect(address)?;
    write!(
        socket,
        "GET {path} HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer {key}\r\nConnection: close\r\n\r\n"
    )?;
    let mut answer = String::new();
    socket.read_to_string(&mut answer)?;
    Ok(answer)
}
