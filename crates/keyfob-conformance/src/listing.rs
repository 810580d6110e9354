//! Lists: in the order of creation, page by page, nothing skipped and nothing twice.

use keyfob::{
    KeyStore,
    manage::{Labels, Status},
    name::{LabelName, LabelValue},
    store::{Cursor, KeyQuery, SearchText, StatusFilter},
};

use crate::{
    fixture::{
        cut, deletion, home, kept, key, later, name, part_of, replacement, service, sound, tenant,
        user,
    },
    reading::{list, names, text},
};

async fn create_all(store: &dyn KeyStore, called: &[&str]) {
    for called in called {
        key(called).create(store).await;
    }
}

/// Keys are listed in the order of their creation, and a change does not move them.
pub async fn keys_are_listed_in_the_order_of_creation(store: &dyn KeyStore) {
    let called = ["m", "z", "a", "Z", "0"];
    let mut first = key("first").create(store).await;
    create_all(store, &called).await;
    first.record.name = name("changed");
    kept(store, replacement(&first.record)).await;
    let expected = ["changed", "m", "z", "a", "Z", "0"];
    for query in [KeyQuery::namespace(&home()), KeyQuery::team(home().team)] {
        assert_eq!(names(store, &query).await, expected, "{query:?}");
    }
}

/// Pages of any size give the same list.
pub async fn pages_join_to_the_whole_list(store: &dyn KeyStore) {
    let called = ["a", "b", "c", "d", "e", "f", "g"];
    create_all(store, &called).await;
    for limit in 1..=8 {
        for base in [KeyQuery::namespace(&home()), KeyQuery::team(home().team)] {
            let query = KeyQuery { limit, ..base };
            assert_eq!(names(store, &query).await, called, "pages of {limit}");
        }
    }
}

/// A full page says where to go on exactly if there is more.
pub async fn the_last_page_says_so(store: &dyn KeyStore) {
    create_all(store, &["a", "b", "c"]).await;
    for (limit, more) in [(1, true), (2, true), (3, false), (4, false)] {
        let query = KeyQuery {
            limit,
            ..KeyQuery::namespace(&home())
        };
        let page = sound(store.keys(&query).await);
        assert_eq!(page.items.len(), limit.min(3), "a page of {limit}");
        assert_eq!(page.next.is_some(), more, "more after a page of {limit}");
    }
    let empty = KeyQuery::namespace(&tenant("globex", "fn-9"));
    let page = sound(store.keys(&empty).await);
    assert!(page.items.is_empty() && page.next.is_none(), "{page:?}");
}

/// Keys that are created between two pages come after all others; none is skipped or repeated.
pub async fn keys_created_between_pages_come_last(store: &dyn KeyStore) {
    for limit in [1, 3] {
        let place = tenant("acme", &format!("paged by {limit}"));
        for n in 0..7 {
            key(&format!("{n}")).within(&place).create(store).await;
        }
        let mut query = KeyQuery {
            limit,
            ..KeyQuery::namespace(&place)
        };
        let (mut seen, mut created) = (Vec::new(), 7);
        for _ in 0..100 {
            let page = sound(store.keys(&query).await);
            seen.extend(page.items.iter().map(|record| text(&record.name)));
            query.after = page.next;
            if query.after.is_none() {
                break;
            }
            if created < 10 {
                let late = key(&format!("{created}")).within(&place);
                late.create(store).await;
                created += 1;
            }
        }
        let expected: Vec<String> = (0..created).map(|n| n.to_string()).collect();
        assert_eq!(seen, expected, "pages of {limit} with new keys between");
    }
}

/// Keys that are changed or deleted between two pages disturb no other key's place.
pub async fn changes_between_pages_disturb_no_place(store: &dyn KeyStore) {
    let mut keys = Vec::new();
    for called in ["a", "b", "c", "d", "e", "f"] {
        keys.push(key(called).create(store).await);
    }
    let mut query = KeyQuery {
        limit: 2,
        ..KeyQuery::namespace(&home())
    };
    let first = sound(store.keys(&query).await);
    let seen: Vec<String> = first.items.iter().map(|r| text(&r.name)).collect();
    assert_eq!(seen, ["a", "b"], "the first page");
    for key in &keys[1..3] {
        kept(store, deletion(&key.record)).await;
    }
    for key in [&keys[0], &keys[5]] {
        kept(store, replacement(&key.record)).await;
    }
    query.after = first.next;
    assert_eq!(names(store, &query).await, ["d", "e", "f"], "the rest");
}

/// A cursor behind the last key, or behind any revision to come, gives an empty page.
pub async fn nothing_comes_behind_the_last_key(store: &dyn KeyStore) {
    let last = key("last").create(store).await;
    for revision in [
        last.record.created_revision.get(),
        1000,
        u64::from(u32::MAX),
    ] {
        let query = KeyQuery {
            after: Some(Cursor::after(keyfob::store::Revision::new(revision))),
            ..KeyQuery::namespace(&home())
        };
        let found = names(store, &query).await;
        assert!(found.is_empty(), "behind {revision}: {found:?}");
    }
}

/// A limit of zero is read as one, and one past the maximum as the maximum.
pub async fn limits_are_clamped(store: &dyn KeyStore) {
    create_all(store, &["a", "b", "c"]).await;
    for (limit, expected) in [(0, 1), (usize::MAX, 3), (KeyQuery::LIMIT_MAX + 1, 3)] {
        let query = KeyQuery {
            limit,
            ..KeyQuery::namespace(&home())
        };
        let page = sound(store.keys(&query).await);
        assert_eq!(page.items.len(), expected, "a limit of {limit}");
        assert_eq!(page.next.is_some(), expected < 3, "a limit of {limit}");
    }
}

/// No page holds more than the maximum, with any limit in the query.
pub async fn no_page_is_larger_than_the_maximum(store: &dyn KeyStore) {
    for n in 0..=KeyQuery::LIMIT_MAX {
        key(&format!("{n}")).create(store).await;
    }
    let keys = KeyQuery {
        limit: usize::MAX,
        ..KeyQuery::namespace(&home())
    };
    let page = sound(store.keys(&keys).await);
    assert_eq!(page.items.len(), KeyQuery::LIMIT_MAX, "keys on a page");
    assert!(page.next.is_some(), "there is one key more");
    assert_eq!(list(store, &keys).await.len(), KeyQuery::LIMIT_MAX + 1);
    let events = keyfob::store::AuditQuery {
        limit: usize::MAX,
        ..keyfob::store::AuditQuery::every_team()
    };
    let page = sound(store.audit(&events).await);
    assert_eq!(page.items.len(), KeyQuery::LIMIT_MAX, "events on a page");
    assert!(page.next.is_some(), "there is one event more");
}

fn label(name: &str, value: &str) -> (LabelName, LabelValue) {
    (
        LabelName::new(name).expect("the label name is valid"),
        LabelValue::new(value).expect("the label value is valid"),
    )
}

fn labels(of: &[(&str, &str)]) -> Labels {
    of.iter().fold(Labels::new(), |labels, (name, value)| {
        let (name, value) = label(name, value);
        labels.with(name, value).expect("there are few labels")
    })
}

/// A mixed population to select from.
async fn population(store: &dyn KeyStore) {
    let place = tenant("acme", "fn-2");
    let disabled = key("disabled").with(|record| record.status = Status::Disabled);
    let prod = key("prod").with(|record| record.labels = labels(&[("env", "prod"), ("x", "1")]));
    let swapped = key("swapped").with(|record| record.labels = labels(&[("prod", "env")]));
    let long = key("long").with(|record| record.labels = labels(&[("env", "prod2")]));
    disabled.create(store).await;
    prod.create(store).await;
    swapped.of(user("bob")).create(store).await;
    long.of(service("alice")).create(store).await;
    key("prod").within(&place).create(store).await;
    let revoked = key("revoked").within(&place).create(store).await;
    let revoked = revoked.revoked(crate::fixture::NOW);
    kept(store, replacement(&revoked)).await;
    let foreign = key("prod").within(&tenant("globex", "fn-3"));
    let foreign = foreign.with(|record| record.labels = labels(&[("env", "prod")]));
    foreign.create(store).await;
}

/// Each filter selects what it says and nothing else, alone and together, in pages of any size.
pub async fn filters_select_what_they_say(store: &dyn KeyStore) {
    population(store).await;
    let team = || KeyQuery::team(home().team);
    let cases: Vec<(KeyQuery, &[&str])> = vec![
        (
            team(),
            &["disabled", "prod", "swapped", "long", "prod", "revoked"],
        ),
        (
            KeyQuery::namespace(&home()),
            &["disabled", "prod", "swapped", "long"],
        ),
        (with(team(), |q| q.owner = Some(user("bob"))), &["swapped"]),
        (
            with(team(), |q| q.owner = Some(service("alice"))),
            &["long"],
        ),
        (with(team(), |q| q.owner = Some(service("bob"))), &[]),
        (
            with(team(), |q| q.name = Some(name("prod"))),
            &["prod", "prod"],
        ),
        (with(team(), |q| q.name = Some(name("pro"))), &[]),
        (
            with(team(), |q| q.label = Some(label("env", "prod"))),
            &["prod"],
        ),
        (with(team(), |q| q.label = Some(label("x", "prod"))), &[]),
        (with(team(), |q| q.label = Some(label("env", "1"))), &[]),
        (
            with(team(), |q| q.status = Some(StatusFilter::Disabled)),
            &["disabled"],
        ),
        (
            with(team(), |q| q.status = Some(StatusFilter::Revoked)),
            &["revoked"],
        ),
        (
            with(KeyQuery::namespace(&home()), |q| {
                q.owner = Some(user("alice"));
                q.name = Some(name("prod"));
                q.label = Some(label("env", "prod"));
                q.status = Some(StatusFilter::Active);
            }),
            &["prod"],
        ),
    ];
    for (query, expected) in cases {
        for limit in [1, 3, 100] {
            let query = with(query.clone(), |q| q.limit = limit);
            assert_eq!(names(store, &query).await, expected, "{query:?}");
        }
    }
}

/// Every list is also given newest first, in pages that join up; a change between two pages
/// disturbs no place, and keys that are created meanwhile are not on later pages.
pub async fn keys_are_listed_newest_first(store: &dyn KeyStore) {
    population(store).await;
    let team = || KeyQuery::team(home().team);
    for query in [
        team(),
        KeyQuery::namespace(&home()),
        with(team(), |q| q.owner = Some(user("alice"))),
        with(team(), |q| q.name = Some(name("prod"))),
        with(team(), |q| q.label = Some(label("env", "prod"))),
        with(team(), |q| q.status = Some(StatusFilter::Unrevoked)),
        with(KeyQuery::namespace(&home()), |q| {
            q.status = Some(StatusFilter::Unrevoked);
        }),
        with(team(), |q| {
            q.owner = Some(user("alice"));
            q.status = Some(StatusFilter::Unrevoked);
        }),
    ] {
        let mut expected = names(store, &query).await;
        assert!(!expected.is_empty(), "{query:?}");
        expected.reverse();
        for limit in [1, 2, 100] {
            let newest = query.clone().newest_first().limit(limit);
            assert_eq!(names(store, &newest).await, expected, "{newest:?}");
        }
    }
    let newest = team().newest_first();
    let first = sound(store.keys(&newest.clone().limit(2)).await);
    let last = first.items.last().expect("the page has two keys");
    kept(store, replacement(last)).await;
    key("late").create(store).await;
    let rest = with(newest, |q| q.after = first.next);
    assert_eq!(
        names(store, &rest).await,
        ["long", "swapped", "prod", "disabled"],
        "the pages after the first"
    );
}

/// Keys are found by their identifiers, each once, in the order of the list and with every other
/// filter; an unknown identifier, or one of another team, selects none.
pub async fn keys_are_found_by_their_identifiers(store: &dyn KeyStore) {
    population(store).await;
    let team = || KeyQuery::team(home().team);
    let all = list(store, &team()).await;
    let mut ids: Vec<_> = all.iter().map(|record| record.id).collect();
    ids.reverse();
    ids.extend(ids.clone());
    let abroad = list(store, &KeyQuery::team(tenant("globex", "fn-3").team)).await;
    ids.extend(abroad.iter().map(|record| record.id));
    ids.push(keyfob::KeyId::from_bytes([0xee; 16]));
    let expected: Vec<String> = all.iter().map(|record| text(&record.name)).collect();
    for limit in [1, 4, 100] {
        let query = team().with_ids(ids.clone()).limit(limit);
        assert_eq!(names(store, &query).await, expected, "{limit} on a page");
        let newest = names(store, &query.newest_first()).await;
        let newest: Vec<String> = newest.into_iter().rev().collect();
        assert_eq!(newest, expected, "newest first, {limit} on a page");
    }
    let unrevoked = team()
        .with_ids(ids.clone())
        .with_status(StatusFilter::Unrevoked);
    assert_eq!(names(store, &unrevoked).await.len(), all.len() - 1);
    let at_home = KeyQuery::namespace(&home()).with_ids(ids);
    assert_eq!(names(store, &at_home).await.len(), 4);
    let none = names(store, &team().with_ids(Vec::new())).await;
    assert!(none.is_empty(), "no identifier: {none:?}");
}

/// Keys are found by a text in their name, namespace, owner or identifier, without regard to the
/// case of any letter. No character of the text has a meaning of its own.
pub async fn keys_are_found_by_a_text_in_what_names_them(store: &dyn KeyStore) {
    let other = tenant("acme", "Orders_1");
    let first = key("\u{c4}rger 100%").create(store).await;
    key("a_b").of(user("bob")).create(store).await;
    key("able").of(service("ROBOT")).create(store).await;
    key("x\\y").within(&other).create(store).await;
    let gone = key("ABLE gone").create(store).await;
    kept(store, replacement(&gone.revoked(crate::fixture::NOW))).await;
    key("able")
        .within(&tenant("globex", "fn-3"))
        .create(store)
        .await;
    let id = keyfob::key::CredentialId::Key(first.record.id).to_string();
    let team = || KeyQuery::team(home().team);
    for (wanted, expected) in [
        ("\u{e4}RGER", &["\u{c4}rger 100%"][..]),
        ("\u{c4}rger", &["\u{c4}rger 100%"]),
        ("%", &["\u{c4}rger 100%"]),
        ("_", &["a_b", "x\\y"]),
        ("\\", &["x\\y"]),
        ("oRDERS", &["x\\y"]),
        ("ABLE", &["able", "ABLE gone"]),
        ("USER:BOB", &["a_b"]),
        ("service:r", &["able"]),
        ("'", &[]),
        (&id.to_uppercase(), &["\u{c4}rger 100%"]),
    ] {
        let wanted = SearchText::new(wanted).expect("it is not empty");
        for limit in [1, 100] {
            let query = team().with_containing(wanted.clone()).limit(limit);
            assert_eq!(names(store, &query).await, expected, "{wanted:?}");
            let unrevoked = query.clone().with_status(StatusFilter::Unrevoked);
            let live = expected.iter().copied();
            let live: Vec<&str> = live.filter(|name| *name != "ABLE gone").collect();
            assert_eq!(
                names(store, &unrevoked).await,
                live,
                "{wanted:?}, unrevoked"
            );
            let newest = names(store, &unrevoked.newest_first()).await;
            let newest: Vec<String> = newest.into_iter().rev().collect();
            assert_eq!(newest, live, "{wanted:?}, newest first");
        }
    }
    let wanted = SearchText::new("A").expect("it is not empty");
    for (query, expected) in [
        (team().with_owner(user("bob")), &["a_b"][..]),
        (team().with_name(name("able")), &["able"]),
        (KeyQuery::namespace(&other), &[]),
        (team().with_ids(vec![first.record.id]), &["\u{c4}rger 100%"]),
    ] {
        let query = query.with_containing(wanted.clone());
        if query.namespace.is_none() {
            assert_eq!(names(store, &query).await, expected, "{query:?}");
        } else {
            // Its owner is alice.
            assert_eq!(names(store, &query).await, ["x\\y"], "{query:?}");
        }
    }
}

/// Keys are listed by their own expiry, those of one second in the order of creation, in pages that
/// join up. A key that does not expire is not among them.
pub async fn keys_are_listed_by_their_expiry(store: &dyn KeyStore) {
    for (called, end) in [
        ("third", Some(300)),
        ("first", Some(100)),
        ("never", None),
        ("second", Some(200)),
        ("second too", Some(200)),
        ("last", Some(400)),
    ] {
        let made = key(called);
        let made = match end {
            Some(end) => made.until(later(end)),
            None => made,
        };
        made.create(store).await;
    }
    let bob = key("bob's").of(user("bob")).until(later(150));
    let bob = bob.create(store).await;
    let near = key("near")
        .within(&tenant("acme", "fn-2"))
        .until(later(250));
    let near = near.create(store).await;
    let team = |first, end| KeyQuery::team(home().team).with_expires(later(first)..later(end));
    for (query, expected) in [
        (
            team(0, 1000),
            &[
                "first",
                "bob's",
                "second",
                "second too",
                "near",
                "third",
                "last",
            ][..],
        ),
        (team(200, 300), &["second", "second too", "near"]),
        (team(200, 200), &[]),
        (team(300, 200), &[]),
        (
            with(team(0, 400), |q| q.owner = Some(user("alice"))),
            &["first", "second", "second too", "near", "third"],
        ),
        (
            with(team(0, 400), |q| {
                q.namespace = Some(near.record.tenant.namespace.clone());
            }),
            &["near"],
        ),
        (
            with(team(0, 400), |q| {
                q.ids = Some(vec![near.record.id, bob.record.id]);
            }),
            &["bob's", "near"],
        ),
        (
            team(0, 400).newest_first().with_name(name("second")),
            &["second"],
        ),
    ] {
        for limit in [1, 2, 100] {
            let query = query.clone().limit(limit);
            assert_eq!(names(store, &query).await, expected, "{query:?}");
        }
    }
    // What is revoked is not among the others, by itself or with its owner.
    kept(store, replacement(&near.revoked(crate::fixture::NOW))).await;
    kept(store, cut(part_of(user("bob")))).await;
    let unrevoked = team(0, 300).with_status(StatusFilter::Unrevoked);
    assert_eq!(
        names(store, &unrevoked).await,
        ["first", "second", "second too"]
    );
    let revoked = team(0, 300).with_status(StatusFilter::Revoked);
    assert_eq!(names(store, &revoked).await, ["bob's", "near"]);
}

fn with(mut query: KeyQuery, change: impl FnOnce(&mut KeyQuery)) -> KeyQuery {
    change(&mut query);
    query
}

/// No list reaches into another team, not even by the name of its namespace or a cursor of its.
pub async fn no_list_crosses_teams(store: &dyn KeyStore) {
    population(store).await;
    let abroad = tenant("globex", "fn-3");
    assert_eq!(names(store, &KeyQuery::namespace(&abroad)).await, ["prod"]);
    let crossed = KeyQuery {
        namespace: Some(abroad.namespace.clone()),
        ..KeyQuery::team(home().team)
    };
    let found = names(store, &crossed).await;
    assert!(found.is_empty(), "another team's namespace: {found:?}");
    let theirs = list(store, &KeyQuery::namespace(&abroad)).await;
    let before = theirs
        .first()
        .map_or(0, |record| record.created_revision.get() - 1);
    let query = KeyQuery {
        after: Some(Cursor::after(keyfob::store::Revision::new(before))),
        ..KeyQuery::team(home().team)
    };
    let found = names(store, &query).await;
    assert!(found.is_empty(), "by a cursor of another team: {found:?}");
    for record in list(store, &KeyQuery::team(home().team)).await {
        assert_eq!(record.tenant.team, home().team, "{:?}", record.name);
    }
}
