//! Namespaces: what binds them to a team, their list, and their removal.

use keyfob::{
    KeyStore, Tenant,
    manage::NewNamespace,
    name::{NamespaceLabel, Region},
    store::{Change, Conflict, NamespaceQuery, NamespaceRecord, Revision, Target},
};

use crate::{
    fixture::{
        NOW, commit_at, cut, deletion, home, kept, key, later, opening, removal, sound, tenant,
        user,
    },
    reading::{feed, head, list_namespaces},
    refusal::refused,
    tenants::first_changes_of,
};

fn creation(tenant: Tenant) -> Change {
    Change::CreateNamespace { new: tenant.into() }
}

fn record(tenant: Tenant, created_revision: u64) -> NamespaceRecord {
    NamespaceRecord {
        tenant,
        label: None,
        region: None,
        created_at: NOW,
        removed: false,
        created_revision: Revision::new(created_revision),
    }
}

async fn listed(store: &dyn KeyStore) -> Vec<NamespaceRecord> {
    list_namespaces(store, &NamespaceQuery::every_team()).await
}

/// Every change that binds a namespace adds it to the list, once, with the time and the revision.
pub async fn a_namespace_is_listed_from_its_first_change_on(store: &dyn KeyStore) {
    let mut expected = Vec::new();
    for n in 0..first_changes_of(&home()).len() {
        let place = tenant("acme", &format!("fn-{n}"));
        let first = first_changes_of(&place).swap_remove(n);
        let at = later(n as u64);
        let created_revision = commit_at(store, first, at).await.expect("it is free");
        let removed = n == REMOVAL;
        let record = record(place.clone(), created_revision.get());
        expected.push(NamespaceRecord {
            created_at: at,
            removed,
            ..record
        });
        if !removed {
            kept(store, key("second").within(&place).creation()).await;
        }
    }
    assert_eq!(listed(store).await, expected);
}

/// The change among those of `first_changes_of` that removes a namespace.
const REMOVAL: usize = 3;

/// What was refused binds nothing, and what was deleted frees nothing.
pub async fn a_namespace_is_listed_while_its_keys_come_and_go(store: &dyn KeyStore) {
    kept(store, removal(Target::Team(tenant("closed", "-").team))).await;
    let refusal = key("late").within(&tenant("closed", "fn-9")).creation();
    let answer = commit_at(store, refusal, NOW).await;
    assert!(matches!(answer, Err(Conflict::Removed(_))), "{answer:?}");
    assert_eq!(listed(store).await, []);
    let laptop = key("laptop").create(store).await;
    kept(store, deletion(&laptop.record)).await;
    assert_eq!(listed(store).await, [record(home(), 2)]);
}

/// A namespace is created once, for one team, before anything is in it.
pub async fn a_namespace_is_created_once(store: &dyn KeyStore) {
    let theirs = tenant("globex", "fn-1");
    kept(store, creation(home())).await;
    assert_eq!(listed(store).await, [record(home(), 1)]);
    refused(store, creation(home()), Conflict::IdTaken).await;
    refused(store, creation(theirs.clone()), Conflict::ForeignNamespace).await;
    let late = key("late").within(&theirs);
    refused(store, late.creation(), Conflict::ForeignNamespace).await;
    key("laptop").create(store).await;
    let used = tenant("acme", "fn-2");
    key("other").within(&used).create(store).await;
    refused(store, creation(used.clone()), Conflict::IdTaken).await;
    let expected = [record(home(), 1), record(used, 3)];
    assert_eq!(listed(store).await, expected);
}

/// A namespace keeps the label and the region of its creation. A label need not be unique, and what
/// a namespace got without a creation stays empty.
pub async fn a_namespace_keeps_its_label_and_region(store: &dyn KeyStore) {
    let label = || NamespaceLabel::new("Bestellungen 📦").expect("a label");
    let region = || Region::new("blr1").expect("a region");
    let new = |name| NewNamespace::new(tenant("acme", name));
    let mut expected = Vec::new();
    for new in [
        new("fn-1").with_label(label()).with_region(region()),
        new("fn-2").with_label(label()),
        new("fn-3").with_region(region()),
        new("fn-4"),
    ] {
        kept(store, Change::CreateNamespace { new: new.clone() }).await;
        expected.push(NamespaceRecord {
            label: new.label,
            region: new.region,
            ..record(new.tenant, expected.len() as u64 + 1)
        });
    }
    key("laptop")
        .within(&tenant("acme", "fn-5"))
        .create(store)
        .await;
    expected.push(record(tenant("acme", "fn-5"), 5));
    assert_eq!(listed(store).await, expected);
    kept(store, removal(Target::Namespace(tenant("acme", "fn-1")))).await;
    expected[0].removed = true;
    assert_eq!(listed(store).await, expected);
}

/// No namespace is created in a team that was removed, until it is admitted again.
pub async fn no_namespace_is_created_in_a_closed_team(store: &dyn KeyStore) {
    let team = Target::Team(home().team);
    kept(store, removal(team.clone())).await;
    refused(store, creation(home()), Conflict::Removed(team.clone())).await;
    kept(store, opening(team)).await;
    kept(store, creation(home())).await;
    assert_eq!(listed(store).await, [record(home(), 3)]);
}

/// The change feed passes over a created namespace, and goes on behind it.
pub async fn the_feed_passes_over_a_created_namespace(store: &dyn KeyStore) {
    key("first").create(store).await;
    kept(store, creation(tenant("acme", "fn-2"))).await;
    assert_eq!(head(store).await, Revision::new(2));
    assert!(feed(store, Revision::new(1), 1).await.is_empty());
    let second = key("second").create(store).await;
    let entries = feed(store, Revision::new(1), 1).await;
    let revisions: Vec<Revision> = entries.iter().map(|entry| entry.revision).collect();
    assert_eq!(revisions, [second.record.created_revision]);
}

/// A namespace says that it is removed while it or its team is closed, and at no other cut.
pub async fn a_removed_namespace_says_so(store: &dyn KeyStore) {
    let second = tenant("acme", "fn-2");
    let (namespace, team) = (Target::Namespace(home()), Target::Team(home().team));
    kept(store, creation(home())).await;
    kept(store, creation(second.clone())).await;
    kept(store, creation(tenant("globex", "fn-3"))).await;
    for (change, expected) in [
        (cut(namespace.clone()), [false, false, false]),
        (cut(team.clone()), [false, false, false]),
        (
            removal(Target::Owner(home().team, user("alice"))),
            [false, false, false],
        ),
        (removal(namespace.clone()), [true, false, false]),
        (removal(team.clone()), [true, true, false]),
        (opening(namespace), [true, true, false]),
        (opening(team), [false, false, false]),
    ] {
        let what = format!("{change:?}");
        kept(store, change).await;
        let removed = listed(store).await.into_iter().map(|record| record.removed);
        assert_eq!(removed.collect::<Vec<_>>(), expected, "after {what}");
    }
}

/// Namespaces are selected by team and by name, alone and together, in pages of any size.
pub async fn namespaces_are_listed_page_by_page(store: &dyn KeyStore) {
    let places = [
        ("acme", "m"),
        ("globex", "z"),
        ("acme", "a"),
        ("acme", "Z"),
        ("globex", "b"),
    ]
    .map(|(team, namespace)| tenant(team, namespace));
    for place in &places {
        kept(store, creation(place.clone())).await;
    }
    let all = NamespaceQuery::every_team;
    let acme = || NamespaceQuery::team(places[0].team.clone());
    let called = |query: NamespaceQuery, place: &Tenant| NamespaceQuery {
        namespace: Some(place.namespace.clone()),
        ..query
    };
    for (query, expected) in [
        (all(), &[1, 2, 3, 4, 5][..]),
        (acme(), &[1, 3, 4]),
        (called(all(), &places[1]), &[2]),
        (called(acme(), &places[3]), &[4]),
        (called(acme(), &places[1]), &[]),
        (called(all(), &tenant("acme", "A")), &[]),
    ] {
        for limit in [0, 1, 2, 100] {
            let query = NamespaceQuery {
                limit,
                ..query.clone()
            };
            let found = list_namespaces(store, &query).await;
            let created_revision: Vec<u64> = found
                .iter()
                .map(|record| record.created_revision.get())
                .collect();
            assert_eq!(created_revision, expected, "{query:?}");
            let page = sound(store.namespaces(&query).await);
            let most = limit.max(1);
            assert_eq!(page.items.len(), most.min(expected.len()), "{query:?}");
            assert_eq!(page.next.is_some(), most < expected.len(), "{query:?}");
        }
    }
}
