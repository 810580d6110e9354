//! What the database itself refuses, and what a check finds.

mod play;

use std::path::Path;

use keyfob::{KeyStore, Owner, block_on, store::Target};
use keyfob_sqlite::{CheckError, SqliteStore};
use play::{create, home, keyring, system, user};
use rusqlite::Connection;

/// A store with a live key, a revoked one, a deleted one and a removed person.
fn population(path: &Path) -> Connection {
    let keyring = keyring(path);
    create(&keyring, "alice", "live").unwrap();
    let (_, revoked) = create(&keyring, "alice", "revoked").unwrap();
    block_on(keyring.revoke(&system(), &home(), revoked.id, None)).unwrap();
    let (_, deleted) = create(&keyring, "alice", "deleted").unwrap();
    block_on(keyring.delete(&system(), &home(), deleted.id, None)).unwrap();
    let bob = Target::Owner(home().team, Owner::User(user("bob")));
    block_on(keyring.remove_in_advance(&system(), bob)).unwrap();
    drop(keyring);
    let connection = Connection::open(path).unwrap();
    connection
        .pragma_update(None, "foreign_keys", true)
        .unwrap();
    connection
}

/// The promises are also kept against every program that writes past the library.
#[test]
fn the_database_enforces_the_contract() {
    let folder = tempfile::tempdir().unwrap();
    let connection = population(&folder.path().join("keys.db"));
    for statement in [
        // Nothing comes back.
        "UPDATE keys SET record = json_set(record, '$.status', 'active', '$.revision', 6) \
         WHERE name = 'revoked'",
        "UPDATE cutoffs SET record = json_set(record, '$.up_to', 1, '$.revision', 6)",
        "DELETE FROM cutoffs",
        "DELETE FROM deleted_keys",
        "UPDATE deleted_keys SET id = 'key:' || hex(randomblob(16))",
        "UPDATE keys SET record = json_set(record, '$.id', (SELECT substr(id, 5) \
         FROM deleted_keys), '$.revision', 6) WHERE name = 'live'",
        "INSERT INTO keys SELECT 6, json_set(record, '$.id', (SELECT substr(id, 5) \
         FROM deleted_keys), '$.created_revision', 6, '$.revision', 6) FROM keys \
         WHERE name = 'live'",
        "DELETE FROM keys WHERE name = 'live'",
        // Nothing goes elsewhere.
        "UPDATE keys SET record = json_set(record, '$.owner', 'user:mallory', '$.revision', 6) \
         WHERE name = 'live'",
        "UPDATE keys SET record = json_set(record, '$.tenant.namespace', 'fn-2', '$.revision', 6) \
         WHERE name = 'live'",
        "UPDATE namespaces SET record = json_set(record, '$.tenant.team', 'globex')",
        "INSERT INTO namespaces SELECT 2, json_set(record, '$.tenant.team', 'globex', \
         '$.created_revision', 2) FROM namespaces",
        "DELETE FROM namespaces",
        // Nothing is unrecorded.
        "UPDATE audit SET entry = json_set(entry, '$.reason', 'another')",
        "DELETE FROM audit",
        "DELETE FROM audit WHERE revision = (SELECT max(revision) FROM audit)",
        "UPDATE head SET revision = revision + 2",
        "UPDATE head SET revision = revision - 1",
        "UPDATE head SET key_format = '\"other\"'",
        "DELETE FROM head",
        "INSERT INTO head VALUES (2, 0, zeroblob(32), NULL)",
        "UPDATE keys SET record = json_set(record, '$.revision', 99) WHERE name = 'live'",
        "UPDATE keys SET record = json_set(record, '$.created_revision', 3, '$.revision', 6) \
         WHERE name = 'live'",
        // No column differs from its record, and no record lacks what is searched.
        "UPDATE keys SET owner = 'user:mallory' WHERE name = 'live'",
        "UPDATE keys SET created_revision = 3 WHERE name = 'live'",
        "UPDATE keys SET record = json_remove(record, '$.name') WHERE name = 'live'",
        "UPDATE keys SET record = 'not JSON' WHERE name = 'live'",
    ] {
        let answer = connection.execute(statement, []);
        assert!(answer.is_err(), "{statement}: {answer:?}");
    }
    drop(connection);
    block_on(
        SqliteStore::open(folder.path().join("keys.db"))
            .unwrap()
            .check(),
    )
    .unwrap();
}

#[test]
fn a_check_detects_tampering() {
    for (trigger, statement) in [
        (
            "audit_is_not_rewritten",
            "UPDATE audit SET entry = json_set(entry, '$.at', at - 1) WHERE revision = 2",
        ),
        (
            "audit_is_not_shortened",
            "DELETE FROM audit WHERE revision = (SELECT max(revision) FROM audit)",
        ),
        (
            "head_moves_by_one",
            "UPDATE head SET hash = zeroblob(32), revision = revision",
        ),
        (
            "keys_do_not_move",
            "UPDATE keys SET record = json_set(record, '$.revision', 99) WHERE name = 'live'",
        ),
        (
            "keys_do_not_move",
            "UPDATE keys SET record = json_set(record, '$.digest', 'md5:0') WHERE name = 'live'",
        ),
        (
            "labels_of_a_new_key",
            "INSERT INTO key_labels SELECT 'acme', 'a', 'b', created_revision FROM keys LIMIT 1",
        ),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keys.db");
        let connection = population(&path);
        let sound = block_on(SqliteStore::open(&path).unwrap().check());
        sound.unwrap();
        connection
            .pragma_update(None, "foreign_keys", false)
            .unwrap();
        let drop_trigger = ["DROP TRIGGER ", trigger].concat();
        connection.execute_batch(&drop_trigger).unwrap();
        assert_eq!(connection.execute(statement, []).unwrap(), 1, "{statement}");
        drop(connection);
        let found = block_on(SqliteStore::open(&path).unwrap().check());
        assert!(
            matches!(found, Err(CheckError::Damaged(_))),
            "{statement}: {found:?}"
        );
    }
}

#[test]
fn an_unreadable_record_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("keys.db");
    let connection = population(&path);
    let keyring = keyring(&path);
    connection
        .execute_batch(
            "DROP TRIGGER keys_do_not_move;
             UPDATE keys SET record = json_set(record, '$.digest', 'md5:0') WHERE name = 'live'",
        )
        .unwrap();
    drop(connection);
    let listed = block_on(keyring.list(&keyfob::store::KeyQuery::namespace(&home())));
    assert!(listed.is_err(), "{listed:?}");
    let feed = block_on(keyring.store().changes(keyfob::store::Revision::ZERO, 100));
    assert!(feed.unwrap_err().is_definite());
    // The rest of the store works on.
    create(&keyring, "alice", "another").unwrap();
}

#[test]
fn a_quick_check_detects_a_damaged_structure() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("keys.db");
    let connection = population(&path);
    connection
        .query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))
        .unwrap();
    drop(connection);
    block_on(SqliteStore::open(&path).unwrap().quick_check()).unwrap();
    let sound = std::fs::read(&path).unwrap();
    let (mut found, mut pages) = (0, 0);
    // Page 1 has the schema, without which the file is not opened.
    for page in (4_096..sound.len()).step_by(4_096) {
        let mut damaged = sound.clone();
        damaged[page..page + 512].fill(0xa5);
        std::fs::write(&path, damaged).unwrap();
        pages += 1;
        let checked = match SqliteStore::open(&path) {
            Ok(store) => block_on(store.quick_check()),
            Err(_) => Err(CheckError::Damaged(String::new())),
        };
        found += usize::from(matches!(checked, Err(CheckError::Damaged(_))));
    }
    assert_eq!(found, pages);
}
