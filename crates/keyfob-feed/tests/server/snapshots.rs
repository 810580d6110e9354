//! Snapshots over HTTP.

use std::time::Duration;

use crate::{client::request, fixture::Fixture};

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
async fn a_snapshot_is_made_anew_after_the_interval() {
    let interval = Duration::from_millis(100);
    let fixture = Fixture::with(|builder| builder.snapshot_every(interval)).await;
    let mut reader = fixture.reader();
    reader.load().await;
    let first = reader.position();
    fixture.create(0).await;
    tokio::time::sleep(interval).await;
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
    let manifest = reader
        .receiver
        .manifest(&line, crate::fixture::now())
        .unwrap();
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
