//! A store on the server of this test program.

use std::ops::Deref;

use keyfob_postgres::{Options, PostgresStore};
pub(crate) use keyfob_testkit::postgres::{Database, Server, random, run, runtime, shared};

/// A store in a database of its own.
pub(crate) async fn store() -> Store {
    Store::over(shared().database().await).await
}

pub(crate) struct Store {
    store: PostgresStore,
    pub(crate) database: Database,
}

impl Store {
    async fn over(database: Database) -> Self {
        let store = connect(&database, &Options::default()).await;
        Self { store, database }
    }

    pub(crate) fn of(store: PostgresStore, database: Database) -> Self {
        Self { store, database }
    }

    /// Closes the store; its database is left.
    pub(crate) fn into_database(self) -> Database {
        self.database
    }

    /// Closes the store, and connects to the same database again.
    pub(crate) async fn reopened(self) -> Self {
        Self::over(self.into_database()).await
    }
}

impl Deref for Store {
    type Target = PostgresStore;

    fn deref(&self) -> &PostgresStore {
        &self.store
    }
}

/// Another store over a database.
pub(crate) async fn connect(database: &Database, options: &Options) -> PostgresStore {
    let store = options.connect(&database.url()).await;
    store.expect("the store can be connected to")
}
