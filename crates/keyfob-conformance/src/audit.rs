//! The audit trail: one event for each commit, chained, filtered, paged.

use keyfob::{
    Actor, KeyStore,
    audit::{Action, AuditEntry, AuditEvent, ChainHash},
    key::CredentialId,
    name::{Reason, RequestId, UserId},
    store::{AuditQuery, Revision},
};

use crate::{
    fixture::{
        NOW, commit_telling, context, deletion, home, kept, key, later, legacy, replacement,
        service, sound, tenant, told, user,
    },
    history::History,
    reading::trail,
};

fn all() -> AuditQuery {
    AuditQuery::every_team()
}

/// Every commit leaves one event: at its revision, in its order, saying what it was told.
pub async fn every_commit_leaves_one_event(store: &dyn KeyStore) {
    let history = History::new();
    history.play(store).await;
    let events = trail(store, &all()).await;
    let entries: Vec<AuditEntry> = events.iter().map(|event| event.entry.clone()).collect();
    let expected: Vec<AuditEntry> = history
        .changes
        .iter()
        .map(|change| told(change, NOW))
        .collect();
    assert_eq!(entries, expected, "what the events say");
    let revisions: Vec<Revision> = events.iter().map(|event| event.revision).collect();
    let expected: Vec<Revision> = (1..=history.changes.len() as u64)
        .map(Revision::new)
        .collect();
    assert_eq!(revisions, expected, "the revisions of the events");
}

/// The whole trail forms one hash chain from its start.
pub async fn the_trail_is_one_chain(store: &dyn KeyStore) {
    History::new().play(store).await;
    let events = trail(store, &all()).await;
    let last = AuditEvent::verify(ChainHash::START, &events);
    let expected = events.last().map(|event| event.hash);
    assert_eq!(last.ok(), expected, "the last hash of the chain");
    let (kept, rest) = events.split_at(events.len() / 2);
    let witness = kept.last().map_or(ChainHash::START, |event| event.hash);
    assert!(AuditEvent::verify(witness, rest).is_ok(), "from a witness");
}

/// Pages of any size join to the whole trail, and the last page says so.
pub async fn pages_of_the_trail_join_up(store: &dyn KeyStore) {
    History::new().play(store).await;
    let whole = trail(store, &all()).await;
    for limit in [0, 1, 3, whole.len(), whole.len() + 1] {
        let query = AuditQuery { limit, ..all() };
        assert_eq!(trail(store, &query).await, whole, "pages of {limit}");
        let page = sound(store.audit(&query).await);
        assert_eq!(page.items.len(), limit.clamp(1, whole.len()));
        assert_eq!(page.next.is_some(), limit < whole.len(), "more: {limit}");
    }
}

/// Every field of an event comes back as it was told.
pub async fn every_field_of_an_event_is_kept(store: &dyn KeyStore) {
    let (laptop, guest) = (key("laptop"), legacy("guest"));
    let reason = Reason::new("ключ утёк; 'DROP' \"%\" 🔥").expect("the reason is valid");
    let request = RequestId::new("req-1' OR 1=1").expect("the request is valid");
    let by_key = Actor::user(UserId::new("root").expect("valid"))
        .with_credential(CredentialId::Key(laptop.record.id));
    let full = AuditEntry {
        at: later(123),
        actor: by_key,
        action: Action::KeyCreated,
        team: Some(home().team),
        namespace: Some(home().namespace),
        owner: Some(service("robot")),
        credential: Some(CredentialId::Key(laptop.record.id)),
        reason: Some(reason),
        request_id: Some(request),
    };
    let bare = AuditEntry {
        at: keyfob::Timestamp::MIN,
        actor: Actor::system(),
        credential: Some(CredentialId::Legacy(guest.record.id)),
        team: None,
        namespace: None,
        owner: None,
        reason: None,
        request_id: None,
        action: Action::LegacyImported,
    };
    for (change, event) in [(laptop.creation(), &full), (guest.import(), &bare)] {
        let answer = commit_telling(store, change, event.clone()).await;
        assert!(answer.is_ok(), "{answer:?}");
    }
    let events = trail(store, &all()).await;
    let kept: Vec<&AuditEntry> = events.iter().map(|event| &event.entry).collect();
    assert_eq!(kept, [&full, &bare]);
    assert!(AuditEvent::verify(ChainHash::START, &events).is_ok());
}

/// What was deleted stays in the trail.
pub async fn a_deletion_keeps_the_trail(store: &dyn KeyStore) {
    let laptop = key("laptop").create(store).await;
    kept(store, deletion(&laptop.record)).await;
    let actions: Vec<Action> = trail(store, &all())
        .await
        .iter()
        .map(|event| event.entry.action)
        .collect();
    assert_eq!(actions, [Action::KeyCreated, Action::KeyDeleted]);
}

/// The trail is selected by team, namespace, credential and actor, alone and together, in pages
/// of any size.
pub async fn the_trail_is_selected_by_what_it_says(store: &dyn KeyStore) {
    let ids = selectable(store).await;
    let abroad = tenant("globex", "fn-3");
    let mut twin = all();
    twin.credential = ids.get(2).copied();
    for (query, expected) in [
        (all(), &[1, 2, 3, 4, 5][..]),
        (with(|q| q.team = Some(home().team)), &[1, 2, 4]),
        (with(|q| q.team = Some(abroad.team.clone())), &[3]),
        (with(|q| q.namespace = Some(home().namespace)), &[1, 4]),
        (with(|q| q.credential = ids.first().copied()), &[1, 4]),
        (twin, &[3]),
        (with(|q| q.actor = Some(user("admin"))), &[1, 3, 4]),
        (with(|q| q.actor = Some(service("admin"))), &[2]),
        (with(|q| q.actor = Some(user("nobody"))), &[]),
        (
            with(|q| {
                q.team = Some(home().team);
                q.credential = ids.first().copied();
                q.actor = Some(user("admin"));
            }),
            &[1, 4],
        ),
        (
            with(|q| {
                q.team = Some(abroad.team.clone());
                q.namespace = Some(home().namespace);
            }),
            &[],
        ),
    ] {
        for limit in [1, 2, 100] {
            let query = AuditQuery {
                limit,
                ..query.clone()
            };
            let events = trail(store, &query).await;
            let found: Vec<u64> = events.iter().map(|event| event.revision.get()).collect();
            assert_eq!(found, expected, "{query:?}");
        }
    }
}

/// The trail is selected by action. A page is filled with what was selected, however far apart.
pub async fn the_trail_is_selected_by_action(store: &dyn KeyStore) {
    let laptop = key("laptop").create(store).await;
    let mut other = key("other").create(store).await;
    other.record.revision = kept(store, replacement(&other.record)).await;
    kept(store, deletion(&laptop.record)).await;
    kept(store, replacement(&other.record)).await;
    key("third").create(store).await;
    for (action, expected) in [
        (Action::KeyCreated, &[1, 2, 6][..]),
        (Action::KeyUpdated, &[3, 5]),
        (Action::KeyDeleted, &[4]),
        (Action::KeyRotated, &[]),
    ] {
        for (limit, query) in [(1, all()), (2, all()), (100, all().since(NOW))] {
            let events = trail(store, &query.with_action(action).limit(limit)).await;
            let found: Vec<u64> = events.iter().map(|event| event.revision.get()).collect();
            assert_eq!(found, expected, "{action:?}, {limit} on a page");
        }
    }
}

/// The trail is selected by time: from the first moment on, up to the last without it. Events
/// need not be in the order of their times, and keep the order of their revisions.
pub async fn the_trail_is_selected_by_time(store: &dyn KeyStore) {
    for (n, seconds) in [20, 10, 30, 20].into_iter().enumerate() {
        let change = key(&format!("{n}")).creation();
        let event = told(&change, later(seconds));
        let answer = commit_telling(store, change, event).await;
        assert!(answer.is_ok(), "{answer:?}");
    }
    for (since, until, expected) in [
        (None, None, &[1, 2, 3, 4][..]),
        (Some(20), None, &[1, 3, 4]),
        (Some(21), None, &[3]),
        (None, Some(20), &[2]),
        (None, Some(21), &[1, 2, 4]),
        (Some(20), Some(30), &[1, 4]),
        (Some(20), Some(20), &[]),
        (Some(31), Some(0), &[]),
    ] {
        for limit in [1, 100] {
            let query = AuditQuery {
                since: since.map(later),
                until: until.map(later),
                limit,
                ..all()
            };
            let events = trail(store, &query).await;
            let found: Vec<u64> = events.iter().map(|event| event.revision.get()).collect();
            assert_eq!(found, expected, "from {since:?} to {until:?}");
        }
    }
}

fn with(change: impl FnOnce(&mut AuditQuery)) -> AuditQuery {
    let mut query = all();
    change(&mut query);
    query
}

/// Five events: a key at home, one in another namespace by a service, a credential abroad, the
/// first key again, and one that is about no team, by no person.
async fn selectable(store: &dyn KeyStore) -> Vec<CredentialId> {
    let laptop = key("laptop");
    let second = key("second").within(&tenant("acme", "fn-2"));
    let abroad = legacy("guest").within(&tenant("globex", "fn-3"));
    let ids = vec![
        CredentialId::Key(laptop.record.id),
        CredentialId::Key(second.record.id),
        CredentialId::Legacy(abroad.record.id),
    ];
    let mut again = laptop.record.clone();
    again.revision = Revision::new(1);
    let policy = keyfob::store::Change::SetPolicy {
        tenant: None,
        policy: None,
    };
    let robot = Actor {
        owner: Some(service("admin")),
        credential: None,
    };
    let admin = context(NOW).actor;
    let (home, near, far) = (
        home(),
        second.record.tenant.clone(),
        abroad.record.tenant.clone(),
    );
    for (change, actor, place, credential) in [
        (
            laptop.creation(),
            admin.clone(),
            Some(home.clone()),
            ids.first(),
        ),
        (second.creation(), robot, Some(near), ids.get(1)),
        (abroad.import(), admin.clone(), Some(far), ids.get(2)),
        (replacement(&again), admin, Some(home), ids.first()),
        (policy, Actor::system(), None, None),
    ] {
        let event = AuditEntry {
            actor,
            team: place.as_ref().map(|place| place.team.clone()),
            namespace: place.map(|place| place.namespace),
            credential: credential.copied(),
            ..told(&change, NOW)
        };
        let answer = commit_telling(store, change, event).await;
        assert!(answer.is_ok(), "{answer:?}");
    }
    ids
}
