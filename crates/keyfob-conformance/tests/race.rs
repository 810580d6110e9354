//! Races of two handles on the reference store.

use keyfob::{MemoryStore, block_on};
use keyfob_conformance::race::{
    Side, actors, heard, removals, revocations, rotations, said, side_by_side,
};

const ROUNDS: u64 = 40;

fn answer(
    store: &MemoryStore,
    sides: [Side; 2],
    round: u64,
) -> [keyfob_conformance::race::Answer; 2] {
    let answers = block_on(side_by_side([store, store], sides, round));
    answers.map(|answer| heard(&said(&answer)))
}

#[test]
fn no_key_outlives_a_removed_owner() {
    let store = MemoryStore::new();
    let sides = [Side::Create, Side::Remove];
    block_on(removals(&store, ROUNDS, async |n| answer(&store, sides, n)));
}

#[test]
fn a_cutoff_revokes_what_was_created_before_it() {
    let store = MemoryStore::new();
    let sides = [Side::Create, Side::RevokeAll];
    block_on(revocations(&store, ROUNDS, async |n| {
        answer(&store, sides, n)
    }));
}

#[test]
fn one_of_two_rotations_wins() {
    let store = MemoryStore::new();
    let sides = [Side::Rotate, Side::Rotate];
    block_on(rotations(&store, ROUNDS, async |n| {
        answer(&store, sides, n)
    }));
}

#[test]
fn a_revoked_key_makes_no_change() {
    let store = MemoryStore::new();
    let sides = [Side::Act, Side::Revoke];
    block_on(actors(&store, ROUNDS, async |n| answer(&store, sides, n)));
}

#[test]
fn a_side_is_found_by_its_name() {
    for side in [
        Side::Create,
        Side::Remove,
        Side::RevokeAll,
        Side::Rotate,
        Side::Act,
        Side::Revoke,
    ] {
        assert_eq!(Side::named(side.name()), Some(side));
    }
    assert_eq!(Side::named("none"), None);
}
