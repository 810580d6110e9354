//! The change feed: whole, in order, resumable everywhere.

use std::collections::BTreeMap;

use keyfob::{
    KeyStore,
    audit::{ChainHash, TrailHead},
    legacy::LegacyPolicy,
    manage::{Policy, Status},
    store::{AuditQuery, Change, Changes, Entry, Item, Revision, Target},
};

use crate::{
    fixture::{
        NOW, deletion, fields, home, kept, key, legacy, name, opening, part_of, removal,
        replacement, sound, tenant, user,
    },
    history::History,
    reading::{Gate, changes, feed, head, state, subject, trail},
};

fn revisions(entries: &[Entry]) -> Vec<Revision> {
    entries.iter().map(|entry| entry.revision).collect()
}

fn states(entries: &[Entry]) -> Vec<(Revision, String)> {
    entries.iter().map(state).collect()
}

/// A feed without changes ends where it began.
pub async fn an_empty_feed_is_at_its_end(store: &dyn KeyStore) {
    let part = changes(store, Revision::ZERO, 10).await;
    assert!(part.entries.is_empty() && !part.more, "{part:?}");
    assert_eq!(
        (part.after, part.next_after),
        (Revision::ZERO, Revision::ZERO)
    );
    let laptop = key("laptop").create(store).await;
    let part = changes(store, laptop.record.revision, 10).await;
    assert!(part.entries.is_empty() && !part.more, "{part:?}");
    let at = laptop.record.revision;
    assert_eq!((part.after, part.next_after), (at, at));
}

/// From the beginning, the feed tells everything that there is: each subject once, at its last
/// change, in the order of those changes.
pub async fn the_feed_tells_each_subject_once(store: &dyn KeyStore) {
    let history = History::new();
    history.play(store).await;
    let entries = feed(store, Revision::ZERO, 1000).await;
    let mut last = BTreeMap::new();
    for (revision, change) in (1..).map(Revision::new).zip(&history.changes) {
        if let Some(subject) = subject_of(change) {
            last.insert(subject, revision);
        }
    }
    let mut expected: Vec<(Revision, String)> = last
        .into_iter()
        .map(|(subject, revision)| (revision, subject))
        .collect();
    expected.sort();
    let told: Vec<(Revision, String)> = entries
        .iter()
        .map(|entry| (entry.revision, subject(&entry.item)))
        .collect();
    assert_eq!(told, expected, "the whole feed");
}

/// What the feed tells of after a change, if it does.
fn subject_of(change: &Change) -> Option<String> {
    Some(match change {
        Change::CreateNamespace { .. } => return None,
        Change::CreateKey { record, .. } | Change::ReplaceKey { record, .. } => {
            format!("key {}", record.id)
        }
        Change::DeleteKey { id, .. } => format!("key {id}"),
        Change::Revoke { target, .. } | Change::Restore { target } => {
            format!("cutoff {target:?}")
        }
        Change::ImportLegacy { record } | Change::ReplaceLegacy { record, .. } => {
            format!("legacy {}", record.id)
        }
        Change::SetPolicy { tenant, .. } => format!("policy {tenant:?}"),
        Change::SetLegacyPolicy { tenant, .. } => format!("legacy policy {tenant:?}"),
        other => panic!("a change that the history does not have: {other:?}"),
    })
}

/// Parts of any size join to the whole, and each part says rightly where it began, how far it
/// goes and whether there is more.
pub async fn parts_of_the_feed_join_to_the_whole(store: &dyn KeyStore) {
    History::new().play(store).await;
    let whole = feed(store, Revision::ZERO, 1000).await;
    let end = head(store).await;
    for limit in [1, 2, 3, 7, whole.len(), whole.len() + 1] {
        let (mut after, mut joined) = (Revision::ZERO, Vec::new());
        loop {
            let part = changes(store, after, limit).await;
            assert_part(&part, after, limit);
            assert_eq!(part.last_revision(), end, "when a part was read");
            joined.extend(part.entries);
            after = part.next_after;
            if !part.more {
                break;
            }
            assert!(joined.len() < whole.len(), "more behind the end");
        }
        assert_eq!(states(&joined), states(&whole), "in parts of {limit}");
        assert_eq!(after, end, "the end of the feed in parts of {limit}");
    }
}

fn assert_part(part: &Changes, after: Revision, limit: usize) {
    assert_eq!(part.after, after, "where the part began");
    assert!(part.entries.len() <= limit, "a part over its limit");
    let revisions = revisions(&part.entries);
    assert!(revisions.is_sorted(), "the order of {revisions:?}");
    let bounds = (revisions.first(), revisions.last());
    if let (Some(first), Some(last)) = bounds {
        assert!(after < *first && *last <= part.next_after, "{revisions:?}");
    }
    if part.more {
        assert_eq!(part.entries.len(), limit, "a part that says there is more");
        assert_eq!(bounds.1, Some(&part.next_after), "how far a part goes");
    }
}

/// After any revision, the feed tells exactly what changed last after it.
pub async fn the_feed_goes_on_from_every_revision(store: &dyn KeyStore) {
    let history = History::new();
    history.play(store).await;
    let whole = states(&feed(store, Revision::ZERO, 1000).await);
    for after in (0..=history.changes.len() as u64).map(Revision::new) {
        let expected: Vec<_> = whole
            .iter()
            .filter(|(at, _)| *at > after)
            .cloned()
            .collect();
        for limit in [1, 1000] {
            let told = states(&feed(store, after, limit).await);
            assert_eq!(told, expected, "after revision {after}");
        }
    }
}

/// A limit of zero still moves on.
pub async fn the_feed_moves_on_at_a_limit_of_zero(store: &dyn KeyStore) {
    key("a").create(store).await;
    key("b").create(store).await;
    let part = changes(store, Revision::ZERO, 0).await;
    assert_eq!(part.entries.len(), 1, "{part:?}");
    assert!(part.more && part.next_after == Revision::new(1), "{part:?}");
    let part = changes(store, Revision::ZERO, usize::MAX).await;
    assert!(part.entries.len() == 2 && !part.more, "{part:?}");
}

/// A reader who is ahead of the store is told where the store is, so that it notices.
pub async fn a_reader_ahead_of_the_store_is_told(store: &dyn KeyStore) {
    let laptop = key("laptop").create(store).await;
    let ahead = Revision::new(1000);
    let part = changes(store, ahead, 10).await;
    assert!(part.entries.is_empty() && !part.more, "{part:?}");
    let (after, next_after) = (part.after, part.next_after);
    assert_eq!((after, next_after), (ahead, laptop.record.revision));
}

/// What changed several times is told once, at its last change and in its last state.
pub async fn a_change_moves_its_subject_to_the_end(store: &dyn KeyStore) {
    let mut laptop = key("laptop").create(store).await;
    key("other").create(store).await;
    for called in ["second", "third"] {
        laptop.record.name = name(called);
        laptop.record.revision = kept(store, replacement(&laptop.record)).await;
    }
    let entries = feed(store, Revision::ZERO, 10).await;
    let expected = [Revision::new(2), Revision::new(4)];
    assert_eq!(revisions(&entries), expected);
    assert!(
        matches!(entries.last(), Some(Entry { item: Item::Key(told), .. }) if fields(told) == fields(&laptop.record)),
        "the last state: {entries:?}"
    );
}

/// The feed tells cutoffs with their cut, and their opening at a later revision.
pub async fn the_feed_tells_of_cuts_and_openings(store: &dyn KeyStore) {
    let target = part_of(user("alice"));
    let cut = kept(store, removal(target.clone())).await;
    for (revision, closed) in [(cut, true), (cut.next(), false)] {
        let entries = feed(store, Revision::ZERO, 10).await;
        let [
            Entry {
                item: Item::Cutoff(cutoff),
                ..
            },
        ] = entries.as_slice()
        else {
            panic!("the feed tells: {entries:?}");
        };
        assert_eq!(cutoff.target, target, "what was cut");
        assert_eq!((cutoff.up_to, cutoff.revision), (cut, revision));
        assert_eq!(cutoff.blocked, closed, "at revision {revision}");
        let expected = crate::fixture::revocation(NOW, keyfob::manage::RevocationCause::Owner);
        assert_eq!(cutoff.revocation, expected);
        if closed {
            kept(store, opening(target.clone())).await;
        }
    }
}

/// A cut is told by itself: it changes no key and no legacy credential in the feed.
pub async fn a_cut_rewrites_no_record(store: &dyn KeyStore) {
    let laptop = key("laptop").create(store).await;
    let guest = legacy("guest").create(store).await;
    let cut = kept(store, removal(Target::Team(home().team))).await;
    let entries = feed(store, Revision::ZERO, 10).await;
    let expected = [laptop.record.revision, guest.record.revision, cut];
    assert_eq!(revisions(&entries), expected, "{entries:?}");
    assert!(
        entries.iter().all(|entry| match &entry.item {
            Item::Key(told) => told.status == Status::Active,
            Item::Legacy(told) => told.revoked.is_none(),
            _ => true,
        }),
        "the feed tells: {entries:?}"
    );
}

/// An index that followed the store from any moment on says the same to every credential as one
/// that starts now.
pub async fn indexes_agree_wherever_they_began(store: &dyn KeyStore) {
    let history = History::new();
    let mut gates = vec![Gate::over(store).await];
    for change in &history.changes {
        kept(store, change.clone()).await;
        gates.push(Gate::over(store).await);
        if let Some(steady) = gates.first() {
            steady.follow(store).await;
        }
    }
    let fresh = history.verdicts(&Gate::over(store).await);
    for (began, gate) in gates.iter().enumerate() {
        gate.follow(store).await;
        let verdicts = history.verdicts(gate);
        assert_eq!(verdicts, fresh, "an index that began at revision {began}");
    }
    let admitted = fresh.iter().filter(|verdict| verdict.ends_with("Ok(())"));
    assert!(admitted.count() > 4, "the history admits somebody");
}

/// Each page has the hashes of the events at its start and at its end, as the audit trail has them,
/// and none for a revision that the store has not reached.
pub async fn pages_of_the_feed_name_their_history(store: &dyn KeyStore) {
    let part = changes(store, Revision::ZERO, 10).await;
    let start = Some(ChainHash::START);
    assert_eq!((part.after_hash, part.next_hash), (start, start), "empty");
    assert_eq!(part.head, TrailHead::START);
    History::new().play(store).await;
    let hashes: BTreeMap<Revision, ChainHash> = trail(store, &AuditQuery::every_team())
        .await
        .into_iter()
        .map(|event| (event.revision, event.hash))
        .chain([(Revision::ZERO, ChainHash::START)])
        .collect();
    let head = sound(store.head().await);
    for after in (0..=head.revision.get() + 2).map(Revision::new) {
        for limit in [0, 1, 3, 1000] {
            let part = changes(store, after, limit).await;
            let at = format!("{limit} changes after {after}");
            assert_eq!(part.after_hash, hashes.get(&after).copied(), "{at}: start");
            let end = hashes.get(&part.next_after).copied();
            assert_eq!(part.next_hash, end, "{at}: end");
            assert_eq!(part.head, head, "{at}: head");
        }
    }
}

/// Tombstones and policies say which team and namespace they are of, so that a reader of one team
/// can be told of these alone.
pub async fn entries_of_the_feed_have_their_tenant(store: &dyn KeyStore) {
    let (home, away) = (home(), tenant("other", "fn-9"));
    let mut deleted = Vec::new();
    for tenant in [&home, &away] {
        let gone = key("gone").within(tenant).create(store).await;
        kept(store, deletion(&gone.record)).await;
        deleted.push((gone.record.id, tenant.clone()));
    }
    let places = [None, Some(home), Some(away)];
    for tenant in &places {
        let (policy, legacy) = (Some(Policy::default()), Some(LegacyPolicy::Off));
        let tenant = || tenant.clone();
        let set = Change::SetPolicy {
            tenant: tenant(),
            policy,
        };
        kept(store, set).await;
        let set = Change::SetLegacyPolicy {
            tenant: tenant(),
            policy: legacy,
        };
        kept(store, set).await;
    }
    let (mut tombstones, mut policies, mut legacy_policies) = (vec![], vec![], vec![]);
    for entry in feed(store, Revision::ZERO, 2).await {
        match entry.item {
            Item::KeyDeleted { id, tenant } => tombstones.push((id, tenant)),
            Item::Policy(tenant, _) => policies.push(tenant),
            Item::LegacyPolicy(tenant, _) => legacy_policies.push(tenant),
            other => panic!("the feed tells: {other:?}"),
        }
    }
    assert_eq!(tombstones, deleted, "tombstones");
    assert_eq!(policies, places, "policies");
    assert_eq!(legacy_policies, places, "legacy policies");
}
