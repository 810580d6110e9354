//! The way out of the old model, from the import to the end, as docs/migration.md tells it.

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

    // Imported, and accepted for a while.
    program.write("subjects.jsonl", SUBJECTS);
    program.done(&["legacy", "import", "subjects.jsonl", "--until", "90d"]);
    server.await_auth(GUEST, "guest", 200);
    assert_eq!(server.auth(GUEST, "orders"), 403);
    let answer = server.send("GET", "/auth/guest", &[&basic(GUEST)], "");
    assert_eq!(answer.header("x-keyfob-key-id"), Some(GUEST_ID));
    assert_eq!(answer.header("x-keyfob-owner"), Some("subject:guest"));

    // The first people move over: both kinds work.
    let key = program.create(&["laptop"]);
    server.await_auth(&key, "guest", 200);
    assert_eq!(server.auth(GUEST, "guest"), 200);

    // The report names who has not.
    let reported = report(&program, |credential| {
        credential["uses"].as_u64() >= Some(3)
    });
    assert_eq!(reported["namespace"], "guest");
    assert_eq!(reported["subject"], "guest");
    assert!(reported["last_used_at"].is_string());
    assert_eq!(program.json(&["legacy", "report"])["still_used"], 1);

    // A rehearsal: the old one is refused, the new one is not, and it ends by itself.
    program.done(&["legacy", "brownout", "--for", "4s"]);
    server.await_auth(GUEST, "guest", 401);
    assert_eq!(server.auth(&key, "guest"), 200);
    // Whoever was hit shows in the report.
    report(&program, |credential| {
        credential["refused"].as_u64() >= Some(1)
    });
    server.await_auth(GUEST, "guest", 200);

    // The end, its undoing, and the end for good.
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

    // All of it is in the trail, which is whole.
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

/// The one credential of the report, once it is as it should be.
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
