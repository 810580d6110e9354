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

/// A reader goes back with a store that lost a revocation, and then receives frames of the lost history from
/// before it.
#[test]
fn frames_from_before_a_lost_revocation_are_no_fault() {
    if let Err(failure) = run(4_179, &Settings::default(), true) {
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

/// A seed that finds each bug, and what it violates first.
const FOUND: [(Bug, Invariant, u64); 21] = [
    (Bug::ConfirmsByArrival, Invariant::NothingStaleDecides, 2),
    (Bug::TrustsTheRelaysTime, Invariant::NothingStaleDecides, 2),
    (
        Bug::ConfirmsWithMoreToCome,
        Invariant::NothingStaleDecides,
        1,
    ),
    (Bug::IgnoresFrom, Invariant::OnlyTheSignedState, 1),
    (Bug::IgnoresSignatures, Invariant::OnlyTheSignedState, 2),
    (Bug::TrustsAnySigner, Invariant::OnlyTheSignedState, 63),
    (Bug::AcceptsTheFuture, Invariant::NothingStaleDecides, 4),
    (
        Bug::AcceptsOlderSnapshots,
        Invariant::NothingStaleDecides,
        2,
    ),
    // Found by the long run, before it was mended: the clock of a process must be ahead at the right moment.
    (
        Bug::ConfirmsUnprovenSnapshots,
        Invariant::RevokedIsPermanent,
        200_113,
    ),
    (Bug::AcceptsOtherFilters, Invariant::OnlyTheSignedState, 83),
    (Bug::KeepsTheOldHistory, Invariant::OnlyTheSignedState, 5),
    (Bug::SkipsTombstones, Invariant::OnlyTheSignedState, 1),
    (
        Bug::SkipsCutoffsOfSnapshots,
        Invariant::OnlyTheSignedState,
        1,
    ),
    (Bug::RestartsWithoutAge, Invariant::NothingStaleDecides, 2),
    (Bug::RestoresOverNewPins, Invariant::ReadyAfterFaults, 5_783),
    (Bug::HasNoRatchet, Invariant::NothingStaleDecides, 10),
    (Bug::RenumbersUsage, Invariant::UsageCountsOnce, 3),
    (Bug::ForgetsUsage, Invariant::UsageCountsOnce, 1),
    (Bug::StaysWithASlowUpstream, Invariant::ReadyAfterFaults, 6),
    (Bug::WaitsAtAGap, Invariant::ReadyAfterFaults, 7),
    (Bug::StaysWithTheBroker, Invariant::ReadyAfterFaults, 23),
];

#[test]
fn every_invariant_finds_a_bug_by_itself() {
    for (bug, invariant, seed) in FOUND_BY_ONE {
        let settings = Settings::default().with_bug(bug).with_only(invariant);
        let failure = run(seed, &settings, false);
        assert!(failure.is_err(), "{bug:?} does not violate {invariant:?}");
    }
}

/// A seed in which a bug violates an invariant, regardless of what else it violates before.
const FOUND_BY_ONE: [(Bug, Invariant, u64); 2] = [
    (Bug::ConfirmsByArrival, Invariant::EndIsBounded, 2),
    (Bug::AcceptsOtherFilters, Invariant::NoForeignEntry, 208),
];
