//! Following a feed over HTTP.

mod broadcast;
mod client;
mod compaction;
mod error;
mod folder;
mod format;
mod keeper;
mod opening;
mod pages;
#[cfg(feature = "relay")]
mod relay;
mod report;
mod restore;
mod saved;
mod session;
mod steady;
mod tls;
mod upstream;

use std::{
    fmt,
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError, atomic::AtomicBool},
    time::Duration,
};

use keyfob::{
    Timestamp,
    gateway::{Index, UsageBatch},
    store::async_trait,
};
use keyfob_feed::{Filter, Position, Receiver, Refusals, Trust};

pub use broadcast::{LineReceiver, LineSender};
pub use error::{FeedError, HttpSourceError};
#[cfg(feature = "relay")]
pub use relay::HttpUpstream;
pub use tls::ClientTls;
pub use upstream::{Upstream, UpstreamError};

use client::{Client, ServiceKey};
use folder::Folder;
use report::Reporter;
use saved::Saved;
use session::Session;
use steady::{Clocks, Wall};

use crate::{Source, SourceError, Synced, clock::Uptime};

/// A source that reads the signed feed of a control plane or a relay over HTTP.
///
/// It loads a snapshot, and then applies the frames that the upstream streams. Each line is verified
/// with the keys that the operator pinned: an upstream, or what is between it and this process, can
/// delay the feed, and no more; then calls are refused. After a failure the next upstream is
/// tried, with the back-off of the [`Replica`](crate::Replica). If the upstream no longer knows the
/// position, or the store has another history, a snapshot is loaded again; the process goes on.
///
/// A source is for one replica: it knows what that replica's index has.
///
/// # Examples
///
/// ```no_run
/// use std::sync::Arc;
///
/// use keyfob_feed::{SignerKey, Trust};
/// use keyfob_replica::{Follower, HttpSource};
///
/// # async fn start(signer: SignerKey) -> Result<(), Box<dyn std::error::Error>> {
/// let source = HttpSource::builder(Trust::pinned([signer])?)
///     .upstream("https://keys-1.example:8443".parse()?)
///     .upstream("https://keys-2.example:8443".parse()?)
///     .key_file("/run/secrets/keyfob-key")
///     .saved_in("/var/lib/gateway/keyfob")
///     .build()?;
/// let replica = Follower::from_source(source, "acme").start().await?;
/// # Ok(())
/// # }
/// ```
pub struct HttpSource {
    config: Arc<Config>,
    session: tokio::sync::Mutex<Session>,
    reporter: tokio::sync::Mutex<Reporter>,
    progress: Arc<Mutex<FeedStatus>>,
}

/// What does not change while a source runs.
struct Config {
    upstreams: Vec<Upstream>,
    /// The upstreams that are not offered an upgrade, since they, or proxies in front of them, refuse it.
    no_upgrade: Vec<AtomicBool>,
    /// The upstreams that are folders, each in its place.
    folders: Vec<Option<Folder>>,
    client: Client,
    /// The query of requests for the filter, without `?`.
    query: String,
    filter: Filter,
    name: String,
    snapshot_bytes_max: u64,
    saved_bytes_max: u64,
    silence: Duration,
    lag_max: Duration,
    bound: Option<Duration>,
    clocks: Clocks,
    on_line: Option<OnLine>,
    on_trust: Option<OnTrust>,
}

type OnLine = Box<dyn Fn(&[u8]) + Send + Sync>;
type OnTrust = Box<dyn Fn(&Trust) + Send + Sync>;

impl Config {
    /// The upstream of this number if it is a folder.
    fn folder(&self, upstream: usize) -> Option<&Folder> {
        self.folders.get(upstream)?.as_ref()
    }
}

/// What a source has received.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct FeedStatus {
    /// The upstream that the source reads, or read last; `None` if it never reached one.
    pub upstream: Option<Upstream>,
    /// Whether the stream is open.
    pub is_connected: bool,
    /// Whether the lines are taken from the broadcast, in place of a stream.
    pub is_broadcast: bool,
    /// The position that was reached.
    pub position: Option<Position>,
    /// The authority's time of the last frame, in Unix milliseconds; zero if there was none.
    pub as_of: u64,
    /// The lines that were refused, by reason.
    pub refused: Refusals,
    /// How many snapshots were loaded over the network.
    pub snapshots: u64,
}

/// The settings of an [`HttpSource`].
#[must_use]
pub struct HttpSourceBuilder {
    trust: Trust,
    upstreams: Vec<Upstream>,
    key: Option<ServiceKey>,
    invalid_key: bool,
    filter: Filter,
    name: String,
    tls: ClientTls,
    allow_plain_http: bool,
    folder: Option<PathBuf>,
    saved_bytes_max: u64,
    snapshot_bytes_max: u64,
    silence: Duration,
    lag_max: Duration,
    bound: Option<Duration>,
    wall: Option<Wall>,
    uptime: Option<Uptime>,
    on_line: Option<OnLine>,
    on_trust: Option<OnTrust>,
    broadcast: Option<LineReceiver>,
}

impl HttpSource {
    /// Reads a feed that these signers signed.
    pub fn builder(trust: Trust) -> HttpSourceBuilder {
        HttpSourceBuilder {
            trust,
            upstreams: Vec::new(),
            key: None,
            invalid_key: false,
            filter: Filter::All,
            name: String::new(),
            tls: ClientTls::default(),
            allow_plain_http: false,
            folder: None,
            saved_bytes_max: HttpSourceBuilder::SAVED_BYTES_MAX,
            snapshot_bytes_max: HttpSourceBuilder::SNAPSHOT_BYTES_MAX,
            silence: HttpSourceBuilder::SILENCE,
            lag_max: HttpSourceBuilder::LAG_MAX,
            bound: None,
            wall: None,
            uptime: None,
            on_line: None,
            on_trust: None,
            broadcast: None,
        }
    }

    /// What was received, for health checks and metrics.
    pub fn status(&self) -> FeedStatus {
        self.progress().clone()
    }

    fn progress(&self) -> MutexGuard<'_, FeedStatus> {
        lock(&self.progress)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl HttpSourceBuilder {
    /// The default of [`HttpSourceBuilder::snapshot_bytes_max`]: 1 GiB, for ten million keys.
    pub const SNAPSHOT_BYTES_MAX: u64 = 1 << 30;
    /// The default of [`HttpSourceBuilder::saved_bytes_max`]: 64 MiB, for some 200,000 changes.
    pub const SAVED_BYTES_MAX: u64 = Saved::BYTES_MAX;
    /// The default of [`HttpSourceBuilder::silence`]: three bookmarks.
    pub const SILENCE: Duration = Duration::from_secs(3);
    /// The default of [`HttpSourceBuilder::lag_max`].
    pub const LAG_MAX: Duration = Duration::from_secs(5);

    /// Adds an upstream. They are tried in the order in which they were added.
    pub fn upstream(mut self, upstream: Upstream) -> Self {
        self.upstreams.push(upstream);
        self
    }

    /// Authenticates with this key, which needs the scope `replica`.
    pub fn key(mut self, key: &str) -> Self {
        self.key = ServiceKey::new(key);
        self.invalid_key = self.key.is_none();
        self
    }

    /// Authenticates with the key in this file, which is read for each connection.
    pub fn key_file(mut self, file: impl Into<PathBuf>) -> Self {
        self.key = Some(ServiceKey::File(file.into()));
        self.invalid_key = false;
        self
    }

    /// Receives a part of the store. The default is all of it.
    pub fn filter(mut self, filter: Filter) -> Self {
        self.filter = filter;
        self
    }

    /// The name by which the authority lists this process: at most 128 printable ASCII characters. The
    /// default is empty.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        self
    }

    /// Whether a text can be the [name](Self::name) of a process.
    pub fn is_name(text: &str) -> bool {
        text.len() <= 128 && text.bytes().all(|byte| matches!(byte, b' '..=b'~'))
    }

    /// Trusts the certificates in this file (PEM), and not those of the system.
    pub fn root_certificates(mut self, file: impl Into<PathBuf>) -> Self {
        self.tls.set_root_certificates(file);
        self
    }

    /// Shows this certificate to servers that ask for one. Both files are PEM.
    pub fn client_certificate(
        mut self,
        certificates: impl Into<PathBuf>,
        private_key: impl Into<PathBuf>,
    ) -> Self {
        self.tls.set_client_certificate(certificates, private_key);
        self
    }

    /// Allows plain HTTP to other machines.
    ///
    /// # Security
    ///
    /// Anyone who sees the traffic then has the key. The signatures still protect the feed.
    pub fn allow_plain_http(mut self) -> Self {
        self.allow_plain_http = true;
        self
    }

    /// Keeps what was received in this folder, so that a restart needs no network while what was kept
    /// is young enough. One process at a time uses the folder.
    ///
    /// # Security
    ///
    /// The folder has the names of tenants and owners, and digests of keys. Its files are readable
    /// by their owner only. What is read from it is verified like what comes from the network; its
    /// age is taken from the clocks that were recorded with it, which an attacker who can write to the
    /// folder can change. So can it put back a signers document that was replaced.
    pub fn saved_in(mut self, folder: impl Into<PathBuf>) -> Self {
        self.folder = Some(folder.into());
        self
    }

    /// Keeps at most so many bytes of frames in the [folder](Self::saved_in). When there are half as many, or up
    /// to three quarters, a newer snapshot is read from the upstream, and takes their place. Of more, nothing is
    /// kept until there is one.
    pub fn saved_bytes_max(mut self, bytes: u64) -> Self {
        self.saved_bytes_max = bytes;
        self
    }

    /// Refuses snapshots that are longer than this, in bytes of the compressed object.
    pub fn snapshot_bytes_max(mut self, bytes: u64) -> Self {
        self.snapshot_bytes_max = bytes;
        self
    }

    /// Closes a connection that delivered nothing for this long.
    pub fn silence(mut self, silence: Duration) -> Self {
        self.silence = silence;
        self
    }

    /// Turns to the next upstream if what one delivers has been older than this for as long. With
    /// one upstream it has no effect.
    pub fn lag_max(mut self, lag: Duration) -> Self {
        self.lag_max = lag;
        self
    }

    /// Reports this bound on staleness to the authority, which lists it: that of the replica.
    pub fn reported_bound(mut self, bound: Duration) -> Self {
        self.bound = Some(bound);
        self
    }

    /// Takes the time in Unix milliseconds from `wall`, and the time since the machine was
    /// started from `uptime`: for tests.
    pub fn clocks(
        mut self,
        wall: impl Fn() -> u64 + Send + Sync + 'static,
        uptime: impl Fn() -> Duration + Send + Sync + 'static,
    ) -> Self {
        self.wall = Some(Arc::new(wall));
        self.uptime = Some(Arc::new(uptime));
        self
    }

    /// Calls this with each line of the stream that was accepted, without its line break: for a
    /// relay. It must not wait.
    pub fn on_line(mut self, told: impl Fn(&[u8]) + Send + Sync + 'static) -> Self {
        self.on_line = Some(Box::new(told));
        self
    }

    /// Calls this with the trusted signers when they were replaced, also by those that were kept: for
    /// a relay. It must not wait.
    pub fn on_trust(mut self, told: impl Fn(&Trust) + Send + Sync + 'static) -> Self {
        self.on_trust = Some(Box::new(told));
        self
    }

    /// Takes lines from a broadcast in addition, such as from a message broker. While it delivers every
    /// line in time, the stream of the upstream is closed; a line that is missing is read from the upstream.
    /// Snapshots, signers and reports always are.
    ///
    /// # Security
    ///
    /// Each line is verified as those of an upstream are. A sender of lines can delay changes by a few
    /// seconds, and cause this source to read from its upstream.
    pub fn broadcast(mut self, lines: LineReceiver) -> Self {
        self.broadcast = Some(lines);
        self
    }

    /// Makes the source. It connects when a replica is started with it.
    ///
    /// # Errors
    ///
    /// [`HttpSourceError`] if the settings cannot work, or a file cannot be read.
    pub fn build(self) -> Result<HttpSource, HttpSourceError> {
        if self.upstreams.is_empty() {
            return Err(HttpSourceError::NoUpstream);
        }
        if self.invalid_key {
            return Err(HttpSourceError::Key);
        }
        let needs_key = !self.upstreams.iter().all(Upstream::is_folder);
        let key = match self.key {
            Some(key) => key,
            None if needs_key => return Err(HttpSourceError::NoKey),
            None => ServiceKey::None,
        };
        if !Self::is_name(&self.name) {
            return Err(HttpSourceError::Name);
        }
        let open = |upstream: &&Upstream| !upstream.is_private();
        if let Some(upstream) = self.upstreams.iter().find(open)
            && !self.allow_plain_http
        {
            return Err(HttpSourceError::PlainHttp(upstream.clone()));
        }
        let needs_tls = self.upstreams.iter().any(Upstream::is_tls);
        let tls = needs_tls.then(|| self.tls.config()).transpose()?;
        let open = |folder: PathBuf| Saved::open(&folder, self.saved_bytes_max);
        let saved = self.folder.map(open).transpose();
        let saved = saved.map_err(HttpSourceError::Folder)?;
        let no_upgrade = self.upstreams.iter().map(|_| AtomicBool::new(false));
        let config = Arc::new(Config {
            no_upgrade: no_upgrade.collect(),
            folders: self.upstreams.iter().map(Folder::of).collect(),
            upstreams: self.upstreams,
            client: Client { key, tls },
            query: self.filter.to_query(),
            filter: self.filter.clone(),
            name: self.name,
            snapshot_bytes_max: self.snapshot_bytes_max,
            saved_bytes_max: self.saved_bytes_max,
            silence: self.silence,
            lag_max: self.lag_max,
            bound: self.bound,
            clocks: Clocks::new(self.wall, self.uptime),
            on_line: self.on_line,
            on_trust: self.on_trust,
        });
        let progress = Arc::new(Mutex::new(FeedStatus::default()));
        let receiver = Receiver::new(self.trust, self.filter);
        let (of_config, of_progress) = (Arc::clone(&config), Arc::clone(&progress));
        let session = Session::new(of_config, of_progress, receiver, saved, self.broadcast);
        Ok(HttpSource {
            config,
            session: tokio::sync::Mutex::new(session),
            reporter: tokio::sync::Mutex::default(),
            progress,
        })
    }
}

#[async_trait]
impl Source for HttpSource {
    async fn wait(&self, _: &Index) -> Result<bool, SourceError> {
        self.session.lock().await.wait().await;
        Ok(true)
    }

    async fn sync(&self, index: &Index, _: Timestamp) -> Result<Synced, SourceError> {
        let synced = self.session.lock().await.sync(index).await;
        synced.map(|()| Synced::AsSent)
    }

    async fn report(&self, usage: Option<&UsageBatch>, _: Timestamp) -> Result<(), SourceError> {
        let status = self.status();
        let mut reporter = self.reporter.lock().await;
        let sent = reporter.report(&self.config, &status, usage).await;
        sent.map_err(SourceError::unavailable)
    }
}

impl fmt::Debug for HttpSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpSource")
            .field("upstreams", &self.config.upstreams)
            .field("filter", &self.config.filter)
            .field("status", &self.status())
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for HttpSourceBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpSourceBuilder")
            .field("upstreams", &self.upstreams)
            .field("filter", &self.filter)
            .finish_non_exhaustive()
    }
}
