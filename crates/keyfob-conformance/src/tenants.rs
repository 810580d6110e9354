//! One namespace, one team: nobody reaches into another's.

use keyfob::{
    KeyStore, Tenant,
    legacy::LegacyPolicy,
    manage::Policy,
    store::{Change, Conflict, KeyQuery, LegacyQuery, Target},
};

use crate::{
    fixture::{
        NOW, cut, deletion, fields, home, kept, key, later, legacy, legacy_replacement, name,
        of_known, removal, replacement, service, tenant, user,
    },
    reading::{Gate, find, list_legacy, names, read},
    refusal::refused,
};

/// The tenants that a key of the home namespace does not belong to.
fn foreign_tenants() -> [Tenant; 3] {
    [
        tenant("globex", "fn-1"),
        tenant("acme", "fn-2"),
        tenant("globex", "fn-9"),
    ]
}

/// A key is not found under another team or another namespace.
pub async fn a_key_of_another_tenant_is_not_found(store: &dyn KeyStore) {
    let laptop = key("laptop").create(store).await;
    for place in [tenant("acme", "fn-2"), tenant("globex", "fn-9")] {
        key("theirs").within(&place).create(store).await;
    }
    for place in foreign_tenants() {
        let seen = laptop.record.clone();
        let foreign = keyfob::store::KeyRecord {
            tenant: place,
            ..seen
        };
        let found = find(store, &foreign).await;
        assert!(found.is_none(), "found under {:?}", foreign.tenant);
    }
}

/// A key cannot be replaced under another team or another namespace, and so not be moved.
pub async fn a_key_of_another_tenant_is_not_replaced(store: &dyn KeyStore) {
    let laptop = key("laptop").create(store).await;
    for place in [tenant("acme", "fn-2"), tenant("globex", "fn-9")] {
        key("theirs").within(&place).create(store).await;
    }
    for place in foreign_tenants() {
        let mut stolen = laptop.record.clone();
        stolen.tenant = place;
        stolen.name = name("stolen");
        refused(store, replacement(&stolen), Conflict::NotFound).await;
    }
    let found = read(store, &laptop.record).await;
    assert_eq!(fields(&found), fields(&laptop.record));
}

/// A key does not change hands: a record that names another owner is refused.
pub async fn a_key_keeps_its_owner(store: &dyn KeyStore) {
    let laptop = key("laptop").create(store).await;
    for owner in [user("mallory"), service(laptop.record.owner.as_str())] {
        let mut taken = laptop.record.clone();
        taken.owner = owner;
        refused(store, replacement(&taken), Conflict::OtherOwner).await;
    }
    let found = read(store, &laptop.record).await;
    assert_eq!(fields(&found), fields(&laptop.record));
}

/// A key cannot be deleted under another team or another namespace.
pub async fn a_key_of_another_tenant_is_not_deleted(store: &dyn KeyStore) {
    let laptop = key("laptop").create(store).await;
    for place in [tenant("acme", "fn-2"), tenant("globex", "fn-9")] {
        key("theirs").within(&place).create(store).await;
    }
    for place in foreign_tenants() {
        let mut foreign = laptop.record.clone();
        foreign.tenant = place;
        refused(store, deletion(&foreign), Conflict::NotFound).await;
    }
    read(store, &laptop.record).await;
}

/// A legacy credential cannot be replaced under another team or another namespace.
pub async fn a_legacy_credential_of_another_tenant_is_not_replaced(store: &dyn KeyStore) {
    let guest = legacy("guest").create(store).await;
    for place in foreign_tenants() {
        let mut foreign = guest.revoked();
        foreign.tenant = place;
        let change = legacy_replacement(&foreign);
        refused(store, change, Conflict::NotFound).await;
    }
    let found = list_legacy(store, &LegacyQuery::every_team()).await;
    assert!(found.iter().all(|record| record.revoked.is_none()));
}

/// Every change of a namespace by another team than its first is refused.
pub async fn a_namespace_belongs_to_its_first_team(store: &dyn KeyStore) {
    key("laptop").create(store).await;
    let theirs = tenant("globex", "fn-1");
    let changes = first_changes_of(&theirs).into_iter();
    for change in changes.chain(later_changes_of(&theirs)) {
        refused(store, change, Conflict::ForeignNamespace).await;
    }
    let foreign = Target::Namespace(tenant("globex", "fn-1"));
    refused(
        store,
        Change::Restore { target: foreign },
        Conflict::ForeignNamespace,
    )
    .await;
}

/// The first change of a namespace, of any kind, binds the namespace to its team.
pub async fn the_first_change_binds_a_namespace(store: &dyn KeyStore) {
    for n in 0..first_changes_of(&home()).len() {
        let place = format!("fn-{n}");
        let first = first_changes_of(&tenant("acme", &place)).swap_remove(n);
        kept(store, first).await;
        let late = key("late").within(&tenant("globex", &place));
        refused(store, late.creation(), Conflict::ForeignNamespace).await;
    }
}

/// One change of each kind that can be a namespace's first.
pub(crate) fn first_changes_of(place: &Tenant) -> Vec<Change> {
    vec![
        key("laptop").within(place).creation(),
        legacy("guest").within(place).import(),
        cut(Target::Namespace(place.clone())),
        removal(Target::Namespace(place.clone())),
        Change::CreateNamespace {
            new: place.clone().into(),
        },
    ]
}

/// The changes of a namespace that cannot be its first.
pub(crate) fn later_changes_of(place: &Tenant) -> Vec<Change> {
    let target = Target::Namespace(place.clone());
    vec![
        of_known(cut(target.clone())),
        of_known(removal(target)),
        Change::SetPolicy {
            tenant: Some(place.clone()),
            policy: Some(Policy::default()),
        },
        Change::SetPolicy {
            tenant: Some(place.clone()),
            policy: None,
        },
        Change::SetLegacyPolicy {
            tenant: Some(place.clone()),
            policy: Some(LegacyPolicy::until(later(10))),
        },
        Change::SetLegacyPolicy {
            tenant: Some(place.clone()),
            policy: None,
        },
    ]
}

/// A policy or a revocation for a namespace that nobody created is refused: its name may be
/// mistyped. It is stored once the namespace is bound.
pub async fn an_unknown_namespace_is_refused(store: &dyn KeyStore) {
    key("laptop").create(store).await;
    let typo = tenant("acme", "fn-11");
    let unknown = || Conflict::UnknownTarget(Target::Namespace(typo.clone()));
    for change in later_changes_of(&typo) {
        refused(store, change, unknown()).await;
    }
    let theirs = key("theirs").within(&tenant("globex", "fn-11"));
    kept(store, theirs.creation()).await;
    for change in later_changes_of(&tenant("globex", "fn-11")) {
        kept(store, change).await;
    }
}

/// A refused first change does not bind its namespace, and a deleted only key does not free it.
pub async fn a_namespace_stays_with_its_team(store: &dyn KeyStore) {
    let laptop = key("laptop").create(store).await;
    kept(store, deletion(&laptop.record)).await;
    let late = key("late").within(&tenant("globex", "fn-1"));
    refused(store, late.creation(), Conflict::ForeignNamespace).await;
    let taken = key("taken").within(&tenant("acme", "fn-2"));
    let taken = taken.with(|record| record.id = laptop.record.id);
    refused(store, taken.creation(), Conflict::IdTaken).await;
    let free = key("free").within(&tenant("globex", "fn-2"));
    kept(store, free.creation()).await;
}

/// A key opens the namespace that it was made for, and no other.
pub async fn a_key_opens_its_own_namespace_only(store: &dyn KeyStore) {
    let laptop = key("laptop").create(store).await;
    let place = tenant("acme", "fn-2");
    let other = key("other").within(&place).create(store).await;
    let gate = Gate::over(store).await;
    assert_eq!(gate.decide(laptop.text(), &home(), NOW), Ok(()));
    assert_eq!(gate.decide(other.text(), &place, NOW), Ok(()));
    for (key, place) in [(&laptop, &place), (&other, &home())] {
        let verdict = gate.decide(key.text(), place, NOW);
        let expected = Err(keyfob::DenyReason::WrongNamespace);
        assert_eq!(verdict, expected, "the verdict in {place:?}");
    }
}

/// Names of teams, namespaces and owners that are patterns, quotes or code elsewhere are plain
/// text here: each sees its own keys alone, and a cut of one touches no other.
pub async fn hostile_names_stay_apart(store: &dyn KeyStore) {
    let hostile = [
        "acme",
        "Acme",
        "ACME",
        "ac%",
        "%",
        "_me",
        "acm_",
        "a\\me",
        "a'b",
        "a''b",
        "\"acme\"",
        "'; DROP TABLE keys; --",
        "acme\\",
        "a*",
        "[a]cme",
        "0",
        "00",
        "1e0",
        "NULL",
        "acme:fn",
        "a|b",
        "$1",
        "?1",
    ];
    for called in hostile {
        let place = tenant(called, &format!("ns {called}"));
        let made = key(called).of(user(called)).within(&place);
        made.create(store).await;
    }
    for called in hostile {
        let place = tenant(called, &format!("ns {called}"));
        let queries = [
            KeyQuery::team(place.team.clone()),
            KeyQuery::namespace(&place),
            KeyQuery {
                owner: Some(user(called)),
                name: Some(name(called)),
                ..KeyQuery::team(place.team.clone())
            },
        ];
        for query in queries {
            assert_eq!(names(store, &query).await, [called], "{query:?}");
        }
    }
    kept(store, cut(Target::Team(tenant("%", "-").team))).await;
    for called in hostile {
        let query = KeyQuery {
            status: Some(keyfob::store::StatusFilter::Active),
            ..KeyQuery::team(tenant(called, "-").team)
        };
        let active = names(store, &query).await;
        assert_eq!(active.is_empty(), called == "%", "after a cut: {called}");
    }
}
