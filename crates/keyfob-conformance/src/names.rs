//! What the policy allows: unique names, so many keys an owner.

use keyfob::{
    KeyStore, Owner, Tenant,
    store::{Conflict, KeyQuery, Limits, Target},
};

use crate::{
    fixture::{
        Key, NOW, commit_at, cut, deletion, home, kept, key, later, name, part_of, replacement,
        service, tenant, user,
    },
    reading::{names, read, text},
    refusal::{refused, refused_at},
};

const UNIQUE: Limits = Limits {
    unique_name: true,
    keys_per_owner: None,
};

const fn at_most(keys: u32) -> Limits {
    Limits {
        unique_name: false,
        keys_per_owner: Some(keys),
    }
}

/// The name of a live key is refused to a second key of the namespace, whoever owns it.
pub async fn a_taken_name_is_refused(store: &dyn KeyStore) {
    key("laptop").create(store).await;
    for owner in [user("alice"), user("bob"), service("robot")] {
        let second = key("laptop").of(owner);
        refused(store, second.creation_within(UNIQUE), Conflict::NameTaken).await;
    }
}

/// A key may not be renamed to the name of another live key; its own name is no obstacle.
pub async fn a_taken_name_is_refused_to_a_renamed_key(store: &dyn KeyStore) {
    key("laptop").create(store).await;
    let phone = key("phone").create(store).await;
    let renamed = phone.with(|record| record.name = name("laptop"));
    refused(store, unique_replacement(&renamed), Conflict::NameTaken).await;
    let same = renamed.with(|record| record.name = name("phone"));
    kept(store, unique_replacement(&same)).await;
}

fn unique_replacement(key: &Key) -> keyfob::store::Change {
    keyfob::store::Change::ReplaceKey {
        record: key.record.clone(),
        expected: key.record.revision,
        unique_name: true,
    }
}

/// The name that a key had before it was renamed is free, and its new one is taken.
pub async fn a_renamed_key_frees_its_old_name(store: &dyn KeyStore) {
    let laptop = key("laptop").create(store).await;
    let renamed = laptop.with(|record| record.name = name("desktop"));
    kept(store, unique_replacement(&renamed)).await;
    kept(store, key("laptop").creation_within(UNIQUE)).await;
    let desktop = key("desktop").creation_within(UNIQUE);
    refused(store, desktop, Conflict::NameTaken).await;
}

/// A name is free again once its key is revoked, cut off, deleted or past its end.
pub async fn a_name_is_free_once_its_key_has_ended(store: &dyn KeyStore) {
    let revoked = key("revoked").create(store).await;
    kept(store, replacement(&revoked.revoked(NOW))).await;
    let deleted = key("deleted").create(store).await;
    kept(store, deletion(&deleted.record)).await;
    key("cut off").of(user("bob")).create(store).await;
    kept(store, cut(part_of(user("bob")))).await;
    key("expired").until(NOW).create(store).await;
    for called in ["revoked", "deleted", "cut off", "expired"] {
        kept(store, key(called).creation_within(UNIQUE)).await;
    }
}

/// An end frees the name at its very moment, by the time of the commit, and not a second before.
pub async fn a_name_is_taken_until_the_moment_of_expiry(store: &dyn KeyStore) {
    key("laptop").until(later(100)).create(store).await;
    let next = key("laptop").creation_within(UNIQUE);
    refused_at(store, next.clone(), Conflict::NameTaken, later(99)).await;
    let answer = commit_at(store, next, later(100)).await;
    assert!(answer.is_ok(), "at the moment of expiry: {answer:?}");
}

/// A disabled key and one that is not valid yet keep their names.
pub async fn a_key_that_waits_keeps_its_name(store: &dyn KeyStore) {
    let disabled = key("disabled").with(|record| record.status = keyfob::manage::Status::Disabled);
    disabled.create(store).await;
    let early = key("early").with(|record| record.not_before = Some(later(100)));
    early.create(store).await;
    for called in ["disabled", "early"] {
        let second = key(called).creation_within(UNIQUE);
        refused(store, second, Conflict::NameTaken).await;
    }
}

/// A name that is taken in one namespace is free in every other, of the same team too.
pub async fn a_name_is_taken_in_its_namespace_only(store: &dyn KeyStore) {
    key("laptop").create(store).await;
    for place in [tenant("acme", "fn-2"), tenant("globex", "fn-3")] {
        let other = key("laptop").within(&place);
        kept(store, other.creation_within(UNIQUE)).await;
    }
}

/// A name that one owner uses is free for every other, so that a refusal tells nothing of their
/// keys; a person and a service of one name are two owners.
pub async fn a_name_is_taken_for_its_owner_only(store: &dyn KeyStore) {
    key("laptop").create(store).await;
    for owner in [user("bob"), service("alice")] {
        let theirs = key("laptop").of(owner.clone());
        kept(store, theirs.creation_within(UNIQUE)).await;
        let second = key("laptop").of(owner.clone()).creation_within(UNIQUE);
        refused(store, second, Conflict::NameTaken).await;
        let phone = key("phone").of(owner).create(store).await;
        let renamed = phone.with(|record| record.name = name("laptop"));
        refused(store, unique_replacement(&renamed), Conflict::NameTaken).await;
    }
    let desk = key("desk").of(user("carol")).create(store).await;
    let renamed = desk.with(|record| record.name = name("laptop"));
    kept(store, unique_replacement(&renamed)).await;
}

/// Where the policy does not ask for unique names, keys of one name stand side by side.
pub async fn names_may_repeat_where_the_policy_allows(store: &dyn KeyStore) {
    key("laptop").create(store).await;
    let second = key("laptop").create(store).await;
    let renamed = key("phone").create(store).await;
    let renamed = renamed.with(|record| record.name = name("laptop"));
    kept(store, replacement(&renamed.record)).await;
    let found = names(store, &KeyQuery::namespace(&home())).await;
    assert_eq!(found, ["laptop", "laptop", "laptop"]);
    assert_eq!(text(&read(store, &second.record).await.name), "laptop");
}

/// Names are compared character by character: no folding of case, no normal form, no pattern, no
/// padding.
pub async fn names_that_look_alike_are_different(store: &dyn KeyStore) {
    let alike = [
        "pay",
        "Pay",
        "PAY",
        "p\u{0430}y",
        "páy",
        "pa\u{301}y",
        "p%",
        "p_y",
        "%",
        "_",
        "p*",
        "straße",
        "strasse",
        "ｐay",
        "\u{212A}ey",
        "Key",
        "1",
        "01",
        "1.0",
        "NULL",
        "null",
        "0x31",
    ];
    for called in alike {
        kept(store, key(called).creation_within(UNIQUE)).await;
    }
    for called in alike {
        let query = KeyQuery {
            name: Some(name(called)),
            ..KeyQuery::namespace(&home())
        };
        assert_eq!(names(store, &query).await, [called], "the filter by name");
        let second = key(called).creation_within(UNIQUE);
        refused(store, second, Conflict::NameTaken).await;
    }
}

/// An owner gets exactly as many keys in a namespace as allowed.
pub async fn an_owner_has_no_more_keys_than_allowed(store: &dyn KeyStore) {
    for called in ["one", "two"] {
        kept(store, key(called).creation_within(at_most(2))).await;
    }
    let third = key("three").creation_within(at_most(2));
    refused(store, third, Conflict::TooManyKeys).await;
    kept(store, key("three").creation_within(at_most(3))).await;
}

/// Where no key is allowed, the first is refused.
pub async fn where_no_key_is_allowed_the_first_is_refused(store: &dyn KeyStore) {
    let first = key("one").creation_within(at_most(0));
    refused(store, first, Conflict::TooManyKeys).await;
    key("one").create(store).await;
    let second = key("two").of(user("bob")).creation_within(at_most(0));
    refused(store, second, Conflict::TooManyKeys).await;
}

/// Only the owner's own keys in the same namespace count.
pub async fn other_owners_and_namespaces_do_not_count(store: &dyn KeyStore) {
    kept(store, key("one").creation_within(at_most(1))).await;
    let others: [(Owner, Tenant); 4] = [
        (user("bob"), home()),
        (service("alice"), home()),
        (user("alice"), tenant("acme", "fn-2")),
        (user("alice"), tenant("globex", "fn-3")),
    ];
    for (owner, place) in others {
        let other = key("one").of(owner).within(&place);
        kept(store, other.creation_within(at_most(1))).await;
    }
}

/// A key that is revoked, cut off, deleted or past its end makes room for another.
pub async fn a_key_that_has_ended_does_not_count(store: &dyn KeyStore) {
    let revoked = key("revoked").create(store).await;
    kept(store, replacement(&revoked.revoked(NOW))).await;
    let deleted = key("deleted").create(store).await;
    kept(store, deletion(&deleted.record)).await;
    key("expired").until(NOW).create(store).await;
    kept(store, key("next").creation_within(at_most(1))).await;
    kept(store, cut(Target::Namespace(home()))).await;
    kept(store, key("last").creation_within(at_most(1))).await;
    let one_more = key("one more").creation_within(at_most(1));
    refused(store, one_more, Conflict::TooManyKeys).await;
}
