//! Verification does not allocate, measured with a counting allocator.

#![expect(
    unsafe_code,
    reason = "a global allocator that counts is unsafe to write"
)]

use std::{
    alloc::{GlobalAlloc, Layout, System},
    cell::Cell,
    sync::Arc,
    time::Duration,
};

use base64::{Engine, engine::general_purpose::STANDARD};
use keyfob::{
    Access, Actor, Context, Expiry, IssuedKey, Keyring, MemoryStore, NewKey, Owner, Scopes, Tenant,
    Timestamp, Ttl, block_on,
    gateway::UsageRecorder,
    key::{KeyFormat, SystemRandom},
    legacy::{LegacyPolicy, read_subjects},
    manage::Rotation,
    name::{KeyName, NamespaceId, Scope, TeamId, UserId},
};

struct Counting;

thread_local! {
    static ALLOCATIONS: Cell<usize> = const { Cell::new(0) };
}

// SAFETY: every call is forwarded to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.with(|count| count.set(count.get() + 1));
        // SAFETY: the caller upholds the contract of `GlobalAlloc::alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller upholds the contract of `GlobalAlloc::dealloc`.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn allocations(call: impl FnOnce()) -> usize {
    let before = ALLOCATIONS.with(Cell::get);
    call();
    ALLOCATIONS.with(Cell::get) - before
}

const GUEST: &str = "23bc46b1-71f6-4ed5-8c54-816aa4f8c502:123zO3xZCLrMN6v2BKK1dXYFpXlPkccOFqm12CdAsMgRU4VrNZ9lyGVCGuMDGIwP";
const NOW: Timestamp = Timestamp::from_unix(1_800_000_000);

#[test]
fn the_counter_counts_an_allocation() {
    assert_eq!(allocations(|| drop(std::hint::black_box(Box::new(1)))), 1);
    assert_eq!(allocations(|| ()), 0);
}

#[test]
fn verification_does_not_allocate() {
    let format = KeyFormat::new("dof").unwrap();
    let ring = block_on(Keyring::open(MemoryStore::new(), format)).unwrap();
    let usage = Arc::new(UsageRecorder::new(64));
    let verifier = ring.verifier().with_usage(usage);
    let context = Context::new(Actor::system(), NOW);
    let tenant = Tenant::new(
        TeamId::new("acme").unwrap(),
        NamespaceId::new("fn-a").unwrap(),
    );
    let create = |name: &str, change: &dyn Fn(NewKey) -> NewKey| -> IssuedKey {
        let owner = Owner::User(UserId::new(name).unwrap());
        let new = NewKey::new(tenant.clone(), owner, KeyName::new(name).unwrap());
        block_on(ring.create(&context, change(new))).unwrap().secret
    };
    let [read, write] = ["read", "write"].map(|name| Scope::new(name).unwrap());
    let scopes = Scopes::only([read]).unwrap();

    let good = create("good", &|new| new);
    let limited = create("limited", &|new| new.with_scopes(scopes.clone()));
    let expired = create("expired", &|new| {
        new.with_expiry(Expiry::In(Ttl::hours(1).unwrap()))
    });
    let future = create("future", &|new| new.with_not_before(Timestamp::MAX));
    let revoked = create("revoked", &|new| new);
    block_on(ring.revoke(&context, &tenant, revoked.id(), None)).unwrap();
    let left = create("left", &|new| new);
    block_on(ring.remove_member(&context, "acme", "left")).unwrap();
    let replaced = create("replaced", &|new| new);
    let rotation = Rotation::new().with_grace(Duration::from_secs(86_400));
    block_on(ring.rotate(&context, &tenant, replaced.id(), rotation, None)).unwrap();
    let unknown = IssuedKey::generate(&format, &SystemRandom).unwrap();
    let wrong = format!("{}:{}", format.key_id(good.id()), unknown.expose_secret());
    let (uuid, key) = GUEST.split_once(':').unwrap();
    let line = format!(
        r#"{{"subject":"g","namespaces":[{{"name":"fn-a","uuid":"{uuid}","key":"{key}"}}]}}"#
    );
    let none = keyfob::key::Peppers::none();
    for record in read_subjects(&line, &context, &none, |_| Some(tenant.team.clone())).records {
        block_on(ring.import_legacy(&context, record)).unwrap();
    }
    let sunset = LegacyPolicy::until(Timestamp::MAX);
    block_on(ring.set_legacy_policy(&context, None, Some(sunset))).unwrap();

    let later = NOW.plus_seconds(7_200);
    let to_write = [write];
    let accesses = [
        Access::to("fn-a"),
        Access::to("fn-b"),
        Access::to_own_namespace(),
        Access::to("fn-a").requiring(&to_write),
    ];
    let texts = [
        good.expose(),
        limited.expose(),
        expired.expose(),
        future.expose(),
        revoked.expose(),
        left.expose(),
        replaced.expose(),
        unknown.expose(),
        &wrong,
        GUEST,
        "garbage",
        "",
    ];
    let (mut accepted, mut refused) = (0, 0);
    for text in texts {
        let headers = [
            format!("Basic {}", STANDARD.encode(text)),
            format!("Bearer {text}"),
            text.to_owned(),
            "Basic ".to_owned() + &"A".repeat(10_000),
        ];
        for access in &accesses {
            let mut check = |call: &dyn Fn() -> bool| {
                let mut verdict = false;
                // Run once before counting, because a thread allocates at its first use.
                call();
                assert_eq!(allocations(|| verdict = call()), 0);
                *(if verdict { &mut accepted } else { &mut refused }) += 1;
            };
            check(&|| verifier.verify_text(text.as_bytes(), access, later).is_ok());
            for header in &headers {
                check(&|| {
                    verifier
                        .verify_header(header.as_bytes(), access, later)
                        .is_ok()
                });
                let twice = [header.as_bytes(), header.as_bytes()];
                check(&|| verifier.verify_headers(twice, access, later).is_ok());
            }
        }
    }
    assert!(
        accepted >= 30 && refused >= 300,
        "{accepted} accepted, {refused} refused"
    );
}
