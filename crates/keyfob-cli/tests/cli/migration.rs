//! The migration from legacy credentials, as in docs/migration.md.

use std::{thread, time::Duration};

use serde_json::Value;

use crate::{
    program::{GUEST, GUEST_ID, Program, SUBJECTS},
    server::{Server, basic},
};

#[test]
fn keys_and_legacy_credentials_work_until_the_sunset() {
    let program = Program::new().with("KEYFOB_NAMESPACE", "guest");
    let server = Server::start(&program, &["--flush-every", "100ms"]);
    assert_eq!(server.auth(GUEST, "guest"), 401);

    // Imported, and accepted until the sunset.
    program.write("subjects.jsonl", SUBJECTS);
    program.done(&["legacy", "import", "subjects.jsonl", "--until", "90d"]);
    server.await_auth(GUEST, "guest", 200);
    assert_eq!(server.auth(GUEST, "orders"), 403);
    let answer = server.send("GET", "/auth/guest", &[&basic(GUEST)], "");
    assert_eq!(answer.header("x-keyfob-key-id"), Some(GUEST_ID));
    assert_eq!(answer.header("x-keyfob-owner"), Some("subject:guest"));

    // The first people migrate: both kinds work.
    let key = program.done(&["keys", "create", "laptop"]);
    let key = key.out.trim_end().to_owned();
    server.await_auth(&key, "guest", 200);
    assert_eq!(server.auth(GUEST, "guest"), 200);

    // The report lists who has not.
    let reported = report(&program, |credential| {
        credential["uses"].as_u64() >= Some(3)
    });
    assert_eq!(reported["namespace"], "guest");
    assert_eq!(reported["subject"], "guest");
    assert!(reported["last_used_at"].is_string());
    assert_eq!(program.json(&["legacy", "report"])["still_used"], 1);

    // A brownout: only the legacy credential is refused, until it is over.
    program.done(&["legacy", "brownout", "--for", "4s"]);
    server.await_auth(GUEST, "guest", 401);
    assert_eq!(server.auth(&key, "guest"), 200);
    // The report counts the refused uses.
    report(&program, |credential| {
        credential["refused"].as_u64() >= Some(1)
    });
    server.await_auth(GUEST, "guest", 200);

    // A cut-off, its restore, and the final cut-off.
    program.done(&["legacy", "cut-off", "--reason", "everybody has moved"]);
    server.await_auth(GUEST, "guest", 401);
    assert_eq!(server.auth(&key, "guest"), 200);
    program.done(&[
        "legacy",
        "restore",
        "--until",
        "1d",
        "--reason",
        "not quite everybody",
    ]);
    server.await_auth(GUEST, "guest", 200);
    program.done(&["legacy", "cut-off"]);
    server.await_auth(GUEST, "guest", 401);
    assert_eq!(server.auth(&key, "guest"), 200);

    // The audit trail has all of it, and verifies.
    let trail = program.json(&["audit", "list"]);
    // The newest first.
    let actions: Vec<_> = trail["events"]
        .as_array()
        .unwrap()
        .iter()
        .rev()
        .map(|event| event["action"].as_str().unwrap())
        .collect();
    let expected = [
        "legacy_imported",
        "legacy_policy_set",
        "key_created",
        "legacy_policy_set",
        "legacy_policy_set",
        "legacy_policy_set",
        "legacy_policy_set",
    ];
    assert_eq!(actions, expected);
    program.done(&["audit", "verify"]);
    let log = server.kill();
    assert!(!log.contains("123zO3"));
}

/// The one credential of the report, once it matches.
fn report(program: &Program, fits: impl Fn(&Value) -> bool) -> Value {
    for _ in 0..200 {
        let credential = program.json(&["legacy", "report"])["credentials"][0].clone();
        if fits(&credential) {
            return credential;
        }
        thread::sleep(Duration::from_millis(50));
    }
    panic!("the report does not tell of it");
}
