//! What answers say of a namespace besides its keys.

use std::{future::Future, pin::Pin};

use keyfob::Tenant;

use crate::refusal::{Chain, Refusal};

/// Knows what the published interface says of a namespace and the key store does not: its label, its
/// region and the address of its gateway.
///
/// [`OneRegion`] is for services with one region and one gateway; a program with a database of
/// namespaces implements the trait over it.
pub trait Directory: Send + Sync {
    /// Facts about these namespaces, one for each, in the same order. It is called once per list.
    ///
    /// - a namespace that it does not know -> facts that fit any namespace
    /// - it is not available -> [`DirectoryError::Unavailable`]
    fn describe<'a>(&'a self, namespaces: &'a [Tenant])
    -> DirectoryAnswer<'a, Vec<NamespaceFacts>>;

    /// Registers a namespace that is about to be created, with the label and the region that the
    /// caller asked for. If the creation fails afterwards, the namespace is never mentioned again.
    ///
    /// - there is no such region -> [`DirectoryError::Region`]
    /// - the label is not allowed -> [`DirectoryError::Label`]
    /// - it is not available -> [`DirectoryError::Unavailable`]
    fn admit<'a>(
        &'a self,
        namespace: &'a Tenant,
        label: &'a str,
        region: &'a str,
    ) -> DirectoryAnswer<'a, NamespaceFacts>;
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
    #[error("region: there is no such region")]
    Region,
    /// The label is not allowed.
    #[error("label: not allowed")]
    Label,
    /// It is not available.
    #[error("the directory of namespaces failed")]
    Unavailable(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// The directory of a service with one region and one gateway. It stores nothing: the label of a
/// namespace is its name.
#[derive(Clone, Debug)]
pub struct OneRegion {
    region: String,
    api_host: String,
}

impl OneRegion {
    /// A directory with this region and this gateway.
    pub fn new(region: impl Into<String>, api_host: impl Into<String>) -> Self {
        Self {
            region: region.into(),
            api_host: api_host.into(),
        }
    }

    fn facts(&self, namespace: &Tenant) -> NamespaceFacts {
        NamespaceFacts {
            label: namespace.namespace.as_str().to_owned(),
            region: self.region.clone(),
            api_host: self.api_host.clone(),
        }
    }
}

/// Region `local`, gateway `http://127.0.0.1:8080`.
impl Default for OneRegion {
    fn default() -> Self {
        Self::new("local", "http://127.0.0.1:8080")
    }
}

impl Directory for OneRegion {
    fn describe<'a>(
        &'a self,
        namespaces: &'a [Tenant],
    ) -> DirectoryAnswer<'a, Vec<NamespaceFacts>> {
        let facts = namespaces.iter().map(|namespace| self.facts(namespace));
        Box::pin(std::future::ready(Ok(facts.collect())))
    }

    fn admit<'a>(
        &'a self,
        namespace: &'a Tenant,
        _label: &'a str,
        region: &'a str,
    ) -> DirectoryAnswer<'a, NamespaceFacts> {
        let answer = if region == self.region {
            Ok(self.facts(namespace))
        } else {
            Err(DirectoryError::Region)
        };
        Box::pin(std::future::ready(answer))
    }
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
