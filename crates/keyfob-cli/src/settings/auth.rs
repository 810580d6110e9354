//! The settings of the authorizer.

use std::{fmt, num::NonZeroU32, path::PathBuf, str::FromStr as _, time::Duration};

use axum::http::HeaderName;
use keyfob::name::{NameError, NamespaceId, Scope};
use keyfob_gateway::{
    Challenges, Place, RefusalForm, Rule, Rules,
    http::{Network, NetworkError, Peers, RequestSource},
};
use keyfob_listen::{Address, AddressError};

use crate::failure::Failure;

use super::{
    file,
    network::{Resolve, TlsSettings, together},
    resolver::{MustBe, Resolver, parse, parse_duration},
};

/// The settings of the authorizer, which `keyfob serve` and `keyfob gateway` run.
#[derive(Debug)]
pub(crate) struct AuthSettings {
    /// None for no listener. `keyfob gateway` has it on its own.
    pub(crate) listen: Option<Address>,
    /// Where Envoy asks over gRPC.
    pub(crate) grpc_listen: Option<Address>,
    /// The maximum number of open connections.
    pub(crate) connections: NonZeroU32,
    pub(crate) request: RequestSource,
    pub(crate) namespace_header: HeaderName,
    pub(crate) peers: Peers,
    pub(crate) refusal: RefusalForm,
    pub(crate) challenges: Challenges,
    /// Whether the answer has the reason of a refusal.
    pub(crate) reason: bool,
    pub(crate) max_age: Option<Duration>,
    /// None for no limit.
    pub(crate) refused_per_minute: Option<NonZeroU32>,
    /// The file of the keys that sign identities.
    pub(crate) identity_keys: Option<PathBuf>,
    pub(crate) identity_issuer: String,
    pub(crate) identity_audience: Option<String>,
    pub(crate) tls: TlsSettings,
    pub(crate) rules: Rules,
}

impl AuthSettings {
    pub(super) fn resolve(
        from: &mut Resolver<'_>,
        file: file::Auth,
        resolve: Resolve<'_>,
    ) -> Result<Self, Failure> {
        let connections = file.connections.map(|most| most.to_string());
        let refused = file.refused_per_minute.map(|most| most.to_string());
        let reason = file.reason.map(|shown| shown.to_string());
        let has_rules = file.rules.is_some();
        let challenges: Challenges = from.value("auth_realm", file.realm, "keyfob", str::parse)?;
        let schemes: Schemes =
            from.value("auth_schemes", file.schemes, "basic,bearer", |text| {
                parse_schemes(text)
            })?;
        let settings = Self {
            listen: from.value("auth_listen", file.listen, "127.0.0.1:8181", parse_listen)?,
            grpc_listen: from.value("auth_grpc_listen", file.grpc_listen, "off", parse_listen)?,
            connections: from.value("auth_connections", connections, "512", |text| {
                parse(text, "a number from 1 on")
            })?,
            request: from.value(
                "auth_request",
                file.request,
                "named",
                RequestSource::from_str,
            )?,
            namespace_header: from.value(
                "auth_namespace_header",
                file.namespace_header,
                "x-keyfob-namespace",
                |text| parse(text, "a header name"),
            )?,
            peers: from.value("auth_peers", file.peers, "127.0.0.0/8,::1", parse_peers)?,
            refusal: from.value("auth_refusal", file.refusal, "problem", parse_refusal)?,
            challenges: match schemes {
                Schemes::Both => challenges,
                Schemes::Bearer => challenges.bearer_only(),
            },
            reason: from.value("auth_reason", reason, "false", |text| {
                parse(text, "true or false")
            })?,
            max_age: from.optional("auth_max_age", file.max_age, parse_duration)?,
            refused_per_minute: from.value(
                "auth_refused_per_minute",
                refused,
                "60",
                |text| -> Result<_, MustBe> {
                    let most: u32 = parse(text, "a number, or 0 for no limit")?;
                    Ok(NonZeroU32::new(most))
                },
            )?,
            identity_keys: from.path("auth_identity_keys", file.identity_keys, resolve)?,
            identity_issuer: from.value(
                "auth_identity_issuer",
                file.identity_issuer,
                "keyfob",
                |text| parse(text, "a text"),
            )?,
            identity_audience: from.optional(
                "auth_identity_audience",
                file.identity_audience,
                |text| parse(text, "a text"),
            )?,
            tls: TlsSettings {
                certificate: from.path("auth_tls_certificate", file.tls_certificate, resolve)?,
                key: from.path("auth_tls_key", file.tls_key, resolve)?,
                clients: from.path("auth_tls_clients", file.tls_clients, resolve)?,
            },
            rules: match file.rules {
                Some(rules) => read_rules(rules)?,
                None => Rules::openwhisk(),
            },
        };
        together(
            "auth.tls_certificate",
            settings.tls.certificate.as_ref(),
            "auth.tls_key",
            settings.tls.key.as_ref(),
        )?;
        if settings.tls.clients.is_some() && settings.tls.certificate.is_none() {
            let text = "auth.tls_clients: needs auth.tls_certificate and auth.tls_key";
            return Err(Failure::usage(text));
        }
        if from.is_set("auth_namespace_header") && settings.request != RequestSource::Named {
            let text = "auth.namespace_header: is read only if auth.request is \"named\"";
            return Err(Failure::usage(text));
        }
        let http_has_none = settings.request == RequestSource::Named;
        if has_rules && http_has_none && settings.grpc_listen.is_none() {
            let text = "auth.rules: are about the request, but auth.request is \"named\"";
            return Err(Failure::usage(text)
                .hint("set auth.request to the fields in which your proxy sends the request"));
        }
        Ok(settings)
    }
}

impl AuthSettings {
    /// Checks that no answer is used for longer than what is known may be.
    pub(crate) fn check(&self, stale_after: Duration) -> Result<(), Failure> {
        if self.max_age.is_some_and(|max_age| max_age > stale_after) {
            return Err(Failure::usage(
                "auth.max_age: must not be longer than stale_after",
            ));
        }
        Ok(())
    }
}

#[derive(Clone, Copy)]
enum Schemes {
    Both,
    Bearer,
}

fn parse_schemes(text: &str) -> Result<Schemes, MustBe> {
    match text {
        "basic,bearer" => Ok(Schemes::Both),
        "bearer" => Ok(Schemes::Bearer),
        _ => Err(MustBe("basic,bearer or bearer")),
    }
}

fn parse_listen(text: &str) -> Result<Option<Address>, AddressError> {
    match text {
        "off" => Ok(None),
        text => text.parse().map(Some),
    }
}

fn parse_peers(text: &str) -> Result<Peers, NetworkError> {
    let networks = text.split(',').map(|network| network.trim().parse());
    networks.collect::<Result<Vec<Network>, _>>().map(Peers::of)
}

fn parse_refusal(text: &str) -> Result<RefusalForm, MustBe> {
    let mut forms = RefusalForm::NAMES.into_iter();
    let found = forms.find(|(name, _)| *name == text);
    let (_, form) = found.ok_or(MustBe("problem, openwhisk or contract"))?;
    Ok(form)
}

fn read_rules(rules: Vec<file::Rule>) -> Result<Rules, Failure> {
    let mut read = Vec::new();
    for (before, rule) in rules.into_iter().enumerate() {
        let number = before + 1;
        let failed = |field: &str, error: &dyn fmt::Display| {
            Failure::usage(format!("auth.rules: {field} of rule {number} {error}"))
        };
        let path = rule.path.map(|text| text.parse()).transpose();
        let path = path.map_err(|error: keyfob_gateway::PatternError| failed("path", &error))?;
        let host = rule.host.map(|text| text.parse()).transpose();
        let host =
            host.map_err(|error: keyfob_gateway::HostPatternError| failed("host", &error))?;
        let built = match (path, host) {
            (Some(path), None) => Rule::of_path(path),
            (None, Some(host)) => Rule::of_host(host),
            (Some(path), Some(host)) => Rule::of_path(path).with_host(host),
            (None, None) => {
                return Err(failed("path", &"is missing, and it has no host either"));
            }
        };
        let built = match rule.namespace.as_deref() {
            None => built,
            Some("_") => built.with_place(Place::Credential),
            Some(name) => {
                let namespace = NamespaceId::new(name);
                let namespace = namespace.map_err(|error| failed("namespace", &error.fault()))?;
                built.with_place(Place::Fixed(namespace))
            }
        };
        let scopes: Result<Vec<Scope>, NameError> =
            rule.scopes.iter().map(|name| Scope::new(name)).collect();
        let scopes = scopes.map_err(|error| failed("scopes", &error))?;
        read.push(built.with_methods(rule.methods).requiring(scopes));
    }
    Rules::new(read).map_err(|error| Failure::usage(format!("auth.rules: {error}")))
}
