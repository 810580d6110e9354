//! `keyfob legacy …`

use serde_json::json;

use crate::{
    program::{GUEST, GUEST_ID, Program, SUBJECTS},
    server::Server,
};

fn program() -> Program {
    let program = Program::new().with("KEYFOB_NAMESPACE", "guest");
    program.write("subjects.jsonl", SUBJECTS);
    program
}

fn works(program: &Program) -> bool {
    program.run_with(&["verify"], GUEST).code == 0
}

#[test]
fn subjects_are_imported_once() {
    let program = program();
    let dry = program.json(&["legacy", "import", "subjects.jsonl", "--dry-run"]);
    assert_eq!((&dry["read"], &dry["imported"]), (&json!(1), &json!(0)));
    let ran = program.done(&["legacy", "import", "subjects.jsonl"]);
    assert!(!ran.out.contains("123zO3") && !ran.err.contains("123zO3"));
    insta::assert_snapshot!(ran.redacted());
    // An import alone does not accept them.
    assert!(!works(&program));
    let again = program.run_with(
        &[
            "legacy", "import", "-", "--until", "30d", "--output", "json",
        ],
        SUBJECTS,
    );
    assert_eq!(again.json()["kept_already"], 1);
    assert!(works(&program));
}

#[test]
fn entries_that_cannot_be_imported_are_reported_by_position() {
    let program = program();
    program.write("teams.toml", "guest = \"visitors\"\n");
    let bad = format!("{SUBJECTS}nonsense\n{}", SUBJECTS.replace("guest", "other"));
    program.write("bad.jsonl", bad);
    let ran = program.run(&["legacy", "import", "bad.jsonl", "--teams", "teams.toml"]);
    assert_eq!(ran.code, 1);
    insta::assert_snapshot!(ran.redacted());
    let report = program.json(&["legacy", "report", "--all-teams"]);
    assert_eq!(report["credentials"][0]["team"], "visitors");
}

#[test]
fn an_export_of_the_database_is_imported_as_it_is() {
    let program = program();
    program.write("export.json", include_str!("all_docs.json"));
    let import = ["legacy", "import", "export.json", "--until", "30d"];
    let ran = program.done(&import);
    insta::assert_snapshot!(ran.redacted());
    assert!(works(&program));
    let report = program.json(&["legacy", "report", "--all-teams"]);
    let credentials = report["credentials"].as_array().unwrap();
    assert_eq!(credentials.len(), 4);
    assert_eq!(program.json(&import)["kept_already"], 4);
}

#[test]
fn a_later_import_only_takes_access_away() {
    let program = program();
    program.done(&["legacy", "import", "subjects.jsonl", "--until", "30d"]);
    assert!(works(&program));
    let blocked = SUBJECTS.replace("\"subject\"", "\"blocked\": true, \"subject\"");
    program.write("blocked.jsonl", blocked);
    let told = program.json(&["legacy", "import", "blocked.jsonl", "--until", "30d"]);
    assert_eq!(told["blocked"], json!([GUEST_ID]));
    assert!(!works(&program));
    // Neither the earlier export nor another policy brings it back.
    let again = program.json(&["legacy", "import", "subjects.jsonl", "--until", "60d"]);
    assert_eq!(
        (&again["kept_already"], &again["blocked"]),
        (&json!(1), &json!([]))
    );
    program.done(&["legacy", "sunset", "60d"]);
    assert!(!works(&program));
    let trail = program.done(&["audit", "list"]).out;
    assert!(trail.contains("legacy_blocked"), "{trail}");
    // Another key under the same UUID is not taken, and told.
    program.write("other.jsonl", SUBJECTS.replace("123zO3", "999zO3"));
    let ran = program.run(&["legacy", "import", "other.jsonl"]);
    assert_eq!(ran.code, 1);
    assert!(ran.err.contains("another key or namespace"), "{}", ran.err);
}

#[test]
fn sunset_brownout_cut_off_and_restore() {
    let program = program();
    program.done(&["legacy", "import", "subjects.jsonl", "--until", "30d"]);
    assert!(works(&program));
    assert_eq!(program.run(&["legacy", "restore", "--until", "1d"]).code, 4);
    let policy = program.json(&["legacy", "brownout", "--for", "1h"]);
    assert_eq!(policy["accepted_now"], false);
    assert_eq!(policy["brownouts"].as_array().unwrap().len(), 1);
    assert!(!works(&program));
    // A new sunset keeps the brownout that is not over.
    let policy = program.json(&["legacy", "sunset", "60d"]);
    assert_eq!(policy["brownouts"].as_array().unwrap().len(), 1);
    let ran = program.done(&["legacy", "cut-off"]);
    assert!(
        ran.err
            .contains("to undo it: `keyfob legacy restore --until "),
        "{}",
        ran.err
    );
    assert!(!works(&program));
    assert_eq!(program.run(&["legacy", "brownout", "--for", "1h"]).code, 4);
    program.done(&["legacy", "restore", "--until", "1d"]);
    assert!(works(&program));
    program.done(&["legacy", "sunset", "2020-01-01"]);
    assert!(!works(&program));
}

#[test]
fn the_report_shows_the_migration_by_day() {
    let program = program();
    program.done(&["legacy", "import", "subjects.jsonl", "--until", "30d"]);
    let key = program.create(&["laptop"]);
    let server = Server::start(&program, &[]);
    for _ in 0..3 {
        assert_eq!(server.auth(GUEST, "guest"), 200);
    }
    assert_eq!(server.auth(GUEST, "other"), 403);
    assert_eq!(server.auth(&key, "guest"), 200);
    assert_eq!(server.stop("-TERM").0, Some(0));
    let plain = program.json(&["legacy", "report"]);
    assert_eq!(plain.get("namespaces"), None);
    // Perhaps midnight has passed.
    let report = program.json(&["legacy", "report", "--days", "2"]);
    let of_guest = &report["namespaces"][0];
    assert_eq!(of_guest["namespace"], "guest");
    let days = of_guest["days"].as_array().unwrap();
    assert_eq!(days.len(), 2);
    let sum = |what: &str| -> u64 { days.iter().map(|day| day[what].as_u64().unwrap()).sum() };
    let sums = ["legacy", "legacy_refused", "keys", "keys_refused"].map(sum);
    assert_eq!(sums, [3, 1, 1, 0]);
    let table = program.done(&["legacy", "report", "--days", "2"]).out;
    let rows: Vec<Vec<&str>> = table
        .lines()
        .map(|line| line.split_whitespace().collect())
        .collect();
    assert_eq!(
        rows[0][2..],
        ["DAY", "LEGACY", "REFUSED", "KEYS", "REFUSED"]
    );
    assert!(
        rows.iter()
            .skip(1)
            .any(|row| row[3..] == ["3", "1", "1", "0"]),
        "{table}"
    );
    for days in ["0", "401", "-1", "all"] {
        assert_eq!(program.run(&["legacy", "report", "--days", days]).code, 2);
    }
}

#[test]
fn the_hint_of_a_cut_off_undoes_all_of_it() {
    let program = program();
    program.done(&["legacy", "import", "subjects.jsonl"]);
    // Runs the commands in the hint.
    let undo = |cut_off: &[&str]| {
        let hint = program
            .done(&[&["legacy", "cut-off"], cut_off].concat())
            .err;
        assert!(!works(&program));
        let commands: Vec<&str> = hint.split('`').skip(1).step_by(2).collect();
        assert!(!commands.is_empty(), "{hint}");
        for command in &commands {
            let words: Vec<&str> = command.split(' ').skip(1).collect();
            program.done(&words);
        }
        commands.len()
    };
    let policy = || {
        let report = program.json(&["legacy", "report"]);
        report["credentials"][0].clone()
    };
    program.done(&["legacy", "sunset", "2095-01-31", "--default"]);
    assert!(works(&program));
    assert_eq!(undo(&[]), 1);
    assert!(works(&program));
    // It follows the default policy again.
    program.done(&["legacy", "sunset", "2096-01-31", "--default"]);
    let shown = policy();
    assert!(shown.to_string().contains("2096-01-31"), "{shown}");

    for (whose, sunset) in [(&["--default"][..], "2097-01-31"), (&[], "2098-01-31")] {
        program.done(&[&["legacy", "sunset", sunset], whose].concat());
        for start in ["2096-01-01", "2096-02-01"] {
            let brownout = ["legacy", "brownout", "--start", start, "--for", "90m"];
            program.done(&[&brownout, whose].concat());
        }
        let before = policy();
        let brownouts = before["policy"]["brownouts"].as_array().unwrap().len();
        assert!(brownouts >= 2);
        assert_eq!(undo(whose), 1 + brownouts);
        assert!(works(&program));
        assert_eq!(policy(), before);
    }
}

#[test]
fn an_import_does_not_accept_again_what_was_cut_off() {
    let import = ["legacy", "import", "subjects.jsonl", "--until", "30d"];
    for cut_off in [
        &["legacy", "cut-off"][..],
        &["legacy", "cut-off", "--default"],
    ] {
        let program = program();
        if cut_off.len() == 2 {
            program.done(&import);
        } else {
            program.done(&["legacy", "import", "subjects.jsonl"]);
            program.done(&["legacy", "sunset", "30d", "--default"]);
        }
        assert!(works(&program));
        program.done(cut_off);
        program.done(&import);
        assert!(!works(&program), "{cut_off:?}");
    }
}

#[test]
fn one_legacy_credential_is_revoked_permanently() {
    let program = program();
    program.done(&["legacy", "import", "subjects.jsonl", "--until", "30d"]);
    let whole = program.run(&["legacy", "revoke", GUEST]);
    assert_eq!(whole.code, 2);
    assert!(!whole.err.contains("123zO3"));
    program.done(&["legacy", "revoke", GUEST_ID, "--reason", "leaked"]);
    assert!(!works(&program));
    insta::assert_snapshot!(program.run(&["legacy", "report"]).redacted());
    let unknown = "00000000-0000-4000-8000-000000000000";
    assert_eq!(program.run(&["legacy", "revoke", unknown]).code, 3);
}
