//! Legacy credentials: imported once, listed, revoked permanently.

use keyfob::{
    Actor, DenyReason, KeyStore, Timestamp,
    key::{PepperId, Peppers},
    legacy::{LegacyPolicy, LegacyRecord},
    name::UserId,
    store::{Change, Conflict, Item, LegacyQuery, Revision, Target},
};

use crate::{
    fixture::{
        Legacy, NOW, cut, home, kept, later, legacy, legacy_replacement, legacy_under, sound,
        tenant,
    },
    reading::{Gate, feed, list_legacy},
    refusal::refused,
};

type Fields = (String, String, Revision, Revision);

/// Everything that a record holds, in a form that can be compared.
fn fields(record: &LegacyRecord) -> Fields {
    let digest = record.digest.to_text();
    (
        format!("{record:?}"),
        digest,
        record.created_revision,
        record.revision,
    )
}

async fn all(store: &dyn KeyStore) -> Vec<LegacyRecord> {
    list_legacy(store, &LegacyQuery::every_team()).await
}

async fn accept_until(store: &dyn KeyStore, sunset: Timestamp) {
    let policy = Change::SetLegacyPolicy {
        tenant: None,
        policy: Some(LegacyPolicy::until(sunset)),
    };
    kept(store, policy).await;
}

/// An imported credential is listed, told by the feed and accepted to the last second before the
/// sunset.
pub async fn an_imported_credential_works_until_the_sunset(store: &dyn KeyStore) {
    let guest = legacy("guest").create(store).await;
    let gate = Gate::over(store).await;
    let verdict = gate.decide(&guest.text, &home(), NOW);
    assert_eq!(verdict, Err(DenyReason::LegacyOff), "without a policy");
    accept_until(store, later(100)).await;
    gate.follow(store).await;
    assert_eq!(gate.decide(&guest.text, &home(), later(99)), Ok(()));
    let verdict = gate.decide(&guest.text, &home(), later(100));
    assert_eq!(verdict, Err(DenyReason::LegacyOff), "at the sunset");
    let listed: Vec<Fields> = all(store).await.iter().map(fields).collect();
    assert_eq!(listed, [fields(&guest.record)], "in the list");
    let entries = feed(store, Revision::ZERO, 1).await;
    assert!(
        matches!(entries.first(), Some(entry) if matches!(&entry.item, Item::Legacy(told) if fields(told) == fields(&guest.record))),
        "the feed tells: {entries:?}"
    );
}

/// Every field of a credential's record comes back as it was kept.
pub async fn every_field_of_a_legacy_credential_is_kept(store: &dyn KeyStore) {
    let pepper = PepperId::new(255).expect("the number is not zero");
    let peppers = Peppers::none()
        .with_current(pepper, &[9; 32])
        .expect("the pepper is long enough");
    let mut guest = legacy_under("guest'; -- %", &peppers);
    guest.record.blocked = true;
    guest.record.imported_at = Timestamp::MIN;
    guest.record.imported_by = Actor::system();
    let mut guest = guest.create(store).await;
    let listed: Vec<Fields> = all(store).await.iter().map(fields).collect();
    assert_eq!(listed, [fields(&guest.record)], "imported");
    guest.record.blocked = false;
    guest.record.subject = UserId::new("someone else").expect("the subject is valid");
    guest.record.imported_at = Timestamp::MAX;
    guest.record = guest.revoked();
    guest.record.revision = kept(store, legacy_replacement(&guest.record)).await;
    let listed: Vec<Fields> = all(store).await.iter().map(fields).collect();
    assert_eq!(listed, [fields(&guest.record)], "replaced");
}

/// A replacement cannot change the revision of creation, so a cutoff still covers the credential.
pub async fn a_replaced_legacy_credential_keeps_its_birth(store: &dyn KeyStore) {
    let guest = legacy("guest").create(store).await;
    let mut young = guest.record.clone();
    young.created_revision = Revision::new(u64::from(u32::MAX));
    kept(store, legacy_replacement(&young)).await;
    let creations: Vec<Revision> = all(store)
        .await
        .iter()
        .map(|record| record.created_revision)
        .collect();
    assert_eq!(creations, [guest.record.created_revision]);
    kept(store, cut(Target::Namespace(home()))).await;
    let revoked = all(store)
        .await
        .iter()
        .all(|record| record.revoked.is_some());
    assert!(revoked, "behind the cut");
}

/// A credential is imported once: its identifier is refused to a second import, into any
/// namespace, also after it was revoked.
pub async fn an_import_can_run_again(store: &dyn KeyStore) {
    let guest = legacy("guest").create(store).await;
    refused(store, guest.import(), Conflict::IdTaken).await;
    let mut elsewhere = guest.record.clone();
    elsewhere.tenant = tenant("globex", "fn-9");
    let change = Change::ImportLegacy { record: elsewhere };
    refused(store, change, Conflict::IdTaken).await;
    kept(store, legacy_replacement(&guest.revoked())).await;
    refused(store, guest.import(), Conflict::IdTaken).await;
}

/// A blocked credential is refused.
pub async fn a_blocked_credential_is_refused(store: &dyn KeyStore) {
    let mut guest = legacy("guest");
    guest.record.blocked = true;
    let guest = guest.create(store).await;
    accept_until(store, later(100)).await;
    let gate = Gate::over(store).await;
    let verdict = gate.decide(&guest.text, &home(), NOW);
    assert_eq!(verdict, Err(DenyReason::Disabled));
}

/// A revoked legacy credential never comes back: not by a replacement from before or after.
pub async fn a_revoked_legacy_credential_never_comes_back(store: &dyn KeyStore) {
    let guest = legacy("guest").create(store).await;
    accept_until(store, later(100)).await;
    let mut revoked = guest.revoked();
    revoked.revision = kept(store, legacy_replacement(&revoked)).await;
    let mut again = guest.record.clone();
    again.revision = revoked.revision;
    refused(store, legacy_replacement(&again), Conflict::Revoked).await;
    refused(store, legacy_replacement(&revoked), Conflict::Revoked).await;
    let gate = Gate::over(store).await;
    let verdict = gate.decide(&guest.text, &home(), NOW);
    assert_eq!(verdict, Err(DenyReason::Revoked));
    let listed: Vec<Fields> = all(store).await.iter().map(fields).collect();
    assert_eq!(listed, [fields(&revoked)]);
}

/// A legacy record made from an older revision is refused, and so is one of a credential that
/// never was.
pub async fn a_stale_legacy_replacement_is_refused(store: &dyn KeyStore) {
    let guest = legacy("guest").create(store).await;
    let mut blocked = guest.record.clone();
    blocked.blocked = true;
    blocked.revision = kept(store, legacy_replacement(&blocked)).await;
    refused(store, legacy_replacement(&guest.record), Conflict::Stale).await;
    let unknown = legacy("unknown");
    refused(
        store,
        legacy_replacement(&unknown.record),
        Conflict::NotFound,
    )
    .await;
    let listed: Vec<Fields> = all(store).await.iter().map(fields).collect();
    assert_eq!(listed, [fields(&blocked)]);
}

/// Legacy credentials are listed in the order of their import, by team, namespace and identifier, in pages
/// of any size, and a change does not move them.
pub async fn legacy_credentials_are_listed_page_by_page(store: &dyn KeyStore) {
    let (second, abroad) = (tenant("acme", "fn-2"), tenant("globex", "fn-3"));
    let mut imported: Vec<Legacy> = Vec::new();
    for (subject, place) in [
        ("z", &home()),
        ("a", &second),
        ("m", &abroad),
        ("b", &home()),
        ("c", &home()),
    ] {
        imported.push(legacy(subject).within(place).create(store).await);
    }
    if let Some(first) = imported.first() {
        kept(store, legacy_replacement(&first.record)).await;
    }
    let query = |team, namespace| LegacyQuery {
        team,
        namespace,
        ..LegacyQuery::every_team()
    };
    let id = imported.get(1).map(|second| second.record.id);
    let one = |namespace| LegacyQuery {
        id,
        ..query(Some(home().team), namespace)
    };
    for (base, expected) in [
        (query(None, None), &["z", "a", "m", "b", "c"][..]),
        (query(Some(home().team), None), &["z", "a", "b", "c"]),
        (query(None, Some(home().namespace)), &["z", "b", "c"]),
        (query(Some(abroad.team), None), &["m"]),
        (
            query(Some(home().team), Some(abroad.namespace.clone())),
            &[],
        ),
        (one(None), &["a"]),
        (one(Some(abroad.namespace)), &[]),
    ] {
        for limit in [0, 1, 2, 3, 100, usize::MAX] {
            let query = LegacyQuery {
                limit,
                ..base.clone()
            };
            let found = list_legacy(store, &query).await;
            let subjects: Vec<&str> = found.iter().map(|r| r.subject.as_str()).collect();
            assert_eq!(subjects, expected, "{query:?}");
            let page = sound(store.legacy(&query).await);
            let most = limit.clamp(1, 1000);
            assert_eq!(page.items.len(), most.min(expected.len()), "{query:?}");
            assert_eq!(page.next.is_some(), expected.len() > most, "{query:?}");
        }
    }
}
