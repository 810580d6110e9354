use std::{borrow::Cow, str};

/// A path that every program on the way reads the same.
///
/// # Examples
///
/// ```
/// use keyfob_tower::CanonicalPath;
///
/// let path = CanonicalPath::parse(b"/api/v1/namespaces/orders/").unwrap();
/// assert!(path.segments().eq(["api", "v1", "namespaces", "orders"]));
/// assert!(CanonicalPath::parse(b"/api/v1/namespaces/other/..%2forders").is_none());
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CanonicalPath<'a>(&'a str);

impl<'a> CanonicalPath<'a> {
    /// Takes a path, without its query, that can be read in one way only.
    ///
    /// `None` if the path does not begin with `/`, or has anywhere in it:
    ///
    /// - an empty segment before the last, or `.` and `..` as segments
    /// - `;`, `?`, `#`, a backslash, a space, a control character or a byte above 126
    /// - percent-encoded: a letter, a digit, `-`, `_`, `.` (which nobody needs to encode), a slash,
    ///   a backslash, `;`, `?`, `#`, a percent sign, a control character, what is not UTF-8, or a
    ///   character that a compatibility normalization (NFKC) turns into one of these separators
    /// - a percent sign without two hexadecimal digits
    pub fn parse(path: &'a [u8]) -> Option<Self> {
        let rest = path.strip_prefix(b"/")?;
        let rest = rest.strip_suffix(b"/").unwrap_or(rest);
        // A path of only `/` has no segments.
        if !rest.is_empty() && !rest.split(|byte| *byte == b'/').all(is_canonical) {
            return None;
        }
        if path == b"//" {
            return None;
        }
        // Only printable ASCII is left.
        str::from_utf8(rest).ok().map(Self)
    }

    /// The segments, still percent-encoded. A slash at the end of the path adds none.
    pub fn segments(self) -> impl Iterator<Item = &'a str> {
        let segments = self.0.split('/');
        segments.filter(|segment| !segment.is_empty())
    }
}

/// Decodes a segment of a canonical path.
pub(super) fn decode(segment: &str) -> Cow<'_, str> {
    if !segment.contains('%') {
        return Cow::Borrowed(segment);
    }
    match decode_bytes(segment.as_bytes()).map(String::from_utf8) {
        Some(Ok(text)) => Cow::Owned(text),
        // A canonical segment can be decoded.
        _ => Cow::Borrowed(segment),
    }
}

fn is_canonical(segment: &[u8]) -> bool {
    if matches!(segment, b"" | b"." | b"..") {
        return false;
    }
    let mut is_encoded = false;
    for byte in segment {
        match byte {
            b'%' => is_encoded = true,
            b';' | b'?' | b'#' | b'\\' => return false,
            b'!'..=b'~' => {}
            _ => return false,
        }
    }
    !is_encoded || is_canonical_decoded(segment)
}

fn is_canonical_decoded(segment: &[u8]) -> bool {
    let Some(Ok(text)) = decode_bytes(segment).map(String::from_utf8) else {
        return false;
    };
    // Some file systems ignore spaces at the end.
    !matches!(text.trim(), "." | "..") && !text.contains(is_ambiguous)
}

/// Percent-decodes, if each encoded byte needs to be encoded and is no separator.
fn decode_bytes(segment: &[u8]) -> Option<Vec<u8>> {
    let mut decoded = Vec::with_capacity(segment.len());
    let mut bytes = segment.iter();
    while let Some(byte) = bytes.next() {
        if *byte != b'%' {
            decoded.push(*byte);
            continue;
        }
        match hex(*bytes.next()?)? << 4 | hex(*bytes.next()?)? {
            b'.' | b'/' | b'\\' | b'%' | b';' | b'?' | b'#' | b'-' | b'_' | 0..=0x1f | 0x7f => {
                return None;
            }
            byte if byte.is_ascii_alphanumeric() => return None,
            byte => decoded.push(byte),
        }
    }
    Some(decoded)
}

/// Control characters, and characters that NFKC turns into text with a separator or into dots.
fn is_ambiguous(c: char) -> bool {
    c.is_control()
        || matches!(
            c,
            '\u{37e}'
                | '\u{2024}'
                | '\u{2025}'
                | '\u{2047}'
                | '\u{2048}'
                | '\u{2049}'
                | '\u{2100}'
                | '\u{2101}'
                | '\u{2105}'
                | '\u{2106}'
                | '\u{2488}'
                ..='\u{249b}'
                    | '\u{fe14}'
                    | '\u{fe16}'
                    | '\u{fe19}'
                    | '\u{fe30}'
                    | '\u{fe52}'
                    | '\u{fe54}'
                    | '\u{fe56}'
                    | '\u{fe5f}'
                    | '\u{fe68}'
                    | '\u{fe6a}'
                    | '\u{ff03}'
                    | '\u{ff05}'
                    | '\u{ff0e}'
                    | '\u{ff0f}'
                    | '\u{ff1b}'
                    | '\u{ff1f}'
                    | '\u{ff3c}'
        )
}

fn hex(digit: u8) -> Option<u8> {
    let value = char::from(digit).to_digit(16)?;
    u8::try_from(value).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_has_segments() {
        for (path, segments) in [
            ("/", &[][..]),
            ("/a", &["a"]),
            ("/a/", &["a"]),
            ("/a/b%20c/...", &["a", "b%20c", "..."]),
            ("/a/h%C3%A9%5B%22", &["a", "h%C3%A9%5B%22"]),
            (
                "/a@b:c,d=e&f$g!h*i(j)'k+l~m",
                &["a@b:c,d=e&f$g!h*i(j)'k+l~m"],
            ),
        ] {
            let canonical = CanonicalPath::parse(path.as_bytes()).expect(path);
            assert!(canonical.segments().eq(segments.iter().copied()), "{path}");
        }
    }

    #[test]
    fn a_path_that_can_be_read_in_two_ways_is_not_canonical() {
        for path in [
            "",
            "a",
            "*",
            "//",
            "///",
            "//a",
            "/a//",
            "/a//b",
            "/.",
            "/..",
            "/a/.",
            "/a/..",
            "/a/./b",
            "/a/../b",
            "/a;b",
            "/a?b",
            "/a#b",
            "/a\\b",
            "/a b",
            "/a\tb",
            "/a\u{0}",
            "/a\u{7f}",
            "/h\u{e9}",
            "/%61",
            "/%5F",
            "/%2d",
            "/%2e",
            "/%2E%2e",
            "/%2f",
            "/%5c",
            "/%3b",
            "/a%3fb",
            "/a%23b",
            "/..%3f",
            "/.%23",
            "/%25",
            "/%256f",
            "/%",
            "/%4",
            "/%zz",
            "/%+1",
            "/%00",
            "/%0d%0a",
            "/%7f",
            "/%c0%af",
            "/%ff",
            "/%ed%a0%80",
            "/%c2%85",
            "/..%20",
            "/%20..",
            "/.%20",
            "/%ef%bc%8f",
            "/%ef%bc%8e%ef%bc%8e",
            "/%e2%80%a5",
            "/a%ef%bc%bcb",
            "/%e2%84%80",
            "/a%ef%bc%9fb",
            "/a%ef%b9%9fb",
            "/a%e2%81%88b",
        ] {
            assert_eq!(CanonicalPath::parse(path.as_bytes()), None, "{path}");
        }
    }
}
