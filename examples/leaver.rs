//! A member leaves the team while keys are being created for them:
//! `cargo run --release --example leaver`.
//!
//! One thread creates keys for Bob as fast as it can. Meanwhile Bob is removed. None of his keys
//! works once `remove_member` has returned, whether it was created before or during the call, and
//! the call costs the same with one key and with many.

#![expect(clippy::print_stdout, reason = "this example is meant to be read")]

use std::{
    error::Error,
    thread,
    time::{Duration, Instant},
};

use keyfob::{Access, Context, IssuedKey, Keyring, MemoryStore, NewKey, Timestamp, block_on};

const NOW: Timestamp = Timestamp::from_unix(1_780_000_000);

type Failure = Box<dyn Error + Send + Sync>;

fn main() -> Result<(), Failure> {
    let keyring = block_on(Keyring::open(MemoryStore::new(), "dof"))?;
    let verifier = keyring.verifier();
    let context = Context::system(NOW);
    let create = |user: &str, name: &str| -> Result<IssuedKey, Failure> {
        let new = NewKey::for_user("acme", "fn-orders", user, name)?;
        Ok(block_on(keyring.create(&context, new))?.secret)
    };
    let works = |key: &IssuedKey| {
        let access = Access::to("fn-orders");
        verifier
            .verify_text(key.expose().as_bytes(), &access, NOW)
            .is_ok()
    };

    let alices = create("alice", "alice's")?;
    let (bobs, refusal, took) = thread::scope(|scope| {
        let creator = scope.spawn(|| {
            let mut keys = Vec::new();
            loop {
                match create("bob", &format!("bob's {}", keys.len())) {
                    Ok(key) => keys.push(key),
                    Err(refusal) => return (keys, refusal.to_string()),
                }
            }
        });
        thread::sleep(Duration::from_millis(300));
        let start = Instant::now();
        block_on(keyring.remove_member(&context, "acme", "bob"))?;
        let took = start.elapsed();
        let (keys, refusal) = creator.join().map_err(|_| "the creating thread stopped")?;
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
