//! What the tests of the file are played with: a keyring over it, and processes beside it.

#![allow(
    dead_code,
    clippy::allow_attributes,
    reason = "each test uses a part of it"
)]

mod process;

use std::path::Path;

use keyfob::{
    Actor, Context, IssuedKey, KeyInfo, KeyStore, Keyring, NewKey, Owner, Tenant, Timestamp,
    block_on,
    key::KeyFormat,
    manage,
    name::{KeyName, NamespaceId, TeamId, UserId},
};
use keyfob_sqlite::SqliteStore;
#[allow(
    unused_imports,
    clippy::allow_attributes,
    reason = "each test uses a part of it"
)]
pub(crate) use process::{Process, count, say, told};

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

pub(crate) fn keyring(path: &Path) -> Keyring<SqliteStore> {
    Keyring::new(SqliteStore::open(path).unwrap(), format())
}

pub(crate) fn new_key(of: &str, name: &str) -> NewKey {
    let name = KeyName::new(name).unwrap();
    NewKey::new(home(), Owner::User(user(of)), name)
}

pub(crate) fn create<S: KeyStore>(
    keyring: &Keyring<S>,
    of: &str,
    name: &str,
) -> Result<(IssuedKey, KeyInfo), manage::Error> {
    block_on(keyring.create(&system(), new_key(of, name)))
}
