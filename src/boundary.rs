//! Lines drawn through time: what was created before one is revoked.

use crate::{
    audit::AuditEntry,
    identity::{Owner, Tenant},
    name::TeamId,
    record::{Revocation, RevocationCause},
    revision::Revision,
};

/// What can be cut off as a whole.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
pub enum Realm {
    /// A team, with all its namespaces.
    Team(TeamId),
    /// A namespace of a team, with legacy credentials.
    Namespace(Tenant),
    /// One person's or service's part in a team.
    Owner(TeamId, Owner),
}

impl Realm {
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

/// The last cut through a realm, and whether the realm is closed since.
///
/// Whatever was created in the realm at or before `cut` is revoked, for ever: opening the realm
/// again does not move the cut. While the realm is closed, nothing can be created in it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Boundary {
    /// What was cut off.
    pub realm: Realm,
    /// The revision of the cut.
    pub cut: Revision,
    /// Whether keys can be created in the realm.
    pub closed: bool,
    /// The revocation that everything behind the cut reads.
    pub revocation: Revocation,
    /// The store's revision at which this boundary last changed.
    pub revision: Revision,
}

impl Boundary {
    /// A cut at `revision`, as `event` tells of it.
    pub fn new(realm: &Realm, closed: bool, revision: Revision, event: &AuditEntry) -> Self {
        Self {
            realm: realm.clone(),
            cut: revision,
            closed,
            revocation: Revocation {
                at: event.at,
                by: event.actor.clone(),
                cause: realm.cause(),
                reason: event.reason.clone(),
            },
            revision,
        }
    }

    /// The same, open again since `revision`. The cut stays where it is.
    #[must_use]
    pub fn reopened(self, revision: Revision) -> Self {
        Self {
            closed: false,
            revision,
            ..self
        }
    }

    /// Whether what was created at `born` is revoked by this boundary.
    pub fn cuts(&self, born: Revision) -> bool {
        born <= self.cut
    }

    /// The revocation by the first of these cuts that comes after `born`.
    pub(crate) fn first_cut<'a>(
        boundaries: impl IntoIterator<Item = &'a Self>,
        born: Revision,
    ) -> Option<&'a Revocation> {
        boundaries
            .into_iter()
            .filter(|boundary| boundary.cuts(born))
            .min_by_key(|boundary| boundary.cut)
            .map(|boundary| &boundary.revocation)
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

    /// A cut at this revision that closes the realm, at as many seconds.
    fn cut(realm: &Realm, revision: i64) -> Boundary {
        let context = Context::new(Actor::system(), Timestamp::from_unix(revision));
        let event = AuditEntry::new(Action::RealmClosed, &context);
        Boundary::new(realm, true, at(revision), &event)
    }

    fn at(revision: i64) -> Revision {
        Revision::new(revision.unsigned_abs())
    }

    #[test]
    fn whatever_was_born_at_the_cut_or_before_is_behind_it() {
        let boundary = cut(&Realm::Team(team()), 5);
        let behind = [4, 5, 6].map(|born| boundary.cuts(at(born)));
        assert_eq!(behind, [true, true, false]);
    }

    #[test]
    fn opening_moves_no_cut() {
        let closed = cut(&Realm::Team(team()), 5);
        let opened = closed.clone().reopened(at(7));
        let expected = Boundary {
            closed: false,
            revision: at(7),
            ..closed
        };
        assert_eq!(opened, expected);
    }

    #[test]
    fn the_first_cut_after_a_birth_tells_why() {
        let alice = Owner::User(UserId::new("alice").unwrap());
        let boundaries = [
            cut(&Realm::Owner(team(), alice), 9),
            cut(&Realm::Team(team()), 5),
        ];
        let cause = |born| {
            let revocation = Boundary::first_cut(&boundaries, at(born));
            revocation.map(|revocation| (revocation.cause, revocation.at.as_unix()))
        };
        assert_eq!(cause(5), Some((RevocationCause::Team, 5)));
        assert_eq!(cause(6), Some((RevocationCause::Owner, 9)));
        assert_eq!(cause(10), None);
    }
}
