//! The table of results, `RESULTS.md`.

use std::{collections::BTreeMap, fs, path::PathBuf};

use crate::{control::Control, outcome::Outcome, text};

/// The last outcome of each test without its control.
pub(crate) struct Results {
    path: PathBuf,
    /// The outcome and the date of the commit, by removal and test.
    rows: BTreeMap<(String, String), (String, String)>,
}

impl Results {
    /// Reads the table, if there is one.
    pub(crate) fn read(path: PathBuf) -> Self {
        let table = fs::read_to_string(&path).unwrap_or_default();
        let rows = table.lines().filter_map(|line| {
            let cells: Vec<&str> = line.strip_prefix("| ")?.split(" | ").collect();
            let [_, removed, test, outcome, date] = cells.as_slice() else {
                return None;
            };
            let key = ((*removed).to_owned(), test.trim_matches('`').to_owned());
            let date = date.trim_end_matches(" |");
            Some((key, ((*outcome).to_owned(), date.to_owned())))
        });
        let rows = rows.collect();
        Self { path, rows }
    }

    /// Whether a test has noticed already that its control is gone.
    pub(crate) fn has_failed(&self, control: &Control, test: &str) -> bool {
        let row = self.rows.get(&(control.removed.clone(), test.to_owned()));
        row.is_some_and(|(outcome, _)| {
            [Outcome::Failed, Outcome::Aborted]
                .map(|failure| failure.to_string())
                .contains(outcome)
        })
    }

    /// Takes an outcome at a commit of this date.
    pub(crate) fn put(&mut self, control: &Control, test: &str, outcome: Outcome, date: &str) {
        let key = (control.removed.clone(), test.to_owned());
        self.rows
            .insert(key, (outcome.to_string(), date.to_owned()));
    }

    /// Writes a row for each test of these controls.
    pub(crate) fn write(&self, controls: &[Control]) -> Result<(), String> {
        let mut table = String::from(
            "# Controls removed, and what their tests said\n\n\
             Written by `just controls`: what each test does without its control, and the date of the \
             commit at which that was tried last.\n\n\
             | threat | removed | test | without the control | at |\n|---|---|---|---|---|\n",
        );
        for control in controls {
            for test in &control.tests {
                let (threat, removed) = (&control.threat, &control.removed);
                let untried = ("not tried yet".to_owned(), String::new());
                let row = self.rows.get(&(removed.clone(), test.clone()));
                let (outcome, date) = row.unwrap_or(&untried);
                table.push_str(&format!(
                    "| {threat} | {removed} | `{test}` | {outcome} | {date} |\n"
                ));
            }
        }
        fs::write(&self.path, table).map_err(text)
    }
}
