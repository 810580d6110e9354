//! `keyfob man`

use std::{fs, io, path::PathBuf};

use clap::{Args, Command};
use clap_mangen::Man;

use crate::{failure::Failure, terminal};

/// Write the manual pages
#[derive(Args, Debug)]
pub(crate) struct ManPages {
    /// Write a page for each command to this folder [default: the main page to the standard output]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

impl ManPages {
    /// Writes the pages of this program.
    pub(crate) fn run(&self, program: Command) -> Result<(), Failure> {
        let Some(folder) = &self.out else {
            let mut page = Vec::new();
            Man::new(program).render(&mut page)?;
            return terminal::raw(&page);
        };
        let failed = |error: io::Error| Failure::file(folder, &error);
        fs::create_dir_all(folder).map_err(failed)?;
        clap_mangen::generate_to(program, folder).map_err(failed)
    }
}
