//! What many readers cost.

use std::time::{Duration, Instant};

use tokio::time::{sleep, timeout};

use crate::fixture::Fixture;

#[tokio::test(flavor = "multi_thread")]
async fn the_number_of_readers_changes_neither_queries_nor_signatures() {
    let fixture = Fixture::new().await;
    let mut reader = fixture.reader();
    reader.load().await;
    let mut counts = Vec::new();
    for readers in [1, 60] {
        let mut streams = Vec::new();
        for _ in 0..readers {
            let mut stream = reader.connect().await;
            stream.line().await.unwrap();
            streams.push(stream);
        }
        let before = fixture.probe.queries();
        let started = Instant::now();
        for n in 0..10 {
            fixture.create(n % 3).await;
            sleep(Duration::from_millis(200)).await;
        }
        let queries = fixture.probe.queries() - before;
        // Of the reads that the keyring makes, there are two for each change.
        counts.push(queries);
        println!(
            "{readers} readers: {queries} queries in {:?}",
            started.elapsed()
        );
        for stream in &mut streams {
            for _ in 0..8 {
                assert!(stream.line().await.is_some());
            }
        }
    }
    assert!(counts[1] <= counts[0] + 6, "{counts:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idle_authority_reads_the_store_at_most_twice_a_second() {
    let fixture = Fixture::new().await;
    let mut reader = fixture.reader();
    reader.load().await;
    let stream = reader.connect().await;
    sleep(Duration::from_millis(300)).await;
    let other = reader.connect().await;
    let before = fixture.probe.queries();
    sleep(Duration::from_secs(4)).await;
    let queries = fixture.probe.queries() - before;
    println!("{queries} queries in 4 s");
    assert!((3..=8).contains(&queries), "{queries}");
    drop((stream, other));
}

#[tokio::test(flavor = "multi_thread")]
async fn readers_with_one_position_of_another_process_cost_one_look_at_the_store() {
    let fixture = Fixture::new().await;
    let mut reader = fixture.reader();
    reader.load().await;
    for _ in 0..5 {
        fixture.create(0).await;
    }
    // A second process that has read several changes at once, so this position is within a page.
    let keys = keyfob_feed::FeedKeys::parse(&fixture.keys_text).unwrap();
    let second =
        keyfob_feed::server::Authority::over(fixture.probe.clone(), keys, crate::fixture::format());
    let second = second.start().await.unwrap();
    let operators = keyfob::name::TeamId::new("operators").unwrap();
    let verifier = fixture.keyring.unbounded_verifier();
    let rights = keyfob_feed::server::KeyRights::new(verifier, operators);
    let (address, _server) = crate::fixture::listen(second.hub().router(rights)).await;
    reader.address = address;
    let before = fixture.probe.queries();
    let mut streams = Vec::new();
    for _ in 0..50 {
        streams.push(reader.connect().await);
    }
    let queries = fixture.probe.queries() - before;
    assert!(queries <= 4, "{queries}");
    for stream in &mut streams {
        let line = timeout(Duration::from_secs(2), stream.line()).await;
        assert!(line.unwrap().is_some());
    }
    let mut stream = reader.connect().await;
    let head = fixture.keyring.index().as_of();
    reader.until(&mut stream, head).await;
}
