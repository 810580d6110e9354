//! One order, all or nothing, judged inside.

use keyfob::{
    KeyStore,
    store::{AuditQuery, Conflict, Item, KeyQuery, Limits, Revision, Target},
};

use crate::{
    fixture::{
        commit, cut, deletion, home, kept, key, legacy, name, opening, part_of, removal,
        replacement, tenant, user,
    },
    reading::{Gate, changes, feed, find, head, listed, read, side_by_side, text, trail},
    refusal::refused,
};

/// The first commit gets the first revision, and every commit the next.
pub async fn every_commit_gets_the_next_revision(store: &dyn KeyStore) {
    assert_eq!(head(store).await, Revision::ZERO, "an empty store");
    let laptop = key("laptop");
    let mut answered = vec![kept(store, laptop.creation()).await];
    answered.push(kept(store, removal(part_of(user("bob")))).await);
    answered.push(kept(store, legacy("guest").import()).await);
    answered.push(kept(store, opening(part_of(user("bob")))).await);
    answered.push(kept(store, deletion(&laptop.record)).await);
    let expected: Vec<Revision> = (1..=5).map(Revision::new).collect();
    assert_eq!(answered, expected, "the revisions of five commits");
    assert_eq!(head(store).await, Revision::new(5), "after five commits");
}

/// The revision that a commit answers is that of the record, the event and the feed's entry.
pub async fn a_commit_has_one_revision_everywhere(store: &dyn KeyStore) {
    key("first").create(store).await;
    let laptop = key("laptop").create(store).await;
    let revision = kept(store, replacement(&laptop.record)).await;
    assert_eq!(read(store, &laptop.record).await.revision, revision);
    let last = feed(store, Revision::ZERO, 100).await.pop();
    let last = last.expect("the feed tells of the change");
    assert_eq!(last.revision, revision, "the entry of the feed");
    assert!(
        matches!(&last.item, Item::Key(record) if record.revision == revision),
        "the record in the feed: {:?}",
        last.item
    );
    let events = trail(store, &AuditQuery::every_team()).await;
    let of_events: Vec<Revision> = events.iter().map(|event| event.revision).collect();
    let expected: Vec<Revision> = (1..=3).map(Revision::new).collect();
    assert_eq!(of_events, expected, "the revisions of the audit trail");
}

/// A read that begins after a commit returned sees that commit, and its last state.
pub async fn a_reader_sees_what_was_committed_before(store: &dyn KeyStore) {
    let mut laptop = key("laptop").create(store).await;
    for called in ["second", "third", "fourth"] {
        laptop.record.name = name(called);
        laptop.record.revision = kept(store, replacement(&laptop.record)).await;
        let found = read(store, &laptop.record).await;
        assert_eq!(text(&found.name), called, "by its identifier");
        let listed = listed(store, &laptop.record).await;
        let listed = listed.expect("the key is listed");
        assert_eq!(text(&listed.name), called, "in the list");
        let told = changes(store, Revision::ZERO, 100).await;
        assert_eq!(
            told.next_after, laptop.record.revision,
            "in the change feed"
        );
    }
}

/// A commit whose condition is broken leaves revision, records, feed and audit trail as they
/// were.
pub async fn a_refused_commit_changes_nothing(store: &dyn KeyStore) {
    let laptop = key("laptop").create(store).await;
    let unknown = key("unknown");
    kept(store, removal(part_of(user("bob")))).await;
    let mut stale = laptop.record.clone();
    stale.name = name("renamed");
    stale.revision = Revision::ZERO;
    let unique = Limits {
        unique_name: true,
        keys_per_owner: None,
    };
    let foreign = tenant("globex", "fn-1");
    let of_bob = key("bobs").of(user("bob"));
    let nobody = part_of(user("nobody"));
    for (change, conflict) in [
        (laptop.creation(), Conflict::IdTaken),
        (replacement(&stale), Conflict::Stale),
        (replacement(&unknown.record), Conflict::NotFound),
        (deletion(&unknown.record), Conflict::NotFound),
        (key("laptop").creation_within(unique), Conflict::NameTaken),
        (of_bob.creation(), Conflict::Removed(part_of(user("bob")))),
        (opening(nobody.clone()), Conflict::NotRemoved(nobody)),
        (
            key("laptop").within(&foreign).creation(),
            Conflict::ForeignNamespace,
        ),
    ] {
        refused(store, change, conflict).await;
    }
    let found = read(store, &laptop.record).await;
    assert_eq!(text(&found.name), "laptop", "after refused changes");
    assert!(find(store, &of_bob.record).await.is_none(), "a refused key");
}

/// Commits at once are kept one after the other, each at a revision of its own.
pub async fn commits_at_once_get_a_revision_each(store: &dyn KeyStore) {
    let keys: Vec<_> = (0..8).map(|n| key(&format!("key {n}"))).collect();
    let creations = keys.iter().map(|key| commit(store, key.creation()));
    let mut answered: Vec<Revision> = side_by_side(creations.collect())
        .await
        .into_iter()
        .map(|answer| answer.expect("the key may be created"))
        .collect();
    answered.sort_unstable();
    let expected: Vec<Revision> = (1..=8).map(Revision::new).collect();
    assert_eq!(answered, expected, "eight commits at once");
}

/// Of several replacements of the same record at once one is kept; the others are stale.
pub async fn of_rotations_at_once_one_wins(store: &dyn KeyStore) {
    let laptop = key("laptop").create(store).await;
    let rotated: Vec<_> = (0..4).map(|_| laptop.rotated(0, laptop_time())).collect();
    let attempts = rotated
        .iter()
        .map(|key| commit(store, replacement(&key.record)));
    let answers = side_by_side(attempts.collect()).await;
    let gate = Gate::over(store).await;
    for (key, answer) in rotated.iter().zip(&answers) {
        let admitted = gate.decide(key.text(), &home(), laptop_time()).is_ok();
        assert_eq!(admitted, answer.is_ok(), "a secret whose rotation won");
        assert!(
            matches!(answer, Ok(_) | Err(Conflict::Stale)),
            "a rotation at the same time as others: {answer:?}"
        );
    }
    let won = answers.iter().filter(|answer| answer.is_ok()).count();
    assert_eq!(won, 1, "rotations that won");
}

fn laptop_time() -> keyfob::Timestamp {
    crate::fixture::later(60)
}

/// Of several keys created at once under a unique name one is kept.
pub async fn of_equal_names_at_once_one_is_kept(store: &dyn KeyStore) {
    let unique = Limits {
        unique_name: true,
        keys_per_owner: None,
    };
    let keys: Vec<_> = (0..4).map(|_| key("laptop")).collect();
    let attempts = keys
        .iter()
        .map(|key| commit(store, key.creation_within(unique)));
    let answers = side_by_side(attempts.collect()).await;
    let refused = answers
        .iter()
        .filter(|answer| **answer == Err(Conflict::NameTaken))
        .count();
    assert_eq!(refused, 3, "of four keys of one name: {answers:?}");
    let query = KeyQuery::namespace(&home());
    assert_eq!(crate::reading::names(store, &query).await, ["laptop"]);
}

/// When a removal and creations race, no key works afterwards: each was created before and is
/// revoked, or came after and is refused.
pub async fn a_removal_that_races_with_creations_leaves_no_key(store: &dyn KeyStore) {
    let target: Target = part_of(user("alice"));
    let keys: Vec<_> = (0..6).map(|n| key(&format!("key {n}"))).collect();
    let mut changes: Vec<_> = keys.iter().map(crate::fixture::Key::creation).collect();
    changes.insert(3, removal(target.clone()));
    let attempts = changes.into_iter().map(|change| commit(store, change));
    for answer in side_by_side(attempts.collect()).await {
        assert!(
            answer.is_ok() || answer == Err(Conflict::Removed(target.clone())),
            "a creation that races with a removal: {answer:?}"
        );
    }
    let gate = Gate::over(store).await;
    for key in &keys {
        let verdict = gate.decide(key.text(), &home(), crate::fixture::NOW);
        assert!(verdict.is_err(), "a key works after its owner was removed");
    }
}

/// A cut of a target that nothing was created in is kept like any other.
pub async fn a_target_without_keys_can_be_cut(store: &dyn KeyStore) {
    let target = part_of(user("nobody"));
    let revision = kept(store, cut(target.clone())).await;
    let entries = feed(store, Revision::ZERO, 10).await;
    assert!(
        matches!(
            entries.as_slice(),
            [entry] if entry.revision == revision
                && matches!(&entry.item, Item::Cutoff(b) if b.target == target && b.up_to == revision)
        ),
        "the feed tells: {entries:?}"
    );
}
