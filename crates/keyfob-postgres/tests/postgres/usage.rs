//! Usage that many gateways record at once.

use keyfob::{
    KeyStore, Timestamp,
    audit::Action,
    gateway::{UsageBatch, UsageDelta, UsageOutcome, UsageSource},
    key::{CredentialId, SystemRandom},
    store::{Change, UsageOf, UsageQuery},
};
use tokio::task::JoinSet;

use crate::{
    server::{self, random},
    work::{NOW, commit, create, key, tenant, user},
};

/// The only batch of its source.
fn once(usage: Vec<UsageDelta>) -> UsageBatch {
    UsageBatch::single(usage, NOW, &SystemRandom).unwrap()
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
                    let mut batch: Vec<UsageDelta> = ids
                        .iter()
                        .map(|id| UsageDelta::accepted(CredentialId::Key(*id), at))
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
        // All gateways add to the same rows of the namespace and the team.
        let day = NOW.as_unix().div_euclid(86_400);
        let query = UsageQuery {
            of: vec![
                UsageOf::Credential(credentials[0]),
                UsageOf::Namespace(tenant().namespace),
                UsageOf::Team(tenant().team),
            ],
            first: day,
            last: day,
        };
        let days = store.usage_days(&query).await.unwrap();
        let mut counts: Vec<u64> = days.iter().map(|day| day.hours.iter().sum()).collect();
        counts.sort_unstable();
        assert_eq!(counts, [320, 40 * 320, 40 * 320]);
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
                    let batch = once(vec![UsageDelta::accepted(credential, NOW)]);
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
        let most = UsageDelta {
            count: u64::MAX,
            last_used: None,
            ..UsageDelta::accepted(credential, NOW)
        };
        let refused = UsageDelta {
            count: 7,
            ..UsageDelta::refused(credential, UsageOutcome::Expired)
        };
        for _ in 0..2 {
            let batch = once(vec![most.clone(), refused.clone()]);
            store.record_usage(&batch, NOW).await.unwrap();
        }
        let usage = store.usage(&[credential, credential]).await.unwrap();
        assert_eq!(usage.len(), 2, "asked for twice, told twice");
        assert_eq!(usage[0].accepted, u64::try_from(i64::MAX).unwrap());
        assert_eq!((usage[0].refused, usage[0].last_used), (14, None));
    });
}

#[test]
fn a_batch_locks_no_other_source_of_its_group() {
    server::run(async {
        let store = server::store().await;
        let record = create(&*store, key(&user("alice"), "laptop")).await;
        let id = CredentialId::Key(record.unwrap().id);
        let record = async |number: u8| {
            let mut batch = once(vec![UsageDelta::accepted(id, NOW)]);
            batch.source = UsageSource::from_bytes([number; 16]).in_group(b"gateways");
            store.record_usage(&batch, NOW).await.unwrap();
        };
        for number in 0..20 {
            record(number).await;
        }
        // PostgreSQL notes in a row which transaction locked it last.
        let client = store.database.client().await;
        let locked = "SELECT count(*) FROM keyfob.usage_sources WHERE xmax <> 0";
        let locked: i64 = client.query_one(locked, &[]).await.unwrap().get(0);
        assert_eq!(locked, 0);
    });
}
