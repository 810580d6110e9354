//! The audit trail: one event for each commit, chained, filtered, paged.

use keyfob::{
    Actor, Context, KeyStore, MemoryStore, Scopes, Ttl,
    audit::{Action, AuditEntry, AuditEvent, ChainHash, Field, FieldChange, TrailHead, Value},
    key::CredentialId,
    legacy::LegacyPolicy,
    manage::{Labels, Policy, Status},
    name::{LabelName, LabelValue, Reason, RequestId, Scope, TeamId, UserId},
    store::{AuditQuery, Change, Cursor, Item, KeyRecord, NamespaceQuery, Revision, Target},
};

use crate::{
    fixture::{
        NOW, commit_telling, context, cut, deletion, home, kept, key, later, legacy, opening,
        part_of, removal, replacement, service, sound, tenant, told, user,
    },
    history::History,
    reading::{feed, list_namespaces, read, trail},
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
    // The same commits give the same events in every store.
    let other = MemoryStore::new();
    history.play(&other).await;
    let expected: Vec<AuditEntry> = trail(&other, &all())
        .await
        .into_iter()
        .map(|event| event.entry)
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
        ..told(&laptop.creation(), NOW)
    };
    let nothing = Context::new(Actor::system(), keyfob::Timestamp::MIN);
    let bare = AuditEntry::new(Action::LegacyImported, &nothing);
    let other = MemoryStore::new();
    for (change, event) in [(laptop.creation(), &full), (guest.import(), &bare)] {
        for store in [store, &other as &dyn KeyStore] {
            let answer = commit_telling(store, change.clone(), event.clone()).await;
            assert!(answer.is_ok(), "{answer:?}");
        }
    }
    let events = trail(store, &all()).await;
    assert_eq!(events, trail(&other, &all()).await, "the events");
    for (event, told) in events.iter().zip([&full, &bare]) {
        let kept = &event.entry;
        assert_eq!(
            (kept.at, &kept.actor, &kept.reason, &kept.request_id),
            (told.at, &told.actor, &told.reason, &told.request_id)
        );
    }
    assert!(AuditEvent::verify(ChainHash::START, &events).is_ok());
}

/// An event says what the commit did, not what the commit says of it: the object, and each changed
/// field with its old and its new value, as they were in the transaction.
#[expect(clippy::too_many_lines, reason = "the expected lines of every event")]
pub async fn an_event_says_what_was_changed(store: &dyn KeyStore) {
    let mut laptop = key("laptop").until(later(9000));
    laptop.record.labels = Labels::new()
        .with(
            LabelName::new("env").expect("valid"),
            LabelValue::new("prod").expect("valid"),
        )
        .expect("one label");
    // The event of the commit names another action and another object.
    let mut lie = told(&deletion(&key("other").record), NOW);
    lie.team = Some(TeamId::new("globex").expect("valid"));
    lie.owner = Some(service("robot"));
    lie.changes = vec![FieldChange {
        field: Field::Subject,
        old: None,
        new: Some(Value::Flag(true)),
    }];
    let answer = commit_telling(store, laptop.creation(), lie).await;
    assert_eq!(answer, Ok(Revision::new(1)));
    laptop.record.revision = Revision::new(1);
    let mut changed = laptop.record.clone();
    changed.scopes = Scopes::only([Scope::new("operator").expect("valid")]).expect("one scope");
    changed.labels = Labels::new();
    changed.expires_at = Some(later(8000));
    changed.revision = kept(store, replacement(&changed)).await;
    let disabled = KeyRecord {
        status: Status::Disabled,
        ..changed
    };
    kept(store, replacement(&disabled)).await;
    let alice = part_of(user("alice"));
    for change in [
        removal(alice.clone()),
        cut(alice.clone()),
        opening(alice),
        deletion(&disabled),
        policy(Some(3600)),
        policy(Some(315_360_000)),
        policy(None),
        policy(Some(7200)),
        sunset(Some(2000)),
        sunset(Some(3000)),
        sunset(None),
        cut(Target::Namespace(home())),
    ] {
        kept(store, change).await;
    }
    let issued = format!("issued_at: {NOW}");
    let (end, earlier) = (later(9000), later(8000));
    let shortened = format!("expires_at: {end} -> {earlier}");
    let gone = [
        "name: laptop -> none".to_owned(),
        "scopes: [operator] -> none".to_owned(),
        "status: revoked -> none".to_owned(),
        format!("expires_at: {earlier} -> none"),
        format!("issued_at: {NOW} -> none"),
    ];
    let expected: [&[&str]; 15] = [
        &[
            "namespace: fn-1",
            "name: laptop",
            "scopes: all",
            "labels: [env=prod]",
            "status: active",
            &format!("expires_at: {end}"),
            &issued,
        ],
        &[
            "scopes: all -> [operator]",
            "labels: [env=prod] -> none",
            &shortened,
        ],
        &["status: active -> disabled"],
        &["blocked: true", "revoked_up_to: 4"],
        &["revoked_up_to: 4 -> 5"],
        &["blocked: true -> false"],
        &gone.each_ref().map(String::as_str),
        &[
            "min_ttl: 3600",
            "max_ttl: 3600",
            "expiry_required: false",
            "keys_per_owner: 5",
            "unique_names: true",
            "max_grace: 2592000",
        ],
        &["max_ttl: 3600 -> 315360000"],
        &[
            "min_ttl: 3600 -> none",
            "max_ttl: 315360000 -> none",
            "expiry_required: false -> none",
            "keys_per_owner: 5 -> none",
            "unique_names: true -> none",
            "max_grace: 2592000 -> none",
        ],
        &[
            "min_ttl: 3600",
            "max_ttl: 7200",
            "expiry_required: false",
            "keys_per_owner: 5",
            "unique_names: true",
            "max_grace: 2592000",
        ],
        &["accepted: true", &format!("sunset: {}", later(2000))],
        &[&format!("sunset: {} -> {}", later(2000), later(3000))],
        &[
            "accepted: true -> none",
            &format!("sunset: {} -> none", later(3000)),
        ],
        &["blocked: false", "revoked_up_to: 15"],
    ];
    let events = trail(store, &all()).await;
    for (event, expected) in events.iter().zip(expected) {
        let lines: Vec<String> = event
            .entry
            .changes
            .iter()
            .map(FieldChange::to_string)
            .collect();
        assert_eq!(lines, expected, "revision {}", event.revision);
    }
    let replaced: Vec<Option<u64>> = events
        .iter()
        .map(|event| event.entry.replaces.map(Revision::get))
        .collect();
    let expected = [0, 1, 2, 0, 4, 5, 3, 0, 8, 9, 10, 0, 12, 13, 0];
    let expected: Vec<Option<u64>> = expected
        .into_iter()
        .map(|revision| (revision > 0).then_some(revision))
        .collect();
    assert_eq!(
        replaced, expected,
        "the revisions that the changes replaced"
    );
    let first = events.first().map(|event| &event.entry).expect("15 events");
    assert_eq!(first.action, Action::KeyCreated);
    assert_eq!(first.team, Some(home().team));
    assert_eq!(first.owner, Some(user("alice")));
    assert_eq!(first.credential, Some(CredentialId::Key(laptop.record.id)));
}

/// No event holds a secret or the digest of one.
pub async fn no_event_holds_a_secret_or_a_digest(store: &dyn KeyStore) {
    let history = History::new();
    history.play(store).await;
    let told = format!("{:?}", trail(store, &all()).await);
    for (text, _) in &history.credentials {
        let secret = text.split_once(':').map_or("", |(_, secret)| secret);
        assert!(!told.contains(secret), "an event holds a secret");
    }
    for entry in feed(store, Revision::ZERO, 1000).await {
        let digests = match &entry.item {
            Item::Key(record) => {
                let previous = record.previous.as_ref();
                vec![Some(record.digest), previous.map(|old| old.digest)]
            }
            Item::Legacy(record) => vec![Some(record.digest)],
            _ => Vec::new(),
        };
        for digest in digests.into_iter().flatten() {
            let text = digest.to_text();
            let digits = text.rsplit(':').next().unwrap_or_default();
            assert!(!told.contains(digits), "an event holds a digest");
        }
    }
}

/// The trail ends at the head of the store, and describes every record that the store holds.
pub async fn the_trail_describes_the_store(store: &dyn KeyStore) {
    let empty = verified(store).await;
    assert_eq!(empty, (TrailHead::START, 0), "an empty store");
    History::new().play(store).await;
    let events = trail(store, &all()).await;
    let last = events.last().expect("the history has events");
    let head = TrailHead {
        revision: last.revision,
        hash: last.hash,
    };
    assert_eq!(sound(store.head().await), head, "the head of the store");
    let items = feed(store, Revision::ZERO, 1000).await.len();
    let namespaces = list_namespaces(store, &NamespaceQuery::every_team())
        .await
        .len();
    let records = (items + namespaces) as u64;
    assert_eq!(verified(store).await, (head, records));
}

async fn verified(store: &dyn KeyStore) -> (TrailHead, u64) {
    match keyfob::audit::verify::<keyfob::manage::Error>(store, None).await {
        Ok(verified) => (verified.head, verified.records),
        Err(error) => panic!("the trail does not fit the store: {error}"),
    }
}

fn policy(max_ttl: Option<u64>) -> Change {
    let max_ttl = max_ttl.map(|seconds| Ttl::from_seconds(seconds).expect("valid"));
    Change::SetPolicy {
        tenant: Some(home()),
        policy: max_ttl.map(|max_ttl| {
            Policy::default()
                .with_max_ttl(max_ttl)
                .with_keys_per_owner(5)
        }),
    }
}

fn sunset(after: Option<u64>) -> Change {
    Change::SetLegacyPolicy {
        tenant: None,
        policy: after.map(|after| LegacyPolicy::until(later(after))),
    }
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

/// Revocations of credentials that were found in the open are selected by their reason, and nothing
/// else that has such a reason or a similar one.
pub async fn leaks_are_told_from_other_revocations(store: &dyn KeyStore) {
    let abroad = tenant("globex", "fn-3");
    for (place, reason, is_revoked) in [
        (home(), Some("found in the open"), true),
        (
            home(),
            Some("found in the open: https://example.org/%_*"),
            true,
        ),
        (home(), Some("found in the opening"), true),
        (home(), Some("not found in the open"), true),
        (home(), Some("Found in the open"), true),
        (home(), Some("found in the open: an update"), false),
        (home(), None, true),
        (abroad.clone(), Some("found in the open: abroad"), true),
    ] {
        let key = key("leaked").within(&place).create(store).await;
        let record = if is_revoked {
            key.revoked(NOW)
        } else {
            key.record.clone()
        };
        let change = replacement(&record);
        let reason = reason.map(|reason| Reason::new(reason).expect("the reason is valid"));
        let event = AuditEntry {
            reason,
            ..told(&change, NOW)
        };
        let answer = commit_telling(store, change, event).await;
        assert!(answer.is_ok(), "{answer:?}");
        if !is_revoked {
            // The next key has the same name.
            let record = read(store, &key.record).await;
            kept(store, deletion(&record)).await;
        }
    }
    for (query, expected) in [
        (all(), 3),
        (with(|q| q.team = Some(home().team)), 2),
        (with(|q| q.team = Some(abroad.team.clone())), 1),
        (with(|q| q.namespace = Some(abroad.namespace.clone())), 1),
        (with(|q| q.action = Some(Action::KeyCreated)), 0),
    ] {
        for limit in [1, 100] {
            for query in [query.clone(), query.clone().newest_first()] {
                let events = trail(store, &query.leaks_only().limit(limit)).await;
                assert!(events.iter().all(|event| event.entry.is_leak()));
                assert_eq!(events.len(), expected, "{events:?}");
            }
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

/// The newest events come first if the query says so, in pages that join up, with any filter.
pub async fn the_trail_is_listed_newest_first(store: &dyn KeyStore) {
    History::new().play(store).await;
    let head = sound(store.head().await).revision.get();
    let action = |action| all().with_action(action);
    for query in [
        all(),
        action(Action::KeyCreated),
        with(|query| query.team = Some(home().team)),
        with(|query| query.namespace = Some(home().namespace)),
        with(|query| query.actor = context(NOW).actor.owner),
        all().since(NOW),
        all().since(later(1)),
        all().until(NOW),
        all().until(later(1)),
    ] {
        let mut expected = trail(store, &query).await;
        expected.reverse();
        for limit in [1, 3, 1000] {
            let newest = query.clone().newest_first().limit(limit);
            assert_eq!(trail(store, &newest).await, expected, "{newest:?}");
            let first = sound(store.audit(&newest).await);
            assert_eq!(first.items.first(), expected.first(), "{newest:?}");
        }
    }
    let before = all().newest_first().after(Cursor::after(Revision::new(3)));
    let revisions: Vec<u64> = trail(store, &before)
        .await
        .iter()
        .map(|event| event.revision.get())
        .collect();
    assert_eq!(revisions, [2, 1], "before the third of {head}");
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
    let policy = Change::SetPolicy {
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
