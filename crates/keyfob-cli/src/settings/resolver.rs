//! The value of a setting by precedence.

use std::{
    fmt,
    path::{Path, PathBuf},
    str::FromStr,
    time::Duration,
};

use clap::{ArgMatches, parser::ValueSource};
use keyfob::{
    Actor, Owner,
    manage::OwnerError,
    name::{NameError, Region},
};

use crate::{failure::Failure, moment, owner, redact::redact};

use super::{Listed, Origin, environment::Variables, network::Resolve};

/// Resolves settings, and lists them.
pub(super) struct Resolver<'a> {
    matches: &'a ArgMatches,
    /// The section of the settings that are resolved: the name of a command.
    section: Option<&'static str>,
    variables: Variables,
    /// The configuration file.
    file: Option<&'a Path>,
    listed: Vec<Listed>,
}

impl<'a> Resolver<'a> {
    pub(super) fn new(matches: &'a ArgMatches, file: Option<&'a Path>) -> Self {
        Self {
            matches,
            section: None,
            variables: Variables::read(),
            file,
            listed: Vec::new(),
        }
    }

    /// Resolves the settings of a command from now on.
    pub(super) fn section(&mut self, name: &'static str) -> &mut Self {
        self.section = Some(name);
        self
    }

    /// The setting with this name, parsed by `parse`.
    pub(super) fn value<T, E: fmt::Display>(
        &mut self,
        name: &'static str,
        file: Option<String>,
        default: &str,
        parse: impl FnOnce(&str) -> Result<T, E>,
    ) -> Result<T, Failure> {
        let given = self.given(name, file);
        let (text, origin) = given.unwrap_or_else(|| (default.to_owned(), Origin::Default));
        self.parsed(name, &text, origin, parse)
    }

    /// The same, for a setting without a default.
    pub(super) fn optional<T, E: fmt::Display>(
        &mut self,
        name: &'static str,
        file: Option<String>,
        parse: impl FnOnce(&str) -> Result<T, E>,
    ) -> Result<Option<T>, Failure> {
        let Some((text, origin)) = self.given(name, file) else {
            self.list(name, "", Origin::Default);
            return Ok(None);
        };
        self.parsed(name, &text, origin, parse).map(Some)
    }

    /// The setting with this name, a path. One of the configuration file is relative to that file, and
    /// an empty one is none.
    pub(super) fn path(
        &mut self,
        name: &'static str,
        file: Option<String>,
        resolve: Resolve<'_>,
    ) -> Result<Option<PathBuf>, Failure> {
        let path: Option<PathBuf> = self.optional(name, file, |text| parse(text, "a path"))?;
        let of_file = self.listed.last().map(|listed| listed.origin) == Some(Origin::File);
        Ok(path
            .filter(|path| !path.as_os_str().is_empty())
            .map(|path| if of_file { resolve(&path) } else { path }))
    }

    /// Whether the setting of the authorizer with this name, which was resolved, is not the default.
    pub(super) fn is_set(&self, name: &str) -> bool {
        let mut listed = self.listed.iter();
        listed.any(|one| short(&one.name) == name && one.origin != Origin::Default)
    }

    /// Warnings about unknown variables. All settings must have been resolved before.
    pub(super) fn unknown_variables(&self) -> Vec<String> {
        let known: Vec<String> = self.listed.iter().map(|one| short(&one.name)).collect();
        self.variables.unknown(&known)
    }

    pub(super) fn into_listed(self) -> Vec<Listed> {
        self.listed
    }

    fn given(&self, name: &'static str, file: Option<String>) -> Option<(String, Origin)> {
        let of_variable = || {
            let text = self.variables.value(name)?;
            Some((text, Origin::Environment))
        };
        let given = match self.section {
            // The flags of several commands. Not every setting has one.
            Some(AUTH) => {
                let flags = self.matches.subcommand();
                let given = flags.and_then(|(_, flags)| flag(flags, name));
                given.or_else(of_variable)
            }
            Some(section) => match self.matches.subcommand_matches(section) {
                // `clap` reads the variable of a flag.
                Some(flags) => flag(flags, name),
                // A command without these flags reads their variables here.
                None => of_variable(),
            },
            None => flag(self.matches, name),
        };
        given.or_else(|| Some((file?, Origin::File)))
    }

    fn parsed<T, E: fmt::Display>(
        &mut self,
        name: &'static str,
        text: &str,
        origin: Origin,
        parse: impl FnOnce(&str) -> Result<T, E>,
    ) -> Result<T, Failure> {
        let value = parse(text).map_err(|error| {
            let error = error.to_string();
            // Errors about names contain the field.
            let error = error.strip_prefix(name).unwrap_or(&error);
            let error = error.trim_start_matches([':', ' ']);
            let source = match self.file {
                Some(path) if origin == Origin::File => path.display().to_string(),
                _ => format!("the {origin}"),
            };
            Failure::usage(format!("{name}: {error} (from {source})"))
        })?;
        self.list(name, text, origin);
        Ok(value)
    }

    fn list(&mut self, name: &'static str, text: &str, origin: Origin) {
        self.listed.push(Listed {
            name: match self.section {
                Some(AUTH) => name.replacen('_', ".", 1),
                Some(section) => format!("{section}.{name}"),
                None => name.to_owned(),
            },
            value: redact(text),
            origin,
        });
    }
}

/// The value of a flag, from the command line or its variable.
fn flag(matches: &ArgMatches, name: &str) -> Option<(String, Origin)> {
    let text: &String = matches.try_get_one(name).ok()??;
    let origin = match matches.value_source(name)? {
        ValueSource::CommandLine => Origin::Flag,
        _ => Origin::Environment,
    };
    Some((text.clone(), origin))
}

/// The name of the variable, in lower case.
fn short(name: &str) -> String {
    match name.split_once('.') {
        Some((AUTH, _)) => name.replacen('.', "_", 1),
        Some((_, short)) => short.to_owned(),
        None => name.to_owned(),
    }
}

/// The section of the authorizer, whose settings have it in the names of their flags and variables.
pub(super) const AUTH: &str = "auth";

/// Parses what `expected` describes.
pub(super) fn parse<T: FromStr>(text: &str, expected: &'static str) -> Result<T, MustBe> {
    text.parse().map_err(|_| MustBe(expected))
}

pub(super) fn parse_actor(text: &str) -> Result<Actor, OwnerError> {
    if text == "system" {
        return Ok(Actor::system());
    }
    Ok(match owner::parse(text)? {
        Owner::User(user) => Actor::user(user),
        Owner::Service(service) => Actor::service(service),
    })
}

pub(super) fn parse_word<T: clap::ValueEnum>(text: &str) -> Result<T, OneOf> {
    T::from_str(text, false).map_err(|_| {
        let names = T::value_variants().iter().filter_map(T::to_possible_value);
        OneOf(names.map(|value| value.get_name().to_owned()).collect())
    })
}

pub(super) fn parse_duration(text: &str) -> Result<Duration, MustBe> {
    let span = moment::parse_span(text).map_err(|_| MustBe("a duration, as in 500ms or 10s"))?;
    if span < Duration::from_millis(10) || span > Duration::from_hours(24) {
        return Err(MustBe("a duration from 10ms to 1day"));
    }
    Ok(span)
}

/// Reads names that are separated by commas.
pub(super) fn parse_regions(text: &str) -> Result<Vec<Region>, NameError> {
    text.split(',')
        .map(|name| Region::new(name.trim()))
        .collect()
}

pub(super) fn parse_filter(text: &str) -> Result<String, MustBe> {
    match text.parse::<tracing_subscriber::EnvFilter>() {
        Ok(_) => Ok(text.to_owned()),
        Err(_) => Err(MustBe("a filter, as in info or keyfob=debug")),
    }
}

/// A text is not a value of the setting.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("must be {0}")]
pub(super) struct MustBe(pub(super) &'static str);

/// A text is not one of the setting's words.
#[derive(Clone, Debug, thiserror::Error)]
#[error("must be one of {}", .0.join(", "))]
pub(super) struct OneOf(Vec<String>);
