//! Cutoffs: what was created before is revoked permanently, what comes after is not.

use keyfob::{
    DenyReason, KeyStore, Owner, Tenant,
    manage::{RevocationCause, Status},
    store::{Change, Conflict, KeyQuery, LegacyQuery, StatusFilter, Target},
};

use crate::{
    fixture::{
        Key, NOW, commit_at, cut, fields, home, kept, key, later, legacy, opening, part_of,
        removal, replacement, revocation, service, tenant, user,
    },
    reading::{Gate, list_legacy, listed, names, read, verdict},
    refusal::refused,
};

/// Asserts how a key reads, in look-up and list, and what verdict it gets: from an index that
/// followed all along, and from a new one.
async fn assert_standing(store: &dyn KeyStore, gate: &Gate, key: &Key, status: &Status) {
    let what = &key.record.name;
    assert_eq!(&read(store, &key.record).await.status, status, "{what}");
    let listed = listed(store, &key.record).await;
    let listed = listed.unwrap_or_else(|| panic!("{what} is not listed"));
    assert_eq!(&listed.status, status, "{what} in the list");
    let expected = match status {
        Status::Active => Ok(()),
        Status::Disabled => Err(DenyReason::Disabled),
        Status::Revoked(_) => Err(DenyReason::Revoked),
    };
    gate.follow(store).await;
    let place = &key.record.tenant;
    let following = gate.decide(key.text(), place, NOW);
    assert_eq!(following, expected, "{what}, by an index that followed");
    let fresh = verdict(store, key.text(), place, NOW).await;
    assert_eq!(fresh, expected, "{what}, by a new index");
}

fn elsewhere() -> Tenant {
    tenant("acme", "fn-2")
}

fn abroad() -> Tenant {
    tenant("globex", "fn-3")
}

/// Keys of two people and a service, in two namespaces of a team, and in another team.
async fn population(store: &dyn KeyStore) -> Vec<Key> {
    let mut keys = Vec::new();
    for place in [home(), elsewhere(), abroad()] {
        for owner in [user("alice"), user("bob"), service("alice")] {
            let called = format!("{owner} in {}", place.namespace);
            let key = key(&called).of(owner).within(&place);
            keys.push(key.create(store).await);
        }
    }
    keys
}

/// Cuts a target through the whole population, and asserts who is revoked.
async fn cut_through(
    store: &dyn KeyStore,
    target: Target,
    cause: RevocationCause,
    hit: impl Fn(&Owner, &Tenant) -> bool,
) {
    let keys = population(store).await;
    let gate = Gate::over(store).await;
    for key in &keys {
        assert_standing(store, &gate, key, &Status::Active).await;
    }
    let answer = commit_at(store, removal(target), later(7)).await;
    assert!(answer.is_ok(), "the removal: {answer:?}");
    let revoked = Status::Revoked(revocation(later(7), cause));
    for key in &keys {
        let is_hit = hit(&key.record.owner, &key.record.tenant);
        let status = if is_hit { &revoked } else { &Status::Active };
        assert_standing(store, &gate, key, status).await;
    }
}

/// When a person leaves a team, their keys in all its namespaces are revoked, and nobody else's:
/// not those of a service, not those of another team.
pub async fn no_key_outlives_its_owner(store: &dyn KeyStore) {
    let target = part_of(user("alice"));
    cut_through(store, target, RevocationCause::Owner, |owner, place| {
        *owner == user("alice") && place.team == home().team
    })
    .await;
}

/// When a service is removed, the keys of a person of the same name stay.
pub async fn a_service_is_removed_alone(store: &dyn KeyStore) {
    let target = part_of(service("alice"));
    cut_through(store, target, RevocationCause::Owner, |owner, place| {
        *owner == service("alice") && place.team == home().team
    })
    .await;
}

/// When a namespace ends, all of its keys are revoked, and no others.
pub async fn no_key_outlives_its_namespace(store: &dyn KeyStore) {
    let target = Target::Namespace(home());
    cut_through(store, target, RevocationCause::Namespace, |_, place| {
        *place == home()
    })
    .await;
}

/// When a team ends, the keys of all its namespaces are revoked, and no others.
pub async fn no_key_outlives_its_team(store: &dyn KeyStore) {
    let target = Target::Team(home().team);
    cut_through(store, target, RevocationCause::Team, |_, place| {
        place.team == home().team
    })
    .await;
}

/// The targets that a key of Alice's in the home namespace is in.
fn targets() -> [Target; 3] {
    [
        Target::Team(home().team),
        Target::Namespace(home()),
        part_of(user("alice")),
    ]
}

/// No key is created in a closed target, were it prepared before the removal or after.
pub async fn a_key_created_after_its_owner_left_is_refused(store: &dyn KeyStore) {
    let early = key("prepared before");
    for target in targets() {
        kept(store, removal(target.clone())).await;
        let closed = Conflict::Removed(target.clone());
        refused(store, early.creation(), closed.clone()).await;
        refused(store, key("late").creation(), closed).await;
        kept(store, opening(target)).await;
    }
}

/// A rotation prepared before the removal of its owner, namespace or team is refused after it.
pub async fn a_rotation_prepared_before_a_removal_is_refused(store: &dyn KeyStore) {
    for target in targets() {
        let old = key("laptop").create(store).await;
        let new = old.rotated(100, NOW);
        kept(store, removal(target.clone())).await;
        refused(store, replacement(&new.record), Conflict::Revoked).await;
        kept(store, opening(target)).await;
        refused(store, replacement(&new.record), Conflict::Revoked).await;
        let gate = Gate::over(store).await;
        assert!(gate.decide(new.text(), &home(), NOW).is_err(), "the new");
        assert!(gate.decide(old.text(), &home(), NOW).is_err(), "the old");
    }
}

/// Opening a target again revives nothing; keys that are created afterwards work.
pub async fn reopening_revives_nothing(store: &dyn KeyStore) {
    for target in targets() {
        let old = key("old").create(store).await;
        let gate = Gate::over(store).await;
        assert_standing(store, &gate, &old, &Status::Active).await;
        kept(store, removal(target.clone())).await;
        let revoked = read(store, &old.record).await.status;
        assert!(matches!(revoked, Status::Revoked(_)), "after {target:?}");
        kept(store, opening(target.clone())).await;
        assert_standing(store, &gate, &old, &revoked).await;
        let new = key("new").create(store).await;
        assert_standing(store, &gate, &new, &Status::Active).await;
        assert_standing(store, &gate, &old, &revoked).await;
    }
}

/// A cut that does not close revokes what there is, and lets new keys be made at once.
pub async fn a_cut_without_closing_lets_new_keys_be_made(store: &dyn KeyStore) {
    for target in targets() {
        let old = key("old").create(store).await;
        let gate = Gate::over(store).await;
        kept(store, cut(target.clone())).await;
        let new = key("new").create(store).await;
        assert_standing(store, &gate, &new, &Status::Active).await;
        let status = read(store, &old.record).await.status;
        assert!(matches!(status, Status::Revoked(_)), "after {target:?}");
        assert_standing(store, &gate, &old, &status).await;
    }
}

/// A later cut that does not close leaves a closed target closed.
pub async fn a_later_cut_does_not_open_a_closed_target(store: &dyn KeyStore) {
    for target in targets() {
        kept(store, removal(target.clone())).await;
        kept(store, cut(target.clone())).await;
        let closed = Conflict::Removed(target.clone());
        refused(store, key("late").creation(), closed).await;
        kept(store, opening(target)).await;
    }
}

/// A second cut revokes what was created after the first, and leaves the first revocation as it
/// is.
pub async fn each_cut_revokes_what_came_before_it(store: &dyn KeyStore) {
    let first = key("first").create(store).await;
    let answer = commit_at(store, cut(part_of(user("alice"))), later(1)).await;
    assert!(answer.is_ok(), "the first cut: {answer:?}");
    let second = key("second").create(store).await;
    let answer = commit_at(store, cut(Target::Team(home().team)), later(2)).await;
    assert!(answer.is_ok(), "the second cut: {answer:?}");
    let gate = Gate::over(store).await;
    let by_first = Status::Revoked(revocation(later(1), RevocationCause::Owner));
    assert_standing(store, &gate, &first, &by_first).await;
    let by_second = Status::Revoked(revocation(later(2), RevocationCause::Team));
    assert_standing(store, &gate, &second, &by_second).await;
}

/// A key that was revoked before a cut keeps its own revocation.
pub async fn a_cut_does_not_rewrite_a_revocation(store: &dyn KeyStore) {
    let laptop = key("laptop").create(store).await;
    let mut revoked = laptop.revoked(later(1));
    revoked.revision = kept(store, replacement(&revoked)).await;
    kept(store, removal(part_of(user("alice")))).await;
    let found = read(store, &laptop.record).await;
    assert_eq!(fields(&found), fields(&revoked), "the first revocation");
}

/// A key that a cutoff revoked cannot be replaced, even with its current revision.
pub async fn a_key_behind_a_cut_cannot_be_replaced(store: &dyn KeyStore) {
    for target in targets() {
        let laptop = key("laptop").create(store).await;
        kept(store, cut(target)).await;
        let found = read(store, &laptop.record).await;
        assert_eq!(found.revision, laptop.record.revision, "a cut is no write");
        let change = replacement(&laptop.record);
        refused(store, change, Conflict::Revoked).await;
        let change = replacement(&laptop.revoked(NOW));
        refused(store, change, Conflict::Revoked).await;
    }
}

/// Only a closed target can be opened: not one that never was cut, was cut without closing, or
/// was opened already.
pub async fn a_target_that_is_not_closed_cannot_be_opened(store: &dyn KeyStore) {
    for target in targets() {
        let not_closed = Conflict::NotRemoved(target.clone());
        refused(store, opening(target.clone()), not_closed.clone()).await;
        kept(store, cut(target.clone())).await;
        refused(store, opening(target.clone()), not_closed.clone()).await;
        kept(store, removal(target.clone())).await;
        kept(store, opening(target.clone())).await;
        refused(store, opening(target.clone()), not_closed).await;
    }
}

/// Opening one target opens no other: a key needs its team, its namespace and its owner open.
pub async fn opening_one_target_opens_no_other(store: &dyn KeyStore) {
    for target in targets() {
        kept(store, removal(target)).await;
    }
    let [team, namespace, owner] = targets();
    kept(store, opening(namespace.clone())).await;
    kept(store, opening(owner.clone())).await;
    let closed = Conflict::Removed(team.clone());
    refused(store, key("late").creation(), closed).await;
    kept(store, opening(team)).await;
    kept(store, removal(namespace.clone())).await;
    let closed = Conflict::Removed(namespace.clone());
    refused(store, key("late").creation(), closed).await;
    kept(store, opening(namespace)).await;
    kept(store, removal(owner.clone())).await;
    let closed = Conflict::Removed(owner);
    refused(store, key("late").creation(), closed).await;
}

/// A closed target keeps nobody else from creating keys.
pub async fn a_closed_target_closes_no_other(store: &dyn KeyStore) {
    kept(store, removal(part_of(user("alice")))).await;
    for owner in [user("bob"), service("alice")] {
        kept(store, key("theirs").of(owner).creation()).await;
    }
    kept(store, key("abroad").within(&abroad()).creation()).await;
    kept(store, removal(Target::Namespace(home()))).await;
    let other = key("elsewhere").of(user("bob")).within(&elsewhere());
    kept(store, other.creation()).await;
    kept(store, removal(Target::Team(home().team))).await;
    kept(store, key("abroad again").within(&abroad()).creation()).await;
}

/// A cut by team or namespace ends legacy credentials and refuses their import; an owner's
/// leaving does not touch them.
pub async fn legacy_credentials_end_with_their_target(store: &dyn KeyStore) {
    let guest = legacy("alice").create(store).await;
    kept(store, removal(part_of(user("alice")))).await;
    let status = async || {
        let found = list_legacy(store, &LegacyQuery::every_team()).await;
        let found = found.into_iter().find(|found| found.id == guest.record.id);
        found.expect("the credential is listed").revoked
    };
    assert_eq!(status().await, None, "after an owner left");
    let answer = commit_at(store, removal(Target::Namespace(home())), later(3)).await;
    assert!(answer.is_ok(), "the removal: {answer:?}");
    let revoked = revocation(later(3), RevocationCause::Namespace);
    assert_eq!(status().await, Some(revoked), "after its namespace ended");
    for target in [Target::Namespace(home()), Target::Team(home().team)] {
        kept(store, removal(target.clone())).await;
        let closed = Conflict::Removed(target.clone());
        refused(store, legacy("late").import(), closed).await;
        let mut changed = guest.record.clone();
        changed.blocked = true;
        let change = Change::ReplaceLegacy {
            expected: changed.revision,
            record: changed,
        };
        refused(store, change, Conflict::Revoked).await;
        kept(store, opening(target)).await;
    }
    kept(store, legacy("late").import()).await;
}

/// Lists read status behind the cuts: a key that a cut revoked is among the revoked and not
/// among the active.
pub async fn lists_select_by_status_behind_cuts(store: &dyn KeyStore) {
    key("cut off").create(store).await;
    key("bob's").of(user("bob")).create(store).await;
    let disabled = key("disabled").with(|record| record.status = Status::Disabled);
    disabled.create(store).await;
    kept(store, cut(part_of(user("alice")))).await;
    key("new").create(store).await;
    for (status, expected) in [
        (StatusFilter::Active, &["bob's", "new"][..]),
        (StatusFilter::Disabled, &[]),
        (StatusFilter::Revoked, &["cut off", "disabled"]),
        (StatusFilter::Unrevoked, &["bob's", "new"]),
    ] {
        for limit in [1, 100] {
            let query = KeyQuery {
                status: Some(status),
                limit,
                ..KeyQuery::namespace(&home())
            };
            assert_eq!(names(store, &query).await, expected, "{status:?}");
        }
    }
}
