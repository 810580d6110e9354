//! What a caller may do with control keys that have rights.

use keyfob::{Scopes, Tenant};

use crate::{
    authority::Call,
    caller::{Right, Rights},
    caller_context::CallerContext,
    control_keys::is_control,
    refusal::Refusal,
};

/// Refuses scopes that a caller must not give to a key: a control key gets no right that its creator
/// does not have. Keys of other namespaces open nothing of the control plane, whichever their scopes.
pub(crate) fn refuse_escalation(
    caller: &CallerContext,
    tenant: &Tenant,
    scopes: &Scopes,
) -> Result<(), Refusal> {
    if !is_control(tenant) {
        return Ok(());
    }
    let Scopes::Only(named) = scopes else {
        return Err(Refusal::bad_request(
            "scopes: a control key must name each of its scopes",
        ));
    };
    if named
        .iter()
        .any(|scope| Right::parse(scope.as_str()).is_none())
    {
        let rights = Right::ALL.map(Right::as_str).join(", ");
        return Err(Refusal::bad_request(format!(
            "scopes: those of a control key are rights: {rights}"
        )));
    }
    if Rights::of(scopes).within(caller.rights) {
        Ok(())
    } else {
        Err(Refusal::forbidden(
            "scopes: a key cannot give a right that it does not have",
        ))
    }
}

/// Refuses to extend a control key, in rights or in time, for a caller who may not create one.
pub(crate) fn refuse_growth(
    caller: &CallerContext,
    tenant: &Tenant,
    grows: bool,
) -> Result<(), Refusal> {
    if grows && is_control(tenant) {
        caller.require(Call::CreateControlKey)
    } else {
        Ok(())
    }
}

/// Refuses to give a caller a control key with rights that it does not have, or to make such a key
/// work again.
pub(crate) fn refuse_takeover(
    caller: &CallerContext,
    tenant: &Tenant,
    held: &Scopes,
) -> Result<(), Refusal> {
    if !is_control(tenant) || Rights::of(held).within(caller.rights) {
        Ok(())
    } else {
        Err(Refusal::forbidden(
            "the key has rights that the caller does not have",
        ))
    }
}
