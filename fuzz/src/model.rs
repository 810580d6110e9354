//! A naive model of the library's promises: lists, loops and plain numbers. [`run`] performs the
//! same operations on the model and on the library, and compares the results.
//!
//! Small numbers stand for objects: a `u8` selects one of the few places, owners, names and keys,
//! modulo their number. Durations are in seconds.

#[path = "world.rs"]
mod world;

use std::cell::Cell;

use keyfob::{KeyId, Timestamp, store::Revision};

pub use world::run;

/// One operation of a sequence.
#[derive(Clone, Debug)]
pub enum Operation {
    /// Advances the clock.
    Pass { seconds: u32 },
    /// Sets the clock back. What has expired stays expired.
    JumpBack { seconds: u32 },
    /// Creates a key; `starts` is relative to now.
    Create {
        place: u8,
        owner: u8,
        name: u8,
        scoped: bool,
        starts: Option<i64>,
        end: End,
    },
    /// Changes a key through the tenant `place`; `ends` is relative to now.
    Update {
        key: u8,
        place: Place,
        expected_revision: ExpectedRevision,
        name: Option<u8>,
        scoped: Option<bool>,
        ends: Option<i64>,
    },
    /// Rotates a key.
    Rotate {
        key: u8,
        place: Place,
        expected_revision: ExpectedRevision,
        grace: u64,
        renew: Option<End>,
    },
    /// Disables a key.
    Disable { key: u8, place: Place },
    /// Enables a key.
    Enable { key: u8, place: Place },
    /// Revokes a key.
    Revoke { key: u8, place: Place },
    /// Deletes a key.
    Delete { key: u8, place: Place },
    /// Revokes all keys of a target; with `block`, no new ones can be created, and `in_advance`
    /// also of an unknown target.
    RevokeAll {
        target: ModelTarget,
        block: bool,
        in_advance: bool,
    },
    /// Allows new keys for a blocked target.
    Restore { target: ModelTarget },
    /// Sets the policy of a place's namespace, or the default policy.
    SetPolicy {
        place: Option<u8>,
        rules: Option<Rules>,
    },
    /// Imports a legacy credential.
    Import {
        legacy: u8,
        place: u8,
        blocked: bool,
    },
    /// Revokes a legacy credential.
    RevokeLegacy { legacy: u8, place: u8 },
    /// Sets the legacy policy of a place's namespace, or the default one.
    SetLegacyPolicy {
        place: Option<u8>,
        sunset: Option<Sunset>,
    },
    /// Verifies a key; without a namespace, for its own namespace.
    Verify {
        key: u8,
        secret: WhichSecret,
        namespace: Option<u8>,
        writes: bool,
    },
    /// Verifies a legacy credential.
    VerifyLegacy {
        legacy: u8,
        right: bool,
        namespace: Option<u8>,
    },
    /// Applies an old page of the feed to the index again.
    LateFeed,
    /// Lets a second index read a page of this length.
    Replicate { entries: u8 },
    /// Restarts the process: its index is rebuilt.
    Restart,
    /// Verifies every credential and lists all keys.
    Check,
}

/// The tenant through which a key is managed.
#[derive(Clone, Copy, Debug)]
pub enum Place {
    /// The key's own tenant.
    Own,
    /// Any tenant.
    Some(u8),
}

/// The revision that a change expects.
#[derive(Clone, Copy, Debug)]
pub enum ExpectedRevision {
    /// No expected revision.
    Any,
    /// The current revision.
    Current,
    /// An outdated revision.
    Outdated,
}

/// The expiry of a new secret.
#[derive(Clone, Copy, Debug)]
pub enum End {
    /// Never.
    Never,
    /// After this many seconds, at least an hour.
    In(u64),
    /// This many seconds from now.
    At(i64),
}

/// The target of a revocation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ModelTarget {
    /// The team of a place.
    Team(u8),
    /// The namespace of a place.
    Namespace(u8),
    /// An owner in the team of a place.
    Owner(u8, u8),
}

/// A policy.
#[derive(Clone, Copy, Debug)]
pub struct Rules {
    /// The minimum TTL, at least an hour.
    pub min: u64,
    /// The maximum TTL, at least an hour.
    pub max: Option<u64>,
    /// Whether keys must have an expiry.
    pub end_required: bool,
    /// How many keys an owner may have in a namespace, without expired and revoked ones.
    pub keys_per_owner: Option<u32>,
    /// Whether the names of an owner are unique in a namespace.
    pub unique_names: bool,
    /// The maximum grace period.
    pub grace: u64,
}

/// A legacy policy, relative to now: legacy credentials are accepted for `lasts` seconds, except in
/// the `length` seconds from `starts` on.
#[derive(Clone, Copy, Debug)]
pub struct Sunset {
    /// How long legacy credentials are accepted.
    pub lasts: u32,
    /// When the brownout starts.
    pub starts: u32,
    /// How long the brownout takes; zero for no brownout.
    pub length: u32,
}

/// The secret of a key that is presented.
#[derive(Clone, Copy, Debug)]
pub enum WhichSecret {
    /// The current one.
    Current,
    /// The one before the last rotation.
    Replaced,
    /// The first.
    First,
    /// The secret of another key.
    Foreign(u8),
    /// The current one, with a character changed.
    Garbled(u8),
}

/// Team and namespace. The last has the same namespace name as the first, but another team: the
/// namespace belongs to the team that uses it first.
const PLACES: [(&str, &str); 4] = [
    ("acme", "one"),
    ("acme", "two"),
    ("beta", "three"),
    ("beta", "one"),
];
const NAMESPACES: [&str; 4] = ["one", "two", "three", "four"];
/// A user and a service have the same name.
const OWNERS: usize = 3;
const NAMES: u8 = 5;
const LEGACY: u8 = 3;
const KEYS_MAX: usize = 48;
const START: i64 = 1_800_000_000;
const TIME_MAX: i64 = 253_402_300_799;
const HOUR: u64 = 3600;

struct Key {
    id: KeyId,
    place: usize,
    owner: usize,
    name: u8,
    /// Whether the key may only read.
    scoped: bool,
    starts: Option<i64>,
    ends: Option<i64>,
    state: State,
    secrets: Vec<Secret>,
    revision: Revision,
    uses: Uses,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Active,
    Disabled,
    Revoked,
    Deleted,
}

struct Secret {
    text: String,
    made_at: i64,
    /// When the secret expires because it was replaced; `None` for the current secret.
    until: Option<i64>,
}

struct Legacy {
    number: u8,
    place: usize,
    blocked: bool,
    revoked: bool,
    uses: Uses,
}

/// A legacy policy: the sunset, and the brownout before it.
#[derive(Clone, Copy)]
struct LegacyTimes {
    sunset: i64,
    brownout_from: i64,
    brownout_until: i64,
}

#[derive(Default)]
struct Uses {
    accepted: u64,
    last: Option<i64>,
}

struct Model {
    /// The time of the clock.
    now: i64,
    /// The latest time of a verification in this process.
    seen: Cell<i64>,
    keys: Vec<Key>,
    legacy: Vec<Legacy>,
    blocked: Vec<ModelTarget>,
    /// The targets of which all was ever revoked.
    cut: Vec<ModelTarget>,
    /// Namespace and the team that owns it.
    bound: Vec<(&'static str, &'static str)>,
    policies: Vec<(Option<&'static str>, Rules)>,
    sunsets: Vec<(Option<&'static str>, LegacyTimes)>,
    /// The number of committed changes.
    changes: usize,
}

/// The result of a verification.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Accepted {
        ends: Option<i64>,
        replaced: bool,
    },
    /// 401
    Unauthenticated,
    /// 403
    Forbidden,
}

/// Why a change was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Refusal {
    NotFound,
    Other,
}

/// Whether a change was committed or had no effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Done {
    Committed,
    Unchanged,
}

impl Model {
    /// The time of the clock as a timestamp.
    fn time(&self) -> Timestamp {
        Timestamp::from_unix(self.now)
    }

    /// The time by which the library decides: the latest that it was given.
    fn at(&self) -> i64 {
        self.seen.get().max(self.now)
    }

    fn rules(&self, namespace: &str) -> Rules {
        let of = |wanted: Option<&str>| self.policies.iter().find(|(place, _)| *place == wanted);
        let (_, rules) = of(Some(namespace))
            .or(of(None))
            .unwrap_or(&(None, DEFAULT_RULES));
        *rules
    }

    /// The expiry of a new key, if the rules allow it.
    fn end(&self, end: End, rules: &Rules) -> Result<Option<i64>, Refusal> {
        let ends = match end {
            End::Never if rules.end_required => return Err(Refusal::Other),
            End::Never => return Ok(None),
            End::In(seconds) => later(self.at(), life(seconds)),
            End::At(seconds) => self.at() + seconds,
        };
        let life = u64::try_from(ends - self.at()).unwrap_or(0);
        let too_long = rules.max.is_some_and(|max| life > max);
        let too_short = rules.min > HOUR && life < rules.min;
        if life == 0 || too_short || too_long {
            Err(Refusal::Other)
        } else {
            Ok(Some(ends))
        }
    }

    /// The effective expiry of the current secret: its own, or the maximum TTL after its creation.
    fn end_of(&self, key: &Key) -> Option<i64> {
        let (_, namespace) = PLACES[key.place];
        let made_at = key.secrets.last().expect("every key has a secret").made_at;
        let longest = self.rules(namespace).max.map(|max| later(made_at, max));
        [key.ends, longest].into_iter().flatten().min()
    }

    /// Returns the key, if it belongs to `place`.
    fn find(&self, key: usize, place: usize) -> Result<&Key, Refusal> {
        let key = &self.keys[key];
        if key.state == State::Deleted || key.place != place {
            Err(Refusal::NotFound)
        } else {
            Ok(key)
        }
    }

    /// Returns the key, if it can be changed with this expected revision.
    fn find_alive(
        &self,
        key: usize,
        place: usize,
        expected_revision: ExpectedRevision,
    ) -> Result<&Key, Refusal> {
        let key = self.find(key, place)?;
        let stale = matches!(expected_revision, ExpectedRevision::Outdated);
        if stale || key.state == State::Revoked {
            Err(Refusal::Other)
        } else {
            Ok(key)
        }
    }

    fn takes_a_name(&self, key: &Key) -> bool {
        matches!(key.state, State::Active | State::Disabled)
            && key.ends.is_none_or(|ends| self.at() < ends)
    }

    fn name_is_free(&self, place: usize, owner: usize, name: u8, but: Option<KeyId>) -> bool {
        !self.keys.iter().any(|key| {
            key.place == place
                && key.owner == owner
                && key.name == name
                && Some(key.id) != but
                && self.takes_a_name(key)
        })
    }

    /// A namespace belongs to the team that uses it first.
    fn own(&self, place: usize) -> Result<(), Refusal> {
        let (team, namespace) = PLACES[place];
        let foreign = |(name, owner): &(&str, &str)| *name == namespace && *owner != team;
        if self.bound.iter().any(foreign) {
            Err(Refusal::Other)
        } else {
            Ok(())
        }
    }

    /// A policy is set for a namespace that exists, or for all.
    fn may_set_policy(&self, place: Option<usize>) -> Result<(), Refusal> {
        let Some(place) = place else { return Ok(()) };
        let (team, namespace) = PLACES[place];
        if self.bound.contains(&(namespace, team)) {
            Ok(())
        } else {
            Err(Refusal::Other)
        }
    }

    fn bind(&mut self, place: usize) {
        let (team, namespace) = PLACES[place];
        self.bound.push((namespace, team));
    }

    fn may_create(
        &self,
        place: usize,
        owner: usize,
        name: u8,
        starts: Option<i64>,
        end: End,
    ) -> Result<Option<i64>, Refusal> {
        let rules = self.rules(PLACES[place].1);
        let ends = self.end(end, &rules)?;
        never_valid(starts, ends)?;
        self.own(place)?;
        let blocked = |target: &ModelTarget| covers(*target, place, Some(owner));
        let same_owner =
            |key: &&Key| key.place == place && key.owner == owner && self.takes_a_name(key);
        let count = self.keys.iter().filter(same_owner).count();
        if self.blocked.iter().any(blocked)
            || (rules.unique_names && !self.name_is_free(place, owner, name, None))
            || rules
                .keys_per_owner
                .is_some_and(|most| count >= most as usize)
        {
            return Err(Refusal::Other);
        }
        Ok(ends)
    }

    fn may_update(
        &self,
        key: usize,
        place: usize,
        expected_revision: ExpectedRevision,
        name: Option<u8>,
        ends: Option<i64>,
    ) -> Result<(), Refusal> {
        let key = self.find_alive(key, place, expected_revision)?;
        let put_back = ends.is_some_and(|ends| key.ends.is_some_and(|old| old < ends));
        let unique = self.rules(PLACES[place].1).unique_names;
        let taken = name
            .is_some_and(|name| unique && !self.name_is_free(place, key.owner, name, Some(key.id)));
        let never = ends.is_some_and(|ends| key.starts.is_some_and(|starts| ends <= starts));
        if put_back || taken || never {
            Err(Refusal::Other)
        } else {
            Ok(())
        }
    }

    /// Returns the expiry of the replaced and of the new secret.
    fn may_rotate(
        &self,
        key: usize,
        place: usize,
        expected_revision: ExpectedRevision,
        grace: u64,
        renew: Option<End>,
    ) -> Result<(i64, Option<i64>), Refusal> {
        let rules = self.rules(PLACES[place].1);
        let key = self.find_alive(key, place, expected_revision)?;
        let old_end = self.end_of(key).unwrap_or(TIME_MAX);
        if old_end <= self.at() || grace > rules.grace {
            return Err(Refusal::Other);
        }
        let ends = match renew {
            Some(end) => {
                let ends = self.end(end, &rules)?;
                never_valid(key.starts, ends)?;
                ends
            }
            None => self.end_of(key),
        };
        Ok((old_end.min(later(self.at(), grace)), ends))
    }

    /// Whether a target has anything, or ever had everything revoked.
    fn knows(&self, target: ModelTarget) -> bool {
        let known = match target {
            ModelTarget::Team(place) => {
                let (team, _) = PLACES[pick(place, PLACES.len())];
                self.bound.iter().any(|(_, owner)| *owner == team)
            }
            ModelTarget::Namespace(place) => {
                let (team, namespace) = PLACES[pick(place, PLACES.len())];
                self.bound.contains(&(namespace, team))
            }
            ModelTarget::Owner(..) => self.keys.iter().any(|key| {
                key.state != State::Deleted && covers(target, key.place, Some(key.owner))
            }),
        };
        known || self.cut.iter().any(|cut| same_target(*cut, target))
    }

    /// How many live keys a target has.
    fn live_keys(&self, target: ModelTarget) -> usize {
        let keys = self.keys.iter();
        let live =
            keys.filter(|key| covers(target, key.place, Some(key.owner)) && self.takes_a_name(key));
        live.count()
    }

    /// Revokes each credential of a target.
    fn revoke_all(&mut self, target: ModelTarget) {
        for key in &mut self.keys {
            if key.state != State::Deleted && covers(target, key.place, Some(key.owner)) {
                key.state = State::Revoked;
            }
        }
        for legacy in &mut self.legacy {
            legacy.revoked |= covers(target, legacy.place, None);
        }
    }

    fn verdict(&self, key: &Key, secret: &str, namespace: Option<&str>, writes: bool) -> Verdict {
        let mut newest_first = key.secrets.iter().rev();
        let current = newest_first
            .next()
            .is_some_and(|current| current.text == secret);
        let replaced = newest_first
            .next()
            .filter(|replaced| replaced.text == secret);
        let until = match replaced {
            _ if current => None,
            Some(replaced) => {
                let longest = self.rules(PLACES[key.place].1).max;
                let own = longest.map(|longest| later(replaced.made_at, longest));
                [replaced.until, own].into_iter().flatten().min()
            }
            None => return Verdict::Unauthenticated,
        };
        let ends = [self.end_of(key), until].into_iter().flatten().min();
        let over = ends.is_some_and(|ends| ends <= self.seen.get());
        let early = key.starts.is_some_and(|starts| self.seen.get() < starts);
        if key.state != State::Active || over || early {
            Verdict::Unauthenticated
        } else if namespace.is_some_and(|wanted| wanted != PLACES[key.place].1)
            || (writes && key.scoped)
        {
            Verdict::Forbidden
        } else {
            Verdict::Accepted {
                ends,
                replaced: !current,
            }
        }
    }

    fn legacy_verdict(&self, number: u8, right: bool, namespace: Option<&str>) -> Verdict {
        let known = self.legacy.iter().find(|legacy| legacy.number == number);
        let Some(legacy) = known.filter(|legacy| right && !legacy.revoked && !legacy.blocked)
        else {
            return Verdict::Unauthenticated;
        };
        let own = PLACES[legacy.place].1;
        let of = |wanted: Option<&str>| self.sunsets.iter().find(|(place, _)| *place == wanted);
        let accepting = |(_, times): &&(_, LegacyTimes)| {
            let brownout = times.brownout_from..times.brownout_until;
            self.seen.get() < times.sunset && !brownout.contains(&self.seen.get())
        };
        match of(Some(own)).or(of(None)).filter(accepting) {
            None => Verdict::Unauthenticated,
            Some(_) if namespace.is_some_and(|wanted| wanted != own) => Verdict::Forbidden,
            Some((_, times)) => Verdict::Accepted {
                ends: Some(times.sunset),
                replaced: false,
            },
        }
    }
}

impl Uses {
    fn count(&mut self, verdict: Verdict, at: i64) {
        if let Verdict::Accepted { .. } = verdict {
            self.accepted += 1;
            self.last = self.last.max(Some(at - at.rem_euclid(60)));
        }
    }
}

/// Whether a credential at `place`, of this owner or without one, belongs to a target.
fn covers(target: ModelTarget, place: usize, owner: Option<usize>) -> bool {
    let same_team = |other: usize| PLACES[place].0 == PLACES[other].0;
    match target {
        ModelTarget::Team(other) => same_team(pick(other, PLACES.len())),
        ModelTarget::Namespace(other) => place == pick(other, PLACES.len()),
        ModelTarget::Owner(other, who) => {
            same_team(pick(other, PLACES.len())) && owner == Some(pick(who, OWNERS))
        }
    }
}

/// Whether two targets are the same: all places of a team have the same team and owners.
fn same_target(one: ModelTarget, other: ModelTarget) -> bool {
    let team = |place: u8| PLACES[pick(place, PLACES.len())].0;
    match (one, other) {
        (ModelTarget::Team(a), ModelTarget::Team(b)) => team(a) == team(b),
        (ModelTarget::Namespace(a), ModelTarget::Namespace(b)) => {
            pick(a, PLACES.len()) == pick(b, PLACES.len())
        }
        (ModelTarget::Owner(a, x), ModelTarget::Owner(b, y)) => {
            team(a) == team(b) && pick(x, OWNERS) == pick(y, OWNERS)
        }
        _ => false,
    }
}

fn never_valid(starts: Option<i64>, ends: Option<i64>) -> Result<(), Refusal> {
    let never = starts.is_some_and(|starts| ends.is_some_and(|ends| starts >= ends));
    if never { Err(Refusal::Other) } else { Ok(()) }
}

fn later(moment: i64, seconds: u64) -> i64 {
    moment.saturating_add_unsigned(seconds).min(TIME_MAX)
}

/// Clamps a TTL to the range that the library supports.
fn life(seconds: u64) -> u64 {
    seconds.clamp(HOUR, 10_000 * 365 * 24 * HOUR)
}

fn pick(number: u8, among: usize) -> usize {
    usize::from(number) % among
}

const DEFAULT_RULES: Rules = Rules {
    min: HOUR,
    max: None,
    end_required: false,
    keys_per_owner: Some(1_000),
    unique_names: true,
    grace: 30 * 24 * HOUR,
};
