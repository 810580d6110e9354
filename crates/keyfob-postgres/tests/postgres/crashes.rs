//! Clients and servers that are killed: what was acknowledged is there, and nothing is half there.

use std::{collections::BTreeMap, time::Duration};

use keyfob::{KeyId, KeyStore, store::Revision};
use keyfob_postgres::{Options, PostgresStore};
use keyfob_testkit::process::say;
use tokio::task::JoinSet;

use crate::{
    process,
    server::{self, Server, random},
    work::{check, create, key, live, store_error, tenant, times, user},
};

/// Makes keys as fast as it can, and says of each that it is kept.
pub(crate) async fn burst(url: &str) {
    let store = PostgresStore::connect(url).await.expect("it can connect");
    say("ready");
    let mut tasks = JoinSet::new();
    for _ in 0..4 {
        let store = store.clone();
        tasks.spawn(async move {
            loop {
                let record = key(&user("alice"), "burst");
                let kept = create(&store, record).await.expect("nothing forbids it");
                say(format!("{} {}", kept.id, kept.revision));
            }
        });
    }
    while tasks.join_next().await.is_some() {}
}

fn acknowledged(lines: &[String]) -> BTreeMap<KeyId, Revision> {
    let parse = |line: &String| {
        let (id, revision) = line.split_once(' ')?;
        let id = KeyId::from_hex(id.as_bytes()).ok()?;
        Some((id, Revision::new(revision.parse().ok()?)))
    };
    // The last line may be torn.
    lines.iter().filter_map(parse).collect()
}

/// That all that was acknowledged is there, where it was said to be.
pub(crate) async fn is_there(
    store: &PostgresStore,
    acknowledged: &BTreeMap<KeyId, Revision>,
) -> usize {
    let (_, feed) = check(store).await;
    let kept: BTreeMap<KeyId, Revision> = live(&feed)
        .iter()
        .map(|record| (record.id, record.revision))
        .collect();
    for (id, revision) in acknowledged {
        assert_eq!(kept.get(id), Some(revision), "{id} was acknowledged");
        let found = store.key(&tenant(), *id).await.unwrap();
        assert!(found.is_some(), "{id} was acknowledged");
    }
    kept.len()
}

#[test]
fn commits_acknowledged_to_a_killed_client_are_kept() {
    server::run(async {
        let store = server::store().await;
        let mut all = BTreeMap::new();
        let kills = times("KEYFOB_CLIENT_KILLS", 85);
        for _ in 0..kills {
            let mut process = process::start("burst", &store.database.url());
            tokio::time::sleep(Duration::from_millis(20 + random() % 100)).await;
            let said: Vec<String> = tokio::task::spawn_blocking(move || {
                process.kill();
                std::iter::from_fn(|| process.heard()).collect()
            })
            .await
            .unwrap();
            let told = acknowledged(&said);
            all.extend(told);
        }
        let kept = is_there(&store, &all).await;
        println!("{kills} clients killed: {} told, {kept} kept", all.len());
        assert!(all.len() > usize::try_from(kills).unwrap(), "they worked");
        // Each of the four of a client may have been kept without being told.
        assert!(kept <= all.len() + 4 * usize::try_from(kills).unwrap());
    });
}

#[test]
fn what_a_killed_server_has_acknowledged_is_kept() {
    server::run(async {
        let server = tokio::task::spawn_blocking(|| Server::start(&[]))
            .await
            .unwrap();
        let database = server.database().await;
        let options = Options::default()
            .with_connect_timeout(Duration::from_secs(2))
            .with_lock_timeout(Duration::from_secs(5));
        let store = server::connect(&database, &options).await;
        let kills = times("KEYFOB_SERVER_KILLS", 15);
        let (mut all, mut failed, mut unknown) = (BTreeMap::new(), 0, 0);
        for _ in 0..kills {
            let (stop, stopped) = tokio::sync::watch::channel(false);
            let mut tasks = JoinSet::new();
            for _ in 0..4 {
                let (store, stopped) = (store.clone(), stopped.clone());
                tasks.spawn(async move {
                    let (mut kept, mut failed) = (Vec::new(), Vec::new());
                    while !*stopped.borrow() {
                        let record = key(&user("alice"), "burst");
                        let id = record.id;
                        match create(&store, record).await {
                            Ok(record) => kept.push((record.id, record.revision)),
                            Err(error) => failed.push((id, store_error(error).is_definite())),
                        }
                    }
                    (kept, failed)
                });
            }
            tokio::time::sleep(Duration::from_millis(50 + random() % 150)).await;
            tokio::task::block_in_place(|| {
                server.down("immediate");
                server.up();
            });
            tokio::time::sleep(Duration::from_millis(100)).await;
            stop.send(true).unwrap();
            while let Some(done) = tasks.join_next().await {
                let (kept, lost) = done.unwrap();
                all.extend(kept);
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
        }
        let kept = is_there(&store, &all).await;
        println!(
            "{kills} servers killed: {} told, {kept} kept, {failed} failed, {unknown} unknown",
            all.len()
        );
        assert!(
            all.len() > 4 * usize::try_from(kills).unwrap(),
            "they worked"
        );
        assert!(kept <= all.len() + unknown, "only the unknown may be there");
    });
}
