//! Random changes to the file and to the contract as plain code: the answers must be equal.

use keyfob::{
    Actor, Context, KeyId, KeyStore, Owner, Scopes, Tenant, Timestamp,
    audit::{Action, AuditEntry},
    block_on,
    gateway::Usage,
    key::{CredentialId, KeyDigest},
    legacy::{LegacyId, LegacyPolicy, LegacyRecord},
    manage::{Authority, Labels, Policy, Status},
    name::{
        KeyName, LabelName, LabelValue, NamespaceId, Reason, RequestId, Scope, ServiceId, TeamId,
        UserId,
    },
    store::{
        AuditQuery, Change, Commit, CommitError, Cursor, KeyQuery, KeyRecord, LegacyQuery, Limits,
        NamespaceQuery, PreviousSecret, Revision, StatusFilter, StoreState, Target,
    },
};
use keyfob_sqlite::SqliteStore;
use proptest::{collection::vec, prelude::*};
use serde_json::{Value, json};

/// One step, in small numbers that are read as what there is of each kind.
#[derive(Clone, Debug)]
struct Step {
    kind: u8,
    key: u8,
    place: u8,
    owner: u8,
    name: u8,
    shape: u8,
    target: u8,
    seconds: i8,
    flag: bool,
    stale: bool,
}

fn step() -> impl Strategy<Value = Step> {
    // Most of it at one place, so that the steps meet.
    let somewhere = prop_oneof![3 => Just(0), 1 => 0..5u8];
    let somebody = prop_oneof![2 => Just(0), 1 => 0..4u8];
    let people = (0..26u8, 0..7u8, somewhere, somebody);
    let forms = (0..4u8, any::<u8>(), 0..12u8, -3..20i8);
    let choices = (any::<bool>(), prop::bool::weighted(0.1));
    (people, forms, choices).prop_map(|(people, forms, choices)| {
        let (kind, key, place, owner) = people;
        let (name, shape, target, seconds) = forms;
        let (flag, stale) = choices;
        Step {
            kind,
            key,
            place,
            owner,
            name,
            shape,
            target,
            seconds,
            flag,
            stale,
        }
    })
}

/// The last is a namespace of the first team's that the second claims.
fn place(n: u8) -> Tenant {
    let (team, namespace) = [
        ("acme", "fn-1"),
        ("acme", "fn' OR 1=1 --"),
        ("ACME", "fn%_\"\\"),
        ("ACME", "FN-1"),
        ("ACME", "fn-1"),
    ][usize::from(n % 5)];
    Tenant::new(
        TeamId::new(team).unwrap(),
        NamespaceId::new(namespace).unwrap(),
    )
}

fn owner(n: u8) -> Owner {
    match n % 4 {
        0 => Owner::User(UserId::new("alice").unwrap()),
        1 => Owner::User(UserId::new("Alice").unwrap()),
        2 => Owner::Service(ServiceId::new("alice").unwrap()),
        _ => Owner::User(UserId::new("'; DROP TABLE keys; --").unwrap()),
    }
}

fn name(n: u8) -> KeyName {
    let names = [
        "laptop",
        "Laptop",
        "\u{e9}t\u{e9}",
        "e\u{301}te\u{301} \u{1F511} \"'",
    ];
    KeyName::new(names[usize::from(n % 4)]).unwrap()
}

fn key_id(n: u8) -> KeyId {
    KeyId::from_bytes([n.wrapping_mul(37); 16])
}

fn legacy_id(n: u8) -> LegacyId {
    LegacyId::from_bytes([n.wrapping_mul(37); 16])
}

fn digest(n: u8) -> KeyDigest {
    let scheme = ["sha256", "hmac-sha256:7"][usize::from(n % 2)];
    KeyDigest::from_text(&format!("{scheme}:{}", format!("{n:02x}").repeat(32))).unwrap()
}

fn target(step: &Step) -> Target {
    let place = place(step.place);
    match step.target {
        0 => Target::Team(place.team),
        1..=3 => Target::Namespace(place),
        _ => Target::Owner(place.team, owner(step.owner)),
    }
}

fn labels(n: u8) -> Labels {
    let label = |name, value| {
        (
            LabelName::new(name).unwrap(),
            LabelValue::new(value).unwrap(),
        )
    };
    let all = [label("env", "prod"), label("a/b", "\u{1F511} '\"\\")];
    let some = all.into_iter().take(usize::from(n % 3));
    some.fold(Labels::new(), |labels, (name, value)| {
        labels.with(name, value).unwrap()
    })
}

fn scopes(n: u8) -> Scopes {
    match n % 3 {
        0 => Scopes::All,
        1 => Scopes::only([]).unwrap(),
        _ => Scopes::only([Scope::new("a").unwrap(), Scope::new("b'!").unwrap()]).unwrap(),
    }
}

fn context(step: &Step, now: Timestamp) -> Context {
    let actor = match step.shape % 3 {
        0 => Actor::system(),
        1 => Actor {
            owner: Some(owner(step.owner)),
            credential: None,
        },
        _ => Actor::user(UserId::new("admin").unwrap())
            .with_credential(CredentialId::Legacy(legacy_id(step.key))),
    };
    let context = Context::new(actor, now);
    if step.flag {
        let request = RequestId::new("req-1").unwrap();
        let reason = Reason::new("l\u{e0} \u{1F511}").unwrap();
        context.with_reason(reason).with_request_id(request)
    } else {
        context
    }
}

fn record(step: &Step, context: &Context) -> KeyRecord {
    let later = |seconds| context.now.plus_seconds(seconds);
    KeyRecord {
        id: key_id(step.key),
        tenant: place(step.place),
        owner: owner(step.owner),
        name: name(step.name),
        labels: labels(step.shape),
        scopes: scopes(step.shape >> 1),
        digest: digest(step.shape),
        previous: step.flag.then(|| PreviousSecret {
            digest: digest(step.shape.wrapping_add(1)),
            issued_at: Timestamp::MIN,
            until: later(3),
        }),
        created_at: context.now,
        created_by: context.actor.clone(),
        updated_at: context.now,
        issued_at: context.now,
        not_before: (step.shape & 16 != 0).then(|| later(1)),
        expires_at: (step.shape & 32 != 0).then(|| later(u64::from(step.name) * 9)),
        status: if step.shape & 64 == 0 {
            Status::Active
        } else {
            Status::Disabled
        },
        created_revision: Revision::ZERO,
        revision: Revision::ZERO,
    }
}

fn legacy_record(step: &Step, context: &Context) -> LegacyRecord {
    LegacyRecord {
        id: legacy_id(step.key),
        tenant: place(step.place),
        subject: UserId::new("guest").unwrap(),
        digest: digest(step.shape),
        blocked: step.flag,
        imported_at: context.now,
        imported_by: context.actor.clone(),
        revoked: None,
        created_revision: Revision::ZERO,
        revision: Revision::ZERO,
    }
}

/// The change that a step means in this state.
fn change(step: &Step, context: &Context, state: &StoreState) -> Change {
    let tenant = place(step.place);
    match step.kind {
        0..=8 => Change::CreateKey {
            record: record(step, context),
            limits: Limits {
                unique_name: step.flag,
                keys_per_owner: (step.shape & 128 != 0).then_some(u32::from(step.name)),
            },
        },
        9..=13 => {
            let known = state.key(&tenant, key_id(step.key));
            let expected = known
                .as_ref()
                .map_or(Revision::ZERO, |known| known.revision);
            let mut record = record(step, context);
            if let Some(known) = known {
                if !step.stale {
                    record.owner = known.owner.clone();
                }
                if step.kind == 13 {
                    record = known.revoked(context).unwrap_or(record);
                }
            }
            Change::ReplaceKey {
                record,
                expected: if step.stale {
                    Revision::new(1)
                } else {
                    expected
                },
                unique_name: step.shape & 1 == 0,
            }
        }
        14..=15 => Change::DeleteKey {
            tenant,
            id: key_id(step.key),
        },
        16..=17 => Change::Revoke {
            target: target(step),
            block: step.flag,
        },
        18..=19 => Change::Restore {
            target: target(step),
        },
        20 => Change::ImportLegacy {
            record: legacy_record(step, context),
        },
        21 => {
            let query = LegacyQuery {
                id: Some(legacy_id(step.key)),
                ..LegacyQuery::team(tenant.team)
            };
            let mut record = legacy_record(step, context);
            let mut expected = Revision::new(1);
            if let Some(known) = state.legacy(&query).items.into_iter().next() {
                record.tenant = known.tenant;
                expected = known.revision;
            }
            Change::ReplaceLegacy { record, expected }
        }
        22..=23 => Change::SetPolicy {
            tenant: (step.shape & 1 == 0).then_some(tenant),
            policy: step.flag.then(|| Policy {
                keys_per_owner: Some(step.name.into()),
                ..Policy::default()
            }),
        },
        24 => Change::SetLegacyPolicy {
            tenant: (step.shape & 1 == 0).then_some(tenant),
            policy: step
                .flag
                .then(|| LegacyPolicy::until(Timestamp::from_unix(step.name.into()))),
        },
        _ => Change::CreateNamespace { tenant },
    }
}

fn event(step: &Step, context: &Context) -> AuditEntry {
    let tenant = place(step.place);
    AuditEntry {
        team: (step.shape & 1 == 0).then_some(tenant.team),
        namespace: (step.shape & 2 == 0).then_some(tenant.namespace),
        owner: (step.shape & 4 == 0).then(|| owner(step.owner)),
        credential: match step.shape % 3 {
            0 => None,
            1 => Some(CredentialId::Key(key_id(step.key))),
            _ => Some(CredentialId::Legacy(legacy_id(step.key))),
        },
        ..AuditEntry::new(Action::KeyUpdated, context)
    }
}

fn usage(step: &Step, now: Timestamp) -> Vec<Usage> {
    let credentials = [
        CredentialId::Key(key_id(step.key)),
        CredentialId::Legacy(legacy_id(step.key)),
    ];
    let mut batch = Vec::new();
    for credential in credentials {
        batch.push(Usage::accepted(credential, now));
        batch.push(Usage::refused(credential));
    }
    if step.stale {
        // Counts as large as a column's.
        batch[0].accepted = i64::MAX.unsigned_abs();
    }
    batch
}

/// The authority of a step: mostly the system, so that most changes are kept.
fn authority(step: &Step) -> Authority {
    match step.shape % 12 {
        0 => Authority::Owner(owner(step.name)),
        1 => Authority::credential(CredentialId::Legacy(legacy_id(step.name)), Scopes::none()),
        2..=4 => Authority::credential(CredentialId::Key(key_id(step.name)), scopes(step.target)),
        _ => Authority::System,
    }
}

/// A store, and the contract that it is held to.
struct Pair {
    state: StoreState,
    store: SqliteStore,
    now: i64,
}

impl Pair {
    fn play(&mut self, step: &Step) {
        self.now += i64::from(step.seconds);
        let context = context(step, Timestamp::from_unix(self.now));
        let commit = Commit {
            authority: authority(step),
            change: change(step, &context, &self.state),
            event: event(step, &context),
        };
        let expected = self.state.commit(&commit);
        match (block_on(self.store.commit(&commit)), expected) {
            (Ok(revision), Ok(expected)) => assert_eq!(revision, expected),
            (Err(CommitError::Conflict(conflict)), Err(expected)) => {
                assert_eq!(conflict, expected, "{commit:?}");
            }
            (answer, expected) => panic!("{answer:?} in place of {expected:?}: {commit:?}"),
        }
        if step.kind.is_multiple_of(4) {
            let batch = usage(step, context.now);
            block_on(self.store.record_usage(&batch)).unwrap();
            self.state.record_usage(&batch);
        }
    }

    fn compare(&self) {
        self.compare_keys();
        self.compare_lists();
        self.compare_trail();
        self.compare_feed();
        let credentials: Vec<CredentialId> = (0..7)
            .flat_map(|n| {
                [
                    CredentialId::Key(key_id(n)),
                    CredentialId::Legacy(legacy_id(n)),
                ]
            })
            .collect();
        let kept = block_on(self.store.usage(&credentials)).unwrap();
        // What a column cannot hold is as good as its largest number.
        let most = i64::MAX.unsigned_abs();
        let expected = self.state.usage(&credentials).into_iter().map(|usage| {
            let accepted = usage.accepted.min(most);
            Usage { accepted, ..usage }
        });
        assert_eq!(kept, expected.collect::<Vec<_>>());
        block_on(self.store.check()).unwrap();
    }

    fn compare_keys(&self) {
        for n in 0..7 {
            for at in 0..5 {
                let found = block_on(self.store.key(&place(at), key_id(n))).unwrap();
                same(&json!(found), &json!(self.state.key(&place(at), key_id(n))));
            }
        }
        for query in key_queries() {
            let mut query = query;
            loop {
                let page = block_on(self.store.keys(&query)).unwrap();
                let expected = self.state.keys(&query);
                same(&json!(page.items), &json!(expected.items));
                assert_eq!(page.next, expected.next, "{query:?}");
                query.after = page.next;
                if query.after.is_none() {
                    break;
                }
            }
        }
    }

    fn compare_lists(&self) {
        for at in 0..5 {
            let tenant = place(at);
            let policy = block_on(self.store.policy(Some(&tenant))).unwrap();
            assert_eq!(policy, self.state.policy(Some(&tenant)));
            let policy = block_on(self.store.legacy_policy(Some(&tenant))).unwrap();
            assert_eq!(policy, self.state.legacy_policy(Some(&tenant)));
        }
        let everywhere = || [None].into_iter().chain((0..5).map(Some));
        for (at, limit) in everywhere().flat_map(|at| [(at, 1), (at, 100)]) {
            let tenant = at.map(place);
            for within in [None, Some(0), Some(2)] {
                let team = tenant.as_ref().map(|tenant| tenant.team.clone());
                let namespace = within.map(|at| place(at).namespace);
                for after in [None, Some(Cursor::after(Revision::new(5)))] {
                    let query = NamespaceQuery {
                        team: team.clone(),
                        namespace: namespace.clone(),
                        after,
                        limit,
                    };
                    let page = block_on(self.store.namespaces(&query)).unwrap();
                    let expected = self.state.namespaces(&query);
                    assert_eq!(page.items, expected.items, "{query:?}");
                    assert_eq!(page.next, expected.next, "{query:?}");
                    for id in [None, Some(legacy_id(3))] {
                        let query = LegacyQuery {
                            team: team.clone(),
                            namespace: namespace.clone(),
                            id,
                            after,
                            limit,
                        };
                        let page = block_on(self.store.legacy(&query)).unwrap();
                        let expected = self.state.legacy(&query);
                        same(&json!(page.items), &json!(expected.items));
                        assert_eq!(page.next, expected.next, "{query:?}");
                    }
                }
            }
        }
    }

    fn compare_trail(&self) {
        for query in audit_queries(self.now) {
            let page = block_on(self.store.audit(&query)).unwrap();
            let expected = self.state.audit(&query);
            assert_eq!(page.items, expected.items, "{query:?}");
            assert_eq!(page.next, expected.next, "{query:?}");
        }
    }

    fn compare_feed(&self) {
        let head = self.state.revision().get();
        for after in (0..=head + 1).chain([u64::MAX]) {
            for limit in [0, 3, usize::MAX] {
                let after = Revision::new(after);
                let changes = block_on(self.store.changes(after, limit)).unwrap();
                same(&json!(changes), &json!(self.state.changes(after, limit)));
            }
        }
    }
}

fn key_queries() -> Vec<KeyQuery> {
    let mut queries = Vec::new();
    let statuses = [
        None,
        Some(StatusFilter::Active),
        Some(StatusFilter::Disabled),
        Some(StatusFilter::Revoked),
    ];
    for at in 0..5 {
        for base in [
            KeyQuery::team(place(at).team),
            KeyQuery::namespace(&place(at)),
        ] {
            for status in statuses {
                queries.push(KeyQuery {
                    status,
                    limit: 2,
                    ..base.clone()
                });
                queries.push(KeyQuery {
                    status,
                    owner: Some(owner(at)),
                    ..base.clone()
                });
            }
            for n in 0..4 {
                queries.push(KeyQuery {
                    name: Some(name(n)),
                    limit: 1,
                    ..base.clone()
                });
                queries.push(KeyQuery {
                    name: Some(name(n)),
                    owner: Some(owner(n)),
                    status: Some(StatusFilter::Active),
                    label: labels(1).iter().next().map(|(n, v)| (n.clone(), v.clone())),
                    ..base.clone()
                });
            }
        }
    }
    queries
}

fn audit_queries(now: i64) -> Vec<AuditQuery> {
    let every = AuditQuery::every_team();
    let mut queries = Vec::new();
    for at in 0..5 {
        let Tenant { team, namespace } = place(at);
        queries.push(AuditQuery::team(team.clone()));
        queries.push(AuditQuery {
            namespace: Some(namespace.clone()),
            ..every.clone()
        });
        queries.push(AuditQuery {
            namespace: Some(namespace),
            actor: Some(owner(at)),
            ..AuditQuery::team(team)
        });
        queries.push(AuditQuery {
            actor: Some(owner(at)),
            limit: 2,
            ..every.clone()
        });
        for credential in [
            CredentialId::Key(key_id(at)),
            CredentialId::Legacy(legacy_id(at)),
        ] {
            queries.push(AuditQuery {
                credential: Some(credential),
                ..every.clone()
            });
        }
    }
    let moments = (-1..8).map(|ago| Timestamp::from_unix(now - 41 * ago));
    for at in moments {
        for (since, until) in [
            (Some(at), None),
            (None, Some(at)),
            (Some(at), Some(at.plus_seconds(20))),
        ] {
            for team in [None, Some(place(0).team)] {
                for after in [None, Some(Cursor::after(Revision::new(4)))] {
                    queries.push(AuditQuery {
                        team: team.clone(),
                        since,
                        until,
                        after,
                        limit: 3,
                        ..every.clone()
                    });
                }
            }
        }
    }
    queries
}

fn same(found: &Value, expected: &Value) {
    assert_eq!(found, expected);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(), ..ProptestConfig::default() })]

    #[test]
    fn random_changes_are_answered_as_by_the_reference(steps in vec(step(), 1..60)) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keys.db");
        let mut pair = Pair {
            state: StoreState::new(),
            store: SqliteStore::open(&path).unwrap(),
            now: 1_800_000_000,
        };
        let half = steps.len() / 2;
        for step in &steps[..half] {
            pair.play(step);
        }
        drop(pair.store);
        pair.store = SqliteStore::open(&path).unwrap();
        for step in &steps[half..] {
            pair.play(step);
        }
        pair.compare();
    }
}

/// How many sequences are played; as many as `PROPTEST_CASES` says.
fn cases() -> u32 {
    let asked = std::env::var("PROPTEST_CASES").ok();
    asked.and_then(|cases| cases.parse().ok()).unwrap_or(200)
}
