//! Fixtures: a store that counts its queries and can be stopped or replaced, a server, and readers.

use std::{
    net::SocketAddr,
    sync::{
        Arc, RwLock,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, SystemTime},
};

use axum::Router;
use keyfob::{
    Access, Context, Expiry, KeyId, KeyStore, Keyring, MemoryStore, NewKey, Owner, Scopes, Tenant,
    Timestamp, Verifier,
    audit::{AuditEvent, TrailHead},
    gateway::{Index, Usage, UsageBatch},
    key::{CredentialId, KeyFormat, Peppers, SystemRandom},
    legacy::{LegacyPolicy, LegacyRecord},
    manage::Policy,
    name::{KeyName, Scope, TeamId},
    store::{
        AuditQuery, Changes, Commit, CommitError, KeyQuery, KeyRecord, LegacyQuery, LiveCount,
        NamespaceQuery, NamespaceRecord, Page, Revision, StoreError, Target, TargetPage,
        TargetQuery, UsageDay, UsageQuery, async_trait,
    },
};
use keyfob_feed::{
    FeedKeys, Filter, Position, Receiver, Refused, SnapshotReader, Trust, UPGRADE_PROTOCOL,
    server::{Authority, AuthorityBuilder, KeyRights},
};
use keyfob_listen::{Limits, Listener, Routes};
use tokio::{net::TcpSocket, sync::watch, task::JoinHandle, time::sleep};

use crate::client::{Response, get, request};

pub(crate) fn now() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    u64::try_from(since.unwrap().as_millis()).unwrap()
}

pub(crate) fn format() -> KeyFormat {
    KeyFormat::new("dof").unwrap()
}

/// A store that counts its queries, tells of changes, and can be stopped or replaced.
#[derive(Clone)]
pub(crate) struct Probe(Arc<Inner>);

struct Inner {
    store: RwLock<Arc<MemoryStore>>,
    told: watch::Sender<()>,
    stopped: AtomicBool,
    queries: AtomicU64,
    /// How often the whole store was read.
    whole: AtomicU64,
    /// How long a read of many entries takes, in milliseconds.
    slow: AtomicU64,
}

impl Probe {
    pub(crate) fn new() -> Self {
        Self(Arc::new(Inner {
            store: RwLock::new(Arc::new(MemoryStore::new())),
            told: watch::Sender::new(()),
            stopped: AtomicBool::new(false),
            queries: AtomicU64::new(0),
            whole: AtomicU64::new(0),
            slow: AtomicU64::new(0),
        }))
    }

    pub(crate) fn queries(&self) -> u64 {
        self.0.queries.load(Ordering::SeqCst)
    }

    pub(crate) fn whole_reads(&self) -> u64 {
        self.0.whole.load(Ordering::SeqCst)
    }

    /// Lets each read of many entries, as for a snapshot, take this long.
    pub(crate) fn slow_down(&self, delay: Duration) {
        let delay = u64::try_from(delay.as_millis()).unwrap();
        self.0.slow.store(delay, Ordering::SeqCst);
    }

    pub(crate) fn stop(&self) {
        self.0.stopped.store(true, Ordering::SeqCst);
        self.0.told.send_replace(());
    }

    /// Puts another store in the place of this one, as a restore does.
    pub(crate) fn replace(&self, other: &Self) {
        *self.0.store.write().unwrap() = other.store();
        self.0.told.send_replace(());
    }

    fn store(&self) -> Arc<MemoryStore> {
        Arc::clone(&self.0.store.read().unwrap())
    }

    fn read(&self) -> Result<Arc<MemoryStore>, StoreError> {
        self.0.queries.fetch_add(1, Ordering::SeqCst);
        if self.0.stopped.load(Ordering::SeqCst) {
            return Err(StoreError::definite("the store is stopped"));
        }
        Ok(self.store())
    }
}

#[async_trait]
impl KeyStore for Probe {
    async fn commit(&self, commit: &Commit) -> Result<Revision, CommitError> {
        let committed = self.store().commit(commit).await;
        self.0.told.send_replace(());
        committed
    }
    async fn key(&self, tenant: &Tenant, id: KeyId) -> Result<Option<KeyRecord>, StoreError> {
        self.store().key(tenant, id).await
    }
    async fn keys(&self, query: &KeyQuery) -> Result<Page<KeyRecord>, StoreError> {
        self.store().keys(query).await
    }
    async fn legacy(&self, query: &LegacyQuery) -> Result<Page<LegacyRecord>, StoreError> {
        self.store().legacy(query).await
    }
    async fn namespaces(
        &self,
        query: &NamespaceQuery,
    ) -> Result<Page<NamespaceRecord>, StoreError> {
        self.store().namespaces(query).await
    }
    async fn targets(&self, query: &TargetQuery) -> Result<TargetPage, StoreError> {
        self.store().targets(query).await
    }
    async fn count_live(&self, target: &Target, at: Timestamp) -> Result<LiveCount, StoreError> {
        self.store().count_live(target, at).await
    }
    async fn policy(&self, tenant: Option<&Tenant>) -> Result<Policy, StoreError> {
        self.store().policy(tenant).await
    }
    async fn legacy_policy(&self, tenant: Option<&Tenant>) -> Result<LegacyPolicy, StoreError> {
        self.store().legacy_policy(tenant).await
    }
    async fn policies(&self, tenants: &[Tenant]) -> Result<Vec<Policy>, StoreError> {
        self.store().policies(tenants).await
    }

    async fn legacy_policies(&self, tenants: &[Tenant]) -> Result<Vec<LegacyPolicy>, StoreError> {
        self.store().legacy_policies(tenants).await
    }

    async fn audit(&self, query: &AuditQuery) -> Result<Page<AuditEvent>, StoreError> {
        self.store().audit(query).await
    }
    async fn head(&self) -> Result<TrailHead, StoreError> {
        self.read()?.head().await
    }
    async fn changes(&self, after: Revision, limit: usize) -> Result<Changes, StoreError> {
        if after == Revision::ZERO {
            self.0.whole.fetch_add(1, Ordering::SeqCst);
        }
        let changes = self.read()?.changes(after, limit).await?;
        if changes.entries.len() > 10 {
            sleep(Duration::from_millis(self.0.slow.load(Ordering::SeqCst))).await;
        }
        Ok(changes)
    }
    async fn wait_for_change(&self, after: Revision) -> Result<bool, StoreError> {
        let mut told = self.0.told.subscribe();
        loop {
            if self.0.stopped.load(Ordering::SeqCst) {
                return Err(StoreError::definite("the store is stopped"));
            }
            if self.store().head().await?.revision != after {
                return Ok(true);
            }
            let _ = told.changed().await;
        }
    }
    fn is_shared(&self) -> bool {
        true
    }
    async fn key_format(&self) -> Result<Option<KeyFormat>, StoreError> {
        self.store().key_format().await
    }
    async fn record_key_format(&self, format: &KeyFormat) -> Result<KeyFormat, StoreError> {
        self.store().record_key_format(format).await
    }
    async fn record_usage(&self, batch: &UsageBatch, now: Timestamp) -> Result<(), StoreError> {
        self.read()?.record_usage(batch, now).await
    }
    async fn usage(&self, credentials: &[CredentialId]) -> Result<Vec<Usage>, StoreError> {
        self.store().usage(credentials).await
    }

    async fn usage_days(&self, query: &UsageQuery) -> Result<Vec<UsageDay>, StoreError> {
        self.store().usage_days(query).await
    }
}

pub(crate) fn tenant(n: u8) -> Tenant {
    let [team, namespace] = [
        ["acme", "fn-a"],
        ["acme", "fn-b"],
        ["umbrella", "fn-c"],
        ["operators", "control:operators"],
        ["acme", "control:acme"],
    ][usize::from(n)];
    Tenant::parse(team, namespace).unwrap()
}

/// A store with its management, and an authority that serves its feed.
pub(crate) struct Fixture {
    pub(crate) probe: Probe,
    pub(crate) keyring: Arc<Keyring>,
    pub(crate) authority: Authority,
    pub(crate) address: SocketAddr,
    pub(crate) trust: Trust,
    pub(crate) keys_text: String,
    /// The key of a replica that may read everything.
    pub(crate) key: String,
    pub(crate) key_id: KeyId,
    created: std::sync::Mutex<Vec<(Tenant, String)>>,
    _server: Server,
}

/// A server that ends with the test.
pub(crate) struct Server(JoinHandle<()>);

impl Server {
    pub(crate) fn of(task: JoinHandle<()>) -> Self {
        Self(task)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.0.abort();
    }
}

pub(crate) async fn listen(router: Router) -> (SocketAddr, Server) {
    let socket = TcpSocket::new_v4().unwrap();
    // So that a reader that does not read is noticed soon.
    socket.set_send_buffer_size(16 << 10).unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let listener = socket.listen(1024).unwrap();
    let address = listener.local_addr().unwrap();
    let limits = Limits::for_streams().with_write_timeout(Duration::from_secs(1));
    let server = keyfob_listen::Server::new("feed", Listener::Tcp(listener), Routes::of(router));
    let task = tokio::spawn(async move {
        let (_stop, stopped) = watch::channel(());
        server.with_limits(limits).serve(stopped).await;
    });
    (address, Server(task))
}

impl Fixture {
    pub(crate) async fn new() -> Self {
        Self::with(|builder| builder).await
    }

    pub(crate) async fn with(set: impl FnOnce(AuthorityBuilder) -> AuthorityBuilder) -> Self {
        let probe = Probe::new();
        let keyring = Keyring::builder(probe.clone(), format()).open(keyfob::now());
        let keyring = Arc::new(keyring.await.unwrap());
        let keys = FeedKeys::generate(&SystemRandom).unwrap();
        let trust = Trust::pinned(keys.signers()).unwrap();
        let keys_text = keys.to_text().to_string();
        let (key_id, key) = replica_key(&keyring, tenant(3)).await;
        let authority = set(Authority::over(probe.clone(), keys, format()));
        let authority = authority.start().await.unwrap();
        let operators = TeamId::new("operators").unwrap();
        let rights = KeyRights::new(keyring.unbounded_verifier(), operators);
        let (address, server) = listen(authority.hub().router(rights)).await;
        Self {
            probe,
            keyring,
            authority,
            address,
            trust,
            keys_text,
            key,
            key_id,
            created: std::sync::Mutex::default(),
            _server: server,
        }
    }

    /// Creates a key in a namespace.
    pub(crate) async fn create(&self, n: u8) -> (KeyId, String) {
        let tenant = tenant(n);
        let count = self.created.lock().unwrap().len();
        let new = NewKey::new(
            tenant.clone(),
            // The policy allows 1,000 keys of an owner.
            format!("user:user-{}", count / 500)
                .parse::<Owner>()
                .unwrap(),
            KeyName::new(&format!("key {count}")).unwrap(),
        )
        .with_expiry(Expiry::Never);
        let context = Context::system(keyfob::now());
        let created = self.keyring.create(&context, new).await.unwrap().secret;
        let text = created.expose().to_owned();
        self.created.lock().unwrap().push((tenant, text.clone()));
        (created.id(), text)
    }

    pub(crate) fn created(&self) -> Vec<(Tenant, String)> {
        self.created.lock().unwrap().clone()
    }

    pub(crate) async fn get(&self, path: &str) -> Response {
        get(self.address, path, &self.key).await
    }

    pub(crate) fn reader(&self) -> Reader {
        Reader::new(self.trust.clone(), Filter::All, self.address, &self.key)
    }
}

/// Creates the key of a replica.
pub(crate) async fn replica_key(keyring: &Keyring, of: Tenant) -> (KeyId, String) {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let scope = Scope::new(KeyRights::SCOPE).unwrap();
    let name = format!("replica {}", NEXT.fetch_add(1, Ordering::SeqCst));
    let new = NewKey::new(
        of,
        "service:gateway".parse::<Owner>().unwrap(),
        KeyName::new(&name).unwrap(),
    )
    .with_scopes(Scopes::only([scope]).unwrap())
    .with_expiry(Expiry::Never);
    let created = keyring.create(&Context::system(keyfob::now()), new).await;
    let secret = created.unwrap().secret;
    (secret.id(), secret.expose().to_owned())
}

/// A reader of the feed over HTTP.
pub(crate) struct Reader {
    pub(crate) receiver: Receiver,
    pub(crate) index: Arc<Index>,
    pub(crate) address: SocketAddr,
    pub(crate) key: String,
    query: String,
}

impl Reader {
    pub(crate) fn new(trust: Trust, filter: Filter, address: SocketAddr, key: &str) -> Self {
        let query = match filter.to_query() {
            query if query.is_empty() => query,
            query => format!("&{query}"),
        };
        Self {
            query,
            receiver: Receiver::new(trust, filter),
            index: Arc::new(Index::new(format(), Peppers::none())),
            address,
            key: key.to_owned(),
        }
    }

    pub(crate) fn position(&self) -> Position {
        self.receiver.position().unwrap()
    }

    pub(crate) async fn load(&mut self) {
        let path = format!("/v1/feed/snapshot?{}", self.query.trim_start_matches('&'));
        let mut response = get(self.address, &path, &self.key).await;
        assert_eq!(response.status, 200);
        let line = response.line().await.unwrap();
        let manifest = self.receiver.manifest(&line, now()).unwrap();
        let path = format!("/v1/feed/snapshots/{}.ndjson.zst", manifest.object());
        let response = get(self.address, &path, "no key").await;
        assert_eq!(response.status, 200);
        let object = std::io::Cursor::new(response.body().await);
        let filter = self.receiver.filter();
        let mut pages = SnapshotReader::open(&manifest, filter, object).unwrap();
        self.index = Arc::new(Index::new(format(), Peppers::none()));
        while let Some(page) = pages.next_page().unwrap() {
            self.index.apply_replica(page, Some(keyfob::now())).unwrap();
        }
        self.receiver.loaded(&manifest, now());
    }

    pub(crate) async fn connect(&self) -> Response {
        let path = format!("/v1/feed?after={}{}", self.position(), self.query);
        get(self.address, &path, &self.key).await
    }

    /// Connects, and offers an upgrade.
    pub(crate) async fn upgrade(&self) -> Response {
        let path = format!("/v1/feed?after={}{}", self.position(), self.query);
        let offer = [("Connection", "Upgrade"), ("Upgrade", UPGRADE_PROTOCOL)];
        request(self.address, "GET", &path, &self.key, &offer, b"").await
    }

    /// Applies the next line of a stream; returns the number of its entries, `None` at its end.
    pub(crate) async fn step(&mut self, stream: &mut Response) -> Option<usize> {
        let line = stream.line().await?;
        Some(self.apply(&line).unwrap())
    }

    pub(crate) fn apply(&mut self, line: &[u8]) -> Result<usize, Refused> {
        let accepted = self.receiver.receive(line, now())?;
        let Some(batch) = accepted.batch else {
            return Ok(0);
        };
        let count = batch.changes.entries.len();
        batch.apply(&self.index).unwrap();
        Ok(count)
    }

    /// Reads until the reader has this revision.
    pub(crate) async fn until(&mut self, stream: &mut Response, revision: Revision) {
        while self.position().revision < revision {
            assert!(self.step(stream).await.is_some(), "the stream ended");
        }
    }

    pub(crate) fn verifier(&self) -> Verifier {
        self.index.verifier(None)
    }

    pub(crate) fn accepts(&self, tenant: &Tenant, text: &str) -> bool {
        let access = Access::to(tenant.namespace.as_str());
        let verifier = self.verifier();
        verifier
            .verify_text(text.as_bytes(), &access, keyfob::now())
            .is_ok()
    }
}
