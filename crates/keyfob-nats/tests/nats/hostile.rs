//! A broker that is not to be trusted: somebody else publishes on the subject.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use futures_util::StreamExt as _;
use keyfob::DenyReason;
use keyfob_feed::Filter;
use keyfob_testkit::nats::{self, Server};
use tokio::{
    sync::Mutex,
    time::{Instant, sleep},
};

use crate::world::{Ended, Reader, World, connect, stranger};

const SUBJECT: &str = "keyfob.feed.all";

#[test]
fn garbage_old_and_altered_frames_on_the_subject_are_never_accepted() {
    nats::run(async {
        let server = Server::start("nats-1", "");
        let world = World::new().await;
        let broker = connect(&[server.url()]).await;
        let authority = world.authority(Some(&broker)).await;
        // It hears everything, and publishes what it likes.
        let heard: Arc<Mutex<Vec<Bytes>>> = Arc::default();
        let client = stranger(&server.url()).await;
        let _listener = {
            let (heard, mut messages) =
                (Arc::clone(&heard), client.subscribe(SUBJECT).await.unwrap());
            Ended(tokio::spawn(async move {
                while let Some(message) = messages.next().await {
                    let mut heard = heard.lock().await;
                    if heard.len() < 2_000 {
                        heard.push(message.payload);
                    }
                }
            }))
        };
        let relay = Reader::relay(&world, &[authority.address], &broker).await;
        let gateway = Reader::gateway(&world, &relay).await;
        relay.until_broadcast().await;
        let other_world = World::new().await;
        let foreign = other_world.authority(None).await;
        let mut foreign_lines = foreign.feed.hub().lines(Filter::All).unwrap();
        let foreign_line = foreign_lines.next().await.to_line();
        let attack = {
            let (heard, client) = (Arc::clone(&heard), client.clone());
            Ended(tokio::spawn(async move {
                for turn in 0_usize.. {
                    let old = heard.lock().await;
                    let old = old
                        .get(turn % old.len().max(1))
                        .cloned()
                        .unwrap_or_default();
                    let text = String::from_utf8_lossy(&old).into_owned();
                    let line = match turn % 6 {
                        0 | 1 => old,
                        2 => text.replace("\"revoked\"", "\"active\"").into(),
                        3 => text.replacen("\"from\":\"", "\"from\":\"9", 1).into(),
                        4 => foreign_line.clone(),
                        _ => Bytes::from_static(b"{\"signer\":\"garbage\"}"),
                    };
                    client.publish(SUBJECT, line).await.unwrap();
                    sleep(Duration::from_millis(2)).await;
                }
            }))
        };
        let kept = world.create().await;
        let (start, mut revoked, mut slowest) = (Instant::now(), Vec::new(), Duration::ZERO);
        while start.elapsed() < Duration::from_secs(6) {
            let key = world.create().await;
            gateway.until_accepted(&key).await;
            world.revoke(&key).await;
            let answered = Instant::now();
            gateway.until_refused(&key, DenyReason::Revoked).await;
            slowest = slowest.max(answered.elapsed());
            revoked.push(key);
            for key in &revoked {
                assert_eq!(gateway.refuses(key), Some(DenyReason::Revoked));
                assert_eq!(relay.refuses(key), Some(DenyReason::Revoked));
            }
            assert_eq!(gateway.refuses(&kept), None, "calls go on");
        }
        assert!(revoked.len() > 10, "only {}", revoked.len());
        assert!(slowest < Duration::from_secs(5), "{slowest:?}");
        let refused = relay.source.status().refused;
        assert!(refused.malformed > 10, "{refused:?}");
        assert!(refused.unknown_signer > 10, "{refused:?}");
        drop(attack);
        relay.until_broadcast().await;
    });
}
