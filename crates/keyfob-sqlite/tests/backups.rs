//! Copies that are made while the store works on, and what takes the store's place.

mod play;

use std::{
    fs,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};

use keyfob::{
    KeyStore, block_on,
    gateway::{FollowError, Index, IndexError},
    key::Peppers,
    store::Revision,
};
use keyfob_sqlite::{BackupError, SqliteStore};
use play::{create, keyring};

#[test]
fn a_copy_that_is_made_during_writes_is_of_one_moment() {
    let folder = tempfile::tempdir().unwrap();
    let keyring = Arc::new(keyring(&folder.path().join("keys.db")));
    let ended = AtomicBool::new(false);
    thread::scope(|scope| {
        let writers: Vec<_> = (0..4)
            .map(|writer| {
                let (keyring, ended) = (Arc::clone(&keyring), &ended);
                scope.spawn(move || {
                    let mut made = 0;
                    while !ended.load(Ordering::Relaxed) {
                        create(&keyring, "alice", &format!("{writer} {made}")).unwrap();
                        made += 1;
                    }
                    made
                })
            })
            .collect();
        let mut heads = Vec::new();
        for n in 0..10 {
            let copy = folder.path().join(format!("copy {n}.db"));
            let before = head(keyring.store());
            block_on(keyring.store().backup(&copy)).unwrap();
            let copy = SqliteStore::open(copy).unwrap();
            // The trail to the head, and nothing but what it tells of.
            block_on(copy.check()).unwrap();
            let changes = block_on(copy.changes(Revision::ZERO, usize::MAX)).unwrap();
            assert_eq!(changes.entries.len() as u64, changes.last_revision().get());
            assert!(before <= changes.last_revision(), "an older moment");
            heads.push(changes.last_revision());
        }
        ended.store(true, Ordering::Relaxed);
        let made: u64 = writers.into_iter().map(|w| w.join().unwrap()).sum();
        assert!(heads.is_sorted(), "{heads:?}");
        assert!(heads.last() > heads.first(), "writes went on: {heads:?}");
        assert_eq!(head(keyring.store()), Revision::new(made));
    });
}

fn head(store: &SqliteStore) -> Revision {
    block_on(store.changes(Revision::ZERO, 1))
        .unwrap()
        .last_revision()
}

#[test]
fn an_index_notices_that_a_backup_took_the_stores_place() {
    let folder = tempfile::tempdir().unwrap();
    let (path, copy) = (folder.path().join("keys.db"), folder.path().join("copy.db"));
    let first = keyring(&path);
    let (_, info) = create(&first, "alice", "laptop").unwrap();
    block_on(first.store().backup(&copy)).unwrap();
    block_on(first.revoke(&play::system(), &play::home(), info.id, None)).unwrap();
    let index = Index::new(play::format(), Peppers::none());
    block_on(index.follow(first.store(), play::now())).unwrap();
    drop(first);

    fs::copy(&copy, &path).unwrap();
    let restored = keyring(&path);
    block_on(restored.store().check()).unwrap();
    let followed = block_on(index.follow(restored.store(), play::now()));
    let error = followed.unwrap_err();
    assert!(
        matches!(&error, FollowError::Index(IndexError::Regressed { .. })),
        "{error:?}"
    );
    let fresh = Index::new(play::format(), Peppers::none());
    assert_eq!(
        block_on(fresh.follow(restored.store(), play::now())).unwrap(),
        Revision::new(1)
    );
}

/// The restored store has as many commits again as were lost, and then more.
#[test]
fn an_index_notices_a_backup_that_has_caught_up() {
    let folder = tempfile::tempdir().unwrap();
    let (path, copy) = (folder.path().join("keys.db"), folder.path().join("copy.db"));
    let before = keyring(&path);
    create(&before, "alice", "laptop").unwrap();
    block_on(before.store().backup(&copy)).unwrap();
    create(&before, "alice", "lost").unwrap();
    let index = Index::new(play::format(), Peppers::none());
    let reached = block_on(index.follow(before.store(), play::now())).unwrap();
    assert_eq!(reached, Revision::new(2));
    drop(before);
    fs::rename(&copy, &path).unwrap();
    let restored = keyring(&path);
    for name in ["phone", "tablet"] {
        create(&restored, "alice", name).unwrap();
        let followed = block_on(index.follow(restored.store(), play::now()));
        assert!(
            matches!(
                followed,
                Err(FollowError::Index(IndexError::Forked { at })) if at == reached
            ),
            "{followed:?}"
        );
        assert_eq!(index.confirmed_at(), None);
    }
    index.reset();
    let reached = block_on(index.follow(restored.store(), play::now())).unwrap();
    assert_eq!(reached, Revision::new(3));
    assert!(index.confirmed_at().is_some());
}

#[test]
fn a_store_whose_file_was_replaced_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let (path, copy) = (folder.path().join("keys.db"), folder.path().join("copy.db"));
    let keyring = keyring(&path);
    create(&keyring, "alice", "laptop").unwrap();
    block_on(keyring.store().backup(&copy)).unwrap();
    let moved = folder.path().join("moved.db");
    for take_place in [true, false] {
        if take_place {
            fs::rename(&path, &moved).unwrap();
            fs::rename(&copy, &path).unwrap();
        } else {
            fs::remove_file(&path).unwrap();
        }
        let told = block_on(keyring.store().changes(Revision::ZERO, 1)).unwrap_err();
        assert!(told.is_definite());
        assert!(create(&keyring, "alice", "phone").is_err());
    }
    // Back in its place, it goes on.
    fs::rename(&moved, &path).unwrap();
    assert_eq!(head(keyring.store()), Revision::new(1));
    create(&keyring, "alice", "phone").unwrap();
}

#[test]
fn a_store_whose_log_was_removed_says_so() {
    for suffix in ["-wal", "-shm"] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keys.db");
        let keyring = keyring(&path);
        create(&keyring, "alice", "laptop").unwrap();
        let log = folder.path().join(format!("keys.db{suffix}"));
        fs::remove_file(&log).unwrap();
        let told = block_on(keyring.store().changes(Revision::ZERO, 1)).unwrap_err();
        assert!(told.is_definite());
        assert!(create(&keyring, "alice", "phone").is_err());
        let copy = folder.path().join("copy.db");
        block_on(keyring.store().backup(&copy)).unwrap_err();
        // A new file is not the one of this store.
        fs::write(&log, "").unwrap();
        assert!(create(&keyring, "alice", "phone").is_err());
    }
}

#[test]
fn checkpoints_and_other_processes_do_not_replace_the_log() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("keys.db");
    let keyring = keyring(&path);
    for round in 0..3 {
        create(&keyring, "alice", &format!("key {round}")).unwrap();
        let other = SqliteStore::open(&path).unwrap();
        block_on(other.check()).unwrap();
        block_on(other.quick_check()).unwrap();
        drop(other);
        let other = rusqlite::Connection::open(&path).unwrap();
        other
            .query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))
            .unwrap();
        drop(other);
        head(keyring.store());
    }
}

#[test]
fn a_backup_overwrites_no_file() {
    let folder = tempfile::tempdir().unwrap();
    let keyring = keyring(&folder.path().join("keys.db"));
    create(&keyring, "alice", "laptop").unwrap();
    let taken = folder.path().join("taken");
    fs::write(&taken, "precious").unwrap();
    for path in [&taken, &folder.path().join("keys.db")] {
        let error = block_on(keyring.store().backup(path)).unwrap_err();
        assert!(matches!(error, BackupError::Taken), "{error:?}");
    }
    assert_eq!(fs::read_to_string(&taken).unwrap(), "precious");
    let nowhere = folder.path().join("no folder").join("copy.db");
    let error = block_on(keyring.store().backup(&nowhere)).unwrap_err();
    assert!(matches!(error, BackupError::Io(_)), "{error:?}");
    let left = fs::read_dir(folder.path()).unwrap().flatten();
    let left: Vec<_> = left.map(|file| file.file_name()).collect();
    assert!(
        left.iter()
            .all(|name| !name.to_string_lossy().contains("partial")),
        "{left:?}"
    );
}
