//! `keyfob feed`: the keys that sign the feed for gateways and relays.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use clap::{Args, Subcommand};
use keyfob::key::SystemRandom;
use keyfob_feed::{FeedKeys, SignerKey};
use serde::Serialize;
use zeroize::Zeroizing;

use crate::{
    exit::Exit,
    failure::{Failure, with_sources},
    private_file::{PrivateFile, readable_by_others},
    terminal::{self, TableView, Terminal, Tone},
};

/// Manage the keys that sign the feed for gateways and relays.
///
/// To replace a signer: `announce` a new one, deploy the file to every server, and wait until every
/// gateway knows it (a few seconds if all are connected); `switch` to it, and deploy the file; then
/// `retire` the old one, and deploy the file.
#[derive(Debug, Subcommand)]
pub(crate) enum FeedCommand {
    /// Create the file of the keys, and print the public key of its signer for the gateways
    Create(KeysFile),
    /// Print the public keys of the signers
    Show(KeysFile),
    /// Add a signer, which does not sign yet
    Announce(KeysFile),
    /// Sign with the signer that was added last
    Switch(KeysFile),
    /// Remove all signers but the one that signs
    Retire(KeysFile),
}

#[derive(Args, Debug)]
pub(crate) struct KeysFile {
    /// The file; every server needs the same, and nobody else may read it
    file: PathBuf,
}

impl FeedCommand {
    pub(crate) fn run(&self, terminal: Terminal) -> Result<(), Failure> {
        let random = SystemRandom;
        match self {
            Self::Create(KeysFile { file }) => {
                let keys = FeedKeys::generate(&random).map_err(failed)?;
                let mut new = PrivateFile::create(file)?;
                io::Write::write_all(new.file(), keys.to_text().as_bytes())
                    .map_err(|error| Failure::file(file, &error))?;
                new.publish()?;
                show(terminal, &keys)
            }
            Self::Show(KeysFile { file }) => show(terminal, &read(file)?),
            Self::Announce(KeysFile { file }) => change(terminal, file, |keys| {
                keys.announce(&random).map(drop).map_err(failed)
            }),
            Self::Switch(KeysFile { file }) => change(terminal, file, |keys| {
                if keys.signers().count() == 1 {
                    return Err(Failure::new(
                        Exit::Conflict,
                        "there is no other signer to switch to",
                    )
                    .hint("add one with `keyfob feed announce`"));
                }
                keys.switch();
                Ok(())
            }),
            Self::Retire(KeysFile { file }) => change(terminal, file, |keys| {
                keys.retire();
                Ok(())
            }),
        }
    }
}

/// Reads the keys. No error repeats what is in the file.
pub(crate) fn read(file: &Path) -> Result<FeedKeys, Failure> {
    if let Some(warning) = readable_by_others(file) {
        terminal::warn(format_args!("{warning}"));
    }
    let text = fs::read_to_string(file).map(Zeroizing::new);
    let text = text.map_err(|error| Failure::file(file, &error))?;
    FeedKeys::parse(&text).map_err(|error| {
        Failure::new(Exit::Failed, format!("{}: {error}", file.display()))
            .hint("`keyfob feed create` makes such a file")
    })
}

fn change(
    terminal: Terminal,
    file: &Path,
    change: impl FnOnce(&mut FeedKeys) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let mut keys = read(file)?;
    change(&mut keys)?;
    PrivateFile::replace(file, keys.to_text().as_bytes())?;
    show(terminal, &keys)
}

fn show(terminal: Terminal, keys: &FeedKeys) -> Result<(), Failure> {
    #[derive(Serialize)]
    struct Shown {
        version: u64,
        /// The first one signs.
        signers: Vec<String>,
    }
    let shown = Shown {
        version: keys.version(),
        signers: keys
            .signers()
            .map(|key: SignerKey| key.to_string())
            .collect(),
    };
    terminal.answer(&shown, |shown| {
        let mut table = TableView::new(["SIGNER", "STATE"], "no signers");
        for (at, signer) in shown.signers.iter().enumerate() {
            let state = if at == 0 {
                "signs"
            } else {
                "announced or replaced"
            };
            table.row([
                (signer.clone(), Tone::Plain),
                (state.to_owned(), Tone::Plain),
            ]);
        }
        table
    })
}

fn failed(error: impl std::error::Error + 'static) -> Failure {
    Failure::new(Exit::Failed, with_sources(&error))
}
