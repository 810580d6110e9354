//! Random histories, random readers, and a network that loses, repeats, reorders and alters lines.

use std::sync::Arc;

use keyfob::{KeyStore, audit::TrailHead, block_on, key::SystemRandom};
use keyfob_feed::{FeedKeys, Filter, Join, Next, Publisher, Refused, SignedLine, Trust};
use proptest::{collection::vec, option, prelude::*};

use crate::world::{Op, Reader, START, World, at, decision, filter, read_to_end, small, snapshot};

pub(crate) fn op() -> impl Strategy<Value = Op> {
    let n = any::<u8>;
    prop_oneof![
        8 => (n(), n(), any::<bool>()).prop_map(|(of, by, all)| Op::Create(of, by, all)),
        2 => n().prop_map(Op::Rotate),
        2 => n().prop_map(Op::Disable),
        2 => n().prop_map(Op::Enable),
        2 => n().prop_map(Op::Revoke),
        2 => n().prop_map(Op::Delete),
        1 => (n(), n()).prop_map(|(kind, n)| Op::Remove(kind, n)),
        1 => (n(), n()).prop_map(|(kind, n)| Op::Restore(kind, n)),
        1 => (n(), n()).prop_map(|(kind, n)| Op::RevokeAll(kind, n)),
        1 => (option::of(n()), option::of(n())).prop_map(|(of, hours)| Op::Policy(of, hours)),
        2 => n().prop_map(Op::Import),
        1 => n().prop_map(Op::RevokeLegacy),
        1 => (option::of(n()), any::<bool>()).prop_map(|(of, on)| Op::LegacyPolicy(of, on)),
        1 => n().prop_map(Op::Bind),
    ]
}

/// A step of the model.
#[derive(Clone, Debug)]
enum Step {
    Change(Op),
    /// The authority reads the store in pages of this size.
    Read(usize),
    /// A reader receives its next line, if it has one.
    Deliver(u8),
    /// A reader's next line is lost.
    Lose(u8),
    /// A reader receives any line that was ever sent to anybody.
    Replay(u8, u16),
    /// A reader receives its next line with a byte altered.
    Alter(u8, u16, u8),
    /// A reader resumes by its position, at the second process of the authority if set.
    Resume(u8, bool),
    /// The second process reads.
    ReadSecond(usize),
    Pass(u16),
}

fn step() -> impl Strategy<Value = Step> {
    let n = any::<u8>;
    prop_oneof![
        8 => op().prop_map(Step::Change),
        4 => (1..6usize).prop_map(Step::Read),
        2 => (1..6usize).prop_map(Step::ReadSecond),
        6 => n().prop_map(Step::Deliver),
        1 => n().prop_map(Step::Lose),
        2 => (n(), any::<u16>()).prop_map(|(reader, line)| Step::Replay(reader, line)),
        1 => (n(), any::<u16>(), 1..=255u8).prop_map(|(r, place, xor)| Step::Alter(r, place, xor)),
        2 => (n(), any::<bool>()).prop_map(|(reader, second)| Step::Resume(reader, second)),
        2 => (1..2_000u16).prop_map(Step::Pass),
    ]
}

/// A reader with its connection.
struct Connected {
    reader: Reader,
    filter: Filter,
    /// The lines that are on their way.
    pending: Vec<SignedLine>,
    second: bool,
    cursor: Option<keyfob_feed::Cursor>,
}

struct Model {
    world: World,
    keys: Arc<FeedKeys>,
    publishers: [Publisher; 2],
    readers: Vec<Connected>,
    sent: Vec<SignedLine>,
    now: u64,
}

impl Model {
    fn new(filters: &[u8]) -> Self {
        let keys = Arc::new(FeedKeys::generate(&SystemRandom).unwrap());
        let publisher = || Publisher::new(Arc::clone(&keys), TrailHead::START, small());
        let mut model = Self {
            world: World::new(),
            publishers: [publisher(), publisher()],
            readers: Vec::new(),
            sent: Vec::new(),
            now: START,
            keys,
        };
        for publisher in &mut model.publishers {
            read_to_end(publisher, &*model.world.store, 10, START);
        }
        for n in filters {
            let filter = filter(*n);
            for publisher in &mut model.publishers {
                assert!(publisher.open(&filter));
            }
            let trust = Trust::pinned(model.keys.signers()).unwrap();
            let mut connected = Connected {
                reader: Reader::new(trust, filter.clone()),
                filter,
                pending: Vec::new(),
                second: false,
                cursor: None,
            };
            model.load(&mut connected);
            model.readers.push(connected);
        }
        model
    }

    fn load(&mut self, connected: &mut Connected) {
        let (publisher, store) = (&self.publishers[0], &*self.world.store);
        let snapshot = snapshot(&self.keys, publisher, store, &connected.filter, self.now);
        connected.reader.load(&snapshot, self.now);
    }

    fn step(&mut self, step: &Step) {
        match step {
            Step::Change(op) => self.world.apply(op, self.now),
            Step::Read(page) => {
                read_to_end(&mut self.publishers[0], &*self.world.store, *page, self.now);
            }
            Step::ReadSecond(page) => {
                read_to_end(&mut self.publishers[1], &*self.world.store, *page, self.now);
            }
            Step::Pass(milliseconds) => self.now += u64::from(*milliseconds),
            Step::Deliver(n) => self.with_reader(*n, |model, connected| {
                if let Some(line) = model.next_line(connected) {
                    let _ = receive(connected, &line, model.now);
                }
            }),
            Step::Lose(n) => self.with_reader(*n, |model, connected| {
                model.next_line(connected);
            }),
            Step::Replay(n, line) => self.with_reader(*n, |model, connected| {
                if !model.sent.is_empty() {
                    let line = &model.sent[usize::from(*line) % model.sent.len()];
                    let _ = receive(connected, line, model.now);
                }
            }),
            Step::Alter(n, place, xor) => self.with_reader(*n, |model, connected| {
                if let Some(line) = model.next_line(connected) {
                    let mut bytes = line.as_bytes().to_vec();
                    let place = usize::from(*place) % bytes.len();
                    bytes[place] ^= xor;
                    let altered = SignedLine::received(&bytes);
                    let refused = receive(connected, &altered, model.now).unwrap_err();
                    assert!(
                        matches!(
                            refused,
                            Refused::Malformed | Refused::UnknownSigner | Refused::Forged
                        ),
                        "{refused:?}"
                    );
                }
            }),
            Step::Resume(n, second) => self.with_reader(*n, |_, connected| {
                connected.pending.clear();
                connected.cursor = None;
                connected.second = *second;
            }),
        }
    }

    fn with_reader(&mut self, n: u8, act: impl FnOnce(&mut Self, &mut Connected)) {
        if self.readers.is_empty() {
            return;
        }
        let at = usize::from(n) % self.readers.len();
        let mut connected = self.readers.swap_remove(at);
        act(self, &mut connected);
        self.readers.push(connected);
    }

    /// The line that a server would send next.
    fn next_line(&mut self, connected: &mut Connected) -> Option<SignedLine> {
        let publisher = &mut self.publishers[usize::from(connected.second)];
        if connected.cursor.is_none() {
            let position = connected.reader.position();
            match publisher.join(&connected.filter, position, true) {
                Join::At(cursor) => connected.cursor = Some(cursor),
                Join::CatchUp(line, _) => {
                    self.sent.push(line.clone());
                    return Some(line);
                }
                Join::Ask(revision) => {
                    let changes = block_on(self.world.store.changes(revision, 1)).unwrap();
                    publisher.learn(revision, changes.after_hash.unwrap());
                    return None;
                }
                Join::Ahead => return None,
                Join::Gone => {
                    self.load(connected);
                    return None;
                }
                other => panic!("{other:?}"),
            }
        }
        match publisher.next(&connected.filter, connected.cursor?) {
            Next::Line(line, cursor) => {
                connected.cursor = Some(cursor);
                self.sent.push(line.clone());
                Some(line)
            }
            Next::Wait => None,
            _ => {
                connected.cursor = None;
                None
            }
        }
    }

    /// Every reader arrives at the end of the feed, and decides as the store's own follower does.
    fn finish(mut self) {
        self.now += 5_000;
        for publisher in &mut self.publishers {
            read_to_end(publisher, &*self.world.store, 4, self.now);
        }
        let followed = self.world.followed(self.now);
        for connected in &mut self.readers {
            let publisher = &mut self.publishers[usize::from(connected.second)];
            let store = &*self.world.store;
            if !connected.reader.follow(publisher, store, self.now) {
                let filter = &connected.filter;
                let snapshot = snapshot(&self.keys, publisher, store, filter, self.now);
                connected.reader.load(&snapshot, self.now);
                assert!(connected.reader.follow(publisher, store, self.now));
            }
            let Some(confirmed) = connected.reader.index.confirmed_at() else {
                panic!("the reader is not confirmed");
            };
            assert!(confirmed <= at(self.now));
            let verifier = connected.reader.verifier();
            for (tenant, text) in self.world.credentials() {
                let filter = &connected.filter;
                let of_namespace = Filter::namespaces([tenant.clone()]).unwrap();
                let got = decision(&verifier, tenant, text, self.now);
                if filter.covers(&of_namespace) {
                    let expected = decision(&followed, tenant, text, self.now);
                    assert_eq!(got, expected, "{tenant:?} {filter:?}");
                } else {
                    let unknown = ["unknown_key", "unknown_legacy"].contains(&got.as_str());
                    assert!(unknown, "{got} {tenant:?} {filter:?}");
                }
            }
        }
    }
}

/// Gives a line to a reader. What it refuses changes nothing.
fn receive(connected: &mut Connected, line: &SignedLine, now: u64) -> Result<(), Refused> {
    let reader = &mut connected.reader;
    let before = (reader.receiver.position(), reader.receiver.as_of());
    let refusals = reader.receiver.refusals().total();
    match reader.receiver.receive(line.as_bytes(), now) {
        Ok(accepted) => {
            assert!(accepted.as_of <= now);
            if let Some(batch) = &accepted.batch {
                assert!(batch.confirmed.is_none_or(|confirmed| confirmed <= now));
                assert_eq!(batch.changes.next_after, accepted.position.revision);
            }
            assert!(reader.receiver.as_of() >= before.1);
            reader.apply(accepted);
            Ok(())
        }
        Err(refused) => {
            assert_eq!(
                (reader.receiver.position(), reader.receiver.as_of()),
                before
            );
            assert_eq!(reader.receiver.refusals().total(), refusals + 1);
            // It connects again.
            connected.cursor = None;
            Err(refused)
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    #[test]
    fn readers_decide_as_a_follower_of_the_store_whatever_the_network_does(
        filters in vec(any::<u8>(), 1..4),
        steps in vec(step(), 1..120),
    ) {
        let mut model = Model::new(&filters);
        for step in &steps {
            model.step(step);
        }
        model.finish();
    }

    #[test]
    fn a_reader_of_a_restored_store_never_keeps_what_the_store_lost(
        before in vec(op(), 1..10),
        kept in vec(op(), 0..20),
        lost in vec(op(), 0..20),
        after in vec(op(), 0..20),
        n in any::<u8>(),
        pages in 1..5usize,
        stop in 0..6usize,
    ) {
        let keys = Arc::new(FeedKeys::generate(&SystemRandom).unwrap());
        let mut world = World::new();
        for op in &before {
            world.apply(op, START);
        }
        let filter = filter(n);
        let mut publisher = Publisher::new(Arc::clone(&keys), TrailHead::START, small());
        prop_assert!(publisher.open(&filter));
        read_to_end(&mut publisher, &*world.store, 10, START);
        let trust = Trust::pinned(keys.signers()).unwrap();
        let mut reader = Reader::new(trust, filter.clone());
        reader.load(&snapshot(&keys, &publisher, &*world.store, &filter, START), START);
        for op in &kept {
            world.apply(op, START + 500);
        }
        let backup = world.head();
        for op in &lost {
            world.apply(op, START + 1_000);
        }
        // The reader stops after some page, before or after the revision of the backup.
        for _ in 0..stop {
            let changes = block_on(world.store.changes(publisher.wants(), pages)).unwrap();
            publisher.answer(&changes, START + 1_000).unwrap();
        }
        reader.follow(&mut publisher, &*world.store, START + 1_000);

        let mut restored = world.restored(backup.revision.get());
        restored.keys.clone_from(&world.keys);
        for op in &after {
            restored.apply(op, START + 60_000);
        }
        let now = START + 120_000;
        let mut second = Publisher::new(Arc::clone(&keys), TrailHead::START, small());
        assert!(second.open(&filter));
        read_to_end(&mut second, &*restored.store, 10, now);
        if !reader.follow(&mut second, &*restored.store, now) {
            reader.load(&snapshot(&keys, &second, &*restored.store, &filter, now), now);
            prop_assert!(reader.follow(&mut second, &*restored.store, now));
        }
        let (followed, verifier) = (restored.followed(now), reader.verifier());
        for (tenant, text) in restored.credentials() {
            if filter.covers(&Filter::namespaces([tenant.clone()]).unwrap()) {
                let got = decision(&verifier, tenant, text, now);
                prop_assert_eq!(got, decision(&followed, tenant, text, now));
            }
        }
    }
}
