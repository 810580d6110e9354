//! `keyfob keys …`

use serde_json::json;

use crate::program::{Program, id, pattern};

#[test]
fn only_the_new_credential_is_on_the_standard_output() {
    let program = Program::new();
    program.done(&["namespaces", "create", "orders"]);
    let ran = program.run(&["keys", "create", "laptop", "--expires", "90d"]);
    let shape = pattern("^dof_v1_[0-9a-f]{32}:dof_sk_[A-Za-z0-9_-]{36}\n$");
    assert!(shape.is_match(&ran.out), "{}", ran.redacted());
    assert_eq!(ran.secrets(), 1);
    insta::assert_snapshot!(ran.redacted());

    // No other command shows it.
    let key = id(&ran.out).to_owned();
    for args in [
        &["keys", "list"][..],
        &["keys", "show", &key],
        &["keys", "update", &key, "--name", "desk"],
        &["audit", "list"],
        &["audit", "export"],
        &["config", "show"],
    ] {
        for form in ["table", "json"] {
            let ran = program.done(&[args, &["--output", form]].concat());
            assert_eq!(ran.secrets(), 0, "{args:?}");
        }
    }
}

#[test]
fn a_new_key_has_formats_for_programs() {
    let program = Program::new();
    program.done(&["namespaces", "create", "orders"]);
    let ran = program.done(&[
        "keys",
        "create",
        "ci",
        "--owner",
        "service:deploy-bot",
        "--output",
        "env",
    ]);
    assert_eq!(ran.secrets(), 1);
    let shape = pattern(
        "^KEYFOB_KEY_ID=(?<id>dof_v1_[0-9a-f]{32})\nKEYFOB_KEY=dof_v1_[0-9a-f]{32}:dof_sk_[A-Za-z0-9_-]{36}\n$",
    );
    assert!(shape.is_match(&ran.out), "{}", ran.redacted());

    let ran = program.done(&[
        "keys",
        "create",
        "phone",
        "--scope",
        "function:read",
        "--label",
        "os=ios",
        "--output",
        "json",
    ]);
    assert_eq!(ran.secrets(), 1);
    assert_eq!(ran.err, "");
    let key = ran.json();
    assert_eq!(id(key["credential"].as_str().unwrap()), key["id"]);
    assert_eq!(key["owner"], "user:alice");
    assert_eq!(key["status"], "active");
    assert_eq!(key["scopes"], json!(["function:read"]));
    assert_eq!(key["labels"], json!({ "os": "ios" }));
    assert_eq!(key["expires_at"], json!(null));
}

#[test]
fn keys_are_listed_by_filters() {
    let program = Program::new();
    let laptop = program.create(&["laptop"]);
    let phone = program.create(&["phone", "--owner", "bob", "--label", "os=ios"]);
    let desk = program.create(&["desk", "--expires", "2h"]);
    program.done(&["keys", "disable", id(&phone)]);
    program.done(&["keys", "revoke", id(&desk), "--reason", "it was lost"]);
    program.create(&["laptop", "-n", "billing"]);
    insta::assert_snapshot!(program.run(&["keys", "list"]).redacted());

    let names = |args: &[&str]| -> Vec<String> {
        let keys = program.json(&[&["keys", "list"], args].concat());
        let keys = keys["keys"].as_array().unwrap().iter();
        keys.map(|key| key["name"].as_str().unwrap().to_owned())
            .collect()
    };
    assert_eq!(names(&[]), ["laptop", "phone", "desk"]);
    assert_eq!(
        names(&["--all-namespaces"]),
        ["laptop", "phone", "desk", "laptop"]
    );
    assert_eq!(names(&["--owner", "bob"]), ["phone"]);
    assert_eq!(names(&["--status", "active"]), ["laptop"]);
    assert_eq!(names(&["--status", "disabled"]), ["phone"]);
    assert_eq!(names(&["--status", "revoked"]), ["desk"]);
    assert_eq!(names(&["--status", "expired"]), [""; 0]);
    assert_eq!(names(&["--label", "os=ios"]), ["phone"]);
    assert_eq!(names(&["--name", "laptop"]), ["laptop"]);

    // Page by page.
    let first = program.json(&["keys", "list", "--limit", "2"]);
    assert_eq!(first["keys"].as_array().unwrap().len(), 2);
    let next = first["next"].as_str().unwrap();
    assert_eq!(names(&["--limit", "2", "--after", next]), ["desk"]);
    assert_eq!(
        program.json(&["keys", "show", id(&laptop)])["name"],
        "laptop"
    );
}

#[test]
fn a_key_is_shown_with_all_fields() {
    let program = Program::new();
    let key = program.create(&[
        "laptop", "--scope", "a", "--scope", "b", "--label", "os=linux",
    ]);
    program.done(&["keys", "revoke", id(&key), "--reason", "it was lost"]);
    insta::assert_snapshot!(program.run(&["keys", "show", id(&key)]).redacted());
    // With the prefix or without.
    let bare = id(&key).strip_prefix("dof_v1_").unwrap();
    assert_eq!(program.json(&["keys", "show", bare])["id"], id(&key));
}

#[test]
fn a_key_is_changed() {
    let program = Program::new();
    let credential = program.create(&["laptop", "--label", "os=linux", "--scope", "a"]);
    let key = id(&credential);
    let changed = program.json(&[
        "keys",
        "update",
        key,
        "--name",
        "desk",
        "--no-labels",
        "--all-scopes",
        "--expires",
        "2h",
    ]);
    assert_eq!(changed["name"], "desk");
    assert_eq!(changed["labels"], json!({}));
    assert_eq!(changed["scopes"], "all");
    assert!(changed["expires_at"].is_string());

    let later = program.run(&["keys", "update", key, "--expires", "3h"]);
    assert_eq!(later.code, 1);
    let stale = program.run(&["keys", "update", key, "--name", "x", "--if-revision", "1"]);
    assert_eq!(stale.code, 4);
    let nothing = program.run(&["keys", "update", key]);
    assert_eq!(nothing.code, 2);
}

#[test]
fn a_rotated_key_has_two_secrets_in_the_grace_period() {
    let program = Program::new();
    let old = program.create(&["laptop"]);
    let ran = program.done(&["keys", "rotate", id(&old), "--grace", "1h"]);
    assert_eq!(ran.secrets(), 1);
    let new = ran.out.trim_end().to_owned();
    assert_eq!(id(&new), id(&old));
    assert!(new != old);
    assert_eq!(program.run_with(&["verify"], &*old).code, 0);
    assert_eq!(program.run_with(&["verify"], &*new).code, 0);

    let ran = program.done(&["keys", "rotate", id(&old), "--output", "json"]);
    assert_eq!(ran.secrets(), 1);
    let newest = ran.json()["credential"].as_str().unwrap().to_owned();
    assert_eq!(program.run_with(&["verify"], &*new).code, 1);
    assert_eq!(program.run_with(&["verify"], newest).code, 0);
}

#[test]
fn keys_are_disabled_enabled_and_revoked() {
    let program = Program::new();
    let (one, two) = (program.create(&["one"]), program.create(&["two"]));
    let works = |key: &str| program.run_with(&["verify"], key).code == 0;
    program.done(&["keys", "disable", id(&one), id(&two)]);
    assert!(!works(&one) && !works(&two));
    program.done(&["keys", "enable", id(&one)]);
    assert!(works(&one) && !works(&two));
    program.done(&["keys", "revoke", id(&one)]);
    assert!(!works(&one));
    assert_eq!(program.run(&["keys", "enable", id(&one)]).code, 4);
    program.done(&["keys", "delete", id(&two)]);
    assert_eq!(program.run(&["keys", "show", id(&two)]).code, 3);
    // With a mistyped id nothing is changed.
    let three = program.create(&["three"]);
    assert_eq!(
        program
            .run(&["keys", "disable", id(&three), "nonsense"])
            .code,
        2
    );
    assert!(works(&three));
}

#[test]
fn all_keys_of_an_owner_are_revoked_and_new_ones_can_be_created() {
    let program = Program::new();
    let (mine, other) = (
        program.create(&["mine"]),
        program.create(&["other", "--owner", "bob"]),
    );
    let works = |key: &str| program.run_with(&["verify"], key).code == 0;
    let preview = program.json(&["keys", "revoke-all", "--owner", "alice", "--dry-run"]);
    assert_eq!(preview["stops"].as_array().unwrap().len(), 1);
    assert!(works(&mine));
    program.done(&["keys", "revoke-all", "--owner", "alice"]);
    assert!(!works(&mine) && works(&other));
    program.create(&["mine"]);
    program.done(&["keys", "revoke-all", "--whole-namespace"]);
    assert!(!works(&other));
    program.done(&["keys", "revoke-all", "--whole-team"]);
    assert_eq!(program.run(&["keys", "revoke-all"]).code, 2);
}

#[test]
fn keys_are_purged_as_the_dry_run_shows() {
    let program = Program::new();
    let dead = program.create(&["dead"]);
    let live = program.create(&["live"]);
    program.done(&["keys", "revoke", id(&dead)]);
    assert_eq!(
        program.json(&["keys", "purge", "--dead-for", "1h"])["purged"],
        0
    );
    let planned = program.json(&["keys", "purge", "--dead-for", "1h", "--dry-run"]);
    assert_eq!(planned["would_purge"], 0);
    // A second must pass: a key revoked now was not revoked before now.
    std::thread::sleep(std::time::Duration::from_millis(1_100));
    let planned = program.json(&["keys", "purge", "--dead-for", "0s", "--dry-run"]);
    assert_eq!(planned["would_purge"], 1);
    assert_eq!(planned["keys"][0]["id"], id(&dead));
    assert_eq!(program.run(&["keys", "show", id(&dead)]).code, 0);
    assert_eq!(
        program.json(&["keys", "purge", "--dead-for", "0s"])["purged"],
        1
    );
    assert_eq!(program.run(&["keys", "show", id(&dead)]).code, 3);
    assert_eq!(program.run(&["keys", "show", id(&live)]).code, 0);
}

#[test]
fn refusals_have_hints_and_exit_codes() {
    let program = Program::new();
    let credential = program.create(&["laptop"]);
    let unknown = "dof_v1_00000000000000000000000000000000";
    let whole = program.run(&["keys", "revoke", &credential]);
    assert_eq!(whole.secrets(), 0);
    let refused = [
        program.run(&["keys", "create", "laptop"]),
        program.run(&["keys", "create", "x", "--expires", "30m"]),
        program.run(&["keys", "show", unknown]),
        program.run(&["keys", "show", "nonsense"]),
        whole,
        program.run(&["--namespace", "a/b", "keys", "list"]),
        program.run(&["--store", "sqlite:elsewhere.db", "keys", "list"]),
        Program::bare().run(&["--store", "memory:", "keys", "list"]),
        Program::bare().run(&[
            "--store", "memory:", "--team", "acme", "-n", "orders", "keys", "create", "x",
        ]),
    ];
    let refused: Vec<_> = refused.iter().map(crate::program::Ran::redacted).collect();
    insta::assert_snapshot!(refused.join("\n"));

    let ran = program.run(&["keys", "create", "laptop", "--output", "json"]);
    assert_eq!(ran.code, 4);
    let error: serde_json::Value = serde_json::from_str(&ran.err).unwrap();
    assert_eq!(error["error"], "conflict");
    assert!(error["hint"].as_str().unwrap().contains("another name"));
    // A secret in the wrong argument is not repeated.
    for args in [
        &["verify", &credential][..],
        &["keys", "list", "--after", &credential],
        &["--prefix", &credential, "keys", "list"],
        &["keys", "create", "x", "--expires", &credential],
    ] {
        let ran = program.run(args);
        assert_eq!((ran.code, ran.secrets()), (2, 0), "{args:?}");
    }
}

#[test]
fn an_output_format_that_does_not_fit_is_refused_first() {
    let program = Program::new();
    let key = program.create(&["laptop"]);
    let ran = program.run(&["keys", "revoke", id(&key), "--output", "env"]);
    assert_eq!(ran.code, 2);
    assert_eq!(program.run_with(&["verify"], &*key).code, 0);
}

#[cfg(target_os = "linux")]
#[test]
fn a_credential_that_could_not_be_written_is_an_error() {
    let program = Program::new();
    program.done(&["namespaces", "create", "orders"]);
    let full = std::fs::OpenOptions::new()
        .write(true)
        .open("/dev/full")
        .unwrap();
    let output = std::process::Command::new(crate::program::BINARY)
        .args(["keys", "create", "laptop"])
        .current_dir(program.folder())
        .env_clear()
        .envs(program.environment())
        .stdout(full)
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(6));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(
        said.contains("but its credential could not be written"),
        "{said}"
    );
    let key = program.json(&["keys", "list"])["keys"][0]["id"]
        .as_str()
        .unwrap()
        .to_owned();
    assert!(
        said.contains(&format!("`keyfob keys rotate {key}`")),
        "{said}"
    );
}
