//! The users, services and keys that the demo starts with, and a guide to try them.

use std::{
    error::Error,
    io::{self, Write},
    net::SocketAddr,
};

use keyfob::{
    Context, IssuedKey, NewKey, Owner, Scopes, Tenant,
    key::Peppers,
    legacy::{LegacyPolicy, read_subjects},
    name::{KeyName, ServiceId, TeamId, UserId},
};
use serde_json::{Map, json};
use time::OffsetDateTime;

use crate::{Gateway, operate::CONTROL, refusal::log};

/// The plaintext of the demo's keys, with the names that the guide uses.
pub(crate) type Keys = Vec<(&'static str, IssuedKey)>;

/// The public example credential of `OpenWhisk`, as its database exports it. A real import reads a
/// file.
const SUBJECTS: &str = r#"{"_id": "guest", "subject": "guest", "namespaces": [{"name": "guest", "uuid": "23bc46b1-71f6-4ed5-8c54-816aa4f8c502", "key": "123zO3xZCLrMN6v2BKK1dXYFpXlPkccOFqm12CdAsMgRU4VrNZ9lyGVCGuMDGIwP"}]}"#;
/// The credential in it, as its users present it.
const GUEST: &str = "23bc46b1-71f6-4ed5-8c54-816aa4f8c502:123zO3xZCLrMN6v2BKK1dXYFpXlPkccOFqm12CdAsMgRU4VrNZ9lyGVCGuMDGIwP";

/// Creates the users, services and keys of the demo, and returns the keys to print.
pub(crate) async fn populate(
    gateway: &Gateway,
    sunset: OffsetDateTime,
) -> Result<Keys, Box<dyn Error>> {
    let context = Context::system(OffsetDateTime::now_utc());
    let user = |name| UserId::new(name).map(Owner::User);
    let service = |name| ServiceId::new(name).map(Owner::Service);

    let functions = Tenant::parse("acme", "fn-demo")?;
    let others = Tenant::parse("acme", "fn-other")?;
    let control = Tenant::parse("operators", CONTROL)?;
    let rights = &gateway.rights;
    let may_report = Scopes::only(rights.read_legacy.clone())?;
    let may_both =
        Scopes::only([rights.remove_members.clone(), rights.read_legacy.clone()].concat())?;
    let mut keys = Keys::new();
    for (label, tenant, owner, scopes) in [
        ("alice", &functions, user("alice")?, Scopes::All),
        ("bob", &functions, user("bob")?, Scopes::All),
        ("service", &functions, service("deploy-bot")?, Scopes::All),
        ("carol", &others, user("carol")?, Scopes::All),
        ("operator", &control, user("olga")?, may_both),
        ("reporter", &control, service("report-bot")?, may_report),
    ] {
        let new = NewKey::new(tenant.clone(), owner, KeyName::new(label)?).with_scopes(scopes);
        let created = gateway.keyring.create(&context, new).await?;
        keys.push((label, created.secret));
    }

    let acme = TeamId::new("acme")?;
    let import = read_subjects(SUBJECTS, &context, &Peppers::none(), |_| Some(acme.clone()));
    for problem in &import.problems {
        log(format_args!("import {problem}"));
    }
    for record in import.records {
        // Legacy credentials are off by default: an import alone does not accept any.
        let policy = Some(LegacyPolicy::until(sunset));
        let keyring = &gateway.keyring;
        let tenant = record.tenant.clone();
        keyring.import_legacy(&context, record).await?;
        keyring
            .set_legacy_policy(&context, Some(&tenant), policy)
            .await?;
    }
    Ok(keys)
}

/// Prints one line of JSON for a program that started the gateway.
pub(crate) fn print_json(address: SocketAddr, keys: &Keys) -> io::Result<()> {
    let mut texts: Map<_, _> = keys
        .iter()
        .map(|(label, key)| ((*label).to_owned(), key.expose().into()))
        .collect();
    texts.insert("guest".to_owned(), GUEST.into());
    let mut out = io::stdout().lock();
    writeln!(
        out,
        "{}",
        json!({"address": address.to_string(), "keys": texts})
    )?;
    out.flush()
}

/// Prints commands to paste into a shell.
pub(crate) fn print_guide(address: SocketAddr, keys: &Keys) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(
        out,
        "The demo gateway listens on http://{address}; ctrl-c stops it.\n"
    )?;
    writeln!(
        out,
        "# The keys are shown only once, and exist until the gateway stops. Paste them:"
    )?;
    for (label, key) in keys {
        writeln!(out, "{}='{}'", label.to_uppercase(), key.expose())?;
    }
    writeln!(out, "GUEST='{GUEST}'\nGATEWAY='http://{address}'")?;
    writeln!(out, "{GUIDE}")?;
    out.flush()
}

const GUIDE: &str = r#"API="$GATEWAY/api/v1/namespaces"

# Other users can read the arguments of a process, so curl reads the credentials from a pipe:
as() { printf 'user = "%s"\n' "$1" | { shift; curl -K - "$@"; }; }
bearer() { printf 'header = "Authorization: Bearer %s"\n' "$1" | { shift; curl -K - "$@"; }; }

# Alice calls a function, with her key as Basic credentials and as a bearer token:
as "$ALICE" -d '{"name": "Ada"}' "$API/fn-demo/actions/hello?blocking=true&result=true"
bearer "$ALICE" -X POST "$API/_/actions/whoami?blocking=true&result=true"
as "$ALICE" "$API"

# Another namespace, and no key at all:
as "$ALICE" -i "$API/fn-other/actions"
curl -i "$API/fn-demo/actions"

# The legacy credential works until its sunset, and the operator sees who still uses it:
as "$GUEST" -X POST "$API/guest/actions/whoami?blocking=true&result=true"
bearer "$OPERATOR" "$GATEWAY/legacy"

# Remove Bob from the team. His key is refused at once; other keys still work:
bearer "$OPERATOR" -i -X DELETE "$GATEWAY/teams/acme/members/bob"
as "$BOB" -i "$API/fn-demo/actions"
as "$SERVICE" -X POST "$API/_/actions/whoami?blocking=true&result=true"
"#;
