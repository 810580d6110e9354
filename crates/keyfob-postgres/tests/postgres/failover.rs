//! A primary with a streaming standby that takes its place: what was acknowledged is there with a
//! synchronous standby, and what an asynchronous one lacked is noticed.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use keyfob::{
    Access, Context, DenyReason, IssuedKey, KeyStore, Keyring, NewKey,
    gateway::{FollowError, Index, IndexError},
    key::{CredentialId, Peppers},
    manage::CreatedKey,
    store::Revision,
};
use keyfob_postgres::{ConnectError, Options, PostgresStore};
use keyfob_replica::{Failure, Follower, Replica};
use keyfob_testkit::pgbouncer::{self, PgBouncer};
use tokio::{sync::watch, task::JoinSet};

use crate::{
    crashes::is_there,
    pooling,
    server::{self, Database, Server},
    work::{NOW, check, create, format, key, store_error, tenant, user},
};

/// A primary and its standby, with a database.
struct Cluster {
    primary: Server,
    standby: Server,
    database: Database,
}

impl Cluster {
    async fn start() -> Self {
        let servers = tokio::task::spawn_blocking(|| {
            let primary = Server::start(&["fsync = off"]);
            let standby = primary.standby("second", &[]);
            (primary, standby)
        });
        let (primary, standby) = servers.await.unwrap();
        Self {
            database: primary.database().await,
            primary,
            standby,
        }
    }

    /// The URL of both servers.
    fn url(&self) -> String {
        let servers = [&self.primary, &self.standby];
        let hosts = servers.map(|server| format!("{}:{}", server.socket(), server.port()));
        let database = &self.database.name;
        format!("postgres://keyfob@{}/{database}", hosts.join(","))
    }

    /// A store at both servers that gives a server up soon.
    async fn store(&self) -> PostgresStore {
        self.store_with(&self.url()).await
    }

    async fn store_with(&self, url: &str) -> PostgresStore {
        let options = Options::default()
            .with_connect_timeout(Duration::from_secs(3))
            .with_statement_timeout(Duration::from_secs(3))
            .with_lock_timeout(Duration::from_secs(3));
        options.connect(url).await.expect("the primary is up")
    }

    /// Lets no commit be acknowledged before the standby has it.
    async fn synchronize(&self) {
        self.standby.configure("synchronous_standby_names = ''");
        self.primary.synchronize("second").await;
    }

    /// Waits until the standby has everything that the primary has.
    async fn catch_up(&self) {
        let all = "replay_lsn >= pg_current_wal_flush_lsn()";
        self.primary.await_replication(all).await;
    }

    /// The primary crashes, and the standby takes its place.
    fn fail_over(&self) {
        tokio::task::block_in_place(|| {
            self.primary.down("immediate");
            self.standby.promote();
        });
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        // So that it can be stopped.
        self.primary.thaw();
        self.standby.thaw();
    }
}

/// Waits until this holds.
async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let began = Instant::now();
    while !holds().await {
        assert!(began.elapsed() < LONG, "{what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

const LONG: Duration = Duration::from_mins(2);

/// A process that serves calls: a keyring, and the task that follows its store.
struct Serving {
    keyring: Arc<Keyring>,
    replica: Replica,
    /// How many calls it has accepted.
    accepted: AtomicU64,
}

impl Serving {
    async fn over(store: PostgresStore) -> Self {
        let builder = Keyring::builder(store, format());
        let keyring = Arc::new(builder.open(keyfob::now()).await.unwrap());
        let replica = Follower::over(Arc::clone(&keyring))
            .poll_every(Duration::from_millis(200))
            .flush_usage_every(Duration::from_millis(200))
            .start()
            .await
            .unwrap();
        Self {
            keyring,
            replica,
            accepted: AtomicU64::new(0),
        }
    }

    async fn create(&self, name: &str) -> CreatedKey {
        let new = NewKey::for_user("acme", "fn-1", "alice", name).unwrap();
        let context = Context::system(keyfob::now());
        self.keyring.create(&context, new).await.unwrap()
    }

    fn refused(&self, key: &IssuedKey) -> Option<DenyReason> {
        let verifier = self.replica.verifier();
        let text = key.expose().as_bytes();
        let verdict = verifier.verify_text(text, &Access::to("fn-1"), keyfob::now());
        match verdict {
            Ok(_) => {
                self.accepted.fetch_add(1, Ordering::Relaxed);
                None
            }
            Err(denied) => Some(denied.reason()),
        }
    }

    async fn await_answer(&self, key: &IssuedKey, answer: Option<DenyReason>) {
        until(&format!("{answer:?}"), async || self.refused(key) == answer).await;
    }
}

#[test]
fn with_a_synchronous_standby_a_failover_loses_nothing() {
    server::run(async {
        let cluster = Cluster::start().await;
        let store = cluster.store().await;
        cluster.synchronize().await;
        let serving = Serving::over(cluster.store().await).await;
        let (stop, stopped) = watch::channel(false);
        let mut tasks = JoinSet::new();
        for _ in 0..4 {
            let (store, stopped) = (store.clone(), stopped.clone());
            tasks.spawn(async move {
                let (mut kept, mut failed) = (Vec::new(), Vec::new());
                while !*stopped.borrow() {
                    let record = key(&user("alice"), "load");
                    let id = record.id;
                    match create(&store, record).await {
                        Ok(record) => kept.push((record.id, record.revision)),
                        Err(error) => {
                            failed.push((id, store_error(error).is_definite()));
                            tokio::time::sleep(Duration::from_millis(20)).await;
                        }
                    }
                }
                (kept, failed)
            });
        }
        let reaches = async |revision: u64| {
            until(&format!("revision {revision}"), async || {
                let head = store.head().await;
                head.is_ok_and(|head| head.revision.get() >= revision)
            })
            .await;
        };
        reaches(50).await;
        // What is committed from here on reaches the primary alone.
        cluster.standby.cut_off().await;
        let waits = "SELECT EXISTS (SELECT 1 FROM pg_stat_activity WHERE wait_event = 'SyncRep')";
        let admin = cluster.primary.client("postgres").await;
        until("a commit waits for the standby", async || {
            admin.query_one(waits, &[]).await.unwrap().get(0)
        })
        .await;
        cluster.fail_over();
        let before = {
            let client = cluster.standby.client(&cluster.database.name).await;
            let row = client
                .query_one("SELECT revision FROM keyfob.log", &[])
                .await;
            u64::try_from(row.unwrap().get::<_, i64>(0)).unwrap()
        };
        reaches(before + 50).await;
        stop.send(true).unwrap();
        let (mut acknowledged, mut failed, mut unknown) = (BTreeMap::new(), 0, 0);
        while let Some(done) = tasks.join_next().await {
            let (kept, lost) = done.unwrap();
            acknowledged.extend(kept);
            for (id, definite) in lost {
                failed += 1;
                let found = store.key(&tenant(), id).await.unwrap();
                if definite {
                    assert!(found.is_none(), "{id}: nothing was changed, it was said");
                } else {
                    unknown += 1;
                }
            }
        }
        let kept = is_there(&store, &acknowledged).await;
        println!(
            "{} told, {kept} kept, {failed} failed, {unknown} unknown",
            acknowledged.len()
        );
        assert!(kept <= acknowledged.len() + unknown);
        // Who follows the store goes on with the new primary.
        let head = store.head().await.unwrap().revision;
        until("the follower is up to date", async || {
            serving.keyring.index().as_of() >= head
        })
        .await;
        let made = serving.create("after").await;
        serving.await_answer(&made.secret, None).await;
        let failure = tokio::time::timeout(Duration::ZERO, serving.replica.failed()).await;
        assert!(failure.is_err(), "{failure:?}");
    });
}

/// A session that waits for the standby and is ended has committed on the primary alone. To find the
/// commit there is not enough to acknowledge it.
#[test]
fn a_commit_that_the_standby_has_not_confirmed_is_not_acknowledged() {
    server::run(async {
        let cluster = Cluster::start().await;
        let options = Options::default()
            .with_statement_timeout(Duration::from_millis(500))
            .with_connect_timeout(Duration::from_secs(2))
            .with_lock_timeout(Duration::from_secs(2));
        let store = options.connect(&cluster.url()).await.unwrap();
        create(&store, key(&user("alice"), "one")).await.unwrap();
        cluster.synchronize().await;
        create(&store, key(&user("alice"), "two")).await.unwrap();
        cluster.standby.freeze();
        let record = key(&user("alice"), "three");
        let id = record.id;
        let committing = tokio::spawn({
            let store = store.clone();
            async move { create(&store, record).await }
        });
        let admin = cluster.primary.client("postgres").await;
        let end = "SELECT count(pg_terminate_backend(pid)) > 0 FROM pg_stat_activity \
                   WHERE wait_event = 'SyncRep' AND datname = $1";
        until("a commit waits for the standby", async || {
            let row = admin.query_one(end, &[&cluster.database.name]).await;
            row.unwrap().get(0)
        })
        .await;
        let client = cluster.primary.client(&cluster.database.name).await;
        let kept = "SELECT EXISTS (SELECT 1 FROM keyfob.keys WHERE id = $1)";
        let name = CredentialId::Key(id).to_string();
        until("the primary has kept it", async || {
            let row = client.query_one(kept, &[&name]).await;
            row.unwrap().get(0)
        })
        .await;
        let answer = tokio::time::timeout(LONG, committing).await;
        let error = store_error(answer.expect("it is answered").unwrap().unwrap_err());
        assert!(!error.is_definite(), "{error}");
        cluster.standby.thaw();
        let began = Instant::now();
        while let Err(error) = create(&store, key(&user("alice"), "four")).await {
            assert!(began.elapsed() < LONG, "{error:?}");
        }
        check(&store).await;
    });
}

/// Everything that has seen a lost commit refuses the store, whether or not that has caught up.
#[test]
fn commits_that_an_asynchronous_standby_lacked_are_noticed_by_all() {
    server::run(async {
        let cluster = Cluster::start().await;
        let store = cluster.store().await;
        let [one, two] = [
            Serving::over(cluster.store().await).await,
            Serving::over(cluster.store().await).await,
        ];
        let kept = one.create("kept").await;
        cluster.catch_up().await;
        cluster.standby.cut_off().await;
        let lost = one.create("lost").await;
        let context = Context::system(keyfob::now());
        let revoked = &kept.info;
        let revoking = one
            .keyring
            .revoke(&context, &revoked.tenant, revoked.id, None);
        revoking.await.unwrap();
        for serving in [&one, &two] {
            serving.await_answer(&lost.secret, None).await;
            serving
                .await_answer(&kept.secret, Some(DenyReason::Revoked))
                .await;
        }
        let head = store.head().await.unwrap();
        let followed = async || {
            let index = Index::new(format(), Peppers::none());
            index.follow(&store, NOW).await.unwrap();
            index
        };
        let (early, late) = (followed().await, followed().await);
        assert_eq!(late.as_of(), head.revision);

        cluster.fail_over();
        // The servers: whatever they read first, they go on no further.
        for serving in [&one, &two] {
            let failure = tokio::time::timeout(LONG, serving.replica.failed()).await;
            let failure = failure.expect("it is noticed");
            assert!(
                matches!(failure, Failure::Index(IndexError::Regressed { .. })),
                "{failure:?}"
            );
            for key in [&kept.secret, &lost.secret] {
                assert_eq!(serving.refused(key), Some(DenyReason::Stale));
            }
            let sync = serving.keyring.sync(keyfob::now()).await;
            assert!(matches!(sync, Err(FollowError::Index(_))), "{sync:?}");
        }
        let follow = async |index: &Index| index.follow(&store, NOW).await.unwrap_err();
        let error = follow(&early).await;
        assert!(
            matches!(error, FollowError::Index(IndexError::Regressed { .. })),
            "{error:?}"
        );
        // Other commits take the place of the lost ones.
        let behind = store.head().await.unwrap().revision;
        assert!(behind < head.revision);
        while store.head().await.unwrap().revision <= head.revision {
            create(&store, key(&user("bob"), "new")).await.unwrap();
        }
        let error = follow(&late).await;
        assert!(
            matches!(error, FollowError::Index(IndexError::Forked { at }) if at == head.revision),
            "{error:?}"
        );
        // A new start serves the store as it is.
        let anew = Serving::over(cluster.store().await).await;
        assert_eq!(anew.refused(&kept.secret), None, "its revocation was lost");
        assert_eq!(anew.refused(&lost.secret), Some(DenyReason::UnknownKey));
        check(&store).await;
    });
}

/// A primary that hangs keeps its connections open and accepts new ones.
#[test]
fn a_primary_that_hangs_is_given_up() {
    server::run(async {
        let cluster = Cluster::start().await;
        let store = cluster.store().await;
        create(&store, key(&user("alice"), "one")).await.unwrap();
        // Several connections are idle in the pool.
        let reads = (0..6).map(|_| {
            let store = store.clone();
            tokio::spawn(async move { store.changes(Revision::ZERO, 10).await })
        });
        for read in reads.collect::<Vec<_>>() {
            read.await.unwrap().unwrap();
        }
        let serving = Serving::over(cluster.store().await).await;
        cluster.catch_up().await;
        cluster.primary.freeze();
        tokio::task::block_in_place(|| cluster.standby.promote());
        let began = Instant::now();
        let created = loop {
            match create(&store, key(&user("alice"), "two")).await {
                Ok(record) => break record,
                Err(error) => println!("{:?}: {error}", began.elapsed()),
            }
            assert!(began.elapsed() < LONG, "the new primary is found");
        };
        println!("a commit after {:?}", began.elapsed());
        // One connection after the other would take a minute.
        assert!(began.elapsed() < Duration::from_secs(35), "idle ones too");
        until("the follower is up to date", async || {
            serving.keyring.index().as_of() >= created.revision
        })
        .await;
        println!("the follower after {:?}", began.elapsed());
        assert!(store.wait_for_change(Revision::ZERO).await.unwrap());
        let client = cluster.standby.client(&cluster.database.name).await;
        let row = client
            .query_one("SELECT revision FROM keyfob.log", &[])
            .await;
        assert!(row.unwrap().get::<_, i64>(0) >= 2, "it was kept there");
    });
}

#[test]
fn a_standby_is_never_used() {
    server::run(async {
        let cluster = Cluster::start().await;
        let store = cluster.store().await;
        let record = create(&store, key(&user("alice"), "one")).await.unwrap();
        cluster.catch_up().await;
        let name = &cluster.database.name;
        let refused = PostgresStore::connect(&cluster.standby.url(name)).await;
        let error = refused.unwrap_err();
        assert!(matches!(error, ConnectError::Standby), "{error:?}");
        assert!(error.to_string().contains("standby"), "{error}");
        // Named first, it is passed over, with and without the parameter.
        let (primary, standby) = (&cluster.primary, &cluster.standby);
        let hosts = [standby, primary].map(|s| format!("{}:{}", s.socket(), s.port()));
        for parameters in ["", "?target_session_attrs=read-write"] {
            let url = format!("postgres://keyfob@{}/{name}{parameters}", hosts.join(","));
            let store = PostgresStore::connect(&url).await.unwrap();
            assert!(store.key(&tenant(), record.id).await.unwrap().is_some());
            create(&store, key(&user("alice"), "more")).await.unwrap();
            assert!(store.wait_for_change(Revision::ZERO).await.unwrap());
        }
        // Nor once the primary is away.
        tokio::task::block_in_place(|| primary.down("fast"));
        let read = store.key(&tenant(), record.id).await;
        read.expect_err("only the standby is there");
        create(&store, key(&user("alice"), "none"))
            .await
            .unwrap_err();
    });
}

/// The pooler is told of another server while the store uses it: each transaction looks.
#[test]
fn a_standby_behind_a_pooler_is_never_used() {
    pgbouncer::run(async {
        let cluster = Cluster::start().await;
        let direct = cluster.store().await;
        let record = create(&direct, key(&user("alice"), "one")).await.unwrap();
        cluster.catch_up().await;
        let pooler = PgBouncer::start(&cluster.standby, &[]);
        let name = &cluster.database.name;
        let url = format!("{}&pool_mode=transaction", pooler.url(name));
        let error = PostgresStore::connect(&url).await.unwrap_err();
        assert!(matches!(error, ConnectError::Standby), "{error:?}");

        let pooler = PgBouncer::start(&cluster.primary, &[]);
        let url = format!("{}&pool_mode=transaction", pooler.url(name));
        let store = cluster.store_with(&url).await;
        assert!(store.key(&tenant(), record.id).await.unwrap().is_some());
        pooler.point_to(&cluster.standby);
        let began = Instant::now();
        let error = loop {
            match store.key(&tenant(), record.id).await {
                // The pooler has not given its connections up yet.
                Ok(_) => assert!(began.elapsed() < LONG, "the pooler does not reload"),
                Err(error) => break error,
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        };
        let source = std::error::Error::source(&error).unwrap().to_string();
        assert!(source.contains("standby"), "{source}");
        let refused = create(&store, key(&user("alice"), "none")).await;
        assert!(store_error(refused.unwrap_err()).is_definite());
        // It takes the place of the primary.
        cluster.fail_over();
        until("the store heals", async || {
            create(&store, key(&user("alice"), "two")).await.is_ok()
        })
        .await;
        check(&store).await;
    });
}

/// Three servers, of which one is behind a pooler: what one changes is in force in the others, and
/// what each counts is counted once.
#[test]
fn several_servers_share_a_store() {
    pgbouncer::run(async {
        let database = server::shared().database().await;
        let mut servers = Vec::new();
        for url in [database.url(), database.url(), pooling::url(&database)] {
            servers.push(Serving::over(PostgresStore::connect(&url).await.unwrap()).await);
        }
        let mut keys = Vec::new();
        for (n, server) in servers.iter().enumerate() {
            keys.push(server.create(&format!("key-{n}")).await);
        }
        for server in &servers {
            for key in &keys {
                server.await_answer(&key.secret, None).await;
            }
        }
        // Over several flushes.
        for _ in 0..50 {
            for server in &servers {
                assert_eq!(server.refused(&keys[0].secret), None);
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        for (n, key) in keys.iter().enumerate() {
            let context = Context::system(keyfob::now());
            let other = &servers[(n + 1) % servers.len()].keyring;
            let revoking = other.revoke(&context, &key.info.tenant, key.info.id, None);
            revoking.await.unwrap();
            for server in &servers {
                server
                    .await_answer(&key.secret, Some(DenyReason::Revoked))
                    .await;
            }
        }
        let store = PostgresStore::connect(&database.url()).await.unwrap();
        let mut uses = 0;
        for server in servers {
            uses += server.accepted.load(Ordering::Relaxed);
            assert_eq!(server.replica.stop().await, 0, "uses were lost");
        }
        let ids = keys.iter().map(|key| CredentialId::Key(key.info.id));
        let usage = store.usage(&ids.collect::<Vec<_>>()).await.unwrap();
        let counted: u64 = usage.iter().map(|usage| usage.accepted).sum();
        assert_eq!(counted, uses);
    });
}
