//! Which namespace a request is for, and what its key must have.

mod host;
mod rule;

use std::borrow::Cow;

use keyfob::name::{NamespaceId, Scope};

use crate::target::{RequestTarget, host_and_port};
pub use host::{HostPattern, HostPatternError};
use rule::Comparison;
pub use rule::{Rule, RuleError};

/// The operator's rules: the first that matches a request says which namespace it is for.
///
/// A request that matches none is refused with 403, so what is not listed is not served.
///
/// # Examples
///
/// ```
/// use keyfob::name::Scope;
/// use keyfob_gateway::{Place, Rule, Rules};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let rules = Rules::new(vec![
///     Rule::of_path("/api/v1/namespaces/{namespace}/triggers/*".parse()?)
///         .with_methods(["POST"])
///         .requiring([Scope::new("function:invoke")?]),
///     Rule::of_path("/api/v1/namespaces/{namespace}/*".parse()?),
///     Rule::of_path("/api/v1/namespaces".parse()?).with_place(Place::Credential),
///     Rule::of_host("{namespace}.fn.example".parse()?),
/// ])?;
/// # let _ = rules;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Rules {
    rules: Vec<Rule>,
    reads_host: bool,
}

/// Where the namespace of a request stands.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Place {
    /// In the place of `{namespace}` in the path or the host. `_` in the path is the namespace of the
    /// credential.
    Request,
    /// It is this one.
    Fixed(NamespaceId),
    /// It is the credential's own: the backend acts in the namespace that the answer names, and in
    /// no other.
    Credential,
}

/// What the rules say of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reading {
    /// It is for this namespace, whose name is not validated.
    Namespace(String),
    /// It is for the credential's own.
    Credential,
    /// No rule is about it: 403.
    NoRule,
    /// It can be read in more than one way: 400.
    Ambiguous,
}

/// What a rule says of a request.
#[derive(Debug)]
pub(crate) enum Ruling<'r, 'q> {
    /// The request is for this namespace; none for the credential's own.
    Namespace(Option<Cow<'q, str>>, &'r [Scope]),
    Fixed(&'r NamespaceId, &'r [Scope]),
    NoRule,
    Ambiguous,
}

impl Rules {
    /// Checks rules.
    ///
    /// # Errors
    ///
    /// [`RuleError`] names the rule, counted from one.
    pub fn new(rules: Vec<Rule>) -> Result<Self, RuleError> {
        for (before, rule) in rules.iter().enumerate() {
            let number = before.saturating_add(1);
            rule.check().map_err(|fault| RuleError { number, fault })?;
        }
        let reads_host = rules.iter().any(|rule| rule.host.is_some());
        Ok(Self { rules, reads_host })
    }

    /// Those of Apache `OpenWhisk`: `/api/v1/namespaces/{namespace}` and everything below, and
    /// `/api/v1/namespaces`, which lists the credential's own.
    pub fn openwhisk() -> Self {
        let path = |text: &str| match text.parse() {
            Ok(pattern) => Rule::of_path(pattern),
            Err(_) => unreachable!("a constant pattern that the tests parse"),
        };
        Self {
            rules: vec![
                path("/api/v1/namespaces/{namespace}/*"),
                path("/api/v1/namespaces").with_place(Place::Credential),
            ],
            reads_host: false,
        }
    }

    /// What the rules say of a request: for an operator who asks why, and for tests.
    ///
    /// # Examples
    ///
    /// ```
    /// use keyfob_gateway::{Reading, Rules};
    ///
    /// let read = |target: &str| Rules::openwhisk().read(target.as_bytes(), Some(b"GET"), None);
    /// let orders = Reading::Namespace("orders".to_owned());
    /// assert_eq!(read("/api/v1/namespaces/orders/actions?limit=1"), orders);
    /// assert_eq!(read("/api/v1/namespaces/other/..%2forders"), Reading::Ambiguous);
    /// ```
    pub fn read(&self, target: &[u8], method: Option<&[u8]>, host: Option<&[u8]>) -> Reading {
        let Some(target) = RequestTarget::parse(target) else {
            return Reading::Ambiguous;
        };
        match self.rule(&target, method, host) {
            Ruling::Namespace(Some(name), _) => Reading::Namespace(name.into_owned()),
            Ruling::Namespace(None, _) => Reading::Credential,
            Ruling::Fixed(name, _) => Reading::Namespace(name.to_string()),
            Ruling::NoRule => Reading::NoRule,
            Ruling::Ambiguous => Reading::Ambiguous,
        }
    }

    /// The ruling on a request.
    pub(crate) fn rule<'r, 'q>(
        &'r self,
        target: &RequestTarget<'q>,
        method: Option<&[u8]>,
        host: Option<&'q [u8]>,
    ) -> Ruling<'r, 'q> {
        let host = if self.reads_host {
            match one_host(target.authority, host) {
                Some(host) => host,
                None => return Ruling::Ambiguous,
            }
        } else {
            ""
        };
        for rule in &self.rules {
            match rule.compare(target, method, host) {
                Comparison::Other => {}
                Comparison::Ambiguous => return Ruling::Ambiguous,
                Comparison::Same(namespace) => return rule.ruling(namespace),
            }
        }
        Ruling::NoRule
    }
}

impl Default for Rules {
    fn default() -> Self {
        Self::openwhisk()
    }
}

/// The host that a request is for. A program on the way may look at the target or at the field.
fn one_host<'q>(authority: Option<&'q str>, field: Option<&'q [u8]>) -> Option<&'q str> {
    let field = field.map(host_and_port);
    match (authority, field) {
        (Some(host), None) => Some(host),
        (None, Some(host)) => host,
        (Some(target), Some(field)) => field.filter(|field| host::are_same(target, field)),
        (None, None) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> Rule {
        Rule::of_path(text.parse().unwrap())
    }

    fn scope(text: &str) -> Scope {
        Scope::new(text).unwrap()
    }

    fn ruled(rules: &Rules, method: &str, host: Option<&str>, target: &str) -> String {
        let target = RequestTarget::parse(target.as_bytes()).unwrap();
        let host = host.map(str::as_bytes);
        match rules.rule(&target, Some(method.as_bytes()), host) {
            Ruling::Namespace(namespace, scopes) => {
                let namespace = namespace.as_deref().unwrap_or("_");
                format!("{namespace} {scopes:?}")
            }
            Ruling::Fixed(namespace, scopes) => format!("={namespace} {scopes:?}"),
            Ruling::NoRule => "none".to_owned(),
            Ruling::Ambiguous => "ambiguous".to_owned(),
        }
    }

    #[test]
    fn the_first_rule_that_matches_decides() {
        let rules = Rules::new(vec![
            path("/ns/{namespace}/admin/*").requiring([scope("admin")]),
            path("/ns/{namespace}/*")
                .with_methods(["GET"])
                .requiring([scope("read")]),
            path("/ns/{namespace}/*").requiring([scope("write")]),
            path("/ns").with_place(Place::Credential),
            path("/status").with_place(Place::Fixed(NamespaceId::new("ops").unwrap())),
        ])
        .unwrap();
        for (method, target, expected) in [
            ("GET", "/ns/orders/admin/x", r#"orders ["admin"]"#),
            ("GET", "/ns/orders/x", r#"orders ["read"]"#),
            ("HEAD", "/ns/orders/x", r#"orders ["read"]"#),
            ("POST", "/ns/orders", r#"orders ["write"]"#),
            ("POST", "/ns/_/x", r#"_ ["write"]"#),
            ("GET", "/ns", "_ []"),
            ("GET", "/ns/", "_ []"),
            ("GET", "/status?x=/ns/orders", "=ops []"),
            ("GET", "/other", "none"),
            ("get", "/ns/orders/x", "ambiguous"),
            ("GET", "/ns/orders/Admin/x", "ambiguous"),
            ("GET", "/NS/orders", "ambiguous"),
        ] {
            let ruling = ruled(&rules, method, None, target);
            assert_eq!(ruling, expected, "{method} {target}");
        }
        let target = RequestTarget::parse(b"/ns/orders/x").unwrap();
        // Without a method, a rule about methods may be the one.
        assert!(matches!(rules.rule(&target, None, None), Ruling::Ambiguous));
    }

    #[test]
    fn a_host_names_the_namespace_if_a_rule_says_so() {
        let rules = Rules::new(vec![
            Rule::of_host("{namespace}.fn.test".parse().unwrap()),
            path("/ns/{namespace}/*").with_host("gw.test".parse().unwrap()),
        ])
        .unwrap();
        for (host, target, expected) in [
            (Some("orders.fn.test"), "/ns/other", "orders []"),
            (Some("gw.test:80"), "/ns/other", "other []"),
            (Some("x.test"), "/ns/other", "none"),
            (None, "http://orders.fn.test/x", "orders []"),
            (
                Some("orders.fn.test:80"),
                "http://orders.fn.test/x",
                "orders []",
            ),
            (
                Some("ORDERS.fn.test:80"),
                "http://orders.fn.test/x",
                "ambiguous",
            ),
            (Some("Orders.fn.test"), "/x", "ambiguous"),
            (
                Some("other.fn.test"),
                "http://orders.fn.test/x",
                "ambiguous",
            ),
            (Some("_.fn.test"), "/x", "ambiguous"),
            (Some("a@orders.fn.test"), "/x", "ambiguous"),
            (Some(""), "/x", "ambiguous"),
            (None, "/x", "ambiguous"),
        ] {
            let ruling = ruled(&rules, "GET", host, target);
            assert_eq!(ruling, expected, "{host:?} {target}");
        }
    }

    #[test]
    fn the_authority_of_a_target_names_no_namespace_without_a_rule_about_hosts() {
        let rules = Rules::openwhisk();
        let ruling = ruled(
            &rules,
            "GET",
            Some("a.test"),
            "http://b.test/api/v1/namespaces/orders",
        );
        assert_eq!(ruling, "orders []");
    }

    #[test]
    fn a_rule_that_says_of_no_namespace_or_of_two_is_refused() {
        let fixed = Place::Fixed(NamespaceId::new("ops").unwrap());
        let host = || "{namespace}.fn.test".parse().unwrap();
        for (rule, message) in [
            (path("/x/*"), "rule 2 says of no namespace"),
            (
                path("/{namespace}").with_host(host()),
                "rule 2 says of two namespaces",
            ),
            (
                path("/{namespace}").with_place(Place::Credential),
                "rule 2 says of two namespaces",
            ),
            (
                path("/x").with_host(host()).with_place(fixed),
                "rule 2 says of two namespaces",
            ),
            (
                path("/{namespace}").with_methods(["get"]),
                "rule 2 has a method",
            ),
        ] {
            let error = Rules::new(vec![path("/{namespace}"), rule]).unwrap_err();
            assert!(error.to_string().starts_with(message), "{error}");
        }
    }
}
