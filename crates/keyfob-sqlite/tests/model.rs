//! Random changes to the file and to the reference: the answers must be equal.

use std::sync::Arc;

use keyfob::{KeyStore, block_on};
use keyfob_conformance::model::play;
use keyfob_sqlite::SqliteStore;
use keyfob_testkit::process::count;

/// How many changes are played; as many as `KEYFOB_MODEL_STEPS` says.
fn steps() -> u32 {
    let asked = std::env::var("KEYFOB_MODEL_STEPS").ok();
    asked.and_then(|steps| steps.parse().ok()).unwrap_or(6_000)
}

#[test]
fn the_file_and_the_reference_give_equal_answers() {
    const PLAYS: u32 = 20;
    for _ in 0..PLAYS {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keys.db");
        let open = async || {
            let store: Arc<dyn KeyStore> = Arc::new(SqliteStore::open(&path).unwrap());
            store
        };
        let played = block_on(play(seed(), steps() / PLAYS, open));
        count(format_args!("{played:?}"));
        assert!(played.stored > steps() / PLAYS / 6, "{played:?}");
        block_on(SqliteStore::open(&path).unwrap().check()).unwrap();
    }
}

fn seed() -> u64 {
    use std::hash::{BuildHasher as _, RandomState};

    RandomState::new().hash_one("seed")
}
