//! The lifecycle of keys in one minute: `cargo run --release --example quickstart`.
//!
//! Everything runs in memory. Time is an argument of every call, so the months pass at once.

#![expect(clippy::print_stdout, reason = "this example is meant to be read")]
#![expect(clippy::too_many_lines, reason = "one story from top to bottom")]

use std::{error::Error, time::Duration};

use keyfob::{
    Access, Actor, Context, Denied, Expiry, IssuedKey, Keyring, MemoryStore, NewKey, Owner,
    Principal, Scopes, Tenant, Timestamp, Ttl, block_on,
    key::Peppers,
    legacy::{self, LegacyPolicy},
    manage::Rotation,
    name::{Reason, Scope, TeamId, UserId},
    store::{AuditQuery, KeyQuery, LegacyQuery},
};

/// The public example credential of `OpenWhisk`, as its database exports it.
const SUBJECTS: &str = r#"{"_id": "guest", "subject": "guest", "namespaces": [{"name": "guest", "uuid": "23bc46b1-71f6-4ed5-8c54-816aa4f8c502", "key": "123zO3xZCLrMN6v2BKK1dXYFpXlPkccOFqm12CdAsMgRU4VrNZ9lyGVCGuMDGIwP"}]}"#;
const GUEST: &[u8] = b"23bc46b1-71f6-4ed5-8c54-816aa4f8c502:123zO3xZCLrMN6v2BKK1dXYFpXlPkccOFqm12CdAsMgRU4VrNZ9lyGVCGuMDGIwP";

const DAY: u64 = 86_400;

fn main() -> Result<(), Box<dyn Error>> {
    let keyring = block_on(Keyring::open(MemoryStore::new(), "dof"))?;
    let verifier = keyring.verifier();

    let start = Timestamp::from_unix(1_780_000_000);
    let team = TeamId::new("acme")?;
    let orders = Tenant::parse("acme", "fn-orders")?;
    let [alice, bob] = [UserId::new("alice")?, UserId::new("bob")?];
    let by_alice = |now| Context::new(Actor::user(alice.clone()), now);
    let verify = |key: &[u8], namespace: &str, now: Timestamp| {
        tell(verifier.verify_text(key, &Access::to(namespace), now));
    };

    title(
        start,
        "Alice creates a key for her laptop; the secret is shown once",
    );
    let new = NewKey::for_user("acme", "fn-orders", "alice", "laptop")?.expires_in(Ttl::days(90)?);
    let (laptop, info) = block_on(keyring.create(&by_alice(start), new))?.into_parts();
    println!("   id      {}", keyring.format().key_id(laptop.id()));
    println!("   text    {}", shorten(&laptop));
    println!("   expires {}", info.expires_at.unwrap_or(Timestamp::MAX));

    title(start, "It opens its own namespace, and no other");
    verify(laptop.expose().as_bytes(), "fn-orders", start);
    verify(laptop.expose().as_bytes(), "fn-payroll", start);

    title(
        start,
        "Bob creates two keys, one that may only read; the build server has its own",
    );
    let create = |new: NewKey| -> Result<_, Box<dyn Error>> {
        let by_bob = Context::new(Actor::user(bob.clone()), start);
        Ok(block_on(keyring.create(&by_bob, new))?.secret)
    };
    let (read, invoke) = (Scope::new("read")?, Scope::new("invoke")?);
    let for_bob = |name| NewKey::for_user("acme", "fn-orders", "bob", name);
    let bobs = create(for_bob("bob's laptop")?)?;
    let reader = create(for_bob("dashboard")?.with_scopes(Scopes::only([read])?))?;
    let build = create(NewKey::for_service("acme", "fn-orders", "build", "build")?)?;
    let to_invoke = [invoke];
    let access = Access::to("fn-orders").requiring(&to_invoke);
    tell(verifier.verify_text(reader.expose().as_bytes(), &access, start));

    let later = start.plus_seconds(30 * DAY);
    title(
        later,
        "Alice rotates hers; the old secret works for one more day",
    );
    let rotation = Rotation::new()
        .with_grace(Duration::from_secs(DAY))
        .with_expiry(Expiry::In(Ttl::days(90)?));
    let rotated =
        block_on(keyring.rotate(&by_alice(later), &orders, laptop.id(), rotation, None))?.secret;
    verify(rotated.expose().as_bytes(), "fn-orders", later);
    verify(laptop.expose().as_bytes(), "fn-orders", later);
    verify(
        laptop.expose().as_bytes(),
        "fn-orders",
        later.plus_seconds(DAY),
    );

    let later = later.plus_seconds(10 * DAY);
    title(
        later,
        "Bob leaves the team: one call, and none of his keys works",
    );
    let context = by_alice(later).with_reason(Reason::new("left the company")?);
    block_on(keyring.remove_member(&context, &team, &bob))?;
    for (name, key) in [
        ("bob's laptop", &bobs),
        ("bob's dashboard", &reader),
        ("the build server", &build),
        ("alice's laptop", &rotated),
    ] {
        print!("   {name:<17}");
        verify(key.expose().as_bytes(), "fn-orders", later);
    }

    title(
        later,
        "The old shared credential is accepted until its sunset",
    );
    let import =
        legacy::read_subjects(SUBJECTS, &context, &Peppers::none(), |_| Some(team.clone()));
    for record in import.records {
        block_on(keyring.import_legacy(&context, record))?;
    }
    let sunset = later.plus_seconds(20 * DAY);
    block_on(keyring.set_legacy_policy(&context, None, Some(LegacyPolicy::until(sunset))))?;
    verify(GUEST, "guest", later);
    verify(GUEST, "guest", sunset);

    let later = start.plus_seconds(200 * DAY);
    title(later, "Alice forgot her key, and it expired");
    verify(rotated.expose().as_bytes(), "fn-orders", later);

    title(later, "What the team sees");
    let policy = block_on(keyring.policy(Some(&orders)))?;
    let mut keys = keyring.walk(KeyQuery::team(team.clone()));
    while let Some(key) = block_on(keys.next())? {
        let owner = key.owner.to_string();
        let status = key.effective_status(later, &policy);
        println!("   {:<13} {owner:<15} {status:?}", key.name);
    }
    let report = block_on(keyring.legacy_report(&LegacyQuery::every_team()))?;
    println!("   {} legacy credential(s) to migrate", report.items.len());

    title(
        later,
        "The audit trail, a hash chain in which every change is noticed",
    );
    for event in block_on(keyring.audit(&AuditQuery::every_team()))?.items {
        let entry = &event.entry;
        let whose = entry
            .owner
            .as_ref()
            .map(Owner::to_string)
            .unwrap_or_default();
        println!(
            "   {}  {:<18} by {:<11} {whose}",
            entry.at,
            entry.action,
            entry.actor.to_string()
        );
    }
    let trail = block_on(keyring.verify_audit(None))?;
    println!("   verified, up to revision {}", trail.head.revision);
    Ok(())
}

fn title(now: Timestamp, text: &str) {
    println!("\n{now}  {text}");
}

/// A real service shows the whole text, once; this one is for reading.
fn shorten(key: &IssuedKey) -> String {
    format!("{}…", &key.expose()[..47])
}

fn tell(verdict: Result<Principal<'_>, Denied>) {
    match verdict {
        Ok(principal) => println!(
            "   accepted  {:?} key for {}",
            principal.kind(),
            principal.namespace()
        ),
        // The caller only ever reads "access denied"; the reason is for the log.
        Err(denied) => println!("   {} {}  ({})", denied.status(), denied, denied.reason()),
    }
}
