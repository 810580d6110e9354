//! Warm restarts: what was kept is old or new, never half, and never younger than it is.

use std::{
    fs,
    path::Path,
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::SeqCst},
    },
    time::Duration,
};

use keyfob::DenyReason;
use keyfob_feed::Trust;
use keyfob_replica::{Follower, HttpSource, HttpSourceBuilder, Replica, SourceError, StartError};
use tokio::time::sleep;

use crate::{
    Gateway, STALE_AFTER,
    authority::{Authority, Created, Fault, KEY, Server, now_ms},
    builder,
    following::until,
    server::Fixture,
};

/// An upstream that nobody is at.
const NOWHERE: &str = "http://127.0.0.1:9";

pub(crate) fn offline(trust: Trust, folder: &Path) -> HttpSourceBuilder {
    HttpSource::builder(trust)
        .upstream(NOWHERE.parse().unwrap())
        .key(KEY)
        .saved_in(folder)
}

/// Starts a replica with what was kept, and without a network.
pub(crate) async fn start_offline(builder: HttpSourceBuilder, bound: Duration) -> Option<Replica> {
    let source = builder.build().unwrap();
    let follower = Follower::from_source(source, "acme").stale_after(bound);
    follower.start().await.ok()
}

/// Runs a replica until it has everything and has kept it.
async fn keep(authority: &Authority, server: &Server, folder: &Path, key: &Created) {
    let gateway = Gateway::start(builder(authority, &[server]).saved_in(folder)).await;
    let verifier = gateway.replica.verifier();
    key.until(&verifier, None).await;
    until(|| gateway.source.status().is_connected).await;
    let revision = authority.head().await;
    until(|| gateway.replica.status().revision == revision).await;
    // The snapshot is written by another thread.
    until(|| folder.join("feed.log").exists()).await;
    sleep(Duration::from_millis(300)).await;
    gateway.replica.stop().await;
}

#[tokio::test]
async fn a_restart_needs_no_network_until_the_bound_has_passed() {
    let (authority, folder) = (Authority::new().await, tempfile::tempdir().unwrap());
    let key = authority.create("alice").await;
    let server = authority.serve().await;
    keep(&authority, &server, folder.path(), &key).await;
    let replica = start_offline(offline(authority.trust(), folder.path()), STALE_AFTER).await;
    let replica = replica.unwrap();
    let verifier = replica.verifier();
    assert_eq!(key.refused(&verifier), None);
    // The age goes on from the last bookmark, not from the start.
    let took = key.until(&verifier, Some(DenyReason::Stale)).await;
    assert!(took < STALE_AFTER, "{took:?}");
    replica.stop().await;

    // Too old at the start: calls are refused until the network is back, and no snapshot is loaded.
    let replica = start_offline(offline(authority.trust(), folder.path()), STALE_AFTER).await;
    let replica = replica.unwrap();
    assert_eq!(key.refused(&replica.verifier()), Some(DenyReason::Stale));
    replica.stop().await;
    let snapshots = authority.snapshots();
    let gateway = Gateway::start(builder(&authority, &[&server]).saved_in(folder.path())).await;
    key.until(&gateway.replica.verifier(), None).await;
    assert_eq!(authority.snapshots(), snapshots);
}

/// Creates keys until a newer snapshot takes the place of the one that is kept; returns them, and how long the
/// log was at most before that, and after it. It is never removed, although more is received than is kept.
pub(crate) async fn created_until_compaction(
    fixture: &Fixture,
    log: &Path,
) -> (Vec<Created>, usize, usize) {
    let manifest = || {
        let log = fs::read_to_string(log).unwrap();
        let manifest = log.lines().find(|line| line.starts_with("manifest "));
        (manifest.unwrap().to_owned(), log.len())
    };
    let (first, _) = manifest();
    let (mut keys, mut longest) = (Vec::new(), 0);
    loop {
        keys.push(fixture.create(&format!("key-{}", keys.len())).await);
        sleep(Duration::from_millis(40)).await;
        let (now, length) = manifest();
        if now != first {
            return (keys, longest, length);
        }
        longest = longest.max(length);
        assert!(keys.len() < 1_000, "{length}");
    }
}

#[tokio::test]
async fn what_is_kept_stays_short_and_complete_without_a_restart() {
    let often = Duration::from_millis(300);
    let fixture = Fixture::with(None, |authority| authority.snapshot_every(often)).await;
    let (_, replica) = fixture.replica_key("operators").await;
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("feed.log");
    let builder = fixture.builder(&replica).saved_in(folder.path());
    let gateway = Gateway::start(builder.saved_bytes_max(LOG_BYTES)).await;
    until(|| log.exists()).await;
    let (keys, longest, length) = created_until_compaction(&fixture, &log).await;
    assert!(length < longest / 2, "{length} of {longest}");
    // What is received after it is kept too.
    fixture.revoke(&keys[0]).await;
    let last = fixture.create("last").await;
    let verifier = gateway.replica.verifier();
    last.until(&verifier, None).await;
    sleep(Duration::from_millis(300)).await;
    gateway.replica.stop().await;
    assert_eq!(gateway.source.status().snapshots, 1);
    drop(gateway.source);

    let bound = Duration::from_mins(1);
    let replica = start_offline(offline(fixture.trust.clone(), folder.path()), bound).await;
    let verifier = replica.unwrap().verifier();
    assert_eq!(keys[0].refused(&verifier), Some(DenyReason::Revoked));
    for key in keys[1..].iter().chain([&last]) {
        assert_eq!(key.refused(&verifier), None);
    }
}

/// How many bytes of frames a folder may keep, for some 200 changes.
const LOG_BYTES: u64 = 60_000;

#[tokio::test]
async fn a_start_waits_for_an_upstream_that_is_away_and_not_for_one_that_refuses() {
    let authority = Authority::new().await;
    let key = authority.create("alice").await;
    let server = authority.serve().await;
    let follower = |folder: Option<&Path>| {
        let builder = builder(&authority, &[&server]);
        let builder = match folder {
            Some(folder) => builder.saved_in(folder),
            None => builder,
        };
        Follower::from_source(builder.build().unwrap(), "acme")
            .stale_after(STALE_AFTER)
            .wait_for_source()
    };
    let kept = tempfile::tempdir().unwrap();
    keep(&authority, &server, kept.path(), &key).await;
    for entry in fs::read_dir(kept.path()).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "zst") {
            fs::write(path, "another object").unwrap();
        }
    }
    // With nothing, and with a log whose snapshot cannot be used.
    for folder in [None, Some(kept.path())] {
        server.fail(Fault::Unavailable);
        let start = tokio::spawn(follower(folder).start());
        sleep(Duration::from_millis(700)).await;
        assert!(!start.is_finished());
        server.fail(Fault::None);
        let replica = start.await.unwrap().unwrap();
        assert_eq!(key.refused(&replica.verifier()), None);
        replica.stop().await;
    }
    server.fail(Fault::Forbids);
    let refused = follower(None).start().await.unwrap_err();
    assert!(
        matches!(refused, StartError::Source(SourceError::Refused(_))),
        "{refused}"
    );
}

#[tokio::test]
async fn clocks_that_ran_back_make_nothing_younger() {
    let (authority, folder) = (Authority::new().await, tempfile::tempdir().unwrap());
    let key = authority.create("alice").await;
    let server = authority.serve().await;
    let start = now_ms();
    let uptime = move |more: u64| move || Duration::from_millis(now_ms() - start + more);
    {
        let clocks = builder(&authority, &[&server]).clocks(now_ms, uptime(1_000_000));
        let gateway = Gateway::start(clocks.saved_in(folder.path())).await;
        until(|| gateway.source.status().is_connected).await;
        until(|| folder.path().join("feed.log").exists()).await;
        sleep(Duration::from_millis(500)).await;
        gateway.replica.stop().await;
    }
    let refused = async |wall: fn() -> u64, more: u64| {
        let builder = offline(authority.trust(), folder.path()).clocks(wall, uptime(more));
        let replica = start_offline(builder, Duration::from_mins(1)).await;
        let replica = replica.unwrap();
        let refused = key.refused(&replica.verifier());
        replica.stop().await;
        refused
    };
    assert_eq!(refused(now_ms, 1_000_000).await, None);
    // The machine was up for an hour since, of which the wall clock knows nothing.
    let stale = Some(DenyReason::Stale);
    assert_eq!(refused(now_ms, 4_600_000).await, stale);
    // The wall clock is before the time at which the state was kept.
    assert_eq!(refused(|| now_ms() - 10_000, 1_000_000).await, stale);
    // So is the uptime, in the same boot.
    assert_eq!(refused(now_ms, 0).await, stale);
    assert_eq!(refused(now_ms, 1_000_000).await, None);
}

#[tokio::test]
async fn after_a_restart_of_the_machine_only_a_log_that_was_ended_decides() {
    let (authority, folder) = (Authority::new().await, tempfile::tempdir().unwrap());
    let key = authority.create("alice").await;
    let server = authority.serve().await;
    keep(&authority, &server, folder.path(), &key).await;
    let log = fs::read_to_string(folder.path().join("feed.log")).unwrap();
    let (first, _) = log.split_once(':').unwrap();
    let (_, boot) = first.rsplit_once(' ').unwrap();
    let elsewhere = log.replace(&format!(" {boot}:"), " another-boot:");
    let lost = elsewhere.strip_suffix("closed\n").unwrap();
    let (without_last, _) = lost.trim_end().rsplit_once('\n').unwrap();
    let bound = Duration::from_mins(10);
    for (log, refused) in [
        (&*elsewhere, None),
        (lost, Some(DenyReason::Stale)),
        (without_last, Some(DenyReason::Stale)),
    ] {
        let copy = copied(folder.path());
        fs::write(copy.path().join("feed.log"), log).unwrap();
        let replica = start_offline(offline(authority.trust(), copy.path()), bound).await;
        let replica = replica.unwrap();
        assert_eq!(key.refused(&replica.verifier()), refused);
        replica.stop().await;
        // It goes on from there when the network is back.
        let online = builder(&authority, &[&server]).saved_in(copy.path());
        let gateway = Gateway::start(online).await;
        key.until(&gateway.replica.verifier(), None).await;
        assert_eq!(gateway.source.status().snapshots, 0);
    }
}

#[tokio::test]
async fn a_restart_does_not_confirm_a_snapshot_that_was_not_confirmed() {
    let (authority, folder) = (Authority::new().await, tempfile::tempdir().unwrap());
    let server = authority.serve().await;
    let bound = Duration::from_mins(1);
    // The clock of the replica is ahead, so that it doubts the snapshot for longer.
    let ahead = || now_ms() + 4_000;
    let uptime = || Duration::from_millis(now_ms());
    let online = builder(&authority, &[&server]).clocks(ahead, uptime);
    let source = online.saved_in(folder.path()).build().unwrap();
    let follower = Follower::from_source(source, "acme").stale_after(bound);
    let replica = follower.start().await.unwrap();
    let verifier = replica.verifier();
    until(|| folder.path().join("feed.log").exists()).await;
    let old = authority.create("alice").await;
    old.until(&verifier, None).await;
    authority.replace_store().await;
    let new = authority.create("bob").await;
    server.close_streams();
    let log = folder.path().join("feed.log");
    // With a line after it, which does not end the doubt.
    let is_doubted = || {
        let log = fs::read_to_string(&log).unwrap_or_default();
        let after = log.split_once("\nunproven ");
        after.is_some_and(|(_, lines)| lines.contains("\nframe ") || lines.contains("\nbookmark "))
    };
    until(is_doubted).await;
    assert_eq!(new.refused(&verifier), Some(DenyReason::Stale));
    let copy = copied(folder.path());
    new.until(&verifier, None).await;
    replica.stop().await;
    let offline = |folder| offline(authority.trust(), folder).clocks(ahead, uptime);
    assert!(start_offline(offline(copy.path()), bound).await.is_none());
    let replica = start_offline(offline(folder.path()), bound).await.unwrap();
    assert_eq!(new.refused(&replica.verifier()), None);
    replica.stop().await;
}

#[tokio::test]
async fn a_log_that_was_cut_at_any_byte_is_the_old_or_the_new_state() {
    let (authority, folder) = (Authority::new().await, tempfile::tempdir().unwrap());
    let key = authority.create("alice").await;
    let server = authority.serve().await;
    let bound = Duration::from_mins(10);
    {
        let gateway = Gateway::start(builder(&authority, &[&server]).saved_in(folder.path())).await;
        until(|| gateway.source.status().is_connected).await;
        until(|| folder.path().join("feed.log").exists()).await;
        sleep(Duration::from_millis(300)).await;
        authority.revoke(&key).await;
        key.until(&gateway.replica.verifier(), Some(DenyReason::Revoked))
            .await;
        sleep(Duration::from_millis(300)).await;
        gateway.replica.stop().await;
    }
    let log = fs::read(folder.path().join("feed.log")).unwrap();
    let new = log.windows(6).rposition(|text| text == b"\nframe").unwrap() + 1;
    let end = new + log[new..].iter().position(|byte| *byte == b'\n').unwrap() + 1;
    let (mut old, mut revoked) = (0, 0);
    // Each byte near the ends of lines, and some of the others: a unit test cuts at every byte.
    let near = |length: usize| {
        [new, end, log.len()]
            .iter()
            .any(|at| length.abs_diff(*at) < 20)
            || length.is_multiple_of(7)
    };
    for length in (new - 50..log.len()).filter(|length| near(*length)) {
        let copy = copied(folder.path());
        fs::write(copy.path().join("feed.log"), &log[..length]).unwrap();
        let replica = start_offline(offline(authority.trust(), copy.path()), bound).await;
        let refused = key.refused(&replica.unwrap().verifier());
        let expected = (length >= end).then_some(DenyReason::Revoked);
        assert_eq!(refused, expected, "{length} of {}", log.len());
        old += usize::from(expected.is_none());
        revoked += usize::from(expected.is_some());
    }
    assert!(old > 100 && revoked > 100, "{old} {revoked}");

    // A log that was cut is continued behind its last complete line.
    for length in [new - 10, new + 10, end - 1, log.len() - 1] {
        let copy = copied(folder.path());
        fs::write(copy.path().join("feed.log"), &log[..length]).unwrap();
        {
            let online = builder(&authority, &[&server]).saved_in(copy.path());
            let gateway = Gateway::start(online).await;
            key.until(&gateway.replica.verifier(), Some(DenyReason::Revoked))
                .await;
            assert_eq!(gateway.source.status().snapshots, 0);
            gateway.replica.stop().await;
        }
        let replica = start_offline(offline(authority.trust(), copy.path()), bound).await;
        let refused = key.refused(&replica.unwrap().verifier());
        assert_eq!(refused, Some(DenyReason::Revoked), "{length}");
    }
}

#[tokio::test]
async fn what_was_altered_in_the_folder_is_not_used() {
    let (authority, folder) = (Authority::new().await, tempfile::tempdir().unwrap());
    let key = authority.create("alice").await;
    let server = authority.serve().await;
    keep(&authority, &server, folder.path(), &key).await;
    let bound = Duration::from_mins(10);
    let log = fs::read_to_string(folder.path().join("feed.log")).unwrap();
    // Another signer's, or of another time.
    let altered = [
        log.replacen("\"as_of\":1", "\"as_of\":2", 1),
        log.replacen("manifest", "bookmark", 1),
        log.replacen("signer", "singer", 1),
        "x".to_owned(),
        String::new(),
    ];
    for altered in altered {
        assert_ne!(log, altered);
        let copy = copied(folder.path());
        fs::write(copy.path().join("feed.log"), altered).unwrap();
        let replica = start_offline(offline(authority.trust(), copy.path()), bound).await;
        assert!(replica.is_none(), "there is nothing to start with");
    }
    let stranger = Authority::new().await;
    let copy = copied(folder.path());
    let replica = start_offline(offline(stranger.trust(), copy.path()), bound).await;
    assert!(replica.is_none(), "others signed it");

    let copy = copied(folder.path());
    let object = objects(copy.path()).pop().unwrap();
    let mut bytes = fs::read(&object).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&object, bytes).unwrap();
    let online = builder(&authority, &[&server]).saved_in(copy.path());
    let gateway = Gateway::start(online).await;
    assert_eq!(key.refused(&gateway.replica.verifier()), None);
    assert_eq!(gateway.source.status().snapshots, 1, "it was loaded again");
}

#[tokio::test]
async fn one_snapshot_is_kept_and_nobody_else_can_read_it() {
    let (authority, parent) = (Authority::new().await, tempfile::tempdir().unwrap());
    let folder = parent.path().join("of").join("gateway");
    let key = authority.create("alice").await;
    let server = authority.serve().await;
    keep(&authority, &server, &folder, &key).await;
    authority.replace_store().await;
    let other = authority.create("bob").await;
    keep(&authority, &server, &folder, &other).await;
    assert_eq!(objects(&folder).len(), 1);
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;

        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&folder), 0o700);
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            assert_eq!(mode(&path), 0o600, "{}", path.display());
        }
    }
    let replica = start_offline(offline(authority.trust(), &folder), STALE_AFTER).await;
    let verifier = replica.as_ref().unwrap().verifier();
    assert_eq!(other.refused(&verifier), None);
    assert_eq!(key.refused(&verifier), Some(DenyReason::UnknownKey));
}

#[tokio::test]
async fn rotated_signers_are_kept() {
    let (authority, folder) = (Authority::new().await, tempfile::tempdir().unwrap());
    let key = authority.create("alice").await;
    let server = authority.serve().await;
    let pinned = authority.trust();
    {
        let gateway = Gateway::start(builder(&authority, &[&server]).saved_in(folder.path())).await;
        let steps: [fn(&mut keyfob_feed::FeedKeys); 2] = [
            |keys| {
                let _ = keys.announce(&keyfob::key::SystemRandom).unwrap();
            },
            // The new signer is known by then.
            |keys| {
                keys.switch();
                keys.retire();
            },
        ];
        for step in steps {
            authority.with_keys(step).await;
            server.close_streams();
            let later = authority.create("bob").await;
            later.until(&gateway.replica.verifier(), None).await;
            sleep(Duration::from_millis(300)).await;
        }
        authority.revoke(&key).await;
        key.until(&gateway.replica.verifier(), Some(DenyReason::Revoked))
            .await;
        gateway.replica.stop().await;
    }
    let told = Arc::new(AtomicU64::new(0));
    let telling = Arc::clone(&told);
    let source = offline(pinned.clone(), folder.path());
    let source = source.on_trust(move |trust| telling.store(trust.version(), SeqCst));
    let replica = start_offline(source, STALE_AFTER).await.unwrap();
    assert_eq!(key.refused(&replica.verifier()), Some(DenyReason::Revoked));
    assert_eq!(told.load(SeqCst), 4, "a relay is told of them");
    replica.stop().await;

    // With another snapshot, too, which a signer has signed that is not pinned.
    authority.replace_store().await;
    let key = authority.create("alice").await;
    {
        let online = HttpSource::builder(pinned.clone())
            .upstream(server.address.parse().unwrap())
            .key(KEY)
            .saved_in(folder.path());
        let gateway = Gateway::start(online).await;
        key.until(&gateway.replica.verifier(), None).await;
        sleep(Duration::from_millis(500)).await;
        gateway.replica.stop().await;
    }
    let replica = start_offline(offline(pinned, folder.path()), STALE_AFTER).await;
    assert_eq!(key.refused(&replica.unwrap().verifier()), None);
}

/// What was accepted under other pins would bring back signers that the operator has replaced since.
#[tokio::test]
async fn what_was_kept_under_other_pinned_signers_is_not_used() {
    let (authority, folder) = (Authority::new().await, tempfile::tempdir().unwrap());
    let key = authority.create("alice").await;
    let server = authority.serve().await;
    authority
        .with_keys(|keys| {
            let _ = keys.announce(&keyfob::key::SystemRandom).unwrap();
        })
        .await;
    keep(&authority, &server, folder.path(), &key).await;
    let before = authority.trust();
    // The operator has pinned one of the two signers no longer. The document that was kept has it, and the one that
    // is pinned has signed the document.
    let fewer = Trust::pinned(authority.keys().signers().take(1)).unwrap();
    authority
        .with_keys(|keys| {
            keys.switch();
            keys.retire();
        })
        .await;
    let bound = Duration::from_mins(10);
    let copy = copied(folder.path());
    let replica = start_offline(offline(before, copy.path()), bound).await;
    assert_eq!(key.refused(&replica.unwrap().verifier()), None);
    let copy = copied(folder.path());
    for pins in [fewer, authority.trust()] {
        let replica = start_offline(offline(pins, copy.path()), bound).await;
        assert!(replica.is_none(), "it is from the time of other pins");
    }
    let online = builder(&authority, &[&server]).saved_in(copy.path());
    let gateway = Gateway::start(online).await;
    assert_eq!(key.refused(&gateway.replica.verifier()), None);
}

/// The variables that make the test binary a process that is killed.
const ROLE: [&str; 3] = [
    "KEYFOB_TEST_KILLED",
    "KEYFOB_TEST_FOLDER",
    "KEYFOB_TEST_SIGNER",
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_that_is_killed_at_any_time_leaves_a_state_to_start_with() {
    let (authority, folder) = (Authority::new().await, tempfile::tempdir().unwrap());
    // The oldest key of a history.
    let mut key = authority.create("alice").await;
    let server = authority.serve().await;
    let signer = authority.signer();
    let (mut last, mut kept) = (0, 0);
    for round in 0..12_u64 {
        if round % 4 == 3 {
            // Another history: a snapshot is written again.
            authority.replace_store().await;
            key = authority.create("alice").await;
            last = 0;
        }
        let process = Killed(
            Command::new(std::env::current_exe().unwrap())
                .args(["--exact", "restart::the_killed_process"])
                .env(ROLE[0], &server.address)
                .env(ROLE[1], folder.path())
                .env(ROLE[2], &signer)
                .stdout(Stdio::null())
                .spawn()
                .unwrap(),
        );
        for _ in 0..(10 + round * 3) {
            authority.create("some").await;
            sleep(Duration::from_millis(10)).await;
        }
        drop(process);
        let bound = Duration::from_mins(10);
        let replica = start_offline(offline(authority.trust(), folder.path()), bound).await;
        let Some(replica) = replica else {
            assert_eq!(last, 0, "what was kept is lost");
            continue;
        };
        let revision = replica.status().revision.get();
        match key.refused(&replica.verifier()) {
            None => {
                assert!(revision >= last, "{revision} after {last}");
                last = revision;
                kept += 1;
            }
            // The process was killed before it had loaded this history.
            refused => {
                assert_eq!(refused, Some(DenyReason::UnknownKey));
                assert_eq!(last, 0, "an older history took its place");
            }
        }
        replica.stop().await;
    }
    assert!(kept > 0, "something was kept");
}

struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Not a test of its own: the process that the test kills.
#[tokio::test]
async fn the_killed_process() {
    let [Ok(address), Ok(folder), Ok(signer)] = ROLE.map(std::env::var) else {
        return;
    };
    let builder = HttpSource::builder(Trust::pinned([signer.parse().unwrap()]).unwrap())
        .upstream(address.parse().unwrap())
        .key(KEY)
        .saved_in(folder);
    let gateway = Gateway::start(builder).await;
    gateway.replica.failed().await;
}

fn copied(folder: &Path) -> tempfile::TempDir {
    let copy = tempfile::tempdir().unwrap();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        fs::copy(&path, copy.path().join(path.file_name().unwrap())).unwrap();
    }
    copy
}

fn objects(folder: &Path) -> Vec<std::path::PathBuf> {
    let entries = fs::read_dir(folder).unwrap();
    let paths = entries.map(|entry| entry.unwrap().path());
    paths
        .filter(|path| path.extension().is_some_and(|extension| extension == "zst"))
        .collect()
}
