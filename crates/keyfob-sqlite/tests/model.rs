//! Random changes and queries, compared with the reference implementation.

use std::sync::Arc;

use keyfob::{KeyStore, block_on};
use keyfob_conformance::model;
use keyfob_sqlite::SqliteStore;

#[test]
fn random_changes_are_answered_as_by_the_reference() {
    for seed in 0..seeds() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keys.db");
        let open = async || Arc::new(SqliteStore::open(&path).unwrap()) as Arc<dyn KeyStore>;
        let played = block_on(model::play(seed, 400, open));
        assert!(played.stored > 50 && played.refused > 50, "{played:?}");
        block_on(SqliteStore::open(&path).unwrap().check()).unwrap();
    }
}

/// How many sequences are played; as many as `KEYFOB_MODEL_SEEDS` says.
fn seeds() -> u64 {
    let asked = std::env::var("KEYFOB_MODEL_SEEDS").ok();
    asked.and_then(|seeds| seeds.parse().ok()).unwrap_or(12)
}
