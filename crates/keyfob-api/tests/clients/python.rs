//! Python programs, each installed in its own virtual environment.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

use keyfob_testkit::peer::missing;

/// A virtual environment with the requirements from a folder next to this file.
pub(crate) struct Environment {
    folder: PathBuf,
}

impl Environment {
    /// Installs `tests/clients/<name>/requirements.txt`. Returns `None` if there is no Python.
    pub(crate) fn with(name: &str) -> Option<Self> {
        let answers = Command::new("python3")
            .args(["-c", "import venv, ensurepip"])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
        if !answers.is_ok_and(|status| status.success()) {
            missing("install Python 3.10 or later with venv: python3 does not run");
            return None;
        }
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}-client"));
        let environment = Self { folder };
        let wanted = sources(name).join("requirements.txt");
        let wanted = fs::read_to_string(wanted).expect("the folder says what it needs");
        let installed = environment.folder.join("installed.txt");
        if fs::read_to_string(&installed).is_ok_and(|installed| installed == wanted) {
            return Some(environment);
        }
        let mut make = Command::new("python3");
        make.args(["-m", "venv", "--clear"])
            .arg(&environment.folder);
        run(make, "python3 -m venv");
        let mut install = environment.program("pip");
        install
            .args([
                "install",
                "--quiet",
                "--disable-pip-version-check",
                "--requirement",
            ])
            .arg(sources(name).join("requirements.txt"));
        run(install, "pip install");
        fs::write(installed, wanted).expect("the folder can be written");
        Some(environment)
    }

    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Returns a program of the environment, which connects to the loopback interface directly.
    pub(crate) fn program(&self, name: &str) -> Command {
        let mut program = Command::new(self.folder.join("bin").join(name));
        program
            .current_dir(&self.folder)
            .env("NO_PROXY", "127.0.0.1")
            .env("PYTHONDONTWRITEBYTECODE", "1");
        program
    }
}

/// Returns the folder with the files of a client.
pub(crate) fn sources(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/clients")
        .join(name)
}

/// Runs a program to its end, which must succeed.
pub(crate) fn run(mut command: Command, what: &str) -> Output {
    let output = command.stdin(Stdio::null()).output();
    let output = output.expect("the program starts");
    assert!(
        output.status.success(),
        "{what} failed ({}):\n{}\n{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    output
}
