//! Waiting for changes: notices wake, polling guarantees, and an older copy is noticed.

use std::time::{Duration, Instant};

use keyfob::{
    KeyStore,
    gateway::{FollowError, Index, IndexError},
};
use keyfob_postgres::{Options, PostgresStore, Watch};

use crate::{
    server,
    work::{check, create, key, user},
};

const LONG: Duration = Duration::from_secs(20);

/// Waits until the watch has nothing more to tell.
async fn quiet(watch: &mut Watch) {
    watch.changed(LONG).await;
    while tokio::time::timeout(Duration::from_millis(300), watch.changed(LONG))
        .await
        .is_ok()
    {}
}

/// How long the watch waits until it tells of a change that another process might have made.
async fn delay(watch: &mut Watch, store: &PostgresStore) -> Duration {
    let (began, maker) = (Instant::now(), store.clone());
    let making = tokio::spawn(async move {
        tokio::time::sleep(Duration::from_millis(100)).await;
        create(&maker, key(&user("alice"), "new")).await.unwrap();
        Instant::now()
    });
    watch.changed(LONG).await;
    let told = Instant::now();
    assert!(told - began >= Duration::from_millis(90), "told of nothing");
    told.saturating_duration_since(making.await.unwrap())
}

#[test]
fn a_notice_wakes_before_the_next_poll() {
    server::run(async {
        let store = server::store().await;
        let rarely = Options::default().with_poll_interval(LONG);
        let other = store.database.connect(&rarely).await;
        let mut watch = other.watch();
        quiet(&mut watch).await;
        for _ in 0..5 {
            let delay = delay(&mut watch, &store).await;
            assert!(delay < Duration::from_secs(2), "{delay:?}");
        }
        let began = Instant::now();
        watch.changed(Duration::from_millis(200)).await;
        assert!(
            began.elapsed() >= Duration::from_millis(190),
            "nothing changed"
        );
    });
}

/// A notice that is lost costs delay, and no change: a connection that listens is ended, and what is
/// committed before it is made anew is told by what is read then.
#[test]
fn a_lost_notice_costs_delay_only() {
    server::run(async {
        let store = server::store().await;
        let options = Options::default().with_poll_interval(LONG);
        let mut watch = store.database.connect(&options).await.watch();
        let index = Index::new();
        let admin = store.database.client().await;
        quiet(&mut watch).await;
        for round in 0..10 {
            // The connection is ended and the change made in one breath: nobody listens to it.
            let ending = admin.query_one(
                "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity \
                 WHERE datname = current_database() AND query LIKE 'SELECT revision FROM log%' \
                 AND pid <> pg_backend_pid()",
                &[],
            );
            assert!(
                ending.await.unwrap().get::<_, i64>(0) >= 1,
                "in round {round}"
            );
            let record = create(&*store, key(&user("alice"), "unheard"))
                .await
                .unwrap();
            let until = Instant::now() + LONG;
            loop {
                watch.changed(LONG).await;
                if index.follow(&*store).await.unwrap() >= record.revision {
                    break;
                }
                assert!(Instant::now() < until, "the change was lost");
            }
            assert!(Instant::now() < until, "by the listening, not by the time");
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
        let other = store.database.connect(&options).await;
        let mut watch = other.watch();
        quiet(&mut watch).await;
        // Whoever writes the head without a notice, as a restored copy or an older program might.
        let admin = store.database.client().await;
        let began = Instant::now();
        admin
            .batch_execute("UPDATE keyfob.log SET revision = revision + 1")
            .await
            .unwrap();
        watch.changed(LONG).await;
        assert!(began.elapsed() < Duration::from_secs(5));
    });
}

#[test]
fn a_watch_waits_for_a_server_that_is_away() {
    server::run(async {
        let store = server::store().await;
        let proxy = crate::proxy::Proxy::to(server::shared().port()).await;
        let url = proxy.url(&store.database.name);
        let through = PostgresStore::connect(&url).await.unwrap();
        proxy.arm(1, crate::proxy::Fault::BeforeForGood);
        assert!(
            through
                .changes(keyfob::store::Revision::ZERO, 1)
                .await
                .is_err()
        );
        let mut watch = through.watch();
        let began = Instant::now();
        watch.changed(Duration::from_millis(300)).await;
        assert!(began.elapsed() >= Duration::from_millis(290));
        proxy.mend();
        watch.changed(LONG).await;
        assert!(began.elapsed() < LONG / 2, "it listens as soon as it can");
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
        let index = Index::new();
        index.follow(&*store).await.unwrap();
        let restored = PostgresStore::connect(&server::shared().url(&copy))
            .await
            .unwrap();
        let error = index.follow(&restored).await.unwrap_err();
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
        Index::new().follow(&restored).await.unwrap();
    });
}
