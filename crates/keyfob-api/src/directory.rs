//! What answers say of a namespace besides its keys.

use std::{fmt, future::Future, pin::Pin, sync::Arc};

use axum::http::uri::PathAndQuery;
use keyfob::{Tenant, manage::NewNamespace, name::Region, store::NamespaceRecord};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use crate::refusal::{Chain, Refusal};

/// Knows the regions, and the address of each namespace's gateway.
///
/// The key store keeps the label and the region with which a namespace was created. [`Gateways`] is
/// for services whose gateways' addresses follow from that; a program with a database of namespaces
/// implements the trait over it.
pub trait Directory: Send + Sync {
    /// Facts about these namespaces, one for each, in the same order. It is called once per page of a list.
    ///
    /// - a namespace that it does not know -> facts that fit any namespace
    /// - it is not available -> [`DirectoryError::Unavailable`]
    fn describe<'a>(
        &'a self,
        namespaces: &'a [NamespaceRecord],
    ) -> DirectoryAnswer<'a, Vec<NamespaceFacts>>;

    /// Registers a namespace that is about to be created, with the label and the region that the
    /// caller asked for. If the creation fails afterwards, the namespace is never mentioned again.
    ///
    /// - there is no such region -> [`DirectoryError::Region`]
    /// - the label is not allowed -> [`DirectoryError::Label`]
    /// - it is not available -> [`DirectoryError::Unavailable`]
    fn admit<'a>(&'a self, new: &'a NewNamespace) -> DirectoryAnswer<'a, NamespaceFacts>;
}

/// The future of a [`Directory`]'s answer.
pub type DirectoryAnswer<'a, T> =
    Pin<Box<dyn Future<Output = Result<T, DirectoryError>> + Send + 'a>>;

/// What the published interface says of a namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamespaceFacts {
    /// What people call it.
    pub label: String,
    /// Where it runs.
    pub region: String,
    /// The address of its gateway: what clients send function calls to.
    pub api_host: String,
}

/// A directory refused or failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DirectoryError {
    /// There is no such region.
    #[error("region: must be one of {}", Names(.0))]
    Region(Vec<Region>),
    /// The label is not allowed.
    #[error("label: not allowed")]
    Label,
    /// It is not available.
    #[error("the directory of namespaces failed")]
    Unavailable(#[source] Box<dyn std::error::Error + Send + Sync>),
}

struct Names<'a>(&'a [Region]);

impl fmt::Display for Names<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> = self.0.iter().map(Region::as_str).collect();
        f.write_str(&names.join(", "))
    }
}

/// The directory of a service whose gateways' addresses follow from a namespace's name and region.
/// It stores nothing.
///
/// # Examples
///
/// ```
/// use keyfob::name::Region;
/// use keyfob_api::{ApiHost, Gateways};
///
/// let gateways = Gateways::at(ApiHost::parse("https://{namespace}.{region}.fn.example")?)
///     .in_regions([Region::new("blr1")?, Region::new("nyc1")?]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct Gateways {
    api_host: ApiHost,
    /// Empty for any.
    regions: Vec<Region>,
}

impl Gateways {
    /// A directory with gateways at this address. It accepts any region, and keeps it as a label.
    pub fn at(api_host: ApiHost) -> Self {
        Self {
            api_host,
            regions: Vec::new(),
        }
    }

    /// With only these regions, or any if there are none. The first one is that of namespaces that
    /// were created without one.
    #[must_use]
    pub fn in_regions(mut self, regions: impl IntoIterator<Item = Region>) -> Self {
        self.regions = regions.into_iter().collect();
        self
    }

    fn facts(
        &self,
        tenant: &Tenant,
        label: Option<&str>,
        region: Option<&Region>,
    ) -> NamespaceFacts {
        let namespace = tenant.namespace.as_str();
        let region = region
            .or(self.regions.first())
            .map_or(NO_REGION, Region::as_str);
        NamespaceFacts {
            label: label.unwrap_or(namespace).to_owned(),
            region: region.to_owned(),
            api_host: self.api_host.of(namespace, region),
        }
    }

    fn check(&self, region: Option<&Region>) -> Result<(), DirectoryError> {
        match region {
            Some(region) if !self.regions.is_empty() && !self.regions.contains(region) => {
                Err(DirectoryError::Region(self.regions.clone()))
            }
            _ => Ok(()),
        }
    }
}

/// Stands for a region that nobody named.
const NO_REGION: &str = "local";

impl Directory for Gateways {
    fn describe<'a>(
        &'a self,
        namespaces: &'a [NamespaceRecord],
    ) -> DirectoryAnswer<'a, Vec<NamespaceFacts>> {
        let facts = namespaces.iter().map(|record| {
            let label = record.label.as_ref().map(AsRef::as_ref);
            self.facts(&record.tenant, label, record.region.as_ref())
        });
        Box::pin(std::future::ready(Ok(facts.collect())))
    }

    fn admit<'a>(&'a self, new: &'a NewNamespace) -> DirectoryAnswer<'a, NamespaceFacts> {
        let label = new.label.as_ref().map(AsRef::as_ref);
        let region = new.region.as_ref();
        let answer = self
            .check(region)
            .map(|()| self.facts(&new.tenant, label, region));
        Box::pin(std::future::ready(answer))
    }
}

/// The address of gateways: a URL, in which `{namespace}` and `{region}` stand for those of a
/// namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiHost(Arc<str>);

impl ApiHost {
    /// `http://127.0.0.1:8080`, for a trial.
    pub fn local() -> Self {
        Self(Arc::from("http://127.0.0.1:8080"))
    }

    /// Reads an address, for example `https://{namespace}.fn.example`.
    ///
    /// # Errors
    ///
    /// It is not an `http` or `https` URL of a host with an optional port, or has a placeholder
    /// other than `{namespace}` and `{region}`.
    pub fn parse(text: &str) -> Result<Self, ApiHostError> {
        let filled = fill(text, "x", "x");
        if filled.contains(['{', '}']) {
            return Err(ApiHostError::Placeholder);
        }
        let url: axum::http::Uri = filled.parse().map_err(|_| ApiHostError::Url)?;
        let is_http = matches!(url.scheme_str(), Some("http" | "https"));
        let authority = url.authority().map_or("", |authority| authority.as_str());
        if !is_http || authority.contains('@') || url.host().is_none_or(str::is_empty) {
            return Err(ApiHostError::Url);
        }
        // Clients append the path of a call.
        if !matches!(
            url.path_and_query().map(PathAndQuery::as_str),
            None | Some("/")
        ) {
            return Err(ApiHostError::Url);
        }
        Ok(Self(Arc::from(text.trim_end_matches('/'))))
    }

    fn of(&self, namespace: &str, region: &str) -> String {
        fill(&self.0, &encoded(namespace), &encoded(region))
    }
}

fn fill(text: &str, namespace: &str, region: &str) -> String {
    // The region first: the name of a namespace may hold the other placeholder.
    text.replace("{region}", region)
        .replace("{namespace}", namespace)
}

/// A name as part of a host: a namespace's name may have any printable character.
fn encoded(name: &str) -> String {
    const KEPT: &AsciiSet = &NON_ALPHANUMERIC
        .remove(b'-')
        .remove(b'.')
        .remove(b'_')
        .remove(b'~');
    utf8_percent_encode(name, KEPT).to_string()
}

/// A text is not the address of gateways.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ApiHostError {
    /// Not an `http` or `https` URL with a host, and without a path.
    #[error("must be an http or https URL without a path, as in https://{{namespace}}.fn.example")]
    Url,
    /// A placeholder other than `{namespace}` and `{region}`.
    #[error("has a placeholder other than {{namespace}} and {{region}}")]
    Placeholder,
}

impl From<DirectoryError> for Refusal {
    fn from(error: DirectoryError) -> Self {
        match &error {
            DirectoryError::Unavailable(cause) => {
                tracing::error!(error = %Chain(&**cause), "the directory of namespaces failed");
                Self::UNAVAILABLE
            }
            _ => Self::bad_request(error.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_filled_with_the_namespace_and_the_region() {
        let host = ApiHost::parse("https://{namespace}.{region}.fn.example:8443/").unwrap();
        assert_eq!(host.of("fn-a", "blr1"), "https://fn-a.blr1.fn.example:8443");
        // Nothing in a name can lead to another host.
        assert_eq!(
            host.of("evil.example/?{region}", "a/b"),
            "https://evil.example%2F%3F%7Bregion%7D.a%2Fb.fn.example:8443"
        );
        let host = ApiHost::parse("http://127.0.0.1:9000").unwrap();
        assert_eq!(host.of("fn-a", "blr1"), "http://127.0.0.1:9000");
        let host = ApiHost::parse("http://[::1]:9000").unwrap();
        assert_eq!(host.of("fn-a", "blr1"), "http://[::1]:9000");
    }

    #[test]
    fn a_text_that_is_no_address_is_refused() {
        for (text, error) in [
            ("", ApiHostError::Url),
            ("fn.example", ApiHostError::Url),
            ("ftp://fn.example", ApiHostError::Url),
            ("https://", ApiHostError::Url),
            ("https://user:password@fn.example", ApiHostError::Url),
            ("https://fn.example/api/v1", ApiHostError::Url),
            ("https://fn.example?a=b", ApiHostError::Url),
            ("https://{name}.example", ApiHostError::Placeholder),
            ("https://{namespace.example", ApiHostError::Placeholder),
        ] {
            assert_eq!(ApiHost::parse(text), Err(error), "{text}");
        }
    }
}
