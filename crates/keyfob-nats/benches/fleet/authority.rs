//! An authority that feeds on the loopback.

use std::{net::SocketAddr, sync::Arc};

use axum::{
    Router,
    http::{HeaderMap, StatusCode},
};
use keyfob::{
    Access, Context, IssuedKey, KeyId, KeyStore, Keyring, NewKey, Tenant, Timestamp, Verifier,
    key::SystemRandom,
};
use keyfob_feed::{
    FeedKeys, Filter, SignerKey, Trust,
    server::{Authority, ReplicaRight},
};
use keyfob_listen::{Address, Limits, Routes, Server};
use keyfob_replica::{HttpSource, HttpSourceBuilder, Upstream};
use tokio::{sync::watch, task::JoinHandle};

/// An authority, its keyring, and the server of its feed.
pub(crate) struct Fed {
    pub(crate) keyring: Keyring,
    pub(crate) authority: Authority,
    pub(crate) upstream: String,
    /// The signers, with commas between them.
    pub(crate) signers: String,
    served: Served,
}

impl Fed {
    pub(crate) async fn over(store: impl KeyStore + 'static) -> Self {
        let store = Arc::new(store);
        let keyring = Keyring::open(Arc::clone(&store), "acme").await;
        let keyring = keyring.expect("the store is empty");
        let keys = FeedKeys::generate(&SystemRandom).expect("there are random numbers");
        let signers: Vec<_> = keys.signers().map(|signer| signer.to_string()).collect();
        let authority = Authority::over(store, keys, *keyring.format()).start();
        let authority = authority.await.expect("the store can be read");
        let served = Served::at("127.0.0.1:0", authority.hub().router(anybody)).await;
        Self {
            keyring,
            authority,
            upstream: served.upstream(),
            signers: signers.join(","),
            served,
        }
    }

    /// Closes all connections, and serves again at the same address.
    pub(crate) async fn cut(&mut self) {
        let address = self.served.address.to_string();
        self.served.stop().await;
        let router = self.authority.hub().router(anybody);
        self.served = Served::at(&address, router).await;
    }

    pub(crate) fn source(&self) -> HttpSourceBuilder {
        source(&self.signers, &self.upstream)
    }

    pub(crate) async fn create(&self, number: usize) -> (KeyId, IssuedKey) {
        // A few keys of each owner: there is a limit.
        let owner = format!("user-{}", number / 100);
        let new = NewKey::for_user("team", "orders", &owner, &format!("key-{number}"));
        let new = new.expect("the names are valid");
        let context = Context::system(keyfob::now());
        let created = self.keyring.create(&context, new);
        let created = created.await.expect("the store takes it");
        (created.info.id, created.secret)
    }
}

pub(crate) async fn revoke(keyring: &Keyring, id: KeyId) {
    let tenant = Tenant::parse("team", "orders").expect("the names are valid");
    let context = Context::system(keyfob::now());
    let revoked = keyring.revoke(&context, &tenant, id, None);
    revoked.await.expect("the store takes it");
}

pub(crate) fn accepts(verifier: &Verifier, key: &str) -> bool {
    let access = Access::to("orders");
    let now = keyfob::now();
    verifier.verify_text(key.as_bytes(), &access, now).is_ok()
}

/// A source that trusts these signers, and reads from these upstreams; both have commas between them.
pub(crate) fn source(signers: &str, upstreams: &str) -> HttpSourceBuilder {
    let builder = HttpSource::builder(trust(signers)).key("not-a-key");
    let upstreams = upstreams.split(',').map(str::parse::<Upstream>);
    upstreams.fold(builder, |builder, upstream| {
        builder.upstream(upstream.expect("it is a URL"))
    })
}

pub(crate) fn trust(signers: &str) -> Trust {
    let signers = signers.split(',').map(str::parse::<SignerKey>);
    let signers = signers.map(|signer| signer.expect("it is a signer"));
    Trust::pinned(signers).expect("there is a signer")
}

/// Everybody may read everything: it is a measurement on the loopback.
#[expect(clippy::unnecessary_wraps, reason = "the signature of the trait")]
pub(crate) fn anybody(_: &HeaderMap, _: Timestamp) -> Result<ReplicaRight, StatusCode> {
    Ok(ReplicaRight::new(Filter::All, |_| true))
}

/// A server of a feed.
pub(crate) struct Served {
    pub(crate) address: SocketAddr,
    stop: watch::Sender<()>,
    serving: JoinHandle<()>,
}

impl Served {
    pub(crate) async fn at(address: &str, router: Router) -> Self {
        let address: Address = address.parse().expect("it is an address");
        let listener = address.bind().await.expect("the port is free");
        let address = listener.socket_address().expect("it is TCP");
        let (stop, stopped) = watch::channel(());
        let server = Server::new("feed", listener, Routes::of(router));
        let serving = server.with_limits(Limits::for_streams()).serve(stopped);
        Self {
            address,
            stop,
            serving: tokio::spawn(serving),
        }
    }

    pub(crate) fn upstream(&self) -> String {
        format!("http://{}", self.address)
    }

    async fn stop(&mut self) {
        // The server stops when nobody can tell it anything any more.
        self.stop = watch::Sender::new(());
        let stopped = (&mut self.serving).await;
        stopped.expect("the server does not panic");
    }
}
