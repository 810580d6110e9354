//! Rotating a key without an outage: `cargo run --example rotate`.
//!
//! A program that holds a key cannot replace it at the moment of the rotation. So both secrets
//! work for a grace period. The verifier reports who still uses the old one. After the grace
//! period, or after the key's own expiry if that comes first, the old one is refused.

#![expect(clippy::print_stdout, reason = "this example is meant to be read")]

use std::{error::Error, time::Duration};

use keyfob::{
    Access, Actor, Context, Expiry, Keyring, MemoryStore, NewKey, Timestamp, Ttl, block_on,
    manage::Rotation, name::UserId,
};

const HOUR: u64 = 3_600;

fn main() -> Result<(), Box<dyn Error>> {
    let keyring = block_on(Keyring::open(MemoryStore::new(), "dof"))?;
    let verifier = keyring.verifier();

    let start = Timestamp::from_unix(1_780_000_000);
    let context = |now| -> Result<Context, Box<dyn Error>> {
        Ok(Context::new(Actor::user(UserId::new("alice")?), now))
    };
    let new = NewKey::for_service("acme", "fn-orders", "importer", "importer")?
        .expires_in(Ttl::days(30)?);
    let tenant = new.tenant.clone();
    let (old, info) = block_on(keyring.create(&context(start)?, new))?.into_parts();

    // Two people rotate at the same time. Each names the revision that they saw: one wins, the
    // other gets an error, and no secret is lost.
    let rotation = Rotation::new()
        .with_grace(Duration::from_secs(6 * HOUR))
        .with_expiry(Expiry::In(Ttl::days(30)?));
    let now = start.plus_seconds(20 * 24 * HOUR);
    let seen = Some(info.revision);
    let first = rotation.clone();
    let first = block_on(keyring.rotate(&context(now)?, &tenant, old.id(), first, seen));
    let second = block_on(keyring.rotate(&context(now)?, &tenant, old.id(), rotation, seen));
    let (new, info) = first?.into_parts();
    println!("first rotation   done, revision {}", info.revision);
    match second {
        Ok(_) => return Err("two rotations won".into()),
        Err(error) => println!("second rotation  {error}"),
    }

    for hours in [0, 5, 6] {
        let now = now.plus_seconds(hours * HOUR);
        for (name, key) in [("old", &old), ("new", &new)] {
            let access = Access::to("fn-orders");
            match verifier.verify_text(key.expose().as_bytes(), &access, now) {
                Ok(principal) if principal.used_replaced_secret() => {
                    println!("{hours} h  {name}  accepted; tell its user to move on");
                }
                Ok(_) => println!("{hours} h  {name}  accepted"),
                Err(denied) => println!("{hours} h  {name}  {denied} ({})", denied.reason()),
            }
        }
    }
    Ok(())
}
