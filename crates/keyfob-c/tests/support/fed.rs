//! An authority that feeds on the loopback.

use std::sync::Arc;

use http::{HeaderMap, StatusCode};
use keyfob::{
    Context, Keyring, MemoryStore, NewKey, Timestamp, key::SystemRandom, manage::CreatedKey,
};
use keyfob_feed::{
    FeedKeys, Filter,
    server::{Authority, ReplicaRight},
};
use keyfob_listen::{Address, Limits, Routes, Server};
use tokio::sync::watch;

/// An authority over a store in memory, whose feed anybody may read.
pub(crate) struct Fed {
    pub(crate) keyring: Keyring,
    _authority: Authority,
    pub(crate) upstream: String,
    pub(crate) signer: String,
    _stop: watch::Sender<()>,
}

impl Fed {
    pub(crate) async fn new() -> Self {
        let store = Arc::new(MemoryStore::new());
        let keyring = Keyring::open(Arc::clone(&store), "acme").await;
        let keyring = keyring.expect("the store is empty");
        let keys = FeedKeys::generate(&SystemRandom).expect("there are random numbers");
        let signer = keys.signers().next().expect("there is one").to_string();
        let authority = Authority::over(store, keys, *keyring.format()).start();
        let authority = authority.await.expect("the store can be read");
        let anybody = |_: &HeaderMap, _: Timestamp| -> Result<ReplicaRight, StatusCode> {
            Ok(ReplicaRight::new(Filter::All, |_| true))
        };
        let address: Address = "127.0.0.1:0".parse().expect("it is an address");
        let listener = address.bind().await.expect("the loopback has a free port");
        let socket = listener.socket_address().expect("it is TCP");
        let routes = Routes::of(authority.hub().router(anybody));
        let (stop, stopped) = watch::channel(());
        let server = Server::new("feed", listener, routes).with_limits(Limits::for_streams());
        tokio::spawn(server.serve(stopped));
        Self {
            keyring,
            _authority: authority,
            upstream: format!("http://{socket}"),
            signer,
            _stop: stop,
        }
    }

    pub(crate) async fn create(&self, new: NewKey) -> CreatedKey {
        let context = Context::system(keyfob::now());
        let created = self.keyring.create(&context, new).await;
        created.expect("the store takes it")
    }
}
