//! The first start on a store: somebody must be let in.

use std::net::SocketAddr;

use keyfob::{
    Actor, Context, Expiry, IssuedKey, Keyring, ManageError, Owner, TeamId,
    store::{Conflict, NamespaceQuery},
};
use keyfob_api::{FirstCredentialError, Right, control_namespace, first_credential};
use serde::Serialize;

use crate::{
    failure::Failure,
    moment,
    settings::Form,
    store::Store,
    terminal::{self, Terminal},
};

/// Makes the operator's credential, unless there was ever one.
pub(super) async fn credential(
    keyring: &Keyring<Store>,
    team: TeamId,
    owner: Owner,
) -> Result<Option<IssuedKey>, Failure> {
    let query = NamespaceQuery {
        namespace: Some(control_namespace(&team)?),
        ..NamespaceQuery::team(team.clone())
    };
    if !keyring.namespaces(&query).await?.items.is_empty() {
        return Ok(None);
    }
    let context = Context::new(Actor::system(), moment::now());
    let right = Right::Operator;
    match first_credential(keyring, &context, team, owner, right, Expiry::Never).await {
        Ok((credential, _)) => Ok(Some(credential)),
        // Another server on the same store was faster.
        Err(FirstCredentialError::Keyring(ManageError::Conflict(Conflict::NameTaken))) => Ok(None),
        Err(FirstCredentialError::Keyring(error)) => Err(error.into()),
        Err(error) => Err(Failure::usage(error.to_string())),
    }
}

/// Says where the server listens. The operator's credential, if there is a new one, is alone on
/// its line on the standard output, or in the one line of JSON; what to try stands beside it.
pub(super) fn show(
    terminal: Terminal,
    address: SocketAddr,
    credential: Option<&IssuedKey>,
    prefix: &str,
) -> Result<(), Failure> {
    #[derive(Serialize)]
    struct Hello<'a> {
        address: String,
        operator: Option<&'a str>,
    }
    let operator = credential.map(IssuedKey::expose);
    if terminal.form() == Form::Json {
        let address = address.to_string();
        return terminal::json_line(&Hello { address, operator });
    }
    terminal.note(format_args!(
        "listening on http://{address}; ctrl-c stops it"
    ));
    if let Some(text) = operator {
        terminal.note(format_args!("the operator's credential, shown this once:"));
        let name = if terminal.form() == Form::Env {
            "KEYFOB_OPERATOR_KEY="
        } else {
            ""
        };
        terminal::line(format_args!("{name}{text}"))?;
        terminal.note(format_args!("{}", guide(address, prefix)));
    }
    Ok(())
}

fn guide(address: SocketAddr, prefix: &str) -> String {
    format!(
        r#"
# To try it, in another shell:
OPERATOR='…'   # the line above
keyfob namespaces create orders --team acme
curl -s -H "Authorization: Bearer $OPERATOR" -H 'Content-Type: application/json' \
  -d '{{"name": "laptop", "expires_in": "90d"}}' http://{address}/v2/functions/namespaces/orders/keys

# The answer has an id and a secret. With them a call passes; with another namespace it does not:
curl -i -u '{prefix}_v1_…:{prefix}_sk_…' http://{address}/auth/orders
curl -i -u '{prefix}_v1_…:{prefix}_sk_…' http://{address}/auth/other

# Everything that the control plane does: http://{address}/docs"#
    )
}
