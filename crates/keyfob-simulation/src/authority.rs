//! The authority: a store, its management, and the processes that publish its feed.

mod management;
mod process;

use std::{
    borrow::Cow,
    error::Error,
    sync::{Arc, Mutex, PoisonError},
};

use keyfob::{
    KeyId, KeyStore, Keyring, Timestamp,
    audit::TrailHead,
    block_on,
    gateway::UsageBatch,
    key::{CredentialId, KeyFormat},
    legacy::LegacyId,
    store::{Journal, JournalEntry, JournaledStore, UsageOf, UsageQuery},
};
use keyfob_feed::{FeedKeys, Publisher, SignerKey, Trust};

pub(crate) use process::Process;

use crate::{
    clock::{Machine, START},
    context::Context,
    model::{Item, ItemId},
    random::{Predictable, Rng},
};

pub(crate) type Store = Arc<JournaledStore<Tape>>;

/// The authority.
pub(crate) struct Authority {
    pub(crate) store: Store,
    keyring: Keyring,
    tape: Tape,
    random: Arc<Predictable>,
    /// The file of secret keys, which processes read when they start.
    keys: FeedKeys,
    rotation: Rotation,
    /// The file of keys as it was before a signer was retired, and the version in which it was:
    /// somebody has it.
    pub(crate) stolen: Option<(FeedKeys, u64)>,
    pub(crate) processes: Vec<Process>,
    keys_made: Vec<(usize, KeyId)>,
    legacy_made: Vec<(usize, LegacyId)>,
    names: usize,
}

/// How far the replacement of the signer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Rotation {
    Steady,
    Announced,
    Switched,
}

pub(crate) fn format() -> KeyFormat {
    KeyFormat::new("sim").expect("the prefix is valid")
}

impl Authority {
    pub(crate) fn new(context: &mut Context, processes: usize) -> Self {
        let random = Arc::new(Predictable::new(&mut context.rng));
        let keys = FeedKeys::generate(&*random).expect("the source does not fail");
        let tape = Tape::default();
        let (store, keyring) = open(&tape, &random, Vec::new());
        let start = publisher(&keys);
        let mark = start.position_of(TrailHead::START).mark;
        context.oracle.began(START, mark);
        let processes = (0..processes)
            .map(|_| {
                Process::new(
                    Machine::new(context.rng.around(900), START),
                    publisher(&keys),
                )
            })
            .collect();
        Self {
            store,
            keyring,
            tape,
            random,
            keys,
            rotation: Rotation::Steady,
            stolen: None,
            processes,
            keys_made: Vec::new(),
            legacy_made: Vec::new(),
            names: 0,
        }
    }

    /// The keys that an operator gives to a reader that starts now.
    pub(crate) fn pins(&self) -> (Trust, u64) {
        let trust = Trust::pinned(self.keys.signers()).expect("there are some");
        (trust, self.keys.version())
    }

    /// The version of the signers.
    pub(crate) fn signers_version(&self) -> u64 {
        self.keys.version()
    }

    /// Goes on with the replacement of the signer, when all processes have the keys and all readers
    /// know the signers.
    pub(crate) fn rotate_signer(&mut self, context: &mut Context, known: u64) {
        let version = self.keys.version();
        let deployed = |process: &Process| process.signers_version() == version;
        if known < version && self.rotation != Rotation::Steady
            || !self.processes.iter().all(deployed)
        {
            return;
        }
        match self.rotation {
            Rotation::Steady => {
                if self.keys.announce(&*self.random).is_ok() {
                    self.rotation = Rotation::Announced;
                }
            }
            Rotation::Announced => {
                self.keys.switch();
                self.rotation = Rotation::Switched;
            }
            Rotation::Switched => {
                let before = copy(&self.keys);
                let retired = self.keys.retire();
                for signer in &retired {
                    let id = signer.id().to_string();
                    context.oracle.retired(id, self.keys.version());
                }
                let version = self.keys.version();
                self.stolen = signed_by(&before, &retired).map(|keys| (keys, version));
                self.rotation = Rotation::Steady;
            }
        }
        context.note(|| format!("signers: version {}", self.keys.version()));
    }

    /// Restarts a process, which reads the file of keys then.
    pub(crate) fn restart(&mut self, context: &mut Context, n: usize) {
        context.note(|| format!("authority {n} starts"));
        let process = &mut self.processes[n];
        process.restart(publisher(&self.keys));
    }

    /// Replaces the store by a standby that lacks the last commits; returns the last revision that it
    /// has.
    pub(crate) fn fail_over(&mut self, context: &mut Context, lost: u64) -> u64 {
        let head = self.head().revision.get();
        let kept = head.saturating_sub(lost);
        let mut left = kept;
        let mut is_lost = false;
        let mut entries = Vec::new();
        for entry in self.tape.entries() {
            match &entry {
                JournalEntry::Commit(_) if left == 0 => is_lost = true,
                JournalEntry::Commit(_) => left -= 1,
                _ => {}
            }
            if !is_lost {
                entries.push(entry);
            } else if let JournalEntry::Usage { batch, .. } = &entry {
                for usage in &batch.usage {
                    context.oracle.lost(usage.credential, usage.count);
                }
            }
        }
        context.note(|| format!("failover from revision {head} to {kept}"));
        self.tape = Tape::default();
        (self.store, self.keyring) = open(&self.tape, &self.random, entries);
        self.names += 1_000;
        context.oracle.forked(context.now, kept);
        kept
    }

    /// A copy of the store as it is now.
    pub(crate) fn standby(&self) -> Store {
        let entries = self.tape.entries();
        let store = JournaledStore::replay(Tape::default(), entries);
        Arc::new(store.expect("the journal is consistent"))
    }

    pub(crate) fn head(&self) -> TrailHead {
        block_on(self.store.head()).expect("the store answers")
    }

    /// Records usage, once.
    fn record(&mut self, context: &mut Context, batch: &UsageBatch) {
        for usage in &batch.usage {
            let known = self.has(context, usage.credential);
            if !known {
                context.oracle.excused(usage.credential);
            }
        }
        let now = Timestamp::from_unix(self.processes[0].machine.seconds(context.now));
        block_on(self.store.record_usage(batch, now)).expect("the store answers");
    }

    /// Whether the store has a credential now.
    fn has(&self, context: &Context, credential: CredentialId) -> bool {
        let item = match credential {
            CredentialId::Key(id) => {
                let n = self.keys_made.iter().position(|(_, key)| *key == id);
                n.map(ItemId::Key)
            }
            CredentialId::Legacy(id) => {
                let n = self
                    .legacy_made
                    .iter()
                    .position(|(_, legacy)| *legacy == id);
                n.map(ItemId::Legacy)
            }
            _ => None,
        };
        let items = &context.oracle.state().items;
        let state = item.and_then(|item| items.get(&item));
        matches!(state, Some((_, Item::Key(_) | Item::Legacy { .. })))
    }

    /// Compares what the store counted with what was used.
    pub(crate) fn check_usage(&self, context: &mut Context, at_end: bool) {
        let credentials = context.oracle.used_credentials();
        let counted = block_on(self.store.usage(&credentials)).expect("the store answers");
        for credential in credentials {
            if at_end && !self.has(context, credential) {
                continue;
            }
            let usage = counted.iter().find(|usage| usage.credential == credential);
            let uses = usage.map_or(0, |usage| usage.accepted + usage.refused);
            context.oracle.check_usage(credential, uses, at_end);
        }
    }

    /// At the end of the day, all uses of credentials that the store has are counted by day too.
    pub(crate) fn check_usage_days(&self, context: &mut Context) {
        let credentials = context.oracle.used_credentials();
        let counted = block_on(self.store.usage(&credentials)).expect("the store answers");
        let today = context.now / 86_400_000;
        let today = i64::try_from(today).unwrap_or_default();
        for usage in counted {
            let query = UsageQuery {
                of: vec![UsageOf::Credential(usage.credential)],
                first: today - 200,
                last: today + 199,
            };
            let days = block_on(self.store.usage_days(&query)).expect("the store answers");
            let by_day: u64 = days.iter().flat_map(|day| day.hours).sum();
            context.oracle.check_usage_days(
                usage.credential,
                usage.accepted + usage.refused,
                by_day,
            );
        }
    }
}

fn publisher(keys: &FeedKeys) -> Publisher {
    let mut limits = keyfob_feed::Limits::default();
    // Small, so that they are reached.
    limits.log_entries = 24;
    limits.lines = 8;
    limits.catch_ups = 4;
    limits.frame_bytes = 1_200;
    limits.bookmark_ms = 750;
    Publisher::new(Arc::new(copy(keys)), TrailHead::START, limits)
}

pub(crate) fn copy(keys: &FeedKeys) -> FeedKeys {
    FeedKeys::parse(&keys.to_text()).expect("it was written by the same crate")
}

/// The same keys with a retired signer as the one that signs.
fn signed_by(keys: &FeedKeys, retired: &[SignerKey]) -> Option<FeedKeys> {
    let mut keys = copy(keys);
    for _ in 0..Trust::SIGNERS_MAX {
        let current = keys.signers().next()?;
        if retired.contains(&current) {
            return Some(keys);
        }
        keys.switch();
    }
    None
}

fn open(
    tape: &Tape,
    random: &Arc<Predictable>,
    entries: Vec<JournalEntry<'static>>,
) -> (Store, Keyring) {
    tape.restore(&entries);
    let store = JournaledStore::replay(tape.clone(), entries).expect("the journal is consistent");
    let store = Arc::new(store);
    let builder = Keyring::builder(Arc::clone(&store), format()).random(Shared(Arc::clone(random)));
    let opened = Timestamp::from_unix(i64::try_from(START / 1000).expect("it is small") - 4_000);
    let keyring = block_on(builder.open(opened)).expect("the store opens");
    (store, keyring)
}

struct Shared(Arc<Predictable>);

impl keyfob::key::Random for Shared {
    fn fill(&self, bytes: &mut [u8]) -> Result<(), keyfob::key::RandomError> {
        self.0.fill(bytes)
    }
}

/// A journal that can be read.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tape(Arc<Mutex<Vec<JournalEntry<'static>>>>);

impl Tape {
    fn with<T>(&self, act: impl FnOnce(&mut Vec<JournalEntry<'static>>) -> T) -> T {
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn entries(&self) -> Vec<JournalEntry<'static>> {
        self.with(|entries| entries.clone())
    }

    fn restore(&self, entries: &[JournalEntry<'static>]) {
        self.with(|recorded| *recorded = entries.to_vec());
    }
}

impl Journal for Tape {
    fn append(&mut self, entry: &JournalEntry<'_>) -> Result<(), Box<dyn Error + Send + Sync>> {
        let entry = match entry {
            JournalEntry::KeyFormat(format) => JournalEntry::KeyFormat(*format),
            JournalEntry::Commit(commit) => {
                JournalEntry::Commit(Cow::Owned(commit.clone().into_owned()))
            }
            JournalEntry::Usage { batch, at } => JournalEntry::Usage {
                batch: Cow::Owned(batch.clone().into_owned()),
                at: *at,
            },
            _ => return Err("an entry of an unknown kind".into()),
        };
        self.with(|entries| entries.push(entry));
        Ok(())
    }
}

impl Rng {
    pub(crate) fn rarely(&mut self) -> bool {
        self.chance(15)
    }
}
