//! Random changes and queries, compared with the reference implementation.

use std::sync::Arc;

use keyfob::KeyStore;
use keyfob_conformance::model;
use keyfob_postgres::Options;

use crate::{
    server::{self, random},
    work::times,
};

#[test]
fn random_commits_and_queries_are_answered_as_by_the_reference() {
    server::run(async {
        let steps = times("KEYFOB_MODEL_STEPS", 1_200);
        for _ in 0..2 {
            let store = server::store().await;
            let options = Options::default();
            let open = async || {
                let store = store.database.connect(&options).await;
                Arc::new(store) as Arc<dyn KeyStore>
            };
            // A failure names the seed.
            let played = model::play(random(), steps / 2, open).await;
            println!("{played:?}");
            assert!(played.stored > steps / 8, "most changes are refused");
        }
    });
}
