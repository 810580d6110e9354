//! JavaScript programs, installed from npm once for all tests.

use std::{
    env, fs,
    io::{self, Write},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::OnceLock,
};

use crate::python::{run, sources};

/// The folder with the packages of `tests/clients/node/package.json`, and the files next to it.
pub(crate) struct Node {
    folder: PathBuf,
}

impl Node {
    /// Installs the packages. Returns `None` if there is no Node.js.
    pub(crate) fn get() -> Option<&'static Self> {
        static NODE: OnceLock<Option<Node>> = OnceLock::new();
        NODE.get_or_init(Self::install).as_ref()
    }

    fn install() -> Option<Self> {
        let answers = Command::new("npm")
            .arg("--version")
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
        if !answers.is_ok_and(|status| status.success()) {
            let wanted = "install Node.js 20 or later with npm: npm does not run";
            assert!(env::var("CI").as_deref() != Ok("true"), "{wanted}");
            // Bypasses the capture of test output, which would hide the message.
            let _ = writeln!(io::stderr(), "skipped: {wanted}");
            return None;
        }
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("node-clients");
        fs::create_dir_all(&folder).expect("the folder can be made");
        for entry in fs::read_dir(sources("node")).expect("the folder is there") {
            let file = entry.expect("the folder can be read").path();
            let name = file.file_name().expect("a file");
            fs::copy(&file, folder.join(name)).expect("the file can be copied");
        }
        let node = Self { folder };
        let wanted = fs::read_to_string(node.folder.join("package.json")).expect("it was copied");
        let installed = node.folder.join("installed.json");
        if !fs::read_to_string(&installed).is_ok_and(|installed| installed == wanted) {
            let mut install = Command::new("npm");
            install.current_dir(&node.folder);
            install.args(["install", "--no-audit", "--no-fund", "--no-package-lock"]);
            run(install, "npm install");
            fs::write(installed, wanted).expect("the folder can be written");
        }
        Some(node)
    }

    /// Returns a program of a package.
    pub(crate) fn program(&self, name: &str) -> Command {
        let mut program = Command::new(self.folder.join("node_modules/.bin").join(name));
        self.prepare(&mut program);
        program
    }

    /// Returns a script of the folder.
    pub(crate) fn script(&self, name: &str) -> Command {
        let mut program = Command::new("node");
        program.args(["--no-warnings", name]);
        self.prepare(&mut program);
        program
    }

    fn prepare(&self, program: &mut Command) {
        program
            .current_dir(&self.folder)
            .env("NO_PROXY", "127.0.0.1")
            .env("REDOCLY_TELEMETRY", "off");
    }
}
