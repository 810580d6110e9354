use std::borrow::Cow;

use keyfob::name::Scope;
use keyfob_tower::{PathMatch, PathPattern};

use super::{
    Place, Ruling,
    host::{HostMatch, HostPattern},
};
use crate::target::RequestTarget;

/// One rule: the requests that it is about, the place of their namespace, and the scopes that their key must
/// have.
#[derive(Clone, Debug)]
#[must_use]
pub struct Rule {
    pub(super) path: Option<PathPattern>,
    pub(super) host: Option<HostPattern>,
    pub(super) methods: Vec<String>,
    pub(super) place: Place,
    pub(super) scopes: Vec<Scope>,
}

pub(super) enum Comparison<'q> {
    Other,
    Ambiguous,
    Same(Option<Cow<'q, str>>),
}

impl Rule {
    /// A rule for requests with such paths.
    pub fn of_path(pattern: PathPattern) -> Self {
        Self {
            path: Some(pattern),
            host: None,
            methods: Vec::new(),
            place: Place::Request,
            scopes: Vec::new(),
        }
    }

    /// A rule for requests for such hosts, with any path.
    pub fn of_host(pattern: HostPattern) -> Self {
        Self {
            path: None,
            host: Some(pattern),
            methods: Vec::new(),
            place: Place::Request,
            scopes: Vec::new(),
        }
    }

    /// Only for requests for such hosts.
    pub fn with_host(self, pattern: HostPattern) -> Self {
        Self {
            host: Some(pattern),
            ..self
        }
    }

    /// Only for requests with one of these methods. GET includes HEAD.
    pub fn with_methods<M: Into<String>>(self, methods: impl IntoIterator<Item = M>) -> Self {
        Self {
            methods: methods.into_iter().map(Into::into).collect(),
            ..self
        }
    }

    /// The namespace stands here.
    pub fn with_place(self, place: Place) -> Self {
        Self { place, ..self }
    }

    /// The key must have all of these scopes.
    pub fn requiring(self, scopes: impl IntoIterator<Item = Scope>) -> Self {
        Self {
            scopes: scopes.into_iter().collect(),
            ..self
        }
    }

    pub(super) fn check(&self) -> Result<(), RuleFault> {
        let in_path = self.path.as_ref().is_some_and(PathPattern::names_namespace);
        let in_host = self.host.as_ref().is_some_and(HostPattern::names_namespace);
        match (&self.place, in_path, in_host) {
            (Place::Request, false, false) => return Err(RuleFault::NoPlace),
            (Place::Request, true, true)
            | (Place::Fixed(_) | Place::Credential, true, _)
            | (Place::Fixed(_) | Place::Credential, _, true) => return Err(RuleFault::TwoPlaces),
            _ => {}
        }
        let is_method = |method: &String| {
            let mut bytes = method.bytes();
            !method.is_empty() && bytes.all(|byte| byte.is_ascii_uppercase() || byte == b'-')
        };
        if self.methods.iter().all(is_method) {
            Ok(())
        } else {
            Err(RuleFault::Method)
        }
    }

    pub(super) fn compare<'q>(
        &self,
        target: &RequestTarget<'q>,
        method: Option<&[u8]>,
        host: &str,
    ) -> Comparison<'q> {
        let mut is_exact = true;
        let mut namespace = None;
        if let Some(pattern) = &self.host {
            match pattern.compare(host) {
                HostMatch::Other => return Comparison::Other,
                HostMatch::Ambiguous => is_exact = false,
                HostMatch::Same(named) => namespace = named.map(Cow::Owned),
            }
        }
        if let Some(pattern) = &self.path {
            match pattern.compare(target.path) {
                PathMatch::Other => return Comparison::Other,
                PathMatch::Ambiguous => is_exact = false,
                PathMatch::Same(named) => namespace = namespace.or(named),
            }
        }
        match self.has_method(method) {
            Some(false) => return Comparison::Other,
            Some(true) => {}
            None => is_exact = false,
        }
        if is_exact {
            Comparison::Same(namespace)
        } else {
            Comparison::Ambiguous
        }
    }

    /// Whether the rule is about a method; none if some program may say so and another not.
    fn has_method(&self, method: Option<&[u8]>) -> Option<bool> {
        if self.methods.is_empty() {
            return Some(true);
        }
        let method = method?;
        let is = |listed: &str| listed.as_bytes() == method;
        if self
            .methods
            .iter()
            .any(|listed| is(listed) || (listed == "GET" && method == b"HEAD"))
        {
            return Some(true);
        }
        let alike = |listed: &String| listed.as_bytes().eq_ignore_ascii_case(method);
        if self.methods.iter().any(alike) {
            None
        } else {
            Some(false)
        }
    }

    pub(super) fn ruling<'r, 'q>(&'r self, namespace: Option<Cow<'q, str>>) -> Ruling<'r, 'q> {
        match (&self.place, namespace) {
            (Place::Fixed(namespace), _) => Ruling::Fixed(namespace, &self.scopes),
            (Place::Credential, _) => Ruling::Namespace(None, &self.scopes),
            (Place::Request, Some(namespace)) => {
                let namespace = (namespace != "_").then_some(namespace);
                Ruling::Namespace(namespace, &self.scopes)
            }
            (Place::Request, None) => Ruling::Ambiguous,
        }
    }
}

/// A rule cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("rule {number} {fault}")]
pub struct RuleError {
    pub(super) number: usize,
    pub(super) fault: RuleFault,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum RuleFault {
    #[error("says of no namespace: write {{namespace}} in its path or host, or name one")]
    NoPlace,
    #[error("says of two namespaces: {{namespace}} stands once, and excludes a name")]
    TwoPlaces,
    #[error("has a method that is not in capital letters")]
    Method,
}
