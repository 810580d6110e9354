//! `keyfob scan`

mod finder;
mod liveness;
mod pattern;
mod walk;

use std::{
    fs::File,
    io,
    path::{Path, PathBuf},
};

use clap::Args;
use keyfob::{Denied, name::Reason};
use serde::Serialize;

use crate::{
    command_context::CommandContext,
    exit::Exit,
    failure::Failure,
    settings::{Origin, Settings},
    store::{Absent, default_format},
    terminal::{self, Progress, TableView, Terminal, Tone, visible},
};

use finder::{Find, Kind, Scanner};
use liveness::{Liveness, LivenessCheck, State};
use walk::Walk;

/// Search files, folders or the standard input for leaked credentials
///
/// It finds whole credentials, single secrets, `Basic` header fields and legacy credentials; the
/// checksum excludes texts that only look like a key. If a store is set, it is asked whether each
/// credential is live. No secret is printed. Hidden files and files that .gitignore excludes are
/// searched too; folders named .git are not.
///
/// The exit code is 0 if nothing was found, and 1 if anything was, live or not.
#[derive(Args, Debug)]
pub(crate) struct Scan {
    /// Files and folders; `-` for the standard input
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<PathBuf>,

    /// Do not use a store, even if one is set
    #[arg(long, conflicts_with = "revoke")]
    offline: bool,

    /// Revoke the live credentials
    #[arg(long)]
    revoke: bool,

    /// Skip what .gitignore excludes
    #[arg(long)]
    respect_gitignore: bool,

    /// The reason, for the audit trail [default: "leaked: found by a scan"]
    #[arg(long)]
    reason: Option<Reason>,
}

#[derive(Serialize)]
struct Scanned {
    finds: Vec<FindView>,
    files: u64,
    /// The number of texts that look like a key but have a wrong checksum.
    lookalikes: u64,
    unreadable: Vec<String>,
}

/// A find, without the secret.
#[derive(Serialize)]
struct FindView {
    path: String,
    line: u64,
    column: u64,
    /// In bytes from the start of the file.
    offset: u64,
    kind: Kind,
    id: Option<String>,
    state: State,
    /// The verifier's reason why it is not live.
    reason: Option<&'static str>,
    owner: Option<String>,
    team: Option<String>,
    namespace: Option<String>,
    revoked: bool,
    #[serde(skip)]
    refused: Option<Denied>,
}

impl Scan {
    pub(crate) async fn run(self, settings: Settings, terminal: Terminal) -> Result<Exit, Failure> {
        let prefix = settings.prefix;
        let cx = if self.offline || (settings.origin("store") == Origin::Default && !self.revoke) {
            None
        } else {
            Some(CommandContext::open(settings, terminal, Absent::Refuse).await?)
        };
        let (format, check) = if let Some(cx) = &cx {
            (*cx.format(), LivenessCheck::over(cx).await?)
        } else {
            let format = prefix.map_or_else(default_format, Ok)?;
            (format, LivenessCheck::offline(format))
        };
        let patterns = pattern::Patterns::new(&format);
        let mut scanned = Scanned {
            finds: Vec::new(),
            files: 0,
            lookalikes: 0,
            unreadable: Vec::new(),
        };
        let progress = Progress::open("files scanned");
        for item in Walk::new(&self.paths, self.respect_gitignore) {
            let path = match item {
                Ok(path) => path,
                Err(error) => {
                    scanned.unreadable.push(error);
                    continue;
                }
            };
            let reader = Scanner::new(&patterns, &format);
            let outcome = if path == Path::new("-") {
                reader.read(io::stdin().lock())
            } else {
                File::open(&path).and_then(|file| reader.read(file))
            };
            let found = match outcome {
                Ok(found) => found,
                Err(error) => {
                    scanned
                        .unreadable
                        .push(format!("{}: {error}", path.display()));
                    continue;
                }
            };
            scanned.files += 1;
            scanned.lookalikes += found.lookalikes;
            for find in &found.finds {
                let liveness = check.check(find, &found.ids);
                let view = FindView::new(&path, find, liveness);
                scanned.finds.push(view);
            }
            progress.step();
        }
        drop(progress);
        if let (Some(cx), true) = (&cx, self.revoke) {
            let usual = Reason::new("leaked: found by a scan")?;
            let reason = self.reason.unwrap_or(usual);
            liveness::revoke(cx, &reason, &mut scanned.finds).await?;
        }
        scanned.tell(terminal, cx.is_some())
    }
}

impl FindView {
    fn new(path: &Path, find: &Find, liveness: Liveness) -> Self {
        Self {
            path: path.display().to_string(),
            line: find.line,
            column: find.column,
            offset: find.offset,
            kind: find.kind,
            id: liveness.id,
            state: liveness.state,
            reason: liveness.reason,
            owner: liveness.owner,
            team: liveness
                .tenant
                .as_ref()
                .map(|tenant| tenant.team.to_string()),
            namespace: liveness
                .tenant
                .as_ref()
                .map(|tenant| tenant.namespace.to_string()),
            revoked: false,
            refused: liveness.refused,
        }
    }
}

impl Scanned {
    fn tell(&self, terminal: Terminal, asked: bool) -> Result<Exit, Failure> {
        terminal.answer(self, Self::table)?;
        let (finds, files) = (self.finds.len(), self.files);
        let live = self.finds.iter().filter(|find| find.state == State::Live);
        let left = live.clone().filter(|find| !find.revoked).count();
        let live = live.count();
        terminal.note(format_args!(
            "{finds} found in {files} files, {live} live; {} with a wrong checksum skipped",
            self.lookalikes
        ));
        for unreadable in &self.unreadable {
            terminal::warn(format_args!("{}", visible(unreadable)));
        }
        if left > 0 {
            terminal.hint(format_args!(
                "use `keyfob scan --revoke` to revoke the live ones"
            ));
        } else if finds > 0 && !asked {
            terminal.hint(format_args!(
                "give `--store` to check whether they are live"
            ));
        }
        match (finds, self.unreadable.len()) {
            (0, 0) => Ok(Exit::Done),
            (0, count) => Err(Failure::new(
                Exit::Failed,
                format!("{count} paths could not be read"),
            )),
            _ => Ok(Exit::Refused),
        }
    }

    fn table(&self) -> TableView {
        let mut table = TableView::new(
            ["PLACE", "KIND", "STATE", "KEY", "OWNER", "NAMESPACE"],
            "nothing found",
        );
        for find in &self.finds {
            let plain = |text: &str| (text.to_owned(), Tone::Plain);
            let or_dash = |text: &Option<String>| plain(text.as_deref().unwrap_or("-"));
            let (state, tone) = match (find.state, find.revoked) {
                (_, true) => ("revoked now".to_owned(), Tone::Good),
                (State::Live, _) => ("live".to_owned(), Tone::Bad),
                (State::Dead, _) => (find.reason.unwrap_or("dead").replace('_', " "), Tone::Dim),
                (State::Unknown, _) => ("unknown".to_owned(), Tone::Warning),
            };
            table.row([
                plain(&format!("{}:{}:{}", find.path, find.line, find.column)),
                plain(find.kind.name()),
                (state, tone),
                or_dash(&find.id),
                or_dash(&find.owner),
                or_dash(&find.namespace),
            ]);
        }
        table
    }
}
