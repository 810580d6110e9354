//! Measures the memory that clients cost who ask for a long list and read nothing of it:
//! `cargo run --release --example unread_lists -- 100000 20`.

use std::{error::Error, fs, sync::Arc, time::Duration};

use keyfob::{
    Context, Expiry, Keyring, MemoryStore, NewKey, Owner, Scopes, Tenant,
    name::{KeyName, Scope, TeamId, UserId},
    now,
};
use keyfob_api::{ControlPlane, Right, control_namespace};
use tokio::{
    io::AsyncWriteExt as _,
    net::{TcpListener, TcpStream},
    time::sleep,
};

#[tokio::main]
#[expect(clippy::print_stdout, reason = "prints the result")]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut numbers = std::env::args().skip(1).map(|text| text.parse::<usize>());
    let keys = numbers.next().transpose()?.unwrap_or(100_000);
    let clients = numbers.next().transpose()?.unwrap_or(20);

    let keyring = Keyring::open(MemoryStore::new(), "dof").await?;
    let context = Context::system(now());
    let alice = Owner::User(UserId::new("alice")?);
    for n in 0..keys {
        let name = KeyName::new(&format!("key {n}"))?;
        let new = NewKey::new(Tenant::parse("acme", "orders")?, alice.clone(), name);
        keyring.create(&context, new).await?;
    }
    let team = TeamId::new("acme")?;
    let control = Tenant::new(team.clone(), control_namespace(&team)?);
    let admin = NewKey::new(control, alice, KeyName::new("control")?)
        .with_scopes(Scopes::only([Scope::new(Right::TeamAdmin.as_str())?])?)
        .with_expiry(Expiry::Never);
    let admin = keyring.create(&context, admin).await?.secret;

    let router = ControlPlane::new(Arc::new(keyring)).into_router();
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    tokio::spawn(async move { axum::serve(listener, router).await });

    let before = resident()?;
    let mut unread = Vec::new();
    for _ in 0..clients {
        let mut client = TcpStream::connect(address).await?;
        let request = format!(
            "GET /v2/functions/namespaces/orders/keys HTTP/1.1\r\nHost: x\r\nAuthorization: {}\r\n\r\n",
            admin.bearer().as_str()
        );
        client.write_all(request.as_bytes()).await?;
        unread.push(client);
    }
    for _ in 0..5 {
        sleep(Duration::from_secs(1)).await;
    }
    let after = resident()?;
    println!("{keys} keys, {clients} clients: {before} kB before, {after} kB after");
    Ok(())
}

/// The memory of this process in kB.
fn resident() -> Result<u64, Box<dyn Error>> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let number = line.and_then(|line| line.split_whitespace().next());
    Ok(number.ok_or("no VmRSS")?.parse()?)
}
