//! Operations by chance: few of each kind of thing, so that they meet, and names that stores are
//! known to mistake.

use std::time::Duration;

use keyfob::{
    Actor, KeyId, MemoryStore, Owner, Scopes, Tenant, Timestamp, Ttl,
    audit::{Action, AuditEntry},
    gateway::{UsageBatch, UsageDelta, UsageOutcome, UsageSource},
    key::{CredentialId, KeyDigest},
    legacy::{LegacyId, LegacyPolicy, LegacyRecord},
    manage::{Authority, Labels, Policy, Revocation, RevocationCause, Status},
    name::{
        KeyName, LabelName, LabelValue, NamespaceId, Reason, RequestId, Scope, ServiceId, TeamId,
        UserId,
    },
    store::{
        AuditQuery, Change, Commit, Cursor, Item, KeyQuery, KeyRecord, LegacyQuery, Limits,
        NamespaceQuery, Order, PreviousSecret, Revision, SearchText, StatusFilter, Target,
        TargetQuery, TargetsOf, UsageOf, UsageQuery,
    },
};

use crate::{
    fixture::{NOW, later, name, told, user},
    reading::feed,
};

/// Random numbers, the same for the same seed (`SplitMix64`), and what is made of them.
pub(crate) struct Generator(u64);

impl Generator {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut x = self.0;
        x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (x ^ (x >> 31)) % bound
    }

    pub(crate) fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }

    pub(crate) fn pick<T: Clone>(&mut self, of: &[T]) -> T {
        let at = self.below(of.len() as u64);
        let at = usize::try_from(at).unwrap_or_default();
        of[at].clone()
    }

    pub(crate) fn rarely<T>(&mut self, value: impl FnOnce(&mut Self) -> T) -> Option<T> {
        self.one_in(3).then(|| value(self))
    }

    fn byte(&mut self, bound: u64) -> u8 {
        u8::try_from(self.below(bound)).unwrap_or_default()
    }

    fn team(&mut self) -> TeamId {
        let team = self.pick(&["acme", "ACME", "globex'"]);
        TeamId::new(team).expect("the team is valid")
    }

    fn namespace(&mut self) -> NamespaceId {
        let namespaces = ["fn-1", "FN-1", "fn\\3", "%", "fn' OR 1=1 --", "fn%_\"\\"];
        NamespaceId::new(self.pick(&namespaces)).expect("the namespace is valid")
    }

    /// Mostly a namespace with the team that is likely to have it.
    pub(crate) fn tenant(&mut self) -> Tenant {
        let namespace = self.namespace();
        let team = match namespace.as_str() {
            "%" => "globex'",
            "FN-1" => "ACME",
            _ => "acme",
        };
        let team = if self.one_in(8) {
            self.team()
        } else {
            TeamId::new(team).expect("the team is valid")
        };
        Tenant::new(team, namespace)
    }

    fn owner(&mut self) -> Owner {
        if self.one_in(3) {
            let service = self.pick(&["alice", "robot"]);
            Owner::Service(ServiceId::new(service).expect("the service is valid"))
        } else {
            user(self.pick(&["alice", "Alice", "bob", "'; DROP TABLE keys; --"]))
        }
    }

    fn name(&mut self) -> KeyName {
        name(self.pick(&[
            "laptop",
            "Laptop",
            "ключ 🔑",
            "a'b",
            "\u{e9}t\u{e9}",
            "e\u{301}te\u{301} \"'",
        ]))
    }

    fn label(&mut self) -> (LabelName, LabelValue) {
        let name = self.pick(&["env", "Env", "a/b"]);
        let value = self.pick(&["prod", "prod\"", "\\u0041", "🔑 '\"\\"]);
        (
            LabelName::new(name).expect("the label is valid"),
            LabelValue::new(value).expect("the value is valid"),
        )
    }

    fn labels(&mut self) -> Labels {
        (0..self.below(4)).fold(Labels::new(), |labels, _| {
            let (name, value) = self.label();
            labels.with(name, value).expect("the labels are few")
        })
    }

    fn scopes(&mut self) -> Scopes {
        if self.one_in(2) {
            return Scopes::All;
        }
        let scope = |name| Scope::new(name).expect("the scope is valid");
        let count = usize::from(self.byte(4));
        let scopes = ["a", "b'!", "c"].into_iter().take(count).map(scope);
        Scopes::only(scopes).expect("the scopes are few")
    }

    pub(crate) fn time(&mut self) -> Timestamp {
        match self.below(20) {
            0 => Timestamp::MIN,
            1 => Timestamp::MAX,
            n => later(n * 1_000),
        }
    }

    fn actor(&mut self) -> Actor {
        Actor {
            owner: self.rarely(Self::owner),
            credential: self.rarely(Self::credential),
        }
    }

    pub(crate) fn key_id(&mut self) -> KeyId {
        KeyId::from_bytes([self.byte(200); 16])
    }

    fn legacy_id(&mut self) -> LegacyId {
        LegacyId::from_bytes([self.byte(6); 16])
    }

    pub(crate) fn credential(&mut self) -> CredentialId {
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
        KeyDigest::from_text(&text).expect("the digest is valid")
    }

    pub(crate) fn target(&mut self) -> Target {
        match self.below(10) {
            0 if self.one_in(3) => Target::Team(self.team()),
            1..=2 => Target::Namespace(self.tenant()),
            _ => Target::Owner(self.team(), self.owner()),
        }
    }

    fn revocation(&mut self) -> Revocation {
        Revocation {
            at: self.time(),
            by: self.actor(),
            cause: RevocationCause::Key,
            reason: self.rarely(Self::reason),
        }
    }

    fn reason(&mut self) -> Reason {
        let reason = self.pick(&["left on Friday", "l\u{e0} 🔑"]);
        Reason::new(reason).expect("the reason is valid")
    }

    fn status(&mut self) -> Status {
        match self.below(6) {
            0 => Status::Disabled,
            1 => Status::Revoked(self.revocation()),
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
            previous: self.rarely(|own| PreviousSecret {
                digest: own.digest(),
                issued_at: own.time(),
                until: own.time(),
            }),
            created_at: self.time(),
            created_by: self.actor(),
            updated_at: self.time(),
            issued_at: self.time(),
            not_before: self.rarely(Self::time),
            expires_at: self.rarely(Self::time),
            status: match self.below(8) {
                0 => Status::Disabled,
                _ => Status::Active,
            },
            created_revision: Revision::ZERO,
            revision: Revision::ZERO,
        }
    }

    fn legacy(&mut self) -> LegacyRecord {
        LegacyRecord {
            id: self.legacy_id(),
            tenant: self.tenant(),
            subject: UserId::new("guest").expect("the user is valid"),
            digest: self.digest(),
            blocked: self.one_in(4),
            imported_at: self.time(),
            imported_by: self.actor(),
            revoked: None,
            created_revision: Revision::ZERO,
            revision: Revision::ZERO,
        }
    }

    /// A change of one of these items, mostly by its own tenant and owner.
    fn change_of(&mut self, items: &[Item]) -> Option<Change> {
        if items.is_empty() {
            return None;
        }
        let off = self.one_in(6);
        let stale = self.one_in(6);
        let expected = |revision| if stale { Revision::new(1) } else { revision };
        match self.pick(items) {
            Item::Key(mut known) if self.one_in(8) => {
                if off {
                    known.tenant = self.tenant();
                }
                Some(Change::DeleteKey {
                    tenant: known.tenant,
                    id: known.id,
                    expected: self.rarely(|_| expected(known.revision)),
                })
            }
            Item::Key(known) => Some(Change::ReplaceKey {
                expected: expected(known.revision),
                unique_name: self.one_in(2),
                record: KeyRecord {
                    id: known.id,
                    tenant: if off { self.tenant() } else { known.tenant },
                    owner: if off { self.owner() } else { known.owner },
                    status: self.status(),
                    ..self.record()
                },
            }),
            Item::Legacy(known) => Some(Change::ReplaceLegacy {
                expected: expected(known.revision),
                record: LegacyRecord {
                    id: known.id,
                    tenant: if off { self.tenant() } else { known.tenant },
                    revoked: self.one_in(6).then(|| self.revocation()),
                    ..self.legacy()
                },
            }),
            _ => None,
        }
    }

    fn change(&mut self, items: &[Item]) -> Change {
        if self.one_in(2) {
            if let Some(change) = self.change_of(items) {
                return change;
            }
        }
        let tenant = self.rarely(Self::tenant);
        match self.below(20) {
            0..=1 => Change::Revoke {
                target: self.target(),
                block: self.one_in(3),
                in_advance: self.one_in(3),
            },
            2..=4 => Change::Restore {
                target: self.target(),
            },
            5..=6 => Change::ImportLegacy {
                record: self.legacy(),
            },
            7 => Change::SetPolicy {
                tenant,
                policy: self.one_in(2).then(|| self.policy()),
            },
            8 => Change::SetLegacyPolicy {
                tenant,
                policy: self.rarely(Self::legacy_policy),
            },
            9 => Change::CreateNamespace {
                new: self.tenant().into(),
            },
            _ => Change::CreateKey {
                limits: Limits {
                    unique_name: self.one_in(3),
                    keys_per_owner: self.rarely(|own| own.pick(&[1, 2, 3])),
                },
                record: self.record(),
            },
        }
    }

    fn policy(&mut self) -> Policy {
        Policy {
            max_ttl: Some(Ttl::hours(1).expect("the life is valid")),
            max_grace: Duration::from_secs(u64::MAX),
            keys_per_owner: Some(self.byte(9).into()),
            ..Policy::default()
        }
    }

    fn legacy_policy(&mut self) -> LegacyPolicy {
        let policy = LegacyPolicy::until(self.time());
        let policy = policy.with_brownout(NOW, later(2_000));
        policy.expect("the brownout is valid")
    }

    /// Mostly the system; otherwise an owner, or a credential, mostly one that exists.
    fn authority(&mut self, items: &[Item]) -> Authority {
        match self.below(6) {
            0 => Authority::Owner(self.owner()),
            1 => {
                let known = items.iter().map(|item| match item {
                    Item::Legacy(record) => CredentialId::Legacy(record.id),
                    Item::Key(record) => CredentialId::Key(record.id),
                    Item::KeyDeleted { id, .. } => CredentialId::Key(*id),
                    _ => self.credential(),
                });
                let known: Vec<CredentialId> = known.collect();
                let id = if known.is_empty() {
                    self.credential()
                } else {
                    self.pick(&known)
                };
                let scopes = self.rarely(Self::scopes);
                Authority::credential(id, scopes.unwrap_or_else(Scopes::none))
            }
            _ => Authority::System,
        }
    }

    /// A commit that meets what the store has.
    pub(crate) async fn commit(&mut self, store: &MemoryStore) -> Commit {
        let feed = feed(store, Revision::ZERO, 1000).await;
        let items = feed.into_iter().map(|entry| entry.item);
        let items: Vec<Item> = items
            .filter(|item| {
                matches!(
                    item,
                    Item::Key(_) | Item::Legacy(_) | Item::KeyDeleted { .. }
                )
            })
            .collect();
        let change = self.change(&items);
        let event = AuditEntry {
            actor: self.actor(),
            team: self.rarely(Self::team),
            namespace: self.rarely(Self::namespace),
            owner: self.rarely(Self::owner),
            credential: self.rarely(Self::credential),
            reason: self.rarely(Self::reason),
            request_id: self.rarely(|_| RequestId::new("req-1").expect("the identifier is valid")),
            ..told(&change, self.time())
        };
        Commit {
            authority: self.authority(&items),
            change,
            event,
        }
    }

    /// A batch of one of a few sources, often one that was sent before, and a time, sometimes long
    /// after the others.
    pub(crate) fn usage(&mut self) -> (UsageBatch, Timestamp) {
        let count = self.below(6);
        let batch = (0..count).map(|n| match n % 2 {
            0 => UsageDelta::refused(self.credential(), self.pick(&UsageOutcome::ALL[1..])),
            _ => UsageDelta::accepted(self.credential(), self.time()),
        });
        let mut batch: Vec<UsageDelta> = batch.collect();
        if let Some(first) = batch.first_mut().filter(|_| self.one_in(10)) {
            // As large as a column of 64 bits can hold.
            *first = UsageDelta::accepted(first.credential, NOW);
            first.count = i64::MAX.unsigned_abs();
        }
        let source = [u8::try_from(self.below(3)).unwrap_or(0); 16];
        let batch = UsageBatch {
            source: UsageSource::from_bytes(source),
            sequence: self.below(12),
            hour: self.pick(&[
                NOW,
                later(3_600),
                later(86_400),
                later(100 * 86_400),
                Timestamp::from_unix(NOW.as_unix() - 390 * 86_400),
                Timestamp::from_unix(NOW.as_unix() - 400 * 86_400),
            ]),
            usage: batch,
        };
        let kept = UsageSource::KEPT.as_secs();
        let now = later(self.pick(&[0, 1, kept, kept + 1, 2 * kept]));
        (batch, now)
    }

    /// A query for the usage of some of everything, on some of the days that have any.
    pub(crate) fn usage_query(&mut self) -> UsageQuery {
        let today = NOW.as_unix().div_euclid(86_400);
        let (first, last) = self.pick(&[(-400, -380), (-1, 1), (30, 101), (1, 0)]);
        let of = (0..self.below(9)).map(|n| match n % 3 {
            0 => UsageOf::Namespace(self.namespace()),
            1 => UsageOf::Team(self.team()),
            _ => UsageOf::Credential(self.credential()),
        });
        UsageQuery {
            of: of.collect(),
            first: today + first,
            last: today + last,
        }
    }

    fn search_text(&mut self) -> Option<SearchText> {
        let texts = [
            "LAPTOP", "КЛЮЧ", "\u{c9}", "%", "_", "\\", "fn", "key:", "0", "alice", "'", "",
        ];
        self.rarely(|own| SearchText::new(own.pick(&texts)))?
    }

    fn order(&mut self) -> Order {
        self.pick(&[Order::OldestFirst, Order::NewestFirst])
    }

    fn page(&mut self, head: Revision) -> (Option<Cursor>, usize) {
        let after = self.rarely(|own| {
            let place = own.below(head.get() + 2);
            Cursor::after(Revision::new(place))
        });
        (after, self.pick(&[0, 1, 3, 1000]))
    }

    pub(crate) fn key_query(&mut self, head: Revision) -> KeyQuery {
        let (mut after, limit) = self.page(head);
        let expires = self.rarely(|own| own.time()..own.time());
        let expires = expires.filter(|_| self.one_in(2));
        if let (Some(cursor), Some(_)) = (after, &expires) {
            after = Some(Cursor::after_expiry(self.time(), cursor.revision()));
        }
        KeyQuery {
            team: self.team(),
            namespace: self.rarely(Self::namespace),
            owner: self.rarely(Self::owner),
            created_for_others_by: self.rarely(Self::owner).filter(|_| self.one_in(2)),
            name: self.rarely(Self::name),
            label: self.rarely(Self::label),
            status: self.rarely(|own| {
                own.pick(&[
                    StatusFilter::Active,
                    StatusFilter::Disabled,
                    StatusFilter::Revoked,
                    StatusFilter::Unrevoked,
                ])
            }),
            ids: self.rarely(|own| (0..own.below(20)).map(|_| own.key_id()).collect()),
            containing: self.search_text(),
            expires,
            order: self.order(),
            after,
            limit,
        }
    }

    pub(crate) fn legacy_query(&mut self, head: Revision) -> LegacyQuery {
        let (after, limit) = self.page(head);
        LegacyQuery {
            team: self.rarely(Self::team),
            namespace: self.rarely(Self::namespace),
            id: self.rarely(Self::legacy_id),
            after,
            limit,
        }
    }

    pub(crate) fn target_query(&mut self) -> TargetQuery {
        let after = self.rarely(Self::owner);
        let query = match self.below(4) {
            0 => TargetQuery::teams(),
            1 => TargetQuery::members(self.team()),
            2 => TargetQuery::one(self.target()),
            _ => TargetQuery::services(self.team()),
        };
        let query = query.limit(self.pick(&[0, 1, 2, 1000]));
        let team = self.team();
        match (&query.of, after) {
            (TargetsOf::Teams(_), Some(_)) => query.after(&Target::Team(team)),
            (_, Some(owner)) => query.after(&Target::Owner(team, owner)),
            _ => query,
        }
    }

    pub(crate) fn namespace_query(&mut self, head: Revision) -> NamespaceQuery {
        let (after, limit) = self.page(head);
        NamespaceQuery {
            team: self.rarely(Self::team),
            namespace: self.rarely(Self::namespace),
            after,
            limit,
        }
    }

    pub(crate) fn audit_query(&mut self, head: Revision) -> AuditQuery {
        let (after, limit) = self.page(head);
        AuditQuery {
            team: self.rarely(Self::team),
            namespace: self.rarely(Self::namespace),
            credential: self.rarely(Self::credential),
            actor: self.rarely(Self::owner),
            action: self.rarely(|own| {
                own.pick(&[Action::KeyCreated, Action::KeyUpdated, Action::Restored])
            }),
            leaks_only: self.one_in(8),
            since: self.rarely(Self::time),
            until: self.rarely(Self::time),
            order: self.order(),
            after,
            limit,
        }
    }
}
