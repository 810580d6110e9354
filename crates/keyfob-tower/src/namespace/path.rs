use super::NamespaceFault;

/// The beginning of the paths that name a namespace, as in `/api/v1/namespaces/{namespace}`.
///
/// `{namespace}` stands for the segment that names it, and any other `{name}` for any segment.
#[derive(Debug)]
pub struct NamespacePath(Vec<Segment>);

#[derive(Debug, PartialEq)]
enum Segment {
    Literal(String),
    /// One segment, free but not empty.
    Any,
    Namespace,
}

impl NamespacePath {
    /// A pattern.
    ///
    /// # Panics
    ///
    /// The text does not begin with `/`, does not have `{namespace}` exactly once, or has a segment
    /// that no path can match.
    #[track_caller]
    pub fn new(text: &str) -> Self {
        let rest = text
            .strip_prefix('/')
            .expect("a path pattern begins with /");
        let segments: Vec<Segment> = rest.split('/').map(Segment::new).collect();
        let namespaces = segments.iter().filter(|one| **one == Segment::Namespace);
        assert_eq!(
            namespaces.count(),
            1,
            "a path pattern has {{namespace}} once"
        );
        Self(segments)
    }

    /// Returns the namespace in a path, not yet validated.
    ///
    /// # Errors
    ///
    /// - the path does not match -> [`NamespaceFault::Missing`]
    /// - two programs could read it in two ways: it has empty or dot segments, `;`, a backslash,
    ///   encoded separators or controls, or is not UTF-8 -> [`NamespaceFault::Ambiguous`]
    pub fn read(&self, path: &str) -> Result<String, NamespaceFault> {
        let Some(rest) = path.strip_prefix('/') else {
            return Err(NamespaceFault::Missing);
        };
        let mut namespace = Err(NamespaceFault::Missing);
        let mut pattern = self.0.iter();
        let mut segments = rest.split('/').peekable();
        let mut matches = true;
        // The path is read to its end, whether it matches or not: nothing behind the guard gets
        // an ambiguous one.
        while let Some(segment) = segments.next() {
            let text = decode(segment)?;
            let is_last = segments.peek().is_none();
            if text.is_empty() && !is_last {
                return Err(NamespaceFault::Ambiguous);
            }
            match pattern.next() {
                Some(Segment::Literal(literal)) => matches &= segment == literal,
                Some(Segment::Any) => matches &= !segment.is_empty(),
                Some(Segment::Namespace) if text.is_empty() => matches = false,
                // A program that decodes it twice takes it for the beginning of a query or fragment.
                Some(Segment::Namespace) if text.contains(['?', '#']) => {
                    return Err(NamespaceFault::Ambiguous);
                }
                Some(Segment::Namespace) => namespace = Ok(text),
                None => {}
            }
        }
        if matches && pattern.next().is_none() {
            namespace
        } else {
            Err(NamespaceFault::Missing)
        }
    }
}

impl Segment {
    #[track_caller]
    fn new(text: &str) -> Self {
        match text
            .strip_prefix('{')
            .and_then(|text| text.strip_suffix('}'))
        {
            Some("namespace") => Self::Namespace,
            Some(name) => {
                assert!(
                    !name.is_empty()
                        && name
                            .bytes()
                            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_'),
                    "a path pattern has segments such as {{name}}"
                );
                Self::Any
            }
            None => {
                assert!(
                    !text.is_empty()
                        && !text.contains(['{', '}', '?', '#', '%'])
                        && decode(text).is_ok(),
                    "a path pattern has a segment that no path can match"
                );
                Self::Literal(text.to_owned())
            }
        }
    }
}

/// Decodes a segment, if every program on the way takes it for one segment, and for the same.
fn decode(segment: &str) -> Result<String, NamespaceFault> {
    let mut decoded = Vec::with_capacity(segment.len());
    let mut bytes = segment.bytes();
    while let Some(byte) = bytes.next() {
        match byte {
            b'%' => match (hex(bytes.next()), hex(bytes.next())) {
                (Some(high), Some(low)) => match high << 4 | low {
                    b'.' | b'/' | b'\\' | b'%' | b';' | 0..=0x1f | 0x7f => {
                        return Err(NamespaceFault::Ambiguous);
                    }
                    byte => decoded.push(byte),
                },
                _ => return Err(NamespaceFault::Ambiguous),
            },
            b';' | b'\\' => return Err(NamespaceFault::Ambiguous),
            b'!'..=b'~' => decoded.push(byte),
            _ => return Err(NamespaceFault::Ambiguous),
        }
    }
    match String::from_utf8(decoded) {
        Ok(text) if text != "." && text != ".." => Ok(text),
        _ => Err(NamespaceFault::Ambiguous),
    }
}

fn hex(digit: Option<u8>) -> Option<u8> {
    let value = char::from(digit?).to_digit(16)?;
    u8::try_from(value).ok()
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
            ("/api/v1/ns/o%72ders", "orders"),
            ("/api/v1/ns/_", "_"),
            ("/api/v1/ns/...", "..."),
            ("/api/v1/ns/orders/caf%C3%A9%3F", "orders"),
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
            "/API/v1/ns/orders",
            "/api/v1/n%73/orders",
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
