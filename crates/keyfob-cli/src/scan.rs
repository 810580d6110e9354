//! `keyfob scan`

mod content;
mod encoding;
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
    failure::{Failure, cause},
    settings::{Origin, Settings},
    store::Absent,
    terminal::{self, Progress, TableView, Terminal, Tone, count, visible},
};

use content::Content;
use finder::{Find, Found, Kind, Scanner};
use liveness::{Candidates, Liveness, LivenessCheck, State};
use pattern::Patterns;
use walk::{Item, Walk};

/// Search files, folders or the standard input for leaked credentials
///
/// It finds whole credentials, single secrets, `Basic` header fields and legacy credentials, also in
/// UTF-16, with the escapes of URLs, JSON or XML, in base64 or hexadecimal digits, and compressed by
/// gzip; the checksum excludes texts that only look like a key. Keys of every prefix are found,
/// unless `--prefix` names one. No secret is printed.
///
/// If `--store`, `KEYFOB_STORE` or the configuration file names a store, it is asked whether each
/// credential is live. A `keyfob.db` in the current folder is not used, since it may be a part of
/// what is searched.
///
/// Hidden files and files that .gitignore excludes are searched too; folders named .git are only
/// searched if they are named. Archives, and files compressed in other formats, are not read.
///
/// The exit code is 0 if everything was read and nothing was found, 1 if anything was found, live
/// or not, and 6 if nothing was found but something was not read.
#[derive(Args, Debug)]
pub(crate) struct Scan {
    /// Files, pipes and folders; `-` for the standard input
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

#[derive(Default, Serialize)]
struct Scanned {
    finds: Vec<FindView>,
    files: u64,
    /// The number of texts that look like a key but have a wrong checksum.
    lookalikes: u64,
    /// The paths that were not read, and why.
    unread: Vec<String>,
    /// The number of folders named `.git`, which were not searched.
    git_folders: u64,
    /// Whether a store was asked whether the finds are live.
    checked: bool,
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
        let chosen = settings.prefix;
        let no_store = settings.origin("store") == Origin::Default;
        if no_store && self.revoke {
            return Err(Failure::usage("no store given").hint(
                "give `--store`, or set KEYFOB_STORE or `store` in the configuration file: `scan` does not use a file in the current folder",
            ));
        }
        let cx = if self.offline || no_store {
            None
        } else {
            Some(CommandContext::open(settings, terminal, Absent::Refuse).await?)
        };
        let check = match &cx {
            Some(cx) => LivenessCheck::over(cx).await?,
            None => LivenessCheck::offline(),
        };
        let patterns = Patterns::new(chosen);
        let mut scanned = Scanned {
            checked: cx.is_some(),
            ..Scanned::default()
        };
        let progress = Progress::open("files scanned");
        for item in Walk::new(&self.paths, self.respect_gitignore) {
            match item {
                Item::File(path) => scanned.file(&path, &patterns, &check),
                Item::Unread(path, why) => scanned.leave_out(&path, &why),
                Item::Git => scanned.git_folders += 1,
            }
            progress.step();
        }
        drop(progress);
        if let (Some(cx), true) = (&cx, self.revoke) {
            let usual = Reason::new("leaked: found by a scan")?;
            let reason = self.reason.unwrap_or(usual);
            liveness::revoke(cx, &reason, &mut scanned.finds).await?;
        }
        scanned.tell(terminal)
    }
}

impl Scanned {
    fn file(&mut self, path: &Path, patterns: &Patterns, check: &LivenessCheck) {
        let found = match read(path, patterns) {
            Ok(Ok(found)) => found,
            Ok(Err(format)) => return self.leave_out(path, format),
            Err(error) => return self.leave_out(path, &cause(&error)),
        };
        self.files += 1;
        self.lookalikes += found.lookalikes;
        let mut candidates = Candidates::new(found.ids);
        for find in &found.finds {
            let liveness = check.check(find, &mut candidates);
            self.finds.push(FindView::new(path, find, liveness));
        }
        if candidates.exhausted() {
            let why = "too many ids and secrets to try every pair: split the file";
            self.leave_out(path, why);
        }
    }

    fn leave_out(&mut self, path: &Path, why: &str) {
        self.unread.push(if path.as_os_str().is_empty() {
            why.to_owned()
        } else {
            format!("{}: {why}", path.display())
        });
    }
}

/// Reads a file, or returns the name of its format if that is not read.
fn read(path: &Path, patterns: &Patterns) -> io::Result<Result<Found, &'static str>> {
    let content = if path == Path::new("-") {
        Content::of(io::stdin().lock())?
    } else {
        Content::of(File::open(path)?)?
    };
    match content {
        Content::Read(content) => Ok(Ok(Scanner::new(patterns).read(content)?)),
        Content::Unread(format) => Ok(Err(format)),
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
    fn tell(&self, terminal: Terminal) -> Result<Exit, Failure> {
        terminal.answer(self, Self::table)?;
        let finds = self.finds.len();
        let live = self.finds.iter().filter(|find| find.state == State::Live);
        let left = live.clone().filter(|find| !find.revoked).count();
        let live = match (finds, self.checked) {
            (0, _) => String::new(),
            (_, true) => format!(", {} live", live.count()),
            (_, false) => ", not checked whether they are live".to_owned(),
        };
        let (files, lookalikes) = (count(self.files, "file"), self.lookalikes);
        terminal.note(format_args!(
            "{finds} found in {files}{live}; {lookalikes} with a wrong checksum skipped"
        ));
        if self.git_folders > 0 {
            let folders = count(self.git_folders, "folder");
            terminal.note(format_args!("{folders} named .git not searched"));
        }
        for unread in &self.unread {
            terminal::warn(format_args!("not read: {}", visible(unread)));
        }
        if left > 0 {
            terminal.hint(format_args!(
                "use `keyfob scan --revoke` to revoke the live ones"
            ));
        } else if finds > 0 && !self.checked {
            terminal.hint(format_args!(
                "give `--store` to check whether they are live"
            ));
        }
        match (finds, self.unread.len()) {
            (0, 0) => Ok(Exit::Done),
            (0, unread) => Err(Failure::new(
                Exit::Failed,
                format!(
                    "nothing was found, but {} could not be read",
                    count(unread as u64, "path")
                ),
            )
            .hint("`keyfob scan -` reads a pipe: `unzip -p FILE | keyfob scan -`, `git log -p | keyfob scan -`")),
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
