//! The configuration file.

use std::{
    collections::BTreeMap,
    env, fs, io,
    path::{Path, PathBuf},
};

use serde::Deserialize;

use crate::failure::{Failure, cause};

/// The content of the file. All fields are optional, and unknown ones are refused.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct File {
    pub(super) store: Option<String>,
    pub(super) prefix: Option<String>,
    pub(super) team: Option<String>,
    pub(super) namespace: Option<String>,
    #[serde(rename = "as")]
    pub(super) acting_as: Option<String>,
    pub(super) output: Option<String>,
    pub(super) color: Option<String>,
    pub(super) serve: Option<Serve>,
    pub(super) auth: Option<Auth>,
    pub(super) gateway: Option<Gateway>,
    pub(super) relay: Option<Relay>,
    pub(super) peppers: Option<PepperFiles>,
}

/// Defines the section of a command that serves: the settings of all of them, and its own.
/// `serde(flatten)` cannot refuse unknown fields.
macro_rules! section {
    ($name:ident { $($own:ident: $type:ty),* $(,)? }) => {
        #[derive(Debug, Default, Deserialize)]
        #[serde(deny_unknown_fields)]
        pub(super) struct $name {
            listen: Option<String>,
            connections: Option<i64>,
            header_timeout: Option<String>,
            $(pub(super) $own: Option<$type>,)*
            log: Option<String>,
            log_form: Option<String>,
        }

        impl $name {
            pub(super) fn server(&mut self) -> Server {
                Server {
                    listen: self.listen.take(),
                    connections: self.connections,
                    header_timeout: self.header_timeout.take(),
                    log: self.log.take(),
                    log_form: self.log_form.take(),
                }
            }
        }
    };
}

/// Takes the settings of TLS out of a section.
macro_rules! tls {
    ($section:ident) => {
        Tls {
            certificate: $section.tls_certificate.take(),
            key: $section.tls_key.take(),
            clients: $section.tls_clients.take(),
        }
    };
}

/// Takes the settings of NATS out of a section.
macro_rules! nats {
    ($section:ident, $stream:expr, $carry:expr) => {
        Nats {
            servers: $section.nats.take(),
            credentials: $section.nats_credentials.take(),
            ca: $section.nats_ca.take(),
            certificate: $section.nats_certificate.take(),
            key: $section.nats_key.take(),
            subjects: $section.nats_subjects.take(),
            stream: $stream,
            carry: $carry,
        }
    };
}

/// Takes the settings of the upstream out of a section.
macro_rules! upstream {
    ($section:ident) => {
        Upstream {
            name: $section.name.take(),
            urls: $section.upstream.take(),
            signers: $section.signers.take(),
            credential_file: $section.credential_file.take(),
            only: $section.only.take(),
            state: $section.state.take(),
            ca: $section.upstream_ca.take(),
            certificate: $section.upstream_certificate.take(),
            key: $section.upstream_key.take(),
            stale_after: $section.stale_after.take(),
        }
    };
}

/// The settings of every command that serves.
pub(super) struct Server {
    pub(super) listen: Option<String>,
    pub(super) connections: Option<i64>,
    pub(super) header_timeout: Option<String>,
    pub(super) log: Option<String>,
    pub(super) log_form: Option<String>,
}

section!(Serve {
    api_host: String,
    regions: String,
    follow_every: String,
    stale_after: String,
    flush_every: String,
    operators: String,
    operator: String,
    operator_file: String,
    panel: bool,
    feed_listen: String,
    feed_keys: String,
    feed_connections: i64,
    tls_certificate: String,
    tls_key: String,
    tls_clients: String,
    nats: String,
    nats_credentials: String,
    nats_ca: String,
    nats_certificate: String,
    nats_key: String,
    nats_subjects: String,
    nats_carry: String,
});

section!(Gateway {
    name: String,
    flush_every: String,
    upstream: String,
    signers: String,
    credential_file: String,
    only: String,
    state: String,
    upstream_ca: String,
    upstream_certificate: String,
    upstream_key: String,
    stale_after: String,
});

section!(Relay {
    name: String,
    carry: String,
    operators: String,
    upstream: String,
    signers: String,
    credential_file: String,
    only: String,
    state: String,
    upstream_ca: String,
    upstream_certificate: String,
    upstream_key: String,
    stale_after: String,
    tls_certificate: String,
    tls_key: String,
    tls_clients: String,
    nats: String,
    nats_credentials: String,
    nats_ca: String,
    nats_certificate: String,
    nats_key: String,
    nats_subjects: String,
    nats_stream: String,
});

/// The settings of the authorizer, which `keyfob serve` and `keyfob gateway` run.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Auth {
    pub(super) listen: Option<String>,
    pub(super) grpc_listen: Option<String>,
    pub(super) connections: Option<i64>,
    pub(super) request: Option<String>,
    pub(super) namespace_header: Option<String>,
    pub(super) peers: Option<String>,
    pub(super) refusal: Option<String>,
    pub(super) realm: Option<String>,
    pub(super) schemes: Option<String>,
    pub(super) reason: Option<bool>,
    pub(super) max_age: Option<String>,
    pub(super) refused_per_minute: Option<i64>,
    pub(super) identity_keys: Option<String>,
    pub(super) identity_issuer: Option<String>,
    pub(super) identity_audience: Option<String>,
    pub(super) tls_certificate: Option<String>,
    pub(super) tls_key: Option<String>,
    pub(super) tls_clients: Option<String>,
    pub(super) rules: Option<Vec<Rule>>,
}

/// A rule of the authorizer.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Rule {
    pub(super) path: Option<String>,
    pub(super) host: Option<String>,
    #[serde(default)]
    pub(super) methods: Vec<String>,
    pub(super) namespace: Option<String>,
    #[serde(default)]
    pub(super) scopes: Vec<String>,
}

/// The settings of the feed of `keyfob serve`.
pub(super) struct Feed {
    pub(super) listen: Option<String>,
    pub(super) keys: Option<String>,
    pub(super) connections: Option<String>,
    pub(super) tls: Tls,
    pub(super) nats: Nats,
}

/// The settings of every command that uses NATS.
pub(super) struct Nats {
    pub(super) servers: Option<String>,
    pub(super) credentials: Option<String>,
    pub(super) ca: Option<String>,
    pub(super) certificate: Option<String>,
    pub(super) key: Option<String>,
    pub(super) subjects: Option<String>,
    /// Of the relay.
    pub(super) stream: Option<String>,
    /// Of the authority.
    pub(super) carry: Option<String>,
}

/// The settings of every command that serves the feed.
pub(super) struct Tls {
    pub(super) certificate: Option<String>,
    pub(super) key: Option<String>,
    pub(super) clients: Option<String>,
}

/// The settings of every command that reads the feed.
pub(super) struct Upstream {
    pub(super) name: Option<String>,
    pub(super) urls: Option<String>,
    pub(super) signers: Option<String>,
    pub(super) credential_file: Option<String>,
    pub(super) only: Option<String>,
    pub(super) state: Option<String>,
    pub(super) ca: Option<String>,
    pub(super) certificate: Option<String>,
    pub(super) key: Option<String>,
    pub(super) stale_after: Option<String>,
}

impl Serve {
    pub(super) fn feed(&mut self) -> Feed {
        Feed {
            listen: self.feed_listen.take(),
            keys: self.feed_keys.take(),
            connections: self.feed_connections.map(|most| most.to_string()),
            tls: tls!(self),
            nats: nats!(self, None, self.nats_carry.take()),
        }
    }
}

impl Gateway {
    pub(super) fn upstream(&mut self) -> Upstream {
        upstream!(self)
    }
}

impl Relay {
    pub(super) fn upstream(&mut self) -> Upstream {
        upstream!(self)
    }

    pub(super) fn tls(&mut self) -> Tls {
        tls!(self)
    }

    pub(super) fn nats(&mut self) -> Nats {
        nats!(self, self.nats_stream.take(), None)
    }
}

/// The files of the peppers. Peppers themselves are never in this file.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PepperFiles {
    /// The number of the one for new digests.
    pub(super) current: Option<u8>,
    /// A file for each number.
    #[serde(default)]
    pub(super) files: BTreeMap<String, PathBuf>,
}

/// The file that is in force.
#[derive(Debug, Default)]
pub(super) struct InForce {
    pub(super) content: File,
    /// Where it is; none if there is none.
    pub(super) path: Option<PathBuf>,
    pub(super) warnings: Vec<String>,
}

impl InForce {
    /// Reads the given file, or the first that exists of the user's and the system's.
    ///
    /// A file in the current folder is not read unless it is named: the folder may be anybody's.
    pub(super) fn find(named: Option<&Path>) -> Result<Self, Failure> {
        if let Some(path) = named {
            return Self::read(path, true).map(Option::unwrap_or_default);
        }
        for path in usual_paths() {
            if let Some(found) = Self::read(&path, false)? {
                return Ok(found);
            }
        }
        let mut none = Self::default();
        if Path::new(NAME).exists() {
            none.warnings.push(format!(
                "{NAME} in the current folder is not used: name it with `--config {NAME}`"
            ));
        }
        Ok(none)
    }

    fn read(path: &Path, must_exist: bool) -> Result<Option<Self>, Failure> {
        match fs::read_to_string(path) {
            Ok(text) => Ok(Some(Self {
                content: File::parse(&text, path)?,
                path: Some(path.to_owned()),
                warnings: Vec::new(),
            })),
            Err(error) if error.kind() == io::ErrorKind::NotFound && !must_exist => Ok(None),
            Err(error) => Err(
                Failure::usage(format!("{}: {}", path.display(), cause(&error)))
                    .hint("set the configuration file with `--config` or KEYFOB_CONFIG"),
            ),
        }
    }

    /// A path in the file: relative to the folder of the file, not to the current one.
    pub(super) fn resolved(&self, path: &Path) -> PathBuf {
        let folder = self.path.as_deref().and_then(Path::parent);
        folder.map_or_else(|| path.to_owned(), |folder| folder.join(path))
    }
}

/// The user's file and the system's. The specification of the XDG folders excludes relative paths.
fn usual_paths() -> impl Iterator<Item = PathBuf> {
    let folder = |name: &str| {
        let path = PathBuf::from(env::var_os(name)?);
        path.is_absolute().then_some(path)
    };
    let home = || Some(folder("HOME")?.join(".config"));
    let of_user = folder("XDG_CONFIG_HOME").or_else(home);
    let of_user = of_user.map(|folder| folder.join("keyfob").join(NAME));
    of_user
        .into_iter()
        .chain([Path::new("/etc/keyfob").join(NAME)])
}

impl File {
    fn parse(text: &str, path: &Path) -> Result<Self, Failure> {
        toml::from_str(text).map_err(|error| {
            // The library's message may quote the line, which may contain a secret.
            let message = match error.message() {
                message if message.starts_with("unknown field") => message,
                message if message.starts_with("duplicate key") => "duplicate key",
                message if message.starts_with("invalid type") => "wrong type",
                _ => "invalid TOML",
            };
            let (line, column) = position(text, error.span().map_or(0, |span| span.start));
            Failure::usage(format!(
                "{}: line {line}, column {column}: {message}",
                path.display()
            ))
            .hint("packaging/keyfob.toml lists every setting with its default")
        })
    }
}

const NAME: &str = "keyfob.toml";

/// Line and column of a byte, counted from one.
fn position(text: &str, at: usize) -> (usize, usize) {
    let before = text.get(..at).unwrap_or(text);
    let line = before.matches('\n').count() + 1;
    let column = before.chars().rev().take_while(|c| *c != '\n').count() + 1;
    (line, column)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(text: &str) -> String {
        File::parse(text, Path::new("keyfob.toml"))
            .unwrap_err()
            .to_string()
    }

    #[test]
    fn an_unknown_key_is_refused_with_its_name_and_place() {
        let text = "store = \"memory:\"\n[serve]\n  lisen = \"127.0.0.1:1\"\n";
        let message = refused(text);
        assert!(
            message.starts_with(
                "keyfob.toml: line 3, column 3: unknown field `lisen`, expected one of `listen`"
            ),
            "{message}"
        );
    }

    #[test]
    fn no_message_quotes_a_value() {
        for text in [
            "store = 5",
            "[store]\nurl = \"secret\"",
            "store = \"secret",
            "store = secret",
            "serve = \"secret\"",
            "store = \"secret\"\nstore = \"secret\"",
        ] {
            let message = refused(text);
            assert!(!message.contains("secret"), "{message}");
            assert!(message.starts_with("keyfob.toml: line "), "{message}");
        }
    }
}
