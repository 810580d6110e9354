//! Connections that are cut at every statement in turn, servers that restart: outcomes are told as
//! they are, and the store heals.

use std::time::{Duration, Instant};

use keyfob::{
    KeyStore, Tenant,
    audit::Action,
    gateway::{UsageBatch, UsageDelta},
    key::{CredentialId, KeyDigest, SystemRandom},
    legacy::{LegacyId, LegacyPolicy, LegacyRecord},
    manage::Policy,
    name::{TeamId, UserId},
    store::{
        AuditQuery, Change, CommitError, KeyQuery, KeyRecord, LegacyQuery, NamespaceQuery,
        Revision, StoreError, Target,
    },
};
use keyfob_postgres::{Options, PostgresStore};
use keyfob_testkit::proxy::{Fault, Proxy};
use tokio::task::JoinSet;

use crate::{
    server::{self, Server, Store, random},
    work::{
        NOW, check, commit, create, creation, key, live, part_of, removal, store_error, tenant,
        user,
    },
};

/// A store over a proxy, and one with a direct connection.
struct Setting {
    direct: Store,
    over: PostgresStore,
    proxy: Proxy,
}

async fn setting(patience: Duration) -> Setting {
    let direct = server::store().await;
    let proxy = Proxy::to(server::shared().port()).await;
    let url = proxy.url(&direct.database.name);
    let over = Options::default()
        .with_pool_size(2)
        .with_connect_timeout(patience)
        .with_lock_timeout(patience)
        .connect(&url)
        .await
        .expect("it can connect over the proxy");
    Setting {
        direct,
        over,
        proxy,
    }
}

/// What a change is before it is made: everything it needs is there.
async fn prepared(store: &PostgresStore, kind: usize, n: u32) -> Option<(Change, Action)> {
    let owner = user(&format!("owner-{kind}-{n}"));
    let record = key(&owner, "laptop");
    Some(match kind {
        0 => (creation(&record), Action::KeyCreated),
        1 => {
            let mut record = create(store, record).await.unwrap();
            record.name = keyfob::name::KeyName::new(&format!("renamed-{n}")).unwrap();
            let expected = record.revision;
            let change = Change::ReplaceKey {
                record,
                expected,
                unique_name: true,
            };
            (change, Action::KeyUpdated)
        }
        2 => {
            let record = create(store, record).await.unwrap();
            let (tenant, id) = (record.tenant, record.id);
            let expected = Some(record.revision);
            let change = Change::DeleteKey {
                tenant,
                id,
                expected,
            };
            (change, Action::KeyDeleted)
        }
        3 => {
            let target = part_of(&owner);
            (removal(target), Action::Removed)
        }
        4 => {
            let target = part_of(&owner);
            let closing = commit(removal(target.clone()), Action::Removed);
            store.commit(&closing).await.unwrap();
            (Change::Restore { target }, Action::Restored)
        }
        5 => {
            let record = legacy();
            (Change::ImportLegacy { record }, Action::LegacyImported)
        }
        6 => {
            let policy = Some(Policy {
                keys_per_owner: Some(n),
                ..Policy::default()
            });
            let tenant = Some(tenant());
            (Change::SetPolicy { tenant, policy }, Action::PolicySet)
        }
        7 => {
            let namespace = keyfob::name::NamespaceId::new(&format!("fn-{}", random())).unwrap();
            let tenant = Tenant::new(TeamId::new("acme").unwrap(), namespace);
            (
                Change::CreateNamespace { new: tenant.into() },
                Action::NamespaceCreated,
            )
        }
        _ => return None,
    })
}

fn legacy() -> LegacyRecord {
    let id = (u128::from(random()) << 64) | u128::from(random());
    LegacyRecord {
        id: LegacyId::from_bytes(id.to_be_bytes()),
        tenant: tenant(),
        subject: UserId::new("guest").unwrap(),
        digest: KeyDigest::from_text(&format!("sha256:{id:032x}{id:032x}")).unwrap(),
        blocked: false,
        imported_at: NOW,
        imported_by: keyfob::Actor::system(),
        revoked: None,
        created_revision: Revision::ZERO,
        revision: Revision::ZERO,
    }
}

/// What came of a commit, as the direct connection sees it: the answer was true.
async fn judge(setting: &Setting, before: Revision, answer: Result<Revision, CommitError>) -> Kept {
    let head = setting
        .direct
        .changes(before, 10)
        .await
        .unwrap()
        .last_revision();
    let kept = head.get() - before.get();
    assert!(kept <= 1, "it was kept {kept} times");
    match answer {
        Ok(revision) => {
            assert_eq!((kept, revision), (1, head), "kept once, where it was said");
            Kept::Yes
        }
        Err(error) => {
            let error = store_error(error);
            if error.is_definite() {
                assert_eq!(kept, 0, "nothing was changed, it was said");
                Kept::No
            } else {
                Kept::Unknown
            }
        }
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Kept {
    Yes,
    No,
    Unknown,
}

/// One cut, and a network that is there again at once: every commit is kept once and says so.
#[test]
fn a_commit_whose_connection_is_cut_at_any_statement_is_kept_once() {
    server::run(async {
        let setting = setting(Duration::from_secs(5)).await;
        let mut cuts = 0;
        for kind in 0.. {
            let mut n = 0;
            if prepared(&setting.direct, kind, n).await.is_none() {
                break;
            }
            for fault in [Fault::Before, Fault::After] {
                for at in 1.. {
                    n += 1;
                    let prepared = prepared(&setting.direct, kind, n).await;
                    let (change, action) = prepared.expect("it is a kind of change");
                    let before = setting
                        .direct
                        .changes(Revision::ZERO, 1)
                        .await
                        .unwrap()
                        .last_revision();
                    setting.proxy.arm(at, fault.clone());
                    let answer = setting.over.commit(&commit(change, action)).await;
                    let fired = setting.proxy.mend();
                    let kept = judge(&setting, before, answer).await;
                    assert_eq!(kept, Kept::Yes, "change {kind} cut at statement {at}");
                    if !fired {
                        break;
                    }
                    cuts += 1;
                }
            }
        }
        println!("{cuts} cuts");
        assert!(cuts > 100, "there are so many statements");
        check(&*setting.direct).await;
    });
}

/// A network that stays away: nothing is said that is not true, and what is unknown is so only
/// behind `COMMIT`.
#[test]
fn a_commit_whose_network_goes_away_says_what_is_known() {
    server::run(async {
        let setting = setting(Duration::from_millis(150)).await;
        create(&setting.over, key(&user("warm-up"), "one"))
            .await
            .unwrap();
        let mut outcomes = Vec::new();
        for fault in [Fault::BeforeForGood, Fault::AfterForGood] {
            for at in 1.. {
                let record = key(&user("alice"), "laptop");
                let before = setting
                    .direct
                    .changes(Revision::ZERO, 1)
                    .await
                    .unwrap()
                    .last_revision();
                setting.proxy.arm(at, fault.clone());
                let creation = commit(creation(&record), Action::KeyCreated);
                let answer = setting.over.commit(&creation).await;
                let fired = setting.proxy.mend();
                // What was sent before the connection was cut is done by then.
                tokio::time::sleep(Duration::from_millis(50)).await;
                let kept = judge(&setting, before, answer).await;
                outcomes.push(kept);
                // The pool makes new connections, with statements of their own. A busy machine may
                // take longer for one than the short time that the store waits.
                let began = Instant::now();
                while let Err(error) = create(&setting.over, key(&user("warm-up"), "again")).await {
                    assert!(began.elapsed() < Duration::from_mins(1), "{error:?}");
                }
                if !fired {
                    break;
                }
            }
        }
        let count = |kind| outcomes.iter().filter(|kept| **kept == kind).count();
        let (yes, no, unknown) = (count(Kept::Yes), count(Kept::No), count(Kept::Unknown));
        println!("kept {yes}, not kept {no}, unknown {unknown}");
        assert_eq!(yes, 2, "the two that nothing cut");
        assert!(no > 6 && unknown > 0, "there are cuts of both kinds");
        check(&*setting.direct).await;
    });
}

/// Calls that read, or record usage, at every statement.
#[test]
fn any_other_call_survives_a_cut_at_any_statement() {
    server::run(async {
        let setting = setting(Duration::from_secs(5)).await;
        let record = create(&*setting.direct, key(&user("alice"), "laptop"))
            .await
            .unwrap();
        let mut counted = 0;
        for call in 0..10 {
            for fault in [Fault::Before, Fault::After] {
                for at in 1.. {
                    setting.proxy.arm(at, fault.clone());
                    let answer = read(&setting.over, call, &record).await;
                    let fired = setting.proxy.mend();
                    match answer {
                        Ok(()) if call == 9 => counted += 1,
                        Ok(()) => {}
                        // Usage whose answer was lost may have been counted.
                        Err(error) => {
                            assert!(call == 9 && !error.is_definite(), "{call} at {at}: {error}");
                            assert!(fired);
                        }
                    }
                    if !fired {
                        break;
                    }
                }
            }
        }
        let usage = setting.direct.usage(&[CredentialId::Key(record.id)]).await;
        let accepted = usage.unwrap()[0].accepted;
        assert!(accepted >= counted, "{accepted} of {counted}");
    });
}

async fn read(store: &PostgresStore, call: u32, record: &KeyRecord) -> Result<(), StoreError> {
    let id = CredentialId::Key(record.id);
    let tenant = &record.tenant;
    match call {
        0 => assert!(store.key(tenant, record.id).await?.is_some()),
        1 => assert_eq!(
            store.keys(&KeyQuery::namespace(tenant)).await?.items.len(),
            1
        ),
        2 => assert!(
            store
                .legacy(&LegacyQuery::every_team())
                .await?
                .items
                .is_empty()
        ),
        3 => assert_eq!(
            store
                .namespaces(&NamespaceQuery::every_team())
                .await?
                .items
                .len(),
            1
        ),
        4 => assert_eq!(store.policy(Some(tenant)).await?, Policy::default()),
        5 => assert_eq!(store.legacy_policy(Some(tenant)).await?, LegacyPolicy::Off),
        6 => assert_eq!(store.audit(&AuditQuery::every_team()).await?.items.len(), 1),
        7 => assert_eq!(store.changes(Revision::ZERO, 10).await?.entries.len(), 1),
        8 => assert!(store.usage(&[id]).await?.is_empty()),
        _ => {
            let usage = vec![UsageDelta::accepted(id, NOW)];
            let batch = UsageBatch::single(usage, NOW, &SystemRandom).unwrap();
            store.record_usage(&batch, NOW).await?;
        }
    }
    Ok(())
}

/// Commits without end, by several at once, until it is told to stop: how many were kept, and how
/// many failed.
fn load(
    store: &PostgresStore,
    stopped: &tokio::sync::watch::Receiver<bool>,
) -> JoinSet<(u64, u64)> {
    let mut tasks = JoinSet::new();
    for _ in 0..4 {
        let (store, stopped) = (store.clone(), stopped.clone());
        tasks.spawn(async move {
            let (mut kept, mut failed) = (0, 0);
            while !*stopped.borrow() {
                match create(&store, key(&user("alice"), "load")).await {
                    Ok(_) => kept += 1,
                    Err(error) => {
                        let error = store_error(error);
                        assert!(std::error::Error::source(&error).is_some(), "{error}");
                        failed += 1;
                    }
                }
            }
            (kept, failed)
        });
    }
    tasks
}

#[test]
fn a_store_heals_when_its_connections_are_ended() {
    server::run(async {
        let store = server::store().await;
        let admin = store.database.client().await;
        let (stop, stopped) = tokio::sync::watch::channel(false);
        let mut tasks = load(&store, &stopped);
        let until = Instant::now() + Duration::from_secs(3);
        let mut ended = 0;
        while Instant::now() < until {
            tokio::time::sleep(Duration::from_millis(60)).await;
            let row = admin
                .query_one(
                    "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity \
                     WHERE datname = current_database() AND pid <> pg_backend_pid()",
                    &[],
                )
                .await
                .unwrap();
            ended += row.get::<_, i64>(0);
        }
        stop.send(true).unwrap();
        let (mut kept, mut failed) = (0, 0);
        while let Some(done) = tasks.join_next().await {
            let (k, f) = done.unwrap();
            kept += k;
            failed += f;
        }
        println!("{ended} connections ended: {kept} commits kept, {failed} failed");
        assert!(ended > 10 && kept > 10);
        let record = create(&*store, key(&user("alice"), "after")).await;
        record.expect("it heals");
        let (head, feed) = check(&*store).await;
        assert_eq!(live(&feed).len() as u64, head.get());
        assert_eq!(
            head.get(),
            kept + 1,
            "what was told to have failed was not kept"
        );
    });
}

#[test]
fn a_store_heals_when_the_server_restarts() {
    server::run(async {
        let server = tokio::task::spawn_blocking(|| Server::start(&["fsync = off"]));
        let server = server.await.unwrap();
        let database = server.database().await;
        let store = server::connect(&database, &Options::default()).await;
        let first = create(&store, key(&user("alice"), "first")).await.unwrap();
        assert!(store.wait_for_change(Revision::ZERO).await.unwrap());
        let (stop, stopped) = tokio::sync::watch::channel(false);
        let mut tasks = load(&store, &stopped);
        tokio::time::sleep(Duration::from_millis(300)).await;
        tokio::task::block_in_place(|| {
            server.down("fast");
            server.up();
        });
        tokio::time::sleep(Duration::from_millis(300)).await;
        stop.send(true).unwrap();
        let mut kept = 0;
        while let Some(done) = tasks.join_next().await {
            kept += done.unwrap().0;
        }
        create(&store, key(&user("alice"), "after"))
            .await
            .expect("it heals");
        let (head, _) = check(&store).await;
        assert!(head.get() > kept && kept > 0);

        // The store listens again: it tells of a change long before the next poll.
        let began = Instant::now();
        while !matches!(store.wait_for_change(first.revision).await, Ok(true)) {
            assert!(
                began.elapsed() < Duration::from_secs(10),
                "it does not listen"
            );
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let waiting = tokio::spawn({
            let store = store.clone();
            async move {
                let began = Instant::now();
                assert!(store.wait_for_change(head).await.unwrap());
                began.elapsed()
            }
        });
        tokio::time::sleep(Duration::from_millis(50)).await;
        let target = Target::Team(TeamId::new("acme").unwrap());
        let cut = removal(target);
        store.commit(&commit(cut, Action::Removed)).await.unwrap();
        assert!(waiting.await.unwrap() < Duration::from_secs(5));
    });
}

/// A future that is dropped in the middle of a commit leaves no transaction open.
#[test]
fn a_dropped_commit_blocks_no_other() {
    server::run(async {
        let store = server::store().await;
        let began = Instant::now();
        create(&*store, key(&user("alice"), "whole")).await.unwrap();
        let whole = began.elapsed();
        let (mut dropped, mut rounds) = (0, 0);
        while dropped < 20 {
            rounds += 1;
            assert!(rounds < 2_000, "{dropped} were under way");
            let making = PostgresStore::clone(&store);
            let making =
                tokio::spawn(async move { create(&making, key(&user("alice"), "dropped")).await });
            // Anywhere within the time that a commit takes; timers are too coarse for that.
            let (began, wait) = (Instant::now(), whole.mul_f64(f64::from(rounds % 20) / 20.0));
            while began.elapsed() < wait {
                tokio::task::yield_now().await;
            }
            making.abort();
            dropped += u32::from(making.await.is_err());
            let next = create(&*store, key(&user("alice"), "next"));
            let next = tokio::time::timeout(Duration::from_secs(5), next).await;
            next.expect("no other holds the log").unwrap();
        }
        println!("{dropped} of {rounds} commits dropped");
        check(&*store).await;
    });
}

/// Commits that wait for their turn keep no reader waiting, and give up in time.
#[test]
fn commits_that_wait_keep_no_reader_waiting() {
    server::run(async {
        let store = server::store().await;
        let record = create(&*store, key(&user("alice"), "one")).await.unwrap();
        let options = Options::default()
            .with_pool_size(3)
            .with_connect_timeout(Duration::from_millis(500))
            .with_lock_timeout(Duration::from_millis(500));
        let waiting = server::connect(&store.database, &options).await;
        let holder = store.database.client().await;
        let hold = "BEGIN; SELECT 1 FROM keyfob.log FOR UPDATE";
        holder.batch_execute(hold).await.unwrap();
        let mut commits = JoinSet::new();
        for _ in 0..12 {
            let waiting = waiting.clone();
            commits.spawn(async move { create(&waiting, key(&user("alice"), "late")).await });
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
        for _ in 0..20 {
            let found = waiting.key(&record.tenant, record.id).await.unwrap();
            assert!(found.is_some());
        }
        while let Some(done) = commits.join_next().await {
            let error = store_error(done.unwrap().unwrap_err());
            assert!(error.is_definite(), "{error}");
        }
        holder.batch_execute("COMMIT").await.unwrap();
        let head = create(&waiting, key(&user("alice"), "two")).await.unwrap();
        assert_eq!(head.revision.get(), 2, "those that gave up changed nothing");
    });
}
