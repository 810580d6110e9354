//! Identity fields of the client never reach the backend, in no spelling.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use keyfob_proxies::{Kind, Seen};
use ring::signature::{ED25519, UnparsedPublicKey};
use serde_json::Value;

use crate::{
    calls::{basic, path, request},
    keyfob::id,
    setup::{PATIENCE, Report, Setup},
};

/// The fields that say who sent a call, after `X-Keyfob-`.
const FIELDS: [&str; 7] = [
    "Key-Id",
    "Owner",
    "Team",
    "Namespace",
    "Scopes",
    "Expires",
    "Identity",
];
const FORGED: &str = "forged";

pub(crate) fn run(setup: &mut Setup, report: &mut Report) {
    largest(setup, report);
    let key = basic(&setup.key);
    let mut answered = 0;
    for field in FIELDS {
        for (how, forged) in spellings(field) {
            let forged: Vec<&str> = forged.iter().map(String::as_str).collect();
            let what = format!("{field} {how}");
            let fields = [&forged[..], &[&*key]].concat();
            let bytes = request("GET", &path("orders"), &fields);
            answered += usize::from(forge(setup, report, &what, &bytes));
            // Without a key it does not pass at all. (On a busy machine an answer may take too long.)
            let before = setup.backend.count();
            if let Ok(outcome) =
                setup.send(&request("GET", &path("orders"), &forged), false, PATIENCE)
            {
                let status = outcome.status();
                report.check(
                    matches!(status, 400 | 401 | 503),
                    format_args!("{what}, no key: {status}"),
                );
                answered += 1;
            }
            report.check(
                setup.backend.count() == before,
                format_args!("{what}, no key: passed"),
            );
        }
    }
    // Few are closed without an answer.
    let all = 2 * FIELDS
        .map(|field| spellings(field).len())
        .iter()
        .sum::<usize>();
    report.check(
        answered * 10 >= all * 9,
        format_args!("{answered} of {all} calls were answered"),
    );
    // A preflight passes without an identity, also if it claims or carries one.
    let mut fields: Vec<String> = FIELDS
        .iter()
        .flat_map(|field| spellings(field))
        .flat_map(|(_, all)| all)
        .collect();
    fields.retain(|field| {
        !field.starts_with("Connection")
            && !field.contains(" :")
            && !field.contains(char::is_control)
    });
    fields.extend([
        "Origin: https://app.example".into(),
        "Access-Control-Request-Method: POST".into(),
        key,
    ]);
    for some in fields.chunks(24) {
        let some = [some, &fields[fields.len() - 3..]].concat();
        let some: Vec<&str> = some.iter().map(String::as_str).collect();
        let outcome = setup.send(
            &request("OPTIONS", &path("orders"), &some[..some.len() - 1]),
            false,
            PATIENCE,
        );
        let seen = outcome.ok().and_then(|outcome| outcome.seen);
        let Some(seen) = seen else {
            report.check(false, "a preflight did not pass");
            continue;
        };
        let claims = seen
            .fields
            .iter()
            .filter(|(name, value)| is_identity(name) && !value.is_empty());
        let claims: Vec<_> = claims.collect();
        report.check(
            claims.is_empty(),
            format_args!("a preflight with {claims:?}"),
        );
    }
}

/// The ways to write a field, with what is sent.
fn spellings(field: &str) -> Vec<(String, Vec<String>)> {
    let name = format!("X-Keyfob-{field}");
    let value = format!(": {FORGED}");
    let mut all = vec![
        ("as it is".to_owned(), vec![format!("{name}{value}")]),
        (
            "doubled".to_owned(),
            vec![format!("{name}{value}"), format!("{name}{value}")],
        ),
        (
            "in lower case".to_owned(),
            vec![format!("{}{value}", name.to_lowercase())],
        ),
        (
            "in upper case".to_owned(),
            vec![format!("{}{value}", name.to_uppercase())],
        ),
        (
            "in odd case".to_owned(),
            vec![format!("{}{value}", odd_case(&name))],
        ),
        ("with a space".to_owned(), vec![format!("{name} {value}")]),
        ("with a tab".to_owned(), vec![format!("{name}\t{value}")]),
        (
            "folded".to_owned(),
            vec![format!("X-Folded: x\r\n {name}{value}")],
        ),
        (
            "folded with a tab".to_owned(),
            vec![format!("{name}:\r\n\t{FORGED}")],
        ),
        (
            "after a bare line feed".to_owned(),
            vec![format!("X-A: x\n{name}{value}")],
        ),
        (
            "after a bare carriage return".to_owned(),
            vec![format!("X-A: x\r{name}{value}")],
        ),
        (
            "after a null".to_owned(),
            vec![format!("X-A: x\0{name}{value}")],
        ),
    ];
    for connection in [name.clone(), name.to_lowercase(), name.replace('-', "_")] {
        all.push((
            format!("named in Connection as {connection}"),
            vec![
                format!("{name}{value}"),
                format!("Connection: close, {connection}"),
            ],
        ));
    }
    all.push((
        "named in a second Connection".to_owned(),
        vec![
            format!("{name}{value}"),
            "Connection: close".to_owned(),
            format!("Connection: {name}"),
        ],
    ));
    // Every way to write some of the hyphens as underscores.
    let hyphens = name.matches('-').count();
    for choice in 1..1_u32 << hyphens {
        let mut at = 0;
        let written: String = name
            .chars()
            .map(|letter| {
                let underscore = letter == '-' && {
                    at += 1;
                    choice >> (at - 1) & 1 == 1
                };
                if underscore { '_' } else { letter }
            })
            .collect();
        all.push((format!("as {written}"), vec![format!("{written}{value}")]));
    }
    all
}

fn odd_case(name: &str) -> String {
    let letters = name.chars().enumerate();
    letters
        .map(|(at, letter)| {
            if at % 2 == 0 {
                letter.to_ascii_lowercase()
            } else {
                letter.to_ascii_uppercase()
            }
        })
        .collect()
}

pub(crate) fn is_identity(name: &str) -> bool {
    let name = name.to_ascii_lowercase().replace('_', "-");
    let field = name.strip_prefix("x-keyfob-").unwrap_or_default();
    FIELDS.iter().any(|one| one.eq_ignore_ascii_case(field))
}

/// A call with a key and forged fields is refused, or arrives with the identity of the key alone.
/// Returns whether it was answered.
fn forge(setup: &Setup, report: &mut Report, what: &str, bytes: &[u8]) -> bool {
    let Ok(outcome) = setup.send(bytes, false, PATIENCE) else {
        return false;
    };
    let Some(seen) = outcome.seen else {
        let status = outcome.answer.status;
        report.check(status == 400, format_args!("{what}: {status}"));
        return true;
    };
    is_of_key(setup, report, what, &seen, &setup.key, "orders");
    let named = seen.all("connection").join(", ").to_ascii_lowercase();
    report.check(
        !named.contains("keyfob"),
        format_args!("{what}: Connection names {named}"),
    );
    true
}

/// The key with the most to say: an expiry, and as many scopes as a key can have, each as long as it can be.
fn largest(setup: &Setup, report: &mut Report) {
    let scopes: Vec<String> = (0..64)
        .map(|at| format!("{at:02}{}", "s".repeat(62)))
        .collect();
    let mut create = vec!["keys", "create", "largest", "--namespace", "orders"];
    let listed = scopes.join(",");
    create.extend(["--expires", "2099-12-31T23:59:59Z", "--scope", &listed]);
    let key = setup.keyfob.run(&create);
    setup.await_status(&key, "orders", 200);
    let outcome = setup.call("GET", &path("orders"), &[&basic(&key)]).unwrap();
    let status = outcome.status();
    report.check(status == 200, format_args!("the largest key: {status}"));
    if let Some(seen) = outcome.seen {
        let scopes = scopes.join(" ");
        let expected = [id(&key), "orders", &*scopes, "2099-12-31T23:59:59Z"];
        has_identity(setup, report, "the largest key", &seen, expected);
    }
}

/// What a signed identity says, if its signature is right.
fn claims(setup: &Setup, token: &str) -> Option<Value> {
    let (signed, signature) = token.rsplit_once('.')?;
    let signature = URL_SAFE_NO_PAD.decode(signature).ok()?;
    let key = UnparsedPublicKey::new(&ED25519, &setup.identity_key);
    key.verify(signed.as_bytes(), &signature).ok()?;
    let (_, claims) = signed.split_once('.')?;
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(claims).ok()?).ok()
}

/// The backend got the identity of this key, and each field of it once.
pub(crate) fn is_of_key(
    setup: &Setup,
    report: &mut Report,
    what: &str,
    seen: &Seen,
    key: &str,
    namespace: &str,
) {
    has_identity(setup, report, what, seen, [id(key), namespace, "*", ""]);
}

/// The backend got this key id, namespace, scopes and expiry of a key of alice's, each field once, and the same
/// signed.
fn has_identity(
    setup: &Setup,
    report: &mut Report,
    what: &str,
    seen: &Seen,
    [key, namespace, scopes, expires]: [&str; 4],
) {
    for (field, expected) in [
        ("key-id", key),
        ("owner", "user:alice"),
        ("team", "acme"),
        ("namespace", namespace),
        ("scopes", scopes),
        ("expires", expires),
    ] {
        let got = seen.all(&format!("x-keyfob-{field}"));
        // A field that has nothing to say is empty, or, with nginx and over gRPC, absent.
        let may_be_absent = matches!(setup.kind, Kind::Nginx | Kind::EnvoyGrpc);
        let absent = expected.is_empty() && may_be_absent && got.is_empty();
        report.check(
            absent || got == [expected],
            format_args!("{what}: {field} is {got:?}"),
        );
    }
    let token = seen.all("x-keyfob-identity");
    let claims = match token[..] {
        [token] if setup.signs => claims(setup, token),
        [] | [""] if !setup.signs => return,
        _ => None,
    };
    let expected = [
        ("sub", "user:alice"),
        ("key_id", key),
        ("team", "acme"),
        ("namespace", namespace),
        ("scope", scopes),
    ];
    let same =
        claims.is_some_and(|claims| expected.iter().all(|(name, value)| claims[name] == *value));
    report.check(
        same,
        format_args!("{what}: the signed identity is {token:?}"),
    );
    let forged = seen
        .fields
        .iter()
        .find(|(name, value)| is_identity(name) && value.contains(FORGED));
    report.check(forged.is_none(), format_args!("{what}: {forged:?}"));
}
