use super::{
    NamespaceFault,
    canonical::CanonicalPath,
    pattern::{PathMatch, PathPattern},
};

/// The beginning of the paths that name a namespace, as in `/api/v1/namespaces/{namespace}`.
///
/// `{namespace}` stands for the segment that names it, and any other `{name}` for any segment.
#[derive(Debug)]
pub struct NamespacePath(PathPattern);

impl NamespacePath {
    /// A pattern.
    ///
    /// # Panics
    ///
    /// The text does not begin with `/`, does not have `{namespace}` exactly once, or has a segment
    /// that no path can match.
    #[track_caller]
    pub fn new(text: &str) -> Self {
        match text.parse::<PathPattern>() {
            Ok(pattern) if pattern.names_namespace() => Self(pattern.opened()),
            Ok(_) => panic!("a path pattern has {{namespace}} once"),
            Err(error) => panic!("a path pattern {error}"),
        }
    }

    /// Returns the namespace in a path, not yet validated.
    ///
    /// # Errors
    ///
    /// - the path does not match -> [`NamespaceFault::Missing`]
    /// - two programs could read it in two ways: it is not a [`CanonicalPath`], also if it does not match,
    ///   or it differs from the pattern in its case or encoding -> [`NamespaceFault::Ambiguous`]
    pub fn read(&self, path: &str) -> Result<String, NamespaceFault> {
        if !path.starts_with('/') {
            return Err(NamespaceFault::Missing);
        }
        // Nothing behind the guard gets an ambiguous path, whether it matches or not.
        let path = CanonicalPath::parse(path.as_bytes()).ok_or(NamespaceFault::Ambiguous)?;
        match self.0.compare(path) {
            PathMatch::Same(Some(namespace)) => Ok(namespace.into_owned()),
            PathMatch::Ambiguous => Err(NamespaceFault::Ambiguous),
            PathMatch::Same(None) | PathMatch::Other => Err(NamespaceFault::Missing),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(path: &str) -> Result<String, NamespaceFault> {
        NamespacePath::new("/api/{version}/ns/{namespace}").read(path)
    }

    #[test]
    fn the_segment_is_read_and_decoded() {
        for (path, namespace) in [
            ("/api/v1/ns/orders", "orders"),
            ("/api/v1/ns/orders/", "orders"),
            ("/api/v2/ns/orders/actions/a.b/c%20d", "orders"),
            ("/api/v1/ns/alice%40acme.org_dev/x", "alice@acme.org_dev"),
            ("/api/v1/ns/_", "_"),
            ("/api/v1/ns/...", "..."),
            ("/api/v1/ns/orders/caf%C3%A9%22", "orders"),
        ] {
            assert_eq!(read(path).as_deref(), Ok(namespace), "{path}");
        }
    }

    #[test]
    fn a_path_that_does_not_match_names_no_namespace() {
        for path in [
            "",
            "*",
            "/",
            "/api",
            "/api/v1/ns",
            "/api/v1/ns/",
            "/other/v1/ns/orders",
            "/x/api/v1/ns/orders",
        ] {
            assert_eq!(read(path), Err(NamespaceFault::Missing), "{path}");
        }
    }

    #[test]
    fn a_segment_of_the_pattern_is_not_empty_in_the_path() {
        let pattern = NamespacePath::new("/{namespace}/{action}");
        assert_eq!(pattern.read("/orders/x").as_deref(), Ok("orders"));
        assert_eq!(pattern.read("/orders/"), Err(NamespaceFault::Missing));
    }

    #[test]
    fn a_path_that_can_be_read_in_two_ways_is_ambiguous() {
        for path in [
            "//api/v1/ns/orders",
            "/api/v1//ns/orders",
            "/api/v1/ns//orders",
            "/api/v1/ns/orders//x",
            "/api/v1/ns/orders/x//",
            "/api/v1/ns/.",
            "/api/v1/ns/..",
            "/api/v1/ns/other/../orders",
            "/api/v1/ns/orders/./x",
            "/api/v1/ns/orders/x/..",
            "/api/v1/ns/%2e%2e/orders",
            "/api/v1/ns/.%2E/orders",
            "/api/v1/ns/a%2eb",
            "/api/v1/ns/orders%2fx",
            "/api/v1/ns/orders/y%2F..%2F..%2Fother",
            "/api/v1/ns/orders%5c..%5cother",
            "/api/v1/ns/orders\\..\\other",
            "/api/v1/ns/orders;x",
            "/api/v1/ns/orders/..;/other",
            "/api/v1/ns/orders%3bx",
            "/api/v1/ns/%256frders",
            "/api/v1/ns/orders%",
            "/api/v1/ns/orders%4",
            "/api/v1/ns/orders%zz",
            "/api/v1/ns/orders%+1",
            "/api/v1/ns/orders%00",
            "/api/v1/ns/orders%0d%0aX-Keyfob-Owner:%20evil",
            "/api/v1/ns/orders%7f",
            "/api/v1/ns/orders%c0%af..%c0%afother",
            "/api/v1/ns/orders\tother",
            "/api/v1/ns/orders other",
            "/api/v1/ns/orders\u{0}",
            "/api/v1/ns/caf\u{e9}",
            "/api/v1/ns/orders%3fx",
            "/api/v1/ns/orders%23x",
            "/API/v1/ns/orders",
            "/api/v1/Ns/orders",
            "/api/v1/n%73/orders",
            "/api/v1/ns/o%72ders",
            "/api/v1/ns/%5F",
            "/api/v1/ns/a+b",
            // Also where the path does not match.
            "/x/../api/v1/ns/orders",
        ] {
            assert_eq!(read(path), Err(NamespaceFault::Ambiguous), "{path}");
        }
    }

    #[test]
    fn a_pattern_that_matches_nothing_is_refused() {
        for pattern in [
            "",
            "api/{namespace}",
            "/api",
            "/{namespace}/{namespace}",
            "/a//{namespace}",
            "/{namespace}/",
            "/../{namespace}",
            "/a%62/{namespace}",
            "/{}/{namespace}",
            "/{*rest}/{namespace}",
            "/x{namespace}",
            "/{namespace}?x",
        ] {
            let made = std::panic::catch_unwind(|| NamespacePath::new(pattern));
            assert!(made.is_err(), "{pattern}");
        }
    }
}
