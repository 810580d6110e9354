//! Removes each control of SECURITY.md from the code once, and shows that its named tests fail.
//!
//! `controls.toml` lists the removals. They are made in a work tree of their own, at the last
//! commit.

mod control;
mod outcome;
mod results;
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
    results::Results,
    tree::Tree,
};

fn main() -> ExitCode {
    let (flags, wanted): (Vec<String>, Vec<String>) =
        env::args().skip(1).partition(|word| word == "--untried");
    match run(&wanted, !flags.is_empty()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::from(2)
        }
    }
}

/// Tries the controls of the wanted threats or removals, or all; whether every test failed as it
/// must. With `untried`, the tests that failed already are left out.
fn run(wanted: &[String], untried: bool) -> Result<bool, String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    let root = folder.join("../..");
    let list = fs::read_to_string(folder.join("controls.toml")).map_err(text)?;
    let controls = control::parse(&list)?;
    let target = env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), PathBuf::from);
    let tree = Tree::at_last_commit(&root, &target.join("controls"))?;

    let mut results = Results::read(folder.join("RESULTS.md"));
    let (mut tried, mut failed) = (0, 0);
    for control in &controls {
        let names = [&control.threat, &control.removed];
        if !wanted.is_empty() && !names.iter().any(|name| wanted.contains(name)) {
            continue;
        }
        let tests = control.tests.iter();
        let tests = tests.filter(|test| !untried || !results.has_failed(control, test));
        let tests: Vec<&str> = tests.map(String::as_str).collect();
        if tests.is_empty() {
            continue;
        }
        for (test, outcome) in try_one(&tree, control, &tests)? {
            let (threat, removed) = (&control.threat, &control.removed);
            println!("{threat} {test}: {outcome} ({removed})");
            results.put(control, &test, outcome, &tree.date);
            tried += 1;
            failed += usize::from(outcome.is_failure());
        }
        results.write(&controls)?;
    }
    println!("{failed} of {tried} tests failed without their control");
    Ok(failed == tried)
}

/// Removes a control, runs these tests of it, and puts the control back.
fn try_one(
    tree: &Tree,
    control: &Control,
    tests: &[&str],
) -> Result<Vec<(String, Outcome)>, String> {
    let mut targets: BTreeMap<Target, Vec<&str>> = BTreeMap::new();
    for test in tests {
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

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}
