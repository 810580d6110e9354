//! The first credential, created at the first start on a store.

use std::{collections::BTreeSet, fmt, fs, io::Write, path::Path};

use keyfob::{
    Context, Expiry, IssuedKey, KeyInfo, Keyring, Owner, Tenant,
    audit::Action,
    manage,
    name::{Reason, TeamId},
    store::{AuditQuery, Conflict, KeyQuery, NamespaceQuery},
};
use keyfob_api::{FirstCredentialError, Right, control_namespace, first_credential};
use keyfob_listen::Address;
use serde::Serialize;

use crate::{
    failure::Failure,
    private_file::PrivateFile,
    settings::Form,
    terminal::{self, Terminal},
};

/// The operator's first credential.
pub(super) struct Bootstrap<'a> {
    pub(super) keyring: &'a Keyring,
    pub(super) team: TeamId,
    pub(super) owner: Owner,
    /// The file for it; none for the standard output.
    pub(super) file: Option<&'a Path>,
}

impl Bootstrap<'_> {
    /// Creates it unless there ever was one, and writes the server's address.
    ///
    /// If it cannot be written, it is deleted, and the next start creates another.
    pub(super) async fn show(&self, terminal: Terminal, address: &Address) -> Result<(), Failure> {
        let prefix = self.keyring.format().prefix();
        if self.was_shown().await? {
            return announce(terminal, address, None, prefix);
        }
        // The file first: without it no credential is created.
        let file = self.file.map(PrivateFile::create).transpose()?;
        let Some((credential, info)) = self.create().await? else {
            return announce(terminal, address, None, prefix);
        };
        let written = match file {
            Some(file) => {
                let path = file.path().to_owned();
                store(file, &credential).and_then(|()| {
                    announce(terminal, address, None, prefix).inspect_err(|_| {
                        // The credential in it is deleted below. If the file cannot be removed, the
                        // next start reports that it exists.
                        let _ = fs::remove_file(path);
                    })
                })
            }
            None => announce(terminal, address, Some(&credential), prefix),
        };
        match written {
            Ok(()) => Ok(()),
            Err(failure) => Err(self.delete_unseen(&info, &failure).await),
        }
    }

    /// Whether there ever was one that was shown.
    async fn was_shown(&self) -> Result<bool, Failure> {
        let namespace = control_namespace(&self.team)?;
        let query = NamespaceQuery {
            namespace: Some(namespace.clone()),
            ..NamespaceQuery::team(self.team.clone())
        };
        if self.keyring.namespaces(&query).await?.items.is_empty() {
            return Ok(false);
        }
        let query = AuditQuery {
            namespace: Some(namespace),
            limit: KeyQuery::LIMIT_MAX,
            ..AuditQuery::team(self.team.clone())
        };
        let (mut made, mut deleted) = (BTreeSet::new(), BTreeSet::new());
        for event in self.keyring.audit(&query).await?.items {
            let because = event.entry.reason.as_ref().map(Reason::as_str);
            match event.entry.action {
                Action::KeyCreated => made.extend(event.entry.credential),
                Action::KeyDeleted if because == Some(NOT_SHOWN) => {
                    deleted.extend(event.entry.credential);
                }
                _ => {}
            }
        }
        Ok(deleted.is_empty() || made != deleted)
    }

    /// Creates it; none if another server on the same store was faster.
    async fn create(&self) -> Result<Option<(IssuedKey, KeyInfo)>, Failure> {
        let context = Context::system(keyfob::now());
        let (team, owner) = (self.team.clone(), self.owner.clone());
        let right = Right::Operator;
        let made =
            first_credential(self.keyring, &context, team, owner, right, Expiry::Never).await;
        match made {
            Ok(made) => Ok(Some(made.into_parts())),
            Err(FirstCredentialError::Keyring(manage::Error::Conflict(Conflict::NameTaken))) => {
                Ok(None)
            }
            Err(FirstCredentialError::Keyring(error)) => Err(error.into()),
            Err(error) => Err(Failure::usage(error.to_string())),
        }
    }

    async fn delete_unseen(&self, info: &KeyInfo, failure: &Failure) -> Failure {
        let context = Context::system(keyfob::now());
        let deleted = match Reason::new(NOT_SHOWN) {
            Ok(reason) => {
                let context = context.with_reason(reason);
                let deleted = self
                    .keyring
                    .delete(&context, &info.tenant, info.id, None)
                    .await;
                deleted.map_err(Failure::from)
            }
            Err(error) => Err(error.into()),
        };
        let cause = failure.message();
        let message = format!("the operator's credential could not be written: {cause}");
        let failed = Failure::new(failure.exit(), message);
        let Err(error) = deleted else {
            return failed.hint("it was deleted: the next start creates a new one");
        };
        tracing::error!(%error, "the operator's credential could not be deleted");
        let id = self.keyring.format().key_id(info.id);
        let Tenant {
            team, namespace, ..
        } = &info.tenant;
        failed.hint(format!(
            "`keyfob keys rotate {id} --team {team} --namespace {namespace}` replaces its secret"
        ))
    }
}

/// The reason of the deletion of a credential that was not shown.
const NOT_SHOWN: &str = "it could not be shown";

/// Stores the credential in its file.
fn store(mut file: PrivateFile, credential: &IssuedKey) -> Result<(), Failure> {
    let written = writeln!(file.file(), "{}", credential.expose());
    written.map_err(|error| Failure::file(file.path(), &error))?;
    let path = file.path().to_owned();
    file.publish()?;
    tracing::info!(file = %path.display(), "wrote the operator's credential to a file");
    Ok(())
}

/// Writes the server's address. A new credential of the operator is alone on its line on the
/// standard output, or in the one line of JSON; commands to try go to the standard error.
fn announce(
    terminal: Terminal,
    address: &Address,
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
        "listening on {}; stop with ctrl-c",
        Http(address)
    ));
    if let Some(text) = operator {
        terminal.note(format_args!("the operator's credential, shown only once:"));
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

/// An address in the form of a URL.
struct Http<'a>(&'a Address);

impl fmt::Display for Http<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Address::Unix(_) => write!(f, "{}", self.0),
            address => write!(f, "http://{address}"),
        }
    }
}

fn guide(address: &Address, prefix: &str) -> String {
    let (curl, origin) = match address {
        Address::Unix(path) => {
            let curl = format!("curl --unix-socket '{}'", path.display());
            (curl, "http://localhost".to_owned())
        }
        address => ("curl".to_owned(), format!("http://{address}")),
    };
    format!(
        r#"
# To try it, in another shell. Other users can read the arguments of a process, so the credentials
# are in files that only you can read:
umask 077
cat > operator   # paste the line above, then press ctrl-d
sed 's/^/Authorization: Bearer /' operator > operator.header
keyfob namespaces create orders --team acme
{curl} -s -H @operator.header -H 'Content-Type: application/json' \
  -d '{{"name": "laptop", "expires_in": "90d"}}' {origin}/v2/functions/namespaces/orders/keys

# The answer has an id and a secret. With them a call passes; with another namespace it does not:
cat > key.header   # Authorization: Bearer {prefix}_v1_…:{prefix}_sk_…
{curl} -i -H @key.header {origin}/auth/orders
{curl} -i -H @key.header {origin}/auth/other

# Everything that the control plane does: {origin}/docs"#
    )
}
