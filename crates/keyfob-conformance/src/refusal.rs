//! Checks that a refused commit changes nothing.

use keyfob::{
    KeyStore, Timestamp,
    manage::Authority,
    store::{Change, Conflict},
};

use crate::{
    fixture::{NOW, commit_by, told},
    reading::everything,
};

/// Commits a change that breaks a condition: it is refused with this conflict, and neither the
/// revision, the feed nor the audit trail moves.
pub(crate) async fn refused(store: &dyn KeyStore, change: Change, conflict: Conflict) {
    refused_at(store, change, conflict, NOW).await;
}

pub(crate) async fn refused_at(
    store: &dyn KeyStore,
    change: Change,
    conflict: Conflict,
    at: Timestamp,
) {
    refused_by(store, &Authority::System, change, conflict, at).await;
}

/// The same for a change that somebody commits who is checked.
pub(crate) async fn refused_by(
    store: &dyn KeyStore,
    authority: &Authority,
    change: Change,
    conflict: Conflict,
    at: Timestamp,
) {
    let what = format!("{change:?}");
    let before = everything(store).await;
    let event = told(&change, at);
    let answer = commit_by(store, authority, change, event).await;
    assert_eq!(answer, Err(conflict), "the answer to {what}");
    let after = everything(store).await;
    assert_eq!(after, before, "the store was changed by a refused {what}");
}
