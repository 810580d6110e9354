//! An authorizer for a proxy, over keys in memory.
//!
//! ```sh
//! cargo run --release -p keyfob-gateway --example authorizer
//! ```
//!
//! It listens on `127.0.0.1:8181`, or on the address that is its argument. It prints a key, and a command that asks as nginx does.

use std::thread::available_parallelism;

use keyfob::{Context, Keyring, MemoryStore, NewKey, now};
use keyfob_gateway::{
    Authorizer,
    http::{Front, RequestSource},
};
use keyfob_listen::{Address, Routes, Server};
use tokio::sync::watch;

#[tokio::main]
#[expect(clippy::print_stdout, reason = "it is an example")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let keyring = Keyring::open(MemoryStore::new(), "acme").await?;
    let new = NewKey::for_user("team", "orders", "alice", "laptop")?;
    let key = keyring.create(&Context::system(now()), new).await?.secret;

    let authorizer = Authorizer::builder(keyring.verifier(), *keyring.format()).build();
    let front = Front::new(authorizer, RequestSource::XOriginalUri);
    let address = std::env::args().nth(1);
    let address: Address = address.as_deref().unwrap_or("127.0.0.1:8181").parse()?;
    println!(
        "curl -i http://{address}/auth -H 'Authorization: {}' -H 'X-Original-Host: localhost' \
         -H 'X-Original-Method: GET' -H 'X-Original-URI: /api/v1/namespaces/orders/actions'",
        key.bearer().as_str()
    );
    let routes = Routes::of(front.clone().into_router());
    let routes = routes.with_answer(move |head| front.answer(head));
    let (_stop, stopped) = watch::channel(());
    Server::new("auth", address.bind().await?, routes)
        .on_threads(available_parallelism()?)?
        .serve(stopped)
        .await;
    Ok(())
}
