//! The publisher: few signatures, bounded memory, and the end when the store is another one.

use std::sync::Arc;

use keyfob::{KeyStore, Scopes, audit::TrailHead, block_on, key::SystemRandom};
use keyfob_feed::{FeedKeys, Filter, HistoryError, Join, Limits, Next, Publisher, Trust};

use crate::world::{Reader, START, World, filter, owner, read_to_end, small, snapshot, tenant};

fn publisher(limits: Limits) -> Publisher {
    let keys = Arc::new(FeedKeys::generate(&SystemRandom).unwrap());
    Publisher::new(keys, TrailHead::START, limits)
}

fn create(world: &mut World, count: usize) {
    for n in 0..count {
        let n = u8::try_from(n % 250).unwrap();
        world.create(tenant(n), owner(n), Scopes::All, START);
    }
}

#[test]
fn a_thousand_readers_with_one_position_cost_one_signature() {
    let mut world = World::new();
    let mut publisher = publisher(Limits::default());
    create(&mut world, 5);
    read_to_end(&mut publisher, &*world.store, 100, START);
    let position = publisher.position();
    create(&mut world, 5);
    read_to_end(&mut publisher, &*world.store, 100, START);
    let before = publisher.signatures();
    for _ in 0..1000 {
        assert!(publisher.open(&Filter::All));
        let Join::CatchUp(_, to) = publisher.join(&Filter::All, position, true) else {
            panic!("the position is gone");
        };
        assert!(matches!(
            publisher.join(&Filter::All, to, false),
            Join::At(_)
        ));
    }
    assert_eq!(publisher.signatures() - before, 1);
    // A change for all of them, too.
    create(&mut world, 1);
    read_to_end(&mut publisher, &*world.store, 100, START + 100);
    assert_eq!(publisher.signatures() - before, 2);
}

#[test]
fn a_filter_without_readers_is_dropped() {
    let world = World::new();
    let mut publisher = publisher(Limits::default());
    read_to_end(&mut publisher, &*world.store, 100, START);
    for n in 0..5 {
        assert!(publisher.open(&filter(n)));
        assert!(publisher.open(&filter(n)));
    }
    assert_eq!(publisher.filters(), 5);
    for n in 0..5 {
        publisher.close(&filter(n));
    }
    assert_eq!(publisher.filters(), 5);
    for n in 0..5 {
        publisher.close(&filter(n));
    }
    assert_eq!(publisher.filters(), 0);
    // There are as many filters as are allowed.
    let mut limits = Limits::default();
    limits.filters = 2;
    let mut bounded = self::publisher(limits);
    assert!(bounded.open(&filter(0)) && bounded.open(&filter(1)));
    assert!(!bounded.open(&filter(2)));
    assert!(bounded.open(&filter(1)));
    bounded.close(&filter(0));
    assert!(bounded.open(&filter(2)));
    let before = publisher.signatures();
    read_to_end(&mut publisher, &*world.store, 100, START + 10_000);
    assert_eq!(publisher.signatures(), before);
}

#[test]
fn bookmarks_are_signed_for_filters_in_use_when_nothing_changes() {
    let world = World::new();
    let mut publisher = publisher(Limits::default());
    read_to_end(&mut publisher, &*world.store, 100, START);
    assert!(publisher.open(&Filter::All));
    let Join::At(cursor) = publisher.join(&Filter::All, publisher.position(), false) else {
        panic!("the publisher's own position is no start of a line");
    };
    for passed in [100, 300, 400] {
        read_to_end(&mut publisher, &*world.store, 100, START + passed);
        assert_eq!(publisher.next(&Filter::All, cursor), Next::Wait);
    }
    assert_eq!(publisher.bookmark_due(), Some(START + 950));
    read_to_end(&mut publisher, &*world.store, 100, START + 500);
    let Next::Line(_, cursor) = publisher.next(&Filter::All, cursor) else {
        panic!("there is no bookmark");
    };
    // A clock that is set back does not end them.
    read_to_end(&mut publisher, &*world.store, 100, START - 60_000);
    assert!(matches!(
        publisher.next(&Filter::All, cursor),
        Next::Line(..)
    ));
}

#[test]
fn what_is_kept_is_bounded_and_a_reader_that_was_away_too_long_loads_a_snapshot() {
    let mut world = World::new();
    let mut publisher = publisher(small());
    assert!(publisher.open(&Filter::All));
    read_to_end(&mut publisher, &*world.store, 100, START);
    let start = publisher.position();
    let Join::At(cursor) = publisher.join(&Filter::All, start, false) else {
        panic!("the publisher's own position is no start of a line");
    };
    for n in 0..200 {
        create(&mut world, 1);
        read_to_end(&mut publisher, &*world.store, 100, START + n);
        let (entries, bytes) = publisher.kept();
        assert!(entries <= small().log_entries && bytes < 20_000);
    }
    assert_eq!(publisher.next(&Filter::All, cursor), Next::Lost);
    assert_eq!(publisher.join(&Filter::All, start, false), Join::Gone);
    let trust = Trust::pinned(publisher.keys().signers()).unwrap();
    let mut reader = Reader::new(trust, Filter::All);
    let keys = Arc::clone(publisher.keys());
    let made = snapshot(&keys, &publisher, &*world.store, &Filter::All, START + 200);
    reader.load(&made, START + 200);
    assert!(reader.follow(&mut publisher, &*world.store, START + 200));
}

#[test]
fn a_large_change_reaches_readers_in_frames_of_bounded_size() {
    let mut world = World::new();
    let limits = small();
    let mut publisher = publisher(limits);
    read_to_end(&mut publisher, &*world.store, 100, START);
    assert!(publisher.open(&Filter::All));
    let mut cursor = match publisher.join(&Filter::All, publisher.position(), false) {
        Join::At(cursor) => cursor,
        other => panic!("{other:?}"),
    };
    create(&mut world, 10);
    read_to_end(&mut publisher, &*world.store, 100, START);
    let mut lines = 0;
    while let Next::Line(line, next) = publisher.next(&Filter::All, cursor) {
        assert!(line.as_bytes().len() <= limits.frame_bytes + 300);
        lines += 1;
        cursor = next;
    }
    assert!(lines > 1);
}

#[test]
fn a_position_of_another_process_is_proven_by_one_look_at_the_store() {
    let mut world = World::new();
    let keys = Arc::new(FeedKeys::generate(&SystemRandom).unwrap());
    let process = || Publisher::new(Arc::clone(&keys), TrailHead::START, Limits::default());
    let (mut first, mut second) = (process(), process());
    create(&mut world, 3);
    read_to_end(&mut first, &*world.store, 100, START);
    let position = first.position();
    create(&mut world, 3);
    assert!(second.open(&Filter::All));
    assert_eq!(second.join(&Filter::All, position, true), Join::Ahead);
    read_to_end(&mut second, &*world.store, 100, START);
    let Join::Ask(revision) = second.join(&Filter::All, position, true) else {
        panic!("the position is known");
    };
    let changes = block_on(world.store.changes(revision, 1)).unwrap();
    second.learn(revision, changes.after_hash.unwrap());
    assert!(matches!(
        second.join(&Filter::All, position, true),
        Join::CatchUp(..)
    ));
}

#[test]
fn a_reader_within_a_range_keeps_its_horizon_at_another_process() {
    let mut world = World::new();
    let keys = Arc::new(FeedKeys::generate(&SystemRandom).unwrap());
    let process = || Publisher::new(Arc::clone(&keys), TrailHead::START, small());
    let (mut first, mut second) = (process(), process());
    let trust = Trust::pinned(keys.signers()).unwrap();
    let mut reader = Reader::new(trust, Filter::All);
    reader.load(
        &snapshot(&keys, &first, &*world.store, &Filter::All, START),
        START,
    );
    for _ in 0..15 {
        create(&mut world, 1);
        // A boundary after each change.
        read_to_end(&mut second, &*world.store, 100, START);
    }
    let changes = block_on(world.store.changes(first.wants(), 2)).unwrap();
    first.answer(&changes, START).unwrap();
    let Join::CatchUp(line, within) = first.catch_up(&Filter::All, reader.position()) else {
        panic!("the start is gone");
    };
    let accepted = reader.receiver.receive(line.as_bytes(), START).unwrap();
    reader.apply(accepted);
    assert_eq!((within.revision.get(), within.horizon.get()), (2, 15));
    // The frame does not reach the end, and so not the horizon.
    let Join::CatchUp(line, to) = second.catch_up(&Filter::All, within) else {
        panic!("the position is gone");
    };
    assert!(to.revision.get() > 2 && to.revision.get() < 15, "{to}");
    assert_eq!((to.horizon, to.mark), (within.horizon, within.mark));
    let accepted = reader.receiver.receive(line.as_bytes(), START).unwrap();
    assert!(accepted.batch.is_none());
    assert!(second.open(&Filter::All));
    assert!(reader.follow(&mut second, &*world.store, START));
}

#[test]
fn nothing_is_served_when_the_store_has_another_history() {
    let mut world = World::new();
    let mut publisher = publisher(Limits::default());
    create(&mut world, 3);
    let backup = world.restored(1);
    assert!(publisher.open(&Filter::All));
    read_to_end(&mut publisher, &*world.store, 100, START);
    let position = publisher.position();
    let mut back = backup.restored(1);
    let changes = block_on(back.store.changes(publisher.wants(), 100)).unwrap();
    let regressed = publisher.answer(&changes, START).unwrap_err();
    assert!(matches!(regressed, HistoryError::Regressed { .. }));
    // It stays so, also when the store has caught up.
    create(&mut back, 5);
    let changes = block_on(back.store.changes(publisher.wants(), 100)).unwrap();
    assert_eq!(publisher.answer(&changes, START), Err(regressed));
    let failed = publisher.join(&Filter::All, position, true);
    assert_eq!(failed, Join::Failed(regressed));

    let mut second = Publisher::new(
        Arc::clone(publisher.keys()),
        TrailHead::START,
        Limits::default(),
    );
    read_to_end(&mut second, &*world.store, 100, START);
    let changes = block_on(back.store.changes(second.wants(), 100)).unwrap();
    let forked = second.answer(&changes, START).unwrap_err();
    assert!(matches!(forked, HistoryError::Forked { .. }));
}
