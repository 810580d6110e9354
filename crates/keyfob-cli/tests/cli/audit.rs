//! `keyfob audit …`

use std::{
    fs,
    io::{BufRead as _, BufReader},
    process::{Command, Stdio},
};

use serde_json::Value;

use crate::program::{BINARY, Program, id};

fn worked_in() -> (Program, String) {
    let program = Program::new();
    let key = program.create(&["laptop"]);
    program.done(&["keys", "revoke", id(&key), "--reason", "it was lost"]);
    program.done(&["members", "remove", "bob", "--in-advance"]);
    program.done(&["--team", "others", "namespaces", "create", "theirs"]);
    (program, key)
}

#[test]
fn every_change_is_recorded_and_listed_by_filters() {
    let (program, key) = worked_in();
    insta::assert_snapshot!(program.run(&["audit", "list"]).redacted());
    let count = |args: &[&str]| {
        let listed = program.json(&[&["audit", "list"], args].concat());
        listed["events"].as_array().unwrap().len()
    };
    assert_eq!(count(&[]), 4);
    assert_eq!(count(&["--all-teams"]), 5);
    assert_eq!(count(&["--in-namespace"]), 3);
    assert_eq!(count(&["--key", id(&key)]), 2);
    assert_eq!(count(&["--by", "alice"]), 4);
    assert_eq!(count(&["--by", "bob"]), 0);
    assert_eq!(count(&["--since", "1h"]), 4);
    assert_eq!(count(&["--until", "1h"]), 0);
    let revisions = |listed: &Value| -> Vec<u64> {
        let events = listed["events"].as_array().unwrap().iter();
        events
            .map(|event| event["revision"].as_u64().unwrap())
            .collect()
    };
    let first = program.json(&["audit", "list", "--limit", "2"]);
    assert_eq!(revisions(&first), [4, 3], "newest first");
    let next = first["next"].as_str().unwrap();
    let rest = program.json(&["audit", "list", "--after", next]);
    assert_eq!(revisions(&rest), [2, 1]);
    let oldest = program.json(&["audit", "list", "--oldest-first", "--limit", "2"]);
    assert_eq!(revisions(&oldest), [1, 2]);
    let next = oldest["next"].as_str().unwrap();
    let rest = program.json(&["audit", "list", "--oldest-first", "--after", next]);
    assert_eq!(revisions(&rest), [3, 4]);
}

#[test]
fn an_export_verifies_and_tampering_with_it_is_detected() {
    let (program, _) = worked_in();
    program.done(&[
        "audit",
        "export",
        "--to",
        "trail.jsonl",
        "--source",
        "urn:keyfob:test",
    ]);
    assert_eq!(
        program
            .run(&["audit", "export", "--to", "trail.jsonl"])
            .code,
        6
    );
    let whole = fs::read_to_string(program.path("trail.jsonl")).unwrap();
    let piped = program.done(&["audit", "export", "--source", "urn:keyfob:test"]);
    assert_eq!(piped.out, whole);
    let lines: Vec<&str> = whole.lines().collect();
    assert_eq!(lines.len(), 5);

    let of_store = program.json(&["audit", "verify"]);
    let of_file = program.json(&["audit", "verify", "--file", "trail.jsonl"]);
    assert_eq!(of_store["head"], of_file["head"]);
    assert_eq!(
        (&of_store["whole"], &of_file["whole"]),
        (&true.into(), &false.into())
    );
    assert_eq!(of_file["events"], 5);

    let check = |lines: &[&str], args: &[&str]| {
        let text = lines.join("\n");
        program.run_with(&[&["audit", "verify", "--file", "-"], args].concat(), text)
    };
    assert_eq!(check(&lines, &[]).code, 0);
    let changed = lines[2].replace("it was lost", "it was sold");
    assert_ne!(changed, lines[2]);
    for (bad, place) in [
        ([lines[0], lines[1], &changed, lines[3]], "line 3"),
        ([lines[1], lines[0], lines[2], lines[3]], "line 1"),
        ([lines[0], lines[0], lines[1], lines[2]], "line 2"),
    ] {
        let ran = check(&bad, &[]);
        assert_eq!(ran.code, 1);
        assert!(ran.err.contains(place), "{}", ran.err);
    }
    let removed = check(&[lines[0], lines[2], lines[3]], &[]);
    assert_eq!(removed.code, 1);

    // A truncated end is only detected with a later head, so a file is not called whole.
    let head = format!(
        "{}:{}",
        of_store["head"]["revision"],
        of_store["head"]["hash"].as_str().unwrap()
    );
    let short = check(&lines[..3], &[]);
    assert_eq!(short.code, 0);
    assert!(
        short.out.starts_with("unbroken up to revision 3"),
        "{}",
        short.out
    );
    assert_eq!(check(&lines[..3], &["--expect", &head]).code, 1);
    let whole = check(&lines, &["--expect", &head]);
    assert_eq!(whole.code, 0);
    assert!(
        whole.out.starts_with("whole, ends with 5:"),
        "{}",
        whole.out
    );
    let other = head.replace("5:", "3:");
    assert_eq!(check(&lines, &["--expect", &other]).code, 1);
    assert_eq!(check(&[], &[]).code, 1);
    assert_eq!(check(&[], &["--expect", &head]).code, 1);

    // A part, given the hash before it.
    let part = program.done(&[
        "audit",
        "export",
        "--after",
        "2",
        "--source",
        "urn:keyfob:test",
    ]);
    assert_eq!(part.out.lines().collect::<Vec<_>>(), lines[2..]);
    let before = check(&lines[..2], &["--output", "json"]).json();
    let before = format!("2:{}", before["head"]["hash"].as_str().unwrap());
    let after = ["--after", before.as_str()];
    assert_eq!(check(&lines[2..], &after).code, 0);
    assert_eq!(check(&lines[2..], &[]).code, 1);
}

#[test]
fn an_event_shows_what_was_changed() {
    let program = Program::new();
    let key = program.create(&["laptop", "--scope", "function:read"]);
    program.done(&["keys", "update", id(&key), "--scope", "operator"]);
    program.done(&["keys", "delete", id(&key)]);
    let shown = program.done(&["audit", "show", "3"]);
    assert!(
        shown.out.contains("scopes: [function:read] -> [operator]"),
        "{}",
        shown.out
    );
    let listed = program.done(&["audit", "list"]);
    assert!(
        listed.out.contains("scopes: [function:read] -> [operator]"),
        "{}",
        listed.out
    );
    let deleted = program.json(&["audit", "show", "4"]);
    let name = serde_json::json!({"field": "name", "old": "laptop", "new": null});
    assert!(deleted["changes"].as_array().unwrap().contains(&name));
    assert_eq!(program.run(&["audit", "show", "5"]).code, 3);
    assert_eq!(program.run(&["audit", "show", "0"]).code, 3);
}

#[test]
fn new_events_are_shown_as_they_come() {
    let (program, _) = worked_in();
    let mut follower = Command::new(BINARY)
        .args([
            "audit", "list", "--follow", "--limit", "2", "--output", "json",
        ])
        .current_dir(program.folder())
        .env_clear()
        .envs(program.environment())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(follower.stdout.take().unwrap()).lines();
    let mut next = || {
        let event: Value = serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap();
        event["revision"].as_u64().unwrap()
    };
    // The last events of the team, and then its new ones.
    assert_eq!([next(), next()], [3, 4]);
    program.create(&["tablet"]);
    program.done(&["--team", "others", "namespaces", "create", "more"]);
    program.create(&["phone"]);
    assert_eq!([next(), next()], [6, 8]);
    follower.kill().unwrap();
    follower.wait().unwrap();
}

#[test]
#[cfg(unix)]
fn only_the_owner_can_read_new_files_and_none_is_left_incomplete() {
    use std::os::unix::fs::PermissionsExt as _;

    let (program, _) = worked_in();
    program.done(&["audit", "export", "--to", "trail.jsonl"]);
    program.done(&["backup", "copy.db"]);
    for name in ["trail.jsonl", "copy.db"] {
        let mode = fs::metadata(program.path(name))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }
    let missing = program.run(&["audit", "export", "--to", "missing/trail.jsonl"]);
    assert_eq!(missing.code, 6, "{}", missing.redacted());
    fs::write(program.path("taken"), "mine").unwrap();
    assert_eq!(program.run(&["audit", "export", "--to", "taken"]).code, 6);
    assert_eq!(fs::read_to_string(program.path("taken")).unwrap(), "mine");
    let partial: Vec<_> = fs::read_dir(program.folder())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.contains("partial"))
        .collect();
    assert!(partial.is_empty(), "{partial:?}");
}

#[test]
fn a_reason_with_a_credential_in_it_is_refused_and_not_repeated() {
    let program = Program::new();
    let key = program.create(&["laptop"]);
    let reason = format!("leaked: {key}");
    let ran = program.run(&["keys", "revoke", id(&key), "--reason", &reason]);
    assert_eq!(ran.code, 2, "{}", ran.redacted());
    assert_eq!(ran.secrets(), 0);
    assert!(
        ran.err.contains("reason contains a credential"),
        "{}",
        ran.err
    );
    assert_eq!(
        program.json(&["keys", "show", id(&key)])["status"],
        "active"
    );
    let named = program.run(&["keys", "create", &key]);
    assert_eq!((named.code, named.secrets()), (2, 0));
}
