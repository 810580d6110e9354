//! The first example of the README, over a file.

use keyfob::{Access, Context, Keyring, NewKey, Ttl, block_on, now};
use keyfob_sqlite::SqliteStore;

fn example(store: SqliteStore) -> Result<(), Box<dyn std::error::Error>> {
    let keyring = block_on(Keyring::open(store, "acme"))?;
    let verifier = keyring.verifier();
    let (by, orders) = (Context::system(now()), Access::to("orders"));

    let new = NewKey::for_user("team", "orders", "alice", "laptop")?.expires_in(Ttl::days(90)?);
    let key = block_on(keyring.create(&by, new))?.secret;
    let header = key.bearer();
    let _caller = verifier.verify_header(header.as_bytes(), &orders, now())?;

    block_on(keyring.remove_member(&by, "team", "alice"))?;
    assert!(
        verifier
            .verify_header(header.as_bytes(), &orders, now())
            .is_err()
    );
    Ok(block_on(keyring.restore_member(&by, "team", "alice"))?)
}

#[test]
fn the_first_example_works_on_its_second_run() {
    let folder = tempfile::tempdir().unwrap();
    for _ in 0..2 {
        example(SqliteStore::open(folder.path().join("keys.db")).unwrap()).unwrap();
    }
}
