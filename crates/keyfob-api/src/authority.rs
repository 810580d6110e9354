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
    RestoreNamespace,
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
    ReadUsage,
    Introspect,
    ReportLeak,
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
pub(crate) const RULES: [Rule; 26] = {
    use Call as C;
    use Right::{
        FunctionAdmin, FunctionCreate, FunctionDelete, FunctionRead, Operator, TeamAdmin, TeamRead,
    };
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
        rule(C::CreateNamespace, FunctionCreate, FunctionCreate),
        rule(C::RemoveNamespace, FunctionDelete, FunctionDelete),
        rule(C::RestoreNamespace, TeamAdmin, TeamAdmin),
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
        rule(C::ReadUsage, TeamRead, TeamRead),
        rule(C::Introspect, TeamRead, TeamRead),
        rule(C::ReportLeak, FunctionRead, FunctionRead),
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

/// What each operation of the document takes, by its identifier; none for a call that takes no right.
pub(crate) const OPERATIONS: &[(&str, Option<Call>)] = {
    use Call as C;
    &[
        ("list_namespaces", Some(C::ListNamespaces)),
        ("create_namespace", Some(C::CreateNamespace)),
        ("show_namespace", Some(C::ListNamespaces)),
        ("delete_namespace", Some(C::RemoveNamespace)),
        ("remove_namespace", Some(C::RemoveNamespace)),
        ("restore_namespace", Some(C::RestoreNamespace)),
        ("list_keys", Some(C::ListKeys)),
        ("list_team_keys", Some(C::ListKeys)),
        ("create_key", Some(C::CreateKey)),
        ("show_key", Some(C::ShowKey)),
        ("update_key", Some(C::UpdateKey)),
        ("delete_key", Some(C::DeleteKey)),
        ("disable_key", Some(C::DisableKey)),
        ("enable_key", Some(C::EnableKey)),
        ("rotate_key", Some(C::RotateKey)),
        ("revoke_key", Some(C::RevokeKey)),
        ("show_policy", Some(C::ReadPolicy)),
        ("set_policy", Some(C::SetPolicy)),
        ("unset_policy", Some(C::SetPolicy)),
        ("show_legacy_policy", Some(C::ReadLegacy)),
        ("set_legacy_policy", Some(C::SetLegacy)),
        ("unset_legacy_policy", Some(C::SetLegacy)),
        ("cut_off_legacy", Some(C::SetLegacy)),
        ("revoke_legacy", Some(C::SetLegacy)),
        ("list_teams", Some(C::Operate)),
        ("list_team_namespaces", Some(C::ListNamespaces)),
        ("list_members", Some(C::PreviewMember)),
        ("preview_member", Some(C::PreviewMember)),
        ("remove_member", Some(C::RemoveMember)),
        ("restore_member", Some(C::RemoveMember)),
        ("revoke_all", Some(C::RevokeAll)),
        ("remove_team", Some(C::Operate)),
        ("restore_team", Some(C::Operate)),
        ("list_team_audit", Some(C::ReadAudit)),
        ("report_team_legacy", Some(C::ReadLegacy)),
        ("show_usage", Some(C::ReadUsage)),
        ("show_fleet", Some(C::Operate)),
        ("list_audit", Some(C::Operate)),
        ("verify_audit", Some(C::Operate)),
        ("report_legacy", Some(C::Operate)),
        ("show_default_policy", Some(C::Operate)),
        ("set_default_policy", Some(C::Operate)),
        ("unset_default_policy", Some(C::Operate)),
        ("show_default_legacy_policy", Some(C::Operate)),
        ("set_default_legacy_policy", Some(C::Operate)),
        ("unset_default_legacy_policy", Some(C::Operate)),
        ("introspect", Some(C::Introspect)),
        ("report_leaks", Some(C::ReportLeak)),
        ("show_caller", None),
        ("revoke_by_holder", None),
    ]
};

/// The rule of an operation of the document; none if it takes no right.
pub(crate) fn rule_of(operation: &str) -> Option<&'static Rule> {
    let (_, call) = OPERATIONS.iter().find(|(id, _)| *id == operation)?;
    RULES.get((*call)? as usize)
}

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
        _ if !rights.hold(*own) => Err(Refusal::missing_right(*own)),
        Relation::Own => Ok(()),
        Relation::Team if rights.hold(*team) => Ok(()),
        Relation::Team if rights.hold(Right::TeamRead) || *unseen == Unseen::Told => {
            Err(Refusal::missing_right(*team))
        }
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
