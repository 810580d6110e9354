//! Records: created, kept whole, found by their tenant alone.

use keyfob::{
    Actor, KeyInfo, KeyStore, Scopes, Timestamp,
    key::{CredentialId, PepperId, Peppers},
    manage::{Labels, Revocation, RevocationCause, Status},
    name::{LabelName, LabelValue, Reason, Scope, ServiceId},
    store::{Conflict, Item, KeyQuery, KeyRecord, PreviousSecret, Revision, Target},
};

use crate::{
    fixture::{
        self, NOW, deletion, fields, home, kept, key, key_under, later, legacy, name, removal,
        replacement, service, tenant, user,
    },
    reading::{before, feed, find, list, listed, names, read, verdict},
    refusal::refused,
};

/// A created key is found, listed, told by the feed and accepted, with its creation and revision.
pub async fn a_created_key_is_found_everywhere(store: &dyn KeyStore) {
    key("other").create(store).await;
    let laptop = key("laptop").create(store).await;
    let found = read(store, &laptop.record).await;
    assert_eq!(fields(&found), fields(&laptop.record), "by its identifier");
    let listed = listed(store, &laptop.record).await;
    let listed = listed.expect("the key is listed");
    assert_eq!(fields(&listed), fields(&laptop.record), "in the list");
    let entries = feed(store, before(laptop.record.revision), 10).await;
    assert!(
        matches!(
            entries.as_slice(),
            [entry] if matches!(&entry.item, Item::Key(told) if fields(told) == fields(&laptop.record))
        ),
        "the feed tells: {entries:?}"
    );
    let verdict = verdict(store, laptop.text(), &home(), NOW).await;
    assert_eq!(verdict, Ok(()), "the verdict on a new key");
}

/// What a record says of its creation and revision is of no weight: the store sets both.
pub async fn the_store_sets_birth_and_revision(store: &dyn KeyStore) {
    let forged = key("laptop").with(|record| {
        record.created_revision = Revision::new(70);
        record.revision = Revision::new(80);
    });
    let mut laptop = forged.create(store).await;
    let found = read(store, &laptop.record).await;
    assert_eq!(
        (found.created_revision.get(), found.revision.get()),
        (1, 1),
        "created"
    );
    laptop.record.created_revision = Revision::new(90);
    kept(store, replacement(&laptop.record)).await;
    let found = read(store, &laptop.record).await;
    assert_eq!(
        (found.created_revision.get(), found.revision.get()),
        (1, 2),
        "replaced"
    );
}

/// Every field of a record comes back as it was kept, by creation and by replacement.
pub async fn every_field_of_a_key_is_kept(store: &dyn KeyStore) {
    let created = full("früh — 鍵 🔑", 1).create(store).await;
    assert_eq!(
        fields(&read(store, &created.record).await),
        fields(&created.record),
        "created"
    );
    let mut replaced = full("später ' -- \" % _ \\", 2).record;
    replaced.id = created.record.id;
    replaced.created_revision = created.record.created_revision;
    replaced.revision = created.record.revision;
    replaced.status = Status::Revoked(Revocation {
        at: later(7),
        by: Actor::system().with_credential(CredentialId::Key(created.record.id)),
        cause: RevocationCause::Key,
        reason: Some(Reason::new("verloren; 'weg'").expect("the reason is valid")),
    });
    replaced.revision = kept(store, replacement(&replaced)).await;
    for found in [
        find(store, &replaced).await,
        listed(store, &replaced).await,
        told(store, &replaced).await,
    ] {
        let found = found.expect("the key is found, listed and told");
        assert_eq!(fields(&found), fields(&replaced), "replaced");
    }
}

/// A key with something in every field.
fn full(called: &str, seed: u8) -> fixture::Key {
    let pepper = PepperId::new(seed).expect("the number is not zero");
    let peppers = Peppers::none()
        .with_current(pepper, &[seed; 32])
        .expect("the pepper is long enough");
    let label = |name: &str, value: &str| {
        (
            LabelName::new(name).expect("the label name is valid"),
            LabelValue::new(value).expect("the label value is valid"),
        )
    };
    let labels = [label("env", "Zürich 🏔"), label("a/b.c-d_E", "x' OR '1'='1")];
    let labels = labels
        .into_iter()
        .try_fold(Labels::new(), |all, (name, value)| all.with(name, value));
    let scope = |text: &str| Scope::new(text).expect("the scope is valid");
    let robot = ServiceId::new("robot %_' 7").expect("the service is valid");
    key_under(called, &peppers)
        .of(service("deploy bot; --"))
        .with(|record| {
            record.labels = labels.expect("there are few labels");
            record.scopes = Scopes::only([scope("function:invoke"), scope("a,b|c'd")])
                .expect("there are few scopes");
            record.previous = Some(PreviousSecret {
                digest: key("before").record.digest,
                issued_at: later(9),
                until: later(u64::from(seed)),
            });
            record.created_at = later(10);
            record.created_by =
                Actor::service(robot).with_credential(CredentialId::Key(key("tool").record.id));
            record.updated_at = later(11);
            record.issued_at = later(12);
            record.not_before = Some(later(13));
            record.expires_at = Some(later(14));
            record.status = Status::Disabled;
        })
}

async fn told(store: &dyn KeyStore, record: &KeyRecord) -> Option<KeyRecord> {
    let entries = feed(store, Revision::ZERO, 100).await;
    entries.into_iter().find_map(|entry| match entry.item {
        Item::Key(told) if told.id == record.id => Some(told),
        _ => None,
    })
}

/// No labels, no scopes, every scope and the most labels are four different things.
pub async fn empty_and_full_sets_are_kept_apart(store: &dyn KeyStore) {
    let all = key("all").create(store).await;
    let none = key("none").with(|record| {
        record.scopes = Scopes::only([]).expect("there are few scopes");
    });
    let none = none.create(store).await;
    let many = (0..Labels::MAX).try_fold(Labels::new(), |labels, n| {
        let value = LabelValue::new(&format!("{n}")).expect("the label value is valid");
        labels.with(LabelName::new(&format!("l{n}")).expect("valid"), value)
    });
    let many = many.expect("there are not too many labels");
    let many = key("many").with(|record| record.labels = many);
    let many = many.create(store).await;
    for key in [&all, &none, &many] {
        let found = read(store, &key.record).await;
        assert_eq!(fields(&found), fields(&key.record));
    }
}

/// The first and the last moment that there is come back unchanged.
pub async fn extreme_moments_are_kept(store: &dyn KeyStore) {
    let moments = [Timestamp::MIN, Timestamp::UNIX_EPOCH, Timestamp::MAX];
    for moment in moments {
        let made = key("extreme").with(|record| {
            record.created_at = moment;
            record.updated_at = moment;
            record.issued_at = moment;
            record.not_before = Some(moment);
            record.expires_at = Some(moment);
            record.previous = Some(PreviousSecret {
                digest: record.digest,
                issued_at: moment,
                until: moment,
            });
        });
        let made = made.create(store).await;
        let found = read(store, &made.record).await;
        assert_eq!(fields(&found), fields(&made.record), "at {moment}");
    }
}

/// An identifier that was ever used is refused: for a live key, a revoked one and a deleted one,
/// in its own namespace and in any other.
pub async fn an_identifier_is_taken_for_ever(store: &dyn KeyStore) {
    let elsewhere = tenant("globex", "fn-9");
    let live = key("live").create(store).await;
    let revoked = key("revoked").create(store).await;
    kept(store, replacement(&revoked.revoked(NOW))).await;
    let deleted = key("deleted").create(store).await;
    kept(store, deletion(&deleted.record)).await;
    for used in [&live, &revoked, &deleted] {
        for place in [home(), elsewhere.clone()] {
            let again = key("again").within(&place);
            let again = again.with(|record| record.id = used.record.id);
            refused(store, again.creation(), Conflict::IdTaken).await;
        }
    }
}

/// A deleted key is gone from every list and look-up, and the feed tells that it was deleted.
pub async fn a_deleted_key_is_gone_everywhere(store: &dyn KeyStore) {
    let kept_key = key("kept").create(store).await;
    let gone = key("gone").create(store).await;
    read(store, &gone.record).await;
    let revision = kept(store, deletion(&gone.record)).await;
    assert!(find(store, &gone.record).await.is_none(), "it is found");
    let home = KeyQuery::namespace(&home());
    assert_eq!(names(store, &home).await, ["kept"], "in its namespace");
    let team = KeyQuery::team(gone.record.tenant.team.clone());
    assert_eq!(names(store, &team).await, ["kept"], "in its team");
    let entries = feed(store, kept_key.record.revision, 10).await;
    assert!(
        matches!(
            entries.as_slice(),
            [entry] if entry.revision == revision
                && matches!(&entry.item, Item::KeyDeleted { id, tenant }
                    if *id == gone.record.id && *tenant == gone.record.tenant)
        ),
        "the feed tells: {entries:?}"
    );
    let tenant = &gone.record.tenant;
    let verdict = verdict(store, gone.text(), tenant, NOW).await;
    assert!(verdict.is_err(), "a deleted key works");
}

/// A deleted key can be neither replaced nor deleted again.
pub async fn a_deleted_key_stays_deleted(store: &dyn KeyStore) {
    let gone = key("gone").create(store).await;
    kept(store, deletion(&gone.record)).await;
    refused(store, replacement(&gone.record), Conflict::NotFound).await;
    refused(store, deletion(&gone.record), Conflict::NotFound).await;
}

/// A revoked key, by itself or by a cut, can be deleted.
pub async fn a_revoked_key_can_be_deleted(store: &dyn KeyStore) {
    let revoked = key("revoked").create(store).await;
    kept(store, replacement(&revoked.revoked(NOW))).await;
    let cut_off = key("cut off").create(store).await;
    kept(store, removal(Target::Team(home().team))).await;
    for key in [&revoked, &cut_off] {
        kept(store, deletion(&key.record)).await;
        assert!(find(store, &key.record).await.is_none(), "it is found");
    }
}

/// The keys of a person and of a service of the same name are two owners' keys.
pub async fn a_person_and_a_service_of_one_name_are_two_owners(store: &dyn KeyStore) {
    key("person's").of(user("robot")).create(store).await;
    key("service's").of(service("robot")).create(store).await;
    for (owner, expected) in [(user("robot"), "person's"), (service("robot"), "service's")] {
        let query = KeyQuery {
            owner: Some(owner.clone()),
            ..KeyQuery::namespace(&home())
        };
        let found = list(store, &query).await;
        let infos: Vec<KeyInfo> = found.iter().map(KeyInfo::from).collect();
        assert!(
            matches!(infos.as_slice(), [info] if info.owner == owner && info.name == name(expected)),
            "the keys of {owner}: {infos:?}"
        );
    }
}

/// A legacy credential is no key: neither shows among the other's.
pub async fn keys_and_legacy_credentials_do_not_mix(store: &dyn KeyStore) {
    let laptop = key("laptop").create(store).await;
    let guest = legacy("guest").create(store).await;
    let found = list(store, &KeyQuery::namespace(&home())).await;
    assert_eq!(found.len(), 1, "one key is listed");
    let found = crate::reading::list_legacy(store, &keyfob::store::LegacyQuery::every_team()).await;
    assert_eq!(found.len(), 1, "one legacy credential is listed");
    let twin = key("twin").with(|record| {
        record.id = keyfob::KeyId::from_bytes(guest.record.id.to_bytes());
    });
    let twin = twin.create(store).await;
    assert_ne!(twin.record.id, laptop.record.id);
}
