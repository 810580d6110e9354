//! Random changes to the reference store, which is compared with itself, and to stores with a
//! defect.

use std::sync::Arc;

use keyfob::{KeyStore, MemoryStore, block_on};
use keyfob_conformance::model::play;

#[test]
fn the_reference_is_equal_to_itself_and_most_outcomes_are_met() {
    let store: Arc<dyn KeyStore> = Arc::new(MemoryStore::new());
    let played = block_on(play(1, 1_000, async || Arc::clone(&store)));
    assert!(played.stored > 250, "{played:?}");
    assert!(played.refused > 250, "{played:?}");
    assert!(played.unauthorized > 50, "{played:?}");
}
