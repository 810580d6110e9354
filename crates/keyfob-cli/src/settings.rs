//! The settings. A flag takes precedence over the environment, the environment over the file, the
//! file over the default.

mod auth;
mod environment;
mod file;
mod flags;
mod network;
mod peppers;
mod resolver;

use std::{fmt, num::NonZeroU32, path::PathBuf, str::FromStr as _, time::Duration};

use anstream::ColorChoice;
use clap::ArgMatches;
use keyfob::{
    Actor, Owner,
    key::{KeyFormat, Peppers},
    name::{NamespaceId, Region, TeamId},
};
use keyfob_api::ApiHost;
use keyfob_listen::Address;
use serde::Serialize;

use crate::{failure::Failure, owner, store::StoreUrl};

pub(crate) use auth::AuthSettings;
use file::InForce;
pub(crate) use flags::{Flags, GatewayFlags, RelayFlags, ServeFlags};
use network::Resolve;
pub(crate) use network::{
    FeedSettings, GatewaySettings, NatsSettings, RelaySettings, UpstreamSettings,
};
use resolver::{
    Resolver, parse, parse_actor, parse_duration, parse_filter, parse_regions, parse_word,
};

/// All settings.
#[derive(Debug)]
pub(crate) struct Settings {
    pub(crate) store: StoreUrl,
    /// The prefix that the store must have; none for any.
    pub(crate) prefix: Option<KeyFormat>,
    pub(crate) team: Option<TeamId>,
    pub(crate) namespace: Option<NamespaceId>,
    pub(crate) actor: Actor,
    pub(crate) output: Form,
    pub(crate) color: Color,
    pub(crate) serve: ServeSettings,
    pub(crate) auth: AuthSettings,
    pub(crate) gateway: GatewaySettings,
    pub(crate) relay: RelaySettings,
    pub(crate) peppers: Peppers,
    /// The numbers of the peppers, and the source of each.
    pub(crate) pepper_sources: Vec<(u8, String)>,
    /// Warnings about the settings.
    pub(crate) warnings: Vec<String>,
    /// The configuration file that is in force.
    pub(crate) file: Option<PathBuf>,
    /// Every setting with its value and source. Passwords are redacted.
    pub(crate) listed: Vec<Listed>,
}

/// The settings of every command that serves.
#[derive(Debug)]
pub(crate) struct ServerSettings {
    pub(crate) listen: Address,
    /// The maximum number of open connections.
    pub(crate) connections: NonZeroU32,
    /// The time limit for the head of a request, the first or the next.
    pub(crate) header_timeout: Duration,
    pub(crate) log: String,
    pub(crate) log_form: LogForm,
}

/// The settings of `keyfob serve`.
#[derive(Debug)]
pub(crate) struct ServeSettings {
    pub(crate) server: ServerSettings,
    /// The address of the gateways that answers name; none for the server's own.
    pub(crate) api_host: Option<ApiHost>,
    /// The regions that a namespace can be created in; empty for any.
    pub(crate) regions: Vec<Region>,
    pub(crate) follow_every: Duration,
    pub(crate) stale_after: Duration,
    pub(crate) flush_every: Duration,
    pub(crate) operators: TeamId,
    pub(crate) operator: Owner,
    /// The file for the first operator's credential; none for the standard output.
    pub(crate) operator_file: Option<PathBuf>,
    /// Whether the control panel is served.
    pub(crate) panel: bool,
    pub(crate) feed: FeedSettings,
}

/// A setting in the output.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Listed {
    pub(crate) name: String,
    pub(crate) value: String,
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
        let mut in_force = InForce::find(flags.config.as_deref())?;
        let mut file = std::mem::take(&mut in_force.content);
        for path in file
            .peppers
            .iter_mut()
            .flat_map(|peppers| peppers.files.values_mut())
        {
            *path = in_force.resolved(path);
        }
        let (peppers, pepper_sources, mut warnings) = peppers::load(file.peppers)?;
        warnings.append(&mut in_force.warnings);
        let mut from = Resolver::new(matches, in_force.path.as_deref());
        let resolve: Resolve<'_> = &|path| in_force.resolved(path);
        let mut settings = Self {
            store: from.value("store", file.store, "sqlite:keyfob.db", StoreUrl::parse)?,
            prefix: from.optional("prefix", file.prefix, KeyFormat::new)?,
            team: from.optional("team", file.team, TeamId::new)?,
            namespace: from.optional("namespace", file.namespace, NamespaceId::new)?,
            actor: from.value("as", file.acting_as, "system", parse_actor)?,
            output: from.value("output", file.output, "table", parse_word)?,
            color: from.value("color", file.color, "auto", parse_word)?,
            serve: ServeSettings::resolve(
                from.section("serve"),
                file.serve.unwrap_or_default(),
                resolve,
            )?,
            auth: AuthSettings::resolve(
                from.section(resolver::AUTH),
                file.auth.unwrap_or_default(),
                resolve,
            )?,
            gateway: GatewaySettings::resolve(
                from.section("gateway"),
                file.gateway.unwrap_or_default(),
                resolve,
            )?,
            relay: RelaySettings::resolve(
                from.section("relay"),
                file.relay.unwrap_or_default(),
                resolve,
            )?,
            peppers,
            pepper_sources,
            warnings,
            file: None,
            listed: Vec::new(),
        };
        settings.warnings.extend(from.unknown_variables());
        settings.listed = from.into_listed();
        if settings.origin("store") == Origin::File
            && let StoreUrl::Sqlite(path) = &mut settings.store
        {
            *path = in_force.resolved(path);
        }
        settings.file = in_force.path;
        let mut listed = settings.listed.iter_mut();
        if let Some(store) = listed.find(|listed| listed.name == "store") {
            // Without its password and parameters.
            store.value = settings.store.to_string();
        }
        if settings.origin("store") == Origin::Flag && settings.store.has_password() {
            return Err(Failure::usage(
                "--store: other processes can read a password on the command line",
            )
            .hint(
                "put the URL in KEYFOB_STORE or in the configuration file, and change the password",
            ));
        }
        Ok(settings)
    }

    /// The source of a setting.
    pub(crate) fn origin(&self, name: &str) -> Origin {
        let listed = self.listed.iter().find(|listed| listed.name == name);
        listed.map_or(Origin::Default, |listed| listed.origin)
    }
}

impl ServerSettings {
    fn resolve(
        from: &mut Resolver<'_>,
        file: file::Server,
        default: &str,
    ) -> Result<Self, Failure> {
        let connections = file.connections.map(|most| most.to_string());
        Ok(Self {
            listen: from.value("listen", file.listen, default, Address::from_str)?,
            connections: from.value("connections", connections, "512", |text| {
                parse(text, "a number from 1 on")
            })?,
            header_timeout: from.value(
                "header_timeout",
                file.header_timeout,
                "30s",
                parse_duration,
            )?,
            log: from.value("log", file.log, "info", parse_filter)?,
            log_form: from.value("log_form", file.log_form, "text", parse_word)?,
        })
    }
}

impl ServeSettings {
    fn resolve(
        from: &mut Resolver<'_>,
        mut file: file::Serve,
        resolve: Resolve<'_>,
    ) -> Result<Self, Failure> {
        let (server, feed) = (file.server(), file.feed());
        let settings = Self {
            server: ServerSettings::resolve(from, server, "127.0.0.1:8080")?,
            api_host: from.optional("api_host", file.api_host, ApiHost::parse)?,
            regions: from
                .optional("regions", file.regions, parse_regions)?
                .unwrap_or_default(),
            follow_every: from.value("follow_every", file.follow_every, "1s", parse_duration)?,
            stale_after: from.value("stale_after", file.stale_after, "10s", parse_duration)?,
            flush_every: from.value("flush_every", file.flush_every, "10s", parse_duration)?,
            operators: from.value("operators", file.operators, "operators", TeamId::new)?,
            operator: from.value("operator", file.operator, "user:admin", owner::parse)?,
            operator_file: from.path("operator_file", file.operator_file, resolve)?,
            panel: from.value(
                "panel",
                file.panel.map(|on| on.to_string()),
                "true",
                |text| parse(text, "true or false"),
            )?,
            feed: FeedSettings::resolve(from, feed, resolve)?,
        };
        if settings.stale_after < settings.follow_every {
            return Err(Failure::usage(
                "stale_after: must not be shorter than follow_every",
            ));
        }
        Ok(settings)
    }
}
