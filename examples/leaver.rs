//! Somebody leaves the team while their keys are being made: `cargo run --release --example leaver`.
//!
//! One thread makes keys for Bob as fast as it can, one verifies all of them, and in the middle
//! Bob is removed. Whatever was made before, during or after: nothing of Bob's works once
//! `remove_member` has returned, and the call costs the same with one key and with many.

#![expect(clippy::print_stdout, reason = "this example is meant to be read")]

use std::{
    error::Error,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use keyfob::{
    Access, Actor, Context, IssuedKey, Keyring, MemoryStore, NewKey, Owner, Tenant, Timestamp,
    Verifier, block_on,
    gateway::Index,
    key::KeyFormat,
    name::{KeyName, NamespaceId, TeamId, UserId},
};

const NOW: Timestamp = Timestamp::from_unix(1_780_000_000);

type Failure = Box<dyn Error + Send + Sync>;

fn main() -> Result<(), Failure> {
    let format = KeyFormat::new("dof")?;
    let index = Arc::new(Index::new());
    let keyring = Keyring::new(MemoryStore::new(), format).with_index(Arc::clone(&index));
    let verifier = Verifier::new(index, format);
    let tenant = Tenant::new(TeamId::new("acme")?, NamespaceId::new("fn-orders")?);
    let [alice, bob] = [UserId::new("alice")?, UserId::new("bob")?];
    let context = Context::new(Actor::system(), NOW);
    let make = |user: &UserId, name: String| -> Result<IssuedKey, Failure> {
        let owner = Owner::User(user.clone());
        let new = NewKey::new(tenant.clone(), owner, KeyName::new(&name)?);
        Ok(block_on(keyring.create(&context, new))?.0)
    };
    let works = |key: &IssuedKey| {
        let access = Access::to("fn-orders");
        verifier
            .verify_text(key.expose().as_bytes(), &access, NOW)
            .is_ok()
    };

    let alices = make(&alice, "alice's".into())?;
    let (bobs, refusal, took) = thread::scope(|scope| {
        let maker = scope.spawn(|| {
            let mut keys = Vec::new();
            loop {
                match make(&bob, format!("bob's {}", keys.len())) {
                    Ok(key) => keys.push(key),
                    Err(refusal) => return (keys, refusal.to_string()),
                }
            }
        });
        thread::sleep(Duration::from_millis(300));
        let start = Instant::now();
        block_on(keyring.remove_member(&context, &tenant.team, &bob))?;
        let took = start.elapsed();
        let (keys, refusal) = maker.join().map_err(|_| "the maker stopped")?;
        Ok::<_, Failure>((keys, refusal, took))
    })?;

    let still_work = bobs.iter().filter(|key| works(key)).count();
    println!("bob had {} keys when he was removed", bobs.len());
    println!("the call took {took:?}");
    println!("of bob's keys {still_work} work");
    println!("another key for bob: {refusal}");
    println!("alice's key works: {}", works(&alices));
    if still_work == 0 && works(&alices) {
        Ok(())
    } else {
        Err("the promise is broken".into())
    }
}
