use std::{net::IpAddr, str::FromStr};

use axum::http::{HeaderMap, HeaderName, HeaderValue, header::HOST, uri::PathAndQuery};
use keyfob_listen::Head;
use keyfob_tower::CanonicalPath;

use super::PREFIX;

/// Where a question has the request that is asked about. It is set, and never guessed: a field that
/// the proxy does not write is written by the client.
///
/// A field that is missing or doubled is the proxy's fault: the answer is 503.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum RequestSource {
    /// The proxy's configuration names the namespace: in the field `X-Keyfob-Namespace`, or as
    /// `/auth/{namespace}`, with any path below. The rules are not used.
    #[default]
    Named,
    /// `X-Original-URI`, `X-Original-Method`, `X-Original-Host`, and the client in `X-Real-IP`: for
    /// nginx.
    XOriginalUri,
    /// `X-Forwarded-Uri`, `X-Forwarded-Method`, `X-Forwarded-Host`, and the client as the last of
    /// `X-Forwarded-For`: for Caddy, Traefik and `HAProxy`.
    XForwarded,
    /// The path and query below `/auth`, with the question's method and host, and the client in
    /// `X-Envoy-External-Address` or as the last of `X-Forwarded-For`: for Envoy with the
    /// `path_prefix` `/auth`.
    Appended,
}

impl RequestSource {
    /// The sources by their names in a configuration.
    pub const NAMES: [(&'static str, Self); 4] = [
        ("named", Self::Named),
        ("x-original-uri", Self::XOriginalUri),
        ("x-forwarded", Self::XForwarded),
        ("appended", Self::Appended),
    ];
}

impl FromStr for RequestSource {
    type Err = UnknownSource;

    fn from_str(text: &str) -> Result<Self, UnknownSource> {
        let mut names = Self::NAMES.into_iter();
        let found = names.find(|(name, _)| *name == text);
        found.map(|(_, source)| source).ok_or(UnknownSource)
    }
}

/// A text is not the name of a [`RequestSource`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be one of named, x-original-uri, x-forwarded, appended")]
pub struct UnknownSource;

/// What a question is about.
pub(super) struct Asked<'a> {
    pub(super) what: What<'a>,
    pub(super) method: Option<&'a [u8]>,
    /// None if the client named none, as in HTTP/1.0 or with an empty field: it is ambiguous if any rule is about
    /// hosts. It is not the proxy's fault, so a client cannot provoke a 503.
    pub(super) host: Option<&'a [u8]>,
}

pub(super) enum What<'a> {
    Target(&'a [u8]),
    Namespace(&'a [u8]),
}

/// A question cannot be read.
pub(super) enum Fault {
    /// The proxy asks in a wrong way.
    OfProxy(&'static str),
    /// The request that is asked about can be read in more than one way.
    Ambiguous,
}

impl RequestSource {
    pub(super) fn read<'a>(
        self,
        head: &Head<'a>,
        namespace_field: &HeaderName,
    ) -> Result<Asked<'a>, Fault> {
        let headers = head.headers;
        match self {
            Self::Named => Ok(Asked {
                what: What::Namespace(named(head, namespace_field)?),
                method: None,
                host: None,
            }),
            Self::XOriginalUri => Ok(Asked {
                what: What::Target(needed(headers, &X_ORIGINAL_URI)?),
                method: Some(needed(headers, &X_ORIGINAL_METHOD)?),
                host: only(headers, &X_ORIGINAL_HOST)?,
            }),
            Self::XForwarded => Ok(Asked {
                what: What::Target(needed(headers, &X_FORWARDED_URI)?),
                method: Some(needed(headers, &X_FORWARDED_METHOD)?),
                host: only(headers, &X_FORWARDED_HOST)?,
            }),
            Self::Appended => Ok(Asked {
                what: What::Target(below(head.uri.path_and_query())?),
                method: Some(head.method.as_str().as_bytes()),
                host: only(headers, &HOST)?,
            }),
        }
    }

    /// The client that sent the request that is asked about.
    pub(super) fn client(self, headers: &HeaderMap) -> Option<IpAddr> {
        match self {
            Self::Named | Self::XOriginalUri => address(headers, &X_REAL_IP),
            Self::XForwarded => last_address(headers),
            Self::Appended => {
                address(headers, &X_ENVOY_EXTERNAL_ADDRESS).or_else(|| last_address(headers))
            }
        }
    }
}

/// The path and query below the prefix, as they were sent.
fn below(target: Option<&PathAndQuery>) -> Result<&[u8], Fault> {
    let target = target.and_then(|target| target.as_str().strip_prefix(PREFIX));
    match target {
        Some(target) if target.starts_with('/') => Ok(target.as_bytes()),
        _ => Err(Fault::OfProxy("no_target")),
    }
}

/// The namespace that the proxy names.
fn named<'a>(head: &Head<'a>, field: &HeaderName) -> Result<&'a [u8], Fault> {
    let in_field = only(head.headers, field);
    let path = head.uri.path();
    let below = path.strip_prefix(PREFIX).unwrap_or_default();
    if matches!(below, "" | "/") {
        return in_field?.ok_or(Fault::OfProxy("no_target"));
    }
    // The rest is not used, but a part of it may be the client's.
    let path = CanonicalPath::parse(below.as_bytes()).ok_or(Fault::Ambiguous)?;
    let name = match path.segments().next() {
        // A name with other characters goes into the field.
        Some(name) if !name.contains(['%', '+']) => name.as_bytes(),
        _ => return Err(Fault::Ambiguous),
    };
    match in_field {
        Ok(None) => Ok(name),
        Ok(Some(same)) if same == name => Ok(name),
        // The field is the client's: the proxy names the namespace in the path.
        Ok(Some(_)) | Err(_) => Err(Fault::Ambiguous),
    }
}

/// The value of a field that the proxy sets.
fn needed<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Result<&'a [u8], Fault> {
    only(headers, name)?.ok_or(Fault::OfProxy("no_target"))
}

/// The only value of a field; none if it is missing or empty.
fn only<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Result<Option<&'a [u8]>, Fault> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (value, None) => Ok(value
            .map(HeaderValue::as_bytes)
            .filter(|value| !value.is_empty())),
        (_, Some(_)) => Err(Fault::OfProxy("two_targets")),
    }
}

/// The address in a field that the proxy sets.
fn address(headers: &HeaderMap, name: &HeaderName) -> Option<IpAddr> {
    let text = only(headers, name).ok()??;
    std::str::from_utf8(text).ok()?.trim().parse().ok()
}

/// The last address of `X-Forwarded-For`: the one that the proxy added.
fn last_address(headers: &HeaderMap) -> Option<IpAddr> {
    let value = headers.get_all(&X_FORWARDED_FOR).iter().next_back()?;
    let last = value.to_str().ok()?.rsplit(',').next()?;
    last.trim().parse().ok()
}

/// The namespace that the proxy names.
pub(super) const NAMESPACE: HeaderName = HeaderName::from_static(crate::field::NAMESPACE);
const X_ORIGINAL_URI: HeaderName = HeaderName::from_static("x-original-uri");
const X_ORIGINAL_METHOD: HeaderName = HeaderName::from_static("x-original-method");
const X_ORIGINAL_HOST: HeaderName = HeaderName::from_static("x-original-host");
const X_REAL_IP: HeaderName = HeaderName::from_static("x-real-ip");
const X_FORWARDED_URI: HeaderName = HeaderName::from_static("x-forwarded-uri");
const X_FORWARDED_METHOD: HeaderName = HeaderName::from_static("x-forwarded-method");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_ENVOY_EXTERNAL_ADDRESS: HeaderName = HeaderName::from_static("x-envoy-external-address");
