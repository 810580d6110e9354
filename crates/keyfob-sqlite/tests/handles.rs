//! Handles, threads and dropped futures.

mod play;

use std::{
    path::Path,
    pin::pin,
    task::{Context, Poll, Waker},
    thread,
    time::{Duration, Instant},
};

use keyfob::{
    KeyStore, block_on,
    gateway::{UsageBatch, UsageDelta},
    key::{CredentialId, SystemRandom},
    manage,
    store::{KeyQuery, Revision},
};
use keyfob_sqlite::SqliteStore;
use play::{Process, create, home, keyring, new_key, now, over, say, system, told};

#[test]
fn a_store_can_be_shared_and_sent() {
    fn is_shared<T: Clone + Send + Sync + KeyStore + 'static>(_: &T) {}
    fn is_sent<T: Send>(future: T) -> T {
        future
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("keys.db");
    let store = SqliteStore::open(&path).unwrap();
    is_shared(&store);
    block_on(is_sent(store.wait_for_change(Revision::new(1)))).unwrap();
    block_on(is_sent(store.check())).unwrap();
    block_on(is_sent(store.backup(&folder.path().join("copy.db")))).unwrap();
    let keyring = over(store.clone());
    drop(store);
    let context = system();
    block_on(is_sent(
        keyring.create(&context, new_key("alice", "laptop")),
    ))
    .unwrap();
}

#[test]
fn a_dropped_commit_is_kept_completely_or_not_at_all() {
    let folder = tempfile::tempdir().unwrap();
    let keyring = keyring(&folder.path().join("keys.db"));
    let mut context = Context::from_waker(Waker::noop());
    let mut begun = 0;
    for n in 0..200 {
        let context_of_call = system();
        let name = format!("{n}");
        let future = keyring.create(&context_of_call, new_key("alice", &name));
        let mut future = pin!(future);
        for _ in 0..n % 20 {
            match future.as_mut().poll(&mut context) {
                Poll::Pending => thread::yield_now(),
                Poll::Ready(created) => {
                    created.unwrap();
                    break;
                }
            }
        }
        begun += u64::from(n % 20 > 0);
        // Here it is dropped.
    }
    create(&keyring, "alice", "last").unwrap();
    block_on(keyring.store().check()).unwrap();
    let changes = block_on(keyring.store().changes(Revision::ZERO, 1000)).unwrap();
    assert_eq!(changes.entries.len() as u64, changes.last_revision().get());
    let kept = changes.last_revision().get();
    assert!((1..=begun + 1).contains(&kept), "{kept} of {begun}");
}

/// A call whose future was dropped does not block the readers.
#[test]
fn readers_go_on_after_dropped_futures() {
    let folder = tempfile::tempdir().unwrap();
    let keyring = keyring(&folder.path().join("keys.db"));
    create(&keyring, "alice", "laptop").unwrap();
    let mut context = Context::from_waker(Waker::noop());
    let query = KeyQuery::namespace(&home());
    for _ in 0..500 {
        let mut future = pin!(keyring.list(&query));
        let _ = future.as_mut().poll(&mut context);
    }
    assert_eq!(block_on(keyring.list(&query)).unwrap().items.len(), 1);
}

#[test]
fn a_writer_that_waits_for_another_process_does_not_block_readers() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("keys.db");
    let hasty = SqliteStore::options().with_busy_timeout(Duration::from_millis(300));
    let keyring = over(hasty.open(&path).unwrap());
    let (_, info) = create(&keyring, "alice", "laptop").unwrap();
    let other = rusqlite::Connection::open(&path).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();

    let context_of_call = system();
    let tenant = home();
    let mut future = pin!(keyring.revoke(&context_of_call, &tenant, info.id, None));
    let start = Instant::now();
    let mut context = Context::from_waker(Waker::noop());
    for _ in 0..100 {
        assert!(future.as_mut().poll(&mut context).is_pending());
    }
    // Reading goes on.
    assert_eq!(block_on(keyring.get(&home(), info.id)).unwrap(), info);
    assert!(start.elapsed() < Duration::from_millis(300), "polls wait");
    match block_on(future) {
        Err(manage::Error::Store(error)) => assert!(error.is_definite(), "{error:?}"),
        answer => panic!("{answer:?}"),
    }
    assert!(start.elapsed() >= Duration::from_millis(300), "too hasty");

    other.execute_batch("ROLLBACK").unwrap();
    assert_eq!(block_on(keyring.get(&home(), info.id)).unwrap(), info);
    block_on(keyring.revoke(&system(), &home(), info.id, None)).unwrap();
}

#[test]
fn many_commits_at_once_are_kept_in_one_order() {
    let folder = tempfile::tempdir().unwrap();
    let keyring = keyring(&folder.path().join("keys.db"));
    thread::scope(|scope| {
        for thread in 0..16 {
            let keyring = &keyring;
            scope.spawn(move || {
                for n in 0..25 {
                    let (_, info) = create(keyring, "alice", &format!("{thread} {n}")).unwrap();
                    let usage = vec![UsageDelta::accepted(CredentialId::Key(info.id), now())];
                    let batch = UsageBatch::single(usage, now(), &SystemRandom).unwrap();
                    block_on(keyring.record_usage(&batch, now())).unwrap();
                    // A read after the answer sees the change.
                    let found = block_on(keyring.get(&home(), info.id)).unwrap();
                    assert_eq!(found.revision, info.revision);
                }
            });
        }
    });
    block_on(keyring.store().check()).unwrap();
    let changes = block_on(keyring.store().changes(Revision::ZERO, 1000)).unwrap();
    assert_eq!(changes.last_revision(), Revision::new(400));
    let credentials: Vec<CredentialId> = changes
        .entries
        .iter()
        .filter_map(|entry| match &entry.item {
            keyfob::store::Item::Key(record) => Some(CredentialId::Key(record.id)),
            _ => None,
        })
        .collect();
    let usage = block_on(keyring.usage(&credentials)).unwrap();
    assert_eq!(usage.len(), 400);
    assert!(usage.iter().all(|usage| usage.accepted == 1));
}

#[test]
#[cfg(target_os = "linux")]
fn dropping_the_last_handle_stops_threads_and_closes_files() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("keys.db");
    let words = [("PLAY_PATH", path.to_str().unwrap())];
    let process = Process::start("process_that_opens_and_drops", &words);
    assert_eq!(process.heard().as_deref(), Some("nothing is left"));
    assert!(process.end());
}

#[test]
#[ignore = "started by another test"]
fn process_that_opens_and_drops() {
    let count = |of: &str| std::fs::read_dir(of).unwrap().count();
    let all = || (count("/proc/self/task"), count("/proc/self/fd"));
    let path = told("PLAY_PATH");
    let before = all();
    for n in 0..10 {
        let keyring = keyring(Path::new(&path));
        create(&keyring, "alice", &format!("{n}")).unwrap();
        block_on(keyring.store().wait_for_change(Revision::ZERO)).unwrap();
        let other = keyring.store().clone();
        assert!(all().0 >= before.0 + 4, "a writer, readers, a watcher");
        drop(keyring);
        create(&over(other), "alice", &format!("{n} too")).unwrap();
    }
    assert_eq!(all(), before);
    // The log went with the last connection.
    assert!(!Path::new(&[&path, "-wal"].concat()).exists());
    say("nothing is left");
}
