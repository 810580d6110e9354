//! Runs each operation on the library and on the model, and compares the results.

use std::{cell::Cell, sync::Arc, time::Duration};

use keyfob::{
    Access, Actor, Context, Denied, Expiry, IssuedKey, KeyInfo, KeyStore, Keyring, MemoryStore,
    NewKey, Owner, Principal, Scopes, Tenant, Timestamp, Ttl, Verifier, block_on,
    gateway::{Index, UsageRecorder},
    key::{CredentialId, KeyDigest, KeyFormat, Peppers},
    legacy::{LegacyPolicy, LegacyRecord, PresentedLegacy},
    manage::{self, CreatedKey, KeyUpdate, Policy, Rotation, Status},
    name::{KeyName, NamespaceId, Scope, ServiceId, TeamId, UserId},
    store::{AuditQuery, Changes, KeyQuery, LegacyQuery, Revision, Target},
};

use super::{
    Done, End, ExpectedRevision, KEYS_MAX, Key, LEGACY, Legacy, LegacyTimes, Model, ModelTarget,
    NAMES, NAMESPACES, OWNERS, Operation, PLACES, Place, Refusal, Rules, START, Secret, State,
    Sunset, Uses, Verdict, WhichSecret, covers, life, pick, same_target,
};

/// Performs the operations on the library and on the model.
///
/// # Panics
///
/// If the two differ.
pub fn run(operations: &[Operation]) {
    let mut world = World::new();
    for operation in operations {
        world.perform(operation);
    }
    world.check();
    world.check_trail();
    world.check_usage();
    world.check_other_indexes();
}

struct World {
    model: Model,
    format: KeyFormat,
    store: Arc<MemoryStore>,
    keyring: Keyring,
    verifier: Verifier,
    usage: Arc<UsageRecorder>,
    /// An index that lags behind.
    replica: Arc<Index>,
    /// A page of the feed that was read some time ago.
    late: Changes,
}

impl World {
    fn new() -> Self {
        let format = KeyFormat::new("dof").expect("a valid prefix");
        let store = Arc::new(MemoryStore::new());
        let usage = Arc::new(UsageRecorder::with_stripes(64, 1));
        let (keyring, verifier) = process(&store, format, &usage);
        Self {
            model: Model {
                now: START,
                seen: Cell::new(i64::MIN),
                keys: Vec::new(),
                legacy: Vec::new(),
                blocked: Vec::new(),
                cut: Vec::new(),
                bound: Vec::new(),
                policies: Vec::new(),
                sunsets: Vec::new(),
                changes: 0,
            },
            format,
            store,
            keyring,
            verifier,
            usage,
            replica: Arc::new(Index::new(format, Peppers::none())),
            late: Changes::default(),
        }
    }

    fn perform(&mut self, operation: &Operation) {
        match *operation {
            Operation::Pass { seconds } => self.model.now += i64::from(seconds),
            Operation::JumpBack { seconds } => self.model.now -= i64::from(seconds),
            Operation::Create {
                place,
                owner,
                name,
                scoped,
                starts,
                end,
            } => {
                self.create(
                    pick(place, PLACES.len()),
                    pick(owner, OWNERS),
                    name % NAMES,
                    scoped,
                    starts,
                    end,
                );
            }
            Operation::Update {
                key,
                place,
                expected_revision,
                name,
                scoped,
                ends,
            } => {
                self.update(
                    key,
                    place,
                    expected_revision,
                    name.map(|name| name % NAMES),
                    scoped,
                    ends,
                );
            }
            Operation::Rotate {
                key,
                place,
                expected_revision,
                grace,
                renew,
            } => {
                self.rotate(key, place, expected_revision, grace, renew);
            }
            Operation::Disable { key, place } => self.switch(key, place, false),
            Operation::Enable { key, place } => self.switch(key, place, true),
            Operation::Revoke { key, place } => self.revoke(key, place),
            Operation::Delete { key, place } => self.delete(key, place),
            Operation::RevokeAll {
                target,
                block,
                in_advance,
            } => self.revoke_all(target, block, in_advance),
            Operation::Restore { target } => self.restore(target),
            Operation::SetPolicy { place, rules } => self.set_policy(place, rules),
            Operation::Import {
                legacy,
                place,
                blocked,
            } => {
                self.import(legacy % LEGACY, pick(place, PLACES.len()), blocked);
            }
            Operation::RevokeLegacy { legacy, place } => {
                self.revoke_legacy(legacy % LEGACY, pick(place, PLACES.len()));
            }
            Operation::SetLegacyPolicy { place, sunset } => self.set_legacy_policy(place, sunset),
            Operation::Verify {
                key,
                secret,
                namespace,
                writes,
            } => {
                self.verify(key, secret, namespace, writes);
            }
            Operation::VerifyLegacy {
                legacy,
                right,
                namespace,
            } => {
                self.verify_legacy(legacy % LEGACY, right, namespace.map(namespace_of));
            }
            Operation::LateFeed => self.late_feed(),
            Operation::Replicate { entries } => {
                let after = self.replica.as_of();
                let page = block_on(self.store.changes(after, entries.into())).expect("no I/O");
                self.replica
                    .apply(&page, self.model.time())
                    .expect("the page follows the last revision");
            }
            Operation::Restart => {
                (self.keyring, self.verifier) = process(&self.store, self.format, &self.usage);
                self.model.seen.set(i64::MIN);
            }
            Operation::Check => self.check(),
        }
    }

    fn create(
        &mut self,
        place: usize,
        owner: usize,
        name: u8,
        scoped: bool,
        starts: Option<i64>,
        end: End,
    ) {
        if self.model.keys.len() == KEYS_MAX {
            return;
        }
        let now = self.model.at();
        let starts = starts.map(|seconds| now + seconds);
        let expected = self.model.may_create(place, owner, name, starts, end);
        let mut new = NewKey::new(tenant(place), owner_of(owner), name_of(name))
            .with_scopes(scopes(scoped))
            .with_expiry(expiry(end, now));
        new.not_before = starts.map(Timestamp::from_unix);
        let made = block_on(self.keyring.create(&self.context(), new));
        let ends = expected.map(|_| Done::Committed);
        let Some((key, info)) = self.agree(made, ends).map(CreatedKey::into_parts) else {
            return;
        };
        self.model.bind(place);
        self.model.keys.push(Key {
            id: key.id(),
            place,
            owner,
            name,
            scoped,
            starts,
            ends: expected.expect("made"),
            state: State::Active,
            secrets: vec![secret(&key, now)],
            revision: info.revision,
            uses: Uses::default(),
        });
    }

    fn update(
        &mut self,
        key: u8,
        place: Place,
        expected_revision: ExpectedRevision,
        name: Option<u8>,
        scoped: Option<bool>,
        ends: Option<i64>,
    ) {
        let Some((at, place)) = self.locate(key, place) else {
            return;
        };
        let ends = ends.map(|seconds| self.model.now + seconds);
        let expected = self
            .model
            .may_update(at, place, expected_revision, name, ends);
        let mut update = KeyUpdate::default();
        update.name = name.map(name_of);
        update.scopes = scoped.map(scopes);
        update.expires_at = ends.map(Timestamp::from_unix);
        let key = &self.model.keys[at];
        let (context, tenant, expect) =
            (self.context(), tenant(place), key.expect(expected_revision));
        let changed = block_on(
            self.keyring
                .update(&context, &tenant, key.id, update, expect),
        );
        if let Some(info) = self.agree(changed, expected.map(|()| Done::Committed)) {
            let key = &mut self.model.keys[at];
            key.revision = info.revision;
            key.name = name.unwrap_or(key.name);
            key.scoped = scoped.unwrap_or(key.scoped);
            key.ends = ends.or(key.ends);
            let until = key
                .secrets
                .iter_mut()
                .filter_map(|secret| secret.until.as_mut());
            until.for_each(|until| *until = ends.map_or(*until, |ends| ends.min(*until)));
        }
    }

    fn rotate(
        &mut self,
        key: u8,
        place: Place,
        expected_revision: ExpectedRevision,
        grace: u64,
        renew: Option<End>,
    ) {
        let Some((at, place)) = self.locate(key, place) else {
            return;
        };
        let now = self.model.at();
        let expected = self
            .model
            .may_rotate(at, place, expected_revision, grace, renew);
        let mut rotation = Rotation::new().with_grace(Duration::from_secs(grace));
        rotation.renew = renew.map(|end| expiry(end, now));
        let key = &self.model.keys[at];
        let (context, tenant, expect) =
            (self.context(), tenant(place), key.expect(expected_revision));
        let changed = block_on(
            self.keyring
                .rotate(&context, &tenant, key.id, rotation, expect),
        );
        let changed = self.agree(changed, expected.map(|_| Done::Committed));
        if let Some((issued, info)) = changed.map(CreatedKey::into_parts) {
            let (until, ends) = expected.expect("changed");
            let key = &mut self.model.keys[at];
            assert_eq!(issued.id(), key.id);
            // Without a grace period the replaced secret is refused even if the clock is set back.
            let until = if until <= now { i64::MIN } else { until };
            key.secrets
                .last_mut()
                .expect("every key has a secret")
                .until = Some(until);
            key.secrets.push(secret(&issued, now));
            key.ends = ends;
            key.revision = info.revision;
        }
    }

    fn switch(&mut self, key: u8, place: Place, on: bool) {
        let Some((at, place)) = self.locate(key, place) else {
            return;
        };
        let found = self.model.find_alive(at, place, ExpectedRevision::Any);
        let expected = found.map(|key| {
            if (key.state == State::Active) == on {
                Done::Unchanged
            } else {
                Done::Committed
            }
        });
        let (context, tenant, id) = (self.context(), tenant(place), self.model.keys[at].id);
        let changed = if on {
            block_on(self.keyring.enable(&context, &tenant, id, None))
        } else {
            block_on(self.keyring.disable(&context, &tenant, id, None))
        };
        if let Some(info) = self.agree(changed, expected) {
            self.model.keys[at].state = if on { State::Active } else { State::Disabled };
            self.model.keys[at].revision = info.revision;
        }
    }

    fn revoke(&mut self, key: u8, place: Place) {
        let Some((at, place)) = self.locate(key, place) else {
            return;
        };
        let found = self.model.find(at, place);
        let expected = found.map(|key| {
            if key.state == State::Revoked {
                Done::Unchanged
            } else {
                Done::Committed
            }
        });
        let id = self.model.keys[at].id;
        let changed = block_on(
            self.keyring
                .revoke(&self.context(), &tenant(place), id, None),
        );
        if let Some(info) = self.agree(changed, expected) {
            self.model.keys[at].state = State::Revoked;
            self.model.keys[at].revision = info.revision;
        }
    }

    fn delete(&mut self, key: u8, place: Place) {
        let Some((at, place)) = self.locate(key, place) else {
            return;
        };
        let expected = self.model.find(at, place).map(|_| Done::Committed);
        let id = self.model.keys[at].id;
        let changed = block_on(
            self.keyring
                .delete(&self.context(), &tenant(place), id, None),
        );
        if self.agree(changed, expected).is_some() {
            self.model.keys[at].state = State::Deleted;
        }
    }

    fn revoke_all(&mut self, target: ModelTarget, block: bool, in_advance: bool) {
        let in_advance = block && in_advance;
        let expected = match target {
            _ if !in_advance && !self.model.knows(target) => Err(Refusal::Other),
            ModelTarget::Namespace(place) => self.model.own(pick(place, PLACES.len())),
            ModelTarget::Team(_) | ModelTarget::Owner(..) => Ok(()),
        };
        let live = self.model.live_keys(target);
        let (context, library_target) = (self.context(), library_target(target));
        let changed = match &library_target {
            _ if !block => block_on(self.keyring.revoke_all(&context, library_target)),
            _ if in_advance => block_on(self.keyring.remove_in_advance(&context, library_target)),
            Target::Team(team) => block_on(self.keyring.remove_team(&context, team)),
            Target::Namespace(tenant) => block_on(self.keyring.remove_namespace(&context, tenant)),
            Target::Owner(team, Owner::User(user)) => {
                block_on(self.keyring.remove_member(&context, team, user))
            }
            Target::Owner(team, Owner::Service(service)) => {
                block_on(self.keyring.remove_service(&context, team, service))
            }
        };
        if let Some(count) = self.agree(changed, expected.map(|()| Done::Committed)) {
            let keys = count.map(|count| count.keys);
            assert_eq!(keys, u64::try_from(live).ok(), "the keys of {target:?}");
            self.model.revoke_all(target);
            self.model.cut.push(target);
            if block {
                self.model.blocked.push(target);
            }
            if let ModelTarget::Namespace(place) = target {
                self.model.bind(pick(place, PLACES.len()));
            }
        }
    }

    fn restore(&mut self, target: ModelTarget) {
        let foreign = match target {
            ModelTarget::Namespace(place) => self.model.own(pick(place, PLACES.len())).is_err(),
            ModelTarget::Team(_) | ModelTarget::Owner(..) => false,
        };
        let blocked = self
            .model
            .blocked
            .iter()
            .any(|other| same_target(*other, target));
        let expected = if blocked && !foreign {
            Ok(Done::Committed)
        } else {
            Err(Refusal::Other)
        };
        let context = self.context();
        let changed = match library_target(target) {
            Target::Team(team) => block_on(self.keyring.restore_team(&context, &team)),
            Target::Namespace(tenant) => {
                block_on(self.keyring.restore_namespace(&context, &tenant))
            }
            Target::Owner(team, Owner::User(user)) => {
                block_on(self.keyring.restore_member(&context, &team, &user))
            }
            Target::Owner(team, Owner::Service(service)) => {
                block_on(self.keyring.restore_service(&context, &team, &service))
            }
        };
        if self.agree(changed, expected).is_some() {
            self.model
                .blocked
                .retain(|other| !same_target(*other, target));
        }
    }

    fn set_policy(&mut self, place: Option<u8>, rules: Option<Rules>) {
        let rules = rules.map(|rules| Rules {
            min: life(rules.min),
            max: rules.max.map(life),
            ..rules
        });
        let policy = rules.map(|rules| Policy {
            min_ttl: ttl(rules.min),
            max_ttl: rules.max.map(ttl),
            expiry_required: rules.end_required,
            keys_per_owner: rules.keys_per_owner,
            unique_names: rules.unique_names,
            max_grace: Duration::from_secs(rules.grace),
        });
        let place = place.map(|place| pick(place, PLACES.len()));
        let expected = self.model.may_set_policy(place);
        let tenant = place.map(tenant);
        let changed = block_on(
            self.keyring
                .set_policy(&self.context(), tenant.as_ref(), policy),
        );
        if self
            .agree(changed, expected.map(|()| Done::Committed))
            .is_some()
        {
            let namespace = place.map(|place| PLACES[place].1);
            self.model.policies.retain(|(other, _)| *other != namespace);
            self.model
                .policies
                .extend(rules.map(|rules| (namespace, rules)));
        }
    }

    fn import(&mut self, number: u8, place: usize, blocked: bool) {
        let known = self.model.legacy.iter();
        let known = known
            .enumerate()
            .find(|(_, legacy)| legacy.number == number);
        let target_blocked = self
            .model
            .blocked
            .iter()
            .any(|target| covers(*target, place, None));
        let expected = match (self.model.own(place), known) {
            (Ok(()), None) if !target_blocked => Ok(Done::Committed),
            // A later import only blocks.
            (Ok(()), Some((_, known))) if known.place == place => {
                if blocked && !known.blocked && !known.revoked {
                    Ok(Done::Committed)
                } else {
                    Ok(Done::Unchanged)
                }
            }
            _ => Err(Refusal::Other),
        };
        let known = known.map(|(at, _)| at);
        let text = legacy_text(number, true);
        let presented = PresentedLegacy::parse(text.as_bytes()).expect("a well-formed credential");
        let record = LegacyRecord {
            id: presented.id(),
            tenant: tenant(place),
            subject: UserId::new("guest").expect("a name"),
            digest: KeyDigest::of_legacy(&presented, &Peppers::none()),
            blocked,
            imported_at: Timestamp::from_unix(self.model.now),
            imported_by: Actor::system(),
            revoked: None,
            created_revision: Revision::ZERO,
            revision: Revision::ZERO,
        };
        let kept = block_on(self.keyring.import_legacy(&self.context(), record));
        if self.agree(kept, expected).is_some() {
            if let Some(at) = known {
                let known = &mut self.model.legacy[at];
                known.blocked |= blocked && !known.revoked;
                return;
            }
            self.model.bind(place);
            let uses = Uses::default();
            self.model.legacy.push(Legacy {
                number,
                place,
                blocked,
                revoked: false,
                uses,
            });
        }
    }

    fn revoke_legacy(&mut self, number: u8, place: usize) {
        let mut known = self.model.legacy.iter_mut();
        let known = known.find(|legacy| legacy.number == number && legacy.place == place);
        let expected = match known {
            Some(Legacy { revoked: true, .. }) => Ok(Done::Unchanged),
            Some(legacy) => {
                legacy.revoked = true;
                Ok(Done::Committed)
            }
            None => Err(Refusal::NotFound),
        };
        let text = legacy_text(number, true);
        let id = PresentedLegacy::parse(text.as_bytes())
            .expect("a well-formed credential")
            .id();
        let changed = block_on(
            self.keyring
                .revoke_legacy(&self.context(), &tenant(place), id),
        );
        self.agree(changed, expected);
    }

    fn set_legacy_policy(&mut self, place: Option<u8>, sunset: Option<Sunset>) {
        let now = self.model.now;
        let times = sunset.map(|sunset| LegacyTimes {
            sunset: now + i64::from(sunset.lasts),
            brownout_from: now + i64::from(sunset.starts),
            brownout_until: now + i64::from(sunset.starts) + i64::from(sunset.length),
        });
        let policy = times.map(|times| {
            let policy = LegacyPolicy::until(Timestamp::from_unix(times.sunset));
            let from = Timestamp::from_unix(times.brownout_from);
            let until = Timestamp::from_unix(times.brownout_until);
            policy.clone().with_brownout(from, until).unwrap_or(policy)
        });
        let place = place.map(|place| pick(place, PLACES.len()));
        let expected = self.model.may_set_policy(place);
        let tenant = place.map(tenant);
        let changed = block_on(self.keyring.set_legacy_policy(
            &self.context(),
            tenant.as_ref(),
            policy,
        ));
        if self
            .agree(changed, expected.map(|()| Done::Committed))
            .is_some()
        {
            let namespace = place.map(|place| PLACES[place].1);
            self.model.sunsets.retain(|(other, _)| *other != namespace);
            self.model
                .sunsets
                .extend(times.map(|times| (namespace, times)));
        }
    }

    fn verify(&mut self, key: u8, secret: WhichSecret, namespace: Option<u8>, writes: bool) {
        let Some((at, _)) = self.locate(key, Place::Own) else {
            return;
        };
        let key = &self.model.keys[at];
        let (first, current) = (&key.secrets[0], &key.secrets[key.secrets.len() - 1]);
        let text = match secret {
            WhichSecret::Current => current.text.clone(),
            WhichSecret::Replaced => key.secrets[key.secrets.len().saturating_sub(2)]
                .text
                .clone(),
            WhichSecret::First => first.text.clone(),
            WhichSecret::Foreign(other) => {
                let other = &self.model.keys[pick(other, self.model.keys.len())].secrets[0].text;
                let (id, _) = current
                    .text
                    .split_once(':')
                    .expect("a well-formed credential");
                let (_, secret) = other.split_once(':').expect("a well-formed credential");
                format!("{id}:{secret}")
            }
            WhichSecret::Garbled(place) => {
                let mut text = current.text.clone();
                let place = text.len() - 36 + pick(place, 36);
                let other = if &text[place..=place] == "A" {
                    "B"
                } else {
                    "A"
                };
                text.replace_range(place..=place, other);
                text
            }
        };
        self.try_key(at, &text, namespace.map(namespace_of), writes);
    }

    fn try_key(&mut self, at: usize, text: &str, namespace: Option<&str>, writes: bool) {
        self.model.seen.set(self.model.at());
        let key = &self.model.keys[at];
        let expected = self.model.verdict(key, text, namespace, writes);
        let now = Timestamp::from_unix(self.model.now);
        let found = verdict(&self.verifier, text, namespace, writes, now, |principal| {
            is_key(principal, key);
        });
        assert_eq!(found, expected, "key {at}");
        let seen = self.model.seen.get();
        self.model.keys[at].uses.count(expected, seen);
    }

    fn verify_legacy(&mut self, number: u8, right: bool, namespace: Option<&str>) {
        self.model.seen.set(self.model.at());
        let expected = self.model.legacy_verdict(number, right, namespace);
        let now = Timestamp::from_unix(self.model.now);
        let text = legacy_text(number, right);
        let found = verdict(&self.verifier, &text, namespace, true, now, is_guest);
        assert_eq!(found, expected, "legacy credential {number}");
        let seen = self.model.seen.get();
        let mut known = self.model.legacy.iter_mut();
        if let Some(legacy) = known.find(|legacy| legacy.number == number) {
            legacy.uses.count(expected, seen);
        }
    }

    fn late_feed(&mut self) {
        self.keyring
            .index()
            .apply(&self.late, self.model.time())
            .expect("an old page");
        self.replica
            .apply(&self.late, self.model.time())
            .expect("an old page, or the next one");
        self.late = block_on(self.store.changes(Revision::ZERO, 1000)).expect("no I/O");
    }

    /// Verifies every secret of every key and every legacy credential, and lists all keys.
    fn check(&mut self) {
        for at in 0..self.model.keys.len() {
            for nth in 0..self.model.keys[at].secrets.len() {
                let text = self.model.keys[at].secrets[nth].text.clone();
                self.try_key(at, &text, Some(PLACES[self.model.keys[at].place].1), false);
            }
            for place in 0..PLACES.len() {
                let key = &self.model.keys[at];
                match (
                    block_on(self.keyring.get(&tenant(place), key.id)),
                    self.model.find(at, place),
                ) {
                    (Ok(info), Ok(key)) => reads_as(&info, key),
                    (Err(manage::Error::NotFound), Err(Refusal::NotFound)) => {}
                    (found, expected) => panic!("{found:?}, expected {}", expected.is_ok()),
                }
            }
        }
        for number in 0..LEGACY {
            self.verify_legacy(number, true, None);
        }
        for place in 0..PLACES.len() {
            self.check_list(KeyQuery::namespace(&tenant(place)), |key| {
                key.place == place
            });
        }
        self.check_list(KeyQuery::team(tenant(0).team), |key| {
            PLACES[key.place].0 == PLACES[0].0
        });
    }

    /// Checks that a list contains the keys in the order of their creation, page by page.
    fn check_list(&self, mut query: KeyQuery, wanted: impl Fn(&Key) -> bool) {
        query.limit = 3;
        let mut listed = Vec::new();
        loop {
            let page = block_on(self.keyring.list(&query)).expect("no I/O");
            assert!(page.items.len() == 3 || page.next.is_none());
            listed.extend(page.items);
            query.after = page.next;
            if query.after.is_none() {
                break;
            }
        }
        let keys = self
            .model
            .keys
            .iter()
            .filter(|key| key.state != State::Deleted && wanted(key));
        let keys: Vec<_> = keys.collect();
        assert_eq!(listed.len(), keys.len());
        listed
            .iter()
            .zip(keys)
            .for_each(|(info, key)| reads_as(info, key));
    }

    /// Checks that every change has an audit event, in one chain.
    fn check_trail(&self) {
        block_on(self.keyring.verify_audit(None)).expect("a trail that fits the store");
        let query = AuditQuery {
            limit: 1000,
            ..AuditQuery::every_team()
        };
        let events = block_on(self.keyring.audit(&query)).expect("no I/O").items;
        assert_eq!(events.len(), self.model.changes.min(1000));
    }

    /// Checks that exactly the accepted calls are counted.
    fn check_usage(&self) {
        let now = Timestamp::from_unix(self.model.now);
        assert_eq!(
            block_on(self.keyring.flush_usage(&self.usage, now)).expect("no I/O"),
            0
        );
        let keys = self
            .model
            .keys
            .iter()
            .filter(|key| key.state != State::Deleted);
        let keys = keys.map(|key| (CredentialId::Key(key.id), &key.uses));
        let report =
            block_on(self.keyring.legacy_report(&LegacyQuery::every_team())).expect("no I/O");
        assert_eq!(report.items.len(), self.model.legacy.len());
        let legacy = report
            .items
            .iter()
            .map(|item| CredentialId::Legacy(item.record.id));
        let legacy = legacy.zip(self.model.legacy.iter().map(|legacy| &legacy.uses));
        for (credential, uses) in keys.chain(legacy) {
            let found = block_on(self.keyring.usage(&[credential])).expect("no I/O");
            let accepted = found.first().map_or(0, |usage| usage.accepted);
            let last = found.first().and_then(|usage| usage.last_used);
            assert_eq!(accepted, uses.accepted);
            let (last, expected) = (last.map(Timestamp::as_unix), uses.last);
            if expected > Some(self.model.now) {
                // A use that is later by the clock counts as one now, in whole minutes.
                let age = last.map(|last| self.model.now - last);
                assert!(age.is_some_and(|age| (0..60).contains(&age)), "{age:?}");
            } else {
                assert_eq!(last, expected);
            }
        }
    }

    /// Checks that the replica, after catching up, and a new index return the same verdicts.
    fn check_other_indexes(&self) {
        let new = Arc::new(Index::new(self.format, Peppers::none()));
        let now = Timestamp::from_unix(self.model.seen.get());
        for index in [&self.replica, &new] {
            block_on(index.follow(&*self.store, now)).expect("the page follows the last revision");
            let verifier = index.verifier(None);
            for key in &self.model.keys {
                for Secret { text, .. } in &key.secrets {
                    let found = verdict(&verifier, text, None, false, now, |principal| {
                        is_key(principal, key);
                    });
                    assert_eq!(found, self.model.verdict(key, text, None, false));
                }
            }
            for number in 0..LEGACY {
                let text = legacy_text(number, true);
                let found = verdict(&verifier, &text, None, false, now, is_guest);
                assert_eq!(found, self.model.legacy_verdict(number, true, None));
            }
        }
    }

    /// Compares the results of the library and the model, and returns the library's if it succeeded.
    fn agree<T>(
        &mut self,
        found: Result<T, manage::Error>,
        expected: Result<Done, Refusal>,
    ) -> Option<T> {
        match (found, expected) {
            (Ok(found), Ok(done)) => {
                self.model.changes += usize::from(done == Done::Committed);
                Some(found)
            }
            (Err(manage::Error::NotFound), Err(Refusal::NotFound))
            | (
                Err(manage::Error::Conflict(_) | manage::Error::Lifecycle(_)),
                Err(Refusal::Other),
            ) => None,
            (found, expected) => panic!("{:?}, expected {expected:?}", found.map(drop)),
        }
    }

    /// Returns the position of an existing key, and the place through which it is managed.
    fn locate(&self, key: u8, place: Place) -> Option<(usize, usize)> {
        let at = usize::from(key).checked_rem(self.model.keys.len())?;
        Some(match place {
            Place::Own => (at, self.model.keys[at].place),
            Place::Some(place) => (at, pick(place, PLACES.len())),
        })
    }

    fn context(&self) -> Context {
        self.model.seen.set(self.model.at());
        Context::new(Actor::system(), Timestamp::from_unix(self.model.now))
    }
}

impl Key {
    fn expect(&self, expected_revision: ExpectedRevision) -> Option<Revision> {
        match expected_revision {
            ExpectedRevision::Any => None,
            ExpectedRevision::Current => Some(self.revision),
            ExpectedRevision::Outdated => Some(Revision::new(self.revision.get() - 1)),
        }
    }
}

/// Returns the keyring and the verifier of a process.
fn process(
    store: &Arc<MemoryStore>,
    format: KeyFormat,
    usage: &Arc<UsageRecorder>,
) -> (Keyring, Verifier) {
    let keyring = Keyring::builder(Arc::clone(store), format);
    let keyring = block_on(keyring.open(Timestamp::from_unix(START)))
        .expect("an index takes what a store kept");
    let verifier = keyring.unbounded_verifier().with_usage(Arc::clone(usage));
    (keyring, verifier)
}

/// Returns the verifier's verdict. `check` is called with the principal if it is accepted.
fn verdict(
    verifier: &Verifier,
    text: &str,
    namespace: Option<&str>,
    writes: bool,
    now: Timestamp,
    check: impl Fn(&Principal<'_>),
) -> Verdict {
    let access = namespace.map_or(Access::to_own_namespace(), Access::to);
    let write = [Scope::new("write").expect("a scope")];
    let access = if writes {
        access.requiring(&write)
    } else {
        access
    };
    match verifier.verify_text(text.as_bytes(), &access, now) {
        Ok(principal) => {
            check(&principal);
            Verdict::Accepted {
                ends: principal.expires_at().map(Timestamp::as_unix),
                replaced: principal.used_replaced_secret(),
            }
        }
        Err(denied) => refused(denied),
    }
}

fn refused(denied: Denied) -> Verdict {
    assert_eq!(denied.to_string(), "access denied");
    match denied.status() {
        401 => Verdict::Unauthenticated,
        403 => Verdict::Forbidden,
        status => panic!("{status}: {}", denied.reason()),
    }
}

fn is_key(principal: &Principal<'_>, key: &Key) {
    assert_eq!(principal.key_id(), Some(key.id));
    assert_eq!(principal.team().as_str(), PLACES[key.place].0);
    assert_eq!(principal.namespace().as_str(), PLACES[key.place].1);
    assert_eq!(principal.owner(), Some(owner_of(key.owner)));
}

fn is_guest(principal: &Principal<'_>) {
    assert_eq!(principal.key_id(), None);
    assert_eq!(principal.owner(), None);
    assert_eq!(
        principal.legacy_subject().as_ref().map(UserId::as_str),
        Some("guest")
    );
}

fn reads_as(info: &KeyInfo, key: &Key) {
    assert_eq!(info.id, key.id);
    assert_eq!(info.tenant, tenant(key.place));
    assert_eq!(info.owner, owner_of(key.owner));
    assert_eq!(info.name, name_of(key.name));
    assert_eq!(info.scopes, scopes(key.scoped));
    assert_eq!(info.not_before.map(Timestamp::as_unix), key.starts);
    assert_eq!(info.expires_at.map(Timestamp::as_unix), key.ends);
    assert_eq!(info.revision, key.revision);
    let state = match info.status {
        Status::Active => State::Active,
        Status::Disabled => State::Disabled,
        Status::Revoked(_) => State::Revoked,
    };
    assert_eq!(state, key.state);
    if state != State::Revoked {
        let replaced = key.secrets.iter().rev().nth(1);
        let until = replaced.and_then(|replaced| replaced.until);
        let until = until.filter(|until| *until != i64::MIN);
        assert_eq!(info.previous_until.map(Timestamp::as_unix), until);
    }
}

fn tenant(place: usize) -> Tenant {
    let (team, namespace) = PLACES[place];
    let team = TeamId::new(team).expect("a name");
    Tenant::new(team, NamespaceId::new(namespace).expect("a name"))
}

fn namespace_of(number: u8) -> &'static str {
    NAMESPACES[pick(number, NAMESPACES.len())]
}

fn owner_of(owner: usize) -> Owner {
    match owner {
        0 => Owner::User(UserId::new("ann").expect("a name")),
        1 => Owner::User(UserId::new("bob").expect("a name")),
        _ => Owner::Service(ServiceId::new("ann").expect("a name")),
    }
}

fn name_of(name: u8) -> KeyName {
    KeyName::new(&format!("key {name}")).expect("a name")
}

fn scopes(scoped: bool) -> Scopes {
    let read = Scope::new("read").expect("a scope");
    if scoped {
        Scopes::only([read]).expect("one scope")
    } else {
        Scopes::All
    }
}

fn library_target(target: ModelTarget) -> Target {
    match target {
        ModelTarget::Team(place) => Target::Team(tenant(pick(place, PLACES.len())).team),
        ModelTarget::Namespace(place) => Target::Namespace(tenant(pick(place, PLACES.len()))),
        ModelTarget::Owner(place, owner) => Target::Owner(
            tenant(pick(place, PLACES.len())).team,
            owner_of(pick(owner, OWNERS)),
        ),
    }
}

fn ttl(seconds: u64) -> Ttl {
    Ttl::from_seconds(life(seconds)).expect("in bounds")
}

fn expiry(end: End, now: i64) -> Expiry {
    match end {
        End::Never => Expiry::Never,
        End::In(seconds) => Expiry::In(ttl(seconds)),
        End::At(seconds) => Expiry::At(Timestamp::from_unix(now + seconds)),
    }
}

fn secret(key: &IssuedKey, made_at: i64) -> Secret {
    let text = key.expose().to_owned();
    Secret {
        text,
        made_at,
        until: None,
    }
}

fn legacy_text(number: u8, right: bool) -> String {
    let last = if right { 'A' } else { 'B' };
    format!(
        "23bc46b1-71f6-4ed5-8c54-816aa4f8c50{number}:{}{last}",
        "k".repeat(63)
    )
}
