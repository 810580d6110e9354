//! The namespace that a request asks for.

use std::{fmt, sync::Arc};

use http::request::Parts;
use keyfob::name::{NameError, NamespaceId};

use self::host::Domain;

mod canonical;
mod host;
mod path;
mod pattern;

pub use self::{
    canonical::CanonicalPath,
    path::NamespacePath,
    pattern::{PathMatch, PathPattern, PatternError},
};

/// Where the namespace of a request stands.
#[derive(Clone)]
pub(crate) enum Source {
    Fixed(NamespaceId),
    /// The credential's own.
    Credential,
    Path(Arc<NamespacePath>),
    Host(Arc<Domain>),
    Function(Arc<Read>),
}

pub(crate) type Read = dyn Fn(&Parts) -> Option<String> + Send + Sync;

impl Source {
    #[track_caller]
    pub(crate) fn path(pattern: &str) -> Self {
        Self::Path(Arc::new(NamespacePath::new(pattern)))
    }

    #[track_caller]
    pub(crate) fn host(domain: &str) -> Self {
        Self::Host(Arc::new(Domain::new(domain)))
    }

    /// The namespace that a request asks for; `None` is the credential's own.
    pub(crate) fn read(
        &self,
        parts: &Parts,
        accepts_underscore: bool,
    ) -> Result<Option<NamespaceId>, NamespaceFault> {
        let name = match self {
            Self::Fixed(namespace) => return Ok(Some(namespace.clone())),
            Self::Credential => return Ok(None),
            Self::Path(pattern) => pattern.read(parts.uri.path())?,
            Self::Host(domain) => domain.read(&parts.uri, &parts.headers)?,
            Self::Function(read) => read(parts).ok_or(NamespaceFault::Missing)?,
        };
        if accepts_underscore && name == "_" {
            return Ok(None);
        }
        Ok(Some(NamespaceId::new(&name)?))
    }
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fixed(namespace) => f.debug_tuple("Fixed").field(namespace).finish(),
            Self::Credential => f.write_str("Credential"),
            Self::Path(pattern) => f.debug_tuple("Path").field(pattern).finish(),
            Self::Host(domain) => f.debug_tuple("Host").field(domain).finish(),
            Self::Function(_) => f.write_str("Function"),
        }
    }
}

/// A request does not say which namespace it is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NamespaceFault {
    /// The path or the host is not one that names a namespace, or the embedder's function found
    /// none.
    #[error("the request names no namespace")]
    Missing,
    /// The path or the host can be read in two ways.
    #[error("the request's path or host is ambiguous")]
    Ambiguous,
    /// What stands in the namespace's place is not a namespace's name.
    #[error(transparent)]
    Invalid(#[from] NameError),
}
