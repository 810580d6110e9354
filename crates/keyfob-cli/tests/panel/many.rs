//! A store with many keys.

use std::{path::Path, sync::Arc};

use keyfob::{
    Context, Expiry, Keyring, NewKey, Owner, Tenant, Timestamp,
    name::{KeyName, NamespaceId, TeamId},
};
use keyfob_sqlite::SqliteStore;

const KEYS: usize = 10_000;
/// Commits that wait at the same time are written together.
const AT_ONCE: usize = 64;

/// Creates ten thousand keys of fifty services in the store of the folder.
pub(crate) fn create(folder: &Path) {
    let store = SqliteStore::open(folder.join("keyfob.db")).expect("a store");
    let runtime = tokio::runtime::Builder::new_multi_thread().build();
    runtime.expect("a runtime").block_on(async {
        let keyring = Keyring::open(store, "dof").await;
        let keyring = Arc::new(keyring.expect("the store can be read"));
        let lanes = (0..AT_ONCE).map(|lane| {
            let keyring = Arc::clone(&keyring);
            tokio::spawn(async move {
                for n in (lane..KEYS).step_by(AT_ONCE) {
                    let context = Context::system(keyfob::now());
                    let made = keyring.create(&context, key(n)).await;
                    made.expect("the key is created");
                }
            })
        });
        for lane in lanes.collect::<Vec<_>>() {
            lane.await.expect("all are created");
        }
    });
}

fn key(n: usize) -> NewKey {
    let tenant = Tenant::new(
        TeamId::new("acme").expect("a name"),
        NamespaceId::new("orders").expect("a name"),
    );
    let owner: Owner = format!("service:s{}", n % 50).parse().expect("an owner");
    let name = KeyName::new(&format!("worker {n}")).expect("a name");
    let end = Timestamp::from_unix(keyfob::now().as_unix() + 90 * 86_400);
    NewKey::new(tenant, owner, name).with_expiry(Expiry::At(end))
}
