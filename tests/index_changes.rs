//! An index under many changes: its memory, its readers, and the cost of a change of policy.

#![expect(
    unsafe_code,
    reason = "a global allocator that counts is unsafe to write"
)]

use std::{
    alloc::{GlobalAlloc, Layout, System},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicIsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use keyfob::{
    Access, Actor, Context, DenyReason, Expiry, KeyId, NewKey, Owner, Scopes, Tenant, Timestamp,
    Ttl, Verifier,
    audit::{ChainHash, TrailHead},
    gateway::Index,
    key::{KeyFormat, Peppers, SystemRandom},
    legacy::LegacyPolicy,
    manage::Policy,
    name::{KeyName, Scope, UserId},
    store::{Changes, Cutoff, Entry, Item, KeyRecord, Revision, Target},
};

struct Counting;

static ALLOCATED: AtomicIsize = AtomicIsize::new(0);

fn count(bytes: usize, sign: isize) {
    let bytes = isize::try_from(bytes).expect("no allocation is larger");
    ALLOCATED.fetch_add(bytes * sign, Ordering::Relaxed);
}

// SAFETY: every call is forwarded to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size(), 1);
        // SAFETY: the caller upholds the contract of `GlobalAlloc::alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        count(layout.size(), -1);
        // SAFETY: the caller upholds the contract of `GlobalAlloc::dealloc`.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const NOW: Timestamp = Timestamp::from_unix(1_800_000_000);

/// The tests count the memory of the whole process, or the time: one at a time.
static ALONE: Mutex<()> = Mutex::new(());

/// An index, and the end of its feed.
struct Feed {
    index: Arc<Index>,
    revision: Revision,
}

impl Feed {
    fn new() -> Self {
        let format = KeyFormat::new("dof").unwrap();
        Self {
            index: Arc::new(Index::new(format, Peppers::none())),
            revision: Revision::ZERO,
        }
    }

    /// Applies the next page.
    fn apply(&mut self, items: impl IntoIterator<Item = Item>) {
        let after = self.revision;
        let mut entries = Vec::new();
        for mut item in items {
            self.revision = self.revision.next();
            if let Item::Key(record) = &mut item {
                record.revision = self.revision;
                if record.created_revision == Revision::ZERO {
                    record.created_revision = self.revision;
                }
            }
            entries.push(Entry {
                revision: self.revision,
                item,
            });
        }
        // All events have the same hash.
        let head = TrailHead {
            revision: self.revision,
            hash: ChainHash::START,
        };
        let changes = Changes {
            after,
            after_hash: Some(head.hash),
            entries,
            next_after: self.revision,
            next_hash: Some(head.hash),
            more: false,
            head,
        };
        self.index.apply(&changes, NOW).unwrap();
    }

    fn put(&mut self, record: &mut KeyRecord) {
        self.apply([Item::Key(record.clone())]);
        if record.created_revision == Revision::ZERO {
            record.created_revision = self.revision;
        }
    }
}

fn tenant(namespace: &str) -> Tenant {
    Tenant::parse("acme", namespace).unwrap()
}

fn owner(name: &str) -> Owner {
    Owner::User(UserId::new(name).unwrap())
}

fn scopes<const N: usize>(names: [&str; N]) -> Scopes {
    Scopes::only(names.map(|name| Scope::new(name).unwrap())).unwrap()
}

/// A new key, and its text.
fn key(namespace: &str, who: &str) -> (KeyRecord, String) {
    let new = NewKey::new(tenant(namespace), owner(who), KeyName::new("key").unwrap())
        .with_expiry(Expiry::Never);
    let format = KeyFormat::new("dof").unwrap();
    let (context, policy) = (Context::system(NOW), Policy::default());
    let issued = new.issue(&context, &policy, &format, &Peppers::none(), &SystemRandom);
    let (record, secret) = issued.unwrap();
    (record, secret.expose().to_owned())
}

/// How much the memory grows in `rounds` rounds, after as many that fill what is reused.
fn growth(rounds: usize, mut round: impl FnMut(usize)) -> isize {
    (0..rounds).for_each(&mut round);
    let before = ALLOCATED.load(Ordering::Relaxed);
    (rounds..rounds * 2).for_each(&mut round);
    ALLOCATED.load(Ordering::Relaxed) - before
}

/// More than the writer's lists vary by.
const SLACK: isize = 64 << 10;
const ROUNDS: usize = if cfg!(debug_assertions) {
    50_000
} else {
    500_000
};

#[test]
fn changes_of_one_keys_scopes_do_not_grow_the_index() {
    let _alone = ALONE.lock();
    let mut feed = Feed::new();
    let (mut record, text) = key("fn-a", "alice");
    let verifier = feed.index.verifier(None);
    let grown = growth(ROUNDS, |round| {
        // As many as fit in a cell, and more.
        let names = (0..=round % 32).map(|n| format!("scope-{round}-{n}"));
        let names = names.map(|name| Scope::new(&name).unwrap());
        record.scopes = Scopes::only(names).unwrap();
        feed.put(&mut record);
        if round % 1_000 == 0 {
            let required = [Scope::new(&format!("scope-{round}-0")).unwrap()];
            let access = Access::to("fn-a").requiring(&required);
            let principal = verifier.verify_text(text.as_bytes(), &access, NOW).unwrap();
            assert_eq!(principal.scopes(), record.scopes);
        }
    });
    assert!(grown < SLACK, "{grown} bytes");
}

#[test]
fn keys_that_come_and_go_do_not_grow_the_index() {
    let _alone = ALONE.lock();
    let mut feed = Feed::new();
    let (kept, text) = key("fn-a", "kept");
    feed.apply([Item::Key(kept)]);
    let grown = growth(ROUNDS / 10, |round| {
        let (record, _) = key("fn-a", &format!("owner-{round}"));
        let id = record.id;
        feed.apply([Item::Key(record), deleted(id)]);
    });
    assert!(grown < SLACK, "{grown} bytes");
    let verifier = feed.index.verifier(None);
    let principal = verifier.verify_text(text.as_bytes(), &Access::to("fn-a"), NOW);
    assert_eq!(principal.unwrap().owner(), Some(owner("kept")));
}

#[test]
fn changes_of_policies_do_not_grow_the_index() {
    let _alone = ALONE.lock();
    let mut feed = Feed::new();
    let (record, _) = key("fn-a", "alice");
    feed.apply([Item::Key(record)]);
    let own = Some(tenant("fn-a"));
    let other = Some(tenant("fn-without-keys"));
    let grown = growth(ROUNDS / 10, |round| {
        let seconds = u64::try_from(round).unwrap();
        for place in [&own, &other, &None] {
            let legacy = LegacyPolicy::until(NOW.plus_seconds(seconds));
            let start = NOW.plus_seconds(seconds);
            let legacy = legacy.with_brownout(start, start.plus_seconds(9)).unwrap();
            let ttl = Ttl::hours(u32::try_from(1 + round % 9_000).unwrap()).unwrap();
            feed.apply([
                Item::LegacyPolicy(place.clone(), Some(legacy)),
                Item::Policy(place.clone(), Some(Policy::default().with_max_ttl(ttl))),
            ]);
        }
        feed.apply([
            Item::LegacyPolicy(own.clone(), None),
            Item::Policy(own.clone(), None),
        ]);
    });
    assert!(grown < SLACK, "{grown} bytes");
}

#[test]
fn revoked_owners_whose_keys_were_deleted_do_not_grow_the_index() {
    let _alone = ALONE.lock();
    let mut feed = Feed::new();
    let grown = growth(ROUNDS / 10, |_| {
        // The same owner, since a store keeps the cutoff of each owner permanently.
        let (record, _) = key("fn-a", "alice");
        let (id, target) = (
            record.id,
            Target::Owner(tenant("fn-a").team, owner("alice")),
        );
        feed.apply([Item::Key(record)]);
        feed.apply([revocation(&target, feed.revision.next())]);
        feed.apply([deleted(id)]);
    });
    assert!(grown < SLACK, "{grown} bytes");
}

#[test]
fn resets_do_not_grow_the_index() {
    let _alone = ALONE.lock();
    let mut feed = Feed::new();
    let records: Vec<_> = (0..1_500)
        .map(|n| {
            let mut record = key(&format!("fn-{}", n % 30), &format!("owner-{}", n % 70)).0;
            record.not_before = (n % 3 == 0).then_some(NOW);
            record.scopes = scopes([&format!("scope-{}", n % 5)]);
            record
        })
        .collect();
    let policy = Policy::default().with_max_ttl(Ttl::hours(1).unwrap());
    let target = Target::Owner(tenant("fn-a").team, owner("owner-1"));
    let rounds = ROUNDS / 500;
    let grown = growth(rounds, |round| {
        feed.index.reset();
        feed.revision = Revision::ZERO;
        // Other keys of the same owners, not always as many.
        let records = records.iter().skip(round % 7).cloned();
        feed.apply(records.map(|mut record| {
            record.id = KeyId::from_bytes(rand_bytes(&record, round));
            Item::Key(record)
        }));
        let place = Some(tenant("fn-1"));
        feed.apply([
            revocation(&target, feed.revision.next()),
            Item::Policy(place.clone(), Some(policy.clone())),
            Item::LegacyPolicy(place, Some(LegacyPolicy::until(NOW))),
        ]);
    });
    // Tables of other keys are split a little differently.
    assert!(grown < 4 * SLACK, "{grown} bytes in {rounds} rounds");
}

/// An identifier that differs in each round.
fn rand_bytes(record: &KeyRecord, round: usize) -> [u8; 16] {
    let n = u128::try_from(round + 1)
        .unwrap()
        .wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835);
    (u128::from_le_bytes(record.id.to_bytes()) ^ n).to_le_bytes()
}

/// The tombstone of a key of `fn-a`.
fn deleted(id: KeyId) -> Item {
    let tenant = tenant("fn-a");
    Item::KeyDeleted { id, tenant }
}

fn revocation(target: &Target, revision: Revision) -> Item {
    let context = Context::system(NOW);
    let event = keyfob::audit::AuditEntry::new(keyfob::audit::Action::AllRevoked, &context);
    Item::Cutoff(Cutoff::new(target, false, revision, &event))
}

/// Numbers of grants go from key to key, with and without scopes, revoked and not. A reader must
/// never see another key's grant.
#[test]
fn a_reader_never_sees_the_grant_of_another_key() {
    let _alone = ALONE.lock();
    let mut feed = Feed::new();
    let (mut alice, text) = key("fn-a", "alice");
    alice.scopes = scopes(["read"]);
    feed.put(&mut alice);
    let (mut bob, _) = key("fn-a", "bob");
    feed.put(&mut bob);
    // From here on the flags of the namespace's grants are read.
    let (revoked, _) = key("fn-a", "carol");
    feed.apply([Item::Key(revoked)]);
    let carol = Target::Owner(tenant("fn-a").team, owner("carol"));
    feed.apply([revocation(&carol, feed.revision.next())]);

    let verifier = feed.index.verifier(None);
    let done = AtomicBool::new(false);
    let long: Vec<_> = (0..60).map(|n| format!("a-long-name-{n}")).collect();
    let long = long.iter().map(|name| Scope::new(name).unwrap());
    let long = Scopes::only(long.chain([Scope::new("read").unwrap()])).unwrap();
    thread::scope(|scope| {
        let readers = [(); 2].map(|()| scope.spawn(|| read(&verifier, &text, &done)));
        for round in 0..ROUNDS / 2 {
            alice.scopes = match round % 3 {
                0 => scopes(["read"]),
                1 => scopes(["read", "list"]),
                _ => long.clone(),
            };
            bob.scopes = match round % 2 {
                0 => Scopes::All,
                _ => scopes(["admin"]),
            };
            feed.put(&mut alice);
            feed.put(&mut bob);
            if round % 7 == 0 {
                let (dora, _) = key("fn-a", "dora");
                let id = dora.id;
                feed.apply([Item::Key(dora)]);
                let target = Target::Owner(tenant("fn-a").team, owner("dora"));
                feed.apply([revocation(&target, feed.revision.next())]);
                feed.apply([deleted(id)]);
            }
        }
        done.store(true, Ordering::Relaxed);
        for reader in readers {
            assert!(reader.join().unwrap() > 0);
        }
    });
}

fn read(verifier: &Verifier, text: &str, done: &AtomicBool) -> usize {
    let names = ["read", "admin"].map(|name| Scope::new(name).unwrap());
    let [held, other] = names.each_ref().map(std::slice::from_ref);
    let mut calls = 0;
    while !done.load(Ordering::Relaxed) {
        let access = Access::to("fn-a").requiring(held);
        let principal = verifier.verify_text(text.as_bytes(), &access, NOW).unwrap();
        assert_eq!(principal.owner(), Some(owner("alice")));
        assert!(principal.may(held) && !principal.may(other));
        let access = Access::to("fn-a").requiring(other);
        let denied = verifier
            .verify_text(text.as_bytes(), &access, NOW)
            .unwrap_err();
        assert_eq!(denied.reason(), DenyReason::MissingScope);
        calls += 1;
    }
    calls
}

#[test]
fn a_principal_keeps_its_names_when_its_key_is_deleted() {
    let _alone = ALONE.lock();
    let mut feed = Feed::new();
    let (record, text) = key("fn-a", "alice");
    let id = record.id;
    feed.apply([Item::Key(record)]);
    let verifier = feed.index.verifier(None);
    let principal = verifier
        .verify_text(text.as_bytes(), &Access::to("fn-a"), NOW)
        .unwrap();
    feed.apply([deleted(id)]);
    // Others take over the memory.
    for n in 0..200 {
        let (other, _) = key("fn-a", &format!("other-{n}"));
        let id = other.id;
        feed.apply([Item::Key(other), deleted(id)]);
    }
    assert_eq!(principal.to_string(), "user:alice");
    assert_eq!(
        principal.to_actor(),
        Actor::user(UserId::new("alice").unwrap()).with(id)
    );
    // After many more they are forgotten: nobody else's are returned.
    for n in 0..300 {
        let (other, _) = key("fn-a", &format!("other-{n}"));
        let id = other.id;
        feed.apply([Item::Key(other), deleted(id)]);
    }
    let owned = principal.to_owned();
    assert_eq!((owned.owner, owned.scopes), (None, Scopes::none()));
    assert_eq!(owned.tenant, tenant("fn-a"));
}

trait With {
    fn with(self, id: KeyId) -> Self;
}

impl With for Actor {
    fn with(mut self, id: KeyId) -> Self {
        self.credential = Some(keyfob::key::CredentialId::Key(id));
        self
    }
}

/// An index with this many keys in 100 namespaces, and one more in `fn-small`.
fn large(keys: usize) -> (Feed, String) {
    let mut feed = Feed::new();
    let (template, _) = key("fn-0", "alice");
    let namespaces: Vec<_> = (0..100).map(|n| tenant(&format!("fn-{n}"))).collect();
    let records = (0..keys).map(|n| {
        let mut record = template.clone();
        record.id = KeyId::from_bytes((n as u128 * 0x9e37_79b9_7f4a_7c15).to_le_bytes());
        record.tenant = namespaces[n % namespaces.len()].clone();
        Item::Key(record)
    });
    feed.apply(records);
    let (record, text) = key("fn-small", "bob");
    feed.apply([Item::Key(record)]);
    (feed, text)
}

fn set(feed: &mut Feed, namespace: Option<&str>, hours: u32) {
    let policy = Policy::default().with_max_ttl(Ttl::hours(hours).unwrap());
    feed.apply([Item::Policy(namespace.map(tenant), Some(policy))]);
}

/// Of many tries, since others use the machine too.
fn fastest(mut call: impl FnMut(u32)) -> Duration {
    let times = (1..20).map(|n| {
        let start = Instant::now();
        call(n);
        start.elapsed()
    });
    times.min().unwrap()
}

#[test]
fn a_change_of_policy_costs_by_the_keys_of_its_namespace() {
    let _alone = ALONE.lock();
    let (mut few, _) = large(1_000);
    let (mut many, text) = large(100_000);
    let small_of_few = fastest(|n| set(&mut few, Some("fn-small"), n));
    let small_of_many = fastest(|n| set(&mut many, Some("fn-small"), n));
    let of_all = fastest(|n| set(&mut many, None, n));
    assert!(
        small_of_many < small_of_few * 20,
        "{small_of_few:?}, {small_of_many:?}"
    );
    assert!(small_of_many * 20 < of_all, "{small_of_many:?}, {of_all:?}");
    // And it applies.
    let verifier = many.index.verifier(None);
    let access = Access::to("fn-small");
    let at = |hours: u64| NOW.plus_seconds(hours * 3_600);
    set(&mut many, Some("fn-small"), 2);
    assert!(verifier.verify_text(text.as_bytes(), &access, NOW).is_ok());
    let denied = verifier
        .verify_text(text.as_bytes(), &access, at(2))
        .unwrap_err();
    assert_eq!(denied.reason(), DenyReason::Expired);
}

/// Policies of single namespaces, as an import sets them, in pages.
#[test]
fn a_policy_for_each_namespace_does_not_make_the_start_quadratic() {
    let _alone = ALONE.lock();
    let time = |namespaces: usize| {
        let mut feed = Feed::new();
        let (template, _) = key("fn-0", "alice");
        let records = (0..namespaces).map(|n| {
            let mut record = template.clone();
            record.id = KeyId::from_bytes((n as u128 * 0x9e37_79b9_7f4a_7c15).to_le_bytes());
            record.tenant = tenant(&format!("fn-{n}"));
            Item::Key(record)
        });
        feed.apply(records);
        let start = Instant::now();
        for first in (0..namespaces).step_by(100) {
            let items = (first..first + 100).flat_map(|n| {
                let tenant = Some(tenant(&format!("fn-{n}")));
                let policy = Policy::default().with_max_ttl(Ttl::hours(2).unwrap());
                let legacy = LegacyPolicy::until(NOW);
                [
                    Item::Policy(tenant.clone(), Some(policy)),
                    Item::LegacyPolicy(tenant, Some(legacy)),
                ]
            });
            feed.apply(items);
        }
        start.elapsed()
    };
    let (few, many) = (time(2_000), time(20_000));
    assert!(
        many < few * 40,
        "ten times as many take {few:?} and {many:?}"
    );
}
