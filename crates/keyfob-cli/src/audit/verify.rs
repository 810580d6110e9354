//! `keyfob audit verify`

use std::{
    fs::File,
    io::{self, BufRead, BufReader},
    path::{Path, PathBuf},
};

use clap::Args;
use keyfob::audit::ChainHash;
use keyfob_ocsf::Reader;
use serde::Serialize;

use crate::{command_context::CommandContext, exit::Exit, failure::Failure, terminal::Terminal};

/// Verify the audit trail: that no event was changed, removed or moved
///
/// It prints the last hash. Store it elsewhere and pass it as `--expect` later: a trail that was
/// truncated at its end can only be detected with a later hash.
#[derive(Args, Debug)]
pub(crate) struct Verify {
    /// Verify this exported file (`-` for the standard input) instead of the store
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,

    /// The hash of the event before the file's first event
    #[arg(long, value_name = "HASH", value_parser = parse_hash, requires = "file")]
    after: Option<ChainHash>,

    /// The hash that the trail must end with
    #[arg(long, value_name = "HASH", value_parser = parse_hash)]
    expect: Option<ChainHash>,
}

#[derive(Serialize)]
struct Verified {
    whole: bool,
    hash: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    events: Option<u64>,
}

/// The verification of an exported file.
pub(crate) struct VerifyFile<'a> {
    command: &'a Verify,
    path: &'a Path,
}

impl Verify {
    pub(super) fn of_file(&self) -> Option<VerifyFile<'_>> {
        let path = self.file.as_deref()?;
        Some(VerifyFile {
            command: self,
            path,
        })
    }

    pub(super) async fn run(self, cx: &CommandContext) -> Result<(), Failure> {
        let hash = cx.keyring.verify_audit().await?;
        self.tell(cx.terminal, hash, None)
    }

    fn tell(
        &self,
        terminal: Terminal,
        hash: ChainHash,
        events: Option<u64>,
    ) -> Result<(), Failure> {
        if let Some(expected) = self.expect.filter(|expected| *expected != hash) {
            return Err(Failure::new(
                Exit::Refused,
                format!(
                    "the trail ends with {hash}, not with {expected}: events are missing, or there are newer ones"
                ),
            ));
        }
        let verified = Verified {
            whole: true,
            hash: hash.to_string(),
            events,
        };
        terminal.say(&verified, format_args!("whole, ends with {hash}"))
    }
}

impl VerifyFile<'_> {
    pub(crate) fn run(&self, terminal: Terminal) -> Result<(), Failure> {
        let failed = |error: io::Error| Failure::file(self.path, &error);
        let input: Box<dyn BufRead> = if self.path == Path::new("-") {
            Box::new(io::stdin().lock())
        } else {
            Box::new(BufReader::new(File::open(self.path).map_err(failed)?))
        };
        let mut reader = Reader::after(self.command.after.unwrap_or(ChainHash::START));
        for line in input.lines() {
            let line = line.map_err(failed)?;
            reader.read(&line).map_err(|error| {
                let failure = Failure::new(Exit::Refused, error.to_string());
                if reader_needs_start(&error, self.command.after) {
                    failure.hint("if the file does not start with the trail's first event, give the hash of the event before it as `--after`")
                } else {
                    failure
                }
            })?;
        }
        let lines = reader.lines();
        self.command.tell(terminal, reader.hash(), Some(lines))
    }
}

fn reader_needs_start(error: &keyfob_ocsf::ReadError, after: Option<ChainHash>) -> bool {
    error.line == 1 && after.is_none()
}

fn parse_hash(text: &str) -> Result<ChainHash, NoHash> {
    ChainHash::parse(text).ok_or(NoHash)
}

/// A text is not a hash.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("must be 64 lower-case hexadecimal digits")]
struct NoHash;
