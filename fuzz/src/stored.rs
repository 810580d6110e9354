//! The target `record_serde`.

use keyfob::{
    KeyInfo, Owner, Timestamp,
    audit::AuditEvent,
    gateway::{Index, Usage, UsageBatch},
    key::{CredentialId, KeyFormat, Peppers},
    legacy::{LegacyPolicy, LegacyRecord},
    manage::Policy,
    store::{Change, Changes, Commit, Cutoff, JournalEntry, KeyRecord, Revision, StoreState},
};
use serde::{Serialize, de::DeserializeOwned};

/// Parses arbitrary bytes as the JSON of every type that a store keeps or returns.
///
/// # Panics
///
/// If an accepted value serialises to JSON that is refused or that changes when it is read back, or
/// if a store or an index panics.
pub fn record_serde(data: &[u8]) {
    accepted_forms(data);
}

/// Does what [`record_serde`] does, and returns how many of the forms accept the bytes.
///
/// # Panics
///
/// As [`record_serde`].
pub fn accepted_forms(data: &[u8]) -> usize {
    let mut accepted = 0;
    if let Some(record) = settled::<KeyRecord>(data) {
        accepted += 1;
        check_record(&record);
    }
    if let Some(policy) = settled::<LegacyPolicy>(data) {
        accepted += 1;
        let sunset = policy.sunset().unwrap_or(Timestamp::MIN);
        assert!(!policy.accepts(sunset) && !policy.accepts(Timestamp::MAX));
    }
    if let Some(event) = settled::<AuditEvent>(data) {
        accepted += 1;
        let again = AuditEvent::chained(event.entry.clone(), event.revision, event.hash);
        assert!(AuditEvent::verify(event.hash, [&again]).is_ok());
    }
    if let Some(commit) = settled::<Commit>(data) {
        accepted += 1;
        self::commit(&commit);
    }
    if let Some(changes) = settled::<Changes>(data) {
        accepted += 1;
        let index = index();
        if index.apply(&changes, Timestamp::UNIX_EPOCH).is_ok() {
            assert!(index.as_of() >= changes.next_after);
            assert_eq!(index.is_ready(), !changes.more);
        }
    }
    accepted
        + [
            settled::<LegacyRecord>(data).is_some(),
            settled::<Policy>(data).is_some(),
            settled::<Cutoff>(data).is_some(),
            settled::<CredentialId>(data).is_some(),
            settled::<Owner>(data).is_some(),
            settled::<Usage>(data).is_some(),
            settled::<UsageBatch>(data).is_some(),
            settled::<JournalEntry<'static>>(data).is_some(),
        ]
        .into_iter()
        .filter(|accepted| *accepted)
        .count()
}

/// Returns the value if the JSON is accepted, after checking that its own JSON round-trips.
fn settled<T: Serialize + DeserializeOwned>(data: &[u8]) -> Option<T> {
    let value: T = serde_json::from_slice(data).ok()?;
    let json = serde_json::to_string(&value).expect("every value has a JSON form");
    let again: T = serde_json::from_str(&json).expect("what is written is accepted");
    let json_again = serde_json::to_string(&again).expect("every value has a JSON form");
    assert_eq!(json, json_again);
    Some(value)
}

/// Checks that the functions of a record accept any record, and that its public view has no digest.
fn check_record(record: &KeyRecord) {
    let policy = Policy::default();
    for now in [Timestamp::MIN, record.issued_at, Timestamp::MAX] {
        record.effective_status(now, &policy);
        assert!(!(record.is_revoked() && record.is_live(now)));
    }
    assert!(record.expires_under(&policy) == record.expires_at);
    let info = serde_json::to_value(KeyInfo::from(record)).expect("every value has a JSON form");
    assert!(info.get("digest").is_none() && info.get("previous").is_none());
}

/// Checks that what an empty store commits is in its feed and its audit trail, and that an index
/// accepts it.
fn commit(commit: &Commit) {
    let mut state = StoreState::new();
    let kept = state.commit(commit).is_ok();
    let revision = Revision::new(kept.into());
    assert_eq!(state.revision(), revision);
    let changes = state.changes(Revision::ZERO, 10);
    // The feed has no entry for a namespace that was created.
    let told = kept && !matches!(commit.change, Change::CreateNamespace { .. });
    assert_eq!(changes.entries.len(), usize::from(told));
    assert_eq!((changes.next_after, changes.more), (revision, false));
    let index = index();
    index
        .apply(&changes, Timestamp::UNIX_EPOCH)
        .expect("the feed fits the index");
    assert_eq!(index.as_of(), revision);
}

fn index() -> Index {
    Index::new(
        KeyFormat::new("dof").expect("a valid prefix"),
        Peppers::none(),
    )
}
