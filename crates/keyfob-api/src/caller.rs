//! The caller, and what it may do.

use keyfob::{Actor, Owner, Scopes, Timestamp, manage::Authority, name::TeamId};

/// The caller of the control plane: the result of [`Authenticate`](crate::Authenticate).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Caller {
    /// The person or service, and the credential that it showed: what the audit trail names.
    pub actor: Actor,
    /// By what right it makes changes. The store checks it again when it keeps a change, so that a
    /// caller who is removed or loses a right while its request is under way changes nothing.
    pub authority: Authority,
    /// The team in which it acts. A caller with [`Right::Operator`] also acts in every other team.
    pub team: TeamId,
    /// What it may do.
    pub rights: Rights,
    /// When its credential expires, if that is known: it is shown to the caller.
    pub expires_at: Option<Timestamp>,
}

impl Caller {
    /// A caller in a team, with these rights.
    ///
    /// Its authority follows from the actor: the actor's credential, which then must be one of
    /// Keyfob's; without one, the person or service as a member of the team.
    pub fn new(actor: Actor, team: TeamId, rights: Rights) -> Self {
        let authority = match (&actor.owner, actor.credential) {
            (_, Some(credential)) => Authority::credential(credential, Scopes::none()),
            (Some(owner), None) => Authority::Member(team.clone(), owner.clone()),
            (None, None) => Authority::System,
        };
        Self {
            actor,
            authority,
            team,
            rights,
            expires_at: None,
        }
    }

    /// With a credential that expires then.
    #[must_use]
    pub fn with_expiry(mut self, at: Option<Timestamp>) -> Self {
        self.expires_at = at;
        self
    }

    /// With this authority in place of the one that follows from the actor.
    #[must_use]
    pub fn with_authority(mut self, authority: Authority) -> Self {
        self.authority = authority;
        self
    }

    /// Whether this is the owner of what `owner` owns.
    pub(crate) fn is(&self, owner: &Owner) -> bool {
        self.actor.owner.as_ref() == Some(owner)
    }

    /// Whether it may act in this team at all.
    pub(crate) fn reaches(&self, team: &TeamId) -> bool {
        self.team == *team || self.rights.hold(Right::Operator)
    }
}

/// A right in the control plane. A control key holds it as the scope of the same name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Right {
    /// `function:read`: see the team's namespaces and the caller's own keys.
    FunctionRead,
    /// `function:create`: create namespaces in the team.
    FunctionCreate,
    /// `function:delete`: delete namespaces of the team.
    FunctionDelete,
    /// `function:admin`: the three above, and manage the caller's own keys in all of the team's
    /// namespaces.
    FunctionAdmin,
    /// `team:read`: see all keys, members, policies, legacy credentials and audit of the team.
    TeamRead,
    /// `team:admin`: manage all of them, and create control keys.
    TeamAdmin,
    /// `operator`: the same in every team, and what concerns all teams.
    Operator,
}

impl Right {
    /// Every right.
    pub const ALL: [Self; 7] = [
        Self::FunctionRead,
        Self::FunctionCreate,
        Self::FunctionDelete,
        Self::FunctionAdmin,
        Self::TeamRead,
        Self::TeamAdmin,
        Self::Operator,
    ];

    /// The scope that stands for the right.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::FunctionRead => "function:read",
            Self::FunctionCreate => "function:create",
            Self::FunctionDelete => "function:delete",
            Self::FunctionAdmin => "function:admin",
            Self::TeamRead => "team:read",
            Self::TeamAdmin => "team:admin",
            Self::Operator => "operator",
        }
    }

    /// The right that a scope stands for.
    pub fn parse(scope: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|right| right.as_str() == scope)
    }

    /// The right and all that it includes, as bits.
    const fn bits(self) -> u8 {
        match self {
            Self::FunctionRead => 0b000_0001,
            Self::FunctionCreate => 0b000_0010,
            Self::FunctionDelete => 0b000_0100,
            Self::FunctionAdmin => 0b000_1111,
            Self::TeamRead => 0b001_0001,
            Self::TeamAdmin => 0b011_1111,
            Self::Operator => 0b111_1111,
        }
    }
}

/// A set of rights. A right includes lesser ones: managing includes reading, and a right to
/// everybody's keys includes the right to the caller's own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Rights(u8);

impl Rights {
    /// No right.
    pub const NONE: Self = Self(0);

    /// These rights.
    pub fn new(rights: impl IntoIterator<Item = Right>) -> Self {
        Self(
            rights
                .into_iter()
                .fold(0, |bits, right| bits | right.bits()),
        )
    }

    /// The rights of a control key with these scopes.
    ///
    /// A key with every scope has every right in its team, but is no operator: that right must be
    /// named. Scopes that stand for no right give none.
    pub fn of(scopes: &Scopes) -> Self {
        match scopes {
            Scopes::Only(scopes) => Self::new(
                scopes
                    .iter()
                    .filter_map(|scope| Right::parse(scope.as_str())),
            ),
            _ => Self::new([Right::TeamAdmin]),
        }
    }

    /// Whether `right` is among them.
    pub const fn hold(self, right: Right) -> bool {
        self.0 & right.bits() == right.bits()
    }

    /// Whether these are no more than `others`.
    pub const fn within(self, others: Self) -> bool {
        self.0 & others.0 == self.0
    }

    /// The rights, with all that they include.
    pub fn iter(self) -> impl Iterator<Item = Right> {
        Right::ALL
            .into_iter()
            .filter(move |right| self.hold(*right))
    }
}

#[cfg(test)]
mod tests {
    use keyfob::name::Scope;

    use super::*;

    fn scopes(names: &[&str]) -> Scopes {
        Scopes::only(names.iter().map(|name| Scope::new(name).unwrap())).unwrap()
    }

    #[test]
    fn a_right_includes_lesser_ones() {
        use Right::{
            FunctionAdmin, FunctionCreate, FunctionDelete, FunctionRead, Operator, TeamAdmin,
            TeamRead,
        };
        let function = [FunctionRead, FunctionCreate, FunctionDelete, FunctionAdmin];
        let team = [&function[..], &[TeamRead, TeamAdmin]].concat();
        for (right, expected) in [
            (FunctionRead, &[FunctionRead][..]),
            (FunctionCreate, &[FunctionCreate]),
            (FunctionDelete, &[FunctionDelete]),
            (FunctionAdmin, &function),
            (TeamRead, &[FunctionRead, TeamRead]),
            (TeamAdmin, &team),
            (Operator, &Right::ALL),
        ] {
            assert_eq!(Rights::new([right]).iter().collect::<Vec<_>>(), expected);
            assert_eq!(Right::parse(right.as_str()), Some(right));
        }
        // Two lesser rights do not add up to a greater one.
        let both = Rights::new([FunctionAdmin, TeamRead]);
        assert!(!both.hold(TeamAdmin) && !both.hold(Operator));
        let three = Rights::new([FunctionRead, FunctionCreate, FunctionDelete]);
        assert!(!three.hold(FunctionAdmin));
    }

    #[test]
    fn every_scope_is_every_right_of_the_team_and_no_operator() {
        let all = Rights::of(&Scopes::All);
        assert!(all.hold(Right::TeamAdmin) && !all.hold(Right::Operator));
        assert!(Rights::of(&scopes(&["operator"])).hold(Right::Operator));
        assert_eq!(
            Rights::of(&scopes(&["Operator", "function:*"])),
            Rights::NONE
        );
    }

    #[test]
    fn a_part_is_within_the_whole() {
        let of = |right| Rights::new([right]);
        assert!(of(Right::TeamRead).within(of(Right::TeamAdmin)));
        assert!(!of(Right::Operator).within(of(Right::TeamAdmin)));
        assert!(!of(Right::TeamRead).within(of(Right::FunctionAdmin)));
        assert!(Rights::NONE.within(Rights::NONE));
    }
}
