//! What the library promises, as a program that is too simple to be wrong: lists, loops and
//! plain numbers. [`run`] does the same operations on it and on the library and compares.
//!
//! Small numbers stand for things: a `u8` picks one of the few places, owners, names and keys
//! there are, whatever its value. Lengths of time are seconds.

#[path = "world.rs"]
mod world;

use keyfob::{KeyId, Timestamp, store::Revision};

pub use world::run;

/// Something that happens.
#[derive(Clone, Debug)]
pub enum Operation {
    /// Time passes.
    Pass { seconds: u32 },
    /// The clock is put back; whatever ended has ended.
    JumpBack { seconds: u32 },
    /// A key is made; `starts` counts from now.
    Create {
        place: u8,
        owner: u8,
        name: u8,
        scoped: bool,
        starts: Option<i64>,
        end: End,
    },
    /// A key is changed, by somebody who says that it is at `place`; `ends` counts from now.
    Update {
        key: u8,
        place: Place,
        saw: Saw,
        name: Option<u8>,
        scoped: Option<bool>,
        ends: Option<i64>,
    },
    /// A key gets a new secret.
    Rotate {
        key: u8,
        place: Place,
        saw: Saw,
        grace: u64,
        renew: Option<End>,
    },
    /// A key is switched off.
    Disable { key: u8, place: Place },
    /// A key is switched on.
    Enable { key: u8, place: Place },
    /// A key is revoked.
    Revoke { key: u8, place: Place },
    /// A key is deleted.
    Delete { key: u8, place: Place },
    /// Everything in an area is revoked; with `close`, nothing can be made there any more.
    Cut { area: Area, close: bool },
    /// Keys can be made in an area again.
    Open { area: Area },
    /// The policy of a place's namespace is set, or the default.
    SetPolicy {
        place: Option<u8>,
        rules: Option<Rules>,
    },
    /// A legacy credential is imported.
    Import {
        legacy: u8,
        place: u8,
        blocked: bool,
    },
    /// A legacy credential is revoked.
    RevokeLegacy { legacy: u8, place: u8 },
    /// The legacy policy of a place's namespace is set, or the default.
    SetLegacyPolicy {
        place: Option<u8>,
        sunset: Option<Sunset>,
    },
    /// Somebody uses a key; without a namespace, for whichever it opens.
    Verify {
        key: u8,
        secret: Which,
        namespace: Option<u8>,
        writes: bool,
    },
    /// Somebody uses a legacy credential.
    VerifyLegacy {
        legacy: u8,
        right: bool,
        namespace: Option<u8>,
    },
    /// The index is given a part of the feed once more, as it was some time ago.
    LateFeed,
    /// A second index reads a page of this length.
    Replicate { entries: u8 },
    /// The process starts again: its index is built anew.
    Restart,
    /// Every credential is tried and everything is listed.
    Check,
}

/// Where somebody says that a key is.
#[derive(Clone, Copy, Debug)]
pub enum Place {
    /// Where it is.
    Own,
    /// Somewhere.
    Some(u8),
}

/// Which state of a key somebody saw before they change it.
#[derive(Clone, Copy, Debug)]
pub enum Saw {
    /// They do not say.
    Anything,
    /// The last.
    Last,
    /// One that is no more.
    Older,
}

/// When a new secret ends.
#[derive(Clone, Copy, Debug)]
pub enum End {
    /// Never.
    Never,
    /// After so many seconds; at least an hour is made of it.
    In(u64),
    /// So many seconds from now.
    At(i64),
}

/// What is cut off at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Area {
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
    /// The shortest life; at least an hour.
    pub min: u64,
    /// The longest life; at least an hour.
    pub max: Option<u64>,
    /// Whether keys need an end.
    pub end_required: bool,
    /// How many live keys an owner may have in a namespace.
    pub keys_per_owner: Option<u32>,
    /// Whether names are unique in a namespace.
    pub unique_names: bool,
    /// The longest grace.
    pub grace: u64,
}

/// A legacy policy, from now on: legacy credentials work for `lasts`, but not in the `length`
/// seconds from `dark` on.
#[derive(Clone, Copy, Debug)]
pub struct Sunset {
    /// For how long legacy credentials work.
    pub lasts: u32,
    /// When the brownout begins.
    pub dark: u32,
    /// How long it takes; zero for no brownout.
    pub length: u32,
}

/// Which secret of a key is presented.
#[derive(Clone, Copy, Debug)]
pub enum Which {
    /// The last.
    Current,
    /// The one before the last rotation.
    Replaced,
    /// The first.
    First,
    /// That of another key.
    Foreign(u8),
    /// The last, with a character changed.
    Garbled(u8),
}

/// Team and namespace. The last is a namespace of the first's name in another team: of the two,
/// the one that is used first has the name.
const PLACES: [(&str, &str); 4] = [
    ("acme", "one"),
    ("acme", "two"),
    ("beta", "three"),
    ("beta", "one"),
];
const NAMESPACES: [&str; 4] = ["one", "two", "three", "four"];
/// The same text is a person and a service.
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
    /// Whether it may only read.
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
    On,
    Off,
    Revoked,
    Deleted,
}

struct Secret {
    text: String,
    made_at: i64,
    /// When it ends because it was replaced; none for one that nothing replaced.
    until: Option<i64>,
}

struct Legacy {
    number: u8,
    place: usize,
    blocked: bool,
    revoked: bool,
    uses: Uses,
}

/// A legacy policy: when it ends, and from when to when it is dark before.
#[derive(Clone, Copy)]
struct Moments {
    sunset: i64,
    dark: i64,
    light: i64,
}

#[derive(Default)]
struct Uses {
    accepted: u64,
    last: Option<i64>,
}

struct Model {
    /// What the clock says.
    now: i64,
    /// The latest time at which this process verified something.
    seen: i64,
    keys: Vec<Key>,
    legacy: Vec<Legacy>,
    blocked: Vec<Area>,
    /// Namespace and team: whose it is.
    bound: Vec<(&'static str, &'static str)>,
    policies: Vec<(Option<&'static str>, Rules)>,
    sunsets: Vec<(Option<&'static str>, Moments)>,
    /// How many changes were kept.
    changes: usize,
}

/// What becomes of an attempt to use a credential.
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

/// Why a change is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Refusal {
    NotFound,
    Other,
}

/// A change that is kept, or one that has nothing to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Done {
    Kept,
    Nothing,
}

impl Model {
    /// What the clock says, as the library counts it.
    fn time(&self) -> Timestamp {
        Timestamp::from_unix(self.now)
    }

    fn rules(&self, namespace: &str) -> Rules {
        let of = |wanted: Option<&str>| self.policies.iter().find(|(place, _)| *place == wanted);
        let (_, rules) = of(Some(namespace))
            .or(of(None))
            .unwrap_or(&(None, DEFAULT_RULES));
        *rules
    }

    /// The end that the rules allow.
    fn end(&self, end: End, rules: &Rules) -> Result<Option<i64>, Refusal> {
        let ends = match end {
            End::Never if rules.end_required => return Err(Refusal::Other),
            End::Never => return Ok(None),
            End::In(seconds) => later(self.now, life(seconds)),
            End::At(seconds) => self.now + seconds,
        };
        let life = u64::try_from(ends - self.now).unwrap_or(0);
        let too_long = rules.max.is_some_and(|max| life > max);
        if life < rules.min || too_long {
            Err(Refusal::Other)
        } else {
            Ok(Some(ends))
        }
    }

    /// When the last secret of a key ends: its own end, or the longest life from its making.
    fn end_of(&self, key: &Key) -> Option<i64> {
        let (_, namespace) = PLACES[key.place];
        let made_at = key.secrets.last().expect("every key has a secret").made_at;
        let longest = self.rules(namespace).max.map(|max| later(made_at, max));
        [key.ends, longest].into_iter().flatten().min()
    }

    /// The key, if somebody at `place` may know of it.
    fn find(&self, key: usize, place: usize) -> Result<&Key, Refusal> {
        let key = &self.keys[key];
        if key.state == State::Deleted || key.place != place {
            Err(Refusal::NotFound)
        } else {
            Ok(key)
        }
    }

    /// The key, if it can still be changed by somebody who saw it so.
    fn find_alive(&self, key: usize, place: usize, saw: Saw) -> Result<&Key, Refusal> {
        let key = self.find(key, place)?;
        let stale = matches!(saw, Saw::Older);
        if stale || key.state == State::Revoked {
            Err(Refusal::Other)
        } else {
            Ok(key)
        }
    }

    fn takes_a_name(&self, key: &Key) -> bool {
        matches!(key.state, State::On | State::Off) && key.ends.is_none_or(|ends| self.now < ends)
    }

    fn name_is_free(&self, place: usize, name: u8, but: Option<KeyId>) -> bool {
        !self.keys.iter().any(|key| {
            key.place == place && key.name == name && Some(key.id) != but && self.takes_a_name(key)
        })
    }

    /// A namespace is its first user's.
    fn own(&self, place: usize) -> Result<(), Refusal> {
        let (team, namespace) = PLACES[place];
        let foreign = |(name, owner): &(&str, &str)| *name == namespace && *owner != team;
        if self.bound.iter().any(foreign) {
            Err(Refusal::Other)
        } else {
            Ok(())
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
        let closed = |area: &Area| covers(*area, place, Some(owner));
        let same_owner =
            |key: &&Key| key.place == place && key.owner == owner && self.takes_a_name(key);
        let count = self.keys.iter().filter(same_owner).count();
        if self.blocked.iter().any(closed)
            || (rules.unique_names && !self.name_is_free(place, name, None))
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
        saw: Saw,
        name: Option<u8>,
        ends: Option<i64>,
    ) -> Result<(), Refusal> {
        let key = self.find_alive(key, place, saw)?;
        let put_back = ends.is_some_and(|ends| key.ends.is_some_and(|old| old < ends));
        let unique = self.rules(PLACES[place].1).unique_names;
        let taken =
            name.is_some_and(|name| unique && !self.name_is_free(place, name, Some(key.id)));
        let never = ends.is_some_and(|ends| key.starts.is_some_and(|starts| ends <= starts));
        if put_back || taken || never {
            Err(Refusal::Other)
        } else {
            Ok(())
        }
    }

    /// When the replaced and when the new secret end.
    fn may_rotate(
        &self,
        key: usize,
        place: usize,
        saw: Saw,
        grace: u64,
        renew: Option<End>,
    ) -> Result<(i64, Option<i64>), Refusal> {
        let rules = self.rules(PLACES[place].1);
        let key = self.find_alive(key, place, saw)?;
        let old_end = self.end_of(key).unwrap_or(TIME_MAX);
        if old_end <= self.now || grace > rules.grace {
            return Err(Refusal::Other);
        }
        let ends = match renew {
            Some(end) => {
                let ends = self.end(end, &rules)?;
                never_valid(key.starts, ends)?;
                ends
            }
            None => key.ends,
        };
        Ok((old_end.min(later(self.now, grace)), ends))
    }

    /// Revokes whatever there is in an area, one by one.
    fn cut(&mut self, area: Area) {
        for key in &mut self.keys {
            if key.state != State::Deleted && covers(area, key.place, Some(key.owner)) {
                key.state = State::Revoked;
            }
        }
        for legacy in &mut self.legacy {
            legacy.revoked |= covers(area, legacy.place, None);
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
        let over = ends.is_some_and(|ends| ends <= self.seen);
        let early = key.starts.is_some_and(|starts| self.seen < starts);
        if key.state != State::On || over || early {
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
        let accepting = |(_, moments): &&(_, Moments)| {
            let dark = moments.dark..moments.light;
            self.seen < moments.sunset && !dark.contains(&self.seen)
        };
        match of(Some(own)).or(of(None)).filter(accepting) {
            None => Verdict::Unauthenticated,
            Some(_) if namespace.is_some_and(|wanted| wanted != own) => Verdict::Forbidden,
            Some((_, moments)) => Verdict::Accepted {
                ends: Some(moments.sunset),
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

/// Whether a credential of this owner, or one without, at `place` is in an area.
fn covers(area: Area, place: usize, owner: Option<usize>) -> bool {
    let same_team = |other: usize| PLACES[place].0 == PLACES[other].0;
    match area {
        Area::Team(other) => same_team(pick(other, PLACES.len())),
        Area::Namespace(other) => place == pick(other, PLACES.len()),
        Area::Owner(other, who) => {
            same_team(pick(other, PLACES.len())) && owner == Some(pick(who, OWNERS))
        }
    }
}

/// Whether two areas are one: teams and owners are the same from every place of the team.
fn same_area(one: Area, other: Area) -> bool {
    let team = |place: u8| PLACES[pick(place, PLACES.len())].0;
    match (one, other) {
        (Area::Team(a), Area::Team(b)) => team(a) == team(b),
        (Area::Namespace(a), Area::Namespace(b)) => pick(a, PLACES.len()) == pick(b, PLACES.len()),
        (Area::Owner(a, x), Area::Owner(b, y)) => {
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

/// A life that the library can count.
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
    keys_per_owner: None,
    unique_names: true,
    grace: 30 * 24 * HOUR,
};
