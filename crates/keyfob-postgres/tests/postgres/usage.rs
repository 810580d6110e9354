//! Usage that many gateways record at once.

use keyfob::{
    KeyStore, Timestamp,
    audit::Action,
    gateway::{Usage, UsageBatch},
    key::{CredentialId, SystemRandom},
    store::Change,
};
use tokio::task::JoinSet;

use crate::{
    server::{self, random},
    work::{NOW, commit, create, key, tenant, user},
};

/// The only batch of its source.
fn once(usage: Vec<Usage>) -> UsageBatch {
    UsageBatch::single(usage, &SystemRandom).unwrap()
}

#[test]
fn many_gateways_record_at_once_and_nothing_is_lost() {
    server::run(async {
        let store = server::store().await;
        let mut ids = Vec::new();
        for n in 0..40 {
            let record = create(&*store, key(&user("alice"), &n.to_string())).await;
            ids.push(record.unwrap().id);
        }
        let mut flushers = JoinSet::new();
        for gateway in 0..16_i64 {
            let options = keyfob_postgres::Options::default().with_pool_size(2);
            let gateway_store = server::connect(&store.database, &options).await;
            let ids = ids.clone();
            flushers.spawn(async move {
                for round in 0..20_i64 {
                    let at = Timestamp::from_unix(60 * (round * 16 + gateway));
                    let mut batch: Vec<Usage> = ids
                        .iter()
                        .map(|id| Usage::accepted(CredentialId::Key(*id), at))
                        .collect();
                    // Every gateway in an order of its own.
                    batch.sort_by_cached_key(|_| random());
                    let batch = once(batch);
                    gateway_store.record_usage(&batch, NOW).await.unwrap();
                }
            });
        }
        while let Some(done) = flushers.join_next().await {
            done.unwrap();
        }
        let credentials: Vec<CredentialId> = ids.iter().map(|id| CredentialId::Key(*id)).collect();
        for usage in store.usage(&credentials).await.unwrap() {
            assert_eq!(usage.accepted, 320);
            assert_eq!(usage.last_used, Some(Timestamp::from_unix(60 * 319)));
        }
    });
}

/// A key that is deleted while its use is recorded leaves no usage behind.
#[test]
fn no_usage_outlives_its_key() {
    server::run(async {
        let store = server::store().await;
        let options = keyfob_postgres::Options::default();
        let second = server::connect(&store.database, &options).await;
        for _ in 0..60 {
            let record = create(&*store, key(&user("alice"), "brief")).await.unwrap();
            let id = record.id;
            let credential = CredentialId::Key(id);
            let recorder = second.clone();
            let recording = tokio::spawn(async move {
                for _ in 0..5 {
                    let batch = once(vec![Usage::accepted(credential, NOW)]);
                    recorder.record_usage(&batch, NOW).await.unwrap();
                }
            });
            let deletion = Change::DeleteKey {
                tenant: tenant(),
                id,
                expected: None,
            };
            store
                .commit(&commit(deletion, Action::KeyDeleted))
                .await
                .unwrap();
            recording.await.unwrap();
        }
        let admin = store.database.client().await;
        let left = "SELECT count(*) FROM keyfob.usage u \
                    WHERE NOT EXISTS (SELECT 1 FROM keyfob.keys k WHERE k.id = u.credential)";
        let row = admin.query_one(left, &[]).await.unwrap();
        assert_eq!(row.get::<_, i64>(0), 0);
    });
}

#[test]
fn counts_stop_at_the_largest_number() {
    server::run(async {
        let store = server::store().await;
        let record = create(&*store, key(&user("alice"), "busy")).await.unwrap();
        let credential = CredentialId::Key(record.id);
        let most = Usage {
            credential,
            last_used: None,
            accepted: u64::MAX,
            refused: 7,
        };
        for _ in 0..2 {
            let batch = once(vec![most.clone()]);
            store.record_usage(&batch, NOW).await.unwrap();
        }
        let usage = store.usage(&[credential, credential]).await.unwrap();
        assert_eq!(usage.len(), 2, "asked for twice, told twice");
        assert_eq!(usage[0].accepted, u64::try_from(i64::MAX).unwrap());
        assert_eq!((usage[0].refused, usage[0].last_used), (14, None));
    });
}
