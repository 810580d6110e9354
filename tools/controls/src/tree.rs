//! A work tree in which controls are removed.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use crate::{
    control::{Control, Target},
    text,
};

/// How long one test executable may run, in seconds.
const LIMIT: &str = "300";

/// A work tree at the last commit, with its own folder for what is compiled.
pub(crate) struct Tree {
    folder: PathBuf,
    target: PathBuf,
    /// The date of the commit.
    pub(crate) date: String,
}

impl Tree {
    /// Makes the work tree in `place`, or brings an existing one to the last commit.
    pub(crate) fn at_last_commit(root: &Path, place: &Path) -> Result<Self, String> {
        let folder = place.join("tree");
        let commit = git(root, &["rev-parse", "HEAD"])?;
        let date = git(root, &["show", "--no-patch", "--format=%cs", "HEAD"])?;
        if folder.exists() {
            git(
                &folder,
                &["checkout", "--quiet", "--force", "--detach", &commit],
            )?;
        } else {
            let path = folder.to_string_lossy();
            git(
                root,
                &["worktree", "add", "--quiet", "--detach", &path, &commit],
            )?;
        }
        Ok(Self {
            folder,
            target: place.join("target"),
            date,
        })
    }

    /// Removes a control; returns the file's original text.
    pub(crate) fn remove(&self, control: &Control) -> Result<String, String> {
        let (file, find) = (&control.file, &control.find);
        let original = fs::read_to_string(self.folder.join(file)).map_err(text)?;
        match original.matches(find.as_str()).count() {
            1 => {}
            found => return Err(format!("{file} has {found} times: {find}")),
        }
        self.write(file, &original.replace(find.as_str(), &control.replace))?;
        Ok(original)
    }

    pub(crate) fn write(&self, file: &str, content: &str) -> Result<(), String> {
        fs::write(self.folder.join(file), content).map_err(text)
    }

    /// Runs these tests of an executable; returns what it printed.
    pub(crate) fn test(&self, target: &Target, names: &[&str]) -> Result<String, String> {
        let package = self.folder.join("crates").join(&target.package);
        let is_program = package.join("src/main.rs").exists();
        let unit_tests = if is_program { "--bins" } else { "--lib" };
        let arguments = |command: &mut Command| {
            command
                .current_dir(&self.folder)
                .env("CARGO_TARGET_DIR", &self.target)
                .env("CARGO_PROFILE_DEV_DEBUG", "0")
                .args([
                    "cargo",
                    "test",
                    "--quiet",
                    "--locked",
                    "--package",
                    &target.package,
                ]);
            match &target.integration {
                Some(name) => command.args(["--test", name]),
                None => command.arg(unit_tests),
            };
        };
        // Compiling takes as long as it takes; only the run is limited.
        let mut build = Command::new("env");
        arguments(&mut build);
        let built = build.arg("--no-run").output().map_err(text)?;
        if !built.status.success() {
            let errors = String::from_utf8_lossy(&built.stderr).into_owned();
            eprintln!("{errors}");
            return Ok(errors);
        }
        let mut run = Command::new("timeout");
        run.arg(LIMIT);
        arguments(&mut run);
        run.args(["--", "--format", "pretty"]).args(names);
        let output = run.output().map_err(text)?;
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }
}

fn git(folder: &Path, arguments: &[&str]) -> Result<String, String> {
    let output = Command::new("git")
        .current_dir(folder)
        .args(arguments)
        .output()
        .map_err(text)?;
    if output.status.success() {
        Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    } else {
        Err(String::from_utf8_lossy(&output.stderr).into_owned())
    }
}
