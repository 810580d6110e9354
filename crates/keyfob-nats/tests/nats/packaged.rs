//! The configuration in `packaging/nats`, as it is: TLS, users and their permissions, a leaf node, streams.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use async_nats::{Client, ConnectOptions};
use futures_util::StreamExt as _;
use keyfob::DenyReason;
use keyfob_nats::BrokerBuilder;
use keyfob_testkit::{
    nats::{self, Server},
    port::free_port,
};
use nkeys::KeyPair;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer};
use tokio::time::timeout;

use crate::world::{Plan, Reader, World, connect_with, create_stream_by, until_async};

/// The servers, and the files of their users.
struct Packaged {
    folder: tempfile::TempDir,
    hub: Vec<Server>,
    leaf: Server,
}

const USERS: [&str; 4] = ["authority", "relay", "leaf", "operator"];

impl Packaged {
    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name).display().to_string();
        certificates(folder.path());
        let mut users = Vec::new();
        for user in USERS {
            let pair = KeyPair::new_user();
            fs::write(at(&format!("{user}.seed")), pair.seed().unwrap()).unwrap();
            users.push((format!("NATS_{}", user.to_uppercase()), pair.public_key()));
        }
        let text = |text: String| format!("\"{text}\"");
        let ports = || [free_port(), free_port(), free_port()];
        let (clients, cluster, leaves) = (ports(), ports(), ports());
        let hub = (0..3).map(|n| {
            let name = format!("nats-{}", n + 1);
            let address = |ports: [u16; 3]| text(format!("127.0.0.1:{}", ports[n]));
            let mut environment = vec![
                ("NATS_NAME", name.clone()),
                ("NATS_LISTEN", address(clients)),
                ("NATS_CLUSTER", address(cluster)),
                ("NATS_LEAF_LISTEN", address(leaves)),
                ("NATS_CERTIFICATE", text(at("server.pem"))),
                ("NATS_KEY", text(at("server.key"))),
                ("NATS_CA", text(at("ca.pem"))),
                ("NATS_STORE", text(at(&format!("data-{n}")))),
            ];
            let routes = ["NATS_ROUTE_1", "NATS_ROUTE_2", "NATS_ROUTE_3"];
            for (route, port) in routes.into_iter().zip(cluster) {
                environment.push((route, text(format!("tls://127.0.0.1:{port}"))));
            }
            for (user, key) in &users {
                environment.push((user, key.clone()));
            }
            Server::with_file(&name, &packaging("server.conf"), clients[n], &environment)
        });
        let hub = hub.collect();
        let port = free_port();
        let mut environment = vec![
            ("NATS_NAME", "leaf-1".to_owned()),
            ("NATS_LISTEN", text(format!("127.0.0.1:{port}"))),
            ("NATS_SEED", fs::read_to_string(at("leaf.seed")).unwrap()),
            ("NATS_CA", text(at("ca.pem"))),
            ("NATS_STORE", text(at("data-leaf"))),
        ];
        let leaf_urls = ["NATS_LEAF_1", "NATS_LEAF_2", "NATS_LEAF_3"];
        for (url, port) in leaf_urls.into_iter().zip(leaves) {
            environment.push((url, text(format!("tls://127.0.0.1:{port}"))));
        }
        for (user, key) in &users {
            environment.push((user, key.clone()));
        }
        let leaf = Server::with_file("leaf-1", &packaging("leaf.conf"), port, &environment);
        Self { folder, hub, leaf }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn hub_urls(&self) -> Vec<String> {
        let ports = self.hub.iter().map(Server::port);
        ports
            .map(|port| format!("tls://127.0.0.1:{port}"))
            .collect()
    }

    /// The settings of a user of the cluster.
    fn hub(&self, user: &str) -> impl FnOnce(BrokerBuilder) -> BrokerBuilder {
        let (ca, seed) = (self.file("ca.pem"), self.file(&format!("{user}.seed")));
        move |builder| builder.root_certificates(ca).credentials_file(seed)
    }

    /// A client of the cluster or of the leaf node.
    async fn client(&self, url: &str, user: &str) -> Client {
        let seed = fs::read_to_string(self.file(&format!("{user}.seed"))).unwrap();
        ConnectOptions::with_nkey(seed)
            .add_root_certificates(self.file("ca.pem"))
            .connect(url)
            .await
            .unwrap()
    }
}

fn packaging(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../packaging/nats")
        .join(name)
}

fn certificates(folder: &Path) {
    let mut params = CertificateParams::new([]).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = rcgen::KeyPair::generate().unwrap();
    let certificate = params.self_signed(&key).unwrap();
    fs::write(folder.join("ca.pem"), certificate.pem()).unwrap();
    let authority = Issuer::new(params, key);
    let params = CertificateParams::new(["127.0.0.1".to_owned()]).unwrap();
    let key = rcgen::KeyPair::generate().unwrap();
    let certificate = params.signed_by(&key, &authority).unwrap();
    fs::write(folder.join("server.pem"), certificate.pem()).unwrap();
    fs::write(folder.join("server.key"), key.serialize_pem()).unwrap();
}

#[test]
fn the_packaged_configuration_carries_the_feed_and_permits_no_more() {
    nats::run(async {
        let servers = Packaged::start();
        let urls = servers.hub_urls();
        let operator = servers.client(&urls[0], "operator").await;
        let stream = fs::read_to_string(packaging("stream.json")).unwrap();
        create_stream_by(&operator, &stream).await;
        let at_leaf = servers.client(&servers.leaf.url(), "operator").await;
        let mirror = fs::read_to_string(packaging("mirror.json")).unwrap();
        create_stream_by(&at_leaf, &mirror).await;

        let world = World::new().await;
        let key = world.create().await;
        let broker = connect_with(&urls, servers.hub("authority")).await;
        let authority = world.authority(Some(&broker)).await;
        let seed = servers.file("relay.seed");
        let by_leaf = connect_with(&[servers.leaf.url()], |builder| {
            builder.credentials_file(seed)
        })
        .await;
        let relay = Reader::relay(&world, &[authority.address], &by_leaf).await;
        let by_hub = connect_with(&urls, servers.hub("relay")).await;
        let other = Reader::relay(&world, &[authority.address], &by_hub).await;
        relay.until_broadcast().await;
        other.until_broadcast().await;
        authority.refuse_http(true);
        world.revoke(&key).await;
        relay.until_refused(&key, DenyReason::Revoked).await;
        other.until_refused(&key, DenyReason::Revoked).await;

        // A relay may ask for the last line, at the cluster and at the leaf node, and publish none.
        let last = "$JS.API.DIRECT.GET.keyfob_feed.keyfob.feed.all";
        let position = format!("\"to\":\"{}\"", authority.position());
        let at_hub = servers.client(&urls[1], "relay").await;
        let at_zone = servers.client(&servers.leaf.url(), "relay").await;
        for client in [&at_hub, &at_zone] {
            until_async("the last line is kept", || async {
                match client.request(last, "".into()).await {
                    Ok(answer) => String::from_utf8_lossy(&answer.payload).contains(&position),
                    Err(_) => false,
                }
            })
            .await;
        }
        let mut heard = operator.subscribe("keyfob.feed.test").await.unwrap();
        operator.flush().await.unwrap();
        let say = |text: &'static str, from: Client| async move {
            from.publish("keyfob.feed.test", text.into()).await.unwrap();
            from.flush().await.unwrap();
        };
        say("relay", at_hub).await;
        say("leaf", at_leaf).await;
        let at_authority = servers.client(&urls[2], "authority").await;
        say("authority", at_authority.clone()).await;
        let first = timeout(Duration::from_secs(20), heard.next()).await;
        let first = first.unwrap().unwrap();
        assert_eq!(first.payload, "authority", "only the authority may publish");
        // The authority hears nothing.
        let mut deaf = at_authority.subscribe("keyfob.feed.all").await.unwrap();
        let message = timeout(Duration::from_secs(3), deaf.next()).await;
        assert!(!matches!(message, Ok(Some(_))), "{message:?}");

        // A server whose certificate another authority signed is no server.
        let wrong = servers.file("wrong");
        fs::create_dir(&wrong).unwrap();
        certificates(&wrong);
        let refused = ConnectOptions::new()
            .add_root_certificates(wrong.join("ca.pem"))
            .connect(&urls[0])
            .await;
        assert!(refused.is_err());
        let seed = servers.file("relay.seed");
        let untrusting = connect_with(&urls, |builder| {
            builder
                .root_certificates(wrong.join("ca.pem"))
                .credentials_file(seed)
        })
        .await;
        authority.refuse_http(false);
        let plan = Plan::over(&untrusting);
        let alone = Reader::start(&world, &[authority.address], plan).await;
        tokio::time::sleep(Duration::from_secs(2)).await;
        assert!(!alone.is_broadcast());
    });
}
