//! What is known of a namespace beyond its keys.

use std::{future::Future, pin::Pin};

use keyfob::Tenant;

use crate::refusal::{Chain, Refusal};

/// Knows what the published interface tells of a namespace and a key store does not: how it is
/// called, where it runs, and under which address.
///
/// [`OneRegion`] is for services that have one of each; a program with a database of its own
/// namespaces plugs it in here.
pub trait Directory: Send + Sync {
    /// Facts about these namespaces, one for each, in the same order. It is asked once for a list.
    ///
    /// - a namespace that it does not know -> facts that fit any
    /// - it cannot be asked now -> [`DirectoryError::Unavailable`]
    fn describe<'a>(&'a self, namespaces: &'a [Tenant])
    -> DirectoryAnswer<'a, Vec<NamespaceFacts>>;

    /// Takes in a namespace that is about to be made, with the label and the region that its maker
    /// asks for. It may be asked again for one whose making failed.
    ///
    /// - there is no such region -> [`DirectoryError::Region`]
    /// - it does not take the label -> [`DirectoryError::Label`]
    /// - it cannot be asked now -> [`DirectoryError::Unavailable`]
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

/// What the published interface tells of a namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamespaceFacts {
    /// What people call it.
    pub label: String,
    /// Where it runs.
    pub region: String,
    /// The address of its gateway: what clients send function calls to.
    pub api_host: String,
}

/// A directory did not answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DirectoryError {
    /// There is no such region.
    #[error("region: there is no such region")]
    Region,
    /// It does not take this label.
    #[error("label: not one that a namespace can have")]
    Label,
    /// It cannot be asked now.
    #[error("the directory of namespaces failed")]
    Unavailable(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// The directory of a service with one region and one gateway. It keeps nothing: the label of a
/// namespace is its name.
#[derive(Clone, Debug)]
pub struct OneRegion {
    region: String,
    api_host: String,
}

impl OneRegion {
    /// All namespaces are in this region, behind this gateway.
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
