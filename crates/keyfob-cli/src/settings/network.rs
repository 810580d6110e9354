//! The settings of the feed: of the server that sends it, and of gateways and relays that read it.

use std::{
    num::NonZeroU32,
    path::{Path, PathBuf},
    str::FromStr as _,
    time::Duration,
};

use keyfob::{
    Tenant,
    name::{NamespaceId, TeamId},
};
use keyfob_feed::{Filter, SignerKey};
use keyfob_listen::{Address, Tls};
use keyfob_replica::{HttpSourceBuilder, Upstream, UpstreamError};

use crate::{
    exit::Exit,
    failure::{Failure, with_sources},
    nats::{ServerAddress, ServerAddressError, StreamName, SubjectPrefix},
};

use super::{
    ServerSettings, file,
    resolver::{MustBe, Resolver, parse, parse_duration},
};

/// The feed that `keyfob serve` sends.
#[derive(Debug)]
pub(crate) struct FeedSettings {
    /// None for no feed.
    pub(crate) listen: Option<Address>,
    /// The file with the keys that sign it.
    pub(crate) keys: Option<PathBuf>,
    /// The maximum number of open connections.
    pub(crate) connections: NonZeroU32,
    pub(crate) tls: TlsSettings,
    pub(crate) nats: NatsSettings,
    /// The parts of the feed that are published over NATS, in addition to everything.
    pub(crate) nats_carry: Vec<Filter>,
}

/// The servers of NATS that carry the feed.
#[derive(Debug)]
pub(crate) struct NatsSettings {
    /// Empty for none.
    pub(crate) servers: Vec<ServerAddress>,
    /// The file with the credentials of NATS.
    pub(crate) credentials: Option<PathBuf>,
    pub(crate) ca: Option<PathBuf>,
    pub(crate) certificate: Option<PathBuf>,
    pub(crate) key: Option<PathBuf>,
    pub(crate) subjects: Option<SubjectPrefix>,
    pub(crate) stream: Option<StreamName>,
}

/// TLS of a listener.
#[derive(Clone, Debug)]
pub(crate) struct TlsSettings {
    pub(crate) certificate: Option<PathBuf>,
    pub(crate) key: Option<PathBuf>,
    pub(crate) clients: Option<PathBuf>,
}

/// Where a feed is read.
#[derive(Debug)]
pub(crate) struct UpstreamSettings {
    /// What the authority lists this process as; none for the host's name.
    pub(crate) name: Option<String>,
    /// In the order in which they are tried.
    pub(crate) urls: Vec<Upstream>,
    /// The public keys of the authority.
    pub(crate) signers: Vec<SignerKey>,
    /// The file with the key that reads the feed.
    pub(crate) credential_file: Option<PathBuf>,
    /// The part that is read; none for everything.
    pub(crate) only: Option<Filter>,
    /// The folder for what was read.
    pub(crate) state: Option<PathBuf>,
    pub(crate) ca: Option<PathBuf>,
    pub(crate) certificate: Option<PathBuf>,
    pub(crate) key: Option<PathBuf>,
    pub(crate) stale_after: Duration,
}

/// The settings of `keyfob gateway`.
#[derive(Debug)]
pub(crate) struct GatewaySettings {
    pub(crate) server: ServerSettings,
    pub(crate) upstream: UpstreamSettings,
    pub(crate) flush_every: Duration,
}

/// The settings of `keyfob relay`.
#[derive(Debug)]
pub(crate) struct RelaySettings {
    pub(crate) server: ServerSettings,
    pub(crate) upstream: UpstreamSettings,
    pub(crate) tls: TlsSettings,
    /// The parts of the feed that are served, besides what the relay reads.
    pub(crate) carry: Vec<Filter>,
    pub(crate) operators: TeamId,
    pub(crate) nats: NatsSettings,
}

/// Makes a path of the configuration file relative to that file.
pub(super) type Resolve<'a> = &'a dyn Fn(&Path) -> PathBuf;

impl FeedSettings {
    const CONNECTIONS: &str = "2048";

    /// A setting that has no effect without `feed_listen`.
    pub(crate) fn unused(&self) -> Option<&'static str> {
        let default = self.connections.to_string() == Self::CONNECTIONS;
        let own = [
            ("feed_keys", self.keys.is_some()),
            // Relays read what NATS loses, snapshots and signers over HTTP.
            ("nats", !self.nats.servers.is_empty()),
            ("nats_carry", !self.nats_carry.is_empty()),
            ("tls_certificate", self.tls.certificate.is_some()),
            ("feed_connections", !default),
        ];
        self.nats.unused().or_else(|| first(&own))
    }

    pub(super) fn resolve(
        from: &mut Resolver<'_>,
        file: file::Feed,
        resolve: Resolve<'_>,
    ) -> Result<Self, Failure> {
        Ok(Self {
            listen: from.optional("feed_listen", file.listen, Address::from_str)?,
            keys: from.path("feed_keys", file.keys, resolve)?,
            connections: from.value(
                "feed_connections",
                file.connections,
                Self::CONNECTIONS,
                |text| parse(text, "a number from 1 on"),
            )?,
            tls: TlsSettings::resolve(from, file.tls, resolve)?,
            nats_carry: from
                .optional("nats_carry", file.nats.carry.clone(), parse_parts)?
                .unwrap_or_default(),
            nats: NatsSettings::resolve(from, file.nats, resolve, false)?,
        })
    }
}

impl NatsSettings {
    /// A setting that has no effect without `nats`.
    pub(crate) fn unused(&self) -> Option<&'static str> {
        if !self.servers.is_empty() {
            return None;
        }
        first(&[
            ("nats_credentials", self.credentials.is_some()),
            ("nats_ca", self.ca.is_some()),
            ("nats_certificate", self.certificate.is_some()),
            ("nats_key", self.key.is_some()),
            ("nats_subjects", self.subjects.is_some()),
            ("nats_stream", self.stream.is_some()),
        ])
    }

    fn resolve(
        from: &mut Resolver<'_>,
        file: file::Nats,
        resolve: Resolve<'_>,
        has_stream: bool,
    ) -> Result<Self, Failure> {
        let settings = Self {
            servers: from
                .optional("nats", file.servers, parse_servers)?
                .unwrap_or_default(),
            credentials: from.path("nats_credentials", file.credentials, resolve)?,
            ca: from.path("nats_ca", file.ca, resolve)?,
            certificate: from.path("nats_certificate", file.certificate, resolve)?,
            key: from.path("nats_key", file.key, resolve)?,
            subjects: from.optional("nats_subjects", file.subjects, SubjectPrefix::from_str)?,
            stream: if has_stream {
                from.optional("nats_stream", file.stream, StreamName::from_str)?
            } else {
                None
            },
        };
        together(
            "nats_certificate",
            settings.certificate.as_ref(),
            "nats_key",
            settings.key.as_ref(),
        )?;
        Ok(settings)
    }
}

impl TlsSettings {
    /// Reads the certificates. Other machines can reach a listener only by TLS: the keys that read
    /// the feed must not cross a network in the clear.
    pub(crate) fn load(self, listen: &Address) -> Result<Option<Tls>, Failure> {
        let (Some(certificate), Some(key)) = (self.certificate, self.key) else {
            if listen.is_local() {
                return Ok(None);
            }
            return Err(Failure::usage(format!(
                "tls_certificate: needed to serve the feed on {listen}, which other machines can reach"
            )));
        };
        let tls = Tls::from_files(certificate, key, self.clients);
        tls.map(Some)
            .map_err(|error| Failure::new(Exit::Failed, with_sources(&error)))
    }

    /// Reads the certificates, if there are any.
    pub(crate) fn load_if_set(self) -> Result<Option<Tls>, Failure> {
        let (Some(certificate), Some(key)) = (self.certificate, self.key) else {
            return Ok(None);
        };
        let tls = Tls::from_files(certificate, key, self.clients);
        tls.map(Some)
            .map_err(|error| Failure::new(Exit::Failed, with_sources(&error)))
    }

    fn resolve(
        from: &mut Resolver<'_>,
        file: file::Tls,
        resolve: Resolve<'_>,
    ) -> Result<Self, Failure> {
        let settings = Self {
            certificate: from.path("tls_certificate", file.certificate, resolve)?,
            key: from.path("tls_key", file.key, resolve)?,
            clients: from.path("tls_clients", file.clients, resolve)?,
        };
        together(
            "tls_certificate",
            settings.certificate.as_ref(),
            "tls_key",
            settings.key.as_ref(),
        )?;
        if settings.clients.is_some() && settings.certificate.is_none() {
            return Err(Failure::usage(
                "tls_clients: needs tls_certificate and tls_key",
            ));
        }
        Ok(settings)
    }
}

impl UpstreamSettings {
    fn resolve(
        from: &mut Resolver<'_>,
        file: file::Upstream,
        resolve: Resolve<'_>,
    ) -> Result<Self, Failure> {
        let settings = Self {
            name: from.optional("name", file.name, parse_name)?,
            urls: from
                .optional("upstream", file.urls, parse_urls)?
                .unwrap_or_default(),
            signers: from
                .optional("signers", file.signers, parse_signers)?
                .unwrap_or_default(),
            credential_file: from.path("credential_file", file.credential_file, resolve)?,
            only: from.optional("only", file.only, parse_part)?,
            state: from.path("state", file.state, resolve)?,
            ca: from.path("upstream_ca", file.ca, resolve)?,
            certificate: from.path("upstream_certificate", file.certificate, resolve)?,
            key: from.path("upstream_key", file.key, resolve)?,
            stale_after: from.value("stale_after", file.stale_after, "5s", parse_duration)?,
        };
        together(
            "upstream_certificate",
            settings.certificate.as_ref(),
            "upstream_key",
            settings.key.as_ref(),
        )?;
        Ok(settings)
    }
}

impl GatewaySettings {
    pub(super) fn resolve(
        from: &mut Resolver<'_>,
        mut file: file::Gateway,
        resolve: Resolve<'_>,
    ) -> Result<Self, Failure> {
        Ok(Self {
            server: ServerSettings::resolve(from, file.server(), "127.0.0.1:8081")?,
            flush_every: from.value(
                "flush_every",
                file.flush_every.take(),
                "10s",
                parse_duration,
            )?,
            upstream: UpstreamSettings::resolve(from, file.upstream(), resolve)?,
        })
    }
}

impl RelaySettings {
    pub(super) fn resolve(
        from: &mut Resolver<'_>,
        mut file: file::Relay,
        resolve: Resolve<'_>,
    ) -> Result<Self, Failure> {
        Ok(Self {
            server: ServerSettings::resolve(from, file.server(), "127.0.0.1:8444")?,
            tls: TlsSettings::resolve(from, file.tls(), resolve)?,
            upstream: UpstreamSettings::resolve(from, file.upstream(), resolve)?,
            carry: from
                .optional("carry", file.carry.take(), parse_parts)?
                .unwrap_or_default(),
            operators: from.value("operators", file.operators.take(), "operators", TeamId::new)?,
            nats: NatsSettings::resolve(from, file.nats(), resolve, true)?,
        })
    }
}

/// The first of these settings that is set.
fn first(settings: &[(&'static str, bool)]) -> Option<&'static str> {
    let first = settings.iter().find(|(_, is_set)| *is_set);
    first.map(|(name, _)| *name)
}

/// Refuses one of two settings without the other.
pub(super) fn together(
    one: &str,
    its_value: Option<&PathBuf>,
    other: &str,
    other_value: Option<&PathBuf>,
) -> Result<(), Failure> {
    match (its_value, other_value) {
        (Some(_), None) => Err(Failure::usage(format!("{one}: needs {other}"))),
        (None, Some(_)) => Err(Failure::usage(format!("{other}: needs {one}"))),
        _ => Ok(()),
    }
}

fn parse_name(text: &str) -> Result<String, MustBe> {
    if HttpSourceBuilder::is_name(text) && !text.trim().is_empty() {
        Ok(text.to_owned())
    } else {
        Err(MustBe("1 to 128 printable ASCII characters"))
    }
}

fn parse_urls(text: &str) -> Result<Vec<Upstream>, UpstreamError> {
    text.split(',').map(|url| url.trim().parse()).collect()
}

fn parse_servers(text: &str) -> Result<Vec<ServerAddress>, ServerAddressError> {
    text.split(',').map(|url| url.trim().parse()).collect()
}

fn parse_signers(text: &str) -> Result<Vec<SignerKey>, keyfob_feed::SignerKeyError> {
    text.split(',').map(|key| key.trim().parse()).collect()
}

/// Reads parts that are separated by spaces.
fn parse_parts(text: &str) -> Result<Vec<Filter>, MustBe> {
    text.split_whitespace().map(parse_part).collect()
}

/// Reads `TEAM`, or `TEAM/NAMESPACE` one or more times.
fn parse_part(text: &str) -> Result<Filter, MustBe> {
    const FAILED: MustBe = MustBe("a team, or namespaces as in acme/orders,acme/billing");
    if !text.contains(['/', ',']) {
        return TeamId::new(text).map(Filter::Team).map_err(|_| FAILED);
    }
    let tenants: Option<Vec<Tenant>> = text
        .split(',')
        .map(|part| {
            let (team, namespace) = part.trim().rsplit_once('/')?;
            let (team, namespace) = (TeamId::new(team).ok()?, NamespaceId::new(namespace).ok()?);
            Some(Tenant::new(team, namespace))
        })
        .collect();
    Filter::namespaces(tenants.ok_or(FAILED)?).map_err(|_| FAILED)
}
