//! A control plane whose keys are kept in `PostgreSQL`; `postgres_gateway` is the other half of the pair.
//!
//! ```sh
//! DATABASE_URL=postgres://user@localhost/keys cargo run -p keyfob-postgres --example postgres_control_plane
//! ```
//!
//! Its first start prints a credential of an operator, once.

#![expect(clippy::print_stderr, reason = "an example says where it listens")]

use std::{env, error::Error, future::IntoFuture, net::SocketAddr, sync::Arc};

use keyfob::{Context, Expiry, Keyring, Owner, Tenant, name::TeamId, now};
use keyfob_api::{ControlPlane, Right, first_credential};
use keyfob_postgres::PostgresStore;
use keyfob_replica::Follower;
use tokio::{net::TcpListener, signal};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let store = PostgresStore::connect(&env::var("DATABASE_URL")?).await?;
    let keyring = Arc::new(Keyring::open(store, "acme").await?);
    let replica = Follower::over(Arc::clone(&keyring)).start().await?;

    let (by, team) = (Context::system(now()), TeamId::new("operators")?);
    let olga: Owner = "user:olga".parse()?;
    match first_credential(&keyring, &by, team, olga, Right::Operator, Expiry::Never).await {
        Ok(created) => {
            eprintln!("operator's credential: {}", created.secret.expose());
            keyring
                .create_namespace(&by, Tenant::parse("operators", "orders")?)
                .await?;
        }
        Err(error) => eprintln!("no new operator's credential: {error}"), // it exists
    }

    let app = ControlPlane::new(keyring)
        .into_router()
        .merge(replica.readyz())
        .into_make_service_with_connect_info::<SocketAddr>();
    let address = env::args().nth(1).unwrap_or("127.0.0.1:8081".into());
    let listener = TcpListener::bind(address).await?;
    eprintln!("listening on {}", listener.local_addr()?);
    let stopped = async { drop(signal::ctrl_c().await) };
    tokio::select! {
        served = axum::serve(listener, app).with_graceful_shutdown(stopped).into_future() => served?,
        failure = replica.failed() => return Err(failure.into()), // the store went back: restart
    }
    replica.stop().await;
    Ok(())
}
