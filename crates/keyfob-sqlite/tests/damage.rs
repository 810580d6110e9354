//! What the database itself refuses, and what a check finds.

mod play;

use std::path::Path;

use keyfob::{KeyStore, block_on};
use keyfob_sqlite::{CheckError, SqliteStore};
use play::{create, home, keyring, system, user};
use rusqlite::Connection;

/// A store with a live key, a revoked one, a deleted one and a removed person.
fn population(path: &Path) -> Connection {
    let keyring = keyring(path);
    create(&keyring, "alice", "live").unwrap();
    let (_, revoked) = create(&keyring, "alice", "revoked").unwrap();
    block_on(keyring.revoke(&system(), &home(), revoked.id)).unwrap();
    let (_, deleted) = create(&keyring, "alice", "deleted").unwrap();
    block_on(keyring.delete(&system(), &home(), deleted.id)).unwrap();
    block_on(keyring.remove_member(&system(), home().team, user("bob"))).unwrap();
    drop(keyring);
    let connection = Connection::open(path).unwrap();
    connection
        .pragma_update(None, "foreign_keys", true)
        .unwrap();
    connection
}

/// The promises are also kept against whoever writes past the library.
#[test]
fn the_database_holds_the_contract_by_itself() {
    let folder = tempfile::tempdir().unwrap();
    let connection = population(&folder.path().join("keys.db"));
    for statement in [
        // Nothing comes back.
        "UPDATE keys SET status = 'active', revocation = NULL WHERE name = 'revoked'",
        "UPDATE keys SET status = 'revoked' WHERE name = 'live'",
        "UPDATE cutoffs SET up_to = 1",
        "DELETE FROM cutoffs",
        "DELETE FROM deleted_keys",
        "UPDATE deleted_keys SET id = randomblob(16)",
        "UPDATE keys SET id = (SELECT id FROM deleted_keys) WHERE name = 'live'",
        "DELETE FROM keys WHERE name = 'live'",
        // Nothing goes elsewhere.
        "UPDATE keys SET owner = 'mallory', revision = 99 WHERE name = 'live'",
        "UPDATE keys SET namespace = 'fn-2' WHERE name = 'live'",
        "UPDATE namespaces SET team = 'globex'",
        "INSERT INTO namespaces VALUES (1, 'fn-1', 'globex', 0)",
        "DELETE FROM namespaces",
        // Nothing is unrecorded.
        "UPDATE audit SET actor = 'mallory'",
        "DELETE FROM audit",
        "DELETE FROM audit WHERE revision = (SELECT max(revision) FROM audit)",
        "UPDATE head SET revision = revision + 2",
        "UPDATE head SET revision = revision - 1",
        "DELETE FROM head",
        "INSERT INTO head VALUES (2, 0, zeroblob(32), NULL)",
        "UPDATE keys SET revision = 99 WHERE name = 'live'",
        // Nothing is of another kind.
        "UPDATE keys SET expires_at = 'never', revision = 6 WHERE name = 'live'",
        "UPDATE keys SET id = 'short' WHERE name = 'live'",
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
fn a_check_finds_what_was_tampered_with() {
    for (trigger, statement) in [
        (
            "audit_is_not_rewritten",
            "UPDATE audit SET at = at - 1 WHERE revision = 2",
        ),
        (
            "audit_is_not_cut",
            "DELETE FROM audit WHERE revision = (SELECT max(revision) FROM audit)",
        ),
        (
            "head_moves_by_one",
            "UPDATE head SET hash = zeroblob(32), revision = revision",
        ),
        (
            "keys_do_not_move",
            "UPDATE keys SET revision = 99 WHERE name = 'live'",
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
fn a_row_that_cannot_be_read_is_an_error_and_no_key() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("keys.db");
    let connection = population(&path);
    let keyring = keyring(&path);
    connection
        .execute_batch(
            "DROP TRIGGER keys_do_not_move;
             UPDATE keys SET digest = 'md5:0' WHERE name = 'live'",
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
