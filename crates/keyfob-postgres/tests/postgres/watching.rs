//! Waiting for changes: notices wake, polling guarantees, and an older copy is noticed.

use std::time::{Duration, Instant};

use keyfob::{
    KeyStore,
    gateway::{FollowError, Index, IndexError},
    key::Peppers,
    store::Revision,
};
use keyfob_postgres::{Options, PostgresStore};

use crate::{
    server,
    work::{NOW, check, create, format, key, user},
};

const LONG: Duration = Duration::from_secs(20);

/// Whether the store tells of a change after `after` within `at_most`.
async fn is_told(store: &PostgresStore, after: Revision, at_most: Duration) -> bool {
    let wait = store.wait_for_change(after);
    match tokio::time::timeout(at_most, wait).await {
        Ok(outcome) => outcome.expect("the database can be read"),
        Err(_) => false,
    }
}

async fn last_revision(store: &PostgresStore) -> Revision {
    let changes = store.changes(Revision::ZERO, 1).await.unwrap();
    changes.last_revision()
}

/// Waits until the store listens and knows the last revision.
async fn listens(store: &PostgresStore) {
    let last = last_revision(store).await;
    // The first wait may end early, because nothing was known before it.
    let _ = is_told(store, last, Duration::from_millis(500)).await;
}

/// How long after a commit a store that waits is told of it.
async fn delay(waiting: &PostgresStore, store: &PostgresStore) -> Duration {
    let (began, maker) = (Instant::now(), store.clone());
    let last = last_revision(waiting).await;
    let making = tokio::spawn(async move {
        tokio::time::sleep(Duration::from_millis(100)).await;
        create(&maker, key(&user("alice"), "new")).await.unwrap();
        Instant::now()
    });
    assert!(is_told(waiting, last, LONG).await);
    let told = Instant::now();
    assert!(told - began >= Duration::from_millis(90), "told of nothing");
    told.saturating_duration_since(making.await.unwrap())
}

#[test]
fn a_notice_ends_a_wait_before_the_next_poll() {
    server::run(async {
        let store = server::store().await;
        let rarely = Options::default().with_poll_interval(LONG);
        let other = server::connect(&store.database, &rarely).await;
        listens(&other).await;
        for _ in 0..5 {
            let delay = delay(&other, &store).await;
            assert!(delay < Duration::from_secs(2), "{delay:?}");
        }
        let last = last_revision(&other).await;
        let is_told = is_told(&other, last, Duration::from_millis(200)).await;
        assert!(!is_told, "nothing changed");
    });
}

/// One connection listens for all who wait on a store, and each is told.
#[test]
fn waits_share_one_connection() {
    server::run(async {
        let store = server::store().await;
        let other = server::connect(&store.database, &Options::default()).await;
        listens(&other).await;
        let last = last_revision(&other).await;
        let mut waits = tokio::task::JoinSet::new();
        for _ in 0..20 {
            let other = other.clone();
            waits.spawn(async move { is_told(&other, last, LONG).await });
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
        let admin = store.database.client().await;
        let listening = admin.query_one(LISTENING, &[]).await.unwrap();
        assert_eq!(listening.get::<_, i64>(0), 1);
        create(&*store, key(&user("alice"), "new")).await.unwrap();
        assert!(waits.join_all().await.into_iter().all(|is_told| is_told));
    });
}

const LISTENING: &str = "SELECT count(*) FROM pg_stat_activity \
    WHERE datname = current_database() AND query LIKE 'SELECT revision, hash FROM log%' \
    AND pid <> pg_backend_pid()";

/// A notice that is lost costs delay, and no change: a connection that listens is ended, and what is
/// committed before the next one is made is told by what is read then.
#[test]
fn a_lost_notice_costs_delay_only() {
    server::run(async {
        let store = server::store().await;
        let options = Options::default().with_poll_interval(LONG);
        let other = server::connect(&store.database, &options).await;
        let admin = store.database.client().await;
        listens(&other).await;
        for round in 0..10 {
            let last = last_revision(&other).await;
            // The connection is ended right before the change, so the notice is lost.
            let ending = admin.query_one(
                "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity \
                 WHERE datname = current_database() AND query LIKE 'SELECT revision, hash FROM log%' \
                 AND pid <> pg_backend_pid()",
                &[],
            );
            assert!(
                ending.await.unwrap().get::<_, i64>(0) >= 1,
                "in round {round}"
            );
            create(&*store, key(&user("alice"), "unheard"))
                .await
                .unwrap();
            let began = Instant::now();
            loop {
                match tokio::time::timeout(LONG, other.wait_for_change(last)).await {
                    Ok(Ok(told)) => break assert!(told),
                    // The lost connection is told too; the follower tries again.
                    Ok(Err(error)) => assert!(error.is_definite()),
                    Err(elapsed) => panic!("the change was lost: {elapsed}"),
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            assert!(began.elapsed() < LONG / 2, "told by the next poll");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    });
}

/// Without any notice: polling tells of every change.
#[test]
fn polling_tells_what_no_notice_does() {
    server::run(async {
        let store = server::store().await;
        let options = Options::default().with_poll_interval(Duration::from_millis(300));
        let other = server::connect(&store.database, &options).await;
        listens(&other).await;
        let last = last_revision(&other).await;
        // The revision is written without a notice, as a restored copy or an older program might.
        let admin = store.database.client().await;
        admin
            .batch_execute("UPDATE keyfob.log SET revision = revision + 1")
            .await
            .unwrap();
        assert!(is_told(&other, last, Duration::from_secs(5)).await);
    });
}

/// A follower that is not told of this would show revoked keys as valid.
#[test]
fn a_server_that_is_away_ends_a_wait_with_an_error() {
    server::run(async {
        let store = server::store().await;
        let proxy = keyfob_testkit::proxy::Proxy::to(server::shared().port()).await;
        let url = proxy.url(&store.database.name);
        let through = PostgresStore::connect(&url).await.unwrap();
        listens(&through).await;
        let last = last_revision(&through).await;
        let waiting = tokio::spawn({
            let through = through.clone();
            async move { through.wait_for_change(last).await }
        });
        tokio::time::sleep(Duration::from_millis(50)).await;
        proxy.arm(1, keyfob_testkit::proxy::Fault::BeforeForGood);
        assert!(through.changes(Revision::ZERO, 1).await.is_err());
        let outcome = tokio::time::timeout(LONG, waiting).await;
        let outcome = outcome.expect("the wait hangs").unwrap();
        assert!(outcome.unwrap_err().is_definite());
        let outcome = tokio::time::timeout(LONG / 2, through.wait_for_change(last)).await;
        outcome.expect("the next wait hangs").unwrap_err();
        proxy.mend();
        create(&*store, key(&user("alice"), "new")).await.unwrap();
        let began = Instant::now();
        while !matches!(through.wait_for_change(last).await, Ok(true)) {
            assert!(began.elapsed() < LONG / 2, "it listens as soon as it can");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    });
}

#[test]
fn a_dropped_wait_is_cancelled() {
    server::run(async {
        let store = server::store().await;
        let last = last_revision(&store).await;
        for _ in 0..100 {
            let wait = store.wait_for_change(last);
            let _ = tokio::time::timeout(Duration::from_micros(10), wait).await;
        }
        create(&*store, key(&user("alice"), "new")).await.unwrap();
        assert!(is_told(&store, last, LONG).await);
    });
}

#[test]
fn an_older_copy_is_noticed() {
    server::run(async {
        let store = server::store().await;
        create(&*store, key(&user("alice"), "before"))
            .await
            .unwrap();
        // As `pg_dump` and `pg_restore` would make one.
        let admin = server::shared().client("postgres").await;
        let end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1";
        let copy = loop {
            admin.query(end, &[&store.database.name]).await.unwrap();
            let name = format!("copy_{:x}", server::random());
            let make = format!("CREATE DATABASE {name} TEMPLATE {}", store.database.name);
            // The store may connect again in between.
            if admin.batch_execute(&make).await.is_ok() {
                break name;
            }
        };
        create(&*store, key(&user("alice"), "after")).await.unwrap();
        let index = Index::new(format(), Peppers::none());
        index.follow(&*store, NOW).await.unwrap();
        let restored = PostgresStore::connect(&server::shared().url(&copy))
            .await
            .unwrap();
        let error = index.follow(&restored, NOW).await.unwrap_err();
        assert!(
            matches!(error, FollowError::Index(IndexError::Regressed { .. })),
            "{error:?}"
        );
        // The copy is a store: it goes on from where it was.
        let record = create(&restored, key(&user("alice"), "another"))
            .await
            .unwrap();
        assert_eq!(record.revision.get(), 2);
        check(&restored).await;
        Index::new(format(), Peppers::none())
            .follow(&restored, NOW)
            .await
            .unwrap();
    });
}
