//! The store that a command works on, chosen by URL.

mod url;
mod watched;

use std::{path::Path, sync::Arc};

use keyfob::{
    KeyStore, Keyring, MemoryStore,
    key::KeyFormat,
    manage::KeyringBuilder,
    store::{Changes, KeyQuery, Revision},
};
use keyfob_postgres::PostgresStore;
use keyfob_sqlite::{CheckError, SqliteStore};

use crate::{
    exit::Exit,
    failure::{Failure, with_sources},
};

pub(crate) use url::StoreUrl;
pub(crate) use watched::Writes;

use watched::Watched;

/// An open store.
#[derive(Clone)]
pub(crate) struct Store {
    keys: Arc<dyn KeyStore>,
    /// The same store, if it is one that the program can copy.
    sqlite: Option<SqliteStore>,
}

/// What to do if the store does not exist.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Absent {
    Create,
    /// A mistyped path must not look like an empty store.
    Refuse,
}

impl Store {
    /// Opens the store at a URL.
    pub(crate) async fn open(url: &StoreUrl, absent: Absent) -> Result<Self, Failure> {
        match url {
            StoreUrl::Memory => Ok(Self::of(MemoryStore::new())),
            StoreUrl::Postgres(text, _) => {
                let connected = PostgresStore::connect(text).await;
                connected.map(Self::of).map_err(|error| {
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
                let sqlite = options.open(path).map_err(|error| {
                    let text = format!("{}: {}", path.display(), with_sources(&error));
                    let failure = Failure::new(Exit::Store, text);
                    match error {
                        keyfob_sqlite::OpenError::Missing => failure.hint(
                            "use `--store sqlite:PATH` for another file; `keyfob serve` and `keyfob keys create` create it",
                        ),
                        _ => failure,
                    }
                })?;
                Ok(Self {
                    sqlite: Some(sqlite.clone()),
                    ..Self::of(sqlite)
                })
            }
        }
    }

    fn of(store: impl KeyStore + 'static) -> Self {
        Self {
            keys: Arc::new(store),
            sqlite: None,
        }
    }

    /// The same store, and whether its writes fail from now on.
    pub(crate) fn watched(self) -> (Self, Writes) {
        let writes = Writes::default();
        let watched = Watched {
            store: self.keys,
            writes: writes.clone(),
        };
        let keys = Arc::new(watched);
        (Self { keys, ..self }, writes)
    }

    /// The store itself.
    pub(crate) fn keys(&self) -> Arc<dyn KeyStore> {
        Arc::clone(&self.keys)
    }

    /// The keyring over the store: its keys have this prefix, or the one that the store records.
    pub(crate) async fn keyring(
        &self,
        prefix: Option<KeyFormat>,
    ) -> Result<KeyringBuilder, Failure> {
        let format = match prefix {
            Some(prefix) => prefix,
            None => match self.keys.key_format().await? {
                Some(recorded) => recorded,
                None => default_format()?,
            },
        };
        Ok(Keyring::builder(Arc::clone(&self.keys), format))
    }

    /// A part of the change feed.
    pub(crate) async fn changes(&self, after: Revision) -> Result<Changes, Failure> {
        Ok(self.keys.changes(after, KeyQuery::LIMIT_MAX).await?)
    }

    /// Checks the file of the store completely; returns false if it has none.
    pub(crate) async fn check(&self) -> Result<bool, Failure> {
        let Some(sqlite) = &self.sqlite else {
            return Ok(false);
        };
        sqlite.check().await.map_err(|error| damaged(&error))?;
        Ok(true)
    }

    /// Checks the structure of the file of the store, if it has one.
    pub(crate) async fn quick_check(&self) -> Result<(), Failure> {
        match &self.sqlite {
            Some(sqlite) => sqlite.quick_check().await.map_err(|error| damaged(&error)),
            None => Ok(()),
        }
    }

    /// Copies the store to a new file while other processes use it.
    pub(crate) async fn backup(&self, to: &Path) -> Result<(), Failure> {
        let Some(sqlite) = &self.sqlite else {
            return Err(
                Failure::usage("only a SQLite store can be backed up by this command")
                    .hint("copy a PostgreSQL database with `pg_dump`"),
            );
        };
        sqlite.backup(to).await.map_err(|error| {
            let text = format!("{}: {}", to.display(), with_sources(&error));
            Failure::new(Exit::Failed, text)
        })
    }
}

fn damaged(error: &CheckError) -> Failure {
    let text = with_sources(error);
    match error {
        CheckError::Damaged(_) => Failure::new(Exit::Refused, text).hint(
            "keep the file, and restore a backup as docs/operations.md describes: keys that were revoked since then must be revoked again",
        ),
        _ => Failure::new(Exit::Store, text),
    }
}

/// The format of the keys in a new store.
pub(crate) fn default_format() -> Result<KeyFormat, Failure> {
    KeyFormat::new("dof").map_err(|error| Failure::usage(error.to_string()))
}
