//! What is true, and the invariants that are compared with it.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use bytes::Bytes;
use clap::ValueEnum;
use keyfob::key::CredentialId;
use keyfob_feed::{Mark, Position, SKEW_MS, SignedLine};
use serde::Deserialize;

use crate::{
    clock::{Machine, Ms},
    model::{ACCEPTED, Credential, History, Scope, State},
    world::Summary,
};

/// The bound on staleness of all replicas, in milliseconds.
pub(crate) const STALE_AFTER_MS: u64 = 3_000;
/// By the clock that nobody can set, ages are counted from a time in whole seconds.
const ROUNDING_MS: i64 = 1_000;

/// What must always hold. The README describes each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, ValueEnum)]
#[non_exhaustive]
pub enum Invariant {
    /// No key is accepted after its end and the bound.
    EndIsBounded,
    /// Revoked is permanent.
    RevokedIsPermanent,
    /// Nothing older than the bound decides.
    NothingStaleDecides,
    /// Only what the authority signed is applied, in its place, and decides as the authority would.
    OnlyTheSignedState,
    /// Usage is counted exactly once.
    UsageCountsOnce,
    /// Every replica becomes ready after the faults.
    ReadyAfterFaults,
    /// A replica never receives an entry of a namespace that is not its own.
    NoForeignEntry,
}

/// An invariant does not hold.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Violation {
    /// The invariant.
    pub invariant: Invariant,
    /// What happened.
    pub text: String,
}

/// The true history.
#[derive(Debug, Default)]
pub(crate) struct Oracle {
    pub(crate) credentials: Vec<Credential>,
    /// Every history that the store ever had; the last one is the present one.
    pub(crate) histories: Vec<History>,
    /// What the store held from when on.
    timeline: Vec<(Ms, Arc<State>)>,
    /// The history and revision of a mark.
    marks: HashMap<Mark, (usize, u64)>,
    /// When a process of the authority first read its clock at a value.
    origins: BTreeMap<u64, Ms>,
    /// What the authority signed, and for whom.
    signed: HashMap<Bytes, Scope>,
    /// The signers that are no longer trusted, from which version on.
    retired: HashMap<String, u64>,
    /// Which uses were made, lost and counted.
    uses: BTreeMap<CredentialId, Uses>,
    only: Option<Invariant>,
    violation: Option<Violation>,
    summary: Summary,
}

#[derive(Clone, Copy, Debug, Default)]
struct Uses {
    made: u64,
    /// Some of these may have been counted.
    lost: u64,
    /// The credential was not in the store at some time.
    excused: bool,
}

/// What the oracle knows of a replica.
#[derive(Debug, Default)]
pub(crate) struct Shadow {
    /// What the replica must hold.
    pub(crate) state: State,
    pub(crate) position: Option<Position>,
    /// Up to where it has frames; later than `position` if some are held back.
    pub(crate) received: Option<Position>,
    /// The time of the authority as of which its state is complete.
    pub(crate) as_of: u64,
    /// The latest time of the authority that it accepted.
    latest: u64,
    /// When it last confirmed its index as of a later time.
    pub(crate) seen: Option<Seen>,
    /// What it refused as revoked, with the history and revision at which it did.
    revoked: BTreeMap<usize, (usize, u64)>,
    /// The latest time by which it decided.
    clock: i64,
    /// The version of the signers that it knows.
    pub(crate) signers: u64,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Seen {
    /// The second as of which the index was confirmed.
    pub(crate) stamp: u64,
    /// The latest `as_of`, but no time to come.
    pub(crate) confirmed: u64,
    pub(crate) at: Ms,
    pub(crate) wall: u64,
    pub(crate) error: i64,
}

/// The part of a frame or manifest that the oracle reads.
#[derive(Debug, Deserialize)]
struct Raw {
    as_of: u64,
    #[serde(default)]
    from: Option<Position>,
    #[serde(default)]
    entries: serde_json::Value,
}

impl Oracle {
    pub(crate) fn checking(only: Option<Invariant>) -> Self {
        Self {
            only,
            ..Self::default()
        }
    }

    pub(crate) fn violate(&mut self, invariant: Invariant, text: impl FnOnce() -> String) {
        let is_wanted = self.only.is_none_or(|only| only == invariant);
        if is_wanted && self.violation.is_none() {
            self.violation = Some(Violation {
                invariant,
                text: text(),
            });
        }
    }

    pub(crate) fn summary(&self) -> Summary {
        self.summary
    }

    pub(crate) fn violation(&self) -> Option<&Violation> {
        self.violation.as_ref()
    }

    // The authority.

    pub(crate) fn history(&self) -> &History {
        self.histories.last().expect("there is a store")
    }

    pub(crate) fn state(&self) -> &Arc<State> {
        self.history().states.last().expect("there is a state")
    }

    /// The store has this state now, with a new revision.
    pub(crate) fn committed(&mut self, now: Ms, state: State, mark: Mark) {
        let state = Arc::new(state);
        self.summary.revisions += 1;
        self.timeline.push((now, Arc::clone(&state)));
        let history = self.histories.len() - 1;
        let states = &mut self.histories[history].states;
        states.push(state);
        let revision = last_revision(states);
        self.marks.entry(mark).or_insert((history, revision));
    }

    /// The store is replaced by one that has the present history up to a revision.
    pub(crate) fn forked(&mut self, now: Ms, revision: u64) {
        let parent = self.histories.len() - 1;
        let kept = usize::try_from(revision).expect("it is small") + 1;
        let states = self.history().states[..kept].to_vec();
        self.timeline.push((now, Arc::clone(&states[kept - 1])));
        self.histories.push(History {
            states,
            parent: Some((parent, revision)),
        });
    }

    /// The first store, without events.
    pub(crate) fn began(&mut self, now: Ms, mark: Mark) {
        self.histories.push(History {
            states: Vec::new(),
            parent: None,
        });
        self.committed(now, State::default(), mark);
    }

    /// A process of the authority read its clock before it read the store.
    pub(crate) fn asked(&mut self, now: Ms, wall: u64) {
        self.origins.entry(wall).or_insert(now);
    }

    /// The authority signed a line for readers with this filter.
    pub(crate) fn signed(&mut self, line: &SignedLine, scope: &Scope) {
        let bytes = Bytes::copy_from_slice(line.as_bytes());
        if self.signed.contains_key(&bytes) {
            return;
        }
        if let Some(raw) = raw(line.as_bytes(), "frame")
            && let Some(entries) = raw.entries.as_array()
        {
            self.check_scope(entries, scope);
        }
        self.signed.insert(bytes, scope.clone());
    }

    pub(crate) fn check_scope(&mut self, entries: &[serde_json::Value], scope: &Scope) {
        if let Some(foreign) = entries.iter().find(|entry| !scope.allows(entry)) {
            self.violate(Invariant::NoForeignEntry, || {
                format!("the reader of {scope:?} was sent {foreign}")
            });
        }
    }

    pub(crate) fn retired(&mut self, signer: String, version: u64) {
        self.retired.insert(signer, version);
    }

    /// The version of the signers in which the signer of a line was retired.
    fn retired_signer(&self, line: &[u8]) -> Option<u64> {
        let signer = std::str::from_utf8(line.get(11..27)?).ok()?;
        self.retired.get(signer).copied()
    }

    /// Whether the signer of a line was retired.
    pub(crate) fn is_of_retired(&self, line: &[u8]) -> bool {
        self.retired_signer(line).is_some()
    }

    // Replicas.

    /// A replica accepted a line of this kind: a frame or a manifest. Returns false if it must not.
    pub(crate) fn accepts(
        &mut self,
        shadow: &Shadow,
        scope: &Scope,
        line: &[u8],
        kind: &str,
        own_now: u64,
    ) -> bool {
        if let Some(raw) = raw(line, kind)
            && let Some(entries) = raw.entries.as_array()
        {
            self.check_scope(entries, scope);
        }
        let fault = self.fault_of(shadow, scope, line, kind, own_now);
        if let Some((invariant, text)) = fault {
            self.violate(invariant, || text);
        }
        self.violation.is_none()
    }

    fn fault_of(
        &self,
        shadow: &Shadow,
        scope: &Scope,
        line: &[u8],
        kind: &str,
        own_now: u64,
    ) -> Option<(Invariant, String)> {
        let signed_state = |text: &str| Some((Invariant::OnlyTheSignedState, text.to_owned()));
        let Some(of) = self.signed.get(line) else {
            return signed_state("a line that the authority did not sign was applied");
        };
        if of != scope {
            return signed_state("a line for another filter was applied");
        }
        let is_known = |version: u64| version <= shadow.signers;
        if self.retired_signer(line).is_some_and(is_known) {
            return signed_state("a line of a retired signer was applied");
        }
        let Some(raw) = raw(line, kind) else {
            return signed_state("a line that cannot be read was applied");
        };
        if raw.from.is_some() && raw.from != shadow.received {
            return signed_state("a frame that starts elsewhere was applied");
        }
        if raw.as_of > own_now + SKEW_MS {
            let text = format!(
                "a line of a time to come was applied: {} > {own_now}",
                raw.as_of
            );
            return Some((Invariant::NothingStaleDecides, text));
        }
        if raw.as_of + SKEW_MS < shadow.latest {
            let text = format!(
                "an older line was applied: {} < {}",
                raw.as_of, shadow.latest
            );
            return Some((Invariant::NothingStaleDecides, text));
        }
        None
    }

    /// A replica with this shadow is at another position. `from` is none for a snapshot.
    pub(crate) fn moved(&mut self, shadow: &mut Shadow, scope: &Scope, to: Position) {
        let Some(&(history, horizon)) = self.marks.get(&to.mark) else {
            return self.violate(Invariant::OnlyTheSignedState, || {
                format!("{to} is no position of any history")
            });
        };
        self.summary.applied += 1;
        let from = shadow.position.map_or(0, |at| at.revision.get());
        if shadow.position.is_none() {
            shadow.state = State::default();
        }
        let at_horizon = usize::try_from(horizon).expect("it is small");
        let state = Arc::clone(&self.histories[history].states[at_horizon]);
        shadow.state.take(&state, from, to.revision.get(), scope);
        shadow.position = Some(to);
        shadow.received = Some(to);
    }

    /// Whether a replica at this position has everything.
    pub(crate) fn is_latest(&self, position: Position) -> bool {
        let place = self.marks.get(&position.mark);
        let state = place.and_then(|(history, revision)| {
            let revision = usize::try_from(*revision).ok()?;
            self.histories[*history].states.get(revision)
        });
        position.revision == position.horizon
            && state.is_some_and(|state| state.items == self.state().items)
    }

    /// Checks what a replica decides of a credential.
    pub(crate) fn check(&mut self, shadow: &mut Shadow, number: usize, got: &str, at: &Moment<'_>) {
        if matches!(got, "not_ready" | "stale") {
            return;
        }
        self.summary.verdicts += 1;
        self.summary.accepted += u64::from(got == ACCEPTED);
        let &Moment { now, machine, name } = at;
        shadow.clock = shadow.clock.max(machine.seconds(now));
        self.check_age(shadow, got, at);
        let credential = &self.credentials[number];
        let expected = shadow.state.verdict(number, credential, shadow.clock);
        let same = got == expected || (expected == "unknown_key" && got == "unknown_legacy");
        if !same {
            let text = format!(
                "{name} says {got} of {:?} ({number}), expected {expected} at {:?}",
                credential.of, shadow.position
            );
            return self.violate(Invariant::OnlyTheSignedState, || text);
        }
        self.check_end(shadow, number, got, at);
        self.check_permanence(shadow, number, got, name);
    }

    fn check_age(&mut self, shadow: &Shadow, got: &str, at: &Moment<'_>) {
        let &Moment { now, machine, name } = at;
        let age = machine.wall(now).saturating_sub(shadow.as_of);
        if age >= STALE_AFTER_MS {
            self.violate(Invariant::NothingStaleDecides, || {
                format!("{name} says {got} by a state that is {age} ms old by its wall clock")
            });
        }
        let Some(seen) = shadow.seen else { return };
        let age = now.saturating_sub(seen.at) + seen.wall.saturating_sub(seen.confirmed);
        if age >= STALE_AFTER_MS + ROUNDING_MS.unsigned_abs() {
            self.violate(Invariant::NothingStaleDecides, || {
                format!("{name} says {got} by a state that is {age} ms old by the time passed")
            });
        }
    }

    fn check_end(&mut self, shadow: &Shadow, number: usize, got: &str, at: &Moment<'_>) {
        if got != ACCEPTED {
            return;
        }
        let &Moment { now, machine, name } = at;
        let Some(origin) = self.origins.get(&shadow.as_of) else {
            return self.violate(Invariant::OnlyTheSignedState, || {
                format!("{name} was confirmed as of a time that the authority never stated")
            });
        };
        let bound = bound(shadow, *origin, machine);
        let credential = &self.credentials[number];
        let since = now.saturating_sub(bound);
        // A state was true until the next one.
        let mut until = Ms::MAX;
        for (from, state) in self.timeline.iter().rev() {
            if until < since {
                break;
            }
            if state.verdict(number, credential, shadow.clock) == ACCEPTED {
                return;
            }
            until = *from;
        }
        let text = format!(
            "{name} accepts {:?} ({number}), which was not valid in the last {bound} ms",
            credential.of
        );
        self.violate(Invariant::EndIsBounded, || text);
    }

    fn check_permanence(&mut self, shadow: &mut Shadow, number: usize, got: &str, name: &str) {
        if got != ACCEPTED && got != "revoked" {
            return;
        }
        let Some(position) = shadow.position else {
            return;
        };
        let Some(&place) = self.marks.get(&position.mark) else {
            return;
        };
        if got == "revoked" {
            shadow.revoked.entry(number).or_insert(place);
            return;
        }
        let Some(&refused) = shadow.revoked.get(&number) else {
            return;
        };
        // Two histories have the part before their fork in common.
        let mut histories = 0..self.histories.len();
        if histories.any(|of| self.is_within(place, of) && !self.is_within(refused, of)) {
            // The store lost the revocation. Frames of the lost history from before it may still arrive.
            shadow.revoked.remove(&number);
            return;
        }
        let text = format!("{name} accepts credential {number} again, which was revoked");
        self.violate(Invariant::RevokedIsPermanent, || text);
    }

    /// Whether a place is of a history, or of the part that it has of an earlier one.
    fn is_within(&self, (of, revision): (usize, u64), mut history: usize) -> bool {
        let mut common = u64::MAX;
        while history != of {
            match self.histories[history].parent {
                Some((parent, fork)) => {
                    history = parent;
                    common = common.min(fork);
                }
                None => return false,
            }
        }
        revision <= common
    }

    // Usage.

    pub(crate) fn used(&mut self, credential: CredentialId) {
        self.uses.entry(credential).or_default().made += 1;
    }

    /// These uses were not counted, or nobody knows.
    pub(crate) fn lost(&mut self, credential: CredentialId, uses: u64) {
        self.uses.entry(credential).or_default().lost += uses;
    }

    /// The store does not count the uses of a credential that it does not have.
    pub(crate) fn excused(&mut self, credential: CredentialId) {
        self.uses.entry(credential).or_default().excused = true;
    }

    pub(crate) fn used_credentials(&self) -> Vec<CredentialId> {
        self.uses.keys().copied().collect()
    }

    /// Compares what the store counted. At the end, everything must be counted that was not lost.
    pub(crate) fn check_usage(&mut self, credential: CredentialId, counted: u64, at_end: bool) {
        let uses = self.uses.get(&credential).copied().unwrap_or_default();
        let missing = uses.made.saturating_sub(uses.lost) > counted;
        if counted > uses.made || (at_end && missing && !uses.excused) {
            self.violate(Invariant::UsageCountsOnce, || {
                format!("{counted} uses of {credential:?} were counted: {uses:?}")
            });
        }
    }

    /// Compares what the store counted by day with what it counted as a whole.
    pub(crate) fn check_usage_days(&mut self, credential: CredentialId, whole: u64, by_day: u64) {
        if whole != by_day {
            self.violate(Invariant::UsageCountsOnce, || {
                format!("{whole} uses of {credential:?} were counted, and {by_day} by day")
            });
        }
    }
}

/// When, where and by which clocks a replica decided.
#[derive(Clone, Copy)]
pub(crate) struct Moment<'a> {
    pub(crate) now: Ms,
    pub(crate) machine: &'a Machine,
    pub(crate) name: &'a str,
}

impl Shadow {
    /// A frame of this time was applied, after which nothing follows. A bookmark proves that the
    /// position is complete; what was so as of a later time stays so.
    pub(crate) fn took_frame(&mut self, as_of: u64, is_bookmark: bool) {
        self.as_of = if is_bookmark {
            self.as_of.max(as_of)
        } else {
            as_of
        };
        self.latest = self.latest.max(as_of);
    }

    /// A snapshot of this time was loaded.
    pub(crate) fn took_snapshot(&mut self, as_of: u64) {
        self.as_of = as_of;
        self.latest = self.latest.max(as_of);
        self.position = None;
        self.received = None;
    }

    /// What a new process of the replica begins with: it keeps refusing what it refused.
    pub(crate) fn restarted(&mut self, signers: u64) -> Self {
        Self {
            revoked: std::mem::take(&mut self.revoked),
            signers,
            ..Self::default()
        }
    }

    /// The store no longer has what was later than this revision.
    pub(crate) fn forget_refusals_after(&mut self, fork: u64) {
        self.revoked.retain(|_, (_, revision)| *revision <= fork);
    }

    /// The replica lost what it refused.
    pub(crate) fn forget_refusals(&mut self) {
        self.revoked.clear();
    }

    /// The process has forgotten everything.
    pub(crate) fn emptied(&mut self) {
        *self = Self {
            revoked: std::mem::take(&mut self.revoked),
            signers: self.signers,
            clock: self.clock,
            ..Self::default()
        };
    }

    /// The index could be confirmed. A confirmation of the same second keeps its age.
    pub(crate) fn confirmed(&mut self, at: Ms, machine: &Machine, own_now: u64) {
        let confirmed = self.as_of.min(own_now);
        if self.seen.is_none_or(|seen| seen.stamp != confirmed / 1000) {
            self.seen = Some(Seen {
                stamp: confirmed / 1000,
                confirmed,
                at,
                wall: machine.wall(at),
                error: machine.error,
            });
        }
    }
}

/// How long ago a credential may have ended that a replica accepts, in milliseconds.
fn bound(shadow: &Shadow, origin: Ms, machine: &Machine) -> u64 {
    let signed = |ms: u64| i64::try_from(ms).unwrap_or(i64::MAX);
    // How far the authority's clock was ahead of true time.
    let ahead = signed(shadow.as_of) - signed(origin);
    let by_wall = signed(STALE_AFTER_MS) + ahead - machine.error;
    let by_uptime = shadow.seen.map_or(i64::MAX, |seen| {
        signed(STALE_AFTER_MS) + ROUNDING_MS + ahead - seen.error
    });
    u64::try_from(by_wall.min(by_uptime)).unwrap_or(0)
}

fn last_revision(states: &[Arc<State>]) -> u64 {
    u64::try_from(states.len()).expect("it is small") - 1
}

/// The document in a signed line.
fn raw(line: &[u8], kind: &str) -> Option<Raw> {
    let line: HashMap<&str, &serde_json::value::RawValue> = serde_json::from_slice(line).ok()?;
    serde_json::from_str(line.get(kind)?.get()).ok()
}

pub(crate) fn as_of(line: &[u8], kind: &str) -> Option<u64> {
    raw(line, kind).map(|raw| raw.as_of)
}
