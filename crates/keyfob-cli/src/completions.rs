//! `keyfob completions`

use clap::{Args, Command};
use clap_complete::Shell;

use crate::{failure::Failure, terminal};

/// Write a shell's completion script
#[derive(Args, Debug)]
pub(crate) struct Completions {
    /// The shell
    shell: Shell,
}

impl Completions {
    /// Writes the script for this program.
    pub(crate) fn run(&self, mut program: Command) -> Result<(), Failure> {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut program, "keyfob", &mut script);
        terminal::raw(&script)
    }
}
