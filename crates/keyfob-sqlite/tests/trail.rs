//! The audit trail compared with the store, after somebody wrote to the file past the library.

use std::{
    path::{Path, PathBuf},
    sync::atomic::{AtomicBool, Ordering},
    thread,
};

use keyfob::{
    Context, Keyring, NewKey, Scopes, Tenant, Ttl,
    audit::{self, TrailHead, VerifyError},
    block_on,
    manage::{Error, KeyUpdate, Policy, Rotation},
    name::TeamId,
    store::{AuditQuery, Target},
};
use keyfob_sqlite::SqliteStore;
use rusqlite::Connection;

fn open(path: &Path) -> Keyring {
    let store = SqliteStore::open(path).unwrap();
    block_on(Keyring::open(store, "dof")).unwrap()
}

fn context() -> Context {
    Context::system(keyfob::now())
}

fn tenant() -> Tenant {
    Tenant::parse("acme", "orders").unwrap()
}

fn new(name: &str) -> NewKey {
    NewKey::for_user("acme", "orders", "alice", name).unwrap()
}

/// A store with 11 commits: laptop (revision 1, changed by 4), phone (2, revoked by 5), old (3,
/// deleted by 6), the default policy (7), a cutoff (8), new (9, changed by 10), a policy (11).
fn written(path: &Path) -> TrailHead {
    let keyring = open(path);
    let context = context();
    let create = |name: &str| block_on(keyring.create(&context, new(name))).unwrap().info;
    let (laptop, phone, old) = (create("laptop"), create("phone"), create("old"));
    let narrow = KeyUpdate::new().with_scopes(Scopes::none());
    let update = |id| block_on(keyring.update(&context, &tenant(), id, narrow.clone(), None));
    update(laptop.id).unwrap();
    block_on(keyring.revoke(&context, &tenant(), phone.id, None)).unwrap();
    block_on(keyring.delete(&context, &tenant(), old.id, None)).unwrap();
    let policy = Policy::default().with_max_ttl(Ttl::days(90).unwrap());
    let set = |tenant: Option<&Tenant>, policy| {
        block_on(keyring.set_policy(&context, tenant, policy)).unwrap();
    };
    set(None, Some(policy.clone()));
    let bob = "user:bob".parse().unwrap();
    let target = Target::Owner(TeamId::new("acme").unwrap(), bob);
    block_on(keyring.remove_in_advance(&context, target)).unwrap();
    let new = create("new");
    update(new.id).unwrap();
    set(Some(&tenant()), Some(policy));
    block_on(keyring.verify_audit(None)).unwrap().head
}

/// Writes to the file without the triggers that forbid it.
fn tampered(path: &Path, statements: &str) {
    let connection = Connection::open(path).unwrap();
    connection
        .pragma_update(None, "foreign_keys", false)
        .unwrap();
    let triggers: Vec<String> = connection
        .prepare("SELECT 'DROP TRIGGER ' || name FROM sqlite_schema WHERE type = 'trigger'")
        .unwrap()
        .query_map([], |row| row.get(0))
        .unwrap()
        .collect::<Result<_, _>>()
        .unwrap();
    connection.execute_batch(&triggers.join(";")).unwrap();
    connection.execute_batch(statements).unwrap();
}

fn verified(path: &Path, kept: Option<TrailHead>) -> Result<TrailHead, VerifyError> {
    // Without an index, which refuses a store whose feed is ahead of its head.
    let store = SqliteStore::open(path).unwrap();
    match block_on(audit::verify(&store, kept)) {
        Ok(verified) => Ok(verified.head),
        Err(Error::Audit(fault)) => Err(fault),
        Err(error) => panic!("{error:?}"),
    }
}

/// What the verification says after these statements.
fn fault(statements: &str) -> String {
    let folder = tempfile::tempdir().unwrap();
    let path: PathBuf = folder.path().join("keys.db");
    written(&path);
    tampered(&path, statements);
    match verified(&path, None) {
        Ok(head) => panic!("whole up to {head} after {statements}"),
        Err(fault) => fault.to_string(),
    }
}

#[test]
fn missing_events_are_detected() {
    for (statement, expected) in [
        ("revision >= 9", "revisions 9 to 11"),
        ("true", "revisions 1 to 11"),
        ("revision = 11", "revisions 11 to 11"),
        ("revision BETWEEN 4 AND 5", "revisions 4 to 5"),
        ("revision = 1", "revisions 1 to 1"),
    ] {
        let fault = fault(&format!("DELETE FROM audit WHERE {statement}"));
        let expected = format!("the audit trail lacks the events of {expected}");
        assert_eq!(fault, expected, "{statement}");
    }
}

#[test]
fn a_changed_event_is_detected() {
    let changed = "UPDATE audit SET entry = replace(entry, '\"only\"', '\"all\"') \
                   || ' ', hash = hash WHERE revision = 3";
    // White space does not count: the content does.
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("keys.db");
    let head = written(&path);
    tampered(&path, changed);
    assert_eq!(verified(&path, None), Ok(head));
    let fault =
        fault("UPDATE audit SET entry = replace(entry, 'laptop', 'tablet') WHERE revision = 1");
    assert_eq!(fault, "the audit trail breaks at revision 1");
}

#[test]
fn a_changed_head_is_detected() {
    assert_eq!(
        fault("UPDATE head SET hash = zeroblob(32)"),
        "the head of the store does not have the hash of the event of revision 11"
    );
    assert_eq!(
        fault("UPDATE head SET revision = 13"),
        "the audit trail lacks the events of revisions 12 to 13"
    );
    let lowered =
        "UPDATE head SET revision = 9, hash = (SELECT hash FROM audit WHERE revision = 9)";
    // The store gives records and events that its head does not have yet.
    assert_eq!(
        fault(lowered),
        "the audit trail has events after revision 9, the head of the store"
    );
}

#[test]
fn an_end_that_is_cut_off_with_its_head_leaves_records_without_events() {
    let shortened = "DELETE FROM audit WHERE revision >= 9; \
        UPDATE head SET revision = 8, hash = (SELECT hash FROM audit WHERE revision = 8)";
    let fault = fault(shortened);
    let expected = "the store holds a record that no event of the audit trail describes";
    assert!(
        fault.starts_with("key:") && fault.ends_with(expected),
        "{fault}"
    );
}

#[test]
fn a_record_that_was_written_by_hand_is_detected() {
    let differs = "the store holds another record than the one that the audit trail describes";
    let missing = "the store lacks the record that the audit trail describes";
    let unknown = "the store holds a record that no event of the audit trail describes";
    let replaced = "the store holds a record that a later event of the audit trail replaced";
    for (statement, expected) in [
        // A key: inserted, changed, brought back to life, under another secret, removed.
        (
            "INSERT INTO keys (created_revision, record) SELECT 20, json_set(record, \
             '$.id', 'd79e8aeb42e5476893c7d4c59a166264', '$.name', 'mine', \
             '$.created_revision', 20, '$.revision', 20) FROM keys WHERE created_revision = 9",
            unknown,
        ),
        (
            "UPDATE keys SET record = json_set(record, '$.scopes', 'all') \
             WHERE created_revision = 1",
            differs,
        ),
        (
            "UPDATE keys SET record = json_set(record, '$.status', 'active') \
             WHERE created_revision = 2",
            differs,
        ),
        (
            "UPDATE keys SET record = json_set(record, '$.digest', \
             (SELECT record ->> 'digest' FROM keys WHERE created_revision = 9)) \
             WHERE created_revision = 1",
            differs,
        ),
        (
            "UPDATE keys SET record = json_set(record, '$.created_by.owner', 'user:bob') \
             WHERE created_revision = 1",
            differs,
        ),
        ("DELETE FROM keys WHERE created_revision = 9", missing),
        ("DELETE FROM deleted_keys", missing),
        (
            "UPDATE deleted_keys SET id = 'key:d79e8aeb42e5476893c7d4c59a166264'",
            differs,
        ),
        // The revision of the creation, whose record a later change replaced.
        (
            "UPDATE keys SET record = json_set(record, '$.scopes', 'all', '$.revision', 9, \
             '$.updated_at', record -> '$.created_at') WHERE created_revision = 9",
            replaced,
        ),
        // A cutoff, a policy, a namespace.
        ("DELETE FROM cutoffs", missing),
        (
            "UPDATE cutoffs SET record = json_set(record, '$.blocked', json('false'))",
            differs,
        ),
        ("DELETE FROM policies WHERE namespace = ''", missing),
        (
            "UPDATE policies SET record = replace(record, '7776000', '77760000') \
             WHERE namespace = 'orders'",
            differs,
        ),
        (
            "UPDATE namespaces SET record = json_set(record, '$.tenant.team', 'globex')",
            differs,
        ),
        ("DELETE FROM namespaces", missing),
    ] {
        let fault = fault(statement);
        assert!(fault.ends_with(expected), "{statement}: {fault}");
    }
}

#[test]
fn a_trail_that_was_rewritten_with_its_store_is_detected_with_a_kept_head() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("keys.db");
    let kept = written(&path);
    // Somebody puts another store in its place, which is whole by itself.
    let other = folder.path().join("other.db");
    let head = written(&other);
    assert_eq!(verified(&other, None), Ok(head));
    assert_eq!(
        verified(&other, Some(kept)),
        Err(VerifyError::KeptDiffers {
            revision: kept.revision
        })
    );
    // Or an earlier state of the same store.
    let short = folder.path().join("short.db");
    let keyring = open(&short);
    block_on(keyring.create(&context(), new("laptop"))).unwrap();
    let fault = verified(&short, Some(kept)).unwrap_err();
    assert_eq!(
        fault.to_string(),
        "the audit trail lacks the events of revisions 2 to 11"
    );
    // The store goes on, and contains what was kept.
    let keyring = open(&path);
    block_on(keyring.create(&context(), new("tablet"))).unwrap();
    assert!(verified(&path, Some(kept)).is_ok());
}

#[test]
fn a_store_is_verified_while_others_write_to_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("keys.db");
    written(&path);
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        for writer in 0..2 {
            let (path, stop) = (&path, &stop);
            scope.spawn(move || {
                let keyring = open(path);
                let tenant = Tenant::parse("acme", &format!("fn-{writer}")).unwrap();
                let mut n = 0_u32;
                while !stop.load(Ordering::Relaxed) {
                    let at = context();
                    let name = format!("{writer}-{n}");
                    let key = NewKey::for_user("acme", tenant.namespace.as_str(), "carol", &name);
                    let key = block_on(keyring.create(&context(), key.unwrap()))
                        .unwrap()
                        .info;
                    let rotation = Rotation::new();
                    let rotated = keyring.rotate(&at, &tenant, key.id, rotation, None);
                    block_on(rotated).unwrap();
                    let policy = Policy::default().with_keys_per_owner(100_000 + n);
                    let set = keyring.set_policy(&at, Some(&tenant), Some(policy));
                    block_on(set).unwrap();
                    match n % 4 {
                        0 => block_on(keyring.delete(&at, &tenant, key.id, None)).unwrap(),
                        1 => drop(block_on(keyring.revoke(&at, &tenant, key.id, None)).unwrap()),
                        2 => {
                            let new = Tenant::parse("acme", &format!("new-{name}")).unwrap();
                            block_on(keyring.create_namespace(&at, new)).unwrap();
                        }
                        _ => {
                            let dave = "user:dave".parse().unwrap();
                            let target = Target::Owner(tenant.team.clone(), dave);
                            block_on(keyring.remove_in_advance(&at, target)).unwrap();
                        }
                    }
                    n += 1;
                }
            });
        }
        let keyring = open(&path);
        let mut heads = Vec::new();
        for _ in 0..25 {
            let verified = block_on(keyring.verify_audit(heads.last().copied()));
            match verified {
                Ok(verified) => heads.push(verified.head),
                Err(error) => {
                    stop.store(true, Ordering::Relaxed);
                    panic!("a false alarm: {error}");
                }
            }
        }
        stop.store(true, Ordering::Relaxed);
        let first = heads.first().unwrap().revision;
        assert!(heads.last().unwrap().revision > first, "nobody wrote");
    });
    let events = AuditQuery::every_team().limit(1);
    assert_eq!(block_on(open(&path).audit(&events)).unwrap().items.len(), 1);
}
