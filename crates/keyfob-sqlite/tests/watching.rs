//! Waiting for changes, without a runtime.

mod play;

use std::{
    fs,
    path::Path,
    pin::pin,
    sync::mpsc,
    task::{Context, Waker},
    thread,
    time::{Duration, Instant},
};

use keyfob::{
    KeyStore, block_on,
    gateway::{UsageBatch, UsageDelta},
    key::{CredentialId, SystemRandom},
    store::{Revision, StoreError},
};
use keyfob_sqlite::SqliteStore;
use play::{Process, create, keyring, say, told};

/// Longer than any wait here takes, unless it hangs.
const LONG: Duration = Duration::from_mins(1);

/// The outcome of a wait; none if it is still waiting after `at_most`.
fn wait(store: &SqliteStore, after: u64, at_most: Duration) -> Option<Result<bool, StoreError>> {
    let (tell, told) = mpsc::channel();
    let store = store.clone();
    thread::spawn(move || {
        let _ = tell.send(block_on(store.wait_for_change(Revision::new(after))));
    });
    told.recv_timeout(at_most).ok()
}

fn is_told(store: &SqliteStore, after: u64, at_most: Duration) -> bool {
    wait(store, after, at_most).is_some_and(|outcome| outcome.unwrap())
}

#[test]
fn a_commit_of_this_process_ends_a_wait_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let keyring = keyring(&folder.path().join("keys.db"));
    create(&keyring, "alice", "before").unwrap();
    assert!(is_told(keyring.store(), 0, LONG), "it is there already");
    thread::scope(|scope| {
        scope.spawn(|| {
            thread::sleep(Duration::from_millis(100));
            create(&keyring, "alice", "meanwhile").unwrap();
        });
        let start = Instant::now();
        assert!(is_told(keyring.store(), 1, LONG));
        assert!(start.elapsed() >= Duration::from_millis(50), "too soon");
    });
}

#[test]
fn a_wait_goes_on_while_nothing_changes() {
    let folder = tempfile::tempdir().unwrap();
    let keyring = keyring(&folder.path().join("keys.db"));
    let (_, info) = create(&keyring, "alice", "laptop").unwrap();
    let usage = UsageDelta::accepted(CredentialId::Key(info.id), play::now());
    let batch = UsageBatch::single(vec![usage], play::now(), &SystemRandom).unwrap();
    thread::scope(|scope| {
        scope.spawn(|| {
            thread::sleep(Duration::from_millis(50));
            block_on(keyring.record_usage(&batch, play::now())).unwrap();
        });
        // Usage is no change.
        assert!(wait(keyring.store(), 1, Duration::from_millis(250)).is_none());
    });
    create(&keyring, "alice", "another").unwrap();
    assert!(is_told(keyring.store(), 1, LONG));
}

#[test]
fn a_dropped_wait_is_cancelled() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("keys.db");
    let store = SqliteStore::open(&path).unwrap();
    let mut context = Context::from_waker(Waker::noop());
    for _ in 0..100 {
        let mut future = pin!(store.wait_for_change(Revision::ZERO));
        assert!(future.as_mut().poll(&mut context).is_pending());
    }
    create(&keyring(&path), "alice", "laptop").unwrap();
    assert!(is_told(&store, 0, LONG));
}

#[test]
fn many_waits_are_told_of_every_change() {
    let folder = tempfile::tempdir().unwrap();
    let keyring = keyring(&folder.path().join("keys.db"));
    thread::scope(|scope| {
        for _ in 0..4 {
            let store = keyring.store().clone();
            scope.spawn(move || {
                let mut seen = Revision::ZERO;
                while seen < Revision::new(50) {
                    let start = Instant::now();
                    assert!(block_on(store.wait_for_change(seen)).unwrap());
                    assert!(start.elapsed() < LONG, "not told");
                    let changes = block_on(store.changes(seen, 1000)).unwrap();
                    assert!(changes.next_after > seen, "told of nothing");
                    seen = changes.next_after;
                }
            });
        }
        for n in 0..50 {
            create(&keyring, "alice", &format!("{n}")).unwrap();
        }
    });
}

#[test]
fn a_commit_of_another_process_ends_a_wait() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("keys.db");
    let store = keyring(&path).store().clone();
    let words = [("PLAY_PATH", path.to_str().unwrap())];
    let mut other = Process::start("process_that_creates_when_told", &words);
    assert_eq!(other.heard().as_deref(), Some("ready"));
    let mut slowest = Duration::ZERO;
    for n in 1..=20 {
        other.tell("create");
        let start = Instant::now();
        assert!(is_told(&store, n - 1, LONG));
        slowest = slowest.max(start.elapsed());
        let changes = block_on(store.changes(Revision::ZERO, 1)).unwrap();
        assert_eq!(changes.last_revision(), Revision::new(n));
    }
    assert!(slowest < LONG / 2, "told after {slowest:?}");
    // A commit that was kept while nobody waited ends the next wait too.
    other.tell("create");
    assert_eq!(other.heard().as_deref(), Some("created"));
    drop(other);
    assert!(is_told(&store, 20, LONG / 2));
}

#[test]
#[ignore = "started by another test"]
fn process_that_creates_when_told() {
    let keyring = keyring(Path::new(&told("PLAY_PATH")));
    say("ready");
    let mut n = 0;
    let mut line = String::new();
    while std::io::stdin().read_line(&mut line).unwrap() > 0 {
        create(&keyring, "alice", &format!("{n}")).unwrap();
        n += 1;
        if n == 21 {
            say("created");
        }
    }
}

/// A follower that is not told of this would show revoked keys as valid.
#[test]
fn a_store_that_cannot_be_read_ends_a_wait_with_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("keys.db");
    let store = SqliteStore::open(&path).unwrap();
    let start = Instant::now();
    thread::scope(|scope| {
        scope.spawn(|| {
            thread::sleep(Duration::from_millis(100));
            fs::rename(&path, folder.path().join("moved.db")).unwrap();
        });
        let outcome = wait(&store, 0, LONG).expect("the wait hangs");
        assert!(outcome.unwrap_err().is_definite());
    });
    assert!(start.elapsed() < LONG / 2);
    let outcome = wait(&store, 0, LONG).expect("the next wait hangs");
    outcome.unwrap_err();
    // Once the file is back, it can be waited for again.
    fs::rename(folder.path().join("moved.db"), &path).unwrap();
    create(&keyring(&path), "alice", "laptop").unwrap();
    assert!(is_told(&store, 0, LONG));
}
