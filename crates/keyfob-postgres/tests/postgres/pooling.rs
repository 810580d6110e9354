//! The store behind `PgBouncer` in transaction mode: each transaction may have another connection to
//! the server.

use std::{
    sync::OnceLock,
    time::{Duration, Instant},
};

use keyfob::{KeyStore, store::Revision};
use keyfob_postgres::{ConnectError, Options, PostgresStore};
use keyfob_testkit::pgbouncer::{PgBouncer, run};

use crate::{
    server::{self, Database, Server},
    work::{check, create, key, live, user},
};

/// The pooler of this test binary: five connections to each database, the one that was unused for
/// longest first, so that a session seldom has the same one twice.
pub(crate) fn shared() -> &'static PgBouncer {
    static POOLER: OnceLock<PgBouncer> = OnceLock::new();
    POOLER.get_or_init(|| {
        let settings = ["default_pool_size = 5", "server_round_robin = 1"];
        PgBouncer::start(server::shared(), &settings)
    })
}

/// The URL of a database through the pooler.
pub(crate) fn url(database: &Database) -> String {
    format!("{}&pool_mode=transaction", shared().url(&database.name))
}

/// A store in a database of its own, through the pooler.
async fn store() -> server::Store {
    open(server::shared().database().await).await
}

async fn open(database: Database) -> server::Store {
    let store = PostgresStore::connect(&url(&database)).await;
    server::Store::of(store.expect("it can be connected to"), database)
}

mod contract {
    keyfob_conformance::suite!(
        run = keyfob_testkit::pgbouncer::run,
        store = super::store().await,
        reopen = |store| super::open(store.into_database()).await,
    );
}

/// With a pooler that gives the connection that was used last, or the one that was unused for
/// longest, with one connection or several, also while others use them.
#[test]
fn a_pooler_that_the_url_does_not_name_is_refused() {
    run(async {
        let database = server::shared().database().await;
        for settings in [
            &["default_pool_size = 1"][..],
            &["default_pool_size = 5"],
            &["default_pool_size = 2", "server_round_robin = 1"],
            &["default_pool_size = 5", "server_round_robin = 1"],
            &["default_pool_size = 5", "pool_mode = statement"],
        ] {
            let pooler = PgBouncer::start(server::shared(), settings);
            for _ in 0..3 {
                let began = Instant::now();
                let opened = PostgresStore::connect(&pooler.url(&database.name)).await;
                let error = opened.expect_err(&format!("{settings:?}"));
                assert!(
                    matches!(error, ConnectError::TransactionPooling),
                    "{error:?}"
                );
                assert!(error.to_string().contains("pool_mode=transaction"));
                assert!(began.elapsed() < Duration::from_secs(30));
            }
            let settings = "SELECT count(*) FROM pg_stat_activity WHERE datname = $1";
            let admin = server::shared().client("postgres").await;
            let row = admin.query_one(settings, &[&database.name]).await.unwrap();
            assert!(row.get::<_, i64>(0) <= 5, "the pooler is in use");
        }
        let admin = database.client().await;
        let row = admin
            .query_one("SELECT to_regnamespace('keyfob') IS NULL", &[])
            .await
            .unwrap();
        assert!(row.get::<_, bool>(0), "nothing was created");
    });
}

#[test]
fn a_pooler_in_session_mode_needs_no_option() {
    run(async {
        let database = server::shared().database().await;
        let pooler = PgBouncer::start(server::shared(), &["pool_mode = session"]);
        let url = pooler.url(&database.name);
        let store = PostgresStore::connect(&url).await.unwrap();
        create(&store, key(&user("alice"), "one")).await.unwrap();
        assert!(store.wait_for_change(Revision::ZERO).await.unwrap());
        check(&store).await;
    });
}

/// What one store sets or prepares is not seen by the connections that others get.
#[test]
fn nothing_is_left_on_the_connections_of_the_pooler() {
    run(async {
        let store = store().await;
        for n in 0..20 {
            let name = n.to_string();
            create(&*store, key(&user("alice"), &name)).await.unwrap();
            store.changes(Revision::ZERO, 100).await.unwrap();
        }
        let url = shared().url(&store.database.name);
        let plain = url.parse::<tokio_postgres::Config>().unwrap();
        let (client, connection) = plain.connect(tokio_postgres::NoTls).await.unwrap();
        let connection = tokio::spawn(connection);
        for _ in 0..10 {
            let left = "SELECT current_setting('search_path'), \
                        current_setting('enable_bitmapscan'), \
                        current_setting('lock_timeout'), \
                        (SELECT count(*) FROM pg_prepared_statements)";
            let row = client.query_typed_one(left, &[]).await.unwrap();
            assert_eq!(row.get::<_, String>(0), "\"$user\", public");
            assert_eq!(row.get::<_, String>(1), "on");
            assert_eq!(row.get::<_, String>(2), "0");
            assert_eq!(row.get::<_, i64>(3), 0);
        }
        drop(client);
        connection.await.unwrap().unwrap();
    });
}

/// Two stores whose commits meet over fewer connections than they have.
#[test]
fn many_stores_share_few_connections() {
    run(async {
        let database = server::shared().database().await;
        let pooler = PgBouncer::start(server::shared(), &["default_pool_size = 3"]);
        let url = format!("{}&pool_mode=transaction", pooler.url(&database.name));
        let options = Options::default().with_lock_timeout(Duration::from_mins(1));
        let mut tasks = tokio::task::JoinSet::new();
        for n in 0..6 {
            let store = options.connect(&url).await.unwrap();
            for at in 0..4 {
                let store = store.clone();
                tasks.spawn(async move {
                    for round in 0..10 {
                        let name = format!("{n}-{at}-{round}");
                        create(&store, key(&user("alice"), &name)).await.unwrap();
                        store.changes(Revision::ZERO, 10).await.unwrap();
                    }
                });
            }
        }
        while let Some(done) = tasks.join_next().await {
            done.unwrap();
        }
        let direct = server::connect(&database, &Options::default()).await;
        let (head, feed) = check(&direct).await;
        assert_eq!((head.get(), live(&feed).len()), (240, 240));
    });
}

#[test]
fn a_change_is_noticed_by_the_next_poll() {
    run(async {
        let store = store().await;
        let options = Options::default().with_poll_interval(Duration::from_millis(200));
        let other = options.connect(&url(&store.database)).await.unwrap();
        let mut last = Revision::ZERO;
        for n in 0..3 {
            let name = n.to_string();
            let record = create(&*store, key(&user("alice"), &name)).await.unwrap();
            let began = Instant::now();
            while other.changes(last, 1).await.unwrap().entries.is_empty() {
                other.wait_for_change(last).await.unwrap();
                assert!(began.elapsed() < Duration::from_secs(20), "it polls");
            }
            last = record.revision;
        }
        // Nothing else ends a wait.
        let wait = other.wait_for_change(last);
        let waited = tokio::time::timeout(Duration::from_millis(700), wait).await;
        assert!(waited.is_err(), "there is no change");
    });
}

/// With the server itself named, a notice ends the wait long before the next poll.
#[test]
fn a_notice_comes_from_the_server_itself() {
    run(async {
        let store = store().await;
        let options = Options::default().with_poll_interval(Duration::from_mins(10));
        let (socket, port) = (server::shared().socket(), server::shared().port());
        let url = format!("{}&listen={socket}:{port}", url(&store.database));
        let other = options.connect(&url).await.unwrap();
        // The first wait reads the last revision when it has begun to listen.
        create(&*store, key(&user("alice"), "one")).await.unwrap();
        assert!(other.wait_for_change(Revision::ZERO).await.unwrap());
        let last = other.head().await.unwrap().revision;
        let waiting = tokio::spawn({
            let other = other.clone();
            async move { other.wait_for_change(last).await }
        });
        create(&*store, key(&user("alice"), "two")).await.unwrap();
        let told = tokio::time::timeout(Duration::from_mins(1), waiting).await;
        assert!(told.expect("a notice comes").unwrap().unwrap());
    });
}

/// The server restarts behind the pooler.
#[test]
fn a_store_heals_when_the_server_behind_the_pooler_restarts() {
    run(async {
        let server = tokio::task::spawn_blocking(|| Server::start(&["fsync = off"]));
        let server = server.await.unwrap();
        let database = server.database().await;
        let settings = ["server_login_retry = 0", "query_wait_timeout = 20"];
        let pooler = PgBouncer::start(&server, &settings);
        let url = format!("{}&pool_mode=transaction", pooler.url(&database.name));
        let store = PostgresStore::connect(&url).await.unwrap();
        create(&store, key(&user("alice"), "before")).await.unwrap();
        tokio::task::block_in_place(|| {
            server.down("fast");
            server.up();
        });
        let began = Instant::now();
        while let Err(error) = create(&store, key(&user("alice"), "after")).await {
            println!("{error:?}");
            assert!(began.elapsed() < Duration::from_mins(1), "{error:?}");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        let (head, feed) = check(&store).await;
        assert_eq!((head.get(), live(&feed).len()), (2, 2));
    });
}
