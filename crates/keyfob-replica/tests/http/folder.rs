//! A folder as an upstream: that of another process, or a copy of one.

use std::{
    fs,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::SeqCst},
    },
    time::Duration,
};

use keyfob::{DenyReason, key::SystemRandom};
use keyfob_feed::{FeedKeys, Trust};
use keyfob_replica::{HttpSource, HttpSourceBuilder};
use tokio::time::{Instant, sleep};

use crate::{
    Gateway, STALE_AFTER,
    authority::{Authority, Created},
    builder,
    following::until,
    restart::{created_until_compaction, offline, start_offline},
    server::Fixture,
};

/// A gateway that needs no network and no key.
fn from_folder(trust: Trust, folder: &Path) -> HttpSourceBuilder {
    let upstream = format!("file:{}", folder.display());
    HttpSource::builder(trust).upstream(upstream.parse().unwrap())
}

/// Copies a folder as a program does that copies files: the new log takes the place of the old one at once.
fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        if entry.file_name().to_string_lossy().ends_with(".zst") {
            fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
        }
    }
    fs::copy(from.join("feed.log"), to.join("copy")).unwrap();
    fs::rename(to.join("copy"), to.join("feed.log")).unwrap();
}

async fn writer(fixture: &Fixture, key: &str, folder: &Path) -> Gateway {
    let gateway = Gateway::start(fixture.builder(key).saved_in(folder)).await;
    until(|| folder.join("feed.log").exists()).await;
    gateway
}

#[tokio::test]
async fn a_gateway_follows_the_folder_of_another_process_within_the_bound() {
    let fixture = Fixture::new().await;
    let (_, key) = fixture.replica_key("operators").await;
    let alice = fixture.create("laptop").await;
    let folder = tempfile::tempdir().unwrap();
    let other = writer(&fixture, &key, folder.path()).await;
    let gateway = Gateway::start(from_folder(fixture.trust.clone(), folder.path())).await;
    let verifier = gateway.replica.verifier();
    alice.until(&verifier, None).await;
    let bob = fixture.create("desktop").await;
    bob.until(&verifier, None).await;
    fixture.revoke(&bob).await;
    let took = bob.until(&verifier, Some(DenyReason::Revoked)).await;
    assert!(took < STALE_AFTER, "{took:?}");
    // What is confirmed stays so while bookmarks come.
    sleep(STALE_AFTER + Duration::from_secs(1)).await;
    assert_eq!(alice.refused(&verifier), None);

    // Nobody writes to the folder: what it has is as old as the authority signed.
    other.replica.stop().await;
    drop(other.source);
    let took = alice.until(&verifier, Some(DenyReason::Stale)).await;
    assert!(took < STALE_AFTER + Duration::from_secs(1), "{took:?}");
    fixture.revoke(&alice).await;
    let other = writer(&fixture, &key, folder.path()).await;
    alice.until(&verifier, Some(DenyReason::Revoked)).await;
    let status = gateway.source.status();
    assert_eq!((status.snapshots, status.refused.total()), (1, 0));
    other.replica.stop().await;
}

#[tokio::test]
async fn what_was_altered_in_an_upstreams_folder_is_refused() {
    let fixture = Fixture::new().await;
    let (_, key) = fixture.replica_key("operators").await;
    let alice = fixture.create("laptop").await;
    let (folder, copied) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let other = writer(&fixture, &key, folder.path()).await;
    fixture
        .create("desktop")
        .await
        .until(&other.replica.verifier(), None)
        .await;
    sleep(Duration::from_millis(300)).await;
    copy(folder.path(), copied.path());
    let gateway = Gateway::start(from_folder(fixture.trust.clone(), copied.path())).await;
    let verifier = gateway.replica.verifier();
    alice.until(&verifier, None).await;

    // A process that copies it makes its lines younger.
    let forge = async |revoked: &Created| {
        let start = Instant::now();
        while start.elapsed() < 2 * STALE_AFTER {
            copy(folder.path(), copied.path());
            let log = fs::read_to_string(copied.path().join("feed.log")).unwrap();
            let forged = log.replace("\"as_of\":1", "\"as_of\":2");
            fs::write(copied.path().join("feed.log"), forged).unwrap();
            let is_past = start.elapsed() > STALE_AFTER + Duration::from_secs(2);
            assert!(!is_past || revoked.refused(&verifier).is_some());
            sleep(Duration::from_millis(50)).await;
        }
    };
    fixture.revoke(&alice).await;
    forge(&alice).await;
    let refused = gateway.source.status().refused;
    assert!(refused.forged > 0, "{refused:?}");
    copy(folder.path(), copied.path());
    alice.until(&verifier, Some(DenyReason::Revoked)).await;
    gateway.replica.stop().await;

    for entry in fs::read_dir(copied.path()).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "zst") {
            let mut object = fs::read(&path).unwrap();
            let middle = object.len() / 2;
            object[middle] ^= 1;
            fs::write(&path, object).unwrap();
        }
    }
    let altered = from_folder(fixture.trust.clone(), copied.path());
    assert!(Gateway::try_start(altered).await.is_err());
    other.replica.stop().await;
}

#[tokio::test]
async fn a_folder_whose_log_begins_again_is_followed_and_so_is_a_copy_that_comes_late() {
    let often = Duration::from_millis(300);
    let fixture = Fixture::with(None, |authority| authority.snapshot_every(often)).await;
    let (_, key) = fixture.replica_key("operators").await;
    let (folder, copied) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let builder = fixture.builder(&key).saved_in(folder.path());
    let other = Gateway::start(builder.saved_bytes_max(40_000)).await;
    let log = folder.path().join("feed.log");
    until(|| log.exists()).await;
    copy(folder.path(), copied.path());
    let near = Gateway::start(from_folder(fixture.trust.clone(), folder.path())).await;
    let late = Gateway::start(from_folder(fixture.trust.clone(), copied.path())).await;
    let manifest = || {
        let log = fs::read_to_string(&log).unwrap_or_default();
        let manifest = log.lines().find(|line| line.starts_with("manifest "));
        manifest.unwrap_or_default().to_owned()
    };
    let (first, mut keys) = (manifest(), Vec::new());
    while [String::new(), first.clone()].contains(&manifest()) {
        keys.push(fixture.create(&format!("key-{}", keys.len())).await);
        sleep(Duration::from_millis(60)).await;
        assert!(keys.len() < 900);
    }
    fixture.revoke(&keys[0]).await;
    let last = fixture.create("last").await;
    let verifier = near.replica.verifier();
    last.until(&verifier, None).await;
    keys[0].until(&verifier, Some(DenyReason::Revoked)).await;
    assert_eq!(near.source.status().snapshots, 1, "it went on");

    // The copy lacks what the new log begins with.
    copy(folder.path(), copied.path());
    let verifier = late.replica.verifier();
    let start = Instant::now();
    while last.refused(&verifier).is_some() {
        assert!(start.elapsed() < Duration::from_secs(20));
        copy(folder.path(), copied.path());
        sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(keys[0].refused(&verifier), Some(DenyReason::Revoked));
    for gateway in [near, late, other] {
        gateway.replica.stop().await;
    }
}

#[tokio::test]
async fn signers_are_rotated_while_a_folder_is_followed() {
    let (authority, folder) = (Authority::new().await, tempfile::tempdir().unwrap());
    let server = authority.serve().await;
    let other = Gateway::start(builder(&authority, &[&server]).saved_in(folder.path())).await;
    until(|| folder.path().join("feed.log").exists()).await;
    let known = Arc::new(AtomicU64::new(0));
    let telling = Arc::clone(&known);
    let source = from_folder(authority.trust(), folder.path())
        .on_trust(move |trust| telling.store(trust.version(), SeqCst));
    let gateway = Gateway::start(source).await;
    let verifier = gateway.replica.verifier();
    until(|| gateway.source.status().is_connected).await;
    let steps: [fn(&mut FeedKeys); 3] = [
        |keys| {
            let _ = keys.announce(&SystemRandom).unwrap();
        },
        |keys| {
            let _ = keys.switch();
        },
        |keys| drop(keys.retire()),
    ];
    for step in steps {
        let before = known.load(SeqCst);
        authority.with_keys(step).await;
        until(|| known.load(SeqCst) > before).await;
        let later = authority.create("alice").await;
        later.until(&verifier, None).await;
        authority.revoke(&later).await;
        later.until(&verifier, Some(DenyReason::Revoked)).await;
    }
    let status = gateway.source.status();
    assert_eq!((status.snapshots, status.refused.total()), (1, 0));
    for gateway in [gateway, other] {
        gateway.replica.stop().await;
    }
}

#[cfg(unix)]
#[tokio::test]
async fn a_pipe_in_the_place_of_a_log_is_refused_and_the_next_upstream_is_read() {
    let (authority, folder) = (Authority::new().await, tempfile::tempdir().unwrap());
    let key = authority.create("alice").await;
    let server = authority.serve().await;
    let log = folder.path().join("feed.log");
    let made = std::process::Command::new("mkfifo").arg(&log).status();
    assert!(made.unwrap().success());
    let source = from_folder(authority.trust(), folder.path())
        .upstream(server.address.parse().unwrap())
        .key(crate::authority::KEY);
    let started = tokio::time::timeout(Duration::from_secs(10), Gateway::start(source));
    let gateway = started.await.expect("it waits for the pipe");
    assert_eq!(key.refused(&gateway.replica.verifier()), None);
    let alone = from_folder(authority.trust(), folder.path());
    let error = Gateway::try_start(alone).await.map(drop).unwrap_err();
    assert!(format!("{error:?}").contains("regular file"), "{error:?}");
    gateway.replica.stop().await;
}

#[tokio::test]
async fn what_is_kept_of_a_folder_stays_short_and_complete() {
    let often = Duration::from_millis(300);
    let fixture = Fixture::with(None, |authority| authority.snapshot_every(often)).await;
    let (_, key) = fixture.replica_key("operators").await;
    let (folder, kept) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    // The folder's log becomes short before the gateway's is long, which has more than half of its maximum.
    let upstream = fixture.builder(&key).saved_in(folder.path());
    let other = Gateway::start(upstream.saved_bytes_max(36_000)).await;
    until(|| folder.path().join("feed.log").exists()).await;
    let source = from_folder(fixture.trust.clone(), folder.path()).saved_in(kept.path());
    let gateway = Gateway::start(source.saved_bytes_max(64_000)).await;
    let log = kept.path().join("feed.log");
    until(|| log.exists()).await;
    let (keys, longest, length) = created_until_compaction(&fixture, &log).await;
    assert!(length < longest, "{length} of {longest}");
    fixture.revoke(&keys[0]).await;
    let last = fixture.create("last").await;
    last.until(&gateway.replica.verifier(), None).await;
    sleep(Duration::from_millis(300)).await;
    for gateway in [gateway, other] {
        gateway.replica.stop().await;
    }
    let bound = Duration::from_mins(1);
    let replica = start_offline(offline(fixture.trust.clone(), kept.path()), bound).await;
    let verifier = replica.unwrap().verifier();
    assert_eq!(keys[0].refused(&verifier), Some(DenyReason::Revoked));
    for key in keys[1..].iter().chain([&last]) {
        assert_eq!(key.refused(&verifier), None);
    }
}
