//! The target of a request.

use std::str;

use keyfob_tower::CanonicalPath;

/// A request target that every program on the way reads the same (RFC 9112, section 3.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RequestTarget<'a> {
    /// The authority of the absolute form.
    pub(crate) authority: Option<&'a str>,
    pub(crate) path: CanonicalPath<'a>,
}

impl<'a> RequestTarget<'a> {
    /// Reads a target in origin or absolute form. `None` if a program could read it in another way.
    pub(crate) fn parse(target: &'a [u8]) -> Option<Self> {
        let rest = target.iter();
        // No program ends a request line at one of these, or drops what follows.
        if rest
            .clone()
            .any(|byte| matches!(byte, 0..=b' ' | 0x7f | b'#'))
        {
            return None;
        }
        let end = rest.clone().position(|byte| *byte == b'?');
        let before_query = target.get(..end.unwrap_or(target.len()))?;
        if before_query.starts_with(b"/") {
            let path = CanonicalPath::parse(before_query)?;
            let authority = None;
            return Some(Self { authority, path });
        }
        let after = scheme(before_query)?;
        let at = after.iter().position(|byte| *byte == b'/');
        // Without a path: some programs take it for `/`, others for an empty one.
        let (authority, path) = after.split_at_checked(at?)?;
        Some(Self {
            authority: Some(host_and_port(authority)?),
            path: CanonicalPath::parse(path)?,
        })
    }
}

/// What follows `http://` or `https://`.
fn scheme(target: &[u8]) -> Option<&[u8]> {
    [&b"http://"[..], b"https://"]
        .into_iter()
        .find_map(|scheme| {
            let (start, rest) = target.split_at_checked(scheme.len())?;
            start.eq_ignore_ascii_case(scheme).then_some(rest)
        })
}

/// A host with or without a port, of characters that mean nothing else: no user, no encoding.
pub(crate) fn host_and_port(authority: &[u8]) -> Option<&str> {
    let is_valid = |byte: &u8| {
        byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b':' | b'[' | b']')
    };
    if authority.is_empty() || !authority.iter().all(is_valid) {
        return None;
    }
    str::from_utf8(authority).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_path_of_either_form_is_read() {
        for (target, authority, segments) in [
            ("/", None, 0),
            ("/a/b", None, 2),
            ("/a?/../b//c;d\\e", None, 1),
            ("/a?%0d%0a", None, 1),
            ("http://gw.test/a/b", Some("gw.test"), 2),
            ("HTTPS://[::1]:8443/a?x", Some("[::1]:8443"), 1),
        ] {
            let read = RequestTarget::parse(target.as_bytes()).expect(target);
            assert_eq!(read.authority, authority, "{target}");
            assert_eq!(read.path.segments().count(), segments, "{target}");
        }
    }

    #[test]
    fn a_target_that_can_be_read_in_two_ways_is_refused() {
        for target in [
            "",
            "*",
            "a/b",
            "?x",
            "//evil.test/a",
            "/a#b",
            "/a?b#c",
            "/a b",
            "/a?b c",
            "/a?b\r\nX-Y: z",
            "/a\0",
            "/a/../b",
            "http:/a",
            "http:///a",
            "http://gw.test",
            "http://gw.test?x",
            "http://user@gw.test/a",
            "http://gw.test\\@evil.test/a",
            "http://gw%2etest/a",
            "http://gw.test/a/../b",
            "ftp://gw.test/a",
            "gw.test:443",
        ] {
            assert_eq!(RequestTarget::parse(target.as_bytes()), None, "{target}");
        }
    }
}
