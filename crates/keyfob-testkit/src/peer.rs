//! Programs that tests need and that somebody else installs or publishes.

use std::{
    env, fs,
    io::{self, Write as _},
    path::Path,
    process::{Command, Stdio},
};

/// Says that a test passes without its peer, and how to install that; with `CI=true` it fails.
pub fn missing(wanted: &str) {
    assert!(env::var("CI").as_deref() != Ok("true"), "{wanted}");
    // Bypasses the capture of test output, which would hide the message.
    let _ = writeln!(io::stderr(), "skipped: {wanted}");
}

/// Copies `sources` to `folder`, and installs the packages of its `package.json` there with these options
/// of npm, unless they are installed. Returns `false` if there is no npm: see [`missing`].
pub fn npm(sources: &Path, folder: &Path, options: &[&str]) -> bool {
    let answers = Command::new("npm")
        .arg("--version")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    if !answers.is_ok_and(|status| status.success()) {
        missing("install Node.js 20 or later with npm: npm does not run");
        return false;
    }
    copy(sources, folder);
    let wanted = fs::read_to_string(folder.join("package.json")).expect("it was copied");
    let installed = folder.join("installed.json");
    if !fs::read_to_string(&installed).is_ok_and(|installed| installed == wanted) {
        let output = Command::new("npm")
            .current_dir(folder)
            .args(["install", "--no-audit", "--no-fund", "--no-package-lock"])
            .args(options)
            .stdin(Stdio::null())
            .output()
            .expect("npm can be run");
        assert!(
            output.status.success(),
            "npm install failed ({}):\n{}\n{}",
            output.status,
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr),
        );
        fs::write(installed, wanted).expect("the folder can be written");
    }
    true
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("the folder can be made");
    for entry in fs::read_dir(from).expect("the folder is there") {
        let entry = entry.expect("the folder can be read").path();
        let name = to.join(entry.file_name().expect("it has a name"));
        if entry.is_dir() {
            copy(&entry, &name);
        } else {
            fs::copy(&entry, &name).expect("the file can be copied");
        }
    }
}
