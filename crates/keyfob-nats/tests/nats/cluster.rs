//! A cluster of three servers, and a leaf node with a mirror.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    time::Duration,
};

use keyfob::DenyReason;
use keyfob_testkit::nats::{self, Cluster, Server};
use tokio::time::{Instant, sleep};

use crate::{
    brokers::LAST,
    world::{Key, Plan, Reader, World, connect, create_stream, stranger, until_async},
};

#[test]
fn the_leader_of_a_cluster_is_killed_under_changes_and_nothing_is_wrong() {
    nats::run(async {
        let mut cluster = Cluster::start();
        create_stream(
            &cluster.servers[0].url(),
            &format!("{LAST},\"num_replicas\":3"),
        )
        .await;
        let world = World::new().await;
        let broker = connect(&cluster.urls()).await;
        let authority = world.authority(Some(&broker)).await;
        let relay_broker = connect(&cluster.urls()).await;
        let relay = Reader::relay(&world, &[authority.address], &relay_broker).await;
        let gateway = Arc::new(Reader::gateway(&world, &relay).await);
        relay.until_broadcast().await;

        let (world, ended) = (Arc::new(world), Arc::new(AtomicBool::new(false)));
        let changes = {
            let (world, gateway, ended) =
                (Arc::clone(&world), Arc::clone(&gateway), Arc::clone(&ended));
            tokio::spawn(async move { change(&world, &gateway, &ended).await })
        };
        sleep(Duration::from_millis(500)).await;
        for _ in 0..2 {
            let leader = leader(&cluster).await;
            cluster.named(&leader).kill();
            sleep(Duration::from_secs(3)).await;
            cluster.named(&leader).restart();
            relay.until_broadcast().await;
        }
        // All connections to the servers are open again, and the broadcast alone suffices.
        authority.refuse_http(true);
        sleep(Duration::from_secs(1)).await;
        ended.store(true, SeqCst);
        let (revoked, slowest) = changes.await.unwrap();
        authority.refuse_http(false);
        assert!(revoked.len() > 20, "only {}", revoked.len());
        assert!(slowest < Duration::from_secs(5), "{slowest:?}");
        assert_eq!(relay.source.status().refused.total(), 0);
        for key in &revoked {
            assert_eq!(gateway.refuses(key), Some(DenyReason::Revoked));
        }
    });
}

/// Creates and revokes keys, and returns them with the longest time from an answer to the refusal.
async fn change(world: &World, gateway: &Reader, ended: &AtomicBool) -> (Vec<Key>, Duration) {
    let (mut revoked, mut slowest) = (Vec::new(), Duration::ZERO);
    let kept = world.create().await;
    gateway.until_accepted(&kept).await;
    while !ended.load(SeqCst) {
        let key = world.create().await;
        gateway.until_accepted(&key).await;
        world.revoke(&key).await;
        let answered = Instant::now();
        gateway.until_refused(&key, DenyReason::Revoked).await;
        slowest = slowest.max(answered.elapsed());
        revoked.push(key);
        assert_eq!(gateway.refuses(&kept), None, "calls go on");
    }
    (revoked, slowest)
}

/// The name of the server that leads the stream.
async fn leader(cluster: &Cluster) -> String {
    let client = async_nats::connect(cluster.urls()).await.unwrap();
    let start = Instant::now();
    loop {
        let asked = client
            .request("$JS.API.STREAM.INFO.keyfob_feed", "".into())
            .await;
        if let Ok(answer) = asked {
            let text = String::from_utf8_lossy(&answer.payload).into_owned();
            let name = text.split_once("\"leader\":\"").map(|(_, rest)| rest);
            if let Some((name, _)) = name.and_then(|rest| rest.split_once('"')) {
                return name.to_owned();
            }
        }
        assert!(
            start.elapsed() < Duration::from_secs(30),
            "there is no leader"
        );
        sleep(Duration::from_millis(50)).await;
    }
}

#[test]
fn a_leaf_node_carries_the_lines_and_mirrors_the_last_ones() {
    nats::run(async {
        let mut cluster = Cluster::start();
        create_stream(
            &cluster.servers[0].url(),
            &format!("{LAST},\"num_replicas\":3"),
        )
        .await;
        let configuration = format!(
            "jetstream: {{ store_dir: \"$folder/data\", domain: leaf }}\n\
             leafnodes: {{ remotes: [ {{ url: \"nats-leaf://127.0.0.1:{}\" }} ] }}",
            cluster.leaf_port
        );
        let leaf = Server::start("leaf-1", &configuration);
        let world = World::new().await;
        let key = world.create().await;
        let broker = connect(&cluster.urls()).await;
        let authority = world.authority(Some(&broker)).await;
        let mirror = r#""mirror":{"name":"keyfob_feed","external":{"api":"$JS.hub.API"}},"mirror_direct":true,"allow_direct":true,"max_msgs_per_subject":1,"storage":"memory""#;
        create_stream(&leaf.url(), mirror).await;

        // The relay knows the leaf node only.
        let relay_broker = connect(&[leaf.url()]).await;
        let plan = || Plan {
            folder: Some(world.folder.path().join("relay")),
            ..Plan::over(&relay_broker)
        };
        let relay = Reader::start(&world, &[authority.address], plan()).await;
        relay.until_broadcast().await;
        authority.refuse_http(true);
        world.revoke(&key).await;
        relay.until_refused(&key, DenyReason::Revoked).await;

        // The last line is at the leaf node, also when the cluster is gone.
        let client = stranger(&leaf.url()).await;
        let position = format!("\"to\":\"{}\"", authority.position());
        let last = || async {
            let subject = "$JS.API.DIRECT.GET.keyfob_feed.keyfob.feed.all";
            match client.request(subject, "".into()).await {
                Ok(answer) => String::from_utf8_lossy(&answer.payload).contains(&position),
                Err(_) => false,
            }
        };
        until_async("the mirror has the last line", last).await;
        for server in &mut cluster.servers {
            server.kill();
        }
        assert!(last().await);
    });
}
