//! Changes of the store, and their effect in the model.

use std::time::Duration;

use keyfob::{
    Context as By, Expiry, KeyId, NewKey, Timestamp, Ttl, block_on,
    key::{CredentialId, KeyDigest, Peppers},
    legacy::{LegacyPolicy, LegacyRecord, PresentedLegacy},
    manage::{CreatedKey, Policy, Rotation},
    name::{KeyName, UserId},
    store::Revision,
};

use super::Authority;
use crate::{
    context::Context,
    model::{
        Aim, Credential, Item, ItemId, Key, MaxTtl, OWNERS, Secret, Standing, State, TEAMS,
        TENANTS, owner, tenant,
    },
};

impl Authority {
    /// Makes a random change.
    pub(crate) fn change(&mut self, context: &mut Context) {
        let now = self.processes[0].machine.seconds(context.now);
        match context.rng.below(22) {
            0..=5 => self.create(context, now),
            6 | 7 => self.rotate(context, now),
            8 | 9 => self.set_standing(context, now, Standing::Disabled),
            10 | 11 => self.set_standing(context, now, Standing::Active),
            12 | 13 => self.set_standing(context, now, Standing::Revoked),
            14 => self.delete(context, now),
            15 | 16 => self.remove(context, now),
            17 => self.restore(context, now),
            18 => self.set_policy(context, now),
            19 => self.import(context, now),
            20 => self.revoke_legacy(context, now),
            _ => self.set_legacy_policy(context, now),
        }
    }

    /// Makes keys that are as old as a maximum TTL allows.
    pub(crate) fn furnish(&mut self, context: &mut Context) {
        let now = self.processes[0].machine.seconds(context.now);
        for age in [3_600, 3_590, 3_580, 3_570, 0, 0] {
            self.create(context, now - age + 5);
        }
        self.import(context, now);
        self.set_legacy_policy(context, now);
    }

    fn by(now: i64) -> By {
        By::system(Timestamp::from_unix(now))
    }

    /// Notes a change in the model, if the store made one.
    fn changed(&self, context: &mut Context, id: ItemId, item: impl FnOnce(u64) -> Item) {
        let head = self.head();
        let revision = head.revision.get();
        let known = u64::try_from(context.oracle.history().states.len()).expect("it is small");
        if revision < known {
            return;
        }
        assert_eq!(revision, known, "a change makes one revision");
        let mut state = State::clone(context.oracle.state());
        let item = item(revision);
        context.note(|| format!("revision {revision}: {id:?} {item:?}"));
        state.items.insert(id, (revision, item));
        let mark = self.processes[0].position_of(head).mark;
        context.oracle.committed(context.now, state, mark);
    }

    fn credential(context: &mut Context, of: ItemId, tenant: usize, text: &str) -> usize {
        context.oracle.credentials.push(Credential {
            of,
            tenant,
            text: text.to_owned(),
        });
        context.oracle.credentials.len() - 1
    }

    fn create(&mut self, context: &mut Context, now: i64) {
        let (of, by) = (context.rng.index(TENANTS), context.rng.index(OWNERS));
        self.names += 1;
        let name = KeyName::new(&format!("key {}", self.names)).expect("the name is valid");
        let mut new = NewKey::new(tenant(of), owner(by), name);
        if context.rng.chance(30) {
            let end = now + 3 + i64::try_from(context.rng.below(40)).expect("it is small");
            new = new.with_expiry(Expiry::At(Timestamp::from_unix(end)));
        } else if context.rng.chance(15) {
            let start = now + i64::try_from(context.rng.below(20)).expect("it is small");
            new = new.with_not_before(Timestamp::from_unix(start));
        }
        let Ok(created) = block_on(self.keyring.create(&Self::by(now), new)) else {
            return;
        };
        let n = self.keys_made.len();
        self.keys_made.push((of, created.info.id));
        let text = created.secret.expose();
        let credential = Self::credential(context, ItemId::Key(n), of, text);
        self.changed(context, ItemId::Key(n), |created_at| {
            Item::Key(Key {
                tenant: of,
                owner: by,
                created: created_at,
                standing: Standing::Active,
                not_before: created.info.not_before.map(Timestamp::as_unix),
                secret: secret(&created, credential),
                previous: None,
            })
        });
    }

    /// A key that the store has now.
    fn any_key(&self, context: &mut Context) -> Option<(usize, KeyId, Key)> {
        let n = context.rng.index(self.keys_made.len().max(1));
        let (_, id) = self.keys_made.get(n)?;
        match context.oracle.state().items.get(&ItemId::Key(n)) {
            Some((_, Item::Key(key))) => Some((n, *id, *key)),
            _ => None,
        }
    }

    fn rotate(&mut self, context: &mut Context, now: i64) {
        let Some((n, id, key)) = self.any_key(context) else {
            return;
        };
        let grace = Duration::from_secs(context.rng.below(12));
        let rotation = Rotation::new().with_grace(grace);
        let of = tenant(key.tenant);
        let by = Self::by(now);
        let rotated = self.keyring.rotate(&by, &of, id, rotation, None);
        let Ok(rotated) = block_on(rotated) else {
            return;
        };
        let text = rotated.secret.expose();
        let credential = Self::credential(context, ItemId::Key(n), key.tenant, text);
        let until = rotated.info.previous_until;
        self.changed(context, ItemId::Key(n), |_| {
            Item::Key(Key {
                secret: secret(&rotated, credential),
                previous: until.map(|until| Secret {
                    ends: Some(until.as_unix()),
                    ..key.secret
                }),
                ..key
            })
        });
    }

    fn set_standing(&mut self, context: &mut Context, now: i64, standing: Standing) {
        let Some((n, id, key)) = self.any_key(context) else {
            return;
        };
        let (by, of, keyring) = (Self::by(now), tenant(key.tenant), &self.keyring);
        let changed = match standing {
            Standing::Active => block_on(keyring.enable(&by, &of, id, None)),
            Standing::Disabled => block_on(keyring.disable(&by, &of, id, None)),
            Standing::Revoked => block_on(keyring.revoke(&by, &of, id, None)),
        };
        if changed.is_ok() {
            let previous = key.previous.filter(|_| standing != Standing::Revoked);
            let key = Key {
                standing,
                previous,
                ..key
            };
            self.changed(context, ItemId::Key(n), |_| Item::Key(key));
        }
    }

    fn delete(&mut self, context: &mut Context, now: i64) {
        let Some((n, id, key)) = self.any_key(context) else {
            return;
        };
        let of = tenant(key.tenant);
        if block_on(self.keyring.delete(&Self::by(now), &of, id, None)).is_ok() {
            context.oracle.excused(CredentialId::Key(id));
            let tenant = key.tenant;
            self.changed(context, ItemId::Key(n), |_| Item::Deleted { tenant });
        }
    }

    fn aim(context: &mut Context) -> Aim {
        match context.rng.below(6) {
            0 => Aim::Team(context.rng.index(TEAMS)),
            1 | 2 => Aim::Namespace(context.rng.index(TENANTS)),
            _ => Aim::Owner(context.rng.index(TEAMS), context.rng.index(OWNERS)),
        }
    }

    fn remove(&mut self, context: &mut Context, now: i64) {
        let aim = Self::aim(context);
        let by = Self::by(now);
        // Removed targets get no new keys, so most are only emptied.
        let done = if context.rng.chance(60) {
            block_on(self.keyring.revoke_all(&by, aim.target())).is_ok()
        } else {
            block_on(self.keyring.remove_in_advance(&by, aim.target())).is_ok()
        };
        if done {
            self.changed(context, ItemId::Cutoff(aim), Item::Cutoff);
        }
    }

    fn restore(&mut self, context: &mut Context, now: i64) {
        let state = context.oracle.state();
        let cut: Vec<(Aim, u64)> = state
            .items
            .iter()
            .filter_map(|(id, (_, item))| match (id, item) {
                (ItemId::Cutoff(aim), Item::Cutoff(up_to)) => Some((*aim, *up_to)),
                _ => None,
            })
            .collect();
        let Some((aim, up_to)) = context.rng.pick(&cut).copied() else {
            return;
        };
        if block_on(self.keyring.restore(&Self::by(now), aim.target())).is_ok() {
            self.changed(context, ItemId::Cutoff(aim), |_| Item::Cutoff(up_to));
        }
    }

    fn maybe_tenant(context: &mut Context) -> Option<usize> {
        context.rng.chance(60).then(|| context.rng.index(TENANTS))
    }

    fn set_policy(&mut self, context: &mut Context, now: i64) {
        let of = Self::maybe_tenant(context);
        let ttl = match context.rng.below(4) {
            0 => None,
            1 => Some(MaxTtl(None)),
            _ => Some(MaxTtl(Some(3_600))),
        };
        let policy = ttl.map(|MaxTtl(ttl)| {
            let policy = Policy::default();
            match ttl {
                Some(_) => policy.with_max_ttl(Ttl::MIN),
                None => policy,
            }
        });
        let named = of.map(tenant);
        let by = Self::by(now);
        let set = self.keyring.set_policy(&by, named.as_ref(), policy);
        if block_on(set).is_ok() {
            self.changed(context, ItemId::Policy(of), |_| Item::Policy(ttl));
        }
    }

    fn import(&mut self, context: &mut Context, now: i64) {
        let (n, of) = (self.legacy_made.len(), context.rng.index(TENANTS));
        let uuid = format!("23bc46b1-71f6-4ed5-8c54-{n:012}");
        let text = format!("{uuid}:{}", "k".repeat(64));
        let Ok(presented) = PresentedLegacy::parse(text.as_bytes()) else {
            return;
        };
        let by = Self::by(now);
        let record = LegacyRecord {
            id: presented.id(),
            tenant: tenant(of),
            subject: UserId::new("guest").expect("the name is valid"),
            digest: KeyDigest::of_legacy(&presented, &Peppers::none()),
            blocked: false,
            imported_at: by.now,
            imported_by: by.actor.clone(),
            revoked: None,
            created_revision: Revision::ZERO,
            revision: Revision::ZERO,
        };
        if block_on(self.keyring.import_legacy(&by, record)).is_ok() {
            self.legacy_made.push((of, presented.id()));
            Self::credential(context, ItemId::Legacy(n), of, &text);
            self.changed(context, ItemId::Legacy(n), |created| Item::Legacy {
                tenant: of,
                created,
                revoked: false,
            });
        }
    }

    fn revoke_legacy(&mut self, context: &mut Context, now: i64) {
        let n = context.rng.index(self.legacy_made.len().max(1));
        let Some((of, id)) = self.legacy_made.get(n) else {
            return;
        };
        let known = context
            .oracle
            .state()
            .items
            .get(&ItemId::Legacy(n))
            .copied();
        let Some((
            _,
            Item::Legacy {
                tenant: at,
                created,
                ..
            },
        )) = known
        else {
            return;
        };
        let named = tenant(*of);
        if block_on(self.keyring.revoke_legacy(&Self::by(now), &named, *id)).is_ok() {
            self.changed(context, ItemId::Legacy(n), |_| Item::Legacy {
                tenant: at,
                created,
                revoked: true,
            });
        }
    }

    fn set_legacy_policy(&mut self, context: &mut Context, now: i64) {
        let of = Self::maybe_tenant(context);
        let later = i64::try_from(context.rng.below(60)).expect("it is small");
        let sunset = (!context.rng.rarely()).then_some(now + 2 + later);
        let policy = sunset.map(|sunset| LegacyPolicy::until(Timestamp::from_unix(sunset)));
        let named = of.map(tenant);
        let by = Self::by(now);
        let set = self.keyring.set_legacy_policy(&by, named.as_ref(), policy);
        if block_on(set).is_ok() {
            self.changed(context, ItemId::LegacyPolicy(of), |_| {
                Item::LegacyPolicy(sunset)
            });
        }
    }
}

fn secret(created: &CreatedKey, credential: usize) -> Secret {
    Secret {
        credential,
        issued: created.info.issued_at.as_unix(),
        ends: created.info.expires_at.map(Timestamp::as_unix),
    }
}
