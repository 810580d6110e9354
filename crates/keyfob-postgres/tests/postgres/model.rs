//! Random commits on the reference and on this store: every answer is the same.

use keyfob::{
    Actor, KeyId, KeyStore, Owner, Scopes, Tenant, Timestamp, Ttl,
    audit::{Action, AuditEntry},
    gateway::Usage,
    key::{CredentialId, KeyDigest},
    legacy::{LegacyId, LegacyPolicy, LegacyRecord},
    manage::{Authority, Labels, Policy, Status},
    name::{KeyName, LabelName, LabelValue, NamespaceId, Scope, ServiceId, TeamId, UserId},
    store::{
        AuditQuery, Change, Commit, CommitError, Cursor, Item, KeyQuery, KeyRecord, LegacyQuery,
        Limits, NamespaceQuery, Page, PreviousSecret, Revision, StatusFilter, StoreState, Target,
    },
};
use keyfob_postgres::PostgresStore;

use crate::{
    server::{self, random},
    work::{NOW, times},
};

/// Numbers by chance, the same for the same seed (`SplitMix64`).
struct Chance(u64);

impl Chance {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut x = self.0;
        x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (x ^ (x >> 31)) % bound
    }

    fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }

    fn pick<T: Clone>(&mut self, of: &[T]) -> T {
        let at = usize::try_from(self.below(of.len() as u64)).unwrap();
        of[at].clone()
    }

    fn rarely<T>(&mut self, value: impl FnOnce(&mut Self) -> T) -> Option<T> {
        self.one_in(3).then(|| value(self))
    }

    fn team(&mut self) -> TeamId {
        TeamId::new(self.pick(&["acme", "globex'"])).unwrap()
    }

    fn namespace(&mut self) -> NamespaceId {
        NamespaceId::new(self.pick(&["fn-1", "fn-2", "fn\\3", "%"])).unwrap()
    }

    fn tenant(&mut self) -> Tenant {
        // Mostly the team that is likely to have it.
        let namespace = self.namespace();
        let home = if namespace.as_str() == "%" {
            "globex'"
        } else {
            "acme"
        };
        let team = if self.one_in(8) {
            self.team()
        } else {
            TeamId::new(home).unwrap()
        };
        Tenant::new(team, namespace)
    }

    fn owner(&mut self) -> Owner {
        if self.one_in(3) {
            Owner::Service(ServiceId::new(self.pick(&["alice", "robot"])).unwrap())
        } else {
            Owner::User(UserId::new(self.pick(&["alice", "bob"])).unwrap())
        }
    }

    fn name(&mut self) -> KeyName {
        KeyName::new(self.pick(&["laptop", "Laptop", "ключ 🔑", "a'b", "é"])).unwrap()
    }

    fn label(&mut self) -> (LabelName, LabelValue) {
        let name = self.pick(&["env", "Env", "a/b"]);
        let value = self.pick(&["prod", "prod\"", "\\u0041"]);
        (
            LabelName::new(name).unwrap(),
            LabelValue::new(value).unwrap(),
        )
    }

    fn labels(&mut self) -> Labels {
        (0..self.below(4)).fold(Labels::new(), |labels, _| {
            let (name, value) = self.label();
            labels.with(name, value).unwrap()
        })
    }

    fn scopes(&mut self) -> Scopes {
        if self.one_in(2) {
            return Scopes::All;
        }
        let count = self.below(3);
        Scopes::only((0..count).map(|n| Scope::new(&format!("s{n}")).unwrap())).unwrap()
    }

    fn time(&mut self) -> Timestamp {
        match self.below(20) {
            0 => Timestamp::MIN,
            1 => Timestamp::MAX,
            n => NOW.plus_seconds(n * 10),
        }
    }

    fn actor(&mut self) -> Actor {
        Actor {
            owner: self.rarely(Self::owner),
            credential: self.rarely(Self::credential),
        }
    }

    fn key_id(&mut self) -> KeyId {
        let n = u8::try_from(self.below(200)).unwrap();
        KeyId::from_bytes([n; 16])
    }

    fn legacy_id(&mut self) -> LegacyId {
        let n = u8::try_from(self.below(6)).unwrap();
        LegacyId::from_bytes([n; 16])
    }

    fn credential(&mut self) -> CredentialId {
        if self.one_in(3) {
            CredentialId::Legacy(self.legacy_id())
        } else {
            CredentialId::Key(self.key_id())
        }
    }

    fn digest(&mut self) -> KeyDigest {
        let n = self.below(u64::MAX);
        let text = match self.below(2) {
            0 => format!("sha256:{n:064x}"),
            _ => format!("hmac-sha256:{}:{n:064x}", 1 + n % 255),
        };
        KeyDigest::from_text(&text).unwrap()
    }

    fn target(&mut self) -> Target {
        match self.below(10) {
            0 if self.one_in(3) => Target::Team(self.team()),
            1..=2 => Target::Namespace(self.tenant()),
            _ => Target::Owner(self.team(), self.owner()),
        }
    }

    fn status(&mut self) -> Status {
        match self.below(6) {
            0 => Status::Disabled,
            1 => Status::Revoked(keyfob::manage::Revocation {
                at: self.time(),
                by: self.actor(),
                cause: keyfob::manage::RevocationCause::Key,
                reason: None,
            }),
            _ => Status::Active,
        }
    }

    fn record(&mut self) -> KeyRecord {
        KeyRecord {
            id: self.key_id(),
            tenant: self.tenant(),
            owner: self.owner(),
            name: self.name(),
            labels: self.labels(),
            scopes: self.scopes(),
            digest: self.digest(),
            previous: self.rarely(|chance| PreviousSecret {
                digest: chance.digest(),
                issued_at: chance.time(),
                until: chance.time(),
            }),
            created_at: self.time(),
            created_by: self.actor(),
            updated_at: self.time(),
            issued_at: self.time(),
            not_before: self.rarely(Self::time),
            expires_at: self.rarely(Self::time),
            status: Status::Active,
            created_revision: Revision::ZERO,
            revision: Revision::ZERO,
        }
    }

    fn legacy(&mut self) -> LegacyRecord {
        LegacyRecord {
            id: self.legacy_id(),
            tenant: self.tenant(),
            subject: UserId::new("guest").unwrap(),
            digest: self.digest(),
            blocked: self.one_in(4),
            imported_at: self.time(),
            imported_by: self.actor(),
            revoked: None,
            created_revision: Revision::ZERO,
            revision: Revision::ZERO,
        }
    }

    /// A change of something that is there, if there is something.
    fn of_known(&mut self, state: &StoreState) -> Option<Change> {
        let feed = state.changes(Revision::ZERO, 1000).entries;
        let items: Vec<Item> = feed
            .into_iter()
            .map(|entry| entry.item)
            .filter(|item| matches!(item, Item::Key(_) | Item::Legacy(_)))
            .collect();
        if items.is_empty() {
            return None;
        }
        let off = self.one_in(6);
        match self.pick(&items) {
            Item::Key(known) if self.one_in(8) => Some(Change::DeleteKey {
                tenant: if off { self.tenant() } else { known.tenant },
                id: known.id,
            }),
            Item::Key(known) => {
                let (expected, fresh) = (known.revision, self.record());
                let record = KeyRecord {
                    id: known.id,
                    tenant: if off { self.tenant() } else { known.tenant },
                    owner: if off { self.owner() } else { known.owner },
                    status: self.status(),
                    ..fresh
                };
                let expected = if self.one_in(6) {
                    Revision::new(1)
                } else {
                    expected
                };
                let unique_name = self.one_in(2);
                Some(Change::ReplaceKey {
                    record,
                    expected,
                    unique_name,
                })
            }
            Item::Legacy(known) => {
                let (expected, fresh) = (known.revision, self.legacy());
                let revoked = self.status();
                let record = LegacyRecord {
                    id: known.id,
                    tenant: if off { self.tenant() } else { known.tenant },
                    revoked: match revoked {
                        Status::Revoked(revocation) => Some(revocation),
                        _ => None,
                    },
                    ..fresh
                };
                Some(Change::ReplaceLegacy { record, expected })
            }
            _ => None,
        }
    }

    fn change(&mut self, state: &StoreState) -> (Change, Action) {
        let known = if self.one_in(2) {
            self.of_known(state)
        } else {
            None
        };
        if let Some(change) = known {
            return (change, Action::KeyUpdated);
        }
        let tenant = self.rarely(Self::tenant);
        match self.below(20) {
            0 => {
                let (target, block) = (self.target(), self.one_in(3));
                (Change::Revoke { target, block }, Action::AllRevoked)
            }
            1..=4 => (
                Change::Restore {
                    target: self.target(),
                },
                Action::Restored,
            ),
            5..=6 => {
                let record = self.legacy();
                (Change::ImportLegacy { record }, Action::LegacyImported)
            }
            7 => {
                let policy = self.rarely(|chance| Policy {
                    max_ttl: Some(Ttl::days(1).unwrap()),
                    max_grace: std::time::Duration::from_secs(u64::MAX),
                    keys_per_owner: Some(u32::try_from(chance.below(9)).unwrap()),
                    ..Policy::default()
                });
                (Change::SetPolicy { tenant, policy }, Action::PolicySet)
            }
            8 => {
                let policy = self.rarely(|chance| {
                    let policy = LegacyPolicy::until(chance.time());
                    policy.with_brownout(NOW, NOW.plus_seconds(9)).unwrap()
                });
                let action = Action::LegacyPolicySet;
                (Change::SetLegacyPolicy { tenant, policy }, action)
            }
            9 => {
                let tenant = self.tenant();
                (Change::CreateNamespace { tenant }, Action::NamespaceCreated)
            }
            _ => {
                let limits = Limits {
                    unique_name: self.one_in(3),
                    keys_per_owner: self.rarely(|chance| chance.pick(&[1, 2, 3])),
                };
                let record = self.record();
                (Change::CreateKey { record, limits }, Action::KeyCreated)
            }
        }
    }

    /// The authority of a commit: mostly the system, so that most commits are kept.
    fn authority(&mut self) -> Authority {
        match self.below(12) {
            0 => Authority::Owner(self.owner()),
            1..=3 => Authority::credential(self.credential(), self.scopes()),
            _ => Authority::System,
        }
    }

    fn commit(&mut self, state: &StoreState) -> Commit {
        let (change, action) = self.change(state);
        let event = AuditEntry {
            at: self.time(),
            actor: self.actor(),
            action,
            team: self.rarely(Self::team),
            namespace: self.rarely(Self::namespace),
            owner: self.rarely(Self::owner),
            credential: self.rarely(Self::credential),
            reason: None,
            request_id: None,
        };
        Commit {
            change,
            authority: self.authority(),
            event,
        }
    }

    fn page(&mut self, head: Revision) -> (Option<Cursor>, usize) {
        let after = self.rarely(|chance| {
            let place = chance.below(head.get() + 2);
            Cursor::after(Revision::new(place))
        });
        (after, self.pick(&[0, 1, 3, 1000]))
    }
}

/// A page as text, digests with it.
fn shown<T: std::fmt::Debug>(page: &Page<T>, digest: impl Fn(&T) -> String) -> String {
    let items = page.items.iter();
    let items: Vec<String> = items
        .map(|item| format!("{item:?} {}", digest(item)))
        .collect();
    format!("{items:#?} {:?}", page.next)
}

fn digests(record: &KeyRecord) -> String {
    let previous = record.previous.as_ref().map(|old| old.digest.to_text());
    format!("{} {previous:?}", record.digest.to_text())
}

fn shown_item(item: &Item) -> String {
    match item {
        Item::Key(record) => digests(record),
        Item::Legacy(record) => record.digest.to_text(),
        _ => String::new(),
    }
}

/// One question of each kind, to both.
async fn compare(chance: &mut Chance, state: &StoreState, store: &PostgresStore) {
    let head = state.revision();
    let (tenant, id) = (chance.tenant(), chance.key_id());
    let one = |record: Option<KeyRecord>| format!("{record:?} {:?}", record.as_ref().map(digests));
    let found = store.key(&tenant, id).await.unwrap();
    assert_eq!(one(found), one(state.key(&tenant, id)));

    let (after, limit) = chance.page(head);
    let query = KeyQuery {
        team: chance.team(),
        namespace: chance.rarely(Chance::namespace),
        owner: chance.rarely(Chance::owner),
        name: chance.rarely(Chance::name),
        label: chance.rarely(Chance::label),
        status: chance.rarely(|chance| {
            chance.pick(&[
                StatusFilter::Active,
                StatusFilter::Disabled,
                StatusFilter::Revoked,
            ])
        }),
        after,
        limit,
    };
    let page = store.keys(&query).await.unwrap();
    assert_eq!(
        shown(&page, digests),
        shown(&state.keys(&query), digests),
        "{query:?}"
    );

    let (after, limit) = chance.page(head);
    let query = LegacyQuery {
        team: chance.rarely(Chance::team),
        namespace: chance.rarely(Chance::namespace),
        id: chance.rarely(Chance::legacy_id),
        after,
        limit,
    };
    let digest = |record: &LegacyRecord| record.digest.to_text();
    let page = store.legacy(&query).await.unwrap();
    assert_eq!(
        shown(&page, digest),
        shown(&state.legacy(&query), digest),
        "{query:?}"
    );

    let (after, limit) = chance.page(head);
    let query = NamespaceQuery {
        team: chance.rarely(Chance::team),
        namespace: chance.rarely(Chance::namespace),
        after,
        limit,
    };
    let none = |_: &_| String::new();
    let page = store.namespaces(&query).await.unwrap();
    assert_eq!(
        shown(&page, none),
        shown(&state.namespaces(&query), none),
        "{query:?}"
    );

    let (after, limit) = chance.page(head);
    let query = AuditQuery {
        team: chance.rarely(Chance::team),
        namespace: chance.rarely(Chance::namespace),
        credential: chance.rarely(Chance::credential),
        actor: chance.rarely(Chance::owner),
        since: chance.rarely(Chance::time),
        until: chance.rarely(Chance::time),
        action: chance.rarely(|chance| chance.pick(&[Action::KeyCreated, Action::KeyUpdated])),
        after,
        limit,
    };
    let none = |_: &_| String::new();
    let page = store.audit(&query).await.unwrap();
    assert_eq!(
        shown(&page, none),
        shown(&state.audit(&query), none),
        "{query:?}"
    );

    let policy = store.policy(Some(&tenant)).await.unwrap();
    assert_eq!(policy, state.policy(Some(&tenant)));
    let policy = store.legacy_policy(Some(&tenant)).await.unwrap();
    assert_eq!(policy, state.legacy_policy(Some(&tenant)));

    let after = Revision::new(chance.below(head.get() + 3));
    let limit = chance.pick(&[0, 1, 7, 1000]);
    let feed = |changes: keyfob::store::Changes| {
        let entries = changes.entries.iter();
        let entries: Vec<String> = entries
            .map(|entry| format!("{entry:?} {}", shown_item(&entry.item)))
            .collect();
        let (next_after, more, head) = (changes.next_after, changes.more, changes.last_revision);
        format!(
            "{:?} {entries:#?} {next_after:?} {more} {head:?}",
            changes.after
        )
    };
    let changes = store.changes(after, limit).await.unwrap();
    assert_eq!(
        feed(changes),
        feed(state.changes(after, limit)),
        "{after:?} {limit}"
    );

    let credentials: Vec<CredentialId> = (0..20).map(|_| chance.credential()).collect();
    let usage = store.usage(&credentials).await.unwrap();
    assert_eq!(usage, state.usage(&credentials));
}

#[test]
fn random_commits_and_queries_are_answered_as_by_the_reference() {
    server::run(async {
        let steps = times("KEYFOB_MODEL_STEPS", 1_200);
        for _ in 0..2 {
            let seed = random();
            println!("seed {seed}");
            let mut chance = Chance(seed);
            let (mut state, store) = (StoreState::new(), server::store().await);
            let mut kept = 0;
            for _ in 0..steps / 2 {
                let commit = chance.commit(&state);
                let expected = state.commit(&commit);
                let answer = match store.commit(&commit).await {
                    Ok(revision) => Ok(revision),
                    Err(CommitError::Conflict(conflict)) => Err(conflict),
                    Err(error) => panic!("{error}: {commit:?}"),
                };
                assert_eq!(answer, expected, "{commit:?}");
                kept += u32::from(answer.is_ok());
                if chance.one_in(4) {
                    let batch: Vec<Usage> = (0..chance.below(6))
                        .map(|n| match n % 2 {
                            0 => Usage::refused(chance.credential()),
                            _ => Usage::accepted(chance.credential(), chance.time()),
                        })
                        .collect();
                    state.record_usage(&batch);
                    store.record_usage(&batch).await.unwrap();
                }
                compare(&mut chance, &state, &store).await;
            }
            println!("{kept} of {} commits kept", steps / 2);
            assert!(kept > steps / 8, "most commits are of no interest");
        }
    });
}
