//! Usage: counts are added, last use moves forward, nothing else is touched.

use keyfob::{
    KeyStore, Timestamp,
    gateway::{Usage, UsageBatch, UsageDelta, UsageOutcome, UsageSource},
    key::{CredentialId, SystemRandom},
    store::Target,
};

use crate::{
    fixture::{
        Key, NOW, cut, deletion, home, kept, key, later, legacy, removal, replacement, sound,
    },
    reading::{everything, side_by_side},
};

fn of(key: &Key) -> CredentialId {
    CredentialId::Key(key.record.id)
}

fn seen(credential: CredentialId, last: Option<Timestamp>, accepted: u64, refused: u64) -> Usage {
    Usage {
        credential,
        last_used: last,
        accepted,
        refused,
    }
}

fn source() -> UsageSource {
    UsageSource::random(&SystemRandom).expect("the system has randomness")
}

/// The only batch of its source.
fn once(usage: &[Usage]) -> UsageBatch {
    batch(source(), 1, usage)
}

fn batch(source: UsageSource, sequence: u64, usage: &[Usage]) -> UsageBatch {
    let delta = |usage: &Usage, outcome, count| UsageDelta {
        credential: usage.credential,
        outcome,
        count,
        last_used: usage.last_used.filter(|_| outcome.is_accepted()),
    };
    let both = |usage| {
        [
            delta(usage, UsageOutcome::Accepted, usage.accepted),
            delta(usage, UsageOutcome::Expired, usage.refused),
        ]
    };
    let deltas = usage.iter().flat_map(both);
    UsageBatch {
        source,
        sequence,
        hour: NOW,
        usage: deltas.filter(|delta| delta.count > 0).collect(),
    }
}

/// One refused use.
fn refused(credential: CredentialId) -> Usage {
    seen(credential, None, 0, 1)
}

async fn record(store: &dyn KeyStore, batch: &[Usage]) {
    // After each use.
    sound(store.record_usage(&once(batch), later(600)).await);
}

async fn usage(store: &dyn KeyStore, credential: CredentialId) -> Option<Usage> {
    let mut found = sound(store.usage(&[credential]).await);
    assert!(found.len() <= 1, "one credential's usage: {found:?}");
    found.pop()
}

/// Nothing is known of a credential that was never used.
pub async fn a_key_that_was_never_used_has_no_usage(store: &dyn KeyStore) {
    let laptop = key("laptop").create(store).await;
    assert_eq!(usage(store, of(&laptop)).await, None);
    assert!(sound(store.usage(&[]).await).is_empty(), "of no credential");
    record(store, &[]).await;
    assert_eq!(usage(store, of(&laptop)).await, None, "after no usage");
}

/// Counts of several batches, and of one batch, are added.
pub async fn counts_are_added(store: &dyn KeyStore) {
    let id = of(&key("laptop").create(store).await);
    let at = Some(later(60));
    record(store, &[seen(id, at, 1, 0)]).await;
    assert_eq!(usage(store, id).await, Some(seen(id, at, 1, 0)), "first");
    record(store, &[seen(id, at, 20, 300), seen(id, at, 4000, 0)]).await;
    let expected = seen(id, at, 4021, 300);
    assert_eq!(usage(store, id).await, Some(expected), "three batches");
    let many = 1 << 40;
    record(store, &[seen(id, at, many, many)]).await;
    let expected = seen(id, at, many + 4021, many + 300);
    assert_eq!(usage(store, id).await, Some(expected), "large counts");
}

/// The last use only moves forward, in any order of the batches.
pub async fn last_use_only_moves_forward(store: &dyn KeyStore) {
    let id = of(&key("laptop").create(store).await);
    let steps = [(60, 60), (180, 180), (120, 180), (0, 180), (240, 240)];
    for (n, (at, expected)) in (1..).zip(steps) {
        record(store, &[seen(id, Some(later(at)), 1, 0)]).await;
        let expected = seen(id, Some(later(expected)), n, 0);
        assert_eq!(usage(store, id).await, Some(expected), "at {at}");
    }
}

/// A last use after the time of the call is taken for one now: a source whose clock is ahead says no more than
/// that.
pub async fn a_use_to_come_counts_as_one_now(store: &dyn KeyStore) {
    let id = of(&key("laptop").create(store).await);
    let first = once(&[seen(id, Some(Timestamp::MAX), 1, 0)]);
    sound(store.record_usage(&first, NOW).await);
    assert_eq!(usage(store, id).await, Some(seen(id, Some(NOW), 1, 0)));
    let next = once(&[seen(id, Some(later(120)), 1, 0)]);
    sound(store.record_usage(&next, later(60)).await);
    let expected = seen(id, Some(later(60)), 2, 0);
    assert_eq!(usage(store, id).await, Some(expected));
}

/// A refused use is counted and is no use: it neither sets nor moves nor removes the last use.
pub async fn a_refused_use_is_no_use(store: &dyn KeyStore) {
    let id = of(&key("laptop").create(store).await);
    record(store, &[refused(id)]).await;
    assert_eq!(usage(store, id).await, Some(seen(id, None, 0, 1)));
    record(store, &[seen(id, Some(later(60)), 1, 0)]).await;
    record(store, &[refused(id)]).await;
    let expected = seen(id, Some(later(60)), 1, 2);
    assert_eq!(usage(store, id).await, Some(expected));
}

/// A use of the secret before the last rotation is an accepted use, and moves the last use.
pub async fn a_use_of_the_previous_secret_is_a_use(store: &dyn KeyStore) {
    let id = of(&key("laptop").create(store).await);
    let used = |after, count| UsageDelta {
        count,
        ..UsageDelta::accepted_previous(id, later(after))
    };
    record(store, &[seen(id, Some(later(60)), 1, 1)]).await;
    let batch = UsageBatch {
        usage: vec![used(120, 2), used(0, 3)],
        ..once(&[])
    };
    sound(store.record_usage(&batch, later(120)).await);
    let expected = seen(id, Some(later(120)), 6, 1);
    assert_eq!(usage(store, id).await, Some(expected));
}

/// Usage before the epoch is a use like any other, and earlier than any at the epoch.
pub async fn usage_before_the_epoch_is_kept(store: &dyn KeyStore) {
    let id = of(&key("laptop").create(store).await);
    let early = Timestamp::from_unix(-120);
    record(store, &[seen(id, Some(early), 1, 0)]).await;
    assert_eq!(usage(store, id).await, Some(seen(id, Some(early), 1, 0)));
    let epoch = Some(Timestamp::UNIX_EPOCH);
    record(store, &[seen(id, epoch, 1, 0)]).await;
    record(store, &[seen(id, Some(early), 1, 0)]).await;
    assert_eq!(usage(store, id).await, Some(seen(id, epoch, 3, 0)));
}

/// Usage of unknown credentials is passed over, and the rest of the batch is kept.
pub async fn unknown_credentials_are_passed_over(store: &dyn KeyStore) {
    let known = of(&key("laptop").create(store).await);
    let gone = key("gone").create(store).await;
    record(store, &[seen(of(&gone), Some(NOW), 5, 5)]).await;
    kept(store, deletion(&gone.record)).await;
    let unknown = of(&key("unknown"));
    let old = CredentialId::Legacy(legacy("unknown").record.id);
    let batch = [unknown, of(&gone), known, old].map(|id| seen(id, Some(NOW), 1, 0));
    record(store, &batch).await;
    for id in [unknown, of(&gone), old] {
        assert_eq!(usage(store, id).await, None, "of {id}");
    }
    assert_eq!(
        usage(store, known).await,
        Some(seen(known, Some(NOW), 1, 0))
    );
}

/// A key and a legacy credential of the same number have usage of their own.
pub async fn keys_and_legacy_credentials_are_counted_apart(store: &dyn KeyStore) {
    let guest = legacy("guest").create(store).await;
    let twin = key("twin").with(|record| {
        record.id = keyfob::KeyId::from_bytes(guest.record.id.to_bytes());
    });
    let twin = twin.create(store).await;
    let (old, new) = (CredentialId::Legacy(guest.record.id), of(&twin));
    record(store, &[seen(old, Some(NOW), 3, 0), seen(new, None, 0, 4)]).await;
    assert_eq!(usage(store, old).await, Some(seen(old, Some(NOW), 3, 0)));
    assert_eq!(usage(store, new).await, Some(seen(new, None, 0, 4)));
    let mut both = sound(store.usage(&[new, old]).await);
    both.sort_by_key(|usage| usage.credential);
    assert_eq!(both.len(), 2, "both at once: {both:?}");
}

/// Usage survives every change of the key but its deletion, and no change is needed to keep it:
/// revision, feed and audit trail stay as they are.
pub async fn usage_outlives_changes_and_makes_none(store: &dyn KeyStore) {
    let laptop = key("laptop").create(store).await;
    let id = of(&laptop);
    let before = everything(store).await;
    record(store, &[seen(id, Some(NOW), 1, 2)]).await;
    assert_eq!(everything(store).await, before, "usage is no commit");
    let mut rotated = laptop.rotated(100, NOW);
    rotated.record.revision = kept(store, replacement(&rotated.record)).await;
    assert_eq!(usage(store, id).await, Some(seen(id, Some(NOW), 1, 2)));
    kept(store, replacement(&rotated.revoked(NOW))).await;
    kept(store, cut(Target::Namespace(home()))).await;
    kept(store, removal(Target::Team(home().team))).await;
    record(store, &[refused(id)]).await;
    assert_eq!(usage(store, id).await, Some(seen(id, Some(NOW), 1, 3)));
}

/// A batch that is sent again, because its outcome was unknown, is counted once; so is one with the
/// same number and other contents.
pub async fn a_repeated_batch_is_counted_once(store: &dyn KeyStore) {
    let id = of(&key("laptop").create(store).await);
    let first = batch(source(), 1, &[seen(id, Some(NOW), 2, 3)]);
    for at in [0, 0, 60] {
        sound(store.record_usage(&first, later(at)).await);
        assert_eq!(usage(store, id).await, Some(seen(id, Some(NOW), 2, 3)));
    }
    let other = batch(first.source, 1, &[seen(id, Some(later(60)), 1, 1)]);
    sound(store.record_usage(&other, NOW).await);
    assert_eq!(usage(store, id).await, Some(seen(id, Some(NOW), 2, 3)));
    let second = batch(first.source, 2, &[seen(id, Some(NOW), 2, 3)]);
    sound(store.record_usage(&second, NOW).await);
    assert_eq!(usage(store, id).await, Some(seen(id, Some(NOW), 4, 6)));
}

/// The same batch, sent several times at once, is counted once.
pub async fn of_equal_batches_at_once_one_is_counted(store: &dyn KeyStore) {
    let id = of(&key("laptop").create(store).await);
    let source = source();
    for sequence in 1..=4 {
        let same = batch(source, sequence, &[seen(id, Some(NOW), 1, 10)]);
        let attempts = (0..6).map(|_| async { sound(store.record_usage(&same, NOW).await) });
        side_by_side(attempts.collect()).await;
        let expected = seen(id, Some(NOW), sequence, 10 * sequence);
        assert_eq!(usage(store, id).await, Some(expected), "batch {sequence}");
    }
}

/// A batch that arrives after a later one of its source is ignored: it was given up.
pub async fn an_older_batch_is_ignored(store: &dyn KeyStore) {
    let id = of(&key("laptop").create(store).await);
    let source = source();
    for (sequence, counted) in [(5, 1), (4, 1), (1, 1), (0, 1), (6, 2), (5, 2), (1000, 3)] {
        let one = batch(source, sequence, &[seen(id, Some(NOW), 1, 0)]);
        sound(store.record_usage(&one, NOW).await);
        let expected = Some(seen(id, Some(NOW), counted, 0));
        assert_eq!(usage(store, id).await, expected, "after batch {sequence}");
    }
}

/// Each source has its own numbers.
pub async fn sources_do_not_disturb_each_other(store: &dyn KeyStore) {
    let id = of(&key("laptop").create(store).await);
    let sources = [source(), source(), source()];
    let mut counted = 0;
    for sequence in [1, 2, 7, 8] {
        for (n, source) in (0..).zip(sources) {
            let one = batch(source, sequence + n, &[seen(id, Some(NOW), 1, 0)]);
            for _ in 0..2 {
                sound(store.record_usage(&one, NOW).await);
            }
            counted += 1;
            let expected = Some(seen(id, Some(NOW), counted, 0));
            assert_eq!(usage(store, id).await, expected);
        }
    }
}

/// Of a group of sources, those that sent something last are remembered, up to the limit, so that
/// nobody who reports usage fills the store. Other groups are not concerned.
pub async fn the_sources_of_a_group_are_bounded(store: &dyn KeyStore) {
    let id = of(&key("laptop").create(store).await);
    let one = |source| batch(source, 1, &[seen(id, Some(NOW), 1, 0)]);
    let (apart, group) = (one(source()), source().to_bytes());
    sound(store.record_usage(&apart, NOW).await);
    let first = one(source().in_group(&group));
    let second = one(source().in_group(&group));
    sound(store.record_usage(&first, later(1)).await);
    sound(store.record_usage(&second, later(2)).await);
    // The first one is not silent for longest any more.
    let again = batch(first.source, 2, &[]);
    sound(store.record_usage(&again, later(3)).await);
    let others = u64::try_from(UsageSource::GROUP_MAX - 2).unwrap_or(u64::MAX);
    for at in 0..others {
        let other = batch(source().in_group(&group), 1, &[]);
        sound(store.record_usage(&other, later(4 + at)).await);
    }
    for same in [&first, &second, &apart] {
        sound(store.record_usage(same, later(4 + others)).await);
    }
    assert_eq!(usage(store, id).await, Some(seen(id, Some(NOW), 3, 0)));
    let more = batch(source().in_group(&group), 1, &[]);
    sound(store.record_usage(&more, later(5 + others)).await);
    for (same, counted) in [(&first, 3), (&apart, 3), (&second, 4)] {
        sound(store.record_usage(same, later(6 + others)).await);
        let expected = Some(seen(id, Some(NOW), counted, 0));
        assert_eq!(usage(store, id).await, expected, "after {others} others");
    }
}

/// A source is remembered for exactly as long as stated, so that the sources of processes that ended
/// do not add up.
pub async fn a_silent_source_is_forgotten(store: &dyn KeyStore) {
    let id = of(&key("laptop").create(store).await);
    let kept = UsageSource::KEPT.as_secs();
    let silent = batch(source(), 9, &[seen(id, Some(NOW), 1, 0)]);
    sound(store.record_usage(&silent, NOW).await);
    for (at, counted) in [(kept - 1, 1), (kept, 2)] {
        // Of another source.
        let other = batch(source(), 1, &[]);
        sound(store.record_usage(&other, later(at)).await);
        sound(store.record_usage(&silent, later(at)).await);
        let expected = Some(seen(id, Some(NOW), counted, 0));
        assert_eq!(usage(store, id).await, expected, "after {at} s");
    }
}
