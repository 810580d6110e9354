//! `keyfob audit verify`

use std::{
    fs::File,
    io::{self, BufRead, BufReader},
    path::{Path, PathBuf},
};

use clap::Args;
use keyfob::{audit::TrailHead, store::Revision};
use keyfob_ocsf::Reader;
use serde::Serialize;

use crate::{command_context::CommandContext, exit::Exit, failure::Failure, terminal::Terminal};

/// Verify the audit trail: its chain, its end, and the records that it describes
///
/// The trail must be one chain up to the head of the store, and each record of the store must be
/// the one that its event describes. Others may write to the store meanwhile.
///
/// It prints the head of the trail, REVISION:HASH. Store it elsewhere and pass it as `--expect`
/// later: only that reveals that somebody rewrote both the trail and the store, or removed the last
/// lines of an exported file.
#[derive(Args, Debug)]
pub(crate) struct Verify {
    /// Verify this exported file (`-` for the standard input) instead of the store
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,

    /// The head before the file's first event
    #[arg(long, value_name = "REVISION:HASH", requires = "file")]
    after: Option<TrailHead>,

    /// An earlier head that the trail must contain
    #[arg(long, value_name = "REVISION:HASH")]
    expect: Option<TrailHead>,
}

#[derive(Serialize)]
struct Verified {
    /// Whether the trail is verified up to its end: a file may lack its last lines.
    whole: bool,
    head: TrailHead,
    #[serde(skip_serializing_if = "Option::is_none")]
    records: Option<u64>,
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
        let verified = cx.keyring.verify_audit(self.expect).await?;
        let (head, records) = (verified.head, verified.records);
        let verified = Verified {
            whole: true,
            head,
            records: Some(records),
            events: None,
        };
        cx.terminal.say(
            &verified,
            format_args!("whole, with {records} records, ends with {head}"),
        )
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
        let start = self.command.after.unwrap_or(TrailHead::START);
        let mut expected = self.command.expect;
        let mut reader = Reader::after(start);
        expected.take_if(|expected| *expected == start);
        for line in input.lines() {
            let line = line.map_err(failed)?;
            reader.read(&line).map_err(|error| {
                let failure = Failure::new(Exit::Refused, error.to_string());
                if error.line == 1 && self.command.after.is_none() {
                    failure.hint("if the file does not start with the trail's first event, give the head before it as `--after`")
                } else {
                    failure
                }
            })?;
            let head = reader.head();
            if let Some(expected) = expected.take_if(|expected| expected.revision == head.revision)
                && expected != head
            {
                return Err(refused(format!(
                    "the event of revision {} has the hash {}, not {}",
                    head.revision, head.hash, expected.hash
                )));
            }
        }
        let head = reader.head();
        if let Some(expected) = expected {
            return Err(refused(format!(
                "the file ends at revision {}, without the event of revision {}",
                head.revision, expected.revision
            )));
        }
        let events = reader.lines();
        if events == 0 && head.revision == Revision::ZERO {
            return Err(refused("the file has no events".to_owned()));
        }
        let whole = self.command.expect == Some(head);
        let verified = Verified {
            whole,
            head,
            records: None,
            events: Some(events),
        };
        if whole {
            terminal.say(&verified, format_args!("whole, ends with {head}"))
        } else {
            terminal.say(
                &verified,
                format_args!("unbroken up to revision {}, {head}", head.revision),
            )?;
            terminal.hint(format_args!(
                "only a head that was kept elsewhere tells whether later lines were removed: \
                 `--expect REVISION:HASH`"
            ));
            Ok(())
        }
    }
}

fn refused(message: String) -> Failure {
    Failure::new(Exit::Refused, message)
}
