//! Races of two sides on one storage, for any number of rounds: two handles in one process, or two
//! processes.
//!
//! A player calls `round` once for each round and gets the two answers. Each side answers by
//! [`act`] on a store of its own; [`side_by_side`] is such a round for two handles. Processes send
//! their answers as text by [`said`] and [`heard`].

use keyfob::{
    KeyStore, Owner, Scopes,
    audit::{AuditEvent, ChainHash},
    key::{CredentialId, Random, RandomError},
    manage::Authority,
    store::{ActorFault, AuditQuery, Change, Commit, Conflict, KeyQuery, Revision, StatusFilter},
};

use crate::{
    fixture::{
        Key, NOW, commit_by, cut, home, kept, key_by, part_of, removal, replacement, told, user,
    },
    reading::{self, Gate, list, read, trail},
};

/// What a side does in a round.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// Creates a key of the round's owner.
    Create,
    /// Removes the round's owner from the team.
    Remove,
    /// Revokes all keys of the round's owner.
    RevokeAll,
    /// Rotates the round's key, as it was created.
    Rotate,
    /// Creates a key by the authority of the round's key.
    Act,
    /// Revokes the round's key.
    Revoke,
}

/// The revision of a side's change, or why it was refused.
pub type Answer = Result<Revision, String>;

impl Side {
    const ALL: [Self; 6] = [
        Self::Create,
        Self::Remove,
        Self::RevokeAll,
        Self::Rotate,
        Self::Act,
        Self::Revoke,
    ];

    /// The name of the side, for the arguments of a process.
    pub fn name(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Remove => "remove",
            Self::RevokeAll => "revoke-all",
            Self::Rotate => "rotate",
            Self::Act => "act",
            Self::Revoke => "revoke",
        }
    }

    /// The side of this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|side| side.name() == name)
    }
}

/// An answer as a line of text.
pub fn said(answer: &Answer) -> String {
    match answer {
        Ok(revision) => revision.get().to_string(),
        Err(conflict) => conflict.clone(),
    }
}

/// The answer that a line of text says.
pub fn heard(line: &str) -> Answer {
    match line.parse() {
        Ok(revision) => Ok(Revision::new(revision)),
        Err(_) => Err(line.to_owned()),
    }
}

/// Acts on a store as one side, `number` 0 or 1, does in a round.
pub async fn act(store: &dyn KeyStore, side: Side, number: u64, round: u64) -> Answer {
    let own = key_of(round);
    let mut authority = Authority::System;
    let change = match side {
        Side::Create => own.creation(),
        Side::Remove => removal(part_of(own.record.owner)),
        Side::RevokeAll => cut(part_of(own.record.owner)),
        Side::Rotate => {
            let record = read(store, &own.record).await;
            let expected = record.created_revision;
            let rotated = rotated(&Key { record, ..own }, number, round);
            Change::ReplaceKey {
                record: rotated.record,
                expected,
                unique_name: false,
            }
        }
        Side::Act => {
            authority = Authority::credential(CredentialId::Key(own.record.id), Scopes::none());
            work(round).creation()
        }
        Side::Revoke => {
            let record = read(store, &own.record).await;
            replacement(&Key { record, ..own }.revoked(NOW))
        }
    };
    let event = told(&change, NOW);
    let answer = commit_by(store, &authority, change, event).await;
    answer.map_err(|conflict| conflict.to_string())
}

/// The commit of [`Side::Create`] in a round, for a test that commits otherwise than by a store.
pub fn creation(round: u64) -> Commit {
    let change = key_of(round).creation();
    Commit {
        event: told(&change, NOW),
        authority: Authority::System,
        change,
    }
}

/// A round of two handles in one process. In odd rounds the second one begins.
pub async fn side_by_side(stores: [&dyn KeyStore; 2], sides: [Side; 2], round: u64) -> [Answer; 2] {
    let act = async |at: usize, number| act(stores[at], sides[at], number, round).await;
    let first = round % 2;
    let attempts = if first == 0 {
        vec![act(0, 0), act(1, 1)]
    } else {
        vec![act(1, 1), act(0, 0)]
    };
    let mut answers = reading::side_by_side(attempts).await.into_iter();
    let mut next = || answers.next().unwrap_or(Err(String::new()));
    let (one, two) = (next(), next());
    if first == 0 { [one, two] } else { [two, one] }
}

/// How often each side was first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Outcome(pub [u64; 2]);

impl Outcome {
    /// Panics if one side was always first: then they never met.
    fn both_met(self) -> Self {
        assert!(!self.0.contains(&0), "they never met: {self:?}");
        self
    }
}

/// [`Side::Create`] against [`Side::Remove`]: no key outlives its owner. A key is created before
/// the removal and revoked, or its creation is refused.
pub async fn removals(
    store: &dyn KeyStore,
    rounds: u64,
    mut round: impl AsyncFnMut(u64) -> [Answer; 2],
) -> Outcome {
    let mut outcome = Outcome::default();
    for n in 0..rounds {
        let refusal = Conflict::Removed(part_of(person(n))).to_string();
        match round(n).await {
            [Ok(created), Ok(removed)] if created < removed => outcome.0[0] += 1,
            [Err(conflict), Ok(_)] if conflict == refusal => outcome.0[1] += 1,
            said => panic!("round {n}: {said:?}"),
        }
    }
    let survivors = survivors(store).await;
    assert!(survivors.is_empty(), "keys of {survivors:?} work");
    let gate = Gate::over(store).await;
    for n in 0..rounds {
        assert!(!works(&gate, &key_of(n)), "the key of round {n} works");
    }
    is_one_chain(store).await;
    outcome.both_met()
}

/// [`Side::Create`] against [`Side::RevokeAll`]: exactly the keys that were created before the
/// cutoff are revoked.
pub async fn revocations(
    store: &dyn KeyStore,
    rounds: u64,
    mut round: impl AsyncFnMut(u64) -> [Answer; 2],
) -> Outcome {
    let mut outcome = Outcome::default();
    let (mut expected, mut works_after) = (Vec::new(), Vec::new());
    for n in 0..rounds {
        let [Ok(created), Ok(cutoff)] = round(n).await else {
            panic!("round {n}: a key may be created, and keys may be revoked");
        };
        works_after.push(created > cutoff);
        if created > cutoff {
            outcome.0[1] += 1;
            expected.push(person(n));
        } else {
            outcome.0[0] += 1;
        }
    }
    let mut found = survivors(store).await;
    found.sort();
    expected.sort();
    assert_eq!(found, expected, "owners whose keys work");
    let gate = Gate::over(store).await;
    for (n, expected) in (0..).zip(works_after) {
        assert_eq!(works(&gate, &key_of(n)), expected, "the key of round {n}");
    }
    is_one_chain(store).await;
    outcome.both_met()
}

/// [`Side::Rotate`] against itself: of two rotations of one key one is stored, and only its secret
/// works.
pub async fn rotations(
    store: &dyn KeyStore,
    rounds: u64,
    mut round: impl AsyncFnMut(u64) -> [Answer; 2],
) -> Outcome {
    let mut outcome = Outcome::default();
    create_keys(store, rounds).await;
    let stale = || Err(Conflict::Stale.to_string());
    let mut winners = Vec::new();
    for n in 0..rounds {
        let winner = match round(n).await {
            [Ok(_), other] if other == stale() => 0,
            [other, Ok(_)] if other == stale() => 1,
            said => panic!("round {n}: {said:?}"),
        };
        outcome.0[winner] += 1;
        winners.push(winner as u64);
    }
    let gate = Gate::over(store).await;
    for (n, winner) in (0..).zip(winners) {
        let own = key_of(n);
        assert!(!works(&gate, &own), "the first secret of round {n} works");
        for number in [0, 1] {
            let works = works(&gate, &rotated(&own, number, n));
            assert_eq!(works, number == winner, "secret {number} of round {n}");
        }
    }
    is_one_chain(store).await;
    outcome.both_met()
}

/// [`Side::Act`] against [`Side::Revoke`]: no change is stored after the revocation of the key by
/// which it was made.
pub async fn actors(
    store: &dyn KeyStore,
    rounds: u64,
    mut round: impl AsyncFnMut(u64) -> [Answer; 2],
) -> Outcome {
    let mut outcome = Outcome::default();
    create_keys(store, rounds).await;
    let refusal = Conflict::Actor(ActorFault::Revoked).to_string();
    for n in 0..rounds {
        let stored = match round(n).await {
            [Ok(acted), Ok(revoked)] if acted < revoked => true,
            [Err(conflict), Ok(_)] if conflict == refusal => false,
            said => panic!("round {n}: {said:?}"),
        };
        outcome.0[usize::from(!stored)] += 1;
        let found = reading::find(store, &work(n).record).await;
        assert_eq!(found.is_some(), stored, "what was made in round {n}");
    }
    is_one_chain(store).await;
    outcome.both_met()
}

async fn create_keys(store: &dyn KeyStore, rounds: u64) {
    for n in 0..rounds {
        kept(store, key_of(n).creation()).await;
    }
}

fn person(round: u64) -> Owner {
    user(&format!("user {round}"))
}

/// The key of a round. It is the same in every process, with its secret.
fn key_of(round: u64) -> Key {
    key_by("laptop", &Seeded(round * 8)).of(person(round))
}

/// What is made by the authority of the round's key.
fn work(round: u64) -> Key {
    key_by("work", &Seeded(round * 8 + 1)).of(user("worker"))
}

fn rotated(own: &Key, number: u64, round: u64) -> Key {
    own.rotated_by(0, NOW, &Seeded(round * 8 + 2 + number))
}

/// The same bytes for the same seed (`SplitMix64`). Only for tests: who knows the seed has the
/// secret.
struct Seeded(u64);

impl Random for Seeded {
    fn fill(&self, bytes: &mut [u8]) -> Result<(), RandomError> {
        let mut state = self.0.wrapping_mul(0xff51_afd7_ed55_8ccd) ^ bytes.len() as u64;
        for part in bytes.chunks_mut(8) {
            state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut x = state;
            x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            part.copy_from_slice(&(x ^ (x >> 31)).to_be_bytes()[..part.len()]);
        }
        Ok(())
    }
}

fn works(gate: &Gate, key: &Key) -> bool {
    gate.decide(key.text(), &home(), NOW).is_ok()
}

/// The owners who have a key that works, by the list.
async fn survivors(store: &dyn KeyStore) -> Vec<Owner> {
    let query = KeyQuery {
        status: Some(StatusFilter::Active),
        limit: KeyQuery::LIMIT_MAX,
        ..KeyQuery::namespace(&home())
    };
    let records = list(store, &query).await;
    records.into_iter().map(|record| record.owner).collect()
}

/// Checks that every revision has one event, and that the events are chained.
async fn is_one_chain(store: &dyn KeyStore) {
    let query = AuditQuery::every_team().limit(1000);
    let (mut revision, mut hash) = (Revision::ZERO, ChainHash::START);
    for event in trail(store, &query).await {
        revision = revision.next();
        let expected = AuditEvent::chained(event.entry.clone(), revision, hash);
        assert_eq!(event, expected, "the event at {revision}");
        hash = event.hash;
    }
    let last = reading::head(store).await;
    assert_eq!(revision, last, "the last event of the audit trail");
}
