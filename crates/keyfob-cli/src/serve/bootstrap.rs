//! The first credential, created at the first start on a store.

use std::{collections::BTreeSet, fmt, fs, io::Write, net::SocketAddr, path::Path};

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
    /// Whether the control panel is served.
    pub(super) panel: bool,
    /// Whether proxies ask over TLS.
    pub(super) auth_tls: bool,
}

impl Bootstrap<'_> {
    /// Creates it unless there ever was one, and writes the server's addresses.
    ///
    /// If it cannot be written, it is deleted, and the next start creates another.
    pub(super) async fn show(
        &self,
        terminal: Terminal,
        address: &Address,
        auth: Option<&Address>,
    ) -> Result<(), Failure> {
        let at = Addresses {
            control: address,
            auth,
            auth_tls: self.auth_tls,
            panel: self.panel,
        };
        let prefix = self.keyring.format().prefix();
        if self.was_shown().await? {
            return announce(terminal, at, None, prefix);
        }
        // The file first: without it no credential is created.
        let file = self.file.map(PrivateFile::create).transpose()?;
        let Some((credential, info)) = self.create().await? else {
            return announce(terminal, at, None, prefix);
        };
        let written = match file {
            Some(file) => {
                let path = file.path().to_owned();
                store(file, &credential).and_then(|()| {
                    announce(terminal, at, None, prefix).inspect_err(|_| {
                        // The credential in it is deleted below. If the file cannot be removed, the
                        // next start reports that it exists.
                        let _ = fs::remove_file(path);
                    })
                })
            }
            None => announce(terminal, at, Some(&credential), prefix),
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

/// Where the server listens.
#[derive(Clone, Copy)]
struct Addresses<'a> {
    control: &'a Address,
    /// Where proxies ask.
    auth: Option<&'a Address>,
    /// Whether they ask over TLS. The control plane has none.
    auth_tls: bool,
    /// Whether the control panel is there.
    panel: bool,
}

impl Addresses<'_> {
    /// Where a browser on this machine finds the control panel.
    fn panel_url(&self) -> Option<String> {
        match self.control {
            Address::Tcp(address) if self.panel => {
                Some(format!("{}://{}/", scheme(false), reachable(address)))
            }
            _ => None,
        }
    }
}

/// An address that can be connected to from this machine, for one that was bound: every address of the machine
/// is none. Browsers keep a session over plain HTTP for these names.
fn reachable(bound: &str) -> String {
    match bound.parse::<SocketAddr>() {
        Ok(SocketAddr::V4(at)) if at.ip().is_unspecified() => format!("127.0.0.1:{}", at.port()),
        Ok(SocketAddr::V6(at)) if at.ip().is_unspecified() => format!("localhost:{}", at.port()),
        _ => bound.to_owned(),
    }
}

/// Writes the server's addresses. A new credential of the operator is alone on its line on the
/// standard output, or in the one line of JSON; commands to try go to the standard error.
fn announce(
    terminal: Terminal,
    at: Addresses<'_>,
    credential: Option<&IssuedKey>,
    prefix: &str,
) -> Result<(), Failure> {
    #[derive(Serialize)]
    struct Hello<'a> {
        address: String,
        auth: Option<String>,
        /// Where a browser finds the control panel.
        panel: Option<String>,
        operator: Option<&'a str>,
    }
    let operator = credential.map(IssuedKey::expose);
    if terminal.form() == Form::Json {
        return terminal::json_line(&Hello {
            address: at.control.to_string(),
            auth: at.auth.map(Address::to_string),
            panel: at.panel_url(),
            operator,
        });
    }
    let control = Url(at.control, false);
    match at.auth.map(|auth| Url(auth, at.auth_tls)) {
        Some(auth) => terminal.note(format_args!(
            "listening on {control}, for proxies on {auth}; stop with ctrl-c"
        )),
        None => terminal.note(format_args!("listening on {control}; stop with ctrl-c")),
    }
    if let Some(panel) = at.panel_url() {
        terminal.note(format_args!("control panel, for a browser: {panel}"));
    }
    if let Some(text) = operator {
        terminal.note(format_args!("the operator's credential, shown only once:"));
        let name = if terminal.form() == Form::Env {
            "KEYFOB_OPERATOR_KEY="
        } else {
            ""
        };
        terminal::line(format_args!("{name}{text}"))?;
        terminal.note(format_args!("{}", guide(at, prefix)));
    }
    Ok(())
}

/// An address in the form of a URL, with TLS or without.
struct Url<'a>(&'a Address, bool);

impl fmt::Display for Url<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Address::Unix(_) => write!(f, "{}", self.0),
            address => write!(f, "{}://{address}", scheme(self.1)),
        }
    }
}

fn scheme(tls: bool) -> &'static str {
    if tls { "https" } else { "http" }
}

fn guide(at: Addresses<'_>, prefix: &str) -> String {
    let (curl, origin) = curl(at.control, false);
    let ask = at.auth.map_or_else(String::new, |auth| {
        let (curl, origin) = self::curl(auth, at.auth_tls);
        let tls = if at.auth_tls {
            "\n# (curl needs `--cacert FILE` if the system does not trust the certificate.)"
        } else {
            ""
        };
        format!(
            r"
# The answer has an id and a secret. With them a call passes; for another namespace it does not. This
# is what a proxy asks:{tls}
cat > key.header   # Authorization: Bearer {prefix}_v1_…:{prefix}_sk_…
{curl} -i -H @key.header {origin}/auth/orders
{curl} -i -H @key.header {origin}/auth/other"
        )
    });
    let panel = at.panel_url().map_or_else(String::new, |panel| {
        format!("\n# In a browser, with the line above as the control key: {panel}\n")
    });
    format!(
        r#"{panel}
# To try it, in another shell. Other users can read the arguments of a process, so the credentials
# are in files that only you can read:
umask 077
cat > operator   # paste the line above, then press ctrl-d
sed 's/^/Authorization: Bearer /' operator > operator.header
keyfob namespaces create orders --team acme
{curl} -s -H @operator.header -H 'Content-Type: application/json' \
  -d '{{"name": "laptop", "expires_in": "90d"}}' {origin}/v2/functions/namespaces/orders/keys{ask}
# Everything that the control plane does: {origin}/docs"#
    )
}

/// The command for requests to an address, and the beginning of their URLs.
fn curl(address: &Address, tls: bool) -> (String, String) {
    let scheme = scheme(tls);
    match address {
        Address::Unix(path) => {
            let curl = format!("curl --unix-socket '{}'", path.display());
            (curl, format!("{scheme}://localhost"))
        }
        Address::Tcp(address) => (
            "curl".to_owned(),
            format!("{scheme}://{}", reachable(address)),
        ),
        address => ("curl".to_owned(), format!("{scheme}://{address}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_browser_is_shown_an_address_that_it_can_reach() {
        for (bound, panel) in [
            ("0.0.0.0:8080", "http://127.0.0.1:8080/"),
            ("[::]:8080", "http://localhost:8080/"),
            ("127.0.0.1:8080", "http://127.0.0.1:8080/"),
            ("[::1]:80", "http://[::1]:80/"),
            ("192.0.2.7:8080", "http://192.0.2.7:8080/"),
        ] {
            let control = Address::Tcp(bound.to_owned());
            let addresses = |panel| Addresses {
                control: &control,
                auth: None,
                auth_tls: false,
                panel,
            };
            assert_eq!(addresses(true).panel_url().as_deref(), Some(panel));
            assert_eq!(addresses(false).panel_url(), None);
        }
    }
}
