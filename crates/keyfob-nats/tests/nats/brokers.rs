//! One NATS server: latency, failures, limits, restarts.

use std::time::Duration;

use keyfob::{DenyReason, KeyStore as _};
use keyfob_feed::Filter;
use keyfob_testkit::nats::{self, Server};
use tokio::time::sleep;

use crate::world::{
    Plan, Reader, World, connect, create_stream, stranger, team, until, until_async,
};

#[test]
fn a_revocation_reaches_a_gateway_through_nats() {
    nats::run(async {
        let server = Server::start("nats-1", "");
        let world = World::new().await;
        let key = world.create().await;
        let broker = connect(&[server.url()]).await;
        let authority = world.authority(Some(&broker)).await;
        let relay = Reader::relay(&world, &[authority.address], &broker).await;
        let gateway = Reader::gateway(&world, &relay).await;
        relay.until_broadcast().await;
        assert_eq!(gateway.refuses(&key), None);
        // Usage goes back over HTTP meanwhile.
        until_async("the use is recorded", || async {
            let used = world.store.usage(&[key.credential()]).await.unwrap();
            used.iter().any(|usage| usage.accepted > 0)
        })
        .await;
        // It did not come over HTTP.
        authority.refuse_http(true);
        world.revoke(&key).await;
        let took = gateway.until_refused(&key, DenyReason::Revoked).await;
        assert!(took < Duration::from_secs(2), "{took:?}");
        assert!(relay.is_broadcast());
    });
}

#[test]
fn without_the_broker_http_carries_on_and_without_both_calls_are_refused() {
    nats::run(async {
        let mut server = Server::start("nats-1", "");
        let world = World::new().await;
        let (first, second, third) = (
            world.create().await,
            world.create().await,
            world.create().await,
        );
        let broker = connect(&[server.url()]).await;
        let authority = world.authority(Some(&broker)).await;
        let relay = Reader::relay(&world, &[authority.address], &broker).await;
        let gateway = Reader::gateway(&world, &relay).await;
        relay.until_broadcast().await;

        server.kill();
        world.revoke(&first).await;
        let took = gateway.until_refused(&first, DenyReason::Revoked).await;
        assert!(took < Duration::from_secs(4), "{took:?}");
        assert_eq!(gateway.refuses(&second), None, "calls went on");
        until("the upstream is read", || {
            relay.source.status().is_connected
        })
        .await;

        server.restart();
        relay.until_broadcast().await;
        authority.refuse_http(true);
        world.revoke(&second).await;
        gateway.until_refused(&second, DenyReason::Revoked).await;

        server.kill();
        let took = gateway.until_refused(&third, DenyReason::Stale).await;
        // The bound is 5 seconds, and the last confirmation may be of 2 seconds before.
        let (least, most) = (Duration::from_secs(3), Duration::from_secs(8));
        assert!(took > least && took < most, "{took:?}");
        authority.refuse_http(false);
        gateway.until_accepted(&third).await;
        assert_eq!(gateway.refuses(&first), Some(DenyReason::Revoked));
    });
}

#[test]
fn a_line_that_is_longer_than_the_server_allows_is_read_over_http() {
    nats::run(async {
        let server = Server::start("nats-1", "max_payload: 1024");
        let world = World::new().await;
        let broker = connect(&[server.url()]).await;
        let authority = world.authority(Some(&broker)).await;
        let relay = Reader::relay(&world, &[authority.address], &broker).await;
        relay.until_broadcast().await;
        // Several entries in one frame: their line has more than 1024 bytes.
        let keys = [
            world.create().await,
            world.create().await,
            world.create().await,
            world.create().await,
        ];
        for key in &keys {
            let took = relay.until_accepted(key).await;
            assert!(took < Duration::from_secs(4), "{took:?}");
        }
        relay.until_broadcast().await;
        assert_eq!(relay.source.status().refused.total(), 0);
    });
}

#[test]
fn a_relay_that_starts_learns_the_head_from_the_stream_without_http() {
    nats::run(async {
        let server = Server::start("nats-1", "");
        create_stream(&server.url(), LAST).await;
        let world = World::new().await;
        let key = world.create().await;
        let broker = connect(&[server.url()]).await;
        let authority = world.authority(Some(&broker)).await;
        let plan = || Plan {
            folder: Some(world.folder.path().join("relay")),
            ..Plan::over(&broker)
        };
        let relay = Reader::start(&world, &[authority.address], plan()).await;
        relay.until_broadcast().await;
        assert_eq!(relay.refuses(&key), None);
        relay.stop().await;

        authority.refuse_http(true);
        let relay = Reader::start(&world, &[authority.address], plan()).await;
        relay.until_broadcast().await;
        assert_eq!(relay.refuses(&key), None);
        world.revoke(&key).await;
        relay.until_refused(&key, DenyReason::Revoked).await;

        // The stream has one message for each subject.
        let client = stranger(&server.url()).await;
        let asked = client.request("$JS.API.STREAM.INFO.keyfob_feed", "".into());
        let info = String::from_utf8(asked.await.unwrap().payload.to_vec()).unwrap();
        assert!(info.contains("\"messages\":2,"), "{info}");
    });
}

#[test]
fn several_authorities_publish_the_same_feed_and_one_may_be_killed() {
    nats::run(async {
        let server = Server::start("nats-1", "");
        let world = World::new().await;
        let broker = connect(&[server.url()]).await;
        let one = world.authority(Some(&broker)).await;
        let other_broker = connect(&[server.url()]).await;
        let other = world.authority(Some(&other_broker)).await;
        let addresses = [one.address, other.address];
        let relay = Reader::relay(&world, &addresses, &broker).await;
        relay.until_broadcast().await;
        for _ in 0..50 {
            let key = world.create().await;
            relay.until_accepted(&key).await;
            world.revoke(&key).await;
            relay.until_refused(&key, DenyReason::Revoked).await;
        }
        assert_eq!(relay.source.status().refused.total(), 0);
        drop(one);
        let key = world.create().await;
        relay.until_accepted(&key).await;
        relay.until_broadcast().await;
        other.refuse_http(true);
        world.revoke(&key).await;
        relay.until_refused(&key, DenyReason::Revoked).await;
        assert_eq!(relay.source.status().refused.total(), 0);
    });
}

#[test]
fn a_part_of_the_feed_has_a_subject_of_its_own() {
    nats::run(async {
        let server = Server::start("nats-1", "");
        let world = World::new().await;
        let key = world.create().await;
        let broker = connect(&[server.url()]).await;
        let authority = world.authority(Some(&broker)).await;
        let filter = team("team");
        let (lines, subscription) = broker.subscribe(&filter);
        let plan = Plan {
            filter,
            lines: Some(lines),
            subscription: Some(subscription),
            folder: None,
        };
        let relay = Reader::start(&world, &[authority.address], plan).await;
        relay.until_broadcast().await;
        authority.refuse_http(true);
        // It does not move for the others.
        world.create_in("umbrella", "billing").await;
        world.revoke(&key).await;
        relay.until_refused(&key, DenyReason::Revoked).await;
        assert!(relay.is_broadcast());
        assert_eq!(relay.source.status().refused.total(), 0);
    });
}

#[test]
fn a_consumer_that_is_too_slow_is_disconnected_and_resumes() {
    nats::run(async {
        let server = Server::start("nats-1", "max_pending: 200000\nmax_payload: 100000");
        let world = World::new().await;
        let key = world.create().await;
        let broker = connect(&[server.url()]).await;
        let authority = world.authority(Some(&broker)).await;
        let slow = super::world::Tap::to(server.port()).await;
        let relay_broker = connect(&[slow.url()]).await;
        let relay = Reader::relay(&world, &[authority.address], &relay_broker).await;
        relay.until_broadcast().await;

        slow.hold(true);
        // More than the server and the sockets between hold.
        let client = stranger(&server.url()).await;
        let garbage = bytes::Bytes::from(vec![b'x'; 90_000]);
        until_async("the server ends the connection", || async {
            let published = client.publish("keyfob.feed.all", garbage.clone()).await;
            published.unwrap();
            sleep(Duration::from_millis(10)).await;
            server.log().contains("Slow Consumer")
        })
        .await;
        world.revoke(&key).await;
        let took = relay.until_refused(&key, DenyReason::Revoked).await;
        assert!(took < Duration::from_secs(4), "HTTP carries on: {took:?}");
        slow.hold(false);
        relay.until_broadcast().await;
        let other = world.create().await;
        relay.until_accepted(&other).await;
    });
}

/// The settings of the stream that keeps the last line of each subject.
pub(crate) const LAST: &str = r#""subjects":["keyfob.feed.>"],"max_msgs_per_subject":1,"allow_direct":true,"storage":"memory""#;

#[test]
fn the_lines_of_a_filter_are_published_once_for_each_process() {
    nats::run(async {
        let server = Server::start("nats-1", "");
        let world = World::new().await;
        let broker = connect(&[server.url()]).await;
        let authority = world.authority(Some(&broker)).await;
        let before = authority.position();
        let relay = Reader::relay(&world, &[authority.address], &broker).await;
        relay.until_broadcast().await;
        let key = world.create().await;
        relay.until_accepted(&key).await;
        until("the position moved", || authority.position() != before).await;
        assert_eq!(relay.source.status().position, Some(authority.position()));
        let unknown = Filter::Team("nobody".parse().unwrap());
        assert!(broker.publish(authority.feed.hub(), [unknown]).is_ok());
    });
}
