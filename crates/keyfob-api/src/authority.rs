//! Who may do what: one table, which the handlers use and the tests check line by line.

use keyfob::Owner;

use crate::{
    caller::{Caller, Right, Rights},
    refusal::Refusal,
};

/// A call, or a group of calls that take the same rights.
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

/// Whose it is, as the caller sees it. What belongs to another team is not found, except by
/// operators, who act in every team.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Relation {
    /// The caller's own, or no one's.
    Own,
    /// Another owner's in the team.
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

/// What a call takes: the right to make it on the caller's own keys, and on any owner's in the team.
pub(crate) struct Rule {
    pub(crate) call: Call,
    pub(crate) own: Right,
    pub(crate) team: Right,
    /// The refusal for callers who may not see others' keys.
    pub(crate) unseen: Unseen,
}

/// The refusal for callers who may not see others' keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unseen {
    /// 404: whether it exists is not told.
    Hidden,
    /// 403: there is nothing whose existence it would tell.
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

/// The table is in the order of the calls: a look-up is an index.
const _: () = {
    let mut at = 0;
    while at < RULES.len() {
        assert!(RULES[at].call as usize == at);
        at += 1;
    }
    assert!(Call::Operate as usize + 1 == RULES.len());
};

/// Decides on a call by the table.
///
/// A caller who may not make the call even on its own keys gets 403 before anything is looked up. A
/// caller who may make it on its own keys only gets 403 for others' keys if it may see them, and
/// otherwise 404.
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
    fn the_right_for_the_team_includes_the_right_for_the_own() {
        for rule in &RULES {
            let team = Rights::new([rule.team]);
            assert!(team.hold(rule.own), "{:?}", rule.call);
        }
    }
}
