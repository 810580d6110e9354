//! The command line: every command, from its arguments to its exit code.

use std::ffi::OsString;

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};

use crate::{
    audit::Audit,
    backup::Backup,
    bench::Bench,
    check::Check,
    command_context::CommandContext,
    completions::Completions,
    config::Config,
    exit::{self, Exit},
    failure::Failure,
    feed::FeedCommand,
    gateway::Gateway,
    keys::Keys,
    legacy::Legacy,
    man::ManPages,
    namespaces::Namespaces,
    peppers::PeppersCommand,
    policy::PolicyCommand,
    redact::redact,
    relay::Relay,
    scan::Scan,
    serve::Serve,
    server::no_threads,
    settings::{Flags, Form, Settings},
    store::Absent,
    targets::{Members, Services, Teams},
    terminal::{self, Terminal},
    verify::Verify,
};

/// Issue, verify and revoke access keys
///
/// Commands work directly on the store, also while a server uses it: the server reads their changes.
#[derive(Debug, Parser)]
#[command(name = "keyfob", version, after_help = exit::TABLE, propagate_version = true)]
pub(crate) struct Cli {
    #[command(flatten)]
    flags: Flags,

    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Serve(Serve),
    Gateway(Gateway),
    Relay(Relay),
    #[command(subcommand)]
    Keys(Keys),
    #[command(subcommand)]
    Members(Members),
    #[command(subcommand)]
    Services(Services),
    #[command(subcommand)]
    Namespaces(Namespaces),
    #[command(subcommand)]
    Teams(Teams),
    #[command(subcommand)]
    Policy(PolicyCommand),
    #[command(subcommand)]
    Legacy(Legacy),
    #[command(subcommand)]
    Audit(Audit),
    Verify(Verify),
    Scan(Scan),
    Backup(Backup),
    Check(Check),
    Bench(Bench),
    #[command(subcommand)]
    Peppers(PeppersCommand),
    #[command(subcommand)]
    Feed(FeedCommand),
    #[command(subcommand)]
    Config(Config),
    Completions(Completions),
    Man(ManPages),
}

/// Runs the command line of this process.
pub(crate) fn run() -> Exit {
    let (cli, matches) = match read(std::env::args_os()) {
        Ok(read) => read,
        Err(error) => return refuse(&error),
    };
    let settings = match Settings::resolve(&cli.flags, &matches) {
        Ok(settings) => settings,
        Err(failure) => {
            Terminal::new(wanted_form(&matches)).fail(&failure);
            return failure.exit();
        }
    };
    settings.color.apply();
    let terminal = Terminal::new(settings.output);
    for warning in &settings.warnings {
        terminal::warn(format_args!("{warning}"));
    }
    match cli.command.run(settings, terminal) {
        Ok(exit) => exit,
        Err(failure) => {
            terminal.fail(&failure);
            failure.exit()
        }
    }
}

fn read(args: impl Iterator<Item = OsString>) -> Result<(Cli, clap::ArgMatches), clap::Error> {
    let matches = without_empty_variables(Cli::command()).try_get_matches_from(args)?;
    Ok((Cli::from_arg_matches(&matches)?, matches))
}

/// The command without the environment variables that are empty: an empty one is not set.
fn without_empty_variables(command: clap::Command) -> clap::Command {
    let names: Vec<String> = command.get_subcommands().map(name).collect();
    let command = command.mut_args(|arg| {
        let is_empty = |variable| std::env::var_os(variable).is_some_and(|value| value.is_empty());
        if arg.get_env().is_some_and(is_empty) {
            arg.env(None::<&'static str>)
        } else {
            arg
        }
    });
    names.into_iter().fold(command, |command, name| {
        command.mut_subcommand(name, without_empty_variables)
    })
}

fn name(command: &clap::Command) -> String {
    command.get_name().to_owned()
}

/// Reports a wrong command line, with credentials in it redacted.
fn refuse(error: &clap::Error) -> Exit {
    use std::io::Write;

    let text = error.render().ansi().to_string();
    // Help has nothing that was typed, and shows what a credential looks like.
    let text = if error.use_stderr() {
        redact(&text)
    } else {
        text
    };
    let written = if error.use_stderr() {
        write!(anstream::stderr().lock(), "{text}")
    } else {
        write!(anstream::stdout().lock(), "{text}")
    };
    match (error.use_stderr(), written) {
        (true, _) => Exit::Usage,
        (false, Ok(())) => Exit::Done,
        (false, Err(_)) => Exit::Failed,
    }
}

/// The output format that was asked for, before the settings are resolved.
fn wanted_form(matches: &clap::ArgMatches) -> Form {
    match matches.get_one::<String>("output").map(String::as_str) {
        Some("json") => Form::Json,
        _ => Form::Table,
    }
}

impl Command {
    fn run(self, settings: Settings, terminal: Terminal) -> Result<Exit, Failure> {
        if terminal.form() == Form::Env && !self.shows_a_secret() {
            // Refuse before doing anything.
            return Err(terminal::no_env());
        }
        // These commands need no store, and so no runtime.
        match &self {
            Self::Config(command) => return command.run(&settings, terminal).map(done),
            Self::Feed(command) => return command.run(terminal).map(done),
            Self::Completions(command) => return command.run(Cli::command()).map(done),
            Self::Man(command) => return command.run(Cli::command()).map(done),
            Self::Audit(audit) => {
                if let Some(check) = audit.file() {
                    return check.run(terminal).map(done);
                }
            }
            _ => {}
        }
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .enable_all()
            .build();
        let runtime = runtime.map_err(|error| no_threads(&error))?;
        runtime.block_on(self.run_async(settings, terminal))
    }

    async fn run_async(self, settings: Settings, terminal: Terminal) -> Result<Exit, Failure> {
        match self {
            // Its future is long, and one more allocation for a process is not.
            Self::Serve(command) => {
                return Box::pin(command.run(settings, terminal)).await.map(done);
            }
            Self::Gateway(command) => return command.run(settings, terminal).await.map(done),
            Self::Relay(command) => return command.run(settings, terminal).await.map(done),
            Self::Bench(command) => return command.run(terminal).await.map(done),
            Self::Scan(command) => return command.run(settings, terminal).await,
            _ => {}
        }
        let cx = CommandContext::open(settings, terminal, self.absent()).await?;
        match self {
            Self::Verify(command) => return command.run(&cx).await,
            Self::Keys(command) => command.run(&cx).await?,
            Self::Members(command) => command.run(&cx).await?,
            Self::Services(command) => command.run(&cx).await?,
            Self::Namespaces(command) => command.run(&cx).await?,
            Self::Teams(command) => command.run(&cx).await?,
            Self::Policy(command) => command.run(&cx).await?,
            Self::Legacy(command) => command.run(&cx).await?,
            Self::Audit(command) => command.run(&cx).await?,
            Self::Backup(command) => command.run(&cx).await?,
            Self::Check(command) => command.run(&cx).await?,
            Self::Peppers(command) => command.run(&cx).await?,
            Self::Serve(_)
            | Self::Gateway(_)
            | Self::Relay(_)
            | Self::Bench(_)
            | Self::Scan(_)
            | Self::Feed(_)
            | Self::Config(_)
            | Self::Completions(_)
            | Self::Man(_) => {}
        }
        Ok(Exit::Done)
    }

    /// Whether the output is a new credential.
    fn shows_a_secret(&self) -> bool {
        match self {
            Self::Serve(_) => true,
            Self::Keys(keys) => keys.shows_a_secret(),
            _ => false,
        }
    }

    /// What to do if the store does not exist: only commands that add something create it.
    fn absent(&self) -> Absent {
        match self {
            Self::Keys(command) => command.absent(),
            Self::Namespaces(command) => command.absent(),
            Self::Legacy(command) => command.absent(),
            Self::Policy(command) => command.absent(),
            _ => Absent::Refuse,
        }
    }
}

fn done(_: ()) -> Exit {
    Exit::Done
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }
}
