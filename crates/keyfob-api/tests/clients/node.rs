//! JavaScript programs, installed from npm once for all tests.

use std::{
    path::{Path, PathBuf},
    process::Command,
    sync::OnceLock,
};

use keyfob_testkit::peer::npm;

use crate::python::sources;

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
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("node-clients");
        npm(&sources("node"), &folder, &[]).then_some(Self { folder })
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
