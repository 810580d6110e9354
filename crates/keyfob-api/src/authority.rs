//! Who may do what: one table, which the handlers ask and the tests go through line by line.

use keyfob::Owner;

use crate::{
    caller::{Caller, Right, Rights},
    refusal::Refusal,
};

/// A call, as far as rights go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Call {
    ListNamespaces,
    CreateNamespace,
    RemoveNamespace,
    ListKeys,
    ShowKey,
    CreateKey,
    UpdateKey,
    RotateKey,
    DisableKey,
    EnableKey,
    RevokeKey,
    DeleteKey,
    CreateControlKey,
    RevokeAll,
    PreviewMember,
    RemoveMember,
    ReadPolicy,
    SetPolicy,
    ReadLegacy,
    SetLegacy,
    ReadAudit,
    Introspect,
    Operate,
}

/// Whose thing it is, as the caller sees it. What is another team's is nobody's: it is not found,
/// but for operators, who are in every team.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Relation {
    /// The caller's own, or nobody's.
    Own,
    /// Somebody else's in the team.
    Team,
}

impl Relation {
    pub(crate) fn of(caller: &Caller, owner: &Owner) -> Self {
        if caller.is(owner) {
            Self::Own
        } else {
            Self::Team
        }
    }
}

/// What a call takes: the right to make it on one's own things, and that for anybody's in the team.
pub(crate) struct Rule {
    pub(crate) call: Call,
    pub(crate) own: Right,
    pub(crate) team: Right,
    /// What is said of others' things to those who may not see them.
    pub(crate) unseen: Unseen,
}

/// What is said of others' things to those who may not see them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unseen {
    /// That there is no such thing.
    Hidden,
    /// That they may not: there is no thing whose existence it would tell.
    Told,
}

/// Every call and what it takes, in the order of [`Call`].
pub(crate) const RULES: [Rule; 23] = {
    use Call as C;
    use Right::{FunctionAdmin, FunctionRead, Operator, TeamAdmin, TeamRead};
    const fn rule(call: Call, own: Right, team: Right) -> Rule {
        let unseen = match call {
            C::CreateKey => Unseen::Told,
            _ => Unseen::Hidden,
        };
        Rule {
            call,
            own,
            team,
            unseen,
        }
    }
    [
        rule(C::ListNamespaces, FunctionRead, FunctionRead),
        rule(C::CreateNamespace, TeamAdmin, TeamAdmin),
        rule(C::RemoveNamespace, TeamAdmin, TeamAdmin),
        rule(C::ListKeys, FunctionRead, TeamRead),
        rule(C::ShowKey, FunctionRead, TeamRead),
        rule(C::CreateKey, FunctionAdmin, TeamAdmin),
        rule(C::UpdateKey, FunctionAdmin, TeamAdmin),
        rule(C::RotateKey, FunctionAdmin, TeamAdmin),
        rule(C::DisableKey, FunctionAdmin, TeamAdmin),
        rule(C::EnableKey, FunctionAdmin, TeamAdmin),
        rule(C::RevokeKey, FunctionAdmin, TeamAdmin),
        rule(C::DeleteKey, FunctionAdmin, TeamAdmin),
        rule(C::CreateControlKey, TeamAdmin, TeamAdmin),
        rule(C::RevokeAll, TeamAdmin, TeamAdmin),
        rule(C::PreviewMember, TeamRead, TeamRead),
        rule(C::RemoveMember, TeamAdmin, TeamAdmin),
        rule(C::ReadPolicy, FunctionRead, FunctionRead),
        rule(C::SetPolicy, TeamAdmin, TeamAdmin),
        rule(C::ReadLegacy, TeamRead, TeamRead),
        rule(C::SetLegacy, TeamAdmin, TeamAdmin),
        rule(C::ReadAudit, TeamRead, TeamRead),
        rule(C::Introspect, TeamRead, TeamRead),
        rule(C::Operate, Operator, Operator),
    ]
};

/// The table is in the order of the calls, so that looking one up is one step.
const _: () = {
    let mut at = 0;
    while at < RULES.len() {
        assert!(RULES[at].call as usize == at);
        at += 1;
    }
    assert!(Call::Operate as usize + 1 == RULES.len());
};

/// Judges a call by the table.
///
/// Who may not make the call even on what is their own is told so, before anything is looked up.
/// Who may make it on their own but not on others' things is told so if they may see those, and
/// else that there is no such thing.
pub(crate) fn decide(call: Call, rights: Rights, relation: Relation) -> Result<(), Refusal> {
    let Some(Rule {
        own, team, unseen, ..
    }) = RULES.get(call as usize)
    else {
        return Err(Refusal::FORBIDDEN);
    };
    match relation {
        _ if !rights.hold(*own) => Err(Refusal::FORBIDDEN),
        Relation::Own => Ok(()),
        Relation::Team if rights.hold(*team) => Ok(()),
        Relation::Team if rights.hold(Right::TeamRead) => Err(Refusal::FORBIDDEN),
        Relation::Team if *unseen == Unseen::Told => Err(Refusal::FORBIDDEN),
        Relation::Team => Err(Refusal::NOT_FOUND),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn others_things_take_no_less_than_ones_own() {
        for rule in &RULES {
            let team = Rights::new([rule.team]);
            assert!(team.hold(rule.own), "{:?}", rule.call);
        }
    }
}
