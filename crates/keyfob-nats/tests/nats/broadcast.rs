//! A broadcast without a broker: lines that are lost, repeated, reordered, altered and replayed.

use std::time::Duration;

use bytes::Bytes;
use keyfob::DenyReason;
use keyfob_feed::Filter;
use keyfob_replica::{LineReceiver, LineSender};
use tokio::time::sleep;

use crate::world::{Authority, Ended, Plan, Reader, World, until};

/// Hands the lines of an authority on, each as `change` makes it.
fn wire(
    authority: &Authority,
    lines: &LineSender,
    mut change: impl FnMut(Bytes) -> Vec<Bytes> + Send + 'static,
) -> Ended {
    let mut reader = authority.feed.hub().lines(Filter::All).unwrap();
    let lines = lines.clone();
    Ended(tokio::spawn(async move {
        loop {
            let line = reader.next().await.to_line();
            for line in change(line) {
                lines.send(line);
            }
        }
    }))
}

async fn relay(world: &World, authority: &Authority) -> (Reader, LineSender) {
    let (sender, lines) = LineReceiver::new();
    let plan = Plan {
        lines: Some(lines),
        ..Plan::nothing()
    };
    (
        Reader::start(world, &[authority.address], plan).await,
        sender,
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broadcast_that_delivers_everything_makes_the_stream_unnecessary() {
    let world = World::new().await;
    let key = world.create().await;
    let authority = world.authority(None).await;
    let (relay, sender) = relay(&world, &authority).await;
    assert!(relay.source.status().is_connected);
    let wire = wire(&authority, &sender, |line| vec![line]);
    relay.until_broadcast().await;
    assert!(!relay.source.status().is_connected);
    // Nothing comes over HTTP any more.
    authority.refuse_http(true);
    world.revoke(&key).await;
    relay.until_refused(&key, DenyReason::Revoked).await;
    sleep(Duration::from_secs(3)).await;
    assert!(relay.is_broadcast(), "bookmarks keep it in step");
    assert_eq!(relay.source.status().refused.total(), 0);
    authority.refuse_http(false);
    // A broadcast that ends is followed by the stream.
    drop(wire);
    let silent = until("the upstream is read", || {
        relay.source.status().is_connected
    })
    .await;
    assert!(silent < Duration::from_secs(5), "{silent:?}");
    assert!(!relay.is_broadcast());
    let other = world.create().await;
    relay.until_accepted(&other).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_line_that_is_lost_is_read_from_the_upstream() {
    let world = World::new().await;
    let first = world.create().await;
    let authority = world.authority(None).await;
    let (relay, sender) = relay(&world, &authority).await;
    let _wire = wire(&authority, &sender, move |line| {
        // Every frame with a revocation is lost.
        let is_lost = String::from_utf8_lossy(&line).contains("\"revoked\"");
        if is_lost { Vec::new() } else { vec![line] }
    });
    relay.until_broadcast().await;
    world.revoke(&first).await;
    // The next line shows the gap: at the latest the next bookmark.
    let took = relay.until_refused(&first, DenyReason::Revoked).await;
    assert!(took < Duration::from_secs(3), "{took:?}");
    assert_eq!(
        relay.source.status().refused.total(),
        0,
        "a gap is no attack"
    );
    // It is in step again.
    relay.until_broadcast().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn repeated_and_reordered_lines_change_nothing() {
    let world = World::new().await;
    let authority = world.authority(None).await;
    let (relay, sender) = relay(&world, &authority).await;
    let mut held: Vec<Bytes> = Vec::new();
    let _wire = wire(&authority, &sender, move |line| {
        held.push(line);
        if held.len() < 2 {
            return Vec::new();
        }
        let mut lines = std::mem::take(&mut held);
        lines.reverse();
        lines.extend(lines.clone());
        lines
    });
    for _ in 0..3 {
        let (key, other) = (world.create().await, world.create().await);
        relay.until_accepted(&other).await;
        world.revoke(&key).await;
        relay.until_refused(&key, DenyReason::Revoked).await;
        assert_eq!(relay.refuses(&other), None);
    }
    assert_eq!(relay.source.status().refused.total(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lines_that_nobody_signed_are_counted_and_change_nothing() {
    let world = World::new().await;
    let revoked = world.create().await;
    let authority = world.authority(None).await;
    let (relay, sender) = relay(&world, &authority).await;
    let wire = wire(&authority, &sender, |line| {
        let text = String::from_utf8_lossy(&line).into_owned();
        let altered = [
            text.replace("\"revoked\"", "\"active\""),
            text.replace("\"as_of\":1", "\"as_of\":2"),
            text.replace("\"signer\":\"", "\"signer\":\"0"),
            text.replacen('{', "[", 1),
            "garbage".into(),
            String::new(),
        ];
        let altered = altered.into_iter().filter(|line| *line != text);
        altered.map(Bytes::from).chain([line]).collect()
    });
    relay.until_broadcast().await;
    world.revoke(&revoked).await;
    relay.until_refused(&revoked, DenyReason::Revoked).await;
    until("they are counted", || {
        let refused = relay.source.status().refused;
        refused.forged > 0 && refused.malformed > 0
    })
    .await;
    assert!(relay.is_broadcast(), "they do not disturb the others");
    drop(wire);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lines_that_are_too_long_or_too_many_are_dropped() {
    let (sender, lines) = LineReceiver::new();
    assert!(!sender.send(Bytes::from(vec![b' '; (4 << 20) + 1])));
    let long = Bytes::from(vec![b' '; 4 << 20]);
    let taken = (0..10).filter(|_| sender.send(long.clone())).count();
    assert_eq!(
        taken, 3,
        "16 MiB wait at most, with the memory of each line itself"
    );
    drop(lines);
}
