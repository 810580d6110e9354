//! Who calls, and what they may.

use keyfob::{Actor, Owner, Scopes, name::TeamId};

/// Who calls the control plane: the outcome of [`Authenticate`](crate::Authenticate).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// The person or service, and the credential that they showed: what the audit trail names.
    pub actor: Actor,
    /// The team in which they act. Whoever holds [`Right::Operator`] acts in every other too.
    pub team: TeamId,
    /// What they may.
    pub rights: Rights,
}

impl Caller {
    /// Somebody of a team, with these rights.
    pub fn new(actor: Actor, team: TeamId, rights: Rights) -> Self {
        Self {
            actor,
            team,
            rights,
        }
    }

    pub(crate) fn may(&self, right: Right) -> bool {
        self.rights.hold(right)
    }

    /// Whether this is the owner of what `owner` owns.
    pub(crate) fn is(&self, owner: &Owner) -> bool {
        self.actor.owner.as_ref() == Some(owner)
    }

    /// Whether they may act in this team at all.
    pub(crate) fn reaches(&self, team: &TeamId) -> bool {
        self.team == *team || self.may(Right::Operator)
    }
}

/// A right in the control plane. A control key holds it as the scope of the same name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Right {
    /// `function:read`: see the team's namespaces and one's own keys.
    FunctionRead,
    /// `function:admin`: manage one's own keys in all of the team's namespaces.
    FunctionAdmin,
    /// `team:read`: see all keys, members, policies, legacy credentials and audit of the team.
    TeamRead,
    /// `team:admin`: manage all of them, and make control keys.
    TeamAdmin,
    /// `operator`: all of it in every team, and what concerns all teams.
    Operator,
}

impl Right {
    /// Every right.
    pub const ALL: [Self; 5] = [
        Self::FunctionRead,
        Self::FunctionAdmin,
        Self::TeamRead,
        Self::TeamAdmin,
        Self::Operator,
    ];

    /// The scope that stands for the right.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::FunctionRead => "function:read",
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

    /// The right itself and all that are in it, as bits.
    const fn bits(self) -> u8 {
        match self {
            Self::FunctionRead => 0b0_0001,
            Self::FunctionAdmin => 0b0_0011,
            Self::TeamRead => 0b0_0101,
            Self::TeamAdmin => 0b0_1111,
            Self::Operator => 0b1_1111,
        }
    }
}

/// A set of rights. A right brings those with it that are in it: who may manage may read, and who
/// may do something to everybody's keys may do it to their own.
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
    /// A key with every scope has every right in its team, but is no operator: what reaches into
    /// every team must be named. Scopes that stand for no right give none.
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

    /// The rights, each with those that are in it.
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
    fn a_right_brings_what_is_in_it() {
        use Right::{FunctionAdmin, FunctionRead, Operator, TeamAdmin, TeamRead};
        for (right, expected) in [
            (FunctionRead, &[FunctionRead][..]),
            (FunctionAdmin, &[FunctionRead, FunctionAdmin]),
            (TeamRead, &[FunctionRead, TeamRead]),
            (
                TeamAdmin,
                &[FunctionRead, FunctionAdmin, TeamRead, TeamAdmin],
            ),
            (Operator, &Right::ALL),
        ] {
            assert_eq!(Rights::new([right]).iter().collect::<Vec<_>>(), expected);
            assert_eq!(Right::parse(right.as_str()), Some(right));
        }
        // Two lesser rights do not add up to a greater one.
        let both = Rights::new([FunctionAdmin, TeamRead]);
        assert!(!both.hold(TeamAdmin) && !both.hold(Operator));
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
