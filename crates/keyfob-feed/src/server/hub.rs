//! What all connections share.

use std::{
    fmt,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use axum::Router;
use bytes::Bytes;
use keyfob::{Tenant, key::CredentialId, store::async_trait};
use tokio::sync::watch;

use crate::{
    filter::Filter,
    line::SignedLine,
    lines::{Cursor, Next},
    position::Position,
    snapshot::ObjectName,
};

use super::{
    authorize::{Authorize, ReplicaRight},
    line_reader::LineReader,
    refusal::Refusal,
    report::{Fleet, Report},
    routes,
    shares::Shares,
};

/// What all connections of a server share: the source of lines, and the reports of replicas. Cheap to
/// clone.
#[derive(Clone)]
pub struct Hub {
    pub(crate) source: Arc<dyn Source>,
    fleet: Fleet,
    pub(crate) shares: Shares,
    tenants: Option<Tenants>,
}

/// Tells the tenant of a credential.
type Tenants = Arc<dyn Fn(CredentialId) -> Option<Tenant> + Send + Sync>;

impl Hub {
    pub(crate) fn over(source: Arc<dyn Source>, fleet: Fleet) -> Self {
        Self {
            source,
            fleet,
            shares: Shares::default(),
            tenants: None,
        }
    }

    /// Tells the hub which tenant a credential has, such as by
    /// [`Index::tenant_of`](keyfob::gateway::Index::tenant_of). A replica that may read a part of the
    /// feed reports usage of credentials in this part only; what it reports of others is dropped. Without
    /// this, all of it is dropped.
    #[must_use]
    pub fn with_tenants(
        mut self,
        tenant_of: impl Fn(CredentialId) -> Option<Tenant> + Send + Sync + 'static,
    ) -> Self {
        self.tenants = Some(Arc::new(tenant_of));
        self
    }

    /// Whether a replica with this right may report usage of a credential.
    pub(crate) fn may_report(&self, right: &Filter, credential: CredentialId) -> bool {
        if *right == Filter::All {
            return true;
        }
        let tenant = self
            .tenants
            .as_ref()
            .and_then(|tenant_of| tenant_of(credential));
        tenant.is_some_and(|tenant| right.includes_namespace(&tenant))
    }

    /// The routes of the feed, for requests that `authorize` admits.
    ///
    /// | request | answer |
    /// |---|---|
    /// | `GET /v1/feed?after=POSITION` | a stream of signed lines that does not end |
    /// | `GET /v1/feed/frame?after=POSITION` | one signed frame, for relays |
    /// | `GET /v1/feed/snapshot` | a signed manifest |
    /// | `GET /v1/feed/snapshots/NAME.ndjson.zst` | an object; needs no credential but its name |
    /// | `GET /v1/feed/signers` | signed signers documents, one line each |
    /// | `POST /v1/feed/report` | 204 |
    ///
    /// A request for the stream that offers an upgrade to [`UPGRADE_PROTOCOL`](crate::UPGRADE_PROTOCOL) is
    /// answered 101 if the server supports upgrades, and the lines follow as they are. It takes less memory.
    ///
    /// The first three take a filter: `team=TEAM`, or `namespace=TEAM/NAMESPACE` one or more times.
    pub fn router(&self, authorize: impl Authorize) -> Router {
        routes::router(self.clone(), Arc::new(authorize))
    }

    /// The lines for this filter from now on, for another way to readers than HTTP. `None` if this server
    /// does not carry the filter, or has no room for one more.
    pub fn lines(&self, filter: Filter) -> Option<LineReader> {
        LineReader::open(self.clone(), filter)
    }

    /// The last reports of the replicas.
    pub fn fleet(&self) -> &Fleet {
        &self.fleet
    }

    /// Whether this server is up to date itself. If it is not, it begins no stream.
    pub fn is_current(&self) -> bool {
        self.source.is_current()
    }

    /// The position up to which the feed is published; `None` if nothing was read.
    pub fn position(&self) -> Option<Position> {
        self.source.position()
    }
}

impl fmt::Debug for Hub {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hub")
            .field("position", &self.position())
            .finish_non_exhaustive()
    }
}

/// Where a server's lines come from.
#[async_trait]
pub(crate) trait Source: Send + Sync {
    /// Tells when there may be another line, or none any more.
    fn changed(&self) -> watch::Receiver<()>;

    /// Counts a reader of a filter.
    fn open(&self, filter: &Filter) -> Result<(), Refusal>;

    /// Forgets a reader of a filter.
    fn close(&self, filter: &Filter);

    fn next(&self, filter: &Filter, cursor: Cursor) -> Next;

    /// Finds the place of a reader that was counted. With `fresh`, one that has everything gets a
    /// bookmark.
    async fn join(
        &self,
        filter: &Filter,
        position: Position,
        fresh: bool,
    ) -> Result<Joined, Refusal>;

    /// One frame from a position to the end of a line.
    async fn frame(&self, filter: &Filter, position: Position) -> Result<SignedLine, Refusal>;

    /// A manifest whose object this server has, or can get, for a reader with this right. What is made or
    /// fetched for it is finished even if the reader leaves, as is that for [`Source::object`].
    async fn manifest(
        self: Arc<Self>,
        filter: &Filter,
        right: &ReplicaRight,
    ) -> Result<SignedLine, Refusal>;

    async fn object(self: Arc<Self>, name: ObjectName) -> Result<Bytes, Refusal>;

    async fn signers(&self) -> Result<Vec<SignedLine>, Refusal>;

    /// Hands on what a replica reported. The source of `report` is one of the group of its credential;
    /// `body` is its text as it arrived.
    async fn report(&self, report: &Report, body: &Bytes) -> Result<(), Refusal>;

    fn is_current(&self) -> bool;

    fn position(&self) -> Option<Position>;
}

/// The place of a reader.
pub(crate) enum Joined {
    /// Its next line is kept.
    At(Cursor),
    /// It gets this line, and joins again at this position.
    Line(SignedLine, Position),
}

/// The path of a snapshot of this filter.
pub(crate) fn snapshot_path(filter: &Filter) -> String {
    let path = "/v1/feed/snapshot";
    match filter.to_query() {
        query if query.is_empty() => path.to_owned(),
        query => format!("{path}?{query}"),
    }
}

/// Tells the time in Unix milliseconds.
pub(crate) type Clock = Arc<dyn Fn() -> u64 + Send + Sync>;

pub(crate) fn system_clock() -> Clock {
    Arc::new(|| {
        let since = SystemTime::now().duration_since(UNIX_EPOCH);
        u64::try_from(since.unwrap_or(Duration::ZERO).as_millis()).unwrap_or(u64::MAX)
    })
}

/// How long ago the store was read to its end, or a line arrived, if a server is up to date.
pub(crate) const CURRENT_WITHIN: Duration = Duration::from_secs(5);
/// How long a reader may wait that is further than this server.
pub(crate) const AHEAD_WITHIN: Duration = Duration::from_secs(2);
