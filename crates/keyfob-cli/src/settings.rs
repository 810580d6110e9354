//! The settings. A flag takes precedence over the environment, the environment over the file, the
//! file over the default.

mod environment;
mod file;
mod flags;
mod peppers;

use std::{fmt, net::SocketAddr, num::NonZeroU32, path::PathBuf, time::Duration};

use anstream::ColorChoice;
use clap::ArgMatches;
use keyfob::{
    Actor, Owner,
    key::{KeyFormat, Peppers},
    manage::OwnerError,
    name::{NamespaceId, TeamId},
};
use serde::Serialize;

use crate::{failure::Failure, moment, owner, redact::redact, store::StoreUrl};

use file::File;
pub(crate) use flags::{Flags, ServeFlags};

/// All settings, each with its source.
#[derive(Debug)]
pub(crate) struct Settings {
    pub(crate) store: Set<StoreUrl>,
    /// The prefix that the store must have; none for any.
    pub(crate) prefix: Set<Option<KeyFormat>>,
    pub(crate) team: Set<Option<TeamId>>,
    pub(crate) namespace: Set<Option<NamespaceId>>,
    pub(crate) actor: Set<Actor>,
    pub(crate) output: Set<Form>,
    pub(crate) color: Set<Color>,
    pub(crate) serve: ServeSettings,
    pub(crate) peppers: Peppers,
    /// The numbers of the peppers, and the source of each.
    pub(crate) pepper_sources: Vec<(u8, String)>,
    /// Warnings about the settings.
    pub(crate) warnings: Vec<String>,
}

/// The settings of `keyfob serve`.
#[derive(Debug)]
pub(crate) struct ServeSettings {
    pub(crate) listen: Set<SocketAddr>,
    /// The maximum number of open connections.
    pub(crate) connections: Set<NonZeroU32>,
    /// The time limit for the head of a request, the first or the next.
    pub(crate) header_timeout: Set<Duration>,
    pub(crate) namespace_header: Set<axum::http::HeaderName>,
    pub(crate) follow_every: Set<Duration>,
    pub(crate) stale_after: Set<Duration>,
    pub(crate) flush_every: Set<Duration>,
    pub(crate) log: Set<String>,
    pub(crate) log_form: Set<LogForm>,
    pub(crate) operators: Set<TeamId>,
    pub(crate) operator: Set<Owner>,
    /// The file for the first operator's credential; none for the standard output.
    pub(crate) operator_file: Set<Option<PathBuf>>,
}

/// A value and its source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Set<T> {
    pub(crate) value: T,
    pub(crate) origin: Origin,
}

/// The source of a value, in order of precedence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Origin {
    Flag,
    Environment,
    File,
    Default,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Flag => "flag",
            Self::Environment => "environment",
            Self::File => "file",
            Self::Default => "default",
        })
    }
}

/// The output format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Form {
    /// For people.
    Table,
    /// For programs.
    Json,
    /// `NAME=value`, for a new key.
    Env,
}

/// Whether the output has colours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Color {
    /// On a terminal, unless `NO_COLOR` is set.
    Auto,
    Always,
    Never,
}

impl Color {
    pub(crate) fn apply(self) {
        match self {
            Self::Auto => ColorChoice::Auto,
            Self::Always => ColorChoice::Always,
            Self::Never => ColorChoice::Never,
        }
        .write_global();
    }
}

/// The format of the server's log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum LogForm {
    Text,
    Json,
}

impl Settings {
    /// Resolves the settings from the command line, the environment and the file.
    pub(crate) fn resolve(flags: &Flags, matches: &ArgMatches) -> Result<Self, Failure> {
        let file = File::find(flags.config.as_deref())?;
        let serve_flags = matches.subcommand_matches("serve");
        let of = |name: &'static str| Source { name, matches };
        // Other commands have no flags for the settings of `serve`.
        let served = |name: &'static str| Source {
            name,
            matches: serve_flags.unwrap_or(matches),
        };
        let names = environment::Values::read(serve_flags.is_none());
        let serve = file.serve.unwrap_or_default();
        let (peppers, pepper_sources, mut warnings) = peppers::load(file.peppers)?;
        let settings = Self {
            store: of("store").choose(file.store, "sqlite:keyfob.db", StoreUrl::parse)?,
            prefix: of("prefix").choose_if(file.prefix, KeyFormat::new)?,
            team: of("team").choose_if(file.team, TeamId::new)?,
            namespace: of("namespace").choose_if(file.namespace, NamespaceId::new)?,
            actor: of("as").choose(file.acting_as, "system", parse_actor)?,
            output: of("output").choose(file.output, "table", parse_enum::<Form>)?,
            color: of("color").choose(file.color, "auto", parse_enum::<Color>)?,
            serve: ServeSettings {
                listen: served("listen").with(&names, serve.listen, "127.0.0.1:8080", |text| {
                    text.parse()
                        .map_err(|_| MustBe("an address and port, as in 127.0.0.1:8080"))
                })?,
                connections: served("connections").with(
                    &names,
                    serve.connections.map(|most| most.to_string()),
                    "512",
                    |text| text.parse().map_err(|_| MustBe("a number from 1 on")),
                )?,
                header_timeout: served("header_timeout").with(
                    &names,
                    serve.header_timeout,
                    "30s",
                    parse_interval,
                )?,
                namespace_header: served("namespace_header").with(
                    &names,
                    serve.namespace_header,
                    "X-Keyfob-Namespace",
                    |text| text.parse().map_err(|_| MustBe("a header name")),
                )?,
                follow_every: served("follow_every").with(
                    &names,
                    serve.follow_every,
                    "1s",
                    parse_interval,
                )?,
                stale_after: served("stale_after").with(
                    &names,
                    serve.stale_after,
                    "10s",
                    parse_interval,
                )?,
                flush_every: served("flush_every").with(
                    &names,
                    serve.flush_every,
                    "10s",
                    parse_interval,
                )?,
                log: served("log").with(&names, serve.log, "info", parse_filter)?,
                log_form: served("log_form").with(
                    &names,
                    serve.log_form,
                    "text",
                    parse_enum::<LogForm>,
                )?,
                operators: served("operators").with(
                    &names,
                    serve.operators,
                    "operators",
                    TeamId::new,
                )?,
                operator_file: served("operator_file").with_path(&names, serve.operator_file)?,
                operator: served("operator").with(
                    &names,
                    serve.operator,
                    "user:admin",
                    owner::parse,
                )?,
            },
            peppers,
            pepper_sources,
            warnings: Vec::new(),
        };
        if settings.store.origin == Origin::Flag && settings.store.value.has_password() {
            return Err(Failure::usage(
                "--store: other processes can read a password on the command line",
            )
            .hint(
                "put the URL in KEYFOB_STORE or in the configuration file, and change the password",
            ));
        }
        if settings.serve.stale_after.value < settings.serve.follow_every.value {
            return Err(Failure::usage(
                "stale_after: must not be shorter than follow_every",
            ));
        }
        warnings.extend(names.unknown());
        Ok(Self {
            warnings,
            ..settings
        })
    }

    /// Every setting with its value and source. Passwords are redacted, and of peppers only the numbers
    /// are shown.
    pub(crate) fn listed(&self) -> Vec<Listed> {
        fn text<T: ToString>(value: Option<&T>) -> String {
            value.map_or_else(String::new, ToString::to_string)
        }
        let mut listed = Vec::new();
        let mut list = |name: &'static str, value: String, origin| {
            listed.push(Listed {
                name,
                value: redact(&value),
                origin,
            });
        };
        list("store", self.store.value.to_string(), self.store.origin);
        list(
            "prefix",
            text(self.prefix.value.as_ref().map(KeyFormat::prefix).as_ref()),
            self.prefix.origin,
        );
        list("team", text(self.team.value.as_ref()), self.team.origin);
        list(
            "namespace",
            text(self.namespace.value.as_ref()),
            self.namespace.origin,
        );
        let actor = self.actor.value.owner.as_ref();
        list(
            "as",
            actor.map_or_else(|| "system".to_owned(), ToString::to_string),
            self.actor.origin,
        );
        list("output", name_of(&self.output.value), self.output.origin);
        list("color", name_of(&self.color.value), self.color.origin);
        let serve = &self.serve;
        list(
            "serve.listen",
            serve.listen.value.to_string(),
            serve.listen.origin,
        );
        list(
            "serve.connections",
            serve.connections.value.to_string(),
            serve.connections.origin,
        );
        list(
            "serve.namespace_header",
            serve.namespace_header.value.to_string(),
            serve.namespace_header.origin,
        );
        for (name, set) in [
            ("serve.header_timeout", &serve.header_timeout),
            ("serve.follow_every", &serve.follow_every),
            ("serve.stale_after", &serve.stale_after),
            ("serve.flush_every", &serve.flush_every),
        ] {
            list(
                name,
                humantime::format_duration(set.value).to_string(),
                set.origin,
            );
        }
        list("serve.log", serve.log.value.clone(), serve.log.origin);
        list(
            "serve.log_form",
            name_of(&serve.log_form.value),
            serve.log_form.origin,
        );
        list(
            "serve.operators",
            serve.operators.value.to_string(),
            serve.operators.origin,
        );
        list(
            "serve.operator",
            serve.operator.value.to_string(),
            serve.operator.origin,
        );
        let file = serve.operator_file.value.as_ref();
        list(
            "serve.operator_file",
            text(file.map(|file| file.display()).as_ref()),
            serve.operator_file.origin,
        );
        listed
    }
}

/// A setting in the output.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Listed {
    pub(crate) name: &'static str,
    pub(crate) value: String,
    pub(crate) origin: Origin,
}

/// The possible sources of a setting.
struct Source<'a> {
    name: &'static str,
    matches: &'a ArgMatches,
}

impl Source<'_> {
    /// The value by precedence, parsed by `parse`.
    fn choose<T, E: fmt::Display>(
        &self,
        file: Option<String>,
        default: &str,
        parse: impl Fn(&str) -> Result<T, E>,
    ) -> Result<Set<T>, Failure> {
        self.read(self.given().or_else(|| in_file(file)), default, parse)
    }

    /// The same, for a setting without a flag in this command.
    fn with<T, E: fmt::Display>(
        &self,
        environment: &environment::Values,
        file: Option<String>,
        default: &str,
        parse: impl Fn(&str) -> Result<T, E>,
    ) -> Result<Set<T>, Failure> {
        let given = self.given().or_else(|| {
            let text = environment.value(self.name)?;
            Some((text, Origin::Environment))
        });
        self.read(given.or_else(|| in_file(file)), default, parse)
    }

    /// The same, for an optional setting.
    fn choose_if<T, E: fmt::Display>(
        &self,
        file: Option<String>,
        parse: impl Fn(&str) -> Result<T, E>,
    ) -> Result<Set<Option<T>>, Failure> {
        match self.given().or_else(|| in_file(file)) {
            Some(given) => self.read(Some(given), "", |text| parse(text).map(Some)),
            None => Ok(Set {
                value: None,
                origin: Origin::Default,
            }),
        }
    }

    /// An optional path.
    fn with_path(
        &self,
        environment: &environment::Values,
        file: Option<String>,
    ) -> Result<Set<Option<PathBuf>>, Failure> {
        self.with(environment, file, "", |text| {
            Ok::<_, MustBe>((!text.is_empty()).then(|| PathBuf::from(text)))
        })
    }

    /// The value on the command line or in the environment, as found by `clap`.
    fn given(&self) -> Option<(String, Origin)> {
        let text: &String = self.matches.try_get_one(self.name).ok()??;
        let origin = match self.matches.value_source(self.name)? {
            clap::parser::ValueSource::CommandLine => Origin::Flag,
            _ => Origin::Environment,
        };
        Some((text.clone(), origin))
    }

    fn read<T, E: fmt::Display>(
        &self,
        given: Option<(String, Origin)>,
        default: &str,
        parse: impl Fn(&str) -> Result<T, E>,
    ) -> Result<Set<T>, Failure> {
        let (text, origin) = given.unwrap_or_else(|| (default.to_owned(), Origin::Default));
        let value = parse(&text).map_err(|error| {
            let error = error.to_string();
            // Errors about names contain the field.
            let error = error.strip_prefix(self.name).unwrap_or(&error);
            let error = error.trim_start_matches([':', ' ']);
            Failure::usage(format!("{}: {error} (from the {origin})", self.name))
        })?;
        Ok(Set { value, origin })
    }
}

fn in_file(text: Option<String>) -> Option<(String, Origin)> {
    text.map(|text| (text, Origin::File))
}

fn parse_actor(text: &str) -> Result<Actor, OwnerError> {
    if text == "system" {
        return Ok(Actor::system());
    }
    Ok(match owner::parse(text)? {
        Owner::User(user) => Actor::user(user),
        Owner::Service(service) => Actor::service(service),
    })
}

fn parse_enum<T: clap::ValueEnum>(text: &str) -> Result<T, OneOf> {
    T::from_str(text, false).map_err(|_| {
        let names = T::value_variants().iter().filter_map(T::to_possible_value);
        OneOf(names.map(|value| value.get_name().to_owned()).collect())
    })
}

fn name_of<T: clap::ValueEnum>(value: &T) -> String {
    let value = value.to_possible_value();
    value.map_or_else(String::new, |value| value.get_name().to_owned())
}

fn parse_interval(text: &str) -> Result<Duration, MustBe> {
    let span = moment::parse_span(text).map_err(|_| MustBe("a duration, as in 500ms or 10s"))?;
    if span < Duration::from_millis(10) || span > Duration::from_hours(24) {
        return Err(MustBe("a duration from 10ms to 1day"));
    }
    Ok(span)
}

fn parse_filter(text: &str) -> Result<String, MustBe> {
    match text.parse::<tracing_subscriber::EnvFilter>() {
        Ok(_) => Ok(text.to_owned()),
        Err(_) => Err(MustBe("a filter, as in info or keyfob=debug")),
    }
}

/// A text is not a value of the setting.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("must be {0}")]
struct MustBe(&'static str);

/// A text is not one of the setting's words.
#[derive(Clone, Debug, thiserror::Error)]
#[error("must be one of {}", .0.join(", "))]
struct OneOf(Vec<String>);
