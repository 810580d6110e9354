//! `keyfob audit export`

use std::{
    io::{self, BufWriter, Write},
    path::PathBuf,
};

use clap::Args;
use keyfob::store::{AuditQuery, Cursor, KeyQuery, Revision};
use keyfob_ocsf::Exporter;

use crate::{
    command_context::CommandContext,
    failure::Failure,
    private_file::PrivateFile,
    terminal::{Progress, count},
};

/// Export the audit trail as JSON lines: OCSF 1.6.0 events in `CloudEvents` 1.0
///
/// It contains the events of all teams, since only a complete trail can be verified:
/// `keyfob audit verify --file FILE`.
#[derive(Args, Debug)]
pub(crate) struct Export {
    /// Write to this new file, which only its owner can read [default: the standard output]
    #[arg(long, value_name = "FILE")]
    to: Option<PathBuf>,

    /// Only events after this revision
    #[arg(long, value_name = "REVISION", default_value_t = 0)]
    after: u64,

    /// The `CloudEvents` source: a URI for this store
    #[arg(long, value_name = "URI", default_value = "urn:keyfob")]
    source: String,
}

impl Export {
    pub(super) async fn run(self, cx: &CommandContext) -> Result<(), Failure> {
        let exporter = Exporter::new(*cx.format(), self.source.as_str())
            .map_err(|error| Failure::usage(error.to_string()))?;
        let Some(path) = &self.to else {
            let mut out = BufWriter::new(io::stdout());
            self.write(cx, &exporter, &mut out).await?;
            return Ok(out.flush()?);
        };
        let mut file = PrivateFile::create(path)?;
        let failed = |error: io::Error| Failure::file(path, &error);
        let mut out = BufWriter::new(file.file());
        let written = self.write(cx, &exporter, &mut out).await?;
        out.flush().map_err(failed)?;
        drop(out);
        file.publish()?;
        cx.terminal.note(format_args!(
            "{} in {}",
            count(written, "event"),
            path.display()
        ));
        Ok(())
    }

    async fn write(
        &self,
        cx: &CommandContext,
        exporter: &Exporter,
        out: &mut (impl Write + Send),
    ) -> Result<u64, Failure> {
        let progress = Progress::open("exporting");
        let query = AuditQuery {
            after: (self.after > 0).then(|| Cursor::after(Revision::new(self.after))),
            limit: KeyQuery::LIMIT_MAX,
            ..AuditQuery::every_team()
        };
        let mut written = 0;
        let mut events = cx.keyring.walk(query);
        while let Some(event) = events.next().await? {
            writeln!(out, "{}", exporter.line(&event))?;
            written += 1;
            progress.step();
        }
        Ok(written)
    }
}
