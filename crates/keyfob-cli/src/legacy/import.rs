//! `keyfob legacy import`

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    io::{self, Read},
    path::{Path, PathBuf},
};

use clap::Args;
use keyfob::{
    Context,
    audit::Action,
    legacy::{Imported, LegacyPolicy, LegacyRecord, read_subjects},
    manage,
    name::{NamespaceId, Reason, TeamId},
    store::{AuditQuery, Conflict, KeyQuery},
};
use serde::Serialize;
use zeroize::Zeroizing;

use crate::{
    command_context::CommandContext,
    exit::Exit,
    failure::Failure,
    moment::{self, Moment},
    terminal::{Progress, TableView, count},
};

/// Import the credentials in `OpenWhisk` `subjects` documents, from an export of `CouchDB`
///
/// The file is the answer of `_all_docs?include_docs=true`, an array, or one document per line. Only
/// hashes are stored. An import can be repeated, and a later one only ever takes access away: a
/// credential whose subject is blocked in it is blocked, and nothing else changes. Imported
/// credentials are accepted only under a policy: give `--until`, or use `legacy sunset`.
#[derive(Args, Debug)]
pub(crate) struct Import {
    /// The file; `-` for the standard input
    file: PathBuf,

    /// A TOML file with the team of each namespace (`"fn-1" = "acme"`) [default: --team for all]
    #[arg(long, value_name = "FILE")]
    teams: Option<PathBuf>,

    /// Accept the imported credentials until this time, unless their namespace has a policy
    #[arg(long, value_name = "WHEN", value_parser = moment::parse)]
    until: Option<Moment>,

    /// Read the documents, and import nothing
    #[arg(long)]
    dry_run: bool,

    /// The reason, for the audit trail
    #[arg(long)]
    reason: Option<Reason>,
}

#[derive(Serialize)]
struct Outcome {
    read: usize,
    imported: u64,
    kept_already: u64,
    /// Those that were imported before, and are blocked now.
    blocked: Vec<String>,
    /// The entries that could never log in, because their key has a wrong length.
    unusable: Vec<String>,
    /// The documents that are no subjects.
    passed_over: PassedOverView,
    /// The entries that could not be imported: their position or namespace, and the error.
    problems: Vec<String>,
    dry_run: bool,
}

#[derive(Serialize)]
struct PassedOverView {
    design: usize,
    limits: usize,
    deleted: usize,
    other: usize,
}

impl Outcome {
    /// The failure after a part of the import.
    fn stopped(&self, error: manage::Error) -> Failure {
        let done = (self.imported > 0).then(|| format!("{} imported", self.imported));
        Failure::from(error)
            .done_before(done)
            .hint("import the file again: what is there already does not change")
    }
}

impl Import {
    pub(super) async fn run(self, cx: &CommandContext) -> Result<(), Failure> {
        let teams = match &self.teams {
            Some(path) => Teams::Listed(read_teams(path)?),
            None => Teams::One(cx.team()?.clone()),
        };
        let text = read(&self.file)?;
        let context = cx.context(self.reason.as_ref());
        let import = read_subjects(&text, &context, &cx.peppers, |namespace| {
            teams.of(namespace)
        });
        drop(text);

        let passed_over = import.passed_over;
        let mut outcome = Outcome {
            read: import.records.len(),
            imported: 0,
            kept_already: 0,
            blocked: Vec::new(),
            unusable: import.unusable.iter().map(ToString::to_string).collect(),
            passed_over: PassedOverView {
                design: passed_over.design,
                limits: passed_over.limits,
                deleted: passed_over.deleted,
                other: passed_over.other,
            },
            problems: import.problems.iter().map(ToString::to_string).collect(),
            dry_run: self.dry_run,
        };
        if !self.dry_run {
            let records = import.records;
            self.store(cx, &context, records, &mut outcome).await?;
        }
        self.tell(cx, &outcome)
    }

    async fn store(
        &self,
        cx: &CommandContext,
        context: &Context,
        records: Vec<LegacyRecord>,
        outcome: &mut Outcome,
    ) -> Result<(), Failure> {
        let until = self.until.map(|until| until.ahead(cx.now));
        let decided = match until {
            Some(_) => decided(cx).await?,
            None => BTreeSet::new(),
        };
        let progress = Progress::of(outcome.read as u64, "importing");
        for record in records {
            let (id, tenant) = (record.id, record.tenant.clone());
            let imported = match cx.keyring.import_legacy(context, record).await {
                Ok(imported) => imported,
                Err(manage::Error::Conflict(conflict)) => {
                    let problem = match conflict {
                        Conflict::IdTaken => {
                            "it was imported with another key or namespace, and that is unchanged"
                                .to_owned()
                        }
                        conflict => conflict.to_string(),
                    };
                    let namespace = &tenant.namespace;
                    let problem = format!("{id} of namespace {namespace}: {problem}");
                    outcome.problems.push(problem);
                    progress.step();
                    continue;
                }
                Err(error) => return Err(outcome.stopped(error)),
            };
            match imported {
                Imported::Stored => outcome.imported += 1,
                Imported::Blocked => outcome.blocked.push(id.to_string()),
                _ => outcome.kept_already += 1,
            }
            if let Some(until) = until {
                let off = LegacyPolicy::Off;
                let decided = decided.contains(&Some(tenant.namespace.clone()))
                    || imported != Imported::Stored && decided.contains(&None);
                let keyring = &cx.keyring;
                let accept = async {
                    if !decided && keyring.legacy_policy(Some(&tenant)).await? == off {
                        let policy = Some(LegacyPolicy::until(until));
                        keyring
                            .set_legacy_policy(context, Some(&tenant), policy)
                            .await?;
                    }
                    Ok(())
                };
                accept.await.map_err(|error| outcome.stopped(error))?;
            }
            progress.step();
        }
        Ok(())
    }

    fn tell(&self, cx: &CommandContext, outcome: &Outcome) -> Result<(), Failure> {
        cx.terminal.answer(outcome, |outcome| {
            let mut table = TableView::pairs();
            table.pair("read", outcome.read);
            if outcome.dry_run {
                table.pair("imported", "none: a dry run");
            } else {
                table
                    .pair("imported", outcome.imported)
                    .pair("there already", outcome.kept_already)
                    .pair("blocked now", outcome.blocked.len());
            }
            let passed_over = &outcome.passed_over;
            table
                .pair("could never log in", outcome.unusable.len())
                .pair("design documents", passed_over.design)
                .pair("limits", passed_over.limits)
                .pair("deleted", passed_over.deleted)
                .pair("other documents", passed_over.other)
                .pair("problems", outcome.problems.len());
            table
        })?;
        for id in &outcome.blocked {
            cx.terminal.note(format_args!("{id}: blocked now"));
        }
        for entry in outcome.unusable.iter().chain(&outcome.problems) {
            cx.terminal.note(format_args!("{entry}"));
        }
        if self.until.is_none() && !outcome.dry_run && outcome.imported > 0 {
            cx.terminal.hint(format_args!(
                "they are not accepted until a policy allows it: `keyfob legacy sunset WHEN`"
            ));
        }
        match outcome.problems.len() as u64 {
            0 => Ok(()),
            problems => {
                let (entries, were) = (
                    count(problems, "entry"),
                    if problems == 1 { "was" } else { "were" },
                );
                let message = format!("{entries} {were} not imported");
                Err(Failure::new(Exit::Refused, message)
                    .hint("correct them and import the file again"))
            }
        }
    }
}

/// The namespaces whose legacy policy was ever set, and none for the default: an import must not
/// accept again what was cut off.
async fn decided(cx: &CommandContext) -> Result<BTreeSet<Option<NamespaceId>>, Failure> {
    let query = AuditQuery {
        action: Some(Action::LegacyPolicySet),
        limit: KeyQuery::LIMIT_MAX,
        ..AuditQuery::every_team()
    };
    let mut decided = BTreeSet::new();
    let mut events = cx.keyring.walk(query);
    while let Some(event) = events.next().await? {
        decided.insert(event.entry.namespace);
    }
    Ok(decided)
}

/// The teams of namespaces.
enum Teams {
    One(TeamId),
    Listed(BTreeMap<String, TeamId>),
}

impl Teams {
    fn of(&self, namespace: &NamespaceId) -> Option<TeamId> {
        match self {
            Self::One(team) => Some(team.clone()),
            Self::Listed(teams) => teams.get(namespace.as_str()).cloned(),
        }
    }
}

/// Reads the documents. They hold plain secrets, so the memory is wiped.
fn read(path: &Path) -> Result<Zeroizing<String>, Failure> {
    let failed = |error: io::Error| Failure::file(path, &error);
    if path == Path::new("-") {
        // A growing string leaves copies in memory, so this one is large enough for most documents.
        let mut text = Zeroizing::new(String::with_capacity(1 << 24));
        io::stdin()
            .lock()
            .read_to_string(&mut text)
            .map_err(failed)?;
        return Ok(text);
    }
    fs::read_to_string(path).map(Zeroizing::new).map_err(failed)
}

fn read_teams(path: &Path) -> Result<BTreeMap<String, TeamId>, Failure> {
    let text = fs::read_to_string(path).map_err(|error| Failure::file(path, &error))?;
    let read: BTreeMap<String, String> = toml::from_str(&text).map_err(|_| {
        Failure::usage(format!("{}: must be a list of teams", path.display()))
            .hint("one line per namespace: \"fn-1\" = \"acme\"")
    })?;
    let teams = read
        .into_iter()
        .map(|(namespace, team)| Ok((namespace, TeamId::new(&team)?)));
    teams.collect::<Result<_, Failure>>()
}
