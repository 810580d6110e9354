//! The process of a relay.
//!
//! It tells `ready URL`, and then, if NATS feeds it, `in step` and `out of step`.

use std::{io, sync::Arc, time::Duration};

use keyfob_feed::{Filter, Limits, server::Relay};
use keyfob_nats::Broker;
use keyfob_replica::{Follower, HttpUpstream};
use tokio::{task::spawn_blocking, time::sleep};

use crate::{
    authority::{Fed, Served, anybody, source, trust},
    process::Process,
};

pub(crate) const ROLE: &str = "in-the-role-of-a-relay";

/// Runs with the arguments: the address to serve at, the signers, the upstream, and the URL of a NATS server
/// if that feeds it.
pub(crate) async fn run(arguments: impl Iterator<Item = String>) {
    let arguments: Vec<String> = arguments.collect();
    let [address, signers, upstream, nats @ ..] = arguments.as_slice() else {
        panic!("three arguments, not {}", arguments.len());
    };
    let asks = source(signers, upstream).build();
    let asks = Arc::new(asks.expect("the settings are sound"));
    let filters = [Filter::All];
    let relay = Relay::new(
        HttpUpstream::new(asks),
        trust(signers),
        filters,
        Limits::default(),
    );
    let to = relay.clone();
    let mut reads = source(signers, upstream)
        .on_line(move |line| to.accept(&Filter::All, line).expect("the line is signed"));
    let mut subscribed = None;
    if let [server] = nats {
        let (lines, subscription) = connect(server).await.subscribe(&Filter::All);
        subscribed = Some(subscription);
        reads = reads.broadcast(lines);
    }
    let reads = Arc::new(reads.build().expect("the settings are sound"));
    let replica = Follower::from_source(Arc::clone(&reads), "acme").start();
    let _replica = replica.await.expect("the feed can be read");
    while !relay.hub().is_current() {
        sleep(Duration::from_millis(1)).await;
    }
    let served = Served::at(address, relay.hub().router(anybody)).await;
    println!("ready {}", served.upstream());
    if subscribed.is_some() {
        tokio::spawn(async move {
            let mut was = false;
            loop {
                let is = reads.status().is_broadcast;
                if is != was {
                    println!("{}", if is { "in step" } else { "out of step" });
                }
                was = is;
                sleep(Duration::from_millis(5)).await;
            }
        });
    }
    // It ends with the authority's process.
    let end = spawn_blocking(|| io::stdin().lines().map_while(Result::ok).count());
    let _ = end.await;
}

pub(crate) async fn connect(server: &str) -> Broker {
    let address = server.parse().expect("it is an address");
    let broker = Broker::builder().server(address).connect().await;
    broker.expect("the settings are sound")
}

/// A relay in a process of its own.
pub(crate) struct RelayProcess {
    process: Option<Process>,
    arguments: Vec<String>,
    in_step: bool,
}

impl RelayProcess {
    pub(crate) async fn start(fed: &Fed, nats: Option<String>) -> Self {
        let arguments = ["127.0.0.1:0", &fed.signers, &fed.upstream];
        let arguments = arguments.into_iter().map(str::to_owned).chain(nats);
        let mut relay = Self {
            process: None,
            arguments: arguments.collect(),
            in_step: false,
        };
        relay.restart().await;
        relay
    }

    /// Starts again after it was killed, at the same address.
    pub(crate) async fn restart(&mut self) {
        let mut process = Process::start(ROLE, &self.arguments);
        let ready = process.next().await;
        let address = ready.strip_prefix("ready http://");
        address
            .expect("the relay is ready")
            .clone_into(&mut self.arguments[0]);
        self.process = Some(process);
    }

    pub(crate) fn kill(&mut self) {
        self.process = None;
    }

    pub(crate) fn upstream(&self) -> String {
        format!("http://{}", self.arguments[0])
    }

    /// Whether NATS feeds it, and nothing was read over HTTP since this was asked last.
    pub(crate) fn is_in_step(&mut self) -> bool {
        let mut stayed = self.in_step;
        let lines = self.process.iter_mut();
        for line in lines.flat_map(|process| std::iter::from_fn(|| process.try_next())) {
            self.in_step = line == "in step";
            stayed = false;
        }
        stayed
    }
}
