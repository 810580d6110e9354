//! Ten thousand readers, without sockets: requests and bodies of the router itself.

use std::time::{Duration, Instant};

use axum::{
    Router,
    body::{Body, BodyDataStream},
    http::{HeaderMap, Request, StatusCode},
};
use futures_util::StreamExt as _;
use keyfob::Timestamp;
use keyfob_feed::{Filter, server::ReplicaRight};
use tokio::time::timeout;
use tower::ServiceExt as _;

use crate::fixture::{Fixture, now};

const READERS: usize = 10_000;

fn router(fixture: &Fixture) -> Router {
    let anybody = |_: &HeaderMap, _: Timestamp| -> Result<ReplicaRight, StatusCode> {
        Ok(ReplicaRight::new(Filter::All, |_| true))
    };
    fixture.authority.hub().router(anybody)
}

async fn get(router: &Router, path: &str) -> BodyDataStream {
    let request = Request::get(path).body(Body::empty()).unwrap();
    let response = router.clone().oneshot(request).await.unwrap();
    assert_eq!(response.status(), StatusCode::OK, "{path}");
    response.into_body().into_data_stream()
}

/// The next lines of a stream, without the last line feed.
async fn lines(stream: &mut BodyDataStream) -> Vec<u8> {
    let next = timeout(Duration::from_mins(1), stream.next()).await;
    let bytes = next.unwrap().expect("the stream goes on").unwrap();
    bytes.strip_suffix(b"\n").unwrap().to_vec()
}

/// All of them lost their connection, and are too far behind for frames. Meanwhile the store changes.
#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_readers_that_come_back_cost_one_snapshot() {
    let fixture = Fixture::new().await;
    for n in 0..30 {
        fixture.create(n % 3).await;
    }
    let router = router(&fixture);
    let before = fixture.probe.whole_reads();
    for n in 0..READERS {
        if n % 1_000 == 0 {
            fixture.create(0).await;
        }
        let mut reader = fixture.reader();
        let manifest = lines(&mut get(&router, "/v1/feed/snapshot").await).await;
        let manifest = reader.receiver.manifest(&manifest, now()).unwrap();
        reader.receiver.loaded(&manifest, now());
        // What changed since the snapshot comes as frames.
        let path = format!("/v1/feed?after={}", reader.position());
        let first = lines(&mut get(&router, &path).await).await;
        for line in first.split(|byte| *byte == b'\n') {
            reader.receiver.receive(line, now()).unwrap();
        }
    }
    assert_eq!(fixture.probe.whole_reads() - before, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_reaches_ten_thousand_streams() {
    let fixture = Fixture::new().await;
    let router = router(&fixture);
    let position = fixture.authority.hub().position().unwrap();
    let path = format!("/v1/feed?after={position}");
    let mut streams = Vec::with_capacity(READERS);
    for _ in 0..READERS {
        let mut stream = get(&router, &path).await;
        lines(&mut stream).await;
        streams.push(stream);
    }
    let mut took = Vec::new();
    for _ in 0..10 {
        let (id, _) = fixture.create(0).await;
        let (start, id) = (Instant::now(), id.to_string());
        let (left, right) = streams.split_at_mut(READERS / 2);
        tokio::join!(until(left, &id), until(right, &id));
        took.push(start.elapsed());
    }
    took.sort();
    println!("a change reaches {READERS} streams after {took:?}");
    assert!(took[5] < Duration::from_secs(1), "{took:?}");
}

/// Reads each of the streams until it has a change of the key with this id.
async fn until(streams: &mut [BodyDataStream], id: &str) {
    for stream in streams {
        while !String::from_utf8(lines(stream).await).unwrap().contains(id) {}
    }
}
