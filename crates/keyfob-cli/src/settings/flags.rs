//! The flags of settings.

use std::path::PathBuf;

use clap::{Args, builder::NonEmptyStringValueParser};

/// The flags of every command. `settings` parses their values.
#[derive(Args, Debug)]
#[command(next_help_heading = "Global options")]
pub(crate) struct Flags {
    /// The store: `sqlite:PATH`, `postgres://…`, or `memory:` for a trial [default: sqlite:keyfob.db]
    #[arg(
        long,
        global = true,
        value_name = "URL",
        env = "KEYFOB_STORE",
        hide_env_values = true
    )]
    store: Option<String>,

    /// The configuration file [default: ~/.config/keyfob/keyfob.toml or /etc/keyfob/keyfob.toml]
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

    /// The actor in the audit trail: `alice`, `service:deploy-bot` or `system` [default: system]
    #[arg(
        long = "as",
        id = "as",
        global = true,
        value_name = "WHO",
        env = "KEYFOB_AS"
    )]
    acting_as: Option<String>,

    /// The output format: table, json, or env for a new key [default: table]
    #[arg(long, short, global = true, value_name = "FORM", env = "KEYFOB_OUTPUT")]
    output: Option<String>,

    /// When to use colours: auto, always or never [default: auto]
    #[arg(long, global = true, value_name = "WHEN", env = "KEYFOB_COLOR")]
    color: Option<String>,
}

/// The flags of every command that serves.
#[derive(Args, Debug)]
pub(crate) struct ServerFlags {
    /// The address to listen on: HOST:PORT, or unix:PATH [default: 127.0.0.1:8080]
    #[arg(long, value_name = "ADDRESS", env = "KEYFOB_LISTEN")]
    listen: Option<String>,

    /// The maximum number of open connections; others wait [default: 512]
    #[arg(long, value_name = "NUMBER", env = "KEYFOB_CONNECTIONS")]
    connections: Option<String>,

    /// The time limit for the head of a request, the first or the next [default: 30s]
    #[arg(long, value_name = "TIME", env = "KEYFOB_HEADER_TIMEOUT")]
    header_timeout: Option<String>,

    /// The log level, or a filter such as `keyfob=debug` [default: info]
    #[arg(long, value_name = "FILTER", env = "KEYFOB_LOG")]
    log: Option<String>,

    /// The log format: text or json [default: text]
    #[arg(long, value_name = "FORM", env = "KEYFOB_LOG_FORM")]
    log_form: Option<String>,
}

/// The flags of commands that run the authorizer. The file has more settings.
#[derive(Args, Debug)]
#[expect(clippy::struct_field_names, reason = "the names of the flags")]
pub(crate) struct AuthFlags {
    /// Where a proxy's question has the request: named, x-original-uri (nginx), x-forwarded (Caddy,
    /// Traefik, `HAProxy`) or appended (Envoy) [default: named]
    #[arg(long, value_name = "SOURCE", env = "KEYFOB_AUTH_REQUEST")]
    auth_request: Option<String>,

    /// The networks of the proxies, separated by commas [default: `127.0.0.0/8,::1`]
    #[arg(long, value_name = "NETWORKS", env = "KEYFOB_AUTH_PEERS")]
    auth_peers: Option<String>,

    /// The address at which Envoy asks over gRPC: HOST:PORT, unix:PATH, or off [default: off]
    #[arg(long, value_name = "ADDRESS", env = "KEYFOB_AUTH_GRPC_LISTEN")]
    auth_grpc_listen: Option<String>,
}

/// The flags of `keyfob serve`.
#[derive(Args, Debug)]
pub(crate) struct ServeFlags {
    #[command(flatten)]
    server: ServerFlags,

    /// The address at which proxies ask whether a call may pass: HOST:PORT, unix:PATH, or off
    /// [default: 127.0.0.1:8181]
    #[arg(long, value_name = "ADDRESS", env = "KEYFOB_AUTH_LISTEN")]
    auth_listen: Option<String>,

    #[command(flatten)]
    auth: AuthFlags,

    /// The address of your gateways, which clients read from namespaces; `{namespace}` and `{region}`
    /// stand for those of the namespace, as in `https://{namespace}.fn.example` [default: the
    /// address to listen on]
    #[arg(long, value_name = "URL", env = "KEYFOB_API_HOST")]
    api_host: Option<String>,

    /// The regions in which namespaces can be created, separated by commas [default: any]
    #[arg(long, value_name = "NAMES", env = "KEYFOB_REGIONS")]
    regions: Option<String>,

    /// Read other processes' changes at least this often [default: 1s]
    #[arg(long, value_name = "TIME", env = "KEYFOB_FOLLOW_EVERY")]
    follow_every: Option<String>,

    /// Answer every call with 503 if the store has been unreadable for this long [default: 10s]
    #[arg(long, value_name = "TIME", env = "KEYFOB_STALE_AFTER")]
    stale_after: Option<String>,

    /// Write usage to the store this often [default: 10s]
    #[arg(long, value_name = "TIME", env = "KEYFOB_FLUSH_EVERY")]
    flush_every: Option<String>,

    /// The team of the operators [default: operators]
    #[arg(long, value_name = "TEAM", env = "KEYFOB_OPERATORS")]
    operators: Option<String>,

    /// The owner of the first operator's credential [default: user:admin]
    #[arg(long, value_name = "WHO", env = "KEYFOB_OPERATOR")]
    operator: Option<String>,

    /// Write that credential to this new file, readable only by the server's user, instead of the
    /// standard output
    #[arg(long, value_name = "FILE", env = "KEYFOB_OPERATOR_FILE")]
    operator_file: Option<String>,

    /// Serve the control panel at `/`: true or false [default: true]
    #[arg(long, value_name = "BOOL", env = "KEYFOB_PANEL")]
    panel: Option<String>,

    /// Feed gateways and relays on this address, HOST:PORT or unix:PATH; one that other machines can
    /// reach needs TLS [default: no feed]
    #[arg(long, value_name = "ADDRESS", env = "KEYFOB_FEED_LISTEN")]
    feed_listen: Option<String>,

    /// The keys that sign the feed; `keyfob feed create` makes the file
    #[arg(long, value_name = "FILE", env = "KEYFOB_FEED_KEYS")]
    feed_keys: Option<String>,

    /// The maximum number of open connections to the feed [default: 2048]
    #[arg(long, value_name = "NUMBER", env = "KEYFOB_FEED_CONNECTIONS")]
    feed_connections: Option<String>,

    #[command(flatten)]
    tls: TlsFlags,

    #[command(flatten)]
    nats: NatsFlags,

    /// Also publish these parts over NATS: each as TEAM or TEAM/NAMESPACE,…, separated by spaces
    #[arg(long, value_name = "PARTS", env = "KEYFOB_NATS_CARRY")]
    nats_carry: Option<String>,
}

/// The flags of commands that use NATS.
#[derive(Args, Debug)]
pub(crate) struct NatsFlags {
    /// Publish or receive the feed over these NATS servers, separated by commas: `tls://HOST[:PORT]`, or
    /// `nats://HOST[:PORT]` on this machine
    #[arg(long, value_name = "URLS", env = "KEYFOB_NATS")]
    nats: Option<String>,

    /// A file of NATS credentials, or of the seed of an nkey
    #[arg(long, value_name = "FILE", env = "KEYFOB_NATS_CREDENTIALS")]
    nats_credentials: Option<String>,

    /// The authorities of the NATS servers' certificates, in PEM [default: the system's]
    #[arg(long, value_name = "FILE", env = "KEYFOB_NATS_CA")]
    nats_ca: Option<String>,

    /// A client certificate to show to the NATS servers, in PEM
    #[arg(long, value_name = "FILE", env = "KEYFOB_NATS_CERTIFICATE")]
    nats_certificate: Option<String>,

    /// Its private key, in PEM
    #[arg(long, value_name = "FILE", env = "KEYFOB_NATS_KEY")]
    nats_key: Option<String>,

    /// What the subjects begin with [default: keyfob.feed]
    #[arg(long, value_name = "SUBJECT", env = "KEYFOB_NATS_SUBJECTS")]
    nats_subjects: Option<String>,
}

/// The flags of commands that serve the feed.
#[derive(Args, Debug)]
#[expect(clippy::struct_field_names, reason = "the names of the flags")]
pub(crate) struct TlsFlags {
    /// The certificate chain of the feed's listener, in PEM
    #[arg(long, value_name = "FILE", env = "KEYFOB_TLS_CERTIFICATE")]
    tls_certificate: Option<String>,

    /// Its private key, in PEM
    #[arg(long, value_name = "FILE", env = "KEYFOB_TLS_KEY")]
    tls_key: Option<String>,

    /// Refuse clients without a certificate of an authority in this file, in PEM
    #[arg(long, value_name = "FILE", env = "KEYFOB_TLS_CLIENTS")]
    tls_clients: Option<String>,
}

/// The flags of commands that read the feed of another process.
#[derive(Args, Debug)]
pub(crate) struct UpstreamFlags {
    /// What the authority lists this process as, in its fleet [default: the host's name]
    #[arg(long, value_name = "NAME", env = "KEYFOB_NAME")]
    name: Option<String>,

    /// The feeds of the authority or of relays, separated by commas: the first that answers is used,
    /// as in https://a.example:8444,https://b.example:8444
    #[arg(long, value_name = "URLS", env = "KEYFOB_UPSTREAM")]
    upstream: Option<String>,

    /// The public keys of the authority's signers, separated by commas; `keyfob feed show` prints
    /// them
    #[arg(long, value_name = "KEYS", env = "KEYFOB_SIGNERS")]
    signers: Option<String>,

    /// A file with a key that has the scope `replica`
    #[arg(long, value_name = "FILE", env = "KEYFOB_CREDENTIAL_FILE")]
    credential_file: Option<String>,

    /// Read only this part: TEAM, or TEAM/NAMESPACE one or more times, separated by commas [default:
    /// everything]
    #[arg(long, value_name = "PART", env = "KEYFOB_ONLY")]
    only: Option<String>,

    /// Keep what was read in this folder, to start with it when no upstream can be reached
    #[arg(long, value_name = "DIR", env = "KEYFOB_STATE")]
    state: Option<String>,

    /// The authorities of the upstream's certificate, in PEM [default: the system's]
    #[arg(long, value_name = "FILE", env = "KEYFOB_UPSTREAM_CA")]
    upstream_ca: Option<String>,

    /// A client certificate to show to the upstream, in PEM
    #[arg(long, value_name = "FILE", env = "KEYFOB_UPSTREAM_CERTIFICATE")]
    upstream_certificate: Option<String>,

    /// Its private key, in PEM
    #[arg(long, value_name = "FILE", env = "KEYFOB_UPSTREAM_KEY")]
    upstream_key: Option<String>,

    /// Answer every call with 503 if what is known is older than this [default: 5s]
    #[arg(long, value_name = "TIME", env = "KEYFOB_STALE_AFTER")]
    stale_after: Option<String>,
}

/// The flags of `keyfob gateway`.
#[derive(Args, Debug)]
pub(crate) struct GatewayFlags {
    #[command(flatten)]
    server: ServerFlags,

    #[command(flatten)]
    auth: AuthFlags,

    #[command(flatten)]
    upstream: UpstreamFlags,

    /// Send usage to the authority this often [default: 10s]
    #[arg(long, value_name = "TIME", env = "KEYFOB_FLUSH_EVERY")]
    flush_every: Option<String>,
}

/// The flags of `keyfob relay`.
#[derive(Args, Debug)]
pub(crate) struct RelayFlags {
    #[command(flatten)]
    server: ServerFlags,

    /// Also serve these parts to gateways that ask for them: each as in `--only`, separated by spaces
    #[arg(long, value_name = "PARTS", env = "KEYFOB_CARRY")]
    carry: Option<String>,

    /// The team of the operators [default: operators]
    #[arg(long, value_name = "TEAM", env = "KEYFOB_OPERATORS")]
    operators: Option<String>,

    #[command(flatten)]
    upstream: UpstreamFlags,

    #[command(flatten)]
    tls: TlsFlags,

    #[command(flatten)]
    nats: NatsFlags,

    /// The stream of `JetStream` that keeps the last lines [default: `keyfob_feed`]
    #[arg(long, value_name = "NAME", env = "KEYFOB_NATS_STREAM")]
    nats_stream: Option<String>,
}
