//! One program, over the store that a URL names:
//!
//! ```sh
//! cargo run -p keyfob-postgres --example by_url -- memory:
//! cargo run -p keyfob-postgres --example by_url -- sqlite:keys.db
//! cargo run -p keyfob-postgres --example by_url -- postgres://user@localhost/keys
//! ```

#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use std::{env, error::Error};

use keyfob::{
    Access, Actor, Context, KeyStore, Keyring, MemoryStore, NewKey, Owner, Tenant,
    name::{KeyName, NamespaceId, TeamId, UserId},
    store::KeyQuery,
};
use keyfob_postgres::PostgresStore;
use keyfob_sqlite::SqliteStore;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let url = env::args().nth(1).unwrap_or_else(|| "memory:".to_owned());
    match url.split_once(':') {
        Some(("memory", "")) => tour(MemoryStore::new()).await,
        Some(("sqlite", path)) => tour(SqliteStore::open(path)?).await,
        Some(("postgres" | "postgresql", _)) => tour(PostgresStore::connect(&url).await?).await,
        // It is not repeated: it may hold a password.
        _ => Err("the URL begins with none of memory:, sqlite:, postgres:".into()),
    }
}

/// A person joins, calls, and leaves. It is the same for every store.
async fn tour(store: impl KeyStore + 'static) -> Result<(), Box<dyn Error>> {
    let now = keyfob::now();
    let keyring = Keyring::open(store, "acme").await?;
    let verifier = keyring.verifier();

    let (team, alice) = (TeamId::new("acme")?, UserId::new("alice")?);
    let tenant = Tenant::new(team.clone(), NamespaceId::new("orders")?);
    let by_alice = Context::new(Actor::user(alice.clone()), now);
    let system = Context::new(Actor::system(), now);
    // Left over from the last time, if the store lasts.
    match keyring.restore_member(&system, "acme", "alice").await {
        Ok(()) => println!("alice is admitted again"),
        Err(_) => println!("alice is here for the first time"),
    }

    let name = KeyName::new("laptop")?;
    let new = NewKey::new(tenant.clone(), Owner::User(alice.clone()), name);
    let (key, info) = keyring.create(&by_alice, new).await?.into_parts();
    println!("key {} is made, at revision {}", info.id, info.revision);
    let access = Access::to("orders");
    let text = key.expose().as_bytes();
    let principal = verifier.verify_text(text, &access, now)?;
    println!(
        "it opens {} for {:?}",
        principal.namespace(),
        principal.owner()
    );

    keyring.remove_member(&system, "acme", "alice").await?;
    let Err(denied) = verifier.verify_text(text, &access, now) else {
        return Err("the key outlived its owner".into());
    };
    println!(
        "alice is removed, and the key is refused: {:?}",
        denied.reason()
    );

    let keys = keyring.list(&KeyQuery::namespace(&tenant)).await?;
    println!("the list holds {} of her keys", keys.items.len());
    let trail = keyring.verify_audit(None).await?;
    println!("the trail is whole, up to {}", trail.head);
    Ok(())
}
