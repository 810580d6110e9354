//! Streams: changes, bookmarks, resuming, and the ends of streams.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use axum::http::{HeaderMap, StatusCode};
use keyfob::Timestamp;
use keyfob_feed::{
    Filter, Limits,
    server::{AuthorityError, ReplicaRight},
};
use tokio::time::{sleep, timeout};

use crate::fixture::{Fixture, Probe, listen, tenant};

#[tokio::test(flavor = "multi_thread")]
async fn changes_arrive_at_once_and_bookmarks_every_second() {
    let fixture = Fixture::new().await;
    let mut reader = fixture.reader();
    reader.load().await;
    let mut stream = reader.connect().await;
    assert_eq!(stream.status, 200);
    assert_eq!(stream.header("content-type"), Some("application/x-ndjson"));
    // The first line comes at once, and confirms the reader.
    let connected = Instant::now();
    assert_eq!(reader.step(&mut stream).await, Some(0));
    assert!(connected.elapsed() < Duration::from_millis(500));

    let mut delays = Vec::new();
    for _ in 0..20 {
        let (_, text) = fixture.create(0).await;
        let changed = Instant::now();
        while !reader.accepts(&tenant(0), &text) {
            reader.step(&mut stream).await.unwrap();
        }
        delays.push(changed.elapsed());
    }
    delays.sort();
    println!(
        "from change to reader: p50 {:?}, max {:?}",
        delays[10], delays[19]
    );
    assert!(delays[19] < Duration::from_millis(500), "{delays:?}");

    let mut last = Instant::now();
    for _ in 0..4 {
        assert_eq!(reader.step(&mut stream).await, Some(0));
        assert!(last.elapsed() < Duration::from_millis(1_500), "{last:?}");
        last = Instant::now();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_burst_of_changes_is_few_frames() {
    let fixture = Fixture::new().await;
    let mut reader = fixture.reader();
    reader.load().await;
    let mut stream = reader.connect().await;
    reader.step(&mut stream).await.unwrap();
    for _ in 0..200 {
        fixture.create(0).await;
    }
    let head = fixture.keyring.index().as_of();
    let mut lines = 0;
    while reader.position().revision < head {
        reader.step(&mut stream).await.unwrap();
        lines += 1;
    }
    println!("200 changes in {lines} lines");
    assert!(lines < 150, "{lines}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_resumes_by_its_position_without_loss() {
    let fixture = Fixture::new().await;
    let mut reader = fixture.reader();
    reader.load().await;
    let mut stream = reader.connect().await;
    reader.step(&mut stream).await.unwrap();
    for _ in 0..5 {
        drop(stream);
        for n in 0..3 {
            fixture.create(n).await;
        }
        let position = reader.position();
        stream = reader.connect().await;
        let line = stream.line().await.unwrap();
        let from = format!("\"from\":\"{position}\"");
        assert!(String::from_utf8_lossy(&line).contains(&from));
        reader.apply(&line).unwrap();
        reader
            .until(&mut stream, fixture.keyring.index().as_of())
            .await;
    }
    for (tenant, text) in fixture.created() {
        assert!(reader.accepts(&tenant, &text));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_position_that_is_gone_is_answered_410_with_the_path_of_a_snapshot() {
    let mut limits = Limits::default();
    limits.log_entries = 5;
    let fixture = Fixture::with(|builder| builder.limits(limits)).await;
    let mut reader = fixture.reader();
    reader.load().await;
    let old = reader.position();
    for _ in 0..20 {
        fixture.create(0).await;
    }
    let head = fixture.keyring.index().as_of();
    while fixture.authority.hub().position().unwrap().revision < head {
        sleep(Duration::from_millis(5)).await;
    }
    let mut now = fixture.reader();
    now.load().await;
    let (at, mark) = (now.position().revision, old.mark);
    for position in [
        old.to_string(),
        format!("{at}-{mark}"),
        format!("99999-{mark}"),
    ] {
        for path in ["/v1/feed", "/v1/feed/frame"] {
            let query = format!("{path}?after={position}&namespace=acme/fn%2Da");
            let response = fixture.get(&query).await;
            assert_eq!(response.status, 410, "{position}");
            let kind = response.header("content-type").unwrap();
            assert_eq!(kind, "application/problem+json");
            let problem: serde_json::Value =
                serde_json::from_slice(&response.body().await).unwrap();
            let path = "/v1/feed/snapshot?namespace=acme/fn-a";
            assert_eq!(problem["snapshot"], path);
            assert_eq!(fixture.get(path).await.status, 200);
        }
    }
    for bad in ["", "?after=", "?after=12", "?after=x-y", "?after=1-AAAA"] {
        let response = fixture.get(&format!("/v1/feed{bad}")).await;
        assert_eq!(response.status, 400, "{bad}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_does_not_read_is_cut_off_and_resumes_without_loss() {
    cut_off_and_resume(false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upgraded_reader_that_does_not_read_is_cut_off_and_resumes_without_loss() {
    cut_off_and_resume(true).await;
}

async fn cut_off_and_resume(upgrade: bool) {
    let mut limits = Limits::default();
    limits.lines = 8;
    let fixture = Fixture::with(|builder| builder.limits(limits)).await;
    let mut reader = fixture.reader();
    reader.load().await;
    let mut stream = if upgrade {
        reader.upgrade().await
    } else {
        reader.connect().await
    };
    // More than the sockets' buffers have room for, without reading.
    let started = Instant::now();
    while started.elapsed() < Duration::from_secs(4) {
        for _ in 0..30 {
            fixture.create(0).await;
        }
        sleep(Duration::from_millis(20)).await;
    }
    fixture.create(1).await;
    let head = fixture.keyring.index().as_of();
    let mut lines = 0;
    while let Some(line) = stream.line().await {
        reader.apply(&line).unwrap();
        lines += 1;
        if reader.position().revision >= head {
            break;
        }
    }
    println!(
        "read {lines} lines, {} of {head} revisions, before the end",
        reader.position()
    );
    assert!(reader.position().revision < head, "it was not cut off");
    let mut stream = reader.connect().await;
    if stream.status == 410 {
        reader.load().await;
        stream = reader.connect().await;
    }
    reader.until(&mut stream, head).await;
    for (tenant, text) in fixture.created() {
        assert!(reader.accepts(&tenant, &text));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_takes_nothing_is_closed() {
    closed_in_time(false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upgraded_connection_that_takes_nothing_is_closed() {
    closed_in_time(true).await;
}

async fn closed_in_time(upgrade: bool) {
    let fixture = Fixture::new().await;
    let open = Arc::new(());
    let held = Arc::clone(&open);
    let anybody = move |_: &HeaderMap, _: Timestamp| -> Result<ReplicaRight, StatusCode> {
        let held = Arc::clone(&held);
        Ok(ReplicaRight::new(Filter::All, move |_| {
            Arc::strong_count(&held) > 0
        }))
    };
    let (address, _server) = listen(fixture.authority.hub().router(anybody)).await;
    let mut reader = fixture.reader();
    reader.load().await;
    reader.address = address;
    let before = Arc::strong_count(&open);
    let stream = if upgrade {
        reader.upgrade().await
    } else {
        reader.connect().await
    };
    assert_eq!(Arc::strong_count(&open), before + 1);
    let started = Instant::now();
    while Arc::strong_count(&open) > before {
        assert!(started.elapsed() < Duration::from_secs(10), "it is open");
        for _ in 0..30 {
            fixture.create(0).await;
        }
        sleep(Duration::from_millis(20)).await;
    }
    drop(stream);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stopped_store_is_answered_503_and_streams_bring_no_bookmark() {
    let fixture = Fixture::new().await;
    let mut reader = fixture.reader();
    reader.load().await;
    let mut stream = reader.connect().await;
    reader.step(&mut stream).await.unwrap();
    fixture.probe.stop();
    // What is on its way arrives.
    while timeout(Duration::from_secs(2), stream.line()).await.is_ok() {}
    sleep(Duration::from_secs(4)).await;
    assert!(!fixture.authority.hub().is_current());
    for path in ["/v1/feed", "/v1/feed/frame"] {
        let path = format!("{path}?after={}", reader.position());
        let response = fixture.get(&path).await;
        assert_eq!(response.status, 503);
        assert_eq!(response.header("retry-after"), Some("1"));
    }
    assert_eq!(fixture.get("/v1/feed/snapshot").await.status, 503);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_with_another_history_ends_the_feed() {
    let fixture = Fixture::new().await;
    let mut reader = fixture.reader();
    reader.load().await;
    let mut stream = reader.connect().await;
    reader.step(&mut stream).await.unwrap();
    let other = Fixture::new().await;
    for _ in 0..3 {
        other.create(0).await;
    }
    let replacement: &Probe = &other.probe;
    fixture.probe.replace(replacement);
    let failure = timeout(Duration::from_secs(5), fixture.authority.failed()).await;
    assert!(
        matches!(failure, Ok(AuthorityError::History(_))),
        "{failure:?}"
    );
    // Nothing of the other history arrives, and the stream ends.
    let position = reader.position();
    while reader.step(&mut stream).await.is_some() {}
    assert_eq!(reader.position(), position);
    assert_eq!(reader.connect().await.status, 503);
}
