//! Fixtures: a store with a history that can be forked, and readers of its feed.

use std::{
    error::Error,
    sync::{Arc, Mutex},
    time::Duration,
};

use keyfob::{
    Access, Context, Expiry, KeyId, KeyStore, Keyring, NewKey, Owner, Scopes, Tenant, Timestamp,
    Ttl, Verifier,
    audit::TrailHead,
    block_on,
    gateway::Index,
    key::{KeyDigest, KeyFormat, Peppers},
    legacy::{LegacyId, LegacyPolicy, LegacyRecord, PresentedLegacy},
    manage::{Policy, Rotation},
    name::{KeyName, Scope, TeamId, UserId},
    store::{Journal, JournalEntry, JournaledStore, Revision, Target},
};
use keyfob_feed::{
    Accepted, FeedKeys, FeedRead, Filter, Join, Limits, Manifest, Next, Position, Progress,
    Publisher, Receiver, Snapshot, SnapshotReader, SnapshotWriter, Trust,
};

/// The time of the first event, in Unix milliseconds.
pub(crate) const START: u64 = 1_800_000_000_000;

pub(crate) fn format() -> KeyFormat {
    KeyFormat::new("dof").unwrap()
}

pub(crate) fn at(milliseconds: u64) -> Timestamp {
    Timestamp::from_unix(i64::try_from(milliseconds / 1000).unwrap())
}

pub(crate) fn tenant(n: u8) -> Tenant {
    [
        Tenant::parse("acme", "fn-a"),
        Tenant::parse("acme", "fn-b"),
        Tenant::parse("umbrella", "fn-c"),
        Tenant::parse("umbrella", "fn-d"),
    ][usize::from(n % 4)]
    .clone()
    .unwrap()
}

pub(crate) fn team(n: u8) -> TeamId {
    TeamId::new(["acme", "umbrella"][usize::from(n % 2)]).unwrap()
}

pub(crate) fn owner(n: u8) -> Owner {
    ["user:alice", "user:bob", "service:deploy-bot"][usize::from(n % 3)]
        .parse()
        .unwrap()
}

/// An owner in a team; those of another team have other names.
pub(crate) fn owner_in(team: &TeamId, n: u8) -> Owner {
    if team.as_str() == "acme" {
        return owner(n);
    }
    ["user:carol", "user:dave", "service:release-bot"][usize::from(n % 3)]
        .parse()
        .unwrap()
}

/// The subject of the imported keys of a team.
pub(crate) fn guest_in(team: &TeamId) -> String {
    format!("guest-of-{team}")
}

pub(crate) fn filter(n: u8) -> Filter {
    match n % 5 {
        0 => Filter::All,
        1 => Filter::Team(team(0)),
        2 => Filter::namespaces([tenant(0)]).unwrap(),
        3 => Filter::namespaces([tenant(1), tenant(2)]).unwrap(),
        _ => Filter::Team(team(1)),
    }
}

/// A journal that can be read.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tape(Arc<Mutex<Vec<JournalEntry<'static>>>>);

impl Journal for Tape {
    fn append(&mut self, entry: &JournalEntry<'_>) -> Result<(), Box<dyn Error + Send + Sync>> {
        let entry = match entry {
            JournalEntry::KeyFormat(format) => JournalEntry::KeyFormat(*format),
            JournalEntry::Commit(commit) => {
                JournalEntry::Commit(std::borrow::Cow::Owned(commit.clone().into_owned()))
            }
            // Usage is no part of the feed.
            _ => return Ok(()),
        };
        self.0.lock().unwrap().push(entry);
        Ok(())
    }
}

pub(crate) type Store = Arc<JournaledStore<Tape>>;

/// A change of the store.
#[derive(Clone, Debug)]
pub(crate) enum Op {
    Create(u8, u8, bool),
    Rotate(u8),
    Disable(u8),
    Enable(u8),
    Revoke(u8),
    Delete(u8),
    Remove(u8, u8),
    Restore(u8, u8),
    RevokeAll(u8, u8),
    Policy(Option<u8>, Option<u8>),
    Import(u8),
    RevokeLegacy(u8),
    LegacyPolicy(Option<u8>, bool),
    Bind(u8),
}

/// A store, what was created in it, and its management.
pub(crate) struct World {
    pub(crate) store: Store,
    pub(crate) keyring: Arc<Keyring>,
    tape: Tape,
    pub(crate) keys: Vec<(Tenant, KeyId, String)>,
    pub(crate) legacy: Vec<(Tenant, LegacyId, String)>,
}

impl World {
    pub(crate) fn new() -> Self {
        Self::open(Vec::new())
    }

    fn open(entries: Vec<JournalEntry<'static>>) -> Self {
        let tape = Tape::default();
        tape.0.lock().unwrap().extend(entries.clone());
        let store = Arc::new(JournaledStore::replay(tape.clone(), entries).unwrap());
        let keyring = Keyring::builder(Arc::clone(&store), format()).open(at(START));
        Self {
            keyring: Arc::new(block_on(keyring).unwrap()),
            store,
            tape,
            keys: Vec::new(),
            legacy: Vec::new(),
        }
    }

    /// The world as it was at a revision: a backup that was restored.
    pub(crate) fn restored(&self, revision: u64) -> Self {
        let mut left = revision;
        let entries = self.tape.0.lock().unwrap().clone();
        let entries = entries.into_iter().filter(|entry| match entry {
            JournalEntry::Commit(_) if left == 0 => false,
            JournalEntry::Commit(_) => {
                left -= 1;
                true
            }
            _ => true,
        });
        Self {
            keys: self.keys.clone(),
            legacy: self.legacy.clone(),
            ..Self::open(entries.collect())
        }
    }

    pub(crate) fn head(&self) -> TrailHead {
        block_on(self.store.head()).unwrap()
    }

    pub(crate) fn create(
        &mut self,
        tenant: Tenant,
        owner: Owner,
        scopes: Scopes,
        now: u64,
    ) -> String {
        let name = KeyName::new(&format!("key {}", self.keys.len())).unwrap();
        let new = NewKey::new(tenant.clone(), owner, name)
            .with_scopes(scopes)
            .with_expiry(Expiry::Never);
        let created = block_on(self.keyring.create(&Context::system(at(now)), new)).unwrap();
        let secret = created.secret.expose().to_owned();
        self.keys
            .push((tenant, created.secret.id(), secret.clone()));
        secret
    }

    #[expect(clippy::too_many_lines, reason = "one arm for each kind of change")]
    /// Makes a change; one that the store refuses changes nothing.
    pub(crate) fn apply(&mut self, op: &Op, now: u64) {
        let context = Context::system(at(now));
        let keyring = Arc::clone(&self.keyring);
        let key = |n: u8| {
            let keys = &self.keys;
            (!keys.is_empty()).then(|| keys[usize::from(n) % keys.len()].clone())
        };
        let target = |kind: u8, n: u8| match kind % 3 {
            0 => Target::Owner(team(n), owner_in(&team(n), n / 2)),
            1 => Target::Namespace(tenant(n)),
            _ => Target::Team(team(n)),
        };
        match *op {
            Op::Create(of, by, all) => {
                let scopes = if all {
                    Scopes::All
                } else {
                    Scopes::only([Scope::new("invoke").unwrap()]).unwrap()
                };
                let name = KeyName::new(&format!("key {}", self.keys.len())).unwrap();
                let owner = owner_in(&tenant(of).team, by);
                let new = NewKey::new(tenant(of), owner, name)
                    .with_scopes(scopes)
                    .with_expiry(Expiry::Never);
                if let Ok(created) = block_on(keyring.create(&context, new)) {
                    let secret = created.secret.expose().to_owned();
                    self.keys.push((tenant(of), created.secret.id(), secret));
                }
            }
            Op::Rotate(n) => {
                if let Some((tenant, id, _)) = key(n) {
                    let rotation = Rotation::new().with_grace(Duration::from_hours(1));
                    let rotated = keyring.rotate(&context, &tenant, id, rotation, None);
                    if let Ok(rotated) = block_on(rotated) {
                        let secret = rotated.secret.expose().to_owned();
                        self.keys.push((tenant, id, secret));
                    }
                }
            }
            Op::Disable(n) => {
                key(n).map(|(of, id, _)| block_on(keyring.disable(&context, &of, id, None)).ok());
            }
            Op::Enable(n) => {
                key(n).map(|(of, id, _)| block_on(keyring.enable(&context, &of, id, None)).ok());
            }
            Op::Revoke(n) => {
                key(n).map(|(of, id, _)| block_on(keyring.revoke(&context, &of, id, None)).ok());
            }
            Op::Delete(n) => {
                key(n).map(|(of, id, _)| block_on(keyring.delete(&context, &of, id, None)).ok());
            }
            Op::Remove(kind, n) => {
                let _ = block_on(keyring.remove_in_advance(&context, target(kind, n)));
            }
            Op::Restore(kind, n) => {
                let _ = block_on(keyring.restore(&context, target(kind, n)));
            }
            Op::RevokeAll(kind, n) => {
                let _ = block_on(keyring.revoke_all(&context, target(kind, n)));
            }
            Op::Policy(of, hours) => {
                let policy = hours.map(|hours| Policy {
                    max_ttl: Some(Ttl::hours(u32::from(hours % 3) + 1).unwrap()),
                    ..Policy::default()
                });
                let of = of.map(tenant);
                let _ = block_on(keyring.set_policy(&context, of.as_ref(), policy));
            }
            Op::Import(of) => {
                let n = self.legacy.len();
                let id = format!("23bc46b1-71f6-4ed5-8c54-{n:012}");
                let secret = format!("{id}:{}", "k".repeat(64));
                let presented = PresentedLegacy::parse(secret.as_bytes()).unwrap();
                let record = LegacyRecord {
                    id: presented.id(),
                    tenant: tenant(of),
                    subject: UserId::new(&guest_in(&tenant(of).team)).unwrap(),
                    digest: KeyDigest::of_legacy(&presented, &Peppers::none()),
                    blocked: false,
                    imported_at: at(now),
                    imported_by: context.actor.clone(),
                    revoked: None,
                    created_revision: Revision::ZERO,
                    revision: Revision::ZERO,
                };
                let entry = (tenant(of), presented.id(), secret.clone());
                if block_on(keyring.import_legacy(&context, record)).is_ok() {
                    self.legacy.push(entry);
                }
            }
            Op::RevokeLegacy(n) => {
                if !self.legacy.is_empty() {
                    let (of, id, _) = &self.legacy[usize::from(n) % self.legacy.len()];
                    let _ = block_on(keyring.revoke_legacy(&context, of, *id));
                }
            }
            Op::LegacyPolicy(of, on) => {
                let policy = on.then(|| LegacyPolicy::until(at(START + 1_000_000_000)));
                let of = of.map(tenant);
                let _ = block_on(keyring.set_legacy_policy(&context, of.as_ref(), policy));
            }
            Op::Bind(n) => {
                let new = keyfob::manage::NewNamespace::new(tenant(n));
                let _ = block_on(keyring.create_namespace(&context, new));
            }
        }
    }

    /// All credentials that were ever created, with their namespaces.
    pub(crate) fn credentials(&self) -> impl Iterator<Item = (&Tenant, &str)> {
        let keys = self.keys.iter().map(|(of, _, text)| (of, text.as_str()));
        keys.chain(self.legacy.iter().map(|(of, _, text)| (of, text.as_str())))
    }

    /// An index that follows the store.
    pub(crate) fn followed(&self, now: u64) -> Verifier {
        let index = Arc::new(Index::new(format(), Peppers::none()));
        block_on(index.follow(&*self.store, at(now))).unwrap();
        index.verifier(None)
    }
}

/// What a verifier decides of a credential.
pub(crate) fn decision(verifier: &Verifier, tenant: &Tenant, text: &str, now: u64) -> String {
    let access = Access::to(tenant.namespace.as_str());
    match verifier.verify_text(text.as_bytes(), &access, at(now)) {
        Ok(principal) => format!(
            "{principal} {:?} {:?} {:?}",
            principal.scopes(),
            principal.expires_at(),
            principal.used_replaced_secret()
        ),
        Err(denied) => denied.reason().as_str().to_owned(),
    }
}

/// Lets the publisher read the store to its end, in pages of `page` entries.
pub(crate) fn read_to_end(publisher: &mut Publisher, store: &dyn KeyStore, page: usize, now: u64) {
    loop {
        let changes = block_on(store.changes(publisher.wants(), page)).unwrap();
        if publisher.answer(&changes, now).unwrap() == Progress::End {
            return;
        }
    }
}

/// Small bounds, so that they are reached.
pub(crate) fn small() -> Limits {
    let mut limits = Limits::default();
    limits.log_entries = 40;
    limits.lines = 4;
    limits.catch_ups = 3;
    limits.frame_bytes = 1_500;
    limits
}

/// Makes a snapshot of a store.
pub(crate) fn snapshot(
    keys: &FeedKeys,
    publisher: &Publisher,
    store: &dyn KeyStore,
    filter: &Filter,
    now: u64,
) -> Snapshot {
    let mut read = FeedRead::after(TrailHead::START);
    let mut writer = SnapshotWriter::new(filter.clone(), 1 << 30).unwrap();
    loop {
        let changes = block_on(store.changes(read.wants(), 3)).unwrap();
        let (page, progress) = read.answer(&changes).unwrap();
        if let Some(page) = page {
            writer.write(&page.entries).unwrap();
        }
        if progress == Progress::End {
            break;
        }
    }
    let position = publisher.position_of(read.at());
    writer.finish(position, now, format(), keys).unwrap()
}

/// A reader with its index.
pub(crate) struct Reader {
    pub(crate) receiver: Receiver,
    pub(crate) index: Arc<Index>,
}

impl Reader {
    pub(crate) fn new(trust: Trust, filter: Filter) -> Self {
        Self {
            receiver: Receiver::new(trust, filter),
            index: Arc::new(Index::new(format(), Peppers::none())),
        }
    }

    pub(crate) fn verifier(&self) -> Verifier {
        self.index.verifier(None)
    }

    pub(crate) fn position(&self) -> Position {
        self.receiver.position().unwrap()
    }

    /// Loads a snapshot into a new index.
    pub(crate) fn load(&mut self, snapshot: &Snapshot, now: u64) -> Manifest {
        let manifest = self
            .receiver
            .manifest(snapshot.line.as_bytes(), now)
            .unwrap();
        self.index = Arc::new(Index::new(format(), Peppers::none()));
        let object = std::io::Cursor::new(&snapshot.object);
        let mut pages = SnapshotReader::open(&manifest, self.receiver.filter(), object).unwrap();
        let mut confirmed = None;
        while let Some(page) = pages.next_page().unwrap() {
            if !page.more {
                confirmed = self.receiver.loaded(&manifest, now);
            }
            self.index.apply_replica(page, confirmed.map(at)).unwrap();
        }
        manifest
    }

    pub(crate) fn apply(&self, accepted: Accepted) {
        if let Some(batch) = accepted.batch {
            batch.apply(&self.index).unwrap();
        }
    }

    /// Follows the publisher to its end, over lines that arrive as they were sent. Returns `false` if
    /// the position is gone.
    pub(crate) fn follow(
        &mut self,
        publisher: &mut Publisher,
        store: &dyn KeyStore,
        now: u64,
    ) -> bool {
        let filter = self.receiver.filter().clone();
        for _ in 0..10_000 {
            let mut cursor = match publisher.join(&filter, self.position(), false) {
                Join::At(cursor) => cursor,
                Join::CatchUp(line, to) => {
                    let accepted = self.receiver.receive(line.as_bytes(), now).unwrap();
                    assert_eq!(accepted.position, to);
                    self.apply(accepted);
                    continue;
                }
                Join::Ask(revision) => {
                    let changes = block_on(store.changes(revision, 1)).unwrap();
                    let Some(hash) = changes.after_hash else {
                        return false;
                    };
                    publisher.learn(revision, hash);
                    continue;
                }
                _ => return false,
            };
            while let Next::Line(line, next) = publisher.next(&filter, cursor) {
                let accepted = match self.receiver.receive(line.as_bytes(), now) {
                    Ok(accepted) => accepted,
                    Err(refused) => panic!("{refused}: {:?} at {line:?}", self.receiver),
                };
                self.apply(accepted);
                cursor = next;
            }
            return true;
        }
        panic!("the reader does not arrive");
    }
}
