//! The stream, its failures, and what comes after them.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::SeqCst},
    },
    time::Duration,
};

use keyfob::{DenyReason, key::SystemRandom};
use keyfob_feed::Refusals;
use keyfob_replica::{FeedError, HttpSource, Upstream};
use tokio::time::{Instant, sleep, timeout};

use crate::{
    Gateway, STALE_AFTER,
    authority::{Authority, Fault, KEY, now_ms},
    builder,
    server::Fixture,
};

#[tokio::test]
async fn a_change_is_in_force_in_a_replica_over_http_within_a_second() {
    let authority = Authority::new().await;
    let server = authority.serve().await;
    let key = authority.create("alice").await;
    let gateway = Gateway::start(builder(&authority, &[&server])).await;
    let verifier = gateway.replica.verifier();
    assert_eq!(key.refused(&verifier), None);
    let later = authority.create("bob").await;
    let took = later.until(&verifier, None).await;
    assert!(took < Duration::from_secs(1), "{took:?}");
    authority.revoke(&key).await;
    let took = key.until(&verifier, Some(DenyReason::Revoked)).await;
    assert!(took < Duration::from_secs(1), "{took:?}");
    // Longer than the bound: bookmarks confirm it.
    sleep(STALE_AFTER + Duration::from_secs(1)).await;
    assert_eq!(later.refused(&verifier), None);
    let status = gateway.source.status();
    assert_eq!(status.snapshots, 1);
    assert_eq!(status.refused.total(), 0);
    assert!(status.is_connected);
    assert_eq!(
        status.position.unwrap().revision,
        gateway.replica.status().revision
    );
    assert_eq!(authority.streams(), 1, "one connection");
}

#[tokio::test]
async fn a_replica_goes_on_with_the_next_upstream() {
    let authority = Authority::new().await;
    let key = authority.create("alice").await;
    let servers = [authority.serve().await, authority.serve().await];
    let down = authority.serve().await;
    down.stop();
    let all = builder(&authority, &[&down, &servers[0], &servers[1]]);
    let gateway = Gateway::start(all).await;
    let verifier = gateway.replica.verifier();
    let upstream = |server: &crate::Server| -> Option<Upstream> { server.address.parse().ok() };
    assert_eq!(key.refused(&verifier), None);
    key.until(&verifier, None).await;
    until(|| gateway.source.status().upstream == upstream(&servers[0])).await;

    servers[0].stop();
    until(|| gateway.source.status().upstream == upstream(&servers[1])).await;
    authority.revoke(&key).await;
    let took = key.until(&verifier, Some(DenyReason::Revoked)).await;
    assert!(took < Duration::from_secs(1), "{took:?}");
    assert_eq!(gateway.source.status().snapshots, 1, "it resumed");
}

#[tokio::test]
async fn a_line_that_was_altered_on_its_way_is_counted_and_changes_nothing() {
    let authority = Authority::new().await;
    let key = authority.create("alice").await;
    let server = authority.serve().await;
    let gateway = Gateway::start(builder(&authority, &[&server])).await;
    let verifier = gateway.replica.verifier();
    server.fail(Fault::Forges);
    authority.revoke(&key).await;
    let took = key.until(&verifier, Some(DenyReason::Stale)).await;
    assert!(took < STALE_AFTER + Duration::from_secs(1), "{took:?}");
    let refused = gateway.source.status().refused;
    assert!(refused.forged > 1, "{refused:?}");
    let error = gateway.replica.status().last_error.unwrap();
    assert!(error.contains("the signature is wrong"), "{error}");
    server.fail(Fault::None);
    key.until(&verifier, Some(DenyReason::Revoked)).await;
}

#[tokio::test]
async fn a_stream_that_repeats_itself_confirms_nothing() {
    let authority = Authority::new().await;
    let key = authority.create("alice").await;
    let server = authority.serve().await;
    let gateway = Gateway::start(builder(&authority, &[&server])).await;
    let verifier = gateway.replica.verifier();
    sleep(Duration::from_millis(300)).await;
    server.fail(Fault::Repeats);
    authority.revoke(&key).await;
    let took = key.until(&verifier, Some(DenyReason::Stale)).await;
    assert!(took < STALE_AFTER + Duration::from_secs(1), "{took:?}");
}

/// A relay that somebody else runs. Each of these is noticed, and none keeps a revoked key beyond the bound.
#[tokio::test]
async fn a_relay_that_drops_reorders_or_replays_lines_keeps_no_revoked_key_beyond_the_bound() {
    let is_noticed = |fault: Fault, refused: &Refusals| match fault {
        Fault::Replays => refused.replayed > 0 && refused.older > 0,
        _ => refused.gap > 0,
    };
    for fault in [Fault::Drops, Fault::Reorders, Fault::Replays] {
        let authority = Authority::new().await;
        let keys = [
            authority.create("alice").await,
            authority.create("bob").await,
        ];
        let relay = authority.serve().await;
        let gateway = Gateway::start(builder(&authority, &[&relay])).await;
        let verifier = gateway.replica.verifier();
        until(|| gateway.source.status().is_connected).await;
        for n in 0..5 {
            let key = authority.create(&format!("before-{n}")).await;
            key.until(&verifier, None).await;
        }
        relay.fail(fault);
        authority.revoke(&keys[0]).await;
        let revoked = Instant::now();
        let mut n = 0;
        while revoked.elapsed() < 2 * STALE_AFTER {
            let is_past = revoked.elapsed() > STALE_AFTER + SKEW;
            let refused = keys[0].refused(&verifier);
            assert!(
                !is_past || refused.is_some(),
                "{fault:?}: accepted after {:?}",
                revoked.elapsed()
            );
            // Changes, so that what is missing can be noticed.
            if n < 40 {
                authority.create(&format!("during-{n}")).await;
                n += 1;
            }
            sleep(Duration::from_millis(50)).await;
        }
        let refused = gateway.source.status().refused;
        assert!(is_noticed(fault, &refused), "{fault:?}: {refused:?}");
        relay.fail(Fault::None);
        keys[1].until(&verifier, None).await;
        keys[0].until(&verifier, Some(DenyReason::Revoked)).await;
    }
}

/// How far the clocks of the authority and a gateway may differ.
const SKEW: Duration = Duration::from_millis(keyfob_feed::SKEW_MS);

#[tokio::test]
async fn a_silent_upstream_is_left_for_the_next_one() {
    let authority = Authority::new().await;
    let key = authority.create("alice").await;
    let servers = [authority.serve().await, authority.serve().await];
    let gateway = Gateway::start(builder(&authority, &[&servers[0], &servers[1]])).await;
    let verifier = gateway.replica.verifier();
    until(|| gateway.source.status().is_connected).await;
    servers[0].fail(Fault::Silent);
    authority.revoke(&key).await;
    let start = Instant::now();
    key.until(&verifier, Some(DenyReason::Revoked)).await;
    let took = start.elapsed();
    assert!(took < Duration::from_secs(2), "{took:?}");
}

#[tokio::test]
async fn an_upstream_that_never_answers_is_left_for_the_next_one_also_at_the_start() {
    let authority = Authority::new().await;
    let key = authority.create("alice").await;
    let server = authority.serve().await;
    // Connections wait in its queue.
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let hanging = format!("http://{}", listener.local_addr().unwrap());
    let upstreams = HttpSource::builder(authority.trust())
        .upstream(hanging.parse().unwrap())
        .upstream(server.address.parse().unwrap())
        .key(KEY);
    let start = Instant::now();
    let gateway = Gateway::start(upstreams).await;
    let took = start.elapsed();
    assert!(took < Duration::from_secs(6), "{took:?}");
    assert_eq!(key.refused(&gateway.replica.verifier()), None);
}

#[tokio::test]
async fn an_upstream_that_is_cut_off_from_the_store_is_left_for_one_that_is_not() {
    let authority = Authority::new().await;
    let key = authority.create("alice").await;
    let server = authority.serve().await;
    // Another process over the same store, with the same keys.
    let second = authority.second().await;
    let other = second.serve().await;
    let gateway = Gateway::start(builder(&authority, &[&server, &other])).await;
    let verifier = gateway.replica.verifier();
    until(|| gateway.source.status().is_connected).await;
    authority.cut_off(true);
    server.fail(Fault::Repeats);
    authority.revoke(&key).await;
    let start = Instant::now();
    key.until(&verifier, Some(DenyReason::Revoked)).await;
    let took = start.elapsed();
    assert!(took < STALE_AFTER, "{took:?}");
}

#[tokio::test]
async fn another_history_is_loaded_without_a_restart_of_the_process() {
    let authority = Authority::new().await;
    let server = authority.serve().await;
    let old = authority.create("alice").await;
    let gateway = Gateway::start(builder(&authority, &[&server])).await;
    let verifier = gateway.replica.verifier();
    assert_eq!(old.refused(&verifier), None);
    let mut olds = vec![old];
    // With as many revisions as before, more, and fewer.
    for (snapshots, keys) in [(2, 1), (3, 3), (4, 1)] {
        authority.replace_store().await;
        let mut news = Vec::new();
        for _ in 0..keys {
            news.push(authority.create("bob").await);
        }
        server.close_streams();
        news[0].until(&verifier, None).await;
        for old in olds {
            assert_eq!(old.refused(&verifier), Some(DenyReason::UnknownKey));
        }
        assert_eq!(gateway.source.status().snapshots, snapshots);
        authority.revoke(&news[0]).await;
        news[0].until(&verifier, Some(DenyReason::Revoked)).await;
        olds = news;
    }
}

#[tokio::test]
async fn signers_are_rotated_without_touching_the_replica() {
    let authority = Authority::new().await;
    let key = authority.create("alice").await;
    let server = authority.serve().await;
    let gateway = Gateway::start(builder(&authority, &[&server])).await;
    let verifier = gateway.replica.verifier();
    let snapshots = authority.snapshots();
    let steps: [fn(&mut keyfob_feed::FeedKeys); 2] = [
        |keys| {
            let _ = keys.announce(&SystemRandom).unwrap();
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
        later.until(&verifier, None).await;
        sleep(Duration::from_millis(300)).await;
    }
    authority.revoke(&key).await;
    key.until(&verifier, Some(DenyReason::Revoked)).await;
    assert_eq!(authority.snapshots(), snapshots);
}

#[tokio::test]
async fn an_old_signers_document_is_not_taken() {
    let authority = Authority::new().await;
    let pinned = authority.trust();
    let announce = |keys: &mut keyfob_feed::FeedKeys| {
        let _ = keys.announce(&SystemRandom).unwrap();
    };
    authority.with_keys(announce).await;
    let server = authority.serve().await;
    let key = authority.create("alice").await;
    server.fail(Fault::OldSigners);
    let online = HttpSource::builder(pinned)
        .upstream(server.address.parse().unwrap())
        .key(KEY);
    let gateway = Gateway::start(online).await;
    let verifier = gateway.replica.verifier();
    assert_eq!(key.refused(&verifier), None);
    let switch = |keys: &mut keyfob_feed::FeedKeys| {
        let _ = keys.switch();
    };
    authority.with_keys(switch).await;
    server.close_streams();
    key.until(&verifier, Some(DenyReason::Stale)).await;
    assert!(gateway.source.status().refused.unknown_signer > 0);
    server.fail(Fault::None);
    key.until(&verifier, None).await;
}

#[tokio::test]
async fn a_replica_does_not_start_with_a_wrong_key_signer_prefix_or_snapshot() {
    let authority = Authority::new().await;
    let server = authority.serve().await;
    let error = async |builder: keyfob_replica::HttpSourceBuilder| {
        let error = Gateway::try_start(builder).await.map(drop).unwrap_err();
        let mut text = error.to_string();
        let mut source = std::error::Error::source(&error);
        while let Some(error) = source {
            text += &[": ", &error.to_string()].concat();
            source = error.source();
        }
        text
    };
    let good = || builder(&authority, &[&server]);
    let text = error(good().key("test-key-of-nobody")).await;
    assert!(
        text.ends_with("the upstream answered 401 Unauthorized"),
        "{text}"
    );
    assert!(
        text.contains(&server.address) && !text.contains("nobody"),
        "{text}"
    );
    let stranger = Authority::new().await;
    let text = error(builder(&stranger, &[&server])).await;
    assert!(text.ends_with("the signer is not trusted"), "{text}");
    let text = error(good().snapshot_bytes_max(1)).await;
    assert!(text.contains("longer than is allowed"), "{text}");
    server.fail(Fault::AltersSnapshot);
    let text = error(good()).await;
    assert!(text.ends_with("truncated or altered"), "{text}");
    server.fail(Fault::Unavailable);
    let text = error(good()).await;
    assert!(text.contains("503"), "{text}");
    server.stop();
    let text = error(good()).await;
    assert!(
        text.contains("503") || text.contains("cannot be reached"),
        "{text}"
    );
}

pub(crate) async fn until(holds: impl Fn() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < Duration::from_secs(20), "it never holds");
        sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn the_format_is_asked_of_every_upstream_before_a_refusal_counts() {
    let authority = Authority::new().await;
    let servers = [authority.serve().await, authority.serve().await];
    servers[0].fail(Fault::Forbids);
    let source = || builder(&authority, &[&servers[0], &servers[1]]);
    let format = source().build().unwrap();
    assert_eq!(format.key_format().await.unwrap().prefix(), "acme");
    servers[1].fail(Fault::Forbids);
    let refused = source().build().unwrap();
    let refused = timeout(Duration::from_secs(10), refused.key_format()).await;
    let refused = refused.unwrap().unwrap_err();
    assert!(refused.to_string().contains("403"), "{refused}");
}

#[tokio::test]
async fn a_key_that_reads_a_part_only_is_refused_with_the_reason() {
    let fixture = Fixture::new().await;
    let (_, key) = fixture.replica_key("team").await;
    // It asks for everything.
    let source = fixture.builder(&key).build().unwrap();
    let refused = timeout(Duration::from_secs(10), source.key_format()).await;
    let refused = refused.unwrap().unwrap_err();
    let other = keyfob_feed::Refused::OtherFilter;
    assert!(matches!(refused, FeedError::Refused(refused) if refused == other));
}

#[tokio::test]
async fn a_wall_clock_that_ran_ahead_and_back_does_not_turn_away_from_an_upstream() {
    let authority = Authority::new().await;
    let servers = [authority.serve().await, authority.serve().await];
    let ahead = Arc::new(AtomicU64::new(0));
    let (of_wall, started) = (Arc::clone(&ahead), Instant::now());
    // Nothing but the lag turns away from an upstream here.
    let builder = builder(&authority, &[&servers[0], &servers[1]])
        .silence(Duration::from_mins(1))
        .lag_max(Duration::from_secs(2))
        .clocks(
            move || now_ms() + of_wall.load(SeqCst),
            move || Duration::from_secs(100) + started.elapsed(),
        );
    let gateway = Gateway::start(builder).await;
    until(|| gateway.source.status().is_connected).await;
    ahead.store(60_000, SeqCst);
    sleep(Duration::from_millis(500)).await;
    ahead.store(0, SeqCst);
    sleep(Duration::from_millis(500)).await;
    until(|| gateway.source.status().is_connected).await;
    let streams = authority.streams();
    sleep(Duration::from_secs(4)).await;
    assert_eq!(authority.streams(), streams);
}
