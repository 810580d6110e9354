//! The store.

use std::{fmt, future::Future, sync::Arc, time::Duration};

use backon::Retryable;
use keyfob::{
    KeyId, KeyStore, Tenant, Timestamp,
    audit::{AuditEvent, TrailHead},
    gateway::{Usage, UsageBatch},
    key::{CredentialId, KeyFormat},
    legacy::{LegacyPolicy, LegacyRecord},
    manage::Policy,
    store::{
        AuditQuery, Changes, Commit, CommitError, KeyQuery, KeyRecord, LegacyQuery, LiveCount,
        NamespaceQuery, NamespaceRecord, Page, Revision, StoreError, Target, TargetPage,
        TargetQuery, UsageDay, UsageQuery, async_trait,
    },
};
use tokio::sync::{Semaphore, SemaphorePermit};

use crate::{
    ConnectError, DatabaseError, Options,
    connect::Connector,
    feed,
    migrate::migrate,
    notify::ChangeNotifier,
    queries, retry,
    session::{Session, Sessions},
    targets, usage,
};

/// Keys, audit trail and change feed in a `PostgreSQL` database, for any number of machines.
///
/// Clones are handles to the same connection pool. The futures need a Tokio runtime with time and
/// I/O. They may be dropped at any moment; a commit whose future is dropped may have been kept or
/// not.
#[derive(Clone)]
pub struct PostgresStore(Arc<Inner>);

pub(crate) struct Inner {
    connector: Connector,
    sessions: Sessions,
    /// Commits are serialized anyway: one runs, and one waits at the server.
    turns: Semaphore,
    notifier: ChangeNotifier,
    /// How long to wait for a turn or for a connection.
    waiting: Duration,
    /// How long to look for the outcome of a commit whose answer was lost.
    pub(crate) settling: Duration,
}

impl PostgresStore {
    /// Connects to the store in the database at this URL, creates it if there is none, and migrates
    /// its schema.
    ///
    /// The URL is `postgres://user:password@host:port/database?parameters`, with libpq's names of
    /// parameters. Several servers are separated by commas: the store uses the one that is the
    /// primary, and looks for it again whenever it connects. Two parameters are the library's own:
    ///
    /// - `pool_mode=transaction` if the servers are poolers that give each transaction another
    ///   connection ([`Options::with_transaction_pooling`]),
    /// - `listen=HOST:PORT,…`: the database's servers themselves, for the one connection per store
    ///   that waits for notices, which do not pass such a pooler.
    ///
    /// # Security
    ///
    /// With `sslmode=require`, nothing is sent without TLS, and the server must show a certificate
    /// for its name by a trusted authority. (libpq verifies it only with `sslmode=verify-full`,
    /// which means the same here.) Without it, TLS is used if the server offers it, which an
    /// attacker on the network can prevent: require it on every network that you do not control.
    ///
    /// # Errors
    ///
    /// - not a database URL -> [`ConnectError::Url`]
    /// - a parameter has a wrong value -> [`ConnectError::Parameter`]
    /// - the only server that can be reached is a standby -> [`ConnectError::Standby`]
    /// - a pooler in transaction mode is in front of the server, and the URL does not say so ->
    ///   [`ConnectError::TransactionPooling`]
    /// - the server cannot be reached, refuses the connection, or has the wrong certificate ->
    ///   [`ConnectError::Unreachable`]
    /// - a later version of this library created the schema -> [`ConnectError::Newer`]
    /// - the schema cannot be created or migrated -> [`ConnectError::Migration`]
    pub async fn connect(url: &str) -> Result<Self, ConnectError> {
        Self::options().connect(url).await
    }

    /// Options for connecting to a store.
    pub fn options() -> Options {
        Options::default()
    }

    pub(crate) async fn connect_with(url: &str, options: &Options) -> Result<Self, ConnectError> {
        let connector = Connector::new(url, options)?;
        if connector.per_transaction().is_none() && connector.is_pooled().await {
            return Err(ConnectError::TransactionPooling);
        }
        let alone = connector.connect(|_| ()).await.map_err(ConnectError::of)?;
        migrate(&alone.client, connector.settings()).await?;
        drop(alone);
        let sessions = Sessions {
            pool: connector.pool(options)?,
            // The server applies the limit itself, if it can.
            patience: options.statement_timeout.saturating_add(MARGIN),
            per_transaction: connector.per_transaction(),
        };
        let listener = connector.listener().cloned();
        let notifier = ChangeNotifier::new(listener, sessions.clone(), options.poll_interval);
        Ok(Self(Arc::new(Inner {
            notifier,
            connector,
            sessions,
            turns: Semaphore::new(2),
            waiting: options.lock_timeout.max(options.connect_timeout),
            settling: options.lock_timeout.max(options.connect_timeout),
        })))
    }
}

impl Inner {
    /// Waits for this handle's turn to commit.
    pub(crate) async fn turn(&self) -> Result<SemaphorePermit<'_>, DatabaseError> {
        match tokio::time::timeout(self.waiting, self.turns.acquire()).await {
            Ok(Ok(turn)) => Ok(turn),
            Ok(Err(closed)) => Err(DatabaseError::other(closed)),
            Err(_) => Err(DatabaseError::busy()),
        }
    }

    pub(crate) async fn session(&self) -> Result<Session, DatabaseError> {
        self.sessions.session().await
    }

    /// Does `work`, and tries again if it fails for a passing reason. A failed try must have kept
    /// nothing.
    pub(crate) async fn retried<T, F>(
        &self,
        work: impl Fn() -> F + Send,
    ) -> Result<T, DatabaseError>
    where
        F: Future<Output = Result<T, DatabaseError>> + Send,
    {
        work.retry(retry::call())
            .when(DatabaseError::is_passing)
            .notify(|error, _| tracing::debug!(%error, "a call is tried again"))
            .await
    }
}

/// Reads over a connection of the pool, and tries again if it turns out to be lost.
macro_rules! read {
    ($store:expr, |$session:ident| $read:expr) => {{
        let inner = &$store.0;
        let read = || async {
            let mut session = inner.session().await?;
            let $session = &mut session;
            $read.await
        };
        Ok(inner.retried(read).await?)
    }};
}

#[async_trait]
impl KeyStore for PostgresStore {
    async fn commit(&self, commit: &Commit) -> Result<Revision, CommitError> {
        self.0.commit(commit).await
    }

    async fn key(&self, tenant: &Tenant, id: KeyId) -> Result<Option<KeyRecord>, StoreError> {
        read!(self, |session| queries::key(session, tenant, id))
    }

    async fn keys(&self, query: &KeyQuery) -> Result<Page<KeyRecord>, StoreError> {
        read!(self, |session| queries::keys(session, query))
    }

    async fn legacy(&self, query: &LegacyQuery) -> Result<Page<LegacyRecord>, StoreError> {
        read!(self, |session| queries::legacy(session, query))
    }

    async fn namespaces(
        &self,
        query: &NamespaceQuery,
    ) -> Result<Page<NamespaceRecord>, StoreError> {
        read!(self, |session| queries::namespaces(session, query))
    }

    async fn targets(&self, query: &TargetQuery) -> Result<TargetPage, StoreError> {
        read!(self, |session| targets::targets(session, query))
    }

    async fn count_live(&self, target: &Target, at: Timestamp) -> Result<LiveCount, StoreError> {
        read!(self, |session| targets::count_live(session, target, at))
    }

    async fn policy(&self, tenant: Option<&Tenant>) -> Result<Policy, StoreError> {
        read!(self, |session| queries::policy(session, "policy", tenant))
    }

    async fn legacy_policy(&self, tenant: Option<&Tenant>) -> Result<LegacyPolicy, StoreError> {
        read!(self, |session| queries::policy(
            session,
            "legacy_policy",
            tenant
        ))
    }

    async fn policies(&self, tenants: &[Tenant]) -> Result<Vec<Policy>, StoreError> {
        read!(self, |session| queries::policies(
            session, "policy", tenants
        ))
    }

    async fn legacy_policies(&self, tenants: &[Tenant]) -> Result<Vec<LegacyPolicy>, StoreError> {
        read!(self, |session| queries::policies(
            session,
            "legacy_policy",
            tenants
        ))
    }

    async fn audit(&self, query: &AuditQuery) -> Result<Page<AuditEvent>, StoreError> {
        read!(self, |session| queries::audit(session, query))
    }

    async fn head(&self) -> Result<TrailHead, StoreError> {
        read!(self, |session| feed::head(session))
    }

    async fn changes(&self, after: Revision, limit: usize) -> Result<Changes, StoreError> {
        read!(self, |session| feed::changes(session, after, limit))
    }

    /// A commit's notice ends the wait within milliseconds; if the notice is lost, the
    /// [poll interval](Options::with_poll_interval) does. The first wait starts to listen.
    async fn wait_for_change(&self, after: Revision) -> Result<bool, StoreError> {
        let changed = self.0.notifier.wait(after).await;
        changed.map(|()| true).map_err(StoreError::definite)
    }

    fn is_shared(&self) -> bool {
        true
    }

    async fn key_format(&self) -> Result<Option<KeyFormat>, StoreError> {
        read!(self, |session| queries::key_format(session))
    }

    async fn record_key_format(&self, format: &KeyFormat) -> Result<KeyFormat, StoreError> {
        self.0.record_key_format(format).await
    }

    async fn record_usage(&self, batch: &UsageBatch, now: Timestamp) -> Result<(), StoreError> {
        self.0.record_usage(batch, now).await
    }

    async fn usage(&self, credentials: &[CredentialId]) -> Result<Vec<Usage>, StoreError> {
        read!(self, |session| usage::usage(session, credentials))
    }

    async fn usage_days(&self, query: &UsageQuery) -> Result<Vec<UsageDay>, StoreError> {
        read!(self, |session| usage::usage_days(session, query))
    }
}

/// How much longer than the server's own limit an answer may take.
const MARGIN: Duration = Duration::from_secs(5);

/// Shows the hosts and the database, but not the URL, which may hold a password.
impl fmt::Debug for PostgresStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresStore")
            .field("connector", &self.0.connector)
            .finish_non_exhaustive()
    }
}
