//! `keyfob check`

use clap::Args;
use serde::Serialize;

use crate::{command_context::CommandContext, failure::Failure, terminal::TableView};

/// Check the whole store: its file, every record, and the audit trail
///
/// A SQLite file is checked for damage of its structure, indexes and references. Every record is
/// read as the server reads it, and the audit trail is verified from its start to its end. Servers
/// may use the store meanwhile. The exit code is 0 if no fault was found, and 1 at the first fault.
#[derive(Args, Clone, Copy, Debug)]
pub(crate) struct Check {}

#[derive(Serialize)]
struct Checked {
    /// Whether the structure of a file was checked. A database server checks its own.
    file: bool,
    revision: u64,
    /// The number of records, which were compared with the audit trail.
    records: u64,
    /// The end of the audit trail, to be kept elsewhere.
    head: String,
}

impl Check {
    pub(crate) async fn run(self, cx: &CommandContext) -> Result<(), Failure> {
        let file = cx.store.check().await?;
        let revision = cx.read_all().await?;
        let verified = cx.keyring.verify_audit(None).await?;
        let checked = Checked {
            file,
            revision: revision.get(),
            records: verified.records,
            head: verified.head.to_string(),
        };
        cx.terminal.answer(&checked, |checked| {
            let mut table = TableView::pairs();
            let file = if checked.file {
                "sound"
            } else {
                "not checked: the database server checks its own"
            };
            table
                .pair("file", file)
                .pair("records", checked.records)
                .pair("audit trail", "whole")
                .pair("revision", checked.revision)
                .pair("ends with", &checked.head);
            table
        })
    }
}
