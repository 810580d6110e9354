//! Targets and cutoffs: revoking everything that a team, namespace or owner has.

use crate::{
    audit::AuditEntry,
    identity::{Owner, Tenant},
    name::TeamId,
    revision::Revision,
    revocation::{Revocation, RevocationCause},
};

/// A team, a namespace, or an owner in a team, whose keys can be revoked all at once.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
pub enum Target {
    /// A team, with all its namespaces.
    Team(TeamId),
    /// A namespace of a team, including its legacy credentials.
    Namespace(Tenant),
    /// A person or service in a team: their keys in all its namespaces.
    Owner(TeamId, Owner),
}

impl Target {
    /// The target itself if it is a team, else the team that it belongs to.
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

/// The latest revocation of everything in a target, and whether the target is blocked.
///
/// Everything that was created in the target at or before the revision `up_to` is permanently
/// revoked; restoring the target does not change `up_to`. While the target is blocked, nothing can
/// be created in it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Cutoff {
    /// The target.
    pub target: Target,
    /// The revision of the revocation: everything created at or before it is revoked.
    pub up_to: Revision,
    /// Whether creating credentials in the target is refused.
    pub blocked: bool,
    /// The revocation that applies to the credentials created up to then.
    pub revocation: Revocation,
    /// The store's revision at which this cutoff last changed.
    pub revision: Revision,
}

impl Cutoff {
    /// Creates the cutoff of a commit with this revision and audit entry.
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

    /// Unblocks the target at `revision`; `up_to` stays the same.
    #[must_use]
    pub fn restored(self, revision: Revision) -> Self {
        Self {
            blocked: false,
            revision,
            ..self
        }
    }

    /// Whether this cutoff revokes a credential that was created at `created_revision`.
    pub fn covers(&self, created_revision: Revision) -> bool {
        created_revision <= self.up_to
    }

    /// The revocation by the earliest of these cutoffs that covers `created_revision`.
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

    /// Returns a cutoff at this revision that blocks the target; its time is as many seconds.
    fn cutoff_at(target: &Target, revision: i64) -> Cutoff {
        let context = Context::new(Actor::system(), Timestamp::from_unix(revision));
        let event = AuditEntry::new(Action::Removed, &context);
        Cutoff::new(target, true, at(revision), &event)
    }

    fn at(revision: i64) -> Revision {
        Revision::new(revision.unsigned_abs())
    }

    #[test]
    fn a_cutoff_covers_keys_created_at_or_before_its_revision() {
        let cutoff = cutoff_at(&Target::Team(team()), 5);
        let covered = [4, 5, 6].map(|created_revision| cutoff.covers(at(created_revision)));
        assert_eq!(covered, [true, true, false]);
    }

    #[test]
    fn restoring_a_target_keeps_the_revision_of_its_cutoff() {
        let removed = cutoff_at(&Target::Team(team()), 5);
        let restored = removed.clone().restored(at(7));
        let expected = Cutoff {
            blocked: false,
            revision: at(7),
            ..removed
        };
        assert_eq!(restored, expected);
    }

    #[test]
    fn the_first_cutoff_after_the_creation_is_the_cause_of_the_revocation() {
        let alice = Owner::User(UserId::new("alice").unwrap());
        let cutoffs = [
            cutoff_at(&Target::Owner(team(), alice), 9),
            cutoff_at(&Target::Team(team()), 5),
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
