//! Removes each control of SECURITY.md from the code once, and shows that its named tests fail.
//!
//! `controls.toml` lists the removals. They are made in a work tree of their own, at the last
//! commit.

mod control;
mod outcome;
mod tree;

use std::{
    collections::BTreeMap,
    env, fs,
    path::{Path, PathBuf},
    process::ExitCode,
};

use crate::{
    control::{Control, Target},
    outcome::Outcome,
    tree::Tree,
};

fn main() -> ExitCode {
    let wanted: Vec<String> = env::args().skip(1).collect();
    match run(&wanted) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::from(2)
        }
    }
}

/// Tries the controls of the wanted threats, or all; whether every test failed as it must.
fn run(wanted: &[String]) -> Result<bool, String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    let root = folder.join("../..");
    let list = fs::read_to_string(folder.join("controls.toml")).map_err(text)?;
    let controls = control::parse(&list)?;
    let target = env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), PathBuf::from);
    let tree = Tree::at_last_commit(&root, &target.join("controls"))?;

    let mut rows = Vec::new();
    for control in &controls {
        if !wanted.is_empty() && !wanted.contains(&control.threat) {
            continue;
        }
        for (test, outcome) in try_one(&tree, control)? {
            println!("{} {test}: {outcome} ({})", control.threat, control.removed);
            rows.push((control, test, outcome));
        }
    }
    let failed = rows.iter().all(|(.., outcome)| outcome.is_failure());
    if wanted.is_empty() {
        fs::write(folder.join("RESULTS.md"), report(&tree.commit, &rows)).map_err(text)?;
    }
    let count = rows
        .iter()
        .filter(|(.., outcome)| outcome.is_failure())
        .count();
    println!(
        "{count} of {} tests failed without their control",
        rows.len()
    );
    Ok(failed)
}

/// Removes a control, runs its tests, and puts the control back.
fn try_one(tree: &Tree, control: &Control) -> Result<Vec<(String, Outcome)>, String> {
    let mut targets: BTreeMap<Target, Vec<&str>> = BTreeMap::new();
    for test in &control.tests {
        let (target, _) = control::target(test, control.over.as_deref())?;
        targets.entry(target).or_default().push(test);
    }
    let original = tree.remove(control)?;
    let mut outcomes = Vec::new();
    for (target, tests) in &targets {
        let names: Vec<&str> = tests
            .iter()
            .filter_map(|test| Some(test.split_once("::")?.1))
            .collect();
        let output = tree.test(target, &names)?;
        for (test, name) in tests.iter().zip(&names) {
            let outcome = Outcome::read(&output, &control::module(test), name);
            outcomes.push(((*test).to_owned(), outcome));
        }
    }
    tree.write(&control.file, &original)?;
    Ok(outcomes)
}

fn report(commit: &str, rows: &[(&Control, String, Outcome)]) -> String {
    let mut report = format!(
        "# Controls removed, and what their tests said\n\n\
         Written by `just controls` at commit {commit}.\n\n\
         | threat | removed | test | without the control |\n|---|---|---|---|\n"
    );
    for (control, test, outcome) in rows {
        let (threat, removed) = (&control.threat, &control.removed);
        report.push_str(&format!(
            "| {threat} | {removed} | `{test}` | {outcome} |\n"
        ));
    }
    report
}

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}
