//! Lists: in the order of creation, page by page, nothing skipped and nothing twice.

use keyfob::{
    KeyStore,
    manage::{Labels, Status},
    name::{LabelName, LabelValue},
    store::{Cursor, KeyQuery, StatusFilter},
};

use crate::{
    fixture::{deletion, home, kept, key, name, replacement, service, sound, tenant, user},
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
