//! Lines drawn through time: what was created before one is revoked.

use crate::{
    audit::AuditEntry,
    identity::{Owner, Tenant},
    name::TeamId,
    revision::Revision,
    revocation::{Revocation, RevocationCause},
};

/// What can be cut off as a whole.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
pub enum Target {
    /// A team, with all its namespaces.
    Team(TeamId),
    /// A namespace of a team, with legacy credentials.
    Namespace(Tenant),
    /// One person's or service's part in a team.
    Owner(TeamId, Owner),
}

impl Target {
    /// The team that it is, or is in.
    pub fn team(&self) -> &TeamId {
        match self {
            Self::Team(team) | Self::Owner(team, _) => team,
            Self::Namespace(tenant) => &tenant.team,
        }
    }

    fn cause(&self) -> RevocationCause {
        match self {
            Self::Team(_) => RevocationCause::Team,
            Self::Namespace(_) => RevocationCause::Namespace,
            Self::Owner(..) => RevocationCause::Owner,
        }
    }
}

/// The last cut through a target, and whether the target is closed since.
///
/// Whatever was created in the target at or before `cut` is revoked, for ever: opening the target
/// again does not move the cut. While the target is closed, nothing can be created in it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Cutoff {
    /// What was cut off.
    pub target: Target,
    /// The revision of the cutoff: what was created at it or before is revoked.
    pub up_to: Revision,
    /// Whether creating keys in the target is refused.
    pub blocked: bool,
    /// The revocation that everything created up to then reads.
    pub revocation: Revocation,
    /// The store's revision at which this cutoff last changed.
    pub revision: Revision,
}

impl Cutoff {
    /// A cut at `revision`, as `event` tells of it.
    pub fn new(target: &Target, blocked: bool, revision: Revision, event: &AuditEntry) -> Self {
        Self {
            target: target.clone(),
            up_to: revision,
            blocked,
            revocation: Revocation {
                at: event.at,
                by: event.actor.clone(),
                cause: target.cause(),
                reason: event.reason.clone(),
            },
            revision,
        }
    }

    /// The same, unblocked at `revision`. The cutoff stays where it is.
    #[must_use]
    pub fn restored(self, revision: Revision) -> Self {
        Self {
            blocked: false,
            revision,
            ..self
        }
    }

    /// Whether this cutoff revokes what was created at `created_revision`.
    pub fn covers(&self, created_revision: Revision) -> bool {
        created_revision <= self.up_to
    }

    /// The revocation by the first of these cuts that comes after `created`.
    pub(crate) fn first_covering<'a>(
        cutoffs: impl IntoIterator<Item = &'a Self>,
        created_revision: Revision,
    ) -> Option<&'a Revocation> {
        cutoffs
            .into_iter()
            .filter(|cutoff| cutoff.covers(created_revision))
            .min_by_key(|cutoff| cutoff.up_to)
            .map(|cutoff| &cutoff.revocation)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        audit::Action,
        identity::{Actor, Context},
        name::UserId,
        timestamp::Timestamp,
    };

    fn team() -> TeamId {
        TeamId::new("acme").unwrap()
    }

    /// A cut at this revision that closes the target, at as many seconds.
    fn cut(target: &Target, revision: i64) -> Cutoff {
        let context = Context::new(Actor::system(), Timestamp::from_unix(revision));
        let event = AuditEntry::new(Action::Removed, &context);
        Cutoff::new(target, true, at(revision), &event)
    }

    fn at(revision: i64) -> Revision {
        Revision::new(revision.unsigned_abs())
    }

    #[test]
    fn whatever_was_born_at_the_cut_or_before_is_behind_it() {
        let cutoff = cut(&Target::Team(team()), 5);
        let behind = [4, 5, 6].map(|created_revision| cutoff.covers(at(created_revision)));
        assert_eq!(behind, [true, true, false]);
    }

    #[test]
    fn opening_moves_no_cut() {
        let removed = cut(&Target::Team(team()), 5);
        let restored = removed.clone().restored(at(7));
        let expected = Cutoff {
            blocked: false,
            revision: at(7),
            ..removed
        };
        assert_eq!(restored, expected);
    }

    #[test]
    fn the_first_covering_after_a_birth_tells_why() {
        let alice = Owner::User(UserId::new("alice").unwrap());
        let cutoffs = [
            cut(&Target::Owner(team(), alice), 9),
            cut(&Target::Team(team()), 5),
        ];
        let cause = |created_revision| {
            let revocation = Cutoff::first_covering(&cutoffs, at(created_revision));
            revocation.map(|revocation| (revocation.cause, revocation.at.as_unix()))
        };
        assert_eq!(cause(5), Some((RevocationCause::Team, 5)));
        assert_eq!(cause(6), Some((RevocationCause::Owner, 9)));
        assert_eq!(cause(10), None);
    }
}
