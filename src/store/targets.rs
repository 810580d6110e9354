//! Lists and counts of what can be removed: teams, people and services.

use alloc::vec::Vec;

use crate::{
    cutoff::Target,
    identity::Owner,
    name::{NameError, ServiceId, TeamId, UserId},
    store::KeyQuery,
};

/// Selects teams, or the people or services of a team.
///
/// A team is listed if a namespace is bound to it, a person or service if the store has a key of
/// theirs of any status in the team. What was removed or had everything revoked is listed
/// too, also if it never had a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TargetQuery {
    /// What to list.
    pub of: TargetsOf,
    /// The maximum number of items, clamped to 1 to [`KeyQuery::LIMIT_MAX`].
    pub limit: usize,
}

/// What a [`TargetQuery`] lists, and after which item the page begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TargetsOf {
    /// Every team, for operators, after this one.
    Teams(Option<TeamId>),
    /// The people of a team, after this one.
    Members(TeamId, Option<UserId>),
    /// The services of a team, after this one.
    Services(TeamId, Option<ServiceId>),
    /// This one, if the store knows it: see [`Change::Revoke`](crate::store::Change::Revoke). It may
    /// be a namespace.
    One(Target),
}

impl TargetQuery {
    /// Selects every team: for operators.
    pub fn teams() -> Self {
        Self::first(TargetsOf::Teams(None))
    }

    /// Selects the people of a team.
    pub fn members(team: TeamId) -> Self {
        Self::first(TargetsOf::Members(team, None))
    }

    /// Selects the services of a team.
    pub fn services(team: TeamId) -> Self {
        Self::first(TargetsOf::Services(team, None))
    }

    /// Selects only this one: a look-up of whether the store knows it.
    pub fn one(target: Target) -> Self {
        Self::first(TargetsOf::One(target))
    }

    fn first(of: TargetsOf) -> Self {
        Self { of, limit: 100 }
    }

    /// Selects only items after this one, which an earlier page ended with. Has no effect if the
    /// query selects no targets of its kind.
    #[must_use]
    pub fn after(mut self, last: &Target) -> Self {
        match (&mut self.of, last) {
            (TargetsOf::Teams(after), Target::Team(team)) => *after = Some(team.clone()),
            (TargetsOf::Members(_, after), Target::Owner(_, Owner::User(user))) => {
                *after = Some(user.clone());
            }
            (TargetsOf::Services(_, after), Target::Owner(_, Owner::Service(service))) => {
                *after = Some(service.clone());
            }
            _ => {}
        }
        self
    }

    /// Selects only items after the one of this name, with its kind (`user:alice`) or without.
    ///
    /// # Errors
    ///
    /// The name is invalid.
    pub fn after_name(self, name: &str) -> Result<Self, NameError> {
        let target = match &self.of {
            TargetsOf::Teams(_) => Target::Team(TeamId::new(name)?),
            TargetsOf::Members(team, _) => {
                let bare = name.strip_prefix("user:").unwrap_or(name);
                Target::Owner(team.clone(), Owner::User(UserId::new(bare)?))
            }
            TargetsOf::Services(team, _) => {
                let bare = name.strip_prefix("service:").unwrap_or(name);
                Target::Owner(team.clone(), Owner::Service(ServiceId::new(bare)?))
            }
            TargetsOf::One(target) => target.clone(),
        };
        Ok(self.after(&target))
    }

    /// Sets the maximum number of items, 1 to [`KeyQuery::LIMIT_MAX`].
    #[must_use]
    pub fn limit(mut self, limit: usize) -> Self {
        self.limit = limit;
        self
    }

    /// How many rows a store reads for a page: one more than the page has, which tells whether
    /// there are more.
    pub fn rows(&self) -> usize {
        self.page_limit().saturating_add(1)
    }

    fn page_limit(&self) -> usize {
        self.limit.clamp(1, KeyQuery::LIMIT_MAX)
    }
}

/// A team, person or service, as a list shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TargetRecord {
    /// The team, person or service.
    pub target: Target,
    /// Whether it is blocked.
    pub removed: bool,
}

/// A page of teams, people or services, in the order of their names (byte by byte).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TargetPage {
    /// The items.
    pub items: Vec<TargetRecord>,
    /// Whether there are more: continue [after](TargetQuery::after) the last item.
    pub more: bool,
}

impl TargetPage {
    /// The page that begins with these items, of which a store reads [`TargetQuery::rows`].
    ///
    /// # Errors
    ///
    /// An item that is reached could not be read.
    pub fn first_of<E>(
        items: impl IntoIterator<Item = Result<TargetRecord, E>>,
        query: &TargetQuery,
    ) -> Result<Self, E> {
        let mut rest = items.into_iter();
        let items: Vec<TargetRecord> = rest
            .by_ref()
            .take(query.page_limit())
            .collect::<Result<_, E>>()?;
        let more = rest.next().transpose()?.is_some();
        Ok(Self { items, more })
    }
}

/// How many credentials of a target could be used now or later: what a revocation of the target
/// ends.
///
/// A key counts if it is live ([`KeyRecord::is_live`](crate::store::KeyRecord::is_live)): disabled
/// keys and keys that are not valid yet count, keys that a policy ended too, since the policy can
/// change.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct LiveCount {
    /// The live keys of the target.
    pub keys: u64,
    /// The legacy credentials of a namespace or team that are neither revoked nor blocked. An owner
    /// has none, since they are shared.
    pub legacy: u64,
    /// The live keys that an owner created for other owners of the team: a revocation of the owner
    /// does not end them. A namespace or team has none.
    pub created_for_others: u64,
}

impl LiveCount {
    /// Creates a count: see the fields.
    pub fn new(keys: u64, legacy: u64, created_for_others: u64) -> Self {
        Self {
            keys,
            legacy,
            created_for_others,
        }
    }
}
