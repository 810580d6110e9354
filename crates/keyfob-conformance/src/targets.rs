//! Teams, people and services: which of them a store knows, their lists, and the counts of what a
//! revocation of one ends.

use keyfob::{
    Actor, KeyStore, Owner,
    manage::Status,
    name::TeamId,
    store::{
        Change, Conflict, KeyQuery, KeyRecord, LegacyQuery, LiveCount, Target, TargetQuery,
        TargetRecord, TargetsOf,
    },
};

use crate::{
    fixture::{
        NOW, cut, deletion, home, kept, key, later, legacy, legacy_replacement, of_known, opening,
        part_of, removal, replacement, service, sound, tenant, user,
    },
    reading::{list, list_legacy, list_targets, names},
    refusal::refused,
};

fn team(name: &str) -> TeamId {
    tenant(name, "-").team
}

/// A revocation of a team or an owner of whom the store has nothing is refused: the name may be
/// mistyped.
pub async fn an_unknown_target_is_refused(store: &dyn KeyStore) {
    key("laptop").create(store).await;
    let abroad = key("abroad")
        .of(user("bob"))
        .within(&tenant("globex", "fn-2"));
    abroad.create(store).await;
    for target in [
        part_of(user("Alice")),
        part_of(user("alic")),
        part_of(user("alice.")),
        part_of(service("alice")),
        part_of(user("bob")),
        Target::Owner(team("globex"), user("alice")),
        Target::Team(team("Acme")),
        Target::Team(team("acm")),
    ] {
        let unknown = Conflict::UnknownTarget(target.clone());
        for change in [removal(target.clone()), cut(target)] {
            refused(store, of_known(change), unknown.clone()).await;
        }
    }
    for target in [part_of(user("alice")), Target::Team(home().team)] {
        kept(store, of_known(cut(target.clone()))).await;
        kept(store, of_known(removal(target))).await;
    }
}

/// A look-up of one target finds what a revocation would not refuse.
pub async fn one_target_is_looked_up(store: &dyn KeyStore) {
    let gone = key("gone").of(user("gone")).create(store).await;
    kept(store, deletion(&gone.record)).await;
    key("laptop").create(store).await;
    kept(store, removal(part_of(user("mallory")))).await;
    kept(store, cut(part_of(service("ghost")))).await;
    for (target, expected) in [
        (part_of(user("alice")), Some(false)),
        (part_of(user("Alice")), None),
        (part_of(service("alice")), None),
        (part_of(user("gone")), None),
        (part_of(user("mallory")), Some(true)),
        (part_of(service("ghost")), Some(false)),
        (Target::Owner(team("globex"), user("alice")), None),
        (Target::Team(home().team), Some(false)),
        (Target::Team(team("globex")), None),
        (Target::Namespace(home()), Some(false)),
        (Target::Namespace(tenant("globex", "fn-1")), None),
        (Target::Namespace(tenant("acme", "fn-2")), None),
    ] {
        let query = TargetQuery::one(target.clone());
        let found = list_targets(store, &query).await;
        let record = |removed| TargetRecord { target, removed };
        let expected: Vec<TargetRecord> = expected.map(record).into_iter().collect();
        assert_eq!(found, expected, "{query:?}");
    }
}

/// Somebody who never had a key can be removed if that is asked for, and is known from then on.
pub async fn a_target_can_be_removed_in_advance(store: &dyn KeyStore) {
    for target in [
        part_of(user("mallory")),
        Target::Team(team("closed")),
        Target::Namespace(tenant("acme", "fn-9")),
    ] {
        kept(store, removal(target.clone())).await;
        kept(store, of_known(removal(target.clone()))).await;
        kept(store, opening(target.clone())).await;
        kept(store, of_known(cut(target))).await;
    }
    kept(store, removal(part_of(user("mallory")))).await;
    let late = key("late").of(user("mallory")).creation();
    refused(store, late, Conflict::Removed(part_of(user("mallory")))).await;
}

/// An owner is known by any key in the team, revoked and expired ones too, until the last one is
/// deleted.
pub async fn an_owner_is_known_by_any_key_in_the_team(store: &dyn KeyStore) {
    let target = || part_of(user("alice"));
    let expired = key("expired").until(NOW).create(store).await;
    kept(store, of_known(cut(part_of(user("alice"))))).await;
    let bob = key("other").of(user("bob")).within(&tenant("acme", "fn-2"));
    let bob = bob.create(store).await;
    kept(store, replacement(&bob.revoked(NOW))).await;
    kept(store, of_known(removal(part_of(user("bob"))))).await;
    kept(store, deletion(&expired.record)).await;
    // The cutoff stays.
    kept(store, of_known(removal(target()))).await;
    let robot = key("robot").of(service("robot")).create(store).await;
    kept(store, deletion(&robot.record)).await;
    let gone = part_of(service("robot"));
    let unknown = Conflict::UnknownTarget(gone.clone());
    refused(store, of_known(removal(gone)), unknown).await;
}

/// A team is known from its first namespace on.
pub async fn a_team_is_known_by_its_namespaces(store: &dyn KeyStore) {
    let target = Target::Team(home().team);
    let unknown = Conflict::UnknownTarget(target.clone());
    refused(store, of_known(removal(target.clone())), unknown).await;
    kept(store, Change::CreateNamespace { new: home().into() }).await;
    kept(store, of_known(removal(target))).await;
}

fn listed(targets: impl IntoIterator<Item = Target>) -> Vec<TargetRecord> {
    let record = |target| TargetRecord {
        target,
        removed: false,
    };
    targets.into_iter().map(record).collect()
}

/// Teams, people and services are listed once each, in the order of their names, with any
/// number, status and namespaces of their keys; a deleted key leaves no owner behind.
pub async fn teams_and_owners_are_listed_by_their_names(store: &dyn KeyStore) {
    let second = tenant("acme", "fn-2");
    let mut gone = Vec::new();
    for place in [home(), second, tenant("globex", "fn-3")] {
        for owner in [user("zoe"), user("bob"), service("bob"), user("Zoe")] {
            for called in ["first", "second"] {
                let made = key(called).of(owner.clone()).within(&place);
                let made = made.create(store).await;
                if called == "second" {
                    kept(store, replacement(&made.revoked(NOW))).await;
                }
            }
        }
        gone.push(
            key("gone")
                .of(user("gone"))
                .within(&place)
                .create(store)
                .await,
        );
    }
    key("abroad")
        .of(user("eve"))
        .within(&tenant("globex", "fn-3"))
        .create(store)
        .await;
    for key in gone {
        kept(store, deletion(&key.record)).await;
    }
    kept(
        store,
        Change::CreateNamespace {
            new: tenant("Acme", "fn-4").into(),
        },
    )
    .await;
    let owner = |owner| Target::Owner(home().team, owner);
    let members = listed(["Zoe", "bob", "zoe"].map(|name| owner(user(name))));
    let services = listed([owner(service("bob"))]);
    let teams = listed(["Acme", "acme", "globex"].map(|name| Target::Team(team(name))));
    for (query, expected) in [
        (TargetQuery::members(home().team), members),
        (TargetQuery::services(home().team), services),
        (TargetQuery::teams(), teams),
        (TargetQuery::members(team("acm")), Vec::new()),
    ] {
        assert_eq!(list_targets(store, &query).await, expected, "{query:?}");
    }
}

/// A list says who is removed now, and has those too who were removed without ever having a key.
pub async fn a_removed_target_is_listed_as_removed(store: &dyn KeyStore) {
    for owner in [user("alice"), user("bob"), service("robot")] {
        key("laptop").of(owner).create(store).await;
    }
    kept(store, removal(part_of(user("mallory")))).await;
    kept(store, removal(part_of(user("bob")))).await;
    kept(store, cut(part_of(user("alice")))).await;
    kept(store, cut(part_of(user("carol")))).await;
    kept(store, removal(part_of(service("ghost")))).await;
    kept(store, removal(Target::Owner(team("globex"), user("bob")))).await;
    kept(store, removal(Target::Namespace(tenant("acme", "fn-5")))).await;
    kept(store, removal(Target::Team(team("closed")))).await;
    let shown = async |query: TargetQuery| -> Vec<(String, bool)> {
        let records = list_targets(store, &query).await.into_iter();
        let name = |record: TargetRecord| match record.target {
            Target::Team(team) => (team.to_string(), record.removed),
            Target::Owner(_, owner) => (owner.to_string(), record.removed),
            Target::Namespace(tenant) => panic!("a namespace in the list: {tenant:?}"),
        };
        records.map(name).collect()
    };
    let expected = |names: &[(&str, bool)]| -> Vec<(String, bool)> {
        let own = |(name, removed): &(&str, bool)| ((*name).to_owned(), *removed);
        names.iter().map(own).collect()
    };
    let members = [
        ("user:alice", false),
        ("user:bob", true),
        ("user:carol", false),
        ("user:mallory", true),
    ];
    let services = [("service:ghost", true), ("service:robot", false)];
    let teams = [("acme", false), ("closed", true)];
    let team = home().team;
    assert_eq!(
        shown(TargetQuery::members(team.clone())).await,
        expected(&members)
    );
    assert_eq!(
        shown(TargetQuery::services(team)).await,
        expected(&services)
    );
    assert_eq!(shown(TargetQuery::teams()).await, expected(&teams));
    kept(store, opening(part_of(user("bob")))).await;
    let bob = shown(TargetQuery::members(home().team)).await;
    assert!(bob.contains(&("user:bob".to_owned(), false)), "{bob:?}");
}

/// Pages of any size join to the whole list, the last one says so, and limits are clamped.
pub async fn targets_are_listed_page_by_page(store: &dyn KeyStore) {
    for n in 0..7 {
        let place = tenant(&format!("team-{n}"), &format!("ns-{n}"));
        kept(store, Change::CreateNamespace { new: place.into() }).await;
        let name = format!("name-{n}");
        key("laptop").of(user(&name)).create(store).await;
        kept(store, removal(part_of(service(&name)))).await;
    }
    let team = home().team;
    for (query, count) in [
        (TargetQuery::members(team.clone()), 7),
        (TargetQuery::services(team), 7),
        (TargetQuery::teams(), 8),
    ] {
        let whole = sound(store.targets(&query).await);
        assert_eq!((whole.items.len(), whole.more), (count, false), "{query:?}");
        for limit in [0, 1, 2, 3, count, usize::MAX] {
            let query = query.clone().limit(limit);
            let first = sound(store.targets(&query).await);
            let expected = limit.clamp(1, count);
            assert_eq!(first.items.len(), expected, "a page of {query:?}");
            assert_eq!(first.more, expected < count, "whether {query:?} has more");
            assert_eq!(list_targets(store, &query).await, whole.items, "{query:?}");
        }
        let last = whole.items.last().map(|record| record.target.clone());
        let behind = query.after(&last.expect("the list has items"));
        let behind = sound(store.targets(&behind).await);
        assert_eq!(
            (behind.items.len(), behind.more),
            (0, false),
            "behind the last"
        );
    }
    let query = TargetQuery {
        of: TargetsOf::Teams(Some(TeamId::new("team-3").expect("the team is valid"))),
        limit: 1,
    };
    let next = sound(store.targets(&query).await);
    assert_eq!(
        next.items,
        listed([Target::Team(tenant("team-4", "-").team)])
    );
}

async fn count(store: &dyn KeyStore, target: Target) -> LiveCount {
    sound(store.count_live(&target, later(10)).await)
}

fn created_by(owner: &Owner) -> impl Fn(&mut KeyRecord) + use<> {
    let owner = owner.clone();
    move |record| {
        record.created_by = Actor {
            owner: Some(owner.clone()),
            credential: None,
        };
    }
}

/// A count has the keys that work or could work again, each credential of the target once, and none
/// of another owner, namespace or team.
pub async fn live_credentials_are_counted(store: &dyn KeyStore) {
    let (second, abroad) = (tenant("acme", "fn-2"), tenant("globex", "fn-3"));
    key("active").create(store).await;
    key("waits")
        .with(|record| record.not_before = Some(later(50)))
        .create(store)
        .await;
    key("off")
        .with(|record| record.status = Status::Disabled)
        .create(store)
        .await;
    key("long")
        .until(later(11))
        .within(&second)
        .create(store)
        .await;
    key("over").until(later(10)).create(store).await;
    let dead = key("dead").create(store).await;
    kept(store, replacement(&dead.revoked(NOW))).await;
    let gone = key("gone").create(store).await;
    kept(store, deletion(&gone.record)).await;
    key("bob").of(user("bob")).create(store).await;
    key("robot")
        .of(service("alice"))
        .within(&second)
        .create(store)
        .await;
    key("abroad").within(&abroad).create(store).await;
    legacy("guest").create(store).await;
    legacy("guest").within(&second).create(store).await;
    legacy("guest").within(&abroad).create(store).await;
    let mut blocked = legacy("blocked");
    blocked.record.blocked = true;
    blocked.create(store).await;
    let revoked = legacy("revoked").create(store).await;
    kept(store, legacy_replacement(&revoked.revoked())).await;
    for (target, keys, legacy) in [
        (part_of(user("alice")), 4, 0),
        (part_of(user("bob")), 1, 0),
        (part_of(service("alice")), 1, 0),
        (part_of(service("bob")), 0, 0),
        (Target::Owner(abroad.team.clone(), user("alice")), 1, 0),
        (Target::Namespace(home()), 4, 1),
        (Target::Namespace(second), 2, 1),
        (Target::Namespace(tenant("globex", "fn-1")), 0, 0),
        (Target::Namespace(tenant("acme", "fn-9")), 0, 0),
        (Target::Team(home().team), 6, 2),
        (Target::Team(abroad.team), 1, 1),
        (Target::Team(team("acm")), 0, 0),
    ] {
        let found = count(store, target.clone()).await;
        assert_eq!((found.keys, found.legacy), (keys, legacy), "{target:?}");
    }
}

/// What a cutoff of the target, or of a part of it, revoked is not counted; what was created after
/// the cutoff is.
pub async fn a_count_applies_cutoffs(store: &dyn KeyStore) {
    let second = tenant("acme", "fn-2");
    for target in [
        part_of(user("alice")),
        Target::Namespace(home()),
        Target::Team(home().team),
    ] {
        for place in [home(), second.clone()] {
            for owner in [user("alice"), user("bob")] {
                key("before").of(owner).within(&place).create(store).await;
            }
            legacy("before").within(&place).create(store).await;
        }
        kept(store, cut(target)).await;
        let counts = [
            (part_of(user("alice"))),
            (part_of(user("bob"))),
            (Target::Namespace(home())),
            (Target::Namespace(second.clone())),
            (Target::Team(home().team)),
        ];
        for target in counts {
            let of_target = |record: &KeyRecord| record.targets().contains(&target);
            let team = KeyQuery::team(home().team);
            let keys = list(store, &team).await;
            let live = keys
                .iter()
                .filter(|record| of_target(record) && record.is_live(NOW));
            let query = LegacyQuery::team(home().team);
            let legacy = list_legacy(store, &query).await;
            let legacy = legacy
                .iter()
                .filter(|record| record.revoked.is_none() && record.targets().contains(&target));
            let expected = (live.count() as u64, legacy.count() as u64);
            let found = count(store, target.clone()).await;
            assert_eq!((found.keys, found.legacy), expected, "{target:?}");
        }
    }
    key("after").create(store).await;
    assert_eq!(count(store, Target::Team(home().team)).await.keys, 1);
    assert_eq!(count(store, part_of(user("alice"))).await.keys, 1);
}

/// The keys that somebody created for others are listed and counted: a removal of the creator does
/// not end them.
pub async fn keys_that_an_owner_created_for_others_are_found(store: &dyn KeyStore) {
    let (alice, second) = (user("alice"), tenant("acme", "fn-2"));
    let by_alice = created_by(&alice);
    key("own").with(&by_alice).create(store).await;
    key("robot")
        .of(service("robot"))
        .with(&by_alice)
        .create(store)
        .await;
    key("bob")
        .of(user("bob"))
        .within(&second)
        .with(&by_alice)
        .create(store)
        .await;
    let abroad = key("abroad")
        .of(user("bob"))
        .within(&tenant("globex", "fn-3"));
    abroad.with(&by_alice).create(store).await;
    let by_service = created_by(&service("alice"));
    key("service")
        .of(user("bob"))
        .with(by_service)
        .create(store)
        .await;
    let dead = key("dead")
        .of(user("bob"))
        .with(&by_alice)
        .create(store)
        .await;
    kept(store, replacement(&dead.revoked(NOW))).await;
    key("over")
        .until(NOW)
        .of(user("bob"))
        .with(&by_alice)
        .create(store)
        .await;
    for limit in [1, 100] {
        let query = KeyQuery::team(home().team)
            .with_created_for_others_by(alice.clone())
            .limit(limit);
        let found = names(store, &query).await;
        assert_eq!(found, ["robot", "bob", "dead", "over"], "{query:?}");
        let query = query.with_owner(user("bob"));
        assert_eq!(
            names(store, &query).await,
            ["bob", "dead", "over"],
            "{query:?}"
        );
    }
    let found = count(store, part_of(alice.clone())).await;
    assert_eq!((found.keys, found.created_for_others), (1, 2), "all");
    kept(store, cut(part_of(user("bob")))).await;
    kept(store, cut(part_of(alice.clone()))).await;
    let found = count(store, part_of(alice)).await;
    assert_eq!((found.keys, found.created_for_others), (0, 1), "after cuts");
    let robot = count(store, part_of(service("robot"))).await;
    assert_eq!(
        (robot.keys, robot.created_for_others),
        (1, 0),
        "the service"
    );
}
