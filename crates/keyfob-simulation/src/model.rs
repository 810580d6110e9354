//! A naive model of what a store holds, and of what a gateway that knows it must decide.

use std::{collections::BTreeMap, sync::Arc};

use keyfob::{Owner, Tenant, name::TeamId, store::Target};
use keyfob_feed::Filter;

/// The number of namespaces. The first half is of the first team.
pub(crate) const TENANTS: usize = 4;
pub(crate) const TEAMS: usize = 2;
pub(crate) const OWNERS: usize = 3;

pub(crate) fn tenant(n: usize) -> Tenant {
    let (team, namespace) = [
        ("acme", "fn-a"),
        ("acme", "fn-b"),
        ("umbrella", "fn-c"),
        ("umbrella", "fn-d"),
    ][n];
    Tenant::parse(team, namespace).expect("the name is valid")
}

pub(crate) fn team_of(tenant: usize) -> usize {
    tenant / 2
}

pub(crate) fn team(n: usize) -> TeamId {
    tenant(n * 2).team
}

pub(crate) fn owner(n: usize) -> Owner {
    let name = ["user:alice", "user:bob", "service:deploy-bot"][n];
    name.parse().expect("the name is valid")
}

/// What a cutoff is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Aim {
    Team(usize),
    Namespace(usize),
    /// A team, and an owner in it.
    Owner(usize, usize),
}

impl Aim {
    pub(crate) fn target(self) -> Target {
        match self {
            Self::Team(n) => Target::Team(team(n)),
            Self::Namespace(n) => Target::Namespace(tenant(n)),
            Self::Owner(n, by) => Target::Owner(team(n), owner(by)),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum ItemId {
    Key(usize),
    Legacy(usize),
    Cutoff(Aim),
    Policy(Option<usize>),
    LegacyPolicy(Option<usize>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Item {
    Key(Key),
    Deleted {
        tenant: usize,
    },
    Legacy {
        tenant: usize,
        created: u64,
        revoked: bool,
    },
    /// Everything that was created up to this revision is revoked.
    Cutoff(u64),
    /// `None` if there is no policy.
    Policy(Option<MaxTtl>),
    /// The sunset.
    LegacyPolicy(Option<i64>),
}

/// The maximum TTL of a policy in seconds; `None` for no maximum.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct MaxTtl(pub(crate) Option<i64>);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Key {
    pub(crate) tenant: usize,
    pub(crate) owner: usize,
    pub(crate) created: u64,
    pub(crate) standing: Standing,
    pub(crate) not_before: Option<i64>,
    pub(crate) secret: Secret,
    pub(crate) previous: Option<Secret>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    Active,
    Disabled,
    Revoked,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Secret {
    /// The number of its credential.
    pub(crate) credential: usize,
    pub(crate) issued: i64,
    pub(crate) ends: Option<i64>,
}

/// A text that was issued or imported once.
#[derive(Clone, Debug)]
pub(crate) struct Credential {
    pub(crate) of: ItemId,
    pub(crate) tenant: usize,
    pub(crate) text: String,
}

/// The items of a store, each with the revision of its last change.
#[derive(Clone, Debug, Default)]
pub(crate) struct State {
    pub(crate) items: BTreeMap<ItemId, (u64, Item)>,
}

pub(crate) const ACCEPTED: &str = "accepted";

impl State {
    /// What a gateway decides at `now`, in Unix seconds.
    pub(crate) fn verdict(&self, number: usize, credential: &Credential, now: i64) -> &'static str {
        match (credential.of, self.items.get(&credential.of)) {
            (_, Some((_, Item::Key(key)))) => self.verdict_of_key(number, key, now),
            (
                _,
                Some((
                    _,
                    Item::Legacy {
                        tenant,
                        created,
                        revoked,
                    },
                )),
            ) => {
                let aims = [Aim::Team(team_of(*tenant)), Aim::Namespace(*tenant)];
                if *revoked || self.is_cut(&aims, *created) {
                    return "revoked";
                }
                let own = self.legacy_policy(Some(*tenant));
                let sunset = own.or_else(|| self.legacy_policy(None));
                if sunset.is_some_and(|sunset| now < sunset) {
                    ACCEPTED
                } else {
                    "legacy_off"
                }
            }
            _ => "unknown_key",
        }
    }

    fn verdict_of_key(&self, number: usize, key: &Key, now: i64) -> &'static str {
        let ends = |secret: &Secret| {
            let longest = self.max_ttl(key.tenant).map(|ttl| secret.issued + ttl);
            match (secret.ends, longest) {
                (Some(own), Some(longest)) => Some(own.min(longest)),
                (own, longest) => own.or(longest),
            }
        };
        let main = ends(&key.secret);
        let end = if key.secret.credential == number {
            main
        } else {
            match &key.previous {
                Some(previous) if previous.credential == number => {
                    let own = ends(previous);
                    [own, main].into_iter().flatten().min()
                }
                _ => return "wrong_secret",
            }
        };
        let aims = [
            Aim::Team(team_of(key.tenant)),
            Aim::Namespace(key.tenant),
            Aim::Owner(team_of(key.tenant), key.owner),
        ];
        if key.standing == Standing::Revoked || self.is_cut(&aims, key.created) {
            return "revoked";
        }
        if key.standing == Standing::Disabled {
            return "disabled";
        }
        if key.not_before.is_some_and(|start| now < start) {
            return "not_yet_valid";
        }
        match end {
            Some(end) if end <= now => {
                if main.is_some_and(|main| main <= now) {
                    "expired"
                } else {
                    "replaced"
                }
            }
            _ => ACCEPTED,
        }
    }

    fn is_cut(&self, aims: &[Aim], created: u64) -> bool {
        aims.iter().any(|aim| {
            let cutoff = self.items.get(&ItemId::Cutoff(*aim));
            matches!(cutoff, Some((_, Item::Cutoff(up_to))) if created <= *up_to)
        })
    }

    fn max_ttl(&self, tenant: usize) -> Option<i64> {
        let policy = |of| match self.items.get(&ItemId::Policy(of)) {
            Some((_, Item::Policy(policy))) => *policy,
            _ => None,
        };
        let own: Option<MaxTtl> = policy(Some(tenant));
        own.or_else(|| policy(None)).and_then(|MaxTtl(ttl)| ttl)
    }

    fn legacy_policy(&self, of: Option<usize>) -> Option<i64> {
        match self.items.get(&ItemId::LegacyPolicy(of)) {
            Some((_, Item::LegacyPolicy(sunset))) => *sunset,
            _ => None,
        }
    }

    /// Takes what changed after `from` up to `to` in a state, as a reader with this filter.
    pub(crate) fn take(&mut self, state: &Self, from: u64, to: u64, scope: &Scope) {
        for (id, (revision, item)) in &state.items {
            if from < *revision && *revision <= to && scope.includes(*id, *item) {
                self.items.insert(*id, (*revision, *item));
            }
        }
    }
}

/// A filter, written down once more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Scope {
    All,
    Team(usize),
    Namespaces(Vec<usize>),
}

impl Scope {
    pub(crate) fn numbered(n: u64) -> Self {
        match n {
            0..=3 => Self::All,
            4 => Self::Team(0),
            5 => Self::Namespaces(vec![0]),
            6 => Self::Namespaces(vec![1, 2]),
            _ => Self::Team(1),
        }
    }

    pub(crate) fn filter(&self) -> Filter {
        match self {
            Self::All => Filter::All,
            Self::Team(n) => Filter::Team(team(*n)),
            Self::Namespaces(of) => {
                Filter::namespaces(of.iter().map(|n| tenant(*n))).expect("there are some")
            }
        }
    }

    fn has(&self, tenant: usize) -> bool {
        match self {
            Self::All => true,
            Self::Team(n) => team_of(tenant) == *n,
            Self::Namespaces(of) => of.contains(&tenant),
        }
    }

    fn touches(&self, team: usize) -> bool {
        (0..TENANTS).any(|n| team_of(n) == team && self.has(n))
    }

    fn includes(&self, id: ItemId, item: Item) -> bool {
        match (id, item) {
            (
                _,
                Item::Key(Key { tenant, .. })
                | Item::Deleted { tenant }
                | Item::Legacy { tenant, .. },
            )
            | (
                ItemId::Cutoff(Aim::Namespace(tenant))
                | ItemId::Policy(Some(tenant))
                | ItemId::LegacyPolicy(Some(tenant)),
                _,
            ) => self.has(tenant),
            (ItemId::Cutoff(Aim::Team(team) | Aim::Owner(team, _)), _) => self.touches(team),
            _ => true,
        }
    }

    /// Whether a reader may see an entry of the feed, by the names in its JSON.
    pub(crate) fn allows(&self, entry: &serde_json::Value) -> bool {
        let foreign = |n: &usize| !self.has(*n);
        !(0..TENANTS)
            .filter(foreign)
            .any(|n| names(entry, tenant(n).namespace.as_str()))
            && !(0..TEAMS)
                .filter(|n| !self.touches(*n))
                .any(|n| names(entry, team(n).as_str()))
    }
}

/// Whether a text occurs as a whole string anywhere in a value.
fn names(value: &serde_json::Value, text: &str) -> bool {
    match value {
        serde_json::Value::String(own) => own == text,
        serde_json::Value::Array(values) => values.iter().any(|value| names(value, text)),
        serde_json::Value::Object(values) => values.values().any(|value| names(value, text)),
        _ => false,
    }
}

/// The states of a store, by revision.
#[derive(Clone, Debug)]
pub(crate) struct History {
    pub(crate) states: Vec<Arc<State>>,
    /// The history that it was forked from, and the last revision that both have.
    pub(crate) parent: Option<(usize, u64)>,
}
