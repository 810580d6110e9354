//! The store checks the authority of an actor in the commit, not only when the request arrived.

use std::time::Duration;

use keyfob::{
    Access, Actor, Context, Keyring, MemoryStore, NewKey, Owner, Tenant, Timestamp, block_on,
    manage::{Authority, Error, KeyUpdate, Rotation},
    name::{Scope, TeamId, UserId},
    store::{ActorFault, Target},
};

const NOW: Timestamp = Timestamp::from_unix(1_780_000_000);

fn new_key(user: &str, name: &str) -> NewKey {
    NewKey::for_user("acme", "fn-a", user, name).unwrap()
}

/// A keyring, and the context of a request by alice's key that was verified at `NOW`.
fn admitted() -> (Keyring, Context) {
    let keyring = block_on(Keyring::open(MemoryStore::new(), "dof")).unwrap();
    let expires_in_an_hour = new_key("alice", "admin").expires_at(NOW.plus_seconds(3_600));
    let created = block_on(keyring.create(&Context::system(NOW), expires_in_an_hour)).unwrap();
    let verifier = keyring.verifier();
    let text = created.secret.expose().as_bytes();
    let principal = verifier
        .verify_text(text, &Access::to("fn-a"), NOW)
        .unwrap();
    let context = principal.context(NOW);
    (keyring, context)
}

#[track_caller]
fn assert_refused(keyring: &Keyring, context: &Context, fault: ActorFault, status: u16) {
    let error = block_on(keyring.create(context, new_key("bob", "late"))).unwrap_err();
    assert!(
        matches!(error, Error::Actor(found) if found == fault),
        "{error}"
    );
    assert_eq!(error.status(), status);
}

#[test]
fn a_change_is_refused_if_its_actors_key_no_longer_works() {
    type Loss = fn(&Keyring, &Context, &Tenant, keyfob::KeyId);
    let system = Context::system(NOW);
    let tenant = Tenant::parse("acme", "fn-a").unwrap();
    let losses: [(Loss, ActorFault); 4] = [
        (
            |keyring, system, tenant, id| {
                block_on(keyring.revoke(system, tenant, id, None)).unwrap();
            },
            ActorFault::Revoked,
        ),
        (
            |keyring, system, _, _| {
                block_on(keyring.remove_member(system, "acme", "alice")).unwrap();
            },
            ActorFault::Revoked,
        ),
        (
            |keyring, system, tenant, id| {
                block_on(keyring.disable(system, tenant, id, None)).unwrap();
            },
            ActorFault::Disabled,
        ),
        (
            |keyring, system, tenant, id| {
                block_on(keyring.delete(system, tenant, id, None)).unwrap();
            },
            ActorFault::Unknown,
        ),
    ];
    for (lose, fault) in losses {
        let (keyring, context) = admitted();
        let Some(keyfob::key::CredentialId::Key(id)) = context.actor.credential else {
            panic!("the actor has a key");
        };
        lose(&keyring, &system, &tenant, id);
        assert_refused(&keyring, &context, fault, 401);
    }
}

#[test]
fn a_change_is_refused_if_its_actors_key_expires_before_the_commit() {
    let (keyring, mut context) = admitted();
    context.now = NOW.plus_seconds(3_599);
    block_on(keyring.create(&context, new_key("bob", "in-time"))).unwrap();
    context.now = NOW.plus_seconds(3_600);
    assert_refused(&keyring, &context, ActorFault::Expired, 401);
}

#[test]
fn a_change_is_refused_if_its_actors_key_lost_a_scope() {
    let (keyring, context) = admitted();
    let Some(keyfob::key::CredentialId::Key(id)) = context.actor.credential else {
        panic!("the actor has a key");
    };
    let read = keyfob::Scopes::only([Scope::new("read").unwrap()]).unwrap();
    let tenant = Tenant::parse("acme", "fn-a").unwrap();
    let update = KeyUpdate::new().with_scopes(read);
    block_on(keyring.update(&Context::system(NOW), &tenant, id, update, None)).unwrap();
    assert_refused(&keyring, &context, ActorFault::MissingScope, 403);
}

#[test]
fn a_change_is_refused_if_its_asserted_owner_was_removed() {
    let (keyring, _) = admitted();
    let alice = Actor::user(UserId::new("alice").unwrap());
    let context = Context::new(alice.clone(), NOW);
    assert_eq!(
        context.authority,
        Authority::Owner(Owner::User(UserId::new("alice").unwrap()))
    );
    block_on(keyring.create(&context, new_key("bob", "in-time"))).unwrap();
    block_on(keyring.remove_member(&Context::system(NOW), "acme", "alice")).unwrap();
    assert_refused(&keyring, &context, ActorFault::Removed, 401);
    // The embedder can override it, and then nothing is checked.
    let context = Context::new(alice, NOW).with_authority(Authority::System);
    block_on(keyring.create(&context, new_key("bob", "by-system"))).unwrap();
}

#[test]
fn a_change_is_refused_if_its_actors_secret_was_replaced() {
    let tenant = Tenant::parse("acme", "fn-a").unwrap();
    let system = Context::system(NOW);
    let rotate = |keyring: &Keyring, context: &Context, grace: u64| {
        let Some(keyfob::key::CredentialId::Key(id)) = context.actor.credential else {
            panic!("the actor has a key");
        };
        let rotation = Rotation::new().with_grace(Duration::from_secs(grace));
        block_on(keyring.rotate(&system, &tenant, id, rotation, None))
            .unwrap()
            .secret
    };
    let (keyring, context) = admitted();
    rotate(&keyring, &context, 0);
    assert_refused(&keyring, &context, ActorFault::Replaced, 401);

    let (keyring, mut context) = admitted();
    let secret = rotate(&keyring, &context, 60);
    context.now = NOW.plus_seconds(59);
    block_on(keyring.create(&context, new_key("bob", "in-time"))).unwrap();
    context.now = NOW.plus_seconds(60);
    assert_refused(&keyring, &context, ActorFault::Replaced, 401);
    let verifier = keyring.verifier();
    let new = verifier
        .verify_text(secret.expose().as_bytes(), &Access::to("fn-a"), NOW)
        .unwrap()
        .context(context.now);
    block_on(keyring.create(&new, new_key("bob", "by-the-new-one"))).unwrap();
    // Any secret of the key will do for a context that was not made from a principal.
    let by_id = Context::new(context.actor.clone(), context.now);
    block_on(keyring.create(&by_id, new_key("bob", "by-id"))).unwrap();
}

#[test]
fn a_change_in_another_team_is_refused_if_its_asserted_member_was_removed() {
    let (keyring, _) = admitted();
    let root = Owner::User(UserId::new("root").unwrap());
    let member = Authority::Member(TeamId::new("ops").unwrap(), root.clone());
    let actor = Actor::user(UserId::new("root").unwrap());
    let context = Context::new(actor, NOW).with_authority(member);
    let system = Context::system(NOW);
    // Removed from the other team only.
    let root_in = |team| Target::Owner(TeamId::new(team).unwrap(), root.clone());
    block_on(keyring.remove_in_advance(&system, root_in("acme"))).unwrap();
    block_on(keyring.create(&context, new_key("bob", "in-time"))).unwrap();
    block_on(keyring.set_policy(&context, None, None)).unwrap();
    block_on(keyring.remove_in_advance(&system, root_in("ops"))).unwrap();
    assert_refused(&keyring, &context, ActorFault::Removed, 401);
    let error = block_on(keyring.set_policy(&context, None, None)).unwrap_err();
    assert!(
        matches!(error, Error::Actor(ActorFault::Removed)),
        "{error}"
    );
}
