//! Filters: which part of a store a reader receives.

use std::{collections::BTreeSet, fmt};

use keyfob::{
    Tenant,
    gateway::ReplicaItem,
    name::{NameError, NamespaceId, TeamId},
    store::Target,
};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use ring::digest;

use crate::text;

/// The part of a store that a reader receives, or that a credential may read.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Filter {
    /// Everything.
    All,
    /// The namespaces of a team, its cutoffs, and the default policies.
    Team(TeamId),
    /// Some namespaces; see [`Filter::namespaces`].
    Namespaces(Namespaces),
}

impl Filter {
    /// The maximum number of namespaces in a filter.
    pub const NAMESPACES_MAX: usize = 100;
    /// The longest [query](Filter::to_query) of a filter, in bytes. A server accepts a request head
    /// in which it fits, with 8 KiB for the rest.
    pub const QUERY_BYTES_MAX: usize = 32 << 10;

    /// Selects some namespaces: their keys, tombstones, legacy credentials, policies and cutoffs, the
    /// cutoffs of their teams and of the owners in these teams, and the default policies.
    ///
    /// # Errors
    ///
    /// - there are none -> [`FilterError::Empty`]
    /// - there are more than [`Filter::NAMESPACES_MAX`] -> [`FilterError::TooMany`]
    /// - their query has more than [`Filter::QUERY_BYTES_MAX`] -> [`FilterError::TooLong`]
    pub fn namespaces(tenants: impl IntoIterator<Item = Tenant>) -> Result<Self, FilterError> {
        let tenants: BTreeSet<Tenant> = tenants.into_iter().collect();
        match tenants.len() {
            0 => return Err(FilterError::Empty),
            1..=Self::NAMESPACES_MAX => {}
            _ => return Err(FilterError::TooMany),
        }
        let filter = Self::Namespaces(Namespaces(tenants));
        if filter.to_query().len() > Self::QUERY_BYTES_MAX {
            return Err(FilterError::TooLong);
        }
        Ok(filter)
    }

    /// Parses the parameters of a query, decoded: `team=TEAM` once, or `namespace=TEAM/NAMESPACE` one or
    /// more times. Other parameters are ignored; `None` if there is no `team` and no `namespace`.
    ///
    /// # Errors
    ///
    /// [`FilterError`] names the parameter.
    pub fn from_query<'a>(
        parameters: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) -> Result<Option<Self>, FilterError> {
        let (mut team, mut tenants) = (None, Vec::new());
        for (name, value) in parameters {
            match name {
                "team" if team.is_some() => return Err(FilterError::Mixed),
                "team" => team = Some(TeamId::new(value)?),
                "namespace" => {
                    // A team's name may have a slash, a namespace's has none.
                    let (team, namespace) = value.rsplit_once('/').ok_or(FilterError::Namespace)?;
                    tenants.push(Tenant::new(
                        TeamId::new(team)?,
                        NamespaceId::new(namespace)?,
                    ));
                }
                _ => {}
            }
        }
        match (team, tenants.is_empty()) {
            (Some(_), false) => Err(FilterError::Mixed),
            (Some(team), true) => Ok(Some(Self::Team(team))),
            (None, false) => Self::namespaces(tenants).map(Some),
            (None, true) => Ok(None),
        }
    }

    /// The query that [`Filter::from_query`] reads, percent-encoded and without `?`; empty for
    /// [`Filter::All`].
    pub fn to_query(&self) -> String {
        let encoded = |text| utf8_percent_encode(text, ENCODED);
        match self {
            Self::All => String::new(),
            Self::Team(team) => format!("team={}", encoded(team.as_str())),
            Self::Namespaces(tenants) => {
                let pairs = tenants.iter().map(|Tenant { team, namespace }| {
                    let (team, namespace) = (encoded(team.as_str()), encoded(namespace.as_str()));
                    format!("namespace={team}/{namespace}")
                });
                pairs.collect::<Vec<_>>().join("&")
            }
        }
    }

    /// Whether a reader with this filter receives the item.
    pub fn includes(&self, item: &ReplicaItem) -> bool {
        *self == Self::All || self.reaches(&Reach::of(item))
    }

    /// Whether a reader with this filter receives the keys of a namespace.
    pub fn includes_namespace(&self, tenant: &Tenant) -> bool {
        self.reaches(&Reach::Namespace(tenant.clone()))
    }

    pub(crate) fn reaches(&self, reach: &Reach) -> bool {
        match (self, reach) {
            (Self::All, _) | (_, Reach::Everyone) => true,
            (_, Reach::Unknown) => false,
            (Self::Team(team), Reach::Team(of)) => team == of,
            (Self::Team(team), Reach::Namespace(of)) => *team == of.team,
            (Self::Namespaces(tenants), Reach::Team(of)) => {
                tenants.iter().any(|tenant| tenant.team == *of)
            }
            (Self::Namespaces(tenants), Reach::Namespace(of)) => tenants.0.contains(of),
        }
    }

    /// Whether this filter includes everything that `other` does.
    pub fn covers(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::All, _) => true,
            (Self::Team(team), Self::Team(of)) => team == of,
            (Self::Team(team), Self::Namespaces(of)) => of.iter().all(|of| of.team == *team),
            (Self::Namespaces(tenants), Self::Namespaces(of)) => of.0.is_subset(&tenants.0),
            (_, Self::All) | (Self::Namespaces(_), Self::Team(_)) => false,
        }
    }

    /// The short name of the filter in signed documents; `None` for [`Filter::All`].
    pub fn id(&self) -> Option<FilterId> {
        let mut context = digest::Context::new(&digest::SHA256);
        let mut part = |text: &str| {
            context.update(&u64::try_from(text.len()).unwrap_or(u64::MAX).to_be_bytes());
            context.update(text.as_bytes());
        };
        match self {
            Self::All => return None,
            Self::Team(team) => {
                part("keyfob feed filter v1 team");
                part(team.as_str());
            }
            Self::Namespaces(tenants) => {
                part("keyfob feed filter v1 namespaces");
                for Tenant { team, namespace } in tenants.iter() {
                    part(team.as_str());
                    part(namespace.as_str());
                }
            }
        }
        let mut id = [0; FilterId::LEN];
        for (byte, of_digest) in id.iter_mut().zip(context.finish().as_ref()) {
            *byte = *of_digest;
        }
        Some(FilterId(id))
    }
}

/// The namespaces of a [`Filter`]: at least one, and at most [`Filter::NAMESPACES_MAX`].
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Namespaces(BTreeSet<Tenant>);

impl Namespaces {
    /// The namespaces, in the order of their teams and names.
    pub fn iter(&self) -> impl Iterator<Item = &Tenant> {
        self.0.iter()
    }
}

/// Who an item concerns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Reach {
    /// Every reader: a default policy.
    Everyone,
    /// Readers of any namespace of the team: a cutoff of the team or of an owner in it.
    Team(TeamId),
    /// Readers of the namespace.
    Namespace(Tenant),
    /// Nobody but readers of everything: an item of a kind that this version does not know.
    Unknown,
}

impl Reach {
    pub(crate) fn of(item: &ReplicaItem) -> Self {
        match item {
            ReplicaItem::Key(record) => Self::Namespace(record.tenant.clone()),
            ReplicaItem::KeyDeleted { tenant, .. }
            | ReplicaItem::Cutoff {
                target: Target::Namespace(tenant),
                ..
            } => Self::Namespace(tenant.clone()),
            ReplicaItem::Cutoff {
                target: Target::Team(team) | Target::Owner(team, _),
                ..
            } => Self::Team(team.clone()),
            ReplicaItem::Legacy(record) => Self::Namespace(record.tenant.clone()),
            ReplicaItem::Policy { tenant, .. } | ReplicaItem::LegacyPolicy { tenant, .. } => {
                tenant.clone().map_or(Self::Everyone, Self::Namespace)
            }
            _ => Self::Unknown,
        }
    }
}

/// The first 16 bytes of SHA-256 over a [`Filter`], which name it in signed documents. The text form
/// is 22 characters of base64url without padding.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FilterId([u8; Self::LEN]);

impl FilterId {
    const LEN: usize = 16;
}

impl fmt::Display for FilterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&text::encode(&self.0))
    }
}

impl fmt::Debug for FilterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl serde::Serialize for FilterId {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> serde::Deserialize<'de> for FilterId {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
        let id = text::decode(text.as_bytes()).map(Self);
        id.ok_or_else(|| serde::de::Error::custom("filter: must be 22 characters of base64url"))
    }
}

/// The characters that are percent-encoded in the value of a query's parameter: all but those of RFC
/// 3986, section 3.4, without `&`, `+` and `=`.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~')
    .remove(b'!')
    .remove(b'$')
    .remove(b'\'')
    .remove(b'(')
    .remove(b')')
    .remove(b'*')
    .remove(b',')
    .remove(b';')
    .remove(b':')
    .remove(b'@')
    .remove(b'/')
    .remove(b'?');

/// Parameters make no filter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FilterError {
    /// There is no namespace.
    #[error("namespace: there must be at least one")]
    Empty,
    /// There are too many namespaces.
    #[error(
        "namespace: at most {} are allowed; read the team",
        Filter::NAMESPACES_MAX
    )]
    TooMany,
    /// The names of the namespaces are too long together.
    #[error(
        "namespace: the query has more than {} bytes; read the team",
        Filter::QUERY_BYTES_MAX
    )]
    TooLong,
    /// There are several teams, or a team and namespaces.
    #[error("team: must be the only parameter of the filter")]
    Mixed,
    /// A namespace is not `TEAM/NAMESPACE`.
    #[error("namespace: must be TEAM/NAMESPACE")]
    Namespace,
    /// A name is invalid.
    #[error(transparent)]
    Name(#[from] NameError),
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tenant(team: &str, namespace: &str) -> Tenant {
        Tenant::parse(team, namespace).unwrap()
    }

    fn filters() -> Vec<Filter> {
        let namespaces =
            |of: &[(&str, &str)]| Filter::namespaces(of.iter().map(|(t, n)| tenant(t, n))).unwrap();
        vec![
            Filter::All,
            Filter::Team(TeamId::new("a").unwrap()),
            Filter::Team(TeamId::new("b").unwrap()),
            namespaces(&[("a", "x")]),
            namespaces(&[("a", "x"), ("a", "y")]),
            namespaces(&[("a", "x"), ("b", "z")]),
            namespaces(&[("a/x", "y")]),
            namespaces(&[("&+ %=#\"", "control:a?")]),
        ]
    }

    #[test]
    fn a_filter_covers_only_what_it_includes() {
        let filters = filters();
        let covers: Vec<Vec<usize>> = filters
            .iter()
            .map(|filter| {
                let covered = |(at, other)| filter.covers(other).then_some(at);
                filters.iter().enumerate().filter_map(covered).collect()
            })
            .collect();
        let expected: [&[usize]; 8] = [
            &[0, 1, 2, 3, 4, 5, 6, 7],
            &[1, 3, 4],
            &[2],
            &[3],
            &[3, 4],
            &[3, 5],
            &[6],
            &[7],
        ];
        assert_eq!(covers, expected);
    }

    #[test]
    fn filters_round_trip_through_their_query_and_have_different_ids() {
        let filters = filters();
        for (at, filter) in filters.iter().enumerate() {
            let query = filter.to_query();
            let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
            let pairs = pairs.map(|(name, value)| {
                let value = percent_encoding::percent_decode_str(value);
                (name, value.decode_utf8().unwrap())
            });
            let pairs: Vec<_> = pairs.collect();
            let pairs = pairs.iter().map(|(name, value)| (*name, value.as_ref()));
            let parsed = Filter::from_query(pairs).unwrap();
            assert_eq!(parsed.unwrap_or(Filter::All), *filter);
            assert!(filters[..at].iter().all(|other| other.id() != filter.id()));
        }
    }

    #[test]
    fn a_query_that_makes_no_filter_is_refused() {
        let parse =
            |query: &[(&'static str, &'static str)]| Filter::from_query(query.iter().copied());
        assert_eq!(parse(&[("after", "1")]), Ok(None));
        assert_eq!(
            parse(&[("team", "a"), ("namespace", "a/x")]),
            Err(FilterError::Mixed)
        );
        assert_eq!(
            parse(&[("team", "a"), ("team", "b")]),
            Err(FilterError::Mixed)
        );
        assert_eq!(parse(&[("namespace", "x")]), Err(FilterError::Namespace));
        assert!(matches!(parse(&[("team", "")]), Err(FilterError::Name(_))));
        assert!(matches!(
            parse(&[("namespace", "/x")]),
            Err(FilterError::Name(_))
        ));
        let many = (0..101).map(|n| tenant("a", &format!("n{n}")));
        assert_eq!(Filter::namespaces(many), Err(FilterError::TooMany));
        assert_eq!(Filter::namespaces([]), Err(FilterError::Empty));
    }

    #[test]
    fn the_query_of_a_filter_is_bounded_and_ordinary_names_never_reach_the_bound() {
        let longest = |fill: &str| {
            let team = "t".repeat(128);
            let named = |n| tenant(&team, &format!("{n:03}{}", fill.repeat(125)));
            Filter::namespaces((0..Filter::NAMESPACES_MAX).map(named))
        };
        for fill in ["n", "-", ":", "."] {
            assert!(longest(fill).is_ok(), "{fill}");
        }
        assert_eq!(longest("%"), Err(FilterError::TooLong));
    }
}
