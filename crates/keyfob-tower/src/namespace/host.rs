use http::{HeaderMap, Uri, header::HOST, uri::Authority};

use super::NamespaceFault;

/// The domain whose subdomains are namespaces, in lower case.
#[derive(Debug)]
pub(crate) struct Domain(String);

impl Domain {
    #[track_caller]
    pub(super) fn new(text: &str) -> Self {
        assert!(
            text.split('.')
                .all(|label| is_label(label) && is_lower(label)),
            "a domain is made of labels of lower-case letters, digits and hyphens"
        );
        Self(text.to_owned())
    }

    /// The namespace that a request's host names, not yet validated.
    pub(super) fn read(&self, uri: &Uri, headers: &HeaderMap) -> Result<String, NamespaceFault> {
        let host = host(uri, headers)?;
        let (label, domain) = host.split_once('.').ok_or(NamespaceFault::Missing)?;
        if !domain.eq_ignore_ascii_case(&self.0) {
            return Err(NamespaceFault::Missing);
        }
        // Host names have no case, but namespaces have: a backend may take the label as it stands.
        if is_label(label) && is_lower(label) {
            Ok(label.to_owned())
        } else {
            Err(NamespaceFault::Ambiguous)
        }
    }
}

/// The host that a request is for, without its port. If the target and a `Host` field name one, it must
/// be the same, in the same case: a program on the way may look at either.
fn host(uri: &Uri, headers: &HeaderMap) -> Result<String, NamespaceFault> {
    let target = uri.authority().map(host_of).transpose()?;
    let mut fields = headers.get_all(HOST).iter().map(|field| {
        let authority = Authority::try_from(field.as_bytes());
        host_of(&authority.map_err(|_| NamespaceFault::Ambiguous)?)
    });
    match (target, fields.next().transpose()?, fields.next()) {
        (Some(host), None, None) | (None, Some(host), None) => Ok(host),
        (Some(target), Some(host), None) if target == host => Ok(host),
        _ => Err(NamespaceFault::Ambiguous),
    }
}

fn host_of(authority: &Authority) -> Result<String, NamespaceFault> {
    if authority.as_str().contains('@') {
        return Err(NamespaceFault::Ambiguous);
    }
    Ok(authority.host().to_owned())
}

fn is_label(text: &str) -> bool {
    !text.is_empty()
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}

fn is_lower(text: &str) -> bool {
    !text.bytes().any(|byte| byte.is_ascii_uppercase())
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn read(uri: &'static str, hosts: &[&'static str]) -> Result<String, NamespaceFault> {
        let mut headers = HeaderMap::new();
        for host in hosts {
            headers.append(HOST, HeaderValue::from_static(host));
        }
        Domain::new("fn.example").read(&Uri::from_static(uri), &headers)
    }

    #[test]
    fn the_first_label_is_the_namespace() {
        for (uri, hosts) in [
            ("/", &["orders.fn.example"][..]),
            ("/", &["orders.FN.example:8443"]),
            ("http://orders.fn.example/", &[]),
            ("http://orders.fn.example:80/", &["orders.fn.example"]),
        ] {
            assert_eq!(read(uri, hosts).as_deref(), Ok("orders"), "{uri} {hosts:?}");
        }
    }

    #[test]
    fn another_host_names_no_namespace() {
        for host in [
            "fn.example",
            "ordersfn.example",
            ".fn.example.evil.test",
            "orders.fn.example.",
            "a.b.fn.example",
            "orders.fn.example.evil.test",
            "[::1]:80",
            "127.0.0.1",
        ] {
            let result = read("/", &[host]);
            assert_eq!(result, Err(NamespaceFault::Missing), "{host}");
        }
    }

    #[test]
    fn two_hosts_or_none_or_a_label_with_capitals_are_ambiguous() {
        for (uri, hosts) in [
            ("/", &[][..]),
            ("/", &["orders.fn.example", "orders.fn.example"]),
            ("/", &["orders.fn.example", "other.fn.example"]),
            ("http://other.fn.example/", &["orders.fn.example"]),
            (
                "http://orders.fn.example/",
                &["orders.fn.example", "orders.fn.example"],
            ),
            ("/", &["orders.fn.example@other.fn.example"]),
            ("/", &["orders.fn.example, other.fn.example"]),
            ("/", &["orders.fn.example/x"]),
            ("/", &[""]),
            ("/", &[".fn.example"]),
            ("/", &["_.fn.example"]),
            ("/", &["Orders.fn.example"]),
            ("http://orders.fn.example/", &["ORDERS.fn.example"]),
            ("/", &["o%72ders.fn.example"]),
        ] {
            let result = read(uri, hosts);
            assert_eq!(result, Err(NamespaceFault::Ambiguous), "{uri} {hosts:?}");
        }
    }

    #[test]
    fn a_domain_is_made_of_labels() {
        for domain in [
            "",
            ".fn.example",
            "fn..example",
            "Fn.example",
            "fn.example:80",
            "*.x",
        ] {
            let made = std::panic::catch_unwind(|| Domain::new(domain));
            assert!(made.is_err(), "{domain}");
        }
    }
}
