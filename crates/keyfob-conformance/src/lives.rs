//! The life of a key: changed once at a time, revoked permanently, exact to the second.

use std::time::Duration;

use keyfob::{
    DenyReason, KeyStore,
    manage::{KeyUpdate, Rotation, Status},
    store::{Conflict, Item, KeyQuery, KeyRecord, Revision, StatusFilter},
};

use crate::{
    fixture::{
        NOW, commit_at, context, cut, deletion, deletion_at_revision, fields, home, kept, key,
        later, name, part_of, replacement, user,
    },
    reading::{Gate, feed, listed, names, read, text, verdict},
    refusal::refused,
};

/// A replaced record is the one that is read, at a new revision, with its creation unchanged.
pub async fn a_replaced_key_keeps_its_birth(store: &dyn KeyStore) {
    let laptop = key("laptop").create(store).await;
    key("other").create(store).await;
    let mut renamed = laptop.record.clone();
    renamed.name = name("renamed");
    renamed.revision = kept(store, replacement(&renamed)).await;
    let found = read(store, &laptop.record).await;
    assert_eq!(fields(&found), fields(&renamed), "the replaced record");
    assert_eq!(
        found.created_revision, laptop.record.created_revision,
        "its birth"
    );
    assert!(found.revision > laptop.record.revision, "its revision");
}

/// A replacement cannot change the revision of creation, so a cutoff still covers the key.
pub async fn a_replacement_does_not_choose_its_birth(store: &dyn KeyStore) {
    let laptop = key("laptop").create(store).await;
    let mut young = laptop.record.clone();
    young.created_revision = Revision::new(u64::from(u32::MAX));
    kept(store, replacement(&young)).await;
    let found = read(store, &laptop.record).await;
    assert_eq!(
        found.created_revision, laptop.record.created_revision,
        "its birth"
    );
    kept(store, cut(part_of(user("alice")))).await;
    let found = read(store, &laptop.record).await;
    assert!(found.is_revoked(), "behind the cut: {:?}", found.status);
    let verdict = verdict(store, laptop.text(), &home(), NOW).await;
    assert_eq!(verdict, Err(DenyReason::Revoked));
}

/// A record made from an older revision is refused, and nothing of it is kept.
pub async fn a_stale_replacement_is_refused(store: &dyn KeyStore) {
    let laptop = key("laptop").create(store).await;
    let mut first = laptop.record.clone();
    first.name = name("first");
    first.revision = kept(store, replacement(&first)).await;
    let mut second = laptop.record.clone();
    second.name = name("second");
    refused(store, replacement(&second), Conflict::Stale).await;
    second.revision = first.revision.next();
    refused(store, replacement(&second), Conflict::Stale).await;
    let found = read(store, &laptop.record).await;
    assert_eq!(fields(&found), fields(&first), "after stale replacements");
}

/// A key is deleted at the revision that was expected, and at no other, before or after.
pub async fn a_stale_deletion_is_refused(store: &dyn KeyStore) {
    let old = key("laptop").create(store).await;
    let mut new = old.record.clone();
    new.revision = kept(store, replacement(&old.record)).await;
    for stale in [old.record.revision, Revision::ZERO, new.revision.next()] {
        let record = KeyRecord {
            revision: stale,
            ..old.record.clone()
        };
        refused(store, deletion_at_revision(&record), Conflict::Stale).await;
    }
    kept(store, deletion_at_revision(&new)).await;
    refused(store, deletion_at_revision(&new), Conflict::NotFound).await;
    let revoked = key("revoked").create(store).await;
    let revision = kept(store, replacement(&revoked.revoked(NOW))).await;
    let record = KeyRecord {
        revision,
        ..revoked.record
    };
    kept(store, deletion_at_revision(&record)).await;
}

/// A key that never was cannot be replaced or deleted.
pub async fn an_unknown_key_cannot_be_changed(store: &dyn KeyStore) {
    key("laptop").create(store).await;
    let unknown = key("unknown");
    refused(store, replacement(&unknown.record), Conflict::NotFound).await;
    refused(store, deletion(&unknown.record), Conflict::NotFound).await;
}

/// A revoked key reads revoked, as its revocation says, and works no more.
pub async fn a_revoked_key_is_revoked_everywhere(store: &dyn KeyStore) {
    let laptop = key("laptop").create(store).await;
    let gate = Gate::over(store).await;
    assert!(!read(store, &laptop.record).await.is_revoked(), "before");
    let mut revoked = laptop.revoked(later(5));
    revoked.revision = kept(store, replacement(&revoked)).await;
    let found = read(store, &laptop.record).await;
    assert_eq!(fields(&found), fields(&revoked), "by its identifier");
    let query = KeyQuery {
        status: Some(StatusFilter::Revoked),
        ..KeyQuery::namespace(&home())
    };
    assert_eq!(names(store, &query).await, ["laptop"], "in the list");
    gate.follow(store).await;
    let verdict = gate.decide(laptop.text(), &home(), NOW);
    assert_eq!(verdict, Err(DenyReason::Revoked), "the verdict");
}

/// No replacement brings a revoked key back: made before the revocation or after it, stale or
/// not, the key stays revoked as it first was.
pub async fn a_revoked_key_never_comes_back(store: &dyn KeyStore) {
    let laptop = key("laptop").create(store).await;
    let mut revoked = laptop.revoked(later(5));
    revoked.revision = kept(store, replacement(&revoked)).await;
    let mut active = laptop.record.clone();
    active.revision = revoked.revision;
    refused(store, replacement(&active), Conflict::Revoked).await;
    let mut rotated = laptop.rotated(0, NOW).record;
    rotated.revision = revoked.revision;
    refused(store, replacement(&rotated), Conflict::Revoked).await;
    let mut again = laptop.revoked(later(9));
    again.revision = revoked.revision;
    refused(store, replacement(&again), Conflict::Revoked).await;
    let stale = commit_at(store, replacement(&laptop.record), NOW).await;
    assert!(stale.is_err(), "a record from before the revocation");
    let found = read(store, &laptop.record).await;
    assert_eq!(fields(&found), fields(&revoked), "the first revocation");
    let verdict = verdict(store, laptop.text(), &home(), NOW).await;
    assert_eq!(verdict, Err(DenyReason::Revoked), "the verdict");
}

/// A disabled key is refused until it is enabled, and its revisions tell each change.
pub async fn a_disabled_key_can_be_enabled(store: &dyn KeyStore) {
    let mut laptop = key("laptop").create(store).await;
    let gate = Gate::over(store).await;
    for (status, expected) in [
        (Status::Disabled, Err(DenyReason::Disabled)),
        (Status::Active, Ok(())),
    ] {
        laptop.record.status = status.clone();
        laptop.record.revision = kept(store, replacement(&laptop.record)).await;
        gate.follow(store).await;
        let verdict = gate.decide(laptop.text(), &home(), NOW);
        assert_eq!(verdict, expected, "the verdict on a key that is {status:?}");
    }
}

/// A key works until the second before its end, and at its end no more.
pub async fn a_key_expires_at_the_exact_second(store: &dyn KeyStore) {
    let laptop = key("laptop").until(later(100)).create(store).await;
    let gate = Gate::over(store).await;
    assert_eq!(gate.decide(laptop.text(), &home(), later(99)), Ok(()));
    let verdict = gate.decide(laptop.text(), &home(), later(100));
    assert_eq!(verdict, Err(DenyReason::Expired), "at the end");
}

/// A key works from the second of its beginning, and not before.
pub async fn a_key_begins_at_the_exact_second(store: &dyn KeyStore) {
    let laptop = key("laptop").with(|record| record.not_before = Some(later(100)));
    let laptop = laptop.create(store).await;
    let gate = Gate::over(store).await;
    let verdict = gate.decide(laptop.text(), &home(), later(99));
    assert_eq!(verdict, Err(DenyReason::NotYetValid), "before");
    assert_eq!(gate.decide(laptop.text(), &home(), later(100)), Ok(()));
}

/// An expired key stays found, listed and told, however much time goes by.
pub async fn an_expired_key_is_not_dropped(store: &dyn KeyStore) {
    let short = key("short").until(later(100)).create(store).await;
    let answer = commit_at(store, key("much later").creation(), later(1_000_000)).await;
    assert!(answer.is_ok(), "a later key: {answer:?}");
    let found = read(store, &short.record).await;
    assert_eq!(fields(&found), fields(&short.record), "by its identifier");
    assert!(listed(store, &short.record).await.is_some(), "in the list");
    let entries = feed(store, Revision::ZERO, 10).await;
    assert!(
        matches!(entries.first(), Some(entry) if matches!(&entry.item, Item::Key(told) if told.id == short.record.id)),
        "the feed tells: {entries:?}"
    );
    let verdict = verdict(store, short.text(), &home(), later(1_000_001)).await;
    assert_eq!(verdict, Err(DenyReason::Expired), "the verdict");
}

/// A replaced secret works to the last second of its grace and no longer; the end that was kept
/// is the one that is read.
pub async fn a_replaced_secret_ends_with_its_grace(store: &dyn KeyStore) {
    let old = key("laptop").create(store).await;
    let mut new = old.rotated(100, NOW);
    new.record.revision = kept(store, replacement(&new.record)).await;
    let found = read(store, &old.record).await;
    assert_eq!(fields(&found), fields(&new.record), "the rotated record");
    let gate = Gate::over(store).await;
    assert_eq!(gate.decide(new.text(), &home(), NOW), Ok(()), "the new");
    assert_eq!(
        gate.decide(old.text(), &home(), later(99)),
        Ok(()),
        "the old"
    );
    let verdict = gate.decide(old.text(), &home(), later(100));
    assert_eq!(verdict, Err(DenyReason::Replaced), "the old, at its end");
    assert_eq!(gate.decide(new.text(), &home(), later(100)), Ok(()));
}

/// A rotation does not lengthen the life of the secret that it replaces: with a renewed end and
/// a long grace the old secret still ends when it would have ended.
pub async fn a_rotation_never_lengthens_a_life(store: &dyn KeyStore) {
    let old = key("laptop").until(later(100)).create(store).await;
    let month = keyfob::Ttl::days(30).expect("a month is a valid life");
    let rotation = Rotation::new()
        .with_grace(Duration::from_secs(86_400))
        .with_expiry(keyfob::Expiry::In(month));
    let rotated = old.record.clone().rotated(
        &rotation,
        &context(NOW),
        &keyfob::manage::Policy::default(),
        &crate::fixture::format(),
        &keyfob::key::Peppers::none(),
        &keyfob::key::SystemRandom,
    );
    let (record, secret) = rotated.expect("the key can be rotated");
    kept(store, replacement(&record)).await;
    let previous = read(store, &record).await.previous;
    let until = previous.map(|previous| previous.until);
    assert_eq!(until, Some(later(100)), "the end of the replaced secret");
    let gate = Gate::over(store).await;
    assert_eq!(gate.decide(old.text(), &home(), later(99)), Ok(()));
    let verdict = gate.decide(old.text(), &home(), later(100));
    assert_eq!(verdict, Err(DenyReason::Replaced), "the old, at its end");
    let verdict = gate.decide(secret.expose(), &home(), later(100));
    assert_eq!(verdict, Ok(()), "the new secret");
}

/// A rotation without grace ends the old secret at once.
pub async fn a_rotation_without_grace_ends_the_old_secret(store: &dyn KeyStore) {
    let old = key("laptop").create(store).await;
    let gate = Gate::over(store).await;
    let new = old.rotated(0, NOW);
    kept(store, replacement(&new.record)).await;
    assert!(read(store, &new.record).await.previous.is_none());
    gate.follow(store).await;
    let verdict = gate.decide(old.text(), &home(), NOW);
    assert_eq!(verdict, Err(DenyReason::WrongSecret), "the old secret");
    assert_eq!(gate.decide(new.text(), &home(), NOW), Ok(()), "the new");
}

/// An end that was brought forward ends the replaced secret too.
pub async fn an_earlier_end_ends_both_secrets(store: &dyn KeyStore) {
    let old = key("laptop").create(store).await;
    let mut new = old.rotated(1000, NOW);
    new.record.revision = kept(store, replacement(&new.record)).await;
    let update = KeyUpdate::new().with_expires_at(later(50));
    let updated = new.record.updated(update, &context(NOW));
    let updated = updated.expect("the end can be brought forward");
    kept(store, replacement(&updated)).await;
    let gate = Gate::over(store).await;
    assert_eq!(gate.decide(old.text(), &home(), later(49)), Ok(()));
    assert!(gate.decide(old.text(), &home(), later(50)).is_err(), "old");
    let verdict = gate.decide(new.secret.expose(), &home(), later(50));
    assert!(verdict.is_err(), "the new secret at the end");
    assert_eq!(text(&read(store, &updated).await.name), "laptop");
}
