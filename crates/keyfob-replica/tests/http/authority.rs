//! An authority that serves the feed of a store in memory over HTTP, and fails on demand.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use axum::{
    Json, Router,
    body::Body,
    extract::{Path, Query, State},
    http::{HeaderMap, HeaderValue, StatusCode},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use bytes::Bytes;
use http_body_util::channel::Channel;
use keyfob::{
    Access, Context, DenyReason, IssuedKey, KeyInfo, KeyStore, Keyring, MemoryStore, NewKey,
    Verifier, audit::TrailHead, gateway::ReplicaEntry, key::SystemRandom, manage::CreatedKey,
    store::Revision,
};
use keyfob_feed::{
    FeedKeys, Filter, Join, Limits, Next, Position, Publisher, Snapshot, SnapshotWriter, Trust,
};
use serde_json::{Value, json};
use tokio::{net::TcpListener, task::JoinHandle, time::sleep};

/// The key with which the tests read the feed.
pub(crate) const KEY: &str = "test-key-of-a-replica";

/// What is wrong with a server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Fault {
    #[default]
    None,
    /// It accepts requests, and sends no line.
    Silent,
    /// It alters each line.
    Forges,
    /// It sends one line again and again.
    Repeats,
    /// It leaves out every second line.
    Drops,
    /// It exchanges every two lines.
    Reorders,
    /// It sends what it sent earlier: its first lines, and its first snapshot, also to readers whose position it
    /// has.
    Replays,
    /// It alters the object of the snapshot.
    AltersSnapshot,
    /// Its signers document is of a minute ago.
    OldSigners,
    /// It answers 503.
    Unavailable,
    /// It answers 403, as a relay does that does not carry the part.
    Forbids,
}

/// A store with its publisher, of which several servers may serve the feed.
#[derive(Clone)]
pub(crate) struct Authority(Arc<Inner>);

struct Inner {
    store: Mutex<Arc<MemoryStore>>,
    keys: Mutex<Arc<FeedKeys>>,
    publisher: Mutex<Publisher>,
    /// Whether it reads its store.
    is_cut_off: AtomicBool,
    reports: Mutex<Vec<Value>>,
    refuses_reports: AtomicBool,
    snapshots: AtomicUsize,
    streams: AtomicUsize,
}

/// A key, and what it is called.
pub(crate) struct Created {
    pub(crate) secret: IssuedKey,
    pub(crate) info: KeyInfo,
}

impl Created {
    /// Why the verifier refuses the key now; `None` if it does not.
    pub(crate) fn refused(&self, verifier: &Verifier) -> Option<DenyReason> {
        let text = self.secret.expose().as_bytes();
        let verdict = verifier.verify_text(text, &Access::to("orders"), keyfob::now());
        verdict.err().map(|denied| denied.reason())
    }

    /// Waits until the verifier returns this answer, and returns how long it took.
    pub(crate) async fn until(&self, verifier: &Verifier, answer: Option<DenyReason>) -> Duration {
        let start = tokio::time::Instant::now();
        loop {
            let refused = self.refused(verifier);
            if refused == answer {
                return start.elapsed();
            }
            assert!(
                start.elapsed() < Duration::from_secs(20),
                "never {answer:?}, but {refused:?}"
            );
            sleep(Duration::from_millis(5)).await;
        }
    }
}

impl Authority {
    pub(crate) async fn new() -> Self {
        let store = Arc::new(MemoryStore::new());
        Keyring::open(Arc::clone(&store), "acme").await.unwrap();
        let keys = Arc::new(FeedKeys::generate(&SystemRandom).unwrap());
        Self::over(store, keys).await
    }

    /// Another process over the same store, with the same keys.
    pub(crate) async fn second(&self) -> Self {
        Self::over(self.store(), self.keys()).await
    }

    async fn over(store: Arc<MemoryStore>, keys: Arc<FeedKeys>) -> Self {
        let publisher = Publisher::new(Arc::clone(&keys), TrailHead::START, limits());
        let authority = Self(Arc::new(Inner {
            store: Mutex::new(store),
            keys: Mutex::new(keys),
            publisher: Mutex::new(publisher),
            is_cut_off: AtomicBool::new(false),
            reports: Mutex::default(),
            refuses_reports: AtomicBool::new(false),
            snapshots: AtomicUsize::new(0),
            streams: AtomicUsize::new(0),
        }));
        authority.read().await;
        let reading = Arc::downgrade(&authority.0);
        tokio::spawn(async move {
            while let Some(inner) = reading.upgrade() {
                let authority = Self(inner);
                if !authority.0.is_cut_off.load(SeqCst) {
                    authority.read().await;
                }
                drop(authority);
                sleep(Duration::from_millis(20)).await;
            }
        });
        authority
    }

    pub(crate) fn trust(&self) -> Trust {
        Trust::pinned(self.keys().signers()).unwrap()
    }

    /// The public key of the signer.
    pub(crate) fn signer(&self) -> String {
        self.keys().signers().next().unwrap().to_string()
    }

    /// The last revision of the store.
    pub(crate) async fn head(&self) -> Revision {
        self.store().head().await.unwrap().revision
    }

    pub(crate) fn keys(&self) -> Arc<FeedKeys> {
        Arc::clone(&self.0.keys.lock().unwrap())
    }

    pub(crate) fn store(&self) -> Arc<MemoryStore> {
        Arc::clone(&self.0.store.lock().unwrap())
    }

    pub(crate) async fn keyring(&self) -> Keyring {
        Keyring::open(self.store(), "acme").await.unwrap()
    }

    pub(crate) async fn create(&self, owner: &str) -> Created {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let name = format!("key-{}", NEXT.fetch_add(1, SeqCst));
        let new = NewKey::for_user("team", "orders", owner, &name).unwrap();
        let keyring = self.keyring().await;
        let created = keyring.create(&Context::system(keyfob::now()), new).await;
        let CreatedKey { secret, info, .. } = created.unwrap();
        Created { secret, info }
    }

    pub(crate) async fn revoke(&self, key: &Created) {
        let context = Context::system(keyfob::now());
        let (keyring, info) = (self.keyring().await, &key.info);
        let revoked = keyring.revoke(&context, &info.tenant, info.id, None);
        revoked.await.unwrap();
    }

    /// Stops reading the store, as an authority without its database, or goes on.
    pub(crate) fn cut_off(&self, is_cut_off: bool) {
        self.0.is_cut_off.store(is_cut_off, SeqCst);
    }

    pub(crate) fn refuse_reports(&self, refuses: bool) {
        self.0.refuses_reports.store(refuses, SeqCst);
    }

    pub(crate) fn reports(&self) -> Vec<Value> {
        self.0.reports.lock().unwrap().clone()
    }

    pub(crate) fn snapshots(&self) -> usize {
        self.0.snapshots.load(SeqCst)
    }

    pub(crate) fn streams(&self) -> usize {
        self.0.streams.load(SeqCst)
    }

    /// Starts again over another store, as after the restore of a backup.
    pub(crate) async fn replace_store(&self) {
        let store = Arc::new(MemoryStore::new());
        Keyring::open(Arc::clone(&store), "acme").await.unwrap();
        *self.0.store.lock().unwrap() = store;
        self.restart();
        self.read().await;
    }

    /// Changes the keys, and starts again with them.
    pub(crate) async fn with_keys(&self, change: impl FnOnce(&mut FeedKeys)) {
        let mut keys = FeedKeys::parse(&self.keys().to_text()).unwrap();
        change(&mut keys);
        *self.0.keys.lock().unwrap() = Arc::new(keys);
        self.restart();
        self.read().await;
    }

    fn restart(&self) {
        let publisher = Publisher::new(self.keys(), TrailHead::START, limits());
        *self.0.publisher.lock().unwrap() = publisher;
    }

    /// Reads the store to its end.
    async fn read(&self) {
        loop {
            let (asked, wants) = (now_ms(), self.publisher(|publisher| publisher.wants()));
            let changes = self.store().changes(wants, 1000).await.unwrap();
            let progress = self.publisher(|publisher| publisher.answer(&changes, asked));
            // An error: the store was replaced meanwhile.
            if progress.is_ok_and(|progress| progress == keyfob_feed::Progress::End) {
                return;
            }
            sleep(Duration::from_millis(1)).await;
        }
    }

    fn publisher<T>(&self, act: impl FnOnce(&mut Publisher) -> T) -> T {
        act(&mut self.0.publisher.lock().unwrap())
    }

    async fn snapshot(&self) -> Snapshot {
        let (as_of, store) = (now_ms(), self.store());
        let mut writer = SnapshotWriter::new(Filter::All, 1 << 20).unwrap();
        let mut after = Revision::ZERO;
        let head = loop {
            let changes = store.changes(after, 1000).await.unwrap();
            let entries: Vec<_> = changes.entries.iter().map(ReplicaEntry::from).collect();
            writer.write(&entries).unwrap();
            after = changes.next_after;
            if !changes.more {
                break changes.head;
            }
        };
        let position = self.publisher(|publisher| publisher.position_of(head));
        writer
            .finish(position, as_of, "acme".parse().unwrap(), &self.keys())
            .unwrap()
    }

    /// Serves the feed at a free port of the loopback.
    pub(crate) async fn serve(&self) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        self.serve_on(listener, address)
    }

    pub(crate) fn serve_on<L>(&self, listener: L, address: String) -> Server
    where
        L: axum::serve::Listener,
        L::Addr: std::fmt::Debug,
    {
        let state = Serving {
            authority: self.clone(),
            fault: Arc::default(),
            snapshots: Arc::default(),
            old: Arc::default(),
            count: Arc::default(),
            stop: tokio::sync::watch::Sender::new(0),
        };
        let router = Router::new()
            .route("/v1/feed", get(stream))
            .route("/v1/feed/snapshot", get(manifest))
            .route("/v1/feed/snapshots/{object}", get(object))
            .route("/v1/feed/signers", get(signers))
            .route("/v1/feed/report", post(report))
            .with_state(state.clone());
        Server {
            address,
            task: tokio::spawn(async move { axum::serve(listener, router).await.unwrap() }),
            state,
        }
    }
}

/// A server of the feed.
pub(crate) struct Server {
    pub(crate) address: String,
    state: Serving,
    task: JoinHandle<()>,
}

#[derive(Clone)]
struct Serving {
    authority: Authority,
    fault: Arc<Mutex<Fault>>,
    snapshots: Arc<Mutex<HashMap<String, Bytes>>>,
    /// The first lines that were sent, and the first manifest.
    old: Arc<Mutex<(Vec<Bytes>, Option<Bytes>)>>,
    /// How many lines and streams were altered.
    count: Arc<AtomicUsize>,
    /// Counts how often all streams were closed.
    stop: tokio::sync::watch::Sender<u64>,
}

impl Server {
    pub(crate) fn fail(&self, fault: Fault) {
        *self.state.fault.lock().unwrap() = fault;
    }

    /// Closes all streams.
    pub(crate) fn close_streams(&self) {
        self.state.stop.send_modify(|count| *count += 1);
    }

    /// Stops for good.
    pub(crate) fn stop(&self) {
        self.task.abort();
        self.close_streams();
        self.fail(Fault::Unavailable);
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Serving {
    fn fault(&self) -> Fault {
        *self.fault.lock().unwrap()
    }

    fn check(&self, headers: &HeaderMap) -> Result<(), StatusCode> {
        if self.fault() == Fault::Unavailable {
            return Err(StatusCode::SERVICE_UNAVAILABLE);
        }
        if self.fault() == Fault::Forbids {
            return Err(StatusCode::FORBIDDEN);
        }
        let expected = format!("Bearer {KEY}");
        let given = headers.get("authorization").map(HeaderValue::as_bytes);
        (given == Some(expected.as_bytes()))
            .then_some(())
            .ok_or(StatusCode::UNAUTHORIZED)
    }
}

async fn stream(
    State(state): State<Serving>,
    Query(query): Query<HashMap<String, String>>,
    headers: HeaderMap,
) -> Result<Response, StatusCode> {
    state.check(&headers)?;
    let authority = state.authority.clone();
    let mut position: Position = query
        .get("after")
        .and_then(|text| text.parse().ok())
        .ok_or(StatusCode::BAD_REQUEST)?;
    authority.0.streams.fetch_add(1, SeqCst);
    authority.publisher(|publisher| publisher.open(&Filter::All));
    // The first answer decides about the status.
    let mut join = joined(&authority, position).await;
    let lies =
        state.fault() == Fault::Replays && state.count.fetch_add(1, SeqCst).is_multiple_of(2);
    if join == Join::Gone || lies {
        return Ok((
            StatusCode::GONE,
            Json(json!({"snapshot": "/v1/feed/snapshot"})),
        )
            .into_response());
    }
    let (mut sender, body) = Channel::<Bytes>::new(64);
    let mut stopped = state.stop.subscribe();
    tokio::spawn(async move {
        let send = async {
            let (mut last, mut held): (Option<Bytes>, Option<Bytes>) = (None, None);
            loop {
                let cursor = match join {
                    Join::CatchUp(line, to) => {
                        position = to;
                        last = Some(line.to_sent());
                        for line in altered(&state, &mut held, line.to_sent()) {
                            if sender.send_data(line).await.is_err() {
                                return;
                            }
                        }
                        join = authority.publisher(|p| p.join(&Filter::All, position, false));
                        continue;
                    }
                    Join::At(cursor) => cursor,
                    _ => return,
                };
                let mut cursor = cursor;
                loop {
                    let next = authority.publisher(|p| p.next(&Filter::All, cursor));
                    match next {
                        Next::Line(line, after) => {
                            cursor = after;
                            let repeats = state.fault() == Fault::Repeats;
                            let line = match &last {
                                Some(last) if repeats => Bytes::clone(last),
                                _ => line.to_sent(),
                            };
                            last = Some(line.clone());
                            for line in altered(&state, &mut held, line) {
                                if sender.send_data(line).await.is_err() {
                                    return;
                                }
                            }
                        }
                        Next::Wait => match &last {
                            Some(last) if state.fault() == Fault::Repeats => {
                                sleep(Duration::from_millis(50)).await;
                                if sender.send_data(Bytes::clone(last)).await.is_err() {
                                    return;
                                }
                            }
                            _ => sleep(Duration::from_millis(5)).await,
                        },
                        _ => return,
                    }
                }
            }
        };
        tokio::select! {
            () = send => {}
            _ = stopped.changed() => {}
        }
    });
    Ok(Body::new(body).into_response())
}

async fn joined(authority: &Authority, position: Position) -> Join {
    let start = tokio::time::Instant::now();
    loop {
        let join = authority.publisher(|p| p.join(&Filter::All, position, true));
        let revision = match join {
            Join::Ask(revision) => revision,
            // Another process may have read more; if that lasts, it is of another history.
            Join::Ahead if start.elapsed() < Duration::from_millis(300) => {
                sleep(Duration::from_millis(5)).await;
                continue;
            }
            Join::Ahead => return Join::Gone,
            join => return join,
        };
        let changes = authority.store().changes(revision, 1).await.unwrap();
        let Some(hash) = changes.after_hash else {
            return Join::Gone;
        };
        authority.publisher(|publisher| publisher.learn(revision, hash));
    }
}

/// What is sent in place of a line. `held` is a line that is sent later.
fn altered(state: &Serving, held: &mut Option<Bytes>, line: Bytes) -> Vec<Bytes> {
    let (old, _) = &mut *state.old.lock().unwrap();
    let fault = state.fault();
    if old.len() < 64 && fault == Fault::None {
        old.push(line.clone());
    }
    let count = || state.count.fetch_add(1, SeqCst);
    match fault {
        Fault::Silent => Vec::new(),
        Fault::Forges => {
            // A later time than the one that was signed.
            let text = String::from_utf8(line.to_vec()).unwrap();
            vec![text.replace("\"as_of\":1", "\"as_of\":2").into()]
        }
        Fault::Drops if count().is_multiple_of(2) => Vec::new(),
        Fault::Reorders => {
            let Some(before) = held.take() else {
                *held = Some(line);
                return Vec::new();
            };
            vec![line, before]
        }
        Fault::Replays if !old.is_empty() => vec![old[count() % old.len()].clone()],
        _ => vec![line],
    }
}

async fn manifest(State(state): State<Serving>, headers: HeaderMap) -> Result<Bytes, StatusCode> {
    state.check(&headers)?;
    let first = state.old.lock().unwrap().1.clone();
    if let Some(first) = first.filter(|_| state.fault() == Fault::Replays) {
        return Ok(first);
    }
    let snapshot = state.authority.snapshot().await;
    state.authority.0.snapshots.fetch_add(1, SeqCst);
    let name = format!("{}.ndjson.zst", snapshot.manifest.object());
    state
        .snapshots
        .lock()
        .unwrap()
        .insert(name, snapshot.object);
    let (_, first) = &mut *state.old.lock().unwrap();
    first.get_or_insert_with(|| snapshot.line.to_sent());
    Ok(snapshot.line.to_sent())
}

async fn object(
    State(state): State<Serving>,
    Path(name): Path<String>,
    headers: HeaderMap,
) -> Result<Bytes, StatusCode> {
    state.check(&headers)?;
    let object = state.snapshots.lock().unwrap().get(&name).cloned();
    let object = object.ok_or(StatusCode::NOT_FOUND)?;
    if state.fault() == Fault::AltersSnapshot {
        let mut altered = object.to_vec();
        let middle = altered.len() / 2;
        altered[middle] ^= 1;
        return Ok(altered.into());
    }
    Ok(object)
}

async fn signers(State(state): State<Serving>, headers: HeaderMap) -> Result<Vec<u8>, StatusCode> {
    state.check(&headers)?;
    let as_of = match state.fault() {
        Fault::OldSigners => now_ms() - 60_000,
        _ => now_ms(),
    };
    let lines = state.authority.keys().signers_document(as_of);
    let lines: Vec<_> = lines.iter().map(keyfob_feed::SignedLine::to_sent).collect();
    Ok(lines.concat())
}

async fn report(
    State(state): State<Serving>,
    headers: HeaderMap,
    Json(report): Json<Value>,
) -> Result<StatusCode, StatusCode> {
    state.check(&headers)?;
    state.authority.0.reports.lock().unwrap().push(report);
    if state.authority.0.refuses_reports.load(SeqCst) {
        return Err(StatusCode::INTERNAL_SERVER_ERROR);
    }
    Ok(StatusCode::NO_CONTENT)
}

fn limits() -> Limits {
    let mut limits = Limits::default();
    limits.bookmark_ms = 100;
    limits
}

pub(crate) fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    u64::try_from(since.as_millis()).unwrap()
}
