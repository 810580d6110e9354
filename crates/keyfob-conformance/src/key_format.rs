//! The format of the keys in a store, recorded once.

use keyfob::{KeyStore, key::KeyFormat};

use crate::{
    fixture::{format, kept, key, sound},
    reading::everything,
};

/// An empty store has no key format, and a commit records none.
pub async fn no_key_format_is_recorded_at_first(store: &dyn KeyStore) {
    assert_eq!(sound(store.key_format().await), None, "an empty store");
    kept(store, key("laptop").creation()).await;
    assert_eq!(sound(store.key_format().await), None, "after a commit");
}

/// The first format is recorded, and returned to everyone who comes with another one later.
/// Recording it is no commit.
pub async fn the_first_key_format_is_kept(store: &dyn KeyStore) {
    let other = KeyFormat::new("acme").expect("the prefix is valid");
    kept(store, key("laptop").creation()).await;
    let before = everything(store).await;
    for asked in [format(), other, format()] {
        let recorded = sound(store.record_key_format(&asked).await);
        assert_eq!(recorded, format(), "the answer to {asked:?}");
        assert_eq!(sound(store.key_format().await), Some(format()), "recorded");
    }
    assert_eq!(everything(store).await, before, "recording is no commit");
}

/// Of several formats at once one is recorded, and all callers learn which.
pub async fn of_key_formats_at_once_one_is_kept(store: &dyn KeyStore) {
    let formats = ["dof", "acme", "other"].map(|prefix| KeyFormat::new(prefix).expect("valid"));
    let attempts = formats.iter().map(|format| store.record_key_format(format));
    let answers = crate::reading::side_by_side(attempts.collect()).await;
    let recorded = sound(store.key_format().await).expect("a format is recorded");
    for answer in answers {
        assert_eq!(sound(answer), recorded, "the answers differ");
    }
}
