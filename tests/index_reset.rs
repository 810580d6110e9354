//! An index whose store has another history: refused, and filled again after a reset.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    thread,
};

use keyfob::{
    Access, Context, DenyReason, KeyStore, Keyring, MemoryStore, NewKey, Timestamp, Ttl, Verifier,
    block_on,
    gateway::{FollowError, Index, IndexError, ReplicaChanges},
    key::{KeyFormat, Peppers},
    legacy::LegacyPolicy,
    manage::Policy,
    name::NamespaceId,
    store::{Changes, Revision},
};

const NOW: Timestamp = Timestamp::from_unix(1_800_000_000);

/// A store in memory, and a keyring over it.
struct Authority {
    store: Arc<MemoryStore>,
    keyring: Keyring,
}

impl Authority {
    fn new() -> Self {
        let store = Arc::new(MemoryStore::new());
        let builder = Keyring::builder(Arc::clone(&store), KeyFormat::new("dof").unwrap());
        let keyring = block_on(builder.open(NOW)).unwrap();
        Self { store, keyring }
    }

    /// The text of a new key of alice for `fn-a`.
    fn create(&self, team: &str, name: &str) -> String {
        let new = NewKey::for_user(team, "fn-a", "alice", name).unwrap();
        let created = block_on(self.keyring.create(&Context::system(NOW), new)).unwrap();
        created.secret.expose().to_owned()
    }

    fn remove_alice(&self, team: &str) {
        let system = Context::system(NOW);
        block_on(self.keyring.remove_member(&system, team, "alice")).unwrap();
    }

    fn changes(&self, after: Revision, limit: usize) -> Changes {
        block_on(self.store.changes(after, limit)).unwrap()
    }
}

fn index() -> Arc<Index> {
    let format = KeyFormat::new("dof").unwrap();
    Arc::new(Index::new(format, Peppers::none()))
}

fn verdict(verifier: &Verifier, text: &str) -> Result<(), DenyReason> {
    let verdict = verifier.verify_text(text.as_bytes(), &Access::to("fn-a"), NOW);
    verdict.map(drop).map_err(|denied| denied.reason())
}

const STALE: Result<(), DenyReason> = Err(DenyReason::Stale);

#[test]
fn a_store_that_went_back_and_has_caught_up_is_refused_until_a_reset() {
    let (before, after) = (Authority::new(), Authority::new());
    let common = NewKey::for_user("acme", "fn-a", "alice", "common").unwrap();
    for authority in [&before, &after] {
        block_on(
            authority
                .keyring
                .create(&Context::system(NOW), common.clone()),
        )
        .unwrap();
    }
    let (lost, new) = (before.create("acme", "lost"), after.create("acme", "new"));
    let index = index();
    let verifier = index.verifier(None);
    block_on(index.follow(&before.store, NOW)).unwrap();
    assert_eq!(verdict(&verifier, &lost), Ok(()));
    // As many commits, and one more.
    for n in 0..2 {
        let followed = block_on(index.follow(&after.store, NOW)).unwrap_err();
        let at = Revision::new(2);
        assert!(
            matches!(followed, FollowError::Index(IndexError::Forked { at: found }) if found == at),
            "{followed}"
        );
        assert_eq!(verdict(&verifier, &lost), STALE);
        after.create("acme", &format!("more-{n}"));
    }
    // Not even the history from before is accepted again: it may be gone from other processes.
    assert!(block_on(index.follow(&before.store, NOW)).is_err());
    index.reset();
    assert_eq!(
        (index.as_of(), verdict(&verifier, &lost)),
        (Revision::ZERO, STALE)
    );
    block_on(index.follow(&after.store, NOW)).unwrap();
    assert_eq!(verdict(&verifier, &lost), Err(DenyReason::UnknownKey));
    assert_eq!(verdict(&verifier, &new), Ok(()));
}

/// A first load takes many pages.
#[test]
fn a_store_that_went_back_between_two_pages_is_refused() {
    let (before, after) = (Authority::new(), Authority::new());
    for authority in [&before, &after] {
        for n in 0..4 {
            authority.create("acme", &format!("key-{n}"));
        }
    }
    let index = index();
    let first = before.changes(Revision::ZERO, 2);
    index.apply(&first, NOW).unwrap();
    let at = first.next_after;
    let forked = index.apply(&after.changes(at, 2), NOW);
    assert_eq!(forked, Err(IndexError::Forked { at }));
}

/// As a slow task sees it, which asked before others moved on.
#[test]
fn a_late_page_of_another_history_is_refused() {
    let (before, after) = (Authority::new(), Authority::new());
    let index = index();
    for n in 0..3 {
        before.create("acme", &format!("key-{n}"));
        block_on(index.follow(&before.store, NOW)).unwrap();
        after.create("acme", &format!("key-{n}"));
    }
    let own = before.changes(Revision::new(1), 1000);
    index.apply(&own, NOW).unwrap();
    let late = after.changes(Revision::new(1), 1000);
    let at = Revision::new(1);
    assert_eq!(index.apply(&late, NOW), Err(IndexError::Forked { at }));
}

#[test]
fn nothing_of_the_old_contents_applies_after_a_reset() {
    let (before, after) = (Authority::new(), Authority::new());
    let system = Context::system(NOW);
    let old = before.create("acme", "old");
    let policies = &before.keyring;
    let hour = Policy::default().with_max_ttl(Ttl::hours(1).unwrap());
    block_on(policies.set_policy(&system, None, Some(hour))).unwrap();
    let until = LegacyPolicy::until(NOW.plus_seconds(9));
    block_on(policies.set_legacy_policy(&system, None, Some(until))).unwrap();
    before.remove_alice("acme");
    // The namespace belongs to another team.
    let new = after.create("other", "new");

    let index = index();
    let verifier = index.verifier(None);
    // Up to the removal of alice.
    let part = before.changes(Revision::ZERO, 1);
    let part = Changes {
        more: false,
        ..part
    };
    index.apply(&part, NOW).unwrap();
    let access = Access::to("fn-a");
    let principal = verifier.verify_text(old.as_bytes(), &access, NOW).unwrap();
    block_on(index.follow(&before.store, NOW)).unwrap();
    assert_eq!(verdict(&verifier, &old), Err(DenyReason::Revoked));

    index.reset();
    for text in [&old, &new] {
        assert_eq!(verdict(&verifier, text), STALE);
    }
    assert_eq!(index.changed_at(), None);
    block_on(index.follow(&after.store, NOW)).unwrap();
    assert_eq!(verdict(&verifier, &old), Err(DenyReason::UnknownKey));
    // Neither the cutoff nor the policy of the old contents applies.
    let later = NOW.plus_seconds(7200);
    let found = verifier
        .verify_text(new.as_bytes(), &access, later)
        .unwrap();
    assert_eq!(found.team().as_str(), "other");
    assert_eq!(found.expires_at(), None);
    // What was verified before keeps its team.
    assert_eq!(principal.team().as_str(), "acme");
    assert_eq!(principal.namespace(), &NamespaceId::new("fn-a").unwrap());
    assert_eq!(principal.owner(), None);
}

#[test]
fn an_index_that_is_filled_again_in_part_refuses_every_call() {
    let authority = Authority::new();
    let texts = ["one", "two", "three"].map(|name| authority.create("acme", name));
    let index = index();
    let verifier = index.verifier(None);
    block_on(index.follow(&authority.store, NOW)).unwrap();
    index.reset();
    let mut after = Revision::ZERO;
    loop {
        let page = authority.changes(after, 1);
        let replica = ReplicaChanges::from(&page);
        for text in &texts {
            assert_eq!(verdict(&verifier, text), STALE);
        }
        index.apply_replica(replica, Some(NOW)).unwrap();
        after = page.next_after;
        if !page.more {
            break;
        }
    }
    for text in &texts {
        assert_eq!(verdict(&verifier, text), Ok(()));
    }
}

#[test]
fn a_page_that_was_applied_before_a_reset_does_not_confirm_the_index_after_it() {
    let authority = Authority::new();
    let text = authority.create("acme", "laptop");
    let index = index();
    let verifier = index.verifier(None);
    block_on(index.follow(&authority.store, NOW)).unwrap();
    let end = authority.changes(Revision::new(1), 10);
    index.reset();
    assert_eq!(
        index.apply(&end, NOW),
        Err(IndexError::Gap { at: Revision::ZERO })
    );
    assert_eq!(verdict(&verifier, &text), STALE);
    // A gap is not permanent.
    block_on(index.follow(&authority.store, NOW)).unwrap();
    assert_eq!(verdict(&verifier, &text), Ok(()));
}

/// The removal of alice comes in a later page than her key: a call that began before the reset must
/// not see the key without it.
#[test]
fn concurrent_calls_never_see_contents_in_part() {
    const ROUNDS: usize = if cfg!(debug_assertions) {
        3_000
    } else {
        30_000
    };
    let authority = Authority::new();
    let revoked = authority.create("acme", "laptop");
    authority.remove_alice("acme");
    let bob = NewKey::for_user("acme", "fn-a", "bob", "phone").unwrap();
    let bob = block_on(authority.keyring.create(&Context::system(NOW), bob)).unwrap();
    let valid = bob.secret.expose();
    let pages = [
        authority.changes(Revision::ZERO, 1),
        authority.changes(Revision::new(1), 1),
        authority.changes(Revision::new(2), 1),
    ];
    assert!(pages[0].more && pages[1].more && !pages[2].more);
    let index = index();
    let verifier = index.verifier(None);
    block_on(index.follow(&authority.store, NOW)).unwrap();
    let done = AtomicBool::new(false);
    let seen: [Seen; 2] = Default::default();
    thread::scope(|scope| {
        let (verifier, revoked, done) = (&verifier, &revoked, &done);
        let readers = seen.each_ref().map(|seen| {
            scope.spawn(move || {
                while !done.load(Ordering::Relaxed) {
                    match verdict(verifier, revoked) {
                        Err(DenyReason::Revoked) => &seen.answered,
                        STALE => &seen.refused,
                        other => panic!("a revoked key: {other:?}"),
                    }
                    .fetch_add(1, Ordering::Relaxed);
                    match verdict(verifier, valid) {
                        Ok(()) => &seen.answered,
                        STALE => &seen.refused,
                        other => panic!("a valid key: {other:?}"),
                    }
                    .fetch_add(1, Ordering::Relaxed);
                }
            })
        });
        let failed = || readers.iter().any(thread::ScopedJoinHandle::is_finished);
        // Leaves the index as it is until each reader has counted another such verdict.
        let hold = |count: fn(&Seen) -> &AtomicU32| {
            let before = seen
                .each_ref()
                .map(|seen| count(seen).load(Ordering::Relaxed));
            while !failed()
                && seen
                    .iter()
                    .zip(before)
                    .any(|(seen, before)| count(seen).load(Ordering::Relaxed) == before)
            {
                thread::yield_now();
            }
        };
        for round in 0..ROUNDS {
            index.reset();
            // How long a thread waits for its turn is the scheduler's affair: what every reader
            // must meet is held for it now and then.
            if round % 100 == 0 {
                hold(|seen| &seen.refused);
            }
            for page in &pages {
                index.apply(page, NOW).unwrap();
            }
            if round % 100 == 0 {
                hold(|seen| &seen.answered);
            }
            if failed() {
                break;
            }
        }
        done.store(true, Ordering::Relaxed);
    });
}

/// The verdicts that one reader saw.
#[derive(Default)]
struct Seen {
    answered: AtomicU32,
    refused: AtomicU32,
}
