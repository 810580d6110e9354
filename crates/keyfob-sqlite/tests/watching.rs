//! Waiting for changes, without a runtime.

mod play;

use std::{
    path::Path,
    thread,
    time::{Duration, Instant},
};

use keyfob::{KeyStore, block_on, store::Revision};
use play::{Process, create, keyring, say, told};

const LONG: Duration = Duration::from_mins(1);

#[test]
fn a_change_of_the_process_is_told_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let keyring = keyring(&folder.path().join("keys.db"));
    let mut watch = keyring.store().watch();
    create(&keyring, "alice", "before").unwrap();
    block_on(watch.changed(LONG));
    thread::scope(|scope| {
        scope.spawn(|| {
            thread::sleep(Duration::from_millis(100));
            create(&keyring, "alice", "meanwhile").unwrap();
        });
        let start = Instant::now();
        block_on(watch.changed(LONG));
        assert!(start.elapsed() >= Duration::from_millis(50), "too soon");
    });
    let changes = block_on(keyring.store().changes(Revision::ZERO, 10)).unwrap();
    assert_eq!(changes.head, Revision::new(2));
}

#[test]
fn the_time_ends_a_wait() {
    let folder = tempfile::tempdir().unwrap();
    let keyring = keyring(&folder.path().join("keys.db"));
    let mut watch = keyring.store().watch();
    for _ in 0..2 {
        let start = Instant::now();
        block_on(watch.changed(Duration::from_millis(120)));
        assert!(start.elapsed() >= Duration::from_millis(120));
        assert!(start.elapsed() < LONG);
    }
    block_on(watch.changed(Duration::ZERO));
}

#[test]
fn usage_is_no_change() {
    let folder = tempfile::tempdir().unwrap();
    let keyring = keyring(&folder.path().join("keys.db"));
    let (_, info) = create(&keyring, "alice", "laptop").unwrap();
    let mut watch = keyring.store().watch();
    let usage =
        keyfob::gateway::Usage::accepted(keyfob::key::CredentialId::Key(info.id), play::now());
    block_on(keyring.store().record_usage(&[usage])).unwrap();
    let start = Instant::now();
    block_on(watch.changed(Duration::from_millis(200)));
    assert!(
        start.elapsed() >= Duration::from_millis(200),
        "told of usage"
    );
}

#[test]
fn many_watches_are_told_of_every_change() {
    let folder = tempfile::tempdir().unwrap();
    let keyring = keyring(&folder.path().join("keys.db"));
    thread::scope(|scope| {
        for _ in 0..4 {
            let store = keyring.store().clone();
            scope.spawn(move || {
                let mut watch = store.watch();
                let mut seen = Revision::ZERO;
                while seen < Revision::new(50) {
                    let changes = block_on(store.changes(seen, 1000)).unwrap();
                    seen = changes.next_after;
                    if seen < Revision::new(50) {
                        let start = Instant::now();
                        block_on(watch.changed(LONG));
                        assert!(start.elapsed() < LONG, "not told");
                    }
                }
            });
        }
        for n in 0..50 {
            create(&keyring, "alice", &format!("{n}")).unwrap();
        }
    });
}

#[test]
fn a_change_of_another_process_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("keys.db");
    let store = keyring(&path).store().clone();
    let mut watch = store.watch();
    let words = [("PLAY_PATH", path.to_str().unwrap())];
    let mut other = Process::start("part_of_one_that_creates_when_told", &words);
    assert_eq!(other.heard().as_deref(), Some("ready"));
    let mut slowest = Duration::ZERO;
    for n in 1..=20 {
        other.tell("create");
        let start = Instant::now();
        block_on(watch.changed(LONG));
        slowest = slowest.max(start.elapsed());
        let head = block_on(store.changes(Revision::ZERO, 1)).unwrap().head;
        assert_eq!(head, Revision::new(n));
    }
    assert!(slowest < LONG / 2, "told after {slowest:?}");
    // Also what happened while nobody waited.
    other.tell("create");
    assert_eq!(other.heard().as_deref(), Some("created"));
    drop(other);
    let start = Instant::now();
    block_on(watch.changed(LONG));
    assert!(start.elapsed() < LONG / 2);
}

#[test]
#[ignore = "a part that another test starts"]
fn part_of_one_that_creates_when_told() {
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

#[test]
fn a_watch_that_outlives_its_store_still_ends() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("keys.db");
    let mut watch = keyring(&path).store().watch();
    let start = Instant::now();
    block_on(watch.changed(Duration::from_millis(100)));
    assert!(start.elapsed() >= Duration::from_millis(100));
    create(&keyring(&path), "alice", "laptop").unwrap();
    block_on(watch.changed(LONG));
    assert!(start.elapsed() < LONG / 2, "not told by another store");
}
