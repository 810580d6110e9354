//! The store that a command works on, chosen by URL.

mod url;

use std::{path::Path, time::Duration};

use keyfob::{
    KeyId, KeyStore, MemoryStore, Tenant,
    audit::AuditEvent,
    gateway::Usage,
    key::CredentialId,
    legacy::{LegacyPolicy, LegacyRecord},
    manage::Policy,
    store::{
        AuditQuery, Changes, Commit, CommitError, KeyQuery, KeyRecord, LegacyQuery, NamespaceQuery,
        NamespaceRecord, Page, Revision, StoreError,
    },
};
use keyfob_postgres::PostgresStore;
use keyfob_sqlite::SqliteStore;

use crate::{
    exit::Exit,
    failure::{Failure, with_sources},
};

pub(crate) use url::StoreUrl;

/// A store of one of the kinds that there are.
#[derive(Clone, Debug)]
pub(crate) enum Store {
    /// In this process, and gone with it.
    Memory(std::sync::Arc<MemoryStore>),
    Sqlite(SqliteStore),
    Postgres(PostgresStore),
}

/// What to do if there is no store yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Absent {
    /// Make one.
    Create,
    /// Refuse: a path that is mistyped must not look like an empty store.
    Refuse,
}

impl Store {
    /// Opens the store at a URL.
    pub(crate) async fn open(url: &StoreUrl, absent: Absent) -> Result<Self, Failure> {
        match url {
            StoreUrl::Memory => Ok(Self::Memory(std::sync::Arc::default())),
            StoreUrl::Postgres(text) => {
                let connected = PostgresStore::connect(text).await;
                connected.map(Self::Postgres).map_err(|error| {
                    let exit = match error {
                        keyfob_postgres::ConnectError::Url => Exit::Usage,
                        _ => Exit::Store,
                    };
                    // The URL is shown without its password.
                    Failure::new(exit, format!("{url}: {}", with_sources(&error)))
                })
            }
            StoreUrl::Sqlite(path) => {
                let options = SqliteStore::options().with_create(absent == Absent::Create);
                options.open(path).map(Self::Sqlite).map_err(|error| {
                    let failure = unavailable(path, &error);
                    match error {
                        keyfob_sqlite::OpenError::Missing => failure.hint(
                            "`--store sqlite:PATH` names another; `keyfob serve` and `keyfob keys create` make one",
                        ),
                        _ => failure,
                    }
                })
            }
        }
    }

    /// Waits for changes, also of other processes.
    pub(crate) fn watch(&self) -> Watch {
        match self {
            Self::Memory(_) => Watch::Interval,
            Self::Sqlite(store) => Watch::Sqlite(store.watch()),
            Self::Postgres(store) => Watch::Postgres(store.watch()),
        }
    }

    /// Copies the store into a new file, while others work on it.
    pub(crate) async fn backup(&self, to: &Path) -> Result<(), Failure> {
        match self {
            Self::Sqlite(store) => store.backup(to).await.map_err(|error| {
                let text = format!("{}: {}", to.display(), with_sources(&error));
                Failure::new(Exit::Failed, text)
            }),
            Self::Memory(_) => Err(Failure::usage("a store in memory has no backup")),
            Self::Postgres(_) => Err(Failure::usage("the database is copied by its own means")
                .hint("as by `pg_dump`; a copy of the database is a store")),
        }
    }
}

fn unavailable(path: &Path, error: &dyn std::error::Error) -> Failure {
    let text = format!("{}: {}", path.display(), with_sources(error));
    Failure::new(Exit::Store, text)
}

/// Waits for changes of a store.
#[derive(Debug)]
pub(crate) enum Watch {
    /// Nobody else can change it: there is only the interval.
    Interval,
    Sqlite(keyfob_sqlite::Watch),
    Postgres(keyfob_postgres::Watch),
}

impl Watch {
    /// Waits until something may have changed, or for this long.
    pub(crate) async fn changed(&mut self, at_most: Duration) {
        match self {
            Self::Interval => tokio::time::sleep(at_most).await,
            Self::Sqlite(watch) => watch.changed(at_most).await,
            Self::Postgres(watch) => watch.changed(at_most).await,
        }
    }
}

/// Asks whichever store it is.
macro_rules! ask {
    ($store:expr, $inner:ident => $call:expr) => {
        match $store {
            Store::Memory($inner) => $call.await,
            Store::Sqlite($inner) => $call.await,
            Store::Postgres($inner) => $call.await,
        }
    };
}

impl KeyStore for Store {
    async fn commit(&self, commit: &Commit) -> Result<Revision, CommitError> {
        ask!(self, store => store.commit(commit))
    }

    async fn key(&self, tenant: &Tenant, id: KeyId) -> Result<Option<KeyRecord>, StoreError> {
        ask!(self, store => store.key(tenant, id))
    }

    async fn keys(&self, query: &KeyQuery) -> Result<Page<KeyRecord>, StoreError> {
        ask!(self, store => store.keys(query))
    }

    async fn legacy(&self, query: &LegacyQuery) -> Result<Page<LegacyRecord>, StoreError> {
        ask!(self, store => store.legacy(query))
    }

    async fn namespaces(
        &self,
        query: &NamespaceQuery,
    ) -> Result<Page<NamespaceRecord>, StoreError> {
        ask!(self, store => store.namespaces(query))
    }

    async fn policy(&self, tenant: &Tenant) -> Result<Policy, StoreError> {
        ask!(self, store => store.policy(tenant))
    }

    async fn legacy_policy(&self, tenant: &Tenant) -> Result<LegacyPolicy, StoreError> {
        ask!(self, store => store.legacy_policy(tenant))
    }

    async fn audit(&self, query: &AuditQuery) -> Result<Page<AuditEvent>, StoreError> {
        ask!(self, store => store.audit(query))
    }

    async fn changes(&self, after: Revision, limit: usize) -> Result<Changes, StoreError> {
        ask!(self, store => store.changes(after, limit))
    }

    async fn record_usage(&self, batch: &[Usage]) -> Result<(), StoreError> {
        ask!(self, store => store.record_usage(batch))
    }

    async fn usage(&self, credentials: &[CredentialId]) -> Result<Vec<Usage>, StoreError> {
        ask!(self, store => store.usage(credentials))
    }
}
