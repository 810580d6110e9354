//! The authority of an actor, checked in the transaction that stores the change.
//!
//! The actors belong to another team than the changes, so that a store that looks at the targets
//! of the change instead of those of the actor is found out.

use keyfob::{
    Actor, KeyId, KeyStore, Scopes, Tenant, Timestamp, Ttl,
    audit::AuditEntry,
    key::CredentialId,
    legacy::{LegacyId, LegacyPolicy},
    manage::{Authority, Policy, Status},
    name::Scope,
    store::{ActorFault, Change, Conflict, KeyRecord, Target},
};

use crate::{
    fixture::{
        Key, Legacy, NOW, bind, commit_by, cut, deletion, home, kept, key, later, legacy,
        legacy_replacement, name, opening, part_of, removal, replacement, service, tenant, told,
        user,
    },
    reading::{find, side_by_side},
    refusal::refused_by,
};

/// The namespace that the actors' credentials are for.
fn office() -> Tenant {
    tenant("operators", "fn-office")
}

/// The key of an actor, not yet stored.
fn badge() -> Key {
    key("badge").within(&office())
}

/// The key that an actor creates, of an owner who is never removed.
fn work() -> Key {
    key("work").of(user("worker"))
}

fn scopes(names: &[&str]) -> Scopes {
    let scope = |name: &&str| Scope::new(name).expect("the scope is valid");
    Scopes::only(names.iter().map(scope)).expect("the scopes are few")
}

/// The authority of a key of which no scope is required.
fn of_key(record: &KeyRecord) -> Authority {
    of_id(record.id)
}

fn of_id(id: KeyId) -> Authority {
    Authority::credential(CredentialId::Key(id), Scopes::none())
}

fn of_legacy(legacy: &Legacy) -> Authority {
    Authority::credential(CredentialId::Legacy(legacy.record.id), Scopes::none())
}

/// Creates a key as this actor: it must be stored.
async fn accepted(store: &dyn KeyStore, actor: &Authority, at: Timestamp, when: &str) {
    let change = work().creation();
    let event = told(&change, at);
    let answer = commit_by(store, actor, change, event).await;
    assert!(answer.is_ok(), "{when}: {answer:?}");
}

/// Creates a key as this actor: it must be refused, and nothing may be stored.
async fn turned_away(store: &dyn KeyStore, actor: &Authority, fault: ActorFault, at: Timestamp) {
    let work = work();
    let conflict = Conflict::Actor(fault);
    refused_by(store, actor, work.creation(), conflict, at).await;
    let found = find(store, &work.record).await;
    assert!(found.is_none(), "the key of a refused creation is found");
}

/// A key that the store does not have gives no authority: neither an identifier that was never
/// used, nor that of a deleted key, nor that of a credential of the other kind.
pub async fn an_actor_without_a_credential_is_refused(store: &dyn KeyStore) {
    let unknown = ActorFault::Unknown;
    turned_away(store, &of_key(&badge().record), unknown, NOW).await;
    let badge = badge().create(store).await;
    let guest = legacy("guest").within(&office()).create(store).await;
    let same_bytes = LegacyId::from_bytes(badge.record.id.to_bytes());
    let none = Scopes::none();
    let mixed_up = Authority::credential(CredentialId::Legacy(same_bytes), none);
    turned_away(store, &mixed_up, unknown, NOW).await;
    let mixed_up = of_id(KeyId::from_bytes(guest.record.id.to_bytes()));
    turned_away(store, &mixed_up, unknown, NOW).await;
    let actor = of_key(&badge.record);
    accepted(store, &actor, NOW, "the key exists").await;
    kept(store, deletion(&badge.record)).await;
    turned_away(store, &actor, unknown, NOW).await;
}

/// A revoked key makes no change, not even in the second of its revocation.
pub async fn a_revoked_actor_is_refused(store: &dyn KeyStore) {
    let badge = badge().create(store).await;
    let other = key("other").within(&office()).create(store).await;
    let actor = of_key(&badge.record);
    accepted(store, &actor, NOW, "before the revocation").await;
    kept(store, replacement(&badge.revoked(NOW))).await;
    turned_away(store, &actor, ActorFault::Revoked, NOW).await;
    let other = of_key(&other.record);
    accepted(store, &other, NOW, "another key").await;
}

/// A key may revoke itself. That was its last change.
pub async fn an_actor_can_revoke_itself_once(store: &dyn KeyStore) {
    let badge = badge().create(store).await;
    let actor = of_key(&badge.record);
    let change = replacement(&badge.revoked(NOW));
    let event = told(&change, NOW);
    let answer = commit_by(store, &actor, change.clone(), event).await;
    assert!(answer.is_ok(), "its own revocation: {answer:?}");
    let conflict = Conflict::Actor(ActorFault::Revoked);
    refused_by(store, &actor, change, conflict, NOW).await;
}

/// A key that was created before a cutoff of its owner, namespace or team makes no change. One
/// that was created after it does, and so does a key outside of the target.
pub async fn an_actor_before_a_cutoff_is_refused(store: &dyn KeyStore) {
    let Tenant { team, .. } = office();
    let robot = badge().of(service("alice")).create(store).await;
    for target in [
        Target::Owner(team.clone(), user("alice")),
        Target::Namespace(office()),
        Target::Team(team),
    ] {
        let before = badge().create(store).await;
        accepted(store, &of_key(&before.record), NOW, "before the cutoff").await;
        if matches!(target, Target::Owner(..)) {
            kept(store, cut(part_of(user("alice")))).await;
            let actor = of_key(&before.record);
            accepted(store, &actor, NOW, "a cutoff of the same person elsewhere").await;
        }
        kept(store, cut(target.clone())).await;
        turned_away(store, &of_key(&before.record), ActorFault::Revoked, NOW).await;
        let after = badge().create(store).await;
        accepted(store, &of_key(&after.record), NOW, "after the cutoff").await;
        if matches!(target, Target::Owner(..)) {
            let actor = of_key(&robot.record);
            accepted(store, &actor, NOW, "a service of the same name").await;
        }
        kept(store, removal(target.clone())).await;
        turned_away(store, &of_key(&after.record), ActorFault::Revoked, NOW).await;
        kept(store, opening(target)).await;
        turned_away(store, &of_key(&after.record), ActorFault::Revoked, NOW).await;
    }
}

/// A disabled key makes no change until it is enabled.
pub async fn a_disabled_actor_is_refused(store: &dyn KeyStore) {
    let mut badge = badge().create(store).await;
    let actor = of_key(&badge.record);
    badge.record.status = Status::Disabled;
    badge.record.revision = kept(store, replacement(&badge.record)).await;
    turned_away(store, &actor, ActorFault::Disabled, NOW).await;
    badge.record.status = Status::Active;
    kept(store, replacement(&badge.record)).await;
    accepted(store, &actor, NOW, "enabled again").await;
}

/// A key makes changes up to the second before it expires, by the time of the change's event.
pub async fn an_expired_actor_is_refused(store: &dyn KeyStore) {
    let badge = badge().until(later(60)).create(store).await;
    let actor = of_key(&badge.record);
    accepted(store, &actor, later(59), "a second before the expiry").await;
    turned_away(store, &actor, ActorFault::Expired, later(60)).await;
    turned_away(store, &actor, ActorFault::Expired, later(61)).await;
}

/// A key makes changes from the second on in which it becomes valid.
pub async fn an_actor_that_is_not_yet_valid_is_refused(store: &dyn KeyStore) {
    let badge = badge().with(|record| record.not_before = Some(later(60)));
    let badge = badge.create(store).await;
    let actor = of_key(&badge.record);
    turned_away(store, &actor, ActorFault::NotYetValid, later(59)).await;
    accepted(store, &actor, later(60), "valid from this second on").await;
}

/// The policy of the actor's namespace ends its key, and none of another namespace: the one that
/// the change is in, or another one of the team. Without an override the default policy does.
pub async fn an_actor_past_the_maximum_of_its_namespace_is_refused(store: &dyn KeyStore) {
    let hours = |hours| Policy {
        max_ttl: Some(Ttl::hours(hours).expect("the life is valid")),
        ..Policy::default()
    };
    let badge = badge().create(store).await;
    let actor = of_key(&badge.record);
    for foreign in [home(), tenant("operators", "fn-other")] {
        set(store, Some(foreign), Some(hours(1))).await;
    }
    accepted(store, &actor, later(3600), "policies of other namespaces").await;
    set(store, Some(office()), Some(hours(2))).await;
    accepted(store, &actor, later(7199), "a second before the maximum").await;
    turned_away(store, &actor, ActorFault::Expired, later(7200)).await;
    set(store, None, Some(hours(1))).await;
    accepted(
        store,
        &actor,
        later(3600),
        "past the default, not the override",
    )
    .await;
    set(store, Some(office()), None).await;
    turned_away(store, &actor, ActorFault::Expired, later(3600)).await;
    set(store, None, None).await;
    accepted(store, &actor, later(7200), "no maximum").await;
}

async fn set(store: &dyn KeyStore, tenant: Option<Tenant>, policy: Option<Policy>) {
    bind(store, tenant.as_ref()).await;
    kept(store, Change::SetPolicy { tenant, policy }).await;
}

/// Every scope that the request was admitted with must be a scope of the key at the commit.
pub async fn an_actor_that_lost_a_scope_is_refused(store: &dyn KeyStore) {
    let mut badge = badge().create(store).await;
    let id = CredentialId::Key(badge.record.id);
    let [read, both, all] = [scopes(&["read"]), scopes(&["read", "write"]), Scopes::All]
        .map(|scopes| Authority::credential(id, scopes));
    let lost = ActorFault::MissingScope;
    for (has, refused) in [
        (Scopes::All, &[][..]),
        (scopes(&["read", "write"]), &[&all]),
        (scopes(&["read"]), &[&all, &both]),
        (Scopes::none(), &[&all, &both, &read]),
    ] {
        badge.record.scopes = has;
        badge.record.revision = kept(store, replacement(&badge.record)).await;
        for actor in [&read, &both, &all] {
            if refused.contains(&actor) {
                turned_away(store, actor, lost, NOW).await;
            } else {
                accepted(store, actor, NOW, "the key has the scopes").await;
            }
        }
        let actor = of_key(&badge.record);
        accepted(store, &actor, NOW, "no scope is required").await;
    }
}

/// A legacy credential makes changes while it is neither blocked nor revoked, by itself or by a
/// cutoff, and while the policy of its namespace accepts it, to the exact second.
pub async fn a_legacy_actor_that_is_no_longer_accepted_is_refused(store: &dyn KeyStore) {
    let until = |seconds| Some(LegacyPolicy::until(later(seconds)));
    let [guest, second] = [legacy("guest"), legacy("second")].map(|own| own.within(&office()));
    let (guest, second) = (guest.create(store).await, second.create(store).await);
    let mut blocked = legacy("blocked").within(&office());
    blocked.record.blocked = true;
    let blocked = blocked.create(store).await;
    let actor = of_legacy(&guest);
    turned_away(store, &actor, ActorFault::Expired, NOW).await;
    set_legacy(store, Some(home()), until(100)).await;
    turned_away(store, &actor, ActorFault::Expired, NOW).await;
    set_legacy(store, Some(office()), until(60)).await;
    accepted(store, &actor, later(59), "a second before the sunset").await;
    turned_away(store, &actor, ActorFault::Expired, later(60)).await;
    set_legacy(store, None, until(90)).await;
    turned_away(store, &actor, ActorFault::Expired, later(60)).await;
    set_legacy(store, Some(office()), None).await;
    accepted(store, &actor, later(60), "before the default sunset").await;
    turned_away(store, &of_legacy(&blocked), ActorFault::Disabled, NOW).await;
    kept(store, legacy_replacement(&guest.revoked())).await;
    turned_away(store, &actor, ActorFault::Revoked, NOW).await;
    let actor = of_legacy(&second);
    accepted(store, &actor, NOW, "another legacy credential").await;
    kept(store, cut(Target::Namespace(office()))).await;
    turned_away(store, &actor, ActorFault::Revoked, NOW).await;
}

async fn set_legacy(store: &dyn KeyStore, tenant: Option<Tenant>, policy: Option<LegacyPolicy>) {
    bind(store, tenant.as_ref()).await;
    kept(store, Change::SetLegacyPolicy { tenant, policy }).await;
}

/// A person or a service that was removed from the team of the change makes none in it, until
/// they are restored. Elsewhere they do, and so does an owner whose keys were only revoked.
pub async fn a_removed_owner_is_refused(store: &dyn KeyStore) {
    let alice = Authority::Owner(user("alice"));
    kept(store, cut(part_of(user("alice")))).await;
    accepted(store, &alice, NOW, "after a cutoff that does not block").await;
    kept(store, removal(Target::Owner(office().team, user("alice")))).await;
    accepted(store, &alice, NOW, "removed from another team").await;
    kept(store, removal(part_of(user("alice")))).await;
    turned_away(store, &alice, ActorFault::Removed, NOW).await;
    for owner in [user("bob"), service("alice")] {
        accepted(store, &Authority::Owner(owner), NOW, "another owner").await;
    }
    for (change, expected) in [
        (key("elsewhere").within(&office()).creation(), true),
        (default_policy(), false),
    ] {
        // Removed from both teams; a default policy is of no team.
        let event = told(&change, NOW);
        if expected {
            let conflict = Conflict::Actor(ActorFault::Removed);
            refused_by(store, &alice, change, conflict, NOW).await;
        } else {
            let answer = commit_by(store, &alice, change, event).await;
            assert!(answer.is_ok(), "a default policy: {answer:?}");
        }
    }
    kept(store, opening(part_of(user("alice")))).await;
    accepted(store, &alice, NOW, "restored").await;
    kept(store, removal(part_of(service("alice")))).await;
    let robot = Authority::Owner(service("alice"));
    turned_away(store, &robot, ActorFault::Removed, NOW).await;
    accepted(store, &alice, NOW, "a person of the same name").await;
}

fn default_policy() -> Change {
    Change::SetPolicy {
        tenant: None,
        policy: None,
    }
}

/// The system is never refused, independently of the actor in its audit entry.
pub async fn the_system_is_never_refused(store: &dyn KeyStore) {
    let badge = badge().create(store).await;
    kept(store, replacement(&badge.revoked(NOW))).await;
    kept(store, removal(part_of(user("alice")))).await;
    let actor = Actor {
        owner: Some(user("alice")),
        credential: Some(CredentialId::Key(badge.record.id)),
    };
    let change = work().creation();
    let event = AuditEntry {
        actor,
        ..told(&change, NOW)
    };
    let answer = commit_by(store, &Authority::System, change, event).await;
    assert!(answer.is_ok(), "{answer:?}");
}

/// Every kind of change is refused to a revoked key and to a removed owner; the actor is checked
/// before any condition of the change. The same changes are stored for an actor that may.
pub async fn every_kind_of_change_is_checked(store: &dyn KeyStore) {
    let badge = badge().create(store).await;
    let good = key("good").within(&office()).create(store).await;
    kept(store, replacement(&badge.revoked(NOW))).await;
    kept(store, removal(part_of(user("mallory")))).await;
    let refused = [
        (of_key(&badge.record), ActorFault::Revoked),
        (Authority::Owner(user("mallory")), ActorFault::Removed),
    ];
    let mut laptop = key("laptop").create(store).await;
    let phone = key("phone").create(store).await;
    let guest = legacy("guest").create(store).await;
    kept(store, removal(part_of(user("bob")))).await;
    laptop.record.name = name("renamed");
    let unknown = key("unknown");
    let mut changes = every_kind(&laptop, &phone, &guest);
    for (actor, fault) in &refused {
        let broken = [
            laptop.creation(),
            replacement(&unknown.record),
            opening(part_of(user("nobody"))),
        ];
        for change in changes.iter().cloned().chain(broken) {
            refused_by(store, actor, change, Conflict::Actor(*fault), NOW).await;
        }
    }
    let allowed = [of_key(&good.record), Authority::Owner(user("carol"))];
    for (n, change) in changes.drain(..).enumerate() {
        let actor = if n % 2 == 0 { &allowed[0] } else { &allowed[1] };
        let what = format!("{change:?}");
        let event = told(&change, NOW);
        let answer = commit_by(store, actor, change, event).await;
        assert!(answer.is_ok(), "{answer:?}: {what}");
    }
}

/// A change of each kind, each of which may be stored after the others.
fn every_kind(laptop: &Key, phone: &Key, guest: &Legacy) -> Vec<Change> {
    vec![
        key("new").creation(),
        replacement(&laptop.record),
        deletion(&phone.record),
        cut(part_of(user("alice"))),
        removal(Target::Namespace(tenant("acme", "fn-2"))),
        opening(part_of(user("bob"))),
        legacy("imported").import(),
        legacy_replacement(&guest.revoked()),
        Change::SetPolicy {
            tenant: Some(home()),
            policy: Some(Policy::default()),
        },
        Change::SetLegacyPolicy {
            tenant: Some(home()),
            policy: None,
        },
        Change::CreateNamespace {
            new: tenant("acme", "fn-3").into(),
        },
    ]
}

/// When an actor loses its key while it makes changes, every change after the loss is refused:
/// none has a later revision.
pub async fn no_change_comes_after_its_actors_revocation(store: &dyn KeyStore) {
    type Loss = fn(&Key, &Target) -> Change;
    let losses: [(Loss, ActorFault); 4] = [
        (|key, _| replacement(&key.revoked(NOW)), ActorFault::Revoked),
        (|_, target| cut(target.clone()), ActorFault::Revoked),
        (|_, target| removal(target.clone()), ActorFault::Revoked),
        (|key, _| deletion(&key.record), ActorFault::Unknown),
    ];
    for (n, (loss, fault)) in losses.into_iter().enumerate() {
        let owner = user(&format!("actor {n}"));
        let target = Target::Owner(office().team, owner.clone());
        let badge = badge().of(owner).create(store).await;
        race(store, &of_key(&badge.record), loss(&badge, &target), fault).await;
    }
}

/// When an owner is removed while they make changes, every change after the removal is refused.
pub async fn no_change_comes_after_its_owners_removal(store: &dyn KeyStore) {
    let actor = Authority::Owner(user("carol"));
    let loss = removal(part_of(user("carol")));
    race(store, &actor, loss, ActorFault::Removed).await;
}

/// Commits eight changes of an actor at once with the one that takes its authority away.
async fn race(store: &dyn KeyStore, actor: &Authority, loss: Change, fault: ActorFault) {
    let what = format!("{loss:?}");
    let attempt = |_| (actor.clone(), work().creation());
    let mut attempts: Vec<_> = (0..8).map(attempt).collect();
    attempts.insert(4, (Authority::System, loss));
    let attempts = attempts.into_iter().map(|(actor, change)| async move {
        let event = told(&change, NOW);
        commit_by(store, &actor, change, event).await
    });
    let mut answers = side_by_side(attempts.collect()).await;
    let loss = answers.remove(4);
    let revision = loss.unwrap_or_else(|conflict| panic!("{conflict}: {what}"));
    for answer in answers {
        match answer {
            Ok(stored) => assert!(stored < revision, "stored at {stored} after {what}"),
            Err(conflict) => assert_eq!(conflict, Conflict::Actor(fault), "after {what}"),
        }
    }
    turned_away(store, actor, fault, NOW).await;
}
