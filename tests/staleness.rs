//! The age of an index: a verifier with a bound refuses every call once its index was not confirmed
//! for that long.

mod support;

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use keyfob::{
    Access, Context, DenyReason, Expiry, KeyId, KeyStore, Keyring, MemoryStore, NewKey, Tenant,
    Timestamp, Ttl, Verifier, block_on,
    gateway::{FollowError, Index},
    key::{KeyFormat, Peppers},
    legacy::{LegacyId, LegacyPolicy, PresentedLegacy, read_subjects},
    manage::{Error, KeyringBuilder, LifecycleError, Rotation},
    store::{Changes, Revision},
};

use support::Unreliable;

const NOW: Timestamp = Timestamp::from_unix(1_800_000_000);
const BOUND: u64 = 10;

fn later(seconds: u64) -> Timestamp {
    NOW.plus_seconds(seconds)
}

fn earlier(seconds: i64) -> Timestamp {
    Timestamp::from_unix(NOW.as_unix() - seconds)
}

fn dof() -> KeyFormat {
    KeyFormat::new("dof").unwrap()
}

fn index() -> Arc<Index> {
    Arc::new(Index::new(dof(), Peppers::none()))
}

/// A store with one key, and the key's text.
fn store_with_key() -> (MemoryStore, String) {
    let store = Arc::new(MemoryStore::new());
    let keyring = block_on(Keyring::builder(Arc::clone(&store), dof()).open(NOW)).unwrap();
    let new = NewKey::for_user("acme", "fn-a", "alice", "laptop").unwrap();
    let created = block_on(keyring.create(&Context::system(NOW), new)).unwrap();
    drop(keyring);
    let store = Arc::into_inner(store).expect("the keyring is gone");
    (store, created.secret.expose().to_owned())
}

/// The verdict at a time, by a new verifier: one that keeps the latest time would hide the bound.
fn verdict(verifier: &Verifier, text: &str, now: Timestamp) -> Result<(), (u16, DenyReason)> {
    let verdict = verifier.verify_text(text.as_bytes(), &Access::to("fn-a"), now);
    verdict
        .map(drop)
        .map_err(|denied| (denied.status(), denied.reason()))
}

const STALE: Result<(), (u16, DenyReason)> = Err((503, DenyReason::Stale));
const NOT_READY: Result<(), (u16, DenyReason)> = Err((503, DenyReason::NotReady));

fn bounded(index: &Arc<Index>) -> Verifier {
    index.verifier(Some(Duration::from_secs(BOUND)))
}

#[test]
fn an_index_that_never_followed_a_store_is_not_ready() {
    let (_, text) = store_with_key();
    let index = index();
    assert_eq!((index.confirmed_at(), index.is_ready()), (None, false));
    for now in [Timestamp::MIN, NOW, Timestamp::MAX] {
        assert_eq!(verdict(&bounded(&index), &text, now), NOT_READY);
        assert_eq!(verdict(&index.verifier(None), &text, now), NOT_READY);
    }
}

#[test]
fn a_bounded_verifier_refuses_exactly_at_its_bound() {
    let (store, text) = store_with_key();
    let index = index();
    block_on(index.follow(&store, NOW)).unwrap();
    assert_eq!(index.confirmed_at(), Some(NOW));
    let verifier = bounded(&index);
    assert_eq!(verdict(&verifier, &text, later(BOUND - 1)), Ok(()));
    assert!(verifier.is_ready(later(BOUND - 1)));
    for age in [BOUND, BOUND + 1, 1 << 40] {
        assert_eq!(verdict(&verifier, &text, later(age)), STALE, "{age} s");
        assert!(!verifier.is_ready(later(age)));
    }
    block_on(index.follow(&store, later(BOUND))).unwrap();
    assert_eq!(verdict(&verifier, &text, later(2 * BOUND - 1)), Ok(()));
    assert_eq!(verdict(&verifier, &text, later(2 * BOUND)), STALE);
}

#[test]
fn a_bound_is_whole_seconds_and_one_at_least() {
    let (store, text) = store_with_key();
    let index = index();
    block_on(index.follow(&store, NOW)).unwrap();
    for (bound, last) in [
        (Duration::ZERO, 0),
        (Duration::from_millis(999), 0),
        (Duration::from_millis(2_999), 1),
    ] {
        let verifier = index.verifier(Some(bound));
        assert!(verifier.is_ready(later(last)), "{bound:?}");
        assert!(!verifier.is_ready(later(last + 1)), "{bound:?}");
    }
    let verifier = index.verifier(Some(Duration::MAX));
    assert_eq!(verdict(&verifier, &text, Timestamp::MAX), Ok(()));
}

/// A confirmation ahead of the clock says nothing of how old the index is: the clock ran back.
#[test]
fn a_confirmation_ahead_of_the_clock_is_as_stale_as_one_behind_it() {
    let (store, text) = store_with_key();
    let index = index();
    block_on(index.follow(&store, NOW)).unwrap();
    let verifier = bounded(&index);
    let bound = i64::try_from(BOUND).unwrap();
    assert_eq!(verdict(&verifier, &text, earlier(bound - 1)), Ok(()));
    assert_eq!(verdict(&verifier, &text, earlier(bound)), STALE);
    // The next follow is by the clock as it is, and counts.
    block_on(index.follow(&store, earlier(3_600))).unwrap();
    assert_eq!(index.confirmed_at(), Some(earlier(3_600)));
    assert_eq!(verdict(&verifier, &text, earlier(3_600)), Ok(()));
    assert_eq!(verdict(&verifier, &text, NOW), STALE);
}

#[test]
fn a_verifier_without_a_bound_is_never_stale() {
    let (store, text) = store_with_key();
    let index = index();
    block_on(index.follow(&store, NOW)).unwrap();
    for now in [Timestamp::MIN, earlier(3_600), later(3_600), Timestamp::MAX] {
        assert_eq!(verdict(&index.verifier(None), &text, now), Ok(()), "{now}");
    }
}

#[test]
fn a_follow_that_fails_confirms_nothing() {
    let shared = Unreliable::default();
    let index = index();
    block_on(index.follow(&shared, NOW)).unwrap();
    shared.fail(true);
    let failed = block_on(index.follow(&shared, later(5)));
    assert!(matches!(failed, Err(FollowError::Store(_))));
    assert_eq!(index.confirmed_at(), Some(NOW));
    assert!(!bounded(&index).is_ready(later(BOUND)));
    shared.fail(false);
    block_on(index.follow(&shared, later(BOUND))).unwrap();
    assert!(bounded(&index).is_ready(later(BOUND)));
}

/// What was asked for long ago may be old when it arrives: it counts from when it was asked for.
#[test]
fn a_late_answer_confirms_the_index_as_of_the_time_of_the_question() {
    let (store, _) = store_with_key();
    let index = index();
    let changes = block_on(store.changes(Revision::ZERO, 100)).unwrap();
    index.apply(&changes, NOW).unwrap();
    assert!(bounded(&index).is_ready(later(BOUND - 1)));
    assert!(!bounded(&index).is_ready(later(BOUND)));
    // A part that is not the end confirms nothing.
    let part = Changes {
        more: true,
        ..changes.clone()
    };
    index.apply(&part, later(BOUND)).unwrap();
    assert_eq!(index.confirmed_at(), Some(NOW));
    index.apply(&changes, later(BOUND)).unwrap();
    assert_eq!(index.confirmed_at(), Some(later(BOUND)));
}

#[test]
fn an_index_that_is_invalidated_is_stale_until_it_is_confirmed_again() {
    let (store, text) = store_with_key();
    let index = index();
    block_on(index.follow(&store, NOW)).unwrap();
    index.invalidate();
    assert_eq!(verdict(&index.verifier(None), &text, NOW), STALE);
    assert_eq!(verdict(&bounded(&index), &text, NOW), STALE);
    block_on(index.follow(&store, NOW)).unwrap();
    assert_eq!(verdict(&bounded(&index), &text, NOW), Ok(()));
}

#[test]
fn a_keyring_bounds_its_verifiers_only_if_other_processes_can_change_the_store() {
    let builder = Keyring::builder(MemoryStore::new(), dof()).stale_after(Duration::from_secs(5));
    let alone = block_on(builder.open(NOW)).unwrap();
    assert_eq!(alone.stale_after(), None);
    assert!(alone.verifier().is_ready(Timestamp::MAX));

    let builder = Keyring::builder(Unreliable::default(), dof());
    let shared = block_on(builder.open(NOW)).unwrap();
    let default = KeyringBuilder::STALE_AFTER;
    assert_eq!(shared.stale_after(), Some(default));
    assert!(shared.verifier().is_ready(later(default.as_secs() - 1)));
    assert!(!shared.verifier().is_ready(later(default.as_secs())));
    assert!(shared.unbounded_verifier().is_ready(Timestamp::MAX));
    block_on(shared.sync(later(3_600))).unwrap();
    assert!(shared.verifier().is_ready(later(3_600)));

    let builder =
        Keyring::builder(Unreliable::default(), dof()).stale_after(Duration::from_secs(60));
    let shared = block_on(builder.open(NOW)).unwrap();
    assert!(shared.verifier().is_ready(later(59)));
    assert!(!shared.verifier().is_ready(later(60)));
}

/// `OpenWhisk`'s public example.
const GUEST: &str = "23bc46b1-71f6-4ed5-8c54-816aa4f8c502:123zO3xZCLrMN6v2BKK1dXYFpXlPkccOFqm12CdAsMgRU4VrNZ9lyGVCGuMDGIwP";

fn import_guest(keyring: &Keyring) -> LegacyId {
    let (uuid, key) = GUEST.split_once(':').unwrap();
    let line = format!(
        r#"{{"subject":"guest","namespaces":[{{"name":"fn-a","uuid":"{uuid}","key":"{key}"}}]}}"#
    );
    let context = Context::system(NOW);
    let team = Tenant::parse("acme", "fn-a").unwrap().team;
    let import = read_subjects(&line, &context, &Peppers::none(), |_| Some(team.clone()));
    for record in import.records {
        block_on(keyring.import_legacy(&context, record)).unwrap();
    }
    let policy = LegacyPolicy::until(later(3_600));
    block_on(keyring.set_legacy_policy(&context, None, Some(policy))).unwrap();
    PresentedLegacy::parse(GUEST.as_bytes()).unwrap().id()
}

/// Two keyrings stand for two processes. What one has done, the other finds done already; it says
/// so only when its own verifier applies it.
#[test]
fn a_call_with_nothing_to_change_returns_when_the_change_is_in_force_here() {
    type End = fn(&Keyring, KeyId, LegacyId) -> Result<(), Error>;
    let revoke: End = |keyring, key, _| {
        let tenant = Tenant::parse("acme", "fn-a").unwrap();
        block_on(keyring.revoke(&Context::system(NOW), &tenant, key, None)).map(drop)
    };
    let disable: End = |keyring, key, _| {
        let tenant = Tenant::parse("acme", "fn-a").unwrap();
        block_on(keyring.disable(&Context::system(NOW), &tenant, key, None)).map(drop)
    };
    let revoke_legacy: End = |keyring, _, legacy| {
        let tenant = Tenant::parse("acme", "fn-a").unwrap();
        block_on(keyring.revoke_legacy(&Context::system(NOW), &tenant, legacy))
    };
    for (end, is_legacy, reason) in [
        (revoke, false, DenyReason::Revoked),
        (disable, false, DenyReason::Disabled),
        (revoke_legacy, true, DenyReason::Revoked),
    ] {
        let store = Arc::new(Unreliable::default());
        let open = || block_on(Keyring::builder(Arc::clone(&store), dof()).open(NOW)).unwrap();
        let one = open();
        let new = NewKey::for_user("acme", "fn-a", "alice", "laptop").unwrap();
        let created = block_on(one.create(&Context::system(NOW), new)).unwrap();
        let legacy = import_guest(&one);
        let other = open();
        let text = if is_legacy {
            GUEST
        } else {
            created.secret.expose()
        };
        let id = created.info.id;
        let verifier = other.verifier();
        assert_eq!(verdict(&verifier, text, NOW), Ok(()));

        end(&one, id, legacy).unwrap();
        assert_eq!(
            verdict(&verifier, text, NOW),
            Ok(()),
            "it does not know yet"
        );

        // While it cannot know, it does not say that it is done.
        store.fail(true);
        let refused = end(&other, id, legacy).unwrap_err();
        assert!(matches!(refused, Error::NotSynced(_)), "{refused}");
        assert_eq!(refused.status(), 503);
        assert_eq!(verdict(&verifier, text, NOW), Ok(()));

        store.fail(false);
        end(&other, id, legacy).unwrap();
        let refused = verdict(&verifier, text, NOW);
        assert_eq!(refused.map_err(|(_, reason)| reason), Err(reason));
    }
}

/// A store may also hang after the commit: a caller that drops the call then would lose the secret.
#[test]
fn a_new_secret_is_returned_although_the_store_does_not_answer_any_more() {
    let store = Arc::new(Unreliable::default());
    let builder = Keyring::builder(Arc::clone(&store), dof());
    let keyring = block_on(
        builder
            .sync_limit(|| Box::pin(std::future::ready(())))
            .open(NOW),
    );
    let keyring = keyring.unwrap();
    let context = Context::system(NOW);
    let new = |name| NewKey::for_user("acme", "fn-a", "alice", name).unwrap();
    let created = block_on(keyring.create(&context, new("laptop"))).unwrap();
    assert!(created.in_force, "the store answers");
    let (tenant, id) = (created.info.tenant, created.info.id);

    store.hangs.store(true, Ordering::Relaxed);
    let created = block_on(keyring.create(&context, new("desktop"))).unwrap();
    assert!(!created.in_force);
    let rotated = block_on(keyring.rotate(&context, &tenant, id, Rotation::new(), None)).unwrap();
    assert!(!rotated.in_force);
    let revoked = block_on(keyring.revoke(&context, &tenant, created.info.id, None)).unwrap_err();
    assert!(matches!(
        revoked,
        Error::AppliedNotSynced(FollowError::TimedOut)
    ));

    store.hangs.store(false, Ordering::Relaxed);
    block_on(keyring.sync(NOW)).unwrap();
    let verifier = keyring.verifier();
    assert_eq!(verdict(&verifier, rotated.secret.expose(), NOW), Ok(()));
}

/// A call of many changes tells how many it made before it failed.
#[test]
fn an_interrupted_purge_tells_how_much_it_did() {
    let store = Arc::new(Unreliable::default());
    let keyring = block_on(Keyring::builder(Arc::clone(&store), dof()).open(NOW)).unwrap();
    let context = Context::system(NOW);
    for name in ["a", "b", "c"] {
        let new = NewKey::for_user("acme", "fn-a", "alice", name).unwrap();
        let key = block_on(keyring.create(&context, new)).unwrap().info;
        block_on(keyring.revoke(&context, &key.tenant, key.id, None)).unwrap();
    }
    let team = Tenant::parse("acme", "fn-a").unwrap().team;
    store.commits_left.store(2, Ordering::Relaxed);
    let error = block_on(keyring.purge(&context, &team, later(1))).unwrap_err();
    let Error::Interrupted { changes, source } = &error else {
        panic!("{error:?}");
    };
    assert_eq!((*changes, error.status()), (2, 503));
    assert!(matches!(**source, Error::AppliedNotSynced(_)), "{source}");
    store.fail(false);
    let purged = block_on(keyring.purge(&context, &team, later(1)));
    assert_eq!(purged.unwrap(), 1);
}

/// The change is kept, and the caller is told that it is not in force here yet.
#[test]
fn a_change_that_is_kept_but_cannot_be_read_back_says_so() {
    let store = Arc::new(Unreliable::default());
    let keyring = block_on(Keyring::builder(Arc::clone(&store), dof()).open(NOW)).unwrap();
    let new = NewKey::for_user("acme", "fn-a", "alice", "laptop").unwrap();
    let context = Context::system(NOW);
    store.fail(true);
    let created = block_on(keyring.create(&context, new)).unwrap();
    assert!(
        !created.in_force,
        "the secret must not be lost all the same"
    );
    let removed = block_on(keyring.remove_member(&context, "acme", "alice")).unwrap_err();
    assert!(matches!(removed, Error::AppliedNotSynced(_)), "{removed}");
    assert_eq!(removed.status(), 503);
    store.fail(false);
    block_on(keyring.sync(NOW)).unwrap();
    let refused = verdict(&keyring.verifier(), created.secret.expose(), NOW);
    assert_eq!(refused, Err((401, DenyReason::Revoked)));
}

/// Verifiers and changes judge by one time: the latest that either was given.
#[test]
fn an_expired_key_stays_expired_for_changes_when_the_clock_is_set_back() {
    let keyring = block_on(Keyring::builder(MemoryStore::new(), dof()).open(NOW)).unwrap();
    let verifier = keyring.unbounded_verifier();
    let new = |name| {
        let new = NewKey::for_user("acme", "fn-a", "alice", name).unwrap();
        new.with_expiry(Expiry::In(Ttl::hours(1).unwrap()))
    };
    let one = block_on(keyring.create(&Context::system(NOW), new("one"))).unwrap();
    let two = block_on(keyring.create(&Context::system(NOW), new("two"))).unwrap();
    let expired = Err((401, DenyReason::Expired));
    // A verification was given a later time.
    assert_eq!(
        verdict(&verifier, one.secret.expose(), later(3_600)),
        expired
    );
    let (context, tenant) = (Context::system(NOW), &one.info.tenant);
    let rotated = keyring.rotate(&context, tenant, one.info.id, Rotation::new(), None);
    let refused = block_on(rotated).unwrap_err();
    assert!(
        matches!(refused, Error::Lifecycle(LifecycleError::Expired)),
        "{refused}"
    );
    let disabled = block_on(keyring.disable(&Context::system(NOW), tenant, one.info.id, None));
    assert_eq!(disabled.unwrap().updated_at, later(3_600));

    // A change was given a later time still.
    let third = block_on(keyring.create(&Context::system(later(7_200)), new("three"))).unwrap();
    assert_eq!(verdict(&verifier, third.secret.expose(), NOW), Ok(()));
    assert_eq!(verdict(&verifier, two.secret.expose(), NOW), expired);
    assert_eq!(keyring.index().latest(NOW), later(7_200));
    // The age of the index is measured by the clock as it is.
    let shared = block_on(Keyring::builder(Unreliable::default(), dof()).open(NOW)).unwrap();
    block_on(shared.create(&Context::system(later(7_200)), new("four"))).unwrap();
    block_on(shared.sync(NOW)).unwrap();
    block_on(shared.create(&Context::system(NOW), new("five"))).unwrap();
    assert!(shared.verifier().is_ready(NOW));
}
