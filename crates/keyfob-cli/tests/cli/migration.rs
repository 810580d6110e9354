//! The migration from legacy credentials to keys, from the import to the sunset, as
//! docs/migration.md describes it.

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

    // Import, and accept legacy credentials for a while.
    program.write("subjects.jsonl", SUBJECTS);
    program.done(&["legacy", "import", "subjects.jsonl", "--until", "90d"]);
    server.await_auth(GUEST, "guest", 200);
    assert_eq!(server.auth(GUEST, "orders"), 403);
    let answer = server.send("GET", "/auth/guest", &[&basic(GUEST)], "");
    assert_eq!(answer.header("x-keyfob-key-id"), Some(GUEST_ID));
    assert_eq!(answer.header("x-keyfob-owner"), Some("subject:guest"));

    // The first users migrate: both kinds of credentials work.
    let key = program.create(&["laptop"]);
    server.await_auth(&key, "guest", 200);
    assert_eq!(server.auth(GUEST, "guest"), 200);

    // The report names the remaining users.
    let reported = report(&program, |credential| {
        credential["uses"].as_u64() >= Some(3)
    });
    assert_eq!(reported["namespace"], "guest");
    assert_eq!(reported["subject"], "guest");
    assert!(reported["last_used_at"].is_string());
    assert_eq!(program.json(&["legacy", "report"])["still_used"], 1);

    // A brownout: the legacy credential is refused, the key works, and the brownout ends by itself.
    program.done(&["legacy", "brownout", "--for", "4s"]);
    server.await_auth(GUEST, "guest", 401);
    assert_eq!(server.auth(&key, "guest"), 200);
    // The refused calls are in the report.
    report(&program, |credential| {
        credential["refused"].as_u64() >= Some(1)
    });
    server.await_auth(GUEST, "guest", 200);

    // Cut off, restore, and cut off permanently.
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

    // The audit trail contains all of it and verifies.
    let trail = program.json(&["audit", "list"]);
    let actions: Vec<_> = trail["events"]
        .as_array()
        .unwrap()
        .iter()
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

/// Returns the one credential of the report, once it fulfils the condition.
fn report(program: &Program, fits: impl Fn(&Value) -> bool) -> Value {
    for _ in 0..200 {
        let credential = program.json(&["legacy", "report"])["credentials"][0].clone();
        if fits(&credential) {
            return credential;
        }
        thread::sleep(Duration::from_millis(50));
    }
    panic!("the report does not fulfil the condition");
}
