//! `keyfob man`

use std::{fs, io, path::PathBuf};

use clap::{Args, CommandFactory};
use clap_mangen::Man;

use crate::{cli::Cli, failure::Failure, terminal};

/// Write the manual pages
#[derive(Args, Debug)]
pub(crate) struct ManPages {
    /// Write a page for each command to this folder [default: the main page to the standard output]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

impl ManPages {
    pub(crate) fn run(&self) -> Result<(), Failure> {
        let command = Cli::command();
        let Some(folder) = &self.out else {
            let mut page = Vec::new();
            Man::new(command).render(&mut page)?;
            return terminal::raw(&page);
        };
        let failed = |error: io::Error| Failure::file(folder, &error);
        fs::create_dir_all(folder).map_err(failed)?;
        clap_mangen::generate_to(command, folder).map_err(failed)
    }
}
