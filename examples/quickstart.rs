//! The whole life of keys in one minute: `cargo run --release --example quickstart`.
//!
//! Everything runs in memory. Time is an argument of every call, so the months pass at once.

#![expect(clippy::print_stdout, reason = "this example is meant to be read")]
#![expect(clippy::too_many_lines, reason = "a life is told from top to bottom")]

use std::{error::Error, sync::Arc};

use keyfob::{
    Access, Actor, Context, Denied, Expiry, IssuedKey, Keyring, MemoryStore, NewKey, Owner,
    Principal, Scopes, Tenant, Timestamp, Ttl,
    audit::ChainHash,
    block_on,
    gateway::Index,
    key::{KeyFormat, Peppers},
    legacy::{self, LegacyPolicy},
    manage::Rotation,
    name::{KeyName, NamespaceId, Reason, Scope, ServiceId, TeamId, UserId},
    store::{AuditQuery, KeyQuery, LegacyQuery},
};

/// The public example credential of `OpenWhisk`, as its database exports it.
const SUBJECTS: &str = r#"{"_id": "guest", "subject": "guest", "namespaces": [{"name": "guest", "uuid": "23bc46b1-71f6-4ed5-8c54-816aa4f8c502", "key": "123zO3xZCLrMN6v2BKK1dXYFpXlPkccOFqm12CdAsMgRU4VrNZ9lyGVCGuMDGIwP"}]}"#;
const GUEST: &[u8] = b"23bc46b1-71f6-4ed5-8c54-816aa4f8c502:123zO3xZCLrMN6v2BKK1dXYFpXlPkccOFqm12CdAsMgRU4VrNZ9lyGVCGuMDGIwP";

const DAY: u64 = 86_400;

fn main() -> Result<(), Box<dyn Error>> {
    // Two halves share an index: the keyring changes keys, the verifier judges them.
    let format = KeyFormat::new("dof")?;
    let index = Arc::new(Index::new());
    let keyring = Keyring::new(MemoryStore::new(), format).with_index(Arc::clone(&index));
    let verifier = keyring.verifier(index);

    let start = Timestamp::from_unix(1_780_000_000);
    let team = TeamId::new("acme")?;
    let orders = Tenant::new(team.clone(), NamespaceId::new("fn-orders")?);
    let [alice, bob] = [UserId::new("alice")?, UserId::new("bob")?];
    let as_alice = |now| Context::new(Actor::user(alice.clone()), now);
    let enter = |key: &[u8], namespace: &str, now: Timestamp| {
        tell(verifier.verify_text(key, &Access::to(namespace), now));
    };

    title(
        start,
        "Alice makes a key for her laptop; its text is shown this once",
    );
    let new = NewKey::new(
        orders.clone(),
        Owner::User(alice.clone()),
        KeyName::new("laptop")?,
    )
    .with_expiry(Expiry::In(Ttl::days(90)));
    let (laptop, info) = block_on(keyring.create(&as_alice(start), new))?;
    println!("   id      {}", format.key_id(laptop.id()));
    println!("   text    {}", shorten(&laptop));
    println!("   expires {}", info.expires_at.unwrap_or(Timestamp::MAX));

    title(start, "It opens its own namespace, and no other");
    enter(laptop.expose().as_bytes(), "fn-orders", start);
    enter(laptop.expose().as_bytes(), "fn-payroll", start);

    title(
        start,
        "Bob makes two, one that may only read; the build server gets its own",
    );
    let make = |owner: Owner, name: &str, scopes: Scopes| -> Result<_, Box<dyn Error>> {
        let by = Context::new(Actor::user(bob.clone()), start);
        let new = NewKey::new(orders.clone(), owner, KeyName::new(name)?).with_scopes(scopes);
        Ok(block_on(keyring.create(&by, new))?.0)
    };
    let (read, invoke) = (Scope::new("read")?, Scope::new("invoke")?);
    let bobs = make(Owner::User(bob.clone()), "bob's laptop", Scopes::All)?;
    let reader = make(Owner::User(bob.clone()), "dashboard", Scopes::only([read])?)?;
    let build = make(
        Owner::Service(ServiceId::new("build")?),
        "build",
        Scopes::All,
    )?;
    let to_invoke = [invoke];
    let access = Access::to("fn-orders").requiring(&to_invoke);
    tell(verifier.verify_text(reader.expose().as_bytes(), &access, start));

    let later = start.plus_seconds(30 * DAY);
    title(
        later,
        "Alice rotates hers; the old secret works for one more day",
    );
    let rotation = Rotation {
        grace_seconds: DAY,
        renew: Some(Expiry::In(Ttl::days(90))),
    };
    let (rotated, _) =
        block_on(keyring.rotate(&as_alice(later), &orders, laptop.id(), rotation, None))?;
    enter(rotated.expose().as_bytes(), "fn-orders", later);
    enter(laptop.expose().as_bytes(), "fn-orders", later);
    enter(
        laptop.expose().as_bytes(),
        "fn-orders",
        later.plus_seconds(DAY),
    );

    let later = later.plus_seconds(10 * DAY);
    title(
        later,
        "Bob leaves the team: one call, and none of his keys works",
    );
    let context = as_alice(later).with_reason(Reason::new("left the company")?);
    block_on(keyring.remove_member(&context, &team, &bob))?;
    for (name, key) in [
        ("bob's laptop", &bobs),
        ("bob's dashboard", &reader),
        ("the build server", &build),
        ("alice's laptop", &rotated),
    ] {
        print!("   {name:<17}");
        enter(key.expose().as_bytes(), "fn-orders", later);
    }

    title(
        later,
        "The old shared credential works on, until its sunset",
    );
    let import =
        legacy::read_subjects(SUBJECTS, &context, &Peppers::none(), |_| Some(team.clone()));
    for record in import.records {
        block_on(keyring.import_legacy(&context, record))?;
    }
    let sunset = later.plus_seconds(20 * DAY);
    block_on(keyring.set_legacy_policy(&context, None, Some(LegacyPolicy::until(sunset))))?;
    enter(GUEST, "guest", later);
    enter(GUEST, "guest", sunset);

    let later = start.plus_seconds(200 * DAY);
    title(later, "Alice forgot hers, and it ended by itself");
    enter(rotated.expose().as_bytes(), "fn-orders", later);

    title(later, "What the team sees");
    let policy = block_on(keyring.policy(&orders))?;
    for key in block_on(keyring.list(&KeyQuery::team(team.clone())))?.items {
        let owner = key.owner.to_string();
        let standing = key.effective_status(later, &policy);
        println!("   {:<13} {owner:<15} {standing:?}", key.name);
    }
    let report = block_on(keyring.legacy_report(&LegacyQuery::every_team()))?;
    println!("   {} legacy credential(s) to migrate", report.items.len());

    title(
        later,
        "What the audit trail says, in a chain that cannot be changed unnoticed",
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
    let last: ChainHash = block_on(keyring.verify_audit())?;
    println!("   whole, ends in {}", &last.to_string()[..16]);
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
        // The caller only ever hears "access denied"; the reason is for the log.
        Err(denied) => println!("   {} {}  ({})", denied.status(), denied, denied.reason()),
    }
}
