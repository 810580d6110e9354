//! Fixtures: authorities over one store, relays that are fed by NATS, and gateways behind them.

use std::{
    future::Future,
    net::SocketAddr,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use axum::{
    Router,
    http::{HeaderMap, StatusCode},
};
use keyfob::{
    Access, Context, DenyReason, KeyId, Keyring, NewKey, Tenant, Timestamp, Verifier,
    key::{CredentialId, SystemRandom},
};
use keyfob_feed::{
    FeedKeys, Filter, Limits as FeedLimits, Position, Trust,
    server::{self, ReplicaRight},
};
use keyfob_listen::{Limits, Listener, Routes};
use keyfob_nats::{Broker, BrokerBuilder, Publication, Subscription};
use keyfob_replica::{
    Follower, HttpSource, HttpSourceBuilder, HttpUpstream, LineReceiver, Replica,
};
use keyfob_sqlite::SqliteStore;
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, copy},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::watch,
    task::JoinHandle,
    time::{Instant, sleep},
};

/// The bound of relays and gateways.
const STALE_AFTER: Duration = Duration::from_secs(5);

/// A store, and what its authorities share.
pub(crate) struct World {
    pub(crate) folder: TempDir,
    pub(crate) store: Arc<SqliteStore>,
    keyring: Keyring,
    keys: String,
    next: AtomicUsize,
}

/// A key of the store.
pub(crate) struct Key {
    id: KeyId,
    text: String,
}

impl Key {
    pub(crate) fn credential(&self) -> CredentialId {
        CredentialId::Key(self.id)
    }
}

impl World {
    pub(crate) async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = Arc::new(SqliteStore::open(folder.path().join("keyfob.db")).unwrap());
        let keyring = Keyring::open(Arc::clone(&store), "acme").await.unwrap();
        let keys = FeedKeys::generate(&SystemRandom).unwrap();
        Self {
            folder,
            store,
            keyring,
            keys: keys.to_text().to_string(),
            next: AtomicUsize::new(0),
        }
    }

    pub(crate) fn keys(&self) -> FeedKeys {
        FeedKeys::parse(&self.keys).unwrap()
    }

    pub(crate) fn trust(&self) -> Trust {
        Trust::pinned(self.keys().signers()).unwrap()
    }

    pub(crate) async fn create(&self) -> Key {
        self.create_in("team", "orders").await
    }

    pub(crate) async fn create_in(&self, team: &str, namespace: &str) -> Key {
        let name = format!("key-{}", self.next.fetch_add(1, SeqCst));
        let new = NewKey::for_user(team, namespace, "alice", &name).unwrap();
        let context = Context::system(keyfob::now());
        let created = self.keyring.create(&context, new).await.unwrap();
        Key {
            id: created.info.id,
            text: created.secret.expose().to_owned(),
        }
    }

    pub(crate) async fn revoke(&self, key: &Key) {
        let context = Context::system(keyfob::now());
        let tenant = Tenant::parse("team", "orders").unwrap();
        let revoked = self.keyring.revoke(&context, &tenant, key.id, None);
        revoked.await.unwrap();
    }

    /// A process of the authority, which publishes if it has a broker.
    pub(crate) async fn authority(&self, broker: Option<&Broker>) -> Authority {
        let format = *self.keyring.format();
        let authority = server::Authority::over(Arc::clone(&self.store), self.keys(), format);
        let authority = authority.start().await.unwrap();
        let is_down = Arc::new(AtomicBool::new(false));
        let of_all = Arc::clone(&is_down);
        let router = authority.hub().router(move |_: &HeaderMap, _: Timestamp| {
            if of_all.load(SeqCst) {
                return Err(StatusCode::SERVICE_UNAVAILABLE);
            }
            let of_one = Arc::clone(&of_all);
            Ok(ReplicaRight::new(Filter::All, move |_| {
                !of_one.load(SeqCst)
            }))
        });
        let (address, server) = listen(router).await;
        let publication = broker.map(|broker| {
            let published = broker.publish(authority.hub(), [Filter::All, team("team")]);
            published.unwrap()
        });
        Authority {
            feed: authority,
            address,
            is_down,
            _publication: publication,
            _server: server,
        }
    }
}

pub(crate) fn team(name: &str) -> Filter {
    Filter::Team(name.parse().unwrap())
}

/// A process of the authority.
pub(crate) struct Authority {
    pub(crate) feed: server::Authority,
    pub(crate) address: SocketAddr,
    is_down: Arc<AtomicBool>,
    _publication: Option<Publication>,
    _server: Ended,
}

impl Authority {
    /// Refuses every request over HTTP, and ends the streams, or not.
    pub(crate) fn refuse_http(&self, refuses: bool) {
        self.is_down.store(refuses, SeqCst);
    }

    pub(crate) fn position(&self) -> Position {
        self.feed.hub().position().unwrap()
    }
}

/// A relay, or a gateway: both are a replica.
pub(crate) struct Reader {
    pub(crate) source: Arc<HttpSource>,
    pub(crate) replica: Replica,
    pub(crate) verifier: Verifier,
    pub(crate) address: SocketAddr,
    _subscription: Option<Subscription>,
    _server: Ended,
}

pub(crate) fn source(world: &World, upstreams: &[SocketAddr]) -> HttpSourceBuilder {
    let builder = HttpSource::builder(world.trust()).key("not-a-key");
    upstreams.iter().fold(builder, |builder, address| {
        builder.upstream(format!("http://{address}").parse().unwrap())
    })
}

/// What a relay is made of.
pub(crate) struct Plan {
    pub(crate) filter: Filter,
    pub(crate) folder: Option<PathBuf>,
    pub(crate) lines: Option<LineReceiver>,
    pub(crate) subscription: Option<Subscription>,
}

impl Plan {
    pub(crate) fn nothing() -> Self {
        Self {
            filter: Filter::All,
            folder: None,
            lines: None,
            subscription: None,
        }
    }

    pub(crate) fn over(broker: &Broker) -> Self {
        let (lines, subscription) = broker.subscribe(&Filter::All);
        Self {
            lines: Some(lines),
            subscription: Some(subscription),
            ..Self::nothing()
        }
    }
}

impl Reader {
    /// A relay that is fed by a broker, and has these upstreams.
    pub(crate) async fn relay(world: &World, upstreams: &[SocketAddr], broker: &Broker) -> Self {
        Self::start(world, upstreams, Plan::over(broker)).await
    }

    /// A gateway behind a relay.
    pub(crate) async fn gateway(world: &World, relay: &Self) -> Self {
        Self::start(world, &[relay.address], Plan::nothing()).await
    }

    pub(crate) async fn start(world: &World, upstreams: &[SocketAddr], plan: Plan) -> Self {
        let asks = Arc::new(source(world, upstreams).build().unwrap());
        let filter = plan.filter.clone();
        let relay = server::Relay::new(
            HttpUpstream::new(asks),
            world.trust(),
            [filter.clone()],
            FeedLimits::default(),
        );
        let (lines, of) = (relay.clone(), filter.clone());
        let mut builder = source(world, upstreams)
            .filter(filter)
            .on_line(move |line| lines.accept(&of, line).unwrap());
        if let Some(lines) = plan.lines {
            builder = builder.broadcast(lines);
        }
        if let Some(folder) = plan.folder {
            builder = builder.saved_in(folder);
        }
        let source = Arc::new(builder.build().unwrap());
        let replica = Follower::from_source(Arc::clone(&source), "acme")
            .stale_after(STALE_AFTER)
            .flush_usage_every(Duration::from_millis(300))
            .start();
        let replica = replica.await.unwrap();
        let anybody = |_: &HeaderMap, _: Timestamp| -> Result<ReplicaRight, StatusCode> {
            Ok(ReplicaRight::new(Filter::All, |_| true))
        };
        let (address, server) = listen(relay.hub().router(anybody)).await;
        Self {
            source,
            verifier: replica.verifier(),
            replica,
            address,
            _subscription: plan.subscription,
            _server: server,
        }
    }

    pub(crate) async fn stop(self) {
        self.replica.stop().await;
    }

    /// Why the key is refused now; `None` if it is not.
    pub(crate) fn refuses(&self, key: &Key) -> Option<DenyReason> {
        let (text, access) = (key.text.as_bytes(), Access::to("orders"));
        let verdict = self.verifier.verify_text(text, &access, keyfob::now());
        verdict.err().map(|denied| denied.reason())
    }

    pub(crate) fn is_broadcast(&self) -> bool {
        self.source.status().is_broadcast
    }

    pub(crate) async fn until_broadcast(&self) {
        until("the lines are those of the broadcast", || {
            self.is_broadcast()
        })
        .await;
    }

    pub(crate) async fn until_refused(&self, key: &Key, reason: DenyReason) -> Duration {
        until("the key is refused", || self.refuses(key) == Some(reason)).await
    }

    pub(crate) async fn until_accepted(&self, key: &Key) -> Duration {
        until("the key is accepted", || self.refuses(key).is_none()).await
    }
}

/// A connection to servers.
pub(crate) async fn connect<U: AsRef<str>>(urls: &[U]) -> Broker {
    connect_with(urls, |builder| builder).await
}

pub(crate) async fn connect_with<U: AsRef<str>>(
    urls: &[U],
    set: impl FnOnce(BrokerBuilder) -> BrokerBuilder,
) -> Broker {
    let builder = urls.iter().fold(Broker::builder(), |builder, url| {
        builder.server(url.as_ref().parse().unwrap())
    });
    set(builder).connect().await.unwrap()
}

/// A client of NATS that is nobody's.
pub(crate) async fn stranger(url: &str) -> async_nats::Client {
    async_nats::connect(url).await.unwrap()
}

/// Creates the stream that keeps the last line of each subject, as soon as the servers can.
pub(crate) async fn create_stream(url: &str, settings: &str) {
    let client = stranger(url).await;
    let text = format!(r#"{{"name":"keyfob_feed",{settings}}}"#);
    create_stream_by(&client, &text).await;
}

pub(crate) async fn create_stream_by(client: &async_nats::Client, text: &str) {
    let start = Instant::now();
    loop {
        let subject = "$JS.API.STREAM.CREATE.keyfob_feed";
        let answer = client.request(subject, text.to_owned().into()).await;
        let said = match answer {
            Ok(answer) => String::from_utf8_lossy(&answer.payload).into_owned(),
            Err(error) => error.to_string(),
        };
        if said.contains("\"config\"") {
            return;
        }
        assert!(start.elapsed() < Duration::from_mins(1), "{said}");
        sleep(Duration::from_millis(100)).await;
    }
}

pub(crate) async fn listen(router: Router) -> (SocketAddr, Ended) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = keyfob_listen::Server::new("feed", Listener::Tcp(listener), Routes::of(router));
    let task = tokio::spawn(async move {
        let (_stop, stopped) = watch::channel(());
        let limits = Limits::for_streams();
        server.with_limits(limits).serve(stopped).await;
    });
    (address, Ended(task))
}

/// A task that ends with the test.
pub(crate) struct Ended(pub(crate) JoinHandle<()>);

impl Drop for Ended {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Waits until something holds, and returns how long it took.
pub(crate) async fn until(what: &str, holds: impl Fn() -> bool) -> Duration {
    until_async(what, || std::future::ready(holds())).await
}

pub(crate) async fn until_async<F: Future<Output = bool>>(
    what: &str,
    holds: impl Fn() -> F,
) -> Duration {
    let start = Instant::now();
    while !holds().await {
        assert!(start.elapsed() < Duration::from_mins(1), "never: {what}");
        sleep(Duration::from_millis(2)).await;
    }
    start.elapsed()
}

/// Something between a client and a server that can hold back what the server sends.
pub(crate) struct Tap {
    port: u16,
    holds: watch::Sender<bool>,
    _task: Ended,
}

impl Tap {
    pub(crate) async fn to(server: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (holds, held) = watch::channel(false);
        let task = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let Ok(server) = TcpStream::connect(("127.0.0.1", server)).await else {
                    continue;
                };
                let held = held.clone();
                tokio::spawn(async move {
                    let (mut from_client, to_client) = client.into_split();
                    let (from_server, mut to_server) = server.into_split();
                    // Either side that ends also ends the other.
                    tokio::select! {
                        _ = copy(&mut from_client, &mut to_server) => {}
                        () = hand_on(from_server, to_client, held) => {}
                    }
                });
            }
        });
        Self {
            port,
            holds,
            _task: Ended(task),
        }
    }

    pub(crate) fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port)
    }

    pub(crate) fn hold(&self, holds: bool) {
        self.holds.send_replace(holds);
    }
}

async fn hand_on(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, mut held: watch::Receiver<bool>) {
    let mut buffer = vec![0; 16 << 10];
    loop {
        if held.wait_for(|held| !held).await.is_err() {
            return;
        }
        match from.read(&mut buffer).await {
            Ok(read) if read > 0 => {
                if to.write_all(&buffer[..read]).await.is_err() {
                    return;
                }
            }
            _ => return,
        }
    }
}
