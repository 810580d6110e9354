//! The audit trail compared with the store, after somebody wrote to the tables past the library.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

use keyfob::{
    KeyStore, Tenant,
    audit::{self, Action, TrailHead, VerifyError},
    manage::{Error, Policy},
    store::{Change, Target},
};

use crate::{
    server::{self, Store},
    work::{commit, create, key, keyring, part_of, tenant, user},
};

/// A store with 6 commits: laptop (1, deleted by 4), phone (2), a cutoff (3), a policy (5, changed
/// by 6).
async fn written() -> Store {
    let store = server::store().await;
    let laptop = create(&*store, key(&user("alice"), "laptop")).await;
    create(&*store, key(&user("alice"), "phone")).await.unwrap();
    let policy = |limit| Change::SetPolicy {
        tenant: Some(tenant()),
        policy: Some(Policy::default().with_keys_per_owner(limit)),
    };
    for (change, action) in [
        (
            Change::Revoke {
                target: part_of(&user("bob")),
                block: true,
                in_advance: true,
            },
            Action::Removed,
        ),
        (
            Change::DeleteKey {
                tenant: tenant(),
                id: laptop.unwrap().id,
                expected: None,
            },
            Action::KeyDeleted,
        ),
        (policy(5), Action::PolicySet),
        (policy(6), Action::PolicySet),
    ] {
        store.commit(&commit(change, action)).await.unwrap();
    }
    store
}

async fn verified(store: &Store, kept: Option<TrailHead>) -> Result<TrailHead, VerifyError> {
    match audit::verify(&**store, kept).await {
        Ok(verified) => Ok(verified.head),
        Err(Error::Audit(fault)) => Err(fault),
        Err(error) => panic!("{error:?}"),
    }
}

#[test]
fn what_was_written_past_the_library_is_detected() {
    server::run(async {
        let store = written().await;
        let head = verified(&store, None).await.unwrap();
        assert_eq!(head, store.head().await.unwrap());
        assert_eq!(verified(&store, Some(head)).await, Ok(head));
        drop(store);
        for (statement, expected) in [
            (
                "DELETE FROM audit WHERE revision >= 5",
                "the audit trail lacks the events of revisions 5 to 6",
            ),
            (
                "DELETE FROM audit",
                "the audit trail lacks the events of revisions 1 to 6",
            ),
            (
                "UPDATE audit SET entry = jsonb_set(entry, '{reason}', '\"mine\"') \
                 WHERE revision = 2",
                "the audit trail breaks at revision 2",
            ),
            (
                "UPDATE log SET hash = decode(repeat('00', 32), 'hex')",
                "the head of the store does not have the hash of the event of revision 6",
            ),
            (
                "INSERT INTO keys (record) SELECT record || '{\"revision\": 20, \
                 \"created_revision\": 20, \"id\": \"d79e8aeb42e5476893c7d4c59a166264\"}' \
                 FROM keys LIMIT 1",
                "the store holds a record that no event of the audit trail describes",
            ),
            (
                "UPDATE keys SET record = jsonb_set(record, '{scopes}', '{\"only\": []}')",
                "the store holds another record than the one that the audit trail describes",
            ),
            (
                "DELETE FROM cutoffs",
                "the store lacks the record that the audit trail describes",
            ),
            (
                "UPDATE policies SET revision = 5",
                "the store holds another record than the one that the audit trail describes",
            ),
            (
                "DELETE FROM deleted_keys",
                "the store lacks the record that the audit trail describes",
            ),
        ] {
            let store = written().await;
            let admin = store.database.client().await;
            let past = format!(
                "SET search_path = keyfob; SET session_replication_role = replica; {statement}"
            );
            admin.batch_execute(&past).await.expect(statement);
            let fault = verified(&store, None).await.expect_err(statement);
            let fault = fault.to_string();
            assert!(fault.ends_with(expected), "{statement}: {fault}");
        }
    });
}

#[test]
fn a_store_is_verified_while_others_write_to_it() {
    server::run(async {
        let store = written().await;
        let stop = Arc::new(AtomicBool::new(false));
        let rounds = Arc::new(AtomicU32::new(0));
        let writer = tokio::spawn({
            let writes = server::connect(&store.database, &<_>::default()).await;
            let (stop, rounds) = (Arc::clone(&stop), Arc::clone(&rounds));
            async move {
                let keyring = keyring(&writes).await;
                let context = crate::work::context();
                for n in 0_u32.. {
                    if stop.load(Ordering::Relaxed) {
                        break;
                    }
                    let record = create(&writes, key(&user("carol"), &n.to_string())).await;
                    let id = record.unwrap().id;
                    let policy = Policy::default().with_keys_per_owner(n);
                    let tenant = tenant();
                    let set = keyring.set_policy(&context, Some(&tenant), Some(policy));
                    set.await.unwrap();
                    if n.is_multiple_of(2) {
                        keyring.delete(&context, &tenant, id, None).await.unwrap();
                    } else {
                        keyring.revoke(&context, &tenant, id, None).await.unwrap();
                    }
                    let new = Tenant::parse("acme", &format!("new-{n}")).unwrap();
                    keyring.create_namespace(&context, new).await.unwrap();
                    let target = Target::Team(tenant.team);
                    keyring.revoke_all(&context, target).await.unwrap();
                    rounds.store(n, Ordering::Relaxed);
                }
            }
        });
        let (mut kept, mut times) = (None, 0);
        let began = Instant::now();
        while times < 15 || rounds.load(Ordering::Relaxed) < 3 {
            let verified = verified(&store, kept).await;
            kept = Some(verified.expect("a false alarm"));
            times += 1;
            assert!(began.elapsed() < Duration::from_mins(2), "nobody writes");
        }
        stop.store(true, Ordering::Relaxed);
        writer.await.unwrap();
    });
}
