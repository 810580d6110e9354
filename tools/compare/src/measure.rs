//! Timing, the cases taking turns.

use std::{
    hint::black_box,
    time::{Duration, Instant},
};

use ring::digest;
use sha2::{Digest, Sha256};

use crate::{
    allocations,
    rival::{Facts, Grant, Key, Rival},
};

/// Something to time.
pub(crate) struct Case {
    pub(crate) what: &'static str,
    /// The package whose version is shown.
    pub(crate) package: &'static str,
    /// Of a rival; none for a bare hash.
    pub(crate) facts: Option<Facts>,
    /// Allocations of so many verifications.
    pub(crate) allocations: (usize, usize),
    /// Nanoseconds per verification, of each round.
    pub(crate) rounds: Vec<f64>,
    work: Work,
    /// How many verifications there are in a round,
    calls: usize,
    /// and every how many rounds the case has its turn.
    every: usize,
    turn: usize,
}

impl Case {
    /// The unit of the ratios: a hash that none of those who keep digests can do without.
    pub(crate) fn bare_ring() -> Self {
        let work = Work::Hash(|calls| {
            for _ in 0..calls {
                black_box(digest::digest(&digest::SHA256, black_box(&BLOCK)));
            }
        });
        Self::timed("bare `ring` SHA-256, 55 bytes", "ring", None, work)
    }

    /// The same hash by another crate, which some rivals use.
    pub(crate) fn bare_sha2() -> Self {
        let work = Work::Hash(|calls| {
            for _ in 0..calls {
                black_box(Sha256::digest(black_box(&BLOCK)));
            }
        });
        Self::timed("bare `sha2` SHA-256, 55 bytes", "sha2", None, work)
    }

    /// A rival and its population, each of which must be accepted as whose it is.
    pub(crate) fn new(mut rival: Box<dyn Rival>, now: i64) -> Result<Self, String> {
        let facts = rival.facts();
        let mut keys = Vec::with_capacity(rival.population());
        for n in 0..rival.population() {
            let grant = Grant::nth(n, now);
            let credential = rival.issue(&grant);
            keys.push(Key { grant, credential });
        }
        let knows = |key: &Key| {
            let owner = rival.verify(&key.credential, &key.grant.namespace, now);
            owner.is_some_and(|owner| *owner == key.grant.owner)
        };
        if !keys.iter().all(knows) {
            return Err(format!("{}: does not know its population", facts.what));
        }
        let (what, package) = (facts.what, facts.package);
        let work = Work::Rival { rival, keys, now };
        Ok(Self::timed(what, package, Some(facts), work))
    }

    fn timed(what: &'static str, package: &'static str, facts: Option<Facts>, work: Work) -> Self {
        let sample = work.population().min(64);
        let allocations = allocations::count(|| work.call(0, sample));
        let start = Instant::now();
        work.call(0, sample);
        let calls = SLICE.as_nanos() * sample as u128 / start.elapsed().as_nanos().max(1);
        let calls = usize::try_from(calls).unwrap_or(usize::MAX);
        Self {
            what,
            package,
            facts,
            allocations: (allocations, sample),
            rounds: Vec::new(),
            work,
            calls: calls.max(1),
            every: if calls == 0 { 10 } else { 1 },
            turn: 0,
        }
    }

    /// Nanoseconds per verification in the best round.
    pub(crate) fn best(&self) -> f64 {
        self.rounds.iter().copied().fold(f64::INFINITY, f64::min)
    }

    /// Nanoseconds per verification in the middle one of the rounds.
    pub(crate) fn median(&self) -> f64 {
        let mut rounds = self.rounds.clone();
        rounds.sort_by(f64::total_cmp);
        rounds.get(rounds.len() / 2).copied().unwrap_or(f64::NAN)
    }

    fn round(&mut self) {
        let start = Instant::now();
        self.work.call(self.turn, self.calls);
        let elapsed = start.elapsed();
        self.turn = (self.turn + self.calls) % self.work.population();
        #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
        let calls = self.calls as f64;
        self.rounds.push(elapsed.as_secs_f64() * 1e9 / calls);
    }
}

/// Times all cases in each round, so that a busy moment hits all alike; those whose one call takes
/// longer than their time, in every tenth.
pub(crate) fn take_turns(cases: &mut [Case], rounds: usize) {
    for round in 0..rounds {
        let turns = cases.iter_mut();
        turns
            .filter(|case| round % case.every == 0)
            .for_each(Case::round);
    }
}

/// How long a case is timed in one round: short, so that among many rounds some are undisturbed.
const SLICE: Duration = Duration::from_millis(1);

/// As much as Keyfob hashes: the most that is one block of SHA-256.
const BLOCK: [u8; 55] = [7; 55];

enum Work {
    /// So many hashes, the loop being compiled with the hash.
    Hash(fn(usize)),
    Rival {
        rival: Box<dyn Rival>,
        keys: Vec<Key>,
        now: i64,
    },
}

impl Work {
    fn population(&self) -> usize {
        match self {
            Self::Hash(_) => 64,
            Self::Rival { keys, .. } => keys.len(),
        }
    }

    fn call(&self, from: usize, calls: usize) {
        match self {
            Self::Hash(hash) => hash(calls),
            Self::Rival { rival, keys, now } => {
                let accepted = rival.verify_many(keys, from, calls, *now);
                assert_eq!(accepted, calls, "{}", rival.facts().what);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn best_and_median_are_of_the_rounds() {
        let mut case = Case::bare_ring();
        case.rounds = vec![5.0, 1.0, 9.0];
        assert_eq!((case.best(), case.median()), (1.0, 5.0));
    }

    #[test]
    fn every_case_is_timed_in_every_round() {
        let mut cases = [Case::bare_ring(), Case::bare_sha2()];
        take_turns(&mut cases, 3);
        assert!(cases.iter().all(|case| case.rounds.len() == 3));
        assert!(cases.iter().all(|case| case.best() > 0.0));
    }
}
