//! Help, completions, manual pages, `keyfob bench` and `keyfob backup`.

use std::fs;

use crate::program::{Program, id};

#[test]
fn help_lists_every_command_and_the_exit_codes() {
    insta::assert_snapshot!(Program::bare().run(&["--help"]).redacted());
}

#[test]
fn every_shell_has_completions() {
    let program = Program::bare();
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = program.done(&["completions", shell]).out;
        assert!(script.contains("cut-off"), "{shell}");
    }
    assert_eq!(program.run(&["completions", "cmd"]).code, 2);
}

#[test]
fn every_command_has_a_manual_page() {
    let program = Program::bare();
    assert!(program.done(&["man"]).out.contains(".TH keyfob 1"));
    program.done(&["man", "--out", "man"]);
    let mut pages: Vec<_> = fs::read_dir(program.path("man"))
        .unwrap()
        .map(|page| page.unwrap().file_name().into_string().unwrap())
        .collect();
    pages.sort();
    insta::assert_snapshot!(pages.join("\n"));
    let page = fs::read_to_string(program.path("man/keyfob-keys-create.1")).unwrap();
    assert!(page.contains("Create a key"));
}

#[test]
fn a_bench_prints_a_ratio() {
    let measured =
        Program::bare().json(&["bench", "--keys", "100", "--time", "50ms", "--threads", "2"]);
    let rows = measured["verifications"].as_array().unwrap();
    let threads: Vec<_> = rows
        .iter()
        .map(|row| row["threads"].as_u64().unwrap())
        .collect();
    assert_eq!(threads, [1, 2]);
    for row in rows {
        // A verification includes one hash; the build is not optimised.
        assert!(row["ratio"].as_f64().unwrap() > 0.5);
        assert!(row["per_second"].as_f64().unwrap() > 0.0);
    }
}

#[test]
fn a_backup_is_a_store() {
    let program = Program::new();
    let key = program.create(&["laptop"]);
    program.done(&["backup", "copy.db"]);
    program.done(&["keys", "revoke", id(&key)]);
    assert_eq!(program.run(&["backup", "copy.db"]).code, 6);
    let of_copy = ["--store", "sqlite:copy.db", "verify"];
    assert_eq!(program.run_with(&of_copy, &*key).code, 0);
    assert_eq!(program.run_with(&["verify"], &*key).code, 1);
    assert_eq!(
        Program::bare()
            .run(&["--store", "memory:", "backup", "x"])
            .code,
        2
    );
}
