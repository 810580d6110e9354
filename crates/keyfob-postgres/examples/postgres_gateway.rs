//! A gateway whose keys are kept in `PostgreSQL`; `postgres_control_plane` is the other half of the pair.
//!
//! ```sh
//! DATABASE_URL=postgres://user@localhost/keys cargo run -p keyfob-postgres --example postgres_gateway
//! ```

#![expect(clippy::print_stderr, reason = "an example says where it listens")]

use std::{env, error::Error, future::IntoFuture, time::Duration};

use axum::{Router, routing::get};
use keyfob_postgres::PostgresStore;
use keyfob_replica::Follower;
use keyfob_tower::{Caller, Guard};
use tokio::{net::TcpListener, signal};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let store = PostgresStore::connect(&env::var("DATABASE_URL")?).await?;
    let replica = Follower::new(store, "acme")
        .stale_after(Duration::from_secs(10)) // then 503, until the store can be read again
        .start()
        .await?;

    let pauses = replica.pauses(); // of the process: what was revoked meanwhile must be read first
    let guard = Guard::new(replica.verifier()).with_pauses(move || pauses.current());
    let orders = get(|caller: Caller| async move { caller.to_string() });
    let app = Router::new()
        .route("/orders", orders)
        .layer(guard.namespace("orders"))
        .merge(replica.readyz());

    let address = env::args().nth(1).unwrap_or("127.0.0.1:8080".into());
    let listener = TcpListener::bind(address).await?;
    eprintln!("listening on {}", listener.local_addr()?);
    let stopped = async { drop(signal::ctrl_c().await) };
    tokio::select! {
        served = axum::serve(listener, app).with_graceful_shutdown(stopped).into_future() => served?,
        failure = replica.failed() => return Err(failure.into()), // the store went back: restart
    }
    replica.stop().await; // writes the last uses
    Ok(())
}
