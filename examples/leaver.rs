//! Somebody leaves the team while their keys are being made: `cargo run --release --example leaver`.
//!
//! One thread makes keys for Bob as fast as it can, one verifies all of them, and in the middle
//! Bob is removed. Whatever was made before, during or after: nothing of Bob's works once
//! `remove_member` has returned, and the call costs the same with one key and with many.

#![expect(clippy::print_stdout, reason = "this example is meant to be read")]

use std::{
    error::Error,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use keyfob::{
    Access, Actor, Context, Index, IssuedKey, KeyFormat, KeyName, Keyring, ManageError,
    NamespaceId, NewKey, Owner, TeamId, Tenant, Timestamp, UserId, Verifier, store::MemoryStore,
    wait,
};

const NOW: Timestamp = Timestamp::from_unix(1_780_000_000);

fn main() -> Result<(), Box<dyn Error>> {
    let format = KeyFormat::new("dof")?;
    let index = Arc::new(Index::new());
    let keyring = Keyring::new(MemoryStore::new(), format).with_index(Arc::clone(&index));
    let verifier = Verifier::new(index, format);
    let tenant = Tenant::new(TeamId::new("acme")?, NamespaceId::new("fn-orders")?);
    let [alice, bob] = [UserId::new("alice")?, UserId::new("bob")?];
    let context = Context::new(Actor::system(), NOW);
    let make = |user: &UserId, name: String| -> Result<IssuedKey, Box<dyn Error>> {
        let owner = Owner::User(user.clone());
        let new = NewKey::new(tenant.clone(), owner, KeyName::new(&name)?);
        Ok(wait(keyring.create(&context, new))?.0)
    };
    let works = |key: &IssuedKey| {
        let access = Access::to("fn-orders");
        verifier
            .verify_text(key.expose().as_bytes(), &access, NOW)
            .is_ok()
    };

    let alices = make(&alice, "alice's".into())?;
    let bobs = Mutex::new(Vec::new());
    let refused = AtomicBool::new(false);
    let took = thread::scope(|scope| {
        scope.spawn(|| {
            for n in 0.. {
                match make(&bob, format!("bob's {n}")) {
                    Ok(key) => bobs.lock().map(|mut keys| keys.push(key)).unwrap_or(()),
                    Err(error) => {
                        let error = error.downcast_ref::<ManageError>();
                        refused.store(
                            matches!(error, Some(ManageError::Conflict(_))),
                            Ordering::SeqCst,
                        );
                        break;
                    }
                }
            }
        });
        thread::sleep(Duration::from_millis(300));
        let start = Instant::now();
        let removed = wait(keyring.remove_member(&context, &tenant.team, &bob));
        let took = start.elapsed();
        removed.map(|()| took)
    })?;

    let bobs = bobs.into_inner().unwrap_or_default();
    let alive = bobs.iter().filter(|key| works(key)).count();
    println!("bob had {} keys when he was removed", bobs.len());
    println!("the call took {took:?}");
    println!("of bob's keys {alive} work");
    println!("alice's key works: {}", works(&alices));
    println!(
        "a key for bob is refused: {}",
        refused.load(Ordering::SeqCst)
    );
    if alive == 0 && works(&alices) && refused.load(Ordering::SeqCst) {
        Ok(())
    } else {
        Err("the promise is broken".into())
    }
}
