//! What the tests of the file are played with: a keyring over it, and processes.

#![allow(
    dead_code,
    clippy::allow_attributes,
    reason = "each test uses a part of it"
)]

use std::{ops::Deref, path::Path};

use keyfob::{
    Actor, Context, IssuedKey, KeyInfo, Keyring, NewKey, Owner, Tenant, Timestamp, block_on,
    key::KeyFormat,
    manage::{self, CreatedKey},
    name::{KeyName, NamespaceId, TeamId, UserId},
};
use keyfob_sqlite::SqliteStore;
#[allow(
    unused_imports,
    clippy::allow_attributes,
    reason = "each test uses a part of it"
)]
pub(crate) use keyfob_testkit::process::{Process, count, say, told};

pub(crate) fn format() -> KeyFormat {
    KeyFormat::new("dof").unwrap()
}

pub(crate) fn home() -> Tenant {
    Tenant::new(
        TeamId::new("acme").unwrap(),
        NamespaceId::new("fn-1").unwrap(),
    )
}

pub(crate) fn user(name: &str) -> UserId {
    UserId::new(name).unwrap()
}

pub(crate) fn now() -> Timestamp {
    Timestamp::from_unix(1_800_000_000)
}

pub(crate) fn system() -> Context {
    Context::new(Actor::system(), now())
}

/// A keyring, and the store under it.
pub(crate) struct Opened {
    keyring: Keyring,
    store: SqliteStore,
}

impl Opened {
    pub(crate) fn store(&self) -> &SqliteStore {
        &self.store
    }
}

impl Deref for Opened {
    type Target = Keyring;

    fn deref(&self) -> &Keyring {
        &self.keyring
    }
}

pub(crate) fn keyring(path: &Path) -> Opened {
    over(SqliteStore::open(path).unwrap())
}

pub(crate) fn over(store: SqliteStore) -> Opened {
    let keyring = block_on(Keyring::builder(store.clone(), format()).open(now()));
    Opened {
        keyring: keyring.unwrap(),
        store,
    }
}

pub(crate) fn new_key(of: &str, name: &str) -> NewKey {
    let name = KeyName::new(name).unwrap();
    NewKey::new(home(), Owner::User(user(of)), name)
}

pub(crate) fn create(
    keyring: &Keyring,
    of: &str,
    name: &str,
) -> Result<(IssuedKey, KeyInfo), manage::Error> {
    block_on(keyring.create(&system(), new_key(of, name))).map(CreatedKey::into_parts)
}
