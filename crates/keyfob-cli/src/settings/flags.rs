//! The options that set something.

use std::path::PathBuf;

use clap::{Args, builder::NonEmptyStringValueParser};

/// What every command takes. `settings` reads the values, since they can also come from elsewhere.
#[derive(Args, Debug)]
#[command(next_help_heading = "Global options")]
pub(crate) struct Flags {
    /// Where the keys are kept: `sqlite:PATH`, `postgres://…`, or `memory:` for a try
    /// [default: sqlite:keyfob.db]
    #[arg(
        long,
        global = true,
        value_name = "URL",
        env = "KEYFOB_STORE",
        hide_env_values = true
    )]
    store: Option<String>,

    /// The configuration file [default: keyfob.toml, if there is one]
    #[arg(long, global = true, value_name = "FILE", env = "KEYFOB_CONFIG")]
    pub(crate) config: Option<PathBuf>,

    /// The prefix of the keys [default: the store's; dof for a new store]
    #[arg(long, global = true, value_name = "PREFIX", env = "KEYFOB_PREFIX")]
    prefix: Option<String>,

    /// The team
    #[arg(long, global = true, value_name = "TEAM", env = "KEYFOB_TEAM", value_parser = NonEmptyStringValueParser::new())]
    team: Option<String>,

    /// The namespace
    #[arg(
        long,
        short,
        global = true,
        value_name = "NAMESPACE",
        env = "KEYFOB_NAMESPACE"
    )]
    namespace: Option<String>,

    /// Who acts, for the audit trail: `alice`, `service:deploy-bot` or `system` [default: system]
    #[arg(
        long = "as",
        id = "as",
        global = true,
        value_name = "WHO",
        env = "KEYFOB_AS"
    )]
    acting_as: Option<String>,

    /// The form of the answer: table, json, or env for a new key [default: table]
    #[arg(long, short, global = true, value_name = "FORM", env = "KEYFOB_OUTPUT")]
    output: Option<String>,

    /// Colours: auto, always or never [default: auto]
    #[arg(long, global = true, value_name = "WHEN", env = "KEYFOB_COLOR")]
    color: Option<String>,
}

/// What `keyfob serve` takes.
#[derive(Args, Debug)]
pub(crate) struct ServeFlags {
    /// Where to listen [default: 127.0.0.1:8080]
    #[arg(long, value_name = "ADDRESS", env = "KEYFOB_LISTEN")]
    listen: Option<String>,

    /// How many connections there are at once; others wait [default: 512]
    #[arg(long, value_name = "NUMBER", env = "KEYFOB_CONNECTIONS")]
    connections: Option<String>,

    /// Close a connection that takes longer than this to ask, or to ask again [default: 30s]
    #[arg(long, value_name = "TIME", env = "KEYFOB_HEADER_TIMEOUT")]
    header_timeout: Option<String>,

    /// The header field in which a proxy names the namespace [default: X-Keyfob-Namespace]
    #[arg(long, value_name = "NAME", env = "KEYFOB_NAMESPACE_HEADER")]
    namespace_header: Option<String>,

    /// How often to look for changes that others made, at least [default: 1s]
    #[arg(long, value_name = "TIME", env = "KEYFOB_FOLLOW_EVERY")]
    follow_every: Option<String>,

    /// Refuse every call when the store could not be read for this long [default: 10s]
    #[arg(long, value_name = "TIME", env = "KEYFOB_STALE_AFTER")]
    stale_after: Option<String>,

    /// How often to write down who used what [default: 10s]
    #[arg(long, value_name = "TIME", env = "KEYFOB_FLUSH_EVERY")]
    flush_every: Option<String>,

    /// What to log: a level, or a filter such as `keyfob=debug` [default: info]
    #[arg(long, value_name = "FILTER", env = "KEYFOB_LOG")]
    log: Option<String>,

    /// The form of the log: text or json [default: text]
    #[arg(long, value_name = "FORM", env = "KEYFOB_LOG_FORM")]
    log_form: Option<String>,

    /// The team of the operators [default: operators]
    #[arg(long, value_name = "TEAM", env = "KEYFOB_OPERATORS")]
    operators: Option<String>,

    /// Whose the first operator's credential is [default: user:admin]
    #[arg(long, value_name = "WHO", env = "KEYFOB_OPERATOR")]
    operator: Option<String>,

    /// Write that credential into this new file, which only the server's user can read, and not to
    /// the standard output
    #[arg(long, value_name = "FILE", env = "KEYFOB_OPERATOR_FILE")]
    operator_file: Option<String>,
}
