//! The first start on a store: somebody must be let in.

use std::{
    fs::{File, OpenOptions},
    io::{self, Write},
    net::SocketAddr,
    path::Path,
};

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

/// Makes the operator's credential, unless there was ever one. With a file it goes there, and is
/// not given.
pub(super) async fn credential(
    keyring: &Keyring<Store>,
    team: TeamId,
    owner: Owner,
    file: Option<&Path>,
) -> Result<Option<IssuedKey>, Failure> {
    let query = NamespaceQuery {
        namespace: Some(control_namespace(&team)?),
        ..NamespaceQuery::team(team.clone())
    };
    if !keyring.namespaces(&query).await?.items.is_empty() {
        return Ok(None);
    }
    // The file first: a credential that nobody can read could not be made again.
    let opened = file.map(|path| create(path).map_err(|error| Failure::file(path, &error)));
    let mut opened = opened.transpose()?;
    let context = Context::new(Actor::system(), moment::now());
    let right = Right::Operator;
    let credential =
        match first_credential(keyring, &context, team, owner, right, Expiry::Never).await {
            Ok((credential, _)) => credential,
            // Another server on the same store was faster.
            Err(FirstCredentialError::Keyring(ManageError::Conflict(Conflict::NameTaken))) => {
                return Ok(None);
            }
            Err(FirstCredentialError::Keyring(error)) => return Err(error.into()),
            Err(error) => return Err(Failure::usage(error.to_string())),
        };
    let (Some(opened), Some(path)) = (&mut opened, file) else {
        return Ok(Some(credential));
    };
    let written = writeln!(opened, "{}", credential.expose()).and_then(|()| opened.sync_all());
    written.map_err(|error| Failure::file(path, &error))?;
    tracing::info!(file = %path.display(), "the operator's credential is in a file");
    Ok(None)
}

/// Makes a file that nobody else can read.
fn create(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
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
