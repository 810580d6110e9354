use std::str::FromStr;

/// Hosts that look alike: one host, as in `api.example`, or the subdomains of a domain, as in
/// `{namespace}.fn.example`, whose first label names the namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostPattern {
    /// In lower case.
    domain: String,
    names_namespace: bool,
}

/// How a host compares to a [`HostPattern`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum HostMatch {
    Other,
    Ambiguous,
    /// With the namespace that it names.
    Same(Option<String>),
}

impl HostPattern {
    /// Whether the pattern has `{namespace}`.
    pub fn names_namespace(&self) -> bool {
        self.names_namespace
    }

    /// Compares a host with or without a port. Host names have no case, but namespaces have: a label
    /// with capital letters is ambiguous, since a backend may take it as it stands.
    pub(crate) fn compare(&self, host: &str) -> HostMatch {
        let host = without_port(host);
        // A name with a dot at its end is the same name, for those that look it up.
        let (host, is_exact) = match host.strip_suffix('.') {
            Some(host) => (host, false),
            None => (host, true),
        };
        let is_domain = |text: &str| text.eq_ignore_ascii_case(&self.domain);
        let namespace = if self.names_namespace {
            match host.split_once('.') {
                Some((label, rest)) if is_domain(rest) => Some(label),
                _ => return HostMatch::Other,
            }
        } else if is_domain(host) {
            None
        } else {
            return HostMatch::Other;
        };
        if is_exact && namespace.is_none_or(|label| is_label(label) && is_lower(label)) {
            HostMatch::Same(namespace.map(str::to_owned))
        } else {
            HostMatch::Ambiguous
        }
    }
}

impl FromStr for HostPattern {
    type Err = HostPatternError;

    fn from_str(text: &str) -> Result<Self, HostPatternError> {
        let (domain, names_namespace) = match text.strip_prefix("{namespace}.") {
            Some(domain) => (domain, true),
            None => (text, false),
        };
        if domain
            .split('.')
            .all(|label| is_label(label) && is_lower(label))
        {
            Ok(Self {
                domain: domain.to_owned(),
                names_namespace,
            })
        } else {
            Err(HostPatternError)
        }
    }
}

/// A text is not a [`HostPattern`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be a host name in lower case, or {{namespace}}. and a domain, without a port")]
pub struct HostPatternError;

/// Whether two hosts, with or without a port, are the same, in the same case.
pub(crate) fn are_same(one: &str, other: &str) -> bool {
    without_port(one) == without_port(other)
}

fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        // The colons of an IPv6 address are within brackets.
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    }
}

fn is_label(text: &str) -> bool {
    let is_valid = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    !text.is_empty() && text.bytes().all(is_valid)
}

fn is_lower(text: &str) -> bool {
    !text.bytes().any(|byte| byte.is_ascii_uppercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn compare(pattern: &str, host: &str) -> HostMatch {
        pattern.parse::<HostPattern>().unwrap().compare(host)
    }

    #[test]
    fn the_first_label_names_the_namespace() {
        let same = HostMatch::Same(Some("orders".to_owned()));
        for host in ["orders.fn.example", "orders.FN.example:8443"] {
            assert_eq!(compare("{namespace}.fn.example", host), same, "{host}");
        }
        for host in [
            "fn.example",
            "a.b.fn.example",
            "ordersfn.example",
            "[::1]:80",
            "x.test",
        ] {
            let other = compare("{namespace}.fn.example", host);
            assert_eq!(other, HostMatch::Other, "{host}");
        }
        for host in [
            "orders.fn.example.",
            "_.fn.example",
            ".fn.example",
            "Orders.fn.example",
        ] {
            let ambiguous = compare("{namespace}.fn.example", host);
            assert_eq!(ambiguous, HostMatch::Ambiguous, "{host}");
        }
    }

    #[test]
    fn one_host_names_no_namespace() {
        assert_eq!(compare("gw.test", "GW.test:80"), HostMatch::Same(None));
        assert_eq!(compare("gw.test", "a.gw.test"), HostMatch::Other);
        assert_eq!(compare("gw.test", "gw.test."), HostMatch::Ambiguous);
    }

    #[test]
    fn a_text_that_is_no_host_is_refused() {
        for text in [
            "",
            ".x",
            "Gw.test",
            "gw.test:80",
            "*.x",
            "{namespace}.",
            "{x}.y",
            "a/b",
        ] {
            assert_eq!(text.parse::<HostPattern>(), Err(HostPatternError), "{text}");
        }
    }
}
