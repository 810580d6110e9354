//! Which credentials pass.

use std::time::Duration;

use keyfob::{Context, KeyStore as _, Keyring, NewKey, Timestamp, Ttl, block_on, now};
use keyfob_proxies::{Kind, Response};
use keyfob_sqlite::SqliteStore;

use crate::{
    calls::{basic, bearer, path},
    keyfob::{id, wrong_secret},
    setup::{Report, Setup},
};

pub(crate) fn run(setup: &mut Setup, report: &mut Report) {
    let orders = path("orders");
    for field in [basic(&setup.key), bearer(&setup.key)] {
        let outcome = setup
            .call("POST", &orders, &[&field, "Content-Length: 0"])
            .unwrap();
        report.check(
            outcome.status() == 200,
            format_args!("valid: {}", outcome.status()),
        );
        let passed = outcome
            .seen
            .is_some_and(|seen| seen.all("authorization").is_empty());
        report.check(passed, "the backend got no call, or the credential");
    }
    let wrong = wrong_secret(&setup.key);
    let expired = expired(setup);
    let disabled = setup.keyfob.create("orders", "disabled");
    setup.await_status(&disabled, "orders", 200);
    setup.keyfob.run(&["keys", "disable", id(&disabled)]);
    setup.await_status(&disabled, "orders", 401);
    let (key, other) = (basic(&setup.key), basic(&setup.other));
    let cases: [(&str, Vec<String>, &[u16]); 14] = [
        ("none", vec![], &[401]),
        ("empty", vec!["Authorization:".into()], &[401]),
        ("no key", vec![bearer("x")], &[401]),
        (
            "another scheme",
            vec!["Authorization: Digest username=\"x\"".into()],
            &[401],
        ),
        ("a legacy credential", vec![GUEST.into()], &[401]),
        ("wrong", vec![basic(&wrong)], &[401]),
        ("expired", vec![basic(&expired)], &[401]),
        ("disabled", vec![basic(&disabled)], &[401]),
        ("of another namespace", vec![other.clone()], &[403]),
        ("two", vec![key.clone(), other], &[400, 401]),
        ("the same twice", vec![key.clone(), key], &[400, 401]),
        (
            "oversized",
            vec![bearer(&"x".repeat(7 * 1024))],
            &[400, 401, 431],
        ),
        (
            "with too many fields",
            // Traefik passes on only the fields that Keyfob needs: there, no key is refused.
            (0..300).map(|n| format!("X-Field-{n}: value")).collect(),
            &[400, 401, 431],
        ),
        (
            "huge",
            vec![bearer(&"x".repeat(200 * 1024))],
            &[400, 401, 413, 431, 494],
        ),
    ];
    for (name, fields, allowed) in cases {
        let before = setup.backend.count();
        // A gateway may close the connection while a huge field is being sent.
        let fields: Vec<&str> = fields.iter().map(String::as_str).collect();
        let outcome = setup.call(
            "POST",
            &orders,
            &[&fields[..], &["Content-Length: 0"]].concat(),
        );
        match outcome {
            Ok(outcome) => {
                let status = outcome.status();
                report.check(allowed.contains(&status), format_args!("{name}: {status}"));
                if status == 401 && allowed == [401] {
                    challenged(setup, report, name, &outcome.answer);
                }
            }
            Err(error) => report.check(name == "huge", format_args!("{name}: {error}")),
        }
        report.check(
            setup.backend.count() == before,
            format_args!("{name} reached the backend"),
        );
    }
    let revoked = setup.keyfob.create("orders", "revoked");
    setup.await_status(&revoked, "orders", 200);
    setup.keyfob.run(&["keys", "revoke", id(&revoked)]);
    let took = setup.await_status(&revoked, "orders", 401);
    report.note(format_args!("revoked after {} ms", took.as_millis()));
    report.check(
        took < Duration::from_secs(3),
        format_args!("a revoked key passed for {took:?}"),
    );
}

/// A refusal asks for a credential, is not cached, and does not say why.
fn challenged(setup: &Setup, report: &mut Report, name: &str, answer: &Response) {
    let challenges = answer.all("www-authenticate").join(", ");
    report.check(
        challenges.contains("Basic "),
        format_args!("{name}: challenges {challenges:?}"),
    );
    // nginx before 1.23 passes on the first one alone.
    let both = setup.kind == Kind::Nginx || challenges.contains("Bearer");
    report.check(both, format_args!("{name}: challenges {challenges:?}"));
    let cached = answer.field("cache-control") != Some("no-store");
    report.check(
        !cached,
        format_args!("{name}: {:?}", answer.field("cache-control")),
    );
    let told = answer
        .fields
        .iter()
        .find(|(field, _)| field.starts_with("x-keyfob"));
    report.check(
        told.is_none(),
        format_args!("{name}: the client is told {told:?}"),
    );
    let form = answer.field("content-type").unwrap_or_default();
    report.check(
        form.contains("json"),
        format_args!("{name}: content type {form:?}"),
    );
    report.check(!answer.body.is_empty(), format_args!("{name}: no body"));
}

/// A key that expired an hour ago.
fn expired(setup: &Setup) -> String {
    let store = SqliteStore::open(setup.keyfob.folder().join("keyfob.db")).unwrap();
    let format = block_on(store.key_format())
        .unwrap()
        .expect("the store has a prefix");
    let keyring = block_on(Keyring::builder(store, format).open_to_manage()).unwrap();
    let past = Timestamp::from_unix(now().as_unix() - 7_200);
    let past = Context::system(past);
    let new = NewKey::for_user("acme", "orders", "alice", "expired").unwrap();
    let new = new.expires_in(Ttl::hours(1).unwrap());
    let created = block_on(keyring.create(&past, new)).unwrap();
    created.secret.expose().to_owned()
}

/// `OpenWhisk`'s public example.
const GUEST: &str = "Authorization: Basic MjNiYzQ2YjEtNzFmNi00ZWQ1LThjNTQtODE2YWE0ZjhjNTAyOjEyM3pPM3haQ0xyTU42djJCS0sxZFhZRnBYbFBrY2NPRnFtMTJDZEFzTWdSVTRWck5aOWx5R1ZDR3VNREdJd1A=";
