//! Snapshots over HTTP.

use std::time::{Duration, Instant};

use keyfob_feed::{Filter, Receiver};
use tokio::time::{sleep, timeout};

use crate::{
    client::{get, request},
    fixture::{Fixture, now, replica_key, tenant},
};

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_is_made_once_for_a_hundred_readers() {
    let fixture = Fixture::new().await;
    for n in 0..30 {
        fixture.create(n % 3).await;
    }
    let before = fixture.probe.whole_reads();
    let readers = (0..100).map(|_| {
        let mut reader = fixture.reader();
        tokio::spawn(async move {
            reader.load().await;
            reader.position()
        })
    });
    let readers: Vec<_> = readers.collect();
    let mut positions = Vec::new();
    for reader in readers {
        positions.push(reader.await.unwrap());
    }
    positions.dedup();
    assert_eq!(positions.len(), 1);
    assert_eq!(fixture.probe.whole_reads() - before, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_is_finished_for_the_next_reader_if_the_one_that_began_it_leaves() {
    let fixture = Fixture::new().await;
    for n in 0..30 {
        fixture.create(n % 3).await;
    }
    let before = fixture.probe.whole_reads();
    fixture.probe.slow_down(Duration::from_secs(2));
    for path in ["/v1/feed/snapshot", "/v1/feed/snapshot?team=acme"] {
        let leaves = timeout(Duration::from_millis(500), fixture.get(path));
        assert!(leaves.await.is_err(), "{path}");
    }
    let start = Instant::now();
    let mut reader = fixture.reader();
    reader.load().await;
    assert!(start.elapsed() < Duration::from_secs(2), "it was begun");
    assert_eq!(fixture.probe.whole_reads() - before, 1);
    for (tenant, text) in fixture.created() {
        assert!(reader.accepts(&tenant, &text));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn readers_that_come_back_and_leave_again_cost_one_snapshot() {
    let fixture = Fixture::new().await;
    for n in 0..30 {
        fixture.create(n % 3).await;
    }
    let before = fixture.probe.whole_reads();
    fixture.probe.slow_down(Duration::from_secs(2));
    let asked = (0..200_u64).map(|n| {
        let (address, key) = (fixture.address, fixture.key.clone());
        tokio::spawn(async move {
            sleep(Duration::from_millis(n * 7)).await;
            // Every other one leaves, at some time before the snapshot is made.
            let patience = if n % 2 == 0 { 100 + n } else { 60_000 };
            let answer = get(address, "/v1/feed/snapshot", &key);
            let answer = timeout(Duration::from_millis(patience), answer).await;
            answer.ok().map(|answer| answer.status)
        })
    });
    let (mut left, mut served) = (0, 0);
    for asked in asked.collect::<Vec<_>>() {
        match asked.await.unwrap() {
            None => left += 1,
            Some(status) => {
                assert_eq!(status, 200);
                served += 1;
            }
        }
    }
    assert!(left >= 50 && served >= 100, "{left} {served}");
    assert_eq!(fixture.probe.whole_reads() - before, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_is_made_anew_after_the_interval() {
    let interval = Duration::from_millis(100);
    let fixture = Fixture::with(|builder| builder.snapshot_every(interval)).await;
    let mut reader = fixture.reader();
    reader.load().await;
    let first = reader.position();
    fixture.create(0).await;
    sleep(interval).await;
    reader.load().await;
    assert_ne!(reader.position(), first);
    let (tenant, text) = fixture.created().pop().unwrap();
    assert!(reader.accepts(&tenant, &text));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_object_is_immutable_and_can_be_read_in_ranges() {
    let fixture = Fixture::new().await;
    for _ in 0..20 {
        fixture.create(0).await;
    }
    let mut reader = fixture.reader();
    let mut response = fixture.get("/v1/feed/snapshot").await;
    let line = response.line().await.unwrap();
    let manifest = reader.receiver.manifest(&line, now()).unwrap();
    let path = format!("/v1/feed/snapshots/{}.ndjson.zst", manifest.object());
    let get = async |headers: &[(&str, &str)]| {
        request(fixture.address, "GET", &path, "", headers, b"").await
    };
    let whole = get(&[]).await;
    assert_eq!(whole.status, 200);
    let tag = whole.header("etag").unwrap().to_owned();
    assert!(whole.header("cache-control").unwrap().contains("immutable"));
    let whole = whole.body().await;
    assert_eq!(whole.len() as u64, manifest.bytes());
    let unchanged = get(&[("If-None-Match", &tag)]).await;
    assert_eq!((unchanged.status, unchanged.body().await.len()), (304, 0));
    let first = get(&[("Range", "bytes=0-99")]).await;
    assert_eq!(first.status, 206);
    let length = whole.len();
    let range = format!("bytes 0-99/{length}");
    assert_eq!(first.header("content-range"), Some(range.as_str()));
    let rest = get(&[("Range", "bytes=100-"), ("If-Range", &tag)]).await;
    assert_eq!(rest.status, 206);
    let joined = [first.body().await, rest.body().await].concat();
    assert_eq!(joined, whole);
    let other = get(&[("Range", "bytes=100-"), ("If-Range", "\"other\"")]).await;
    assert_eq!(other.status, 200);
    let outside = get(&[("Range", &format!("bytes={length}-"))]).await;
    assert_eq!(outside.status, 416);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_snapshots_of_many_parts_displace_no_other() {
    let fixture = Fixture::new().await;
    for n in 0..3 {
        fixture.create(n).await;
    }
    let object_of = async |filter: &str| {
        let path = format!("/v1/feed/snapshot{filter}");
        let mut response = fixture.get(&path).await;
        assert_eq!(response.status, 200, "{filter}");
        let line = response.line().await.unwrap();
        let manifest = fixture.trust.clone();
        let filter = match filter {
            "" => Filter::All,
            _ => Filter::Team(tenant(2).team),
        };
        let mut receiver = Receiver::new(manifest, filter);
        receiver.manifest(&line, now()).unwrap().object()
    };
    let (all, other) = (object_of("").await, object_of("?team=umbrella").await);
    let (_, of_team) = replica_key(&fixture.keyring, tenant(4)).await;
    let before = fixture.probe.whole_reads();
    // More than are kept of a single credential's: namespaces need not exist.
    let asked = (0..80).map(|n| {
        let path = format!("/v1/feed/snapshot?namespace=acme/x{n}");
        let (address, key) = (fixture.address, of_team.clone());
        tokio::spawn(async move { get(address, &path, &key).await.status })
    });
    for asked in asked.collect::<Vec<_>>() {
        assert_eq!(asked.await.unwrap(), 200);
    }
    for object in [all, other] {
        let path = format!("/v1/feed/snapshots/{object}.ndjson.zst");
        assert_eq!(fixture.get(&path).await.status, 200);
    }
    assert_eq!(object_of("").await, all);
    assert_eq!(fixture.probe.whole_reads(), before);
}
