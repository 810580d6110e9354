//! Rotating a key without an outage: `cargo run --example rotate`.
//!
//! A program that holds a key cannot change it at the very moment when it is rotated. So both
//! secrets work for a grace; the verifier says who still uses the old one, and after the grace,
//! or after the key's own end if that comes first, the old one is refused.

#![expect(clippy::print_stdout, reason = "this example is meant to be read")]

use std::{error::Error, sync::Arc};

use keyfob::{
    Access, Actor, Context, Expiry, Keyring, MemoryStore, NewKey, Owner, Tenant, Timestamp, Ttl,
    Verifier, block_on,
    gateway::Index,
    key::KeyFormat,
    manage::Rotation,
    name::{KeyName, NamespaceId, ServiceId, TeamId, UserId},
};

const HOUR: u64 = 3_600;

fn main() -> Result<(), Box<dyn Error>> {
    let format = KeyFormat::new("dof")?;
    let index = Arc::new(Index::new());
    let keyring = Keyring::new(MemoryStore::new(), format).with_index(Arc::clone(&index));
    let verifier = Verifier::new(index, format);

    let start = Timestamp::from_unix(1_780_000_000);
    let context = |now| -> Result<Context, Box<dyn Error>> {
        Ok(Context::new(Actor::user(UserId::new("alice")?), now))
    };
    let tenant = Tenant::new(TeamId::new("acme")?, NamespaceId::new("fn-orders")?);
    let service = Owner::Service(ServiceId::new("importer")?);
    let new = NewKey::new(tenant.clone(), service, KeyName::new("importer")?)
        .with_expiry(Expiry::In(Ttl::days(30)));
    let (old, info) = block_on(keyring.create(&context(start)?, new))?;

    // Two people press the button at once. Each names the revision they saw: one wins, the
    // other is told, and no secret is lost in between.
    let rotation = Rotation {
        grace_seconds: 6 * HOUR,
        renew: Some(Expiry::In(Ttl::days(30))),
    };
    let now = start.plus_seconds(20 * 24 * HOUR);
    let seen = Some(info.revision);
    let first = block_on(keyring.rotate(&context(now)?, &tenant, old.id(), rotation, seen));
    let second = block_on(keyring.rotate(&context(now)?, &tenant, old.id(), rotation, seen));
    let (new, info) = first?;
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
