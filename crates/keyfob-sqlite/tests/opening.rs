//! Opening files: new ones, old ones, and what is no store.

mod play;

use std::{fs, path::Path, time::Duration};

use keyfob::{KeyStore, block_on, store::Revision};
use keyfob_sqlite::{OpenError, SqliteStore};
use play::{Process, create, keyring, say, told};
use rusqlite::Connection;

fn head(store: &SqliteStore) -> Revision {
    block_on(store.changes(Revision::ZERO, 1))
        .unwrap()
        .last_revision()
}

#[test]
fn a_reopened_store_has_everything() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("keys.db");
    for n in 0..5 {
        let keyring = keyring(&path);
        assert_eq!(head(keyring.store()), Revision::new(n));
        create(&keyring, "alice", &format!("{n}")).unwrap();
        block_on(keyring.store().check()).unwrap();
    }
}

#[test]
fn opening_again_changes_no_byte() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("keys.db");
    create(&keyring(&path), "alice", "laptop").unwrap();
    let before = fs::read(&path).unwrap();
    for _ in 0..3 {
        drop(SqliteStore::open(&path).unwrap());
        assert!(fs::read(&path).unwrap() == before, "a byte changed");
    }
}

#[test]
fn stores_of_one_process_see_each_other() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("keys.db");
    let (one, two) = (keyring(&path), keyring(&path));
    for n in 0..10 {
        create(&one, "alice", &format!("one {n}")).unwrap();
        create(&two, "alice", &format!("two {n}")).unwrap();
        assert_eq!(head(one.store()), Revision::new(2 * n + 2));
    }
    drop(one);
    create(&two, "alice", "last").unwrap();
    block_on(two.store().check()).unwrap();
}

#[test]
#[cfg(unix)]
fn only_its_owner_can_read_a_new_store() {
    use std::os::unix::fs::PermissionsExt as _;

    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("keys.db");
    let keyring = keyring(&path);
    create(&keyring, "alice", "laptop").unwrap();
    block_on(keyring.store().backup(&folder.path().join("copy.db"))).unwrap();
    let files: Vec<_> = fs::read_dir(folder.path()).unwrap().flatten().collect();
    assert!(files.len() >= 4, "the log is next to the file: {files:?}");
    for file in files {
        let mode = file.metadata().unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, 0o600, "{file:?}");
    }
}

#[test]
fn a_missing_file_is_not_created_if_the_options_say_so() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("keys.db");
    let existing = SqliteStore::options().with_create(false);
    assert!(matches!(existing.open(&path), Err(OpenError::Missing)));
    assert!(!path.exists());
    drop(SqliteStore::open(&path).unwrap());
    assert!(existing.open(&path).is_ok());
    let nowhere = folder.path().join("no folder").join("keys.db");
    assert!(matches!(SqliteStore::open(nowhere), Err(OpenError::Io(_))));
}

/// A name that `SQLite` would take for a database in memory, or for an address with options.
#[test]
fn a_path_is_a_path() {
    let folder = tempfile::tempdir().unwrap();
    for name in [":memory:", "file:keys.db?mode=memory", "\u{1F511} 'keys'"] {
        let path = folder.path().join(name);
        create(&keyring(&path), "alice", "laptop").unwrap();
        assert!(path.metadata().unwrap().len() > 0, "{name}");
        assert_eq!(head(keyring(&path).store()), Revision::new(1));
    }
}

#[test]
fn a_file_that_is_not_a_key_store_is_refused_and_unchanged() {
    let folder = tempfile::tempdir().unwrap();
    let text = folder.path().join("text");
    fs::write(&text, "a".repeat(5000)).unwrap();
    let foreign = folder.path().join("foreign.db");
    let other = Connection::open(&foreign).unwrap();
    other.execute_batch("CREATE TABLE keys (id)").unwrap();
    drop(other);
    let marked = folder.path().join("marked.db");
    let other = Connection::open(&marked).unwrap();
    other.pragma_update(None, "application_id", 7).unwrap();
    drop(other);
    for path in [text, foreign, marked] {
        let before = fs::read(&path).unwrap();
        let opened = SqliteStore::open(&path);
        assert!(matches!(opened, Err(OpenError::Foreign)), "{opened:?}");
        assert!(fs::read(&path).unwrap() == before, "{path:?} was changed");
    }
}

#[test]
fn an_empty_file_becomes_a_store() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("keys.db");
    fs::write(&path, "").unwrap();
    create(&keyring(&path), "alice", "laptop").unwrap();
}

#[test]
fn a_store_of_a_later_version_is_refused_and_unchanged() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("keys.db");
    create(&keyring(&path), "alice", "laptop").unwrap();
    let later = Connection::open(&path).unwrap();
    later.pragma_update(None, "user_version", 1000).unwrap();
    drop(later);
    let error = SqliteStore::open(&path).unwrap_err();
    assert!(
        matches!(error, OpenError::Newer { found: 1000, known } if known < 1000),
        "{error:?}"
    );
    let said = error.to_string();
    assert!(said.contains("schema 1000"), "{said}");
    // As soon as the program knows it, everything is there.
    let later = Connection::open(&path).unwrap();
    later.pragma_update(None, "user_version", 1).unwrap();
    drop(later);
    assert_eq!(head(keyring(&path).store()), Revision::new(1));
}

#[test]
fn a_store_with_another_history_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("keys.db");
    drop(SqliteStore::open(&path).unwrap());
    let other = Connection::open(&path).unwrap();
    let sql = "UPDATE refinery_schema_history SET checksum = '1'";
    assert_eq!(other.execute(sql, []).unwrap(), 1);
    drop(other);
    let opened = SqliteStore::open(&path);
    assert!(matches!(opened, Err(OpenError::Schema(_))), "{opened:?}");
}

#[test]
fn processes_that_open_a_new_file_at_once_make_one_store() {
    for _ in 0..5 {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keys.db");
        let words = [("PLAY_PATH", path.to_str().unwrap())];
        let mut processes: Vec<Process> = (0..6)
            .map(|_| Process::start("process_that_opens", &words))
            .collect();
        for process in &mut processes {
            assert_eq!(process.heard().as_deref(), Some("ready"));
        }
        for process in &mut processes {
            process.tell("go");
        }
        for process in processes {
            assert!(process.end());
        }
        let keyring = keyring(&path);
        assert_eq!(head(keyring.store()), Revision::new(6));
        block_on(keyring.store().check()).unwrap();
    }
}

#[test]
#[ignore = "started by another test"]
fn process_that_opens() {
    let path = told("PLAY_PATH");
    say("ready");
    let mut line = String::new();
    std::io::stdin().read_line(&mut line).unwrap();
    let name = format!("{}", std::process::id());
    create(&keyring(Path::new(&path)), "alice", &name).unwrap();
}

#[test]
fn a_locked_file_is_waited_for_only_so_long() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("keys.db");
    drop(SqliteStore::open(&path).unwrap());
    let other = Connection::open(&path).unwrap();
    other.execute_batch("BEGIN EXCLUSIVE").unwrap();
    let hasty = SqliteStore::options().with_busy_timeout(Duration::from_millis(50));
    let opened = hasty.open(&path);
    assert!(matches!(opened, Err(OpenError::Database(_))), "{opened:?}");
    other.execute_batch("ROLLBACK").unwrap();
    assert!(hasty.open(&path).is_ok());
}
