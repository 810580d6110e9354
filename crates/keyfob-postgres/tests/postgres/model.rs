//! Random commits to this store and to the reference: every answer is the same.

use std::sync::Arc;

use keyfob::KeyStore;
use keyfob_conformance::model::play;
use keyfob_postgres::PostgresStore;

use crate::{
    server::{self, random},
    work::times,
};

#[test]
fn random_commits_and_questions_are_answered_as_by_the_reference() {
    server::run(async {
        let steps = times("KEYFOB_MODEL_STEPS", 1_200);
        for _ in 0..2 {
            let database = server::shared().database().await;
            let open = async || {
                let store = PostgresStore::connect(&database.url()).await.unwrap();
                let store: Arc<dyn KeyStore> = Arc::new(store);
                store
            };
            let played = play(random(), steps / 2, open).await;
            println!("{played:?}");
            assert!(played.stored > steps / 8, "most commits are of no interest");
        }
    });
}
