//! Lines that are not what the authority signed for this reader now.

use std::sync::Arc;

use keyfob::{KeyStore, Scopes, audit::TrailHead, block_on, key::SystemRandom};
use keyfob_feed::{
    FeedKeys, Filter, Join, Next, Publisher, READ_MS, Receiver, Refused, SKEW_MS, SignedLine,
    Snapshot, Trust,
};
use proptest::{collection::vec, prelude::*};

use crate::world::{
    Op, Reader, START, World, decision, filter, owner, read_to_end, small, snapshot, tenant,
};

struct Fixture {
    keys: Arc<FeedKeys>,
    world: World,
    publisher: Publisher,
    reader: Reader,
}

impl Fixture {
    fn new(filter: &Filter) -> Self {
        let keys = Arc::new(FeedKeys::generate(&SystemRandom).unwrap());
        let mut world = World::new();
        world.create(tenant(0), owner(0), Scopes::All, START);
        let mut publisher = Publisher::new(Arc::clone(&keys), TrailHead::START, small());
        read_to_end(&mut publisher, &*world.store, 10, START);
        assert!(publisher.open(filter));
        let trust = Trust::pinned(keys.signers()).unwrap();
        let mut reader = Reader::new(trust, filter.clone());
        let made = snapshot(&keys, &publisher, &*world.store, filter, START);
        reader.load(&made, START);
        Self {
            keys,
            world,
            publisher,
            reader,
        }
    }

    /// A change, and the line that tells of it.
    fn change(&mut self, now: u64) -> SignedLine {
        let filter = self.reader.receiver.filter().clone();
        let position = self.publisher.position();
        self.world.create(tenant(0), owner(1), Scopes::All, now);
        let Join::At(cursor) = self.publisher.join(&filter, position, false) else {
            panic!("the publisher's own position is no start of a line");
        };
        read_to_end(&mut self.publisher, &*self.world.store, 10, now);
        match self.publisher.next(&filter, cursor) {
            Next::Line(line, _) => line,
            other => panic!("{other:?}"),
        }
    }

    fn receive(&mut self, line: &SignedLine, now: u64) -> Result<(), Refused> {
        self.reader.receiver.receive(line.as_bytes(), now).map(drop)
    }
}

#[test]
fn every_altered_byte_of_a_line_is_refused() {
    let mut fixture = Fixture::new(&Filter::All);
    let line = fixture.change(START);
    for at in 0..line.as_bytes().len() {
        for xor in [1, 2, 4, 8, 16, 32, 64, 128, 255] {
            let mut altered = line.as_bytes().to_vec();
            altered[at] ^= xor;
            let altered = SignedLine::received(&altered);
            assert!(fixture.receive(&altered, START).is_err(), "{at} {xor}");
        }
    }
    for length in 0..line.as_bytes().len() {
        let part = SignedLine::received(&line.as_bytes()[..length]);
        assert!(fixture.receive(&part, START).is_err(), "{length}");
    }
    for with in [b" ".as_slice(), b"\n", b"}", b"\0"] {
        let longer = SignedLine::received(&[line.as_bytes(), with].concat());
        assert!(fixture.receive(&longer, START).is_err());
        let longer = SignedLine::received(&[with, line.as_bytes()].concat());
        assert!(fixture.receive(&longer, START).is_err());
    }
    assert_eq!(fixture.receive(&line, START), Ok(()));
}

#[test]
fn a_line_is_accepted_once_and_only_in_its_place() {
    let mut fixture = Fixture::new(&Filter::All);
    let lines = [1, 2, 3].map(|_| fixture.change(START));
    assert_eq!(fixture.receive(&lines[1], START), Err(Refused::Gap));
    assert_eq!(fixture.receive(&lines[0], START), Ok(()));
    assert_eq!(fixture.receive(&lines[0], START), Err(Refused::Replayed));
    assert_eq!(fixture.receive(&lines[2], START), Err(Refused::Gap));
    assert_eq!(fixture.receive(&lines[1], START), Ok(()));
    assert_eq!(fixture.receive(&lines[0], START), Err(Refused::Replayed));
    assert_eq!(fixture.receive(&lines[2], START), Ok(()));
    let refusals = fixture.reader.receiver.refusals();
    assert_eq!(
        (refusals.gap, refusals.replayed, refusals.total()),
        (2, 2, 4)
    );
}

#[test]
fn lines_of_others_are_refused() {
    let mut fixture = Fixture::new(&filter(2));
    let own = fixture.change(START);
    // Of another filter, that includes the same change.
    let mut other = Fixture::new(&filter(1));
    other.reader.receiver =
        Receiver::new(Trust::pinned(fixture.keys.signers()).unwrap(), filter(1));
    let made = snapshot(
        &fixture.keys,
        &fixture.publisher,
        &*fixture.world.store,
        &filter(1),
        START,
    );
    other.reader.load(&made, START);
    assert_eq!(other.receive(&own, START), Err(Refused::OtherFilter));
    // Of an authority with other keys.
    let foreign = Fixture::new(&filter(2)).change(START);
    assert_eq!(
        fixture.receive(&foreign, START),
        Err(Refused::UnknownSigner)
    );
    // With the name of the trusted signer.
    let mut forged = foreign.as_bytes().to_vec();
    forged[11..27].copy_from_slice(&own.as_bytes()[11..27]);
    let forged = SignedLine::received(&forged);
    assert_eq!(fixture.receive(&forged, START), Err(Refused::Forged));
    assert_eq!(fixture.receive(&own, START), Ok(()));
    // Before a snapshot was loaded.
    let trust = Trust::pinned(fixture.keys.signers()).unwrap();
    fixture.reader.receiver = Receiver::new(trust, filter(2));
    assert_eq!(fixture.receive(&own, START), Err(Refused::NotLoaded));
}

#[test]
fn a_line_of_another_history_is_refused() {
    let mut fixture = Fixture::new(&Filter::All);
    let restored = fixture.world.restored(1);
    let line = fixture.change(START);
    assert_eq!(fixture.receive(&line, START), Ok(()));
    // The restored store has caught up: it is at the same revision, with another change.
    let mut other = Fixture {
        keys: Arc::clone(&fixture.keys),
        publisher: Publisher::new(Arc::clone(&fixture.keys), TrailHead::START, small()),
        reader: Reader::new(fixture.reader.receiver.trust().clone(), Filter::All),
        world: restored,
    };
    assert!(other.publisher.open(&Filter::All));
    read_to_end(&mut other.publisher, &*other.world.store, 10, START);
    let first = other.change(START + 1);
    assert_eq!(
        other.publisher.position().revision,
        fixture.reader.position().revision
    );
    let second = other.change(START + 2);
    assert_eq!(fixture.receive(&first, START + 2), Err(Refused::Replayed));
    assert_eq!(
        fixture.receive(&second, START + 2),
        Err(Refused::OtherHistory)
    );
    let position = fixture.reader.position();
    assert_eq!(other.publisher.catch_up(&Filter::All, position), Join::Gone);
}

#[test]
fn a_line_of_an_earlier_time_or_of_a_time_to_come_is_refused() {
    let mut fixture = Fixture::new(&Filter::All);
    let position = fixture.publisher.position();
    let bookmark = |fixture: &mut Fixture, now| {
        read_to_end(&mut fixture.publisher, &*fixture.world.store, 10, now);
        match fixture.publisher.catch_up(&Filter::All, position) {
            Join::CatchUp(line, to) => {
                assert_eq!(to, position);
                line
            }
            other => panic!("{other:?}"),
        }
    };
    let first = bookmark(&mut fixture, START + 1_000);
    let second = bookmark(&mut fixture, START + 10_000);
    let third = bookmark(&mut fixture, START + 20_000);
    // The reader's clock runs after the authority's, by less and by more than is allowed.
    let own = START + 20_000 - SKEW_MS;
    assert_eq!(fixture.receive(&third, own - 1), Err(Refused::Future));
    assert_eq!(fixture.receive(&second, own), Ok(()));
    let accepted = fixture.reader.receiver.receive(third.as_bytes(), own);
    // Nothing is confirmed for a time that has not come.
    assert_eq!(accepted.unwrap().batch.unwrap().confirmed, Some(own));
    // Old bookmarks are at the reader's position, but prove nothing new.
    assert_eq!(fixture.receive(&second, own), Err(Refused::Older));
    assert_eq!(fixture.receive(&first, own), Err(Refused::Older));
    // The reader's clock does not run back.
    let accepted = fixture.reader.receiver.receive(third.as_bytes(), START);
    assert_eq!(accepted.unwrap().batch.unwrap().confirmed, Some(own));
}

/// Lines that resemble what is signed.
fn near_lines() -> impl Strategy<Value = Vec<u8>> {
    let pieces = [
        r#"{"signer":""#,
        "0123456789abcdef",
        r#"","sig":""#,
        r#"","frame":"#,
        r#"","snapshot":"#,
        r#"","signers":"#,
        r#"{"from":"1-AAAAAAAAAAAAAAAAAAAAAA","to":"1-AAAAAAAAAAAAAAAAAAAAAA"}"#,
        "{}",
        "}",
        "\u{1F512}",
    ];
    let signature = "A".repeat(86);
    let piece = (0..12usize).prop_flat_map(move |n| match pieces.get(n) {
        Some(piece) => Just(piece.as_bytes().to_vec()).boxed(),
        None if n == 10 => Just(signature.clone().into_bytes()).boxed(),
        None => vec(any::<u8>(), 0..8).boxed(),
    });
    vec(piece, 0..9).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn no_line_that_nobody_signed_is_accepted_and_none_panics(
        line in prop_oneof![near_lines(), vec(any::<u8>(), 0..300)],
        now in any::<u64>(),
    ) {
        let keys = FeedKeys::generate(&SystemRandom).unwrap();
        let mut trust = Trust::pinned(keys.signers()).unwrap();
        let mut receiver = Receiver::new(trust.clone(), Filter::All);
        prop_assert!(receiver.receive(&line, now).is_err());
        prop_assert!(receiver.manifest(&line, now).is_err());
        prop_assert!(trust.update(&line, now).is_err());
        prop_assert_eq!(receiver.refusals().total(), 2);
    }
}

#[test]
fn a_frame_of_a_lost_history_vouches_for_its_own_time_only() {
    let keys = Arc::new(FeedKeys::generate(&SystemRandom).unwrap());
    let mut world = World::new();
    world.create(tenant(0), owner(0), Scopes::All, START);
    let backup = world.head();
    world.create(tenant(0), owner(0), Scopes::All, START);
    let mut lost = Publisher::new(Arc::clone(&keys), TrailHead::START, small());
    read_to_end(&mut lost, &*world.store, 10, START);
    lost.learn(backup.revision, backup.hash);
    // The store was replaced by an earlier state, which a reader has loaded.
    let restored = world.restored(backup.revision.get());
    let mut publisher = Publisher::new(Arc::clone(&keys), TrailHead::START, small());
    read_to_end(&mut publisher, &*restored.store, 10, START + 1_000);
    let later = snapshot(
        &keys,
        &publisher,
        &*restored.store,
        &Filter::All,
        START + 1_000,
    );
    let trust = Trust::pinned(keys.signers()).unwrap();
    let mut reader = Reader::new(trust, Filter::All);
    reader.load(&later, START + 1_000);
    let Join::CatchUp(line, _) = lost.catch_up(&Filter::All, reader.position()) else {
        panic!("the position is of both histories");
    };
    let accepted = reader.receiver.receive(line.as_bytes(), START + 1_000);
    assert_eq!(accepted.unwrap().batch.unwrap().confirmed, Some(START));
}

#[test]
fn the_frames_of_a_batch_take_effect_together() {
    let keys = Arc::new(FeedKeys::generate(&SystemRandom).unwrap());
    let mut world = World::new();
    world.create(tenant(0), owner(0), Scopes::All, START);
    let backup = world.head();
    // In a history that was lost since, a key was created and its owner removed.
    let revoked = world.create(tenant(0), owner(1), Scopes::All, START);
    for _ in 0..20 {
        world.create(tenant(0), owner(0), Scopes::All, START);
    }
    world.apply(&Op::Remove(0, 2), START);
    let mut lost = Publisher::new(Arc::clone(&keys), TrailHead::START, small());
    read_to_end(&mut lost, &*world.store, 100, START + 2_000);
    lost.learn(backup.revision, backup.hash);
    // A reader has loaded a snapshot of the restored store. It is of a later time than the removal.
    let restored = world.restored(backup.revision.get());
    let mut publisher = Publisher::new(Arc::clone(&keys), TrailHead::START, small());
    read_to_end(&mut publisher, &*restored.store, 10, START + 1_000);
    let trust = Trust::pinned(keys.signers()).unwrap();
    let mut reader = Reader::new(trust, Filter::All);
    let store = &*restored.store;
    let loaded = snapshot(&keys, &publisher, store, &Filter::All, START + 1_000);
    reader.load(&loaded, START + 1_000);
    let mut held = 0;
    loop {
        let Join::CatchUp(line, _) = lost.catch_up(&Filter::All, reader.position()) else {
            panic!("the position is of both histories");
        };
        let accepted = reader.receiver.receive(line.as_bytes(), START + 2_000);
        let accepted = accepted.unwrap();
        let is_last = accepted.batch.is_some();
        reader.apply(accepted);
        let decided = decision(&reader.verifier(), &tenant(0), &revoked, START + 2_000);
        if is_last {
            assert_eq!(decided, "revoked");
            break;
        }
        assert_eq!(decided, "unknown_key", "after {held} frames");
        assert_eq!(reader.receiver.as_of(), START + 1_000);
        held += 1;
    }
    assert!(held > 2, "{held}");
}

/// A reader that knows a key as revoked, and snapshots of the time before, as of given times.
struct Behind {
    fixture: Fixture,
    revoked: String,
}

impl Behind {
    /// The frame that revokes the key is as of `START` and arrives at `arrival`.
    fn new(arrival: u64) -> Self {
        let mut fixture = Fixture::new(&Filter::All);
        let world = &mut fixture.world;
        let revoked = world.create(tenant(0), owner(1), Scopes::All, START);
        world.apply(&Op::Remove(0, 2), START);
        let mut behind = Self { fixture, revoked };
        behind.catch_up(START, arrival);
        assert_eq!(behind.decision(arrival), "revoked");
        behind
    }

    fn snapshot_of(fixture: &Fixture, world: &World, as_of: u64) -> Snapshot {
        let mut publisher = Publisher::new(Arc::clone(&fixture.keys), TrailHead::START, small());
        read_to_end(&mut publisher, &*world.store, 10, as_of);
        snapshot(
            &fixture.keys,
            &publisher,
            &*world.store,
            &Filter::All,
            as_of,
        )
    }

    /// Receives a line as of this time, from the reader's position to the end.
    fn catch_up(&mut self, as_of: u64, now: u64) {
        let (publisher, store) = (&mut self.fixture.publisher, &*self.fixture.world.store);
        read_to_end(publisher, store, 10, as_of);
        let position = self.fixture.reader.position();
        let changes = block_on(store.changes(position.revision, 1)).unwrap();
        publisher.learn(position.revision, changes.after_hash.unwrap());
        let Join::CatchUp(line, _) = publisher.catch_up(&Filter::All, position) else {
            panic!("the position is kept");
        };
        let reader = &mut self.fixture.reader;
        let accepted = reader.receiver.receive(line.as_bytes(), now);
        reader.apply(accepted.unwrap());
    }

    /// A snapshot of the store before the key was revoked.
    fn earlier(&self, as_of: u64) -> Snapshot {
        let revision = self.fixture.world.head().revision.get() - 1;
        let world = self.fixture.world.restored(revision);
        Self::snapshot_of(&self.fixture, &world, as_of)
    }

    fn decision(&self, now: u64) -> String {
        decision(
            &self.fixture.reader.verifier(),
            &tenant(0),
            &self.revoked,
            now,
        )
    }
}

#[test]
fn a_snapshot_that_may_lack_what_was_known_decides_nothing_until_a_line_confirms_it() {
    let arrival = START + 500;
    // All that was signed before the frame arrived may lack it, by a clock that is ahead.
    let doubted = arrival + SKEW_MS;
    let mut behind = Behind::new(arrival);
    let snapshot = behind.earlier(doubted);
    behind.fixture.reader.load(&snapshot, doubted);
    assert_eq!(behind.decision(doubted), "stale");
    let receiver = &behind.fixture.reader.receiver;
    assert_eq!(receiver.unproven_until(), Some(doubted));
    // Another one ends the doubt no sooner, nor does a receiver that starts again.
    let mut again = receiver.start_again();
    let snapshot = behind.earlier(doubted);
    let manifest = again.manifest(snapshot.line.as_bytes(), doubted).unwrap();
    assert_eq!(again.loaded(&manifest, doubted), None);
    behind.fixture.reader.load(&snapshot, doubted);
    assert_eq!(behind.decision(doubted), "stale");
    // The lines after it do, once they are as of a later time.
    for (as_of, decided) in [(doubted, "stale"), (doubted + 1, "revoked")] {
        behind.catch_up(as_of, as_of);
        assert_eq!(behind.decision(as_of), decided);
    }
    assert_eq!(behind.fixture.reader.receiver.unproven_until(), None);
}

#[test]
fn a_snapshot_that_cannot_lack_what_was_known_decides_at_once() {
    // That of a restored store, which was read after the frame had arrived.
    let arrival = START + 500;
    let later = arrival + SKEW_MS + 1;
    let mut behind = Behind::new(arrival);
    let snapshot = behind.earlier(later);
    behind.fixture.reader.load(&snapshot, later);
    assert_eq!(behind.decision(later), "user:bob All None false");
    // A clock that was far ahead when the frame arrived does not put that off: the time of the line counts.
    let later = START + READ_MS + SKEW_MS + 1;
    let mut behind = Behind::new(START + 3_600_000);
    let snapshot = behind.earlier(later);
    behind.fixture.reader.load(&snapshot, later);
    assert_eq!(behind.fixture.reader.receiver.unproven_until(), None);
    // That of the position itself.
    let mut behind = Behind::new(arrival);
    let world = &behind.fixture.world;
    let snapshot = Behind::snapshot_of(&behind.fixture, world, arrival);
    behind.fixture.reader.load(&snapshot, arrival);
    assert_eq!(behind.decision(arrival), "revoked");
}
