//! Scopes in bodies: a list of names, or `["*"]` for every scope.

use keyfob::{Scopes, Tenant, name::Scope};

use crate::{
    admission::Admitted,
    authority::Call,
    caller::{Right, Rights},
    control_keys::is_control,
    refusal::Refusal,
};

/// Stands for every scope, alone.
const EVERY: &str = "*";

/// Reads scopes as a body gives them.
pub(crate) fn parse_scopes(names: &[String]) -> Result<Scopes, Refusal> {
    match names {
        [only] if only == EVERY => Ok(Scopes::All),
        names if names.iter().any(|name| name == EVERY) => Err(Refusal::bad_request(
            "scopes: * stands for every scope, and alone",
        )),
        names => {
            let scopes = names.iter().map(|name| Scope::new(name));
            Ok(Scopes::only(scopes.collect::<Result<Vec<_>, _>>()?)?)
        }
    }
}

/// Writes scopes as a body shows them.
pub(crate) fn scope_names(scopes: &Scopes) -> Vec<String> {
    match scopes {
        Scopes::Only(scopes) => scopes
            .iter()
            .map(|scope| scope.as_str().to_owned())
            .collect(),
        _ => vec![EVERY.to_owned()],
    }
}

/// Refuses scopes that a caller must not give to a key: a control key has no right that its maker
/// has not. Keys of other namespaces open nothing of the control plane, whatever their scopes.
pub(crate) fn refuse_escalation(
    asked: &Admitted,
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
        return Err(Refusal::bad_request(
            "scopes: a control key takes function:read, function:admin, team:read, team:admin and operator",
        ));
    }
    if Rights::of(scopes).within(asked.caller.rights) {
        Ok(())
    } else {
        Err(Refusal::forbidden(
            "scopes: a key cannot give a right that it does not have",
        ))
    }
}

/// Refuses to make more of a control key than it is to those who may not make one: more rights, or
/// another life.
pub(crate) fn refuse_growth(asked: &Admitted, tenant: &Tenant, grows: bool) -> Result<(), Refusal> {
    if grows && is_control(tenant) {
        asked.may(Call::CreateControlKey)
    } else {
        Ok(())
    }
}

/// Refuses what would put a caller in possession of a control key, or let one work again, that has
/// rights which the caller has not.
pub(crate) fn refuse_takeover(
    asked: &Admitted,
    tenant: &Tenant,
    held: &Scopes,
) -> Result<(), Refusal> {
    if !is_control(tenant) || Rights::of(held).within(asked.caller.rights) {
        Ok(())
    } else {
        Err(Refusal::forbidden(
            "the key has rights that the caller has not",
        ))
    }
}
