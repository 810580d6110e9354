//! Streams on connections that were upgraded.

use std::time::Duration;

use keyfob::Context;
use keyfob_feed::UPGRADE_PROTOCOL;
use tokio::time::timeout;

use crate::{
    client::{Response, request},
    fixture::{Fixture, Reader, tenant},
};

#[tokio::test(flavor = "multi_thread")]
async fn an_upgraded_reader_sees_the_lines_that_others_see() {
    let fixture = Fixture::new().await;
    let mut plain = fixture.reader();
    plain.load().await;
    let mut upgraded = fixture.reader();
    upgraded.load().await;
    let mut stream = plain.connect().await;
    let mut raw = upgraded.upgrade().await;
    assert_eq!((stream.status, raw.status), (200, 101));
    assert_eq!(raw.header("upgrade"), Some(UPGRADE_PROTOCOL));
    // Both are confirmed at once, each with a line of its own.
    plain.step(&mut stream).await.unwrap();
    upgraded.step(&mut raw).await.unwrap();
    for _ in 0..30 {
        fixture.create(0).await;
    }
    let plain = lines(&fixture, &mut plain, &mut stream).await;
    let upgraded = lines(&fixture, &mut upgraded, &mut raw).await;
    // A bookmark may come before the other one has connected.
    let first = plain.iter().position(|line| *line == upgraded[0]);
    let plain = &plain[first.expect("it is the same line")..];
    assert_eq!(plain, upgraded);
}

/// The lines until the reader has everything.
async fn lines(fixture: &Fixture, reader: &mut Reader, stream: &mut Response) -> Vec<Vec<u8>> {
    let head = fixture.keyring.index().as_of();
    let mut lines = Vec::new();
    while reader.position().revision < head {
        let line = stream.line().await.unwrap();
        reader.apply(&line).unwrap();
        lines.push(line);
    }
    lines
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upgraded_stream_ends_when_its_key_is_revoked() {
    let fixture = Fixture::new().await;
    let mut reader = fixture.reader();
    reader.load().await;
    let mut stream = reader.upgrade().await;
    reader.step(&mut stream).await.unwrap();
    let context = Context::system(keyfob::now());
    let (tenant, id) = (tenant(3), fixture.key_id);
    let revoked = fixture.keyring.revoke(&context, &tenant, id, None);
    revoked.await.unwrap();
    let ended = async { while reader.step(&mut stream).await.is_some() {} };
    timeout(Duration::from_secs(3), ended).await.unwrap();
    assert_eq!(reader.upgrade().await.status, 401);
}

#[tokio::test(flavor = "multi_thread")]
async fn another_offer_is_ignored() {
    let fixture = Fixture::new().await;
    let mut reader = fixture.reader();
    reader.load().await;
    let path = format!("/v1/feed?after={}", reader.position());
    for (connection, protocols, status) in [
        ("upgrade", "websocket", 200),
        ("upgrade", "keyfob-feed/2", 200),
        ("keep-alive", UPGRADE_PROTOCOL, 200),
        ("keep-alive, Upgrade", "websocket, KEYFOB-FEED/1", 101),
    ] {
        let offer = [("Connection", connection), ("Upgrade", protocols)];
        let mut stream = request(fixture.address, "GET", &path, &fixture.key, &offer, b"").await;
        assert_eq!(stream.status, status, "{connection}, {protocols}");
        reader.step(&mut stream).await.unwrap();
    }
    // What is not the stream is answered as always.
    let offer = [("Connection", "upgrade"), ("Upgrade", UPGRADE_PROTOCOL)];
    let path = "/v1/feed/snapshot";
    let answer = request(fixture.address, "GET", path, &fixture.key, &offer, b"").await;
    assert_eq!(answer.status, 200);
}
