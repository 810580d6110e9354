//! Seeds that hold, and planted bugs that seeds find.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    thread,
};

use keyfob_simulation::{Bug, Failure, Invariant, Settings, run};

/// Plays seeds on two threads; returns the failures, each with its trace.
fn play(seeds: u64, settings: &Settings) -> Vec<Failure> {
    let next = AtomicU64::new(1);
    let play_some = || {
        while let seed = next.fetch_add(1, Ordering::Relaxed)
            && seed <= seeds
        {
            if run(seed, settings, false).is_err() {
                // Once more, for the trace.
                return run(seed, settings, true).err();
            }
        }
        None
    };
    thread::scope(|scope| {
        let players = [scope.spawn(play_some), scope.spawn(play_some)];
        let played = players
            .into_iter()
            .map(|player| player.join().expect("no panic"));
        played.flatten().map(|failure| *failure).collect()
    })
}

#[test]
fn a_thousand_seeds_hold() {
    let failures = play(1_000, &Settings::default());
    if let Some(failure) = failures.first() {
        panic!("{failure}");
    }
}

#[test]
fn a_seed_always_plays_the_same() {
    let settings = Settings::default();
    let played = || run(3, &settings, true).expect("it holds");
    assert_eq!(played(), played());
}

#[test]
fn every_planted_bug_is_found_by_a_seed_that_holds_without_it() {
    for (bug, invariant, seed) in FOUND {
        let failure = run(seed, &Settings::default().with_bug(bug), false);
        let failure = failure.expect_err("the bug is found");
        assert_eq!(failure.violation.invariant, invariant, "{bug:?}: {failure}");
        if let Err(failure) = run(seed, &Settings::default(), true) {
            panic!("{failure}");
        }
    }
}

/// The first seed that finds each bug, and what it violates first.
const FOUND: [(Bug, Invariant, u64); 18] = [
    (Bug::ConfirmsByArrival, Invariant::NothingStaleDecides, 1),
    (Bug::TrustsTheRelaysTime, Invariant::NothingStaleDecides, 4),
    (
        Bug::ConfirmsWithMoreToCome,
        Invariant::NothingStaleDecides,
        3,
    ),
    (Bug::IgnoresFrom, Invariant::OnlyTheSignedState, 1),
    (Bug::IgnoresSignatures, Invariant::OnlyTheSignedState, 4),
    (Bug::TrustsAnySigner, Invariant::OnlyTheSignedState, 17),
    (Bug::AcceptsTheFuture, Invariant::NothingStaleDecides, 2),
    (
        Bug::AcceptsOlderSnapshots,
        Invariant::NothingStaleDecides,
        10,
    ),
    (Bug::AcceptsOtherFilters, Invariant::OnlyTheSignedState, 31),
    (Bug::KeepsTheOldHistory, Invariant::OnlyTheSignedState, 2),
    (Bug::SkipsTombstones, Invariant::OnlyTheSignedState, 3),
    (
        Bug::SkipsCutoffsOfSnapshots,
        Invariant::OnlyTheSignedState,
        2,
    ),
    (Bug::RestartsWithoutAge, Invariant::NothingStaleDecides, 1),
    (Bug::HasNoRatchet, Invariant::NothingStaleDecides, 2),
    (Bug::RenumbersUsage, Invariant::UsageCountsOnce, 5),
    (Bug::ForgetsUsage, Invariant::UsageCountsOnce, 5),
    (
        Bug::StaysWithASlowUpstream,
        Invariant::ReadyAfterFaults,
        204,
    ),
    (Bug::WaitsAtAGap, Invariant::ReadyAfterFaults, 3),
];

#[test]
fn every_invariant_finds_a_bug_by_itself() {
    for (bug, invariant, seed) in FOUND_BY_ONE {
        let settings = Settings::default().with_bug(bug).with_only(invariant);
        let failure = run(seed, &settings, false);
        assert!(failure.is_err(), "{bug:?} does not violate {invariant:?}");
    }
}

/// The first seed in which a bug violates an invariant, regardless of what else it violates before.
const FOUND_BY_ONE: [(Bug, Invariant, u64); 2] = [
    (Bug::ConfirmsByArrival, Invariant::EndIsBounded, 2),
    (Bug::AcceptsOtherFilters, Invariant::NoForeignEntry, 63),
];
