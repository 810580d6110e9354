use std::{borrow::Cow, str::FromStr};

use unicode_normalization::UnicodeNormalization as _;

use super::canonical::{CanonicalPath, decode};

/// Paths that look alike, as in `/api/v1/namespaces/{namespace}/*`.
///
/// `{namespace}` stands for the segment that names the namespace, any other `{name}` for any one
/// segment. `/*` at the end stands for everything below, and for nothing. A slash at the end of a
/// path makes no difference.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PathPattern {
    segments: Vec<Segment>,
    is_open: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Segment {
    Literal(String),
    /// One segment.
    Any,
    Namespace,
}

/// How a path compares to a [`PathPattern`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PathMatch<'a> {
    /// It is another path.
    Other,
    /// A program on the way may take it for such a path, and another one not: it differs in its case,
    /// its encoding, its normalization or by spaces around a segment, or the segment of the namespace can be read in two ways.
    Ambiguous,
    /// It is such a path, with this text in the place of `{namespace}`, decoded and not yet validated.
    Same(Option<Cow<'a, str>>),
}

impl PathPattern {
    /// Whether the pattern has `{namespace}`.
    pub fn names_namespace(&self) -> bool {
        self.segments.contains(&Segment::Namespace)
    }

    /// The pattern with everything below it.
    #[must_use]
    pub(super) fn opened(self) -> Self {
        Self {
            is_open: true,
            ..self
        }
    }

    /// Compares a path to the pattern.
    pub fn compare<'a>(&self, path: CanonicalPath<'a>) -> PathMatch<'a> {
        let mut segments = path.segments();
        let mut namespace = None;
        let mut is_exact = true;
        for expected in &self.segments {
            let Some(segment) = segments.next() else {
                return PathMatch::Other;
            };
            match expected {
                Segment::Any => {}
                Segment::Literal(literal) if segment == literal => {}
                Segment::Literal(literal) if folds_to(segment, literal) => is_exact = false,
                Segment::Literal(_) => return PathMatch::Other,
                // As a form decodes it, a plus sign is a space.
                Segment::Namespace if segment.contains('+') => is_exact = false,
                Segment::Namespace => {
                    let text = decode(segment);
                    // A program that trims it takes it for another name.
                    is_exact &= text.trim() == text;
                    namespace = Some(text);
                }
            }
        }
        if !self.is_open && segments.next().is_some() {
            PathMatch::Other
        } else if is_exact {
            PathMatch::Same(namespace)
        } else {
            PathMatch::Ambiguous
        }
    }
}

impl FromStr for PathPattern {
    type Err = PatternError;

    fn from_str(text: &str) -> Result<Self, PatternError> {
        let rest = text.strip_prefix('/').ok_or(PatternError::Start)?;
        let (rest, is_open) = match rest.strip_suffix("/*") {
            Some(rest) => (rest, true),
            None if rest == "*" => ("", true),
            None => (rest, false),
        };
        let segments = if rest.is_empty() {
            Vec::new()
        } else {
            rest.split('/')
                .map(Segment::parse)
                .collect::<Result<_, _>>()?
        };
        let namespaces = segments.iter().filter(|one| **one == Segment::Namespace);
        if namespaces.count() > 1 {
            return Err(PatternError::Twice);
        }
        Ok(Self { segments, is_open })
    }
}

impl Segment {
    fn parse(text: &str) -> Result<Self, PatternError> {
        let is_name = |name: &str| {
            let mut bytes = name.bytes();
            !name.is_empty() && bytes.all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
        };
        match text
            .strip_prefix('{')
            .and_then(|text| text.strip_suffix('}'))
        {
            Some("namespace") => Ok(Self::Namespace),
            Some(name) if is_name(name) => Ok(Self::Any),
            Some(_) => Err(PatternError::Segment),
            None => {
                let as_path = format!("/{text}");
                let is_literal = !text.is_empty()
                    && !text.contains(['{', '}', '%', '*'])
                    && CanonicalPath::parse(as_path.as_bytes()).is_some();
                if is_literal {
                    Ok(Self::Literal(text.to_owned()))
                } else {
                    Err(PatternError::Segment)
                }
            }
        }
    }
}

/// A text is not a [`PathPattern`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PatternError {
    /// It does not begin with `/`.
    #[error("must begin with /")]
    Start,
    /// It has `{namespace}` more than once.
    #[error("must have {{namespace}} once at most")]
    Twice,
    /// A segment is neither a text that a path can have, nor `{name}`, nor `*` at the end.
    #[error("must have segments such as name or {{name}}, and * only at the end")]
    Segment,
}

/// Whether a program that ignores case, or that decodes, normalizes (NFKC) or trims before it compares,
/// takes a segment for a literal.
fn folds_to(segment: &str, literal: &str) -> bool {
    if segment.eq_ignore_ascii_case(literal) {
        return true;
    }
    if segment.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
        return false;
    }
    let text: String = decode(segment).nfkc().collect();
    // As a form decodes it, a plus sign is a space.
    let trimmed = text.trim_matches(|c: char| c.is_whitespace() || c == '+');
    let literal = folded(literal);
    folded(&text) == literal || folded(trimmed) == literal
}

/// Both ways, since some characters outside of ASCII have a counterpart in it in one case only.
fn folded(text: &str) -> String {
    text.to_uppercase().to_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn compare<'a>(pattern: &str, path: &'a str) -> PathMatch<'a> {
        let path = CanonicalPath::parse(path.as_bytes()).expect("canonical");
        pattern.parse::<PathPattern>().unwrap().compare(path)
    }

    #[test]
    fn a_pattern_matches_its_paths_and_no_others() {
        for (pattern, path, same) in [
            ("/", "/", true),
            ("/", "/a", false),
            ("/*", "/", true),
            ("/*", "/a/b", true),
            ("/a", "/a", true),
            ("/a", "/a/", true),
            ("/a", "/a/b", false),
            ("/a/*", "/a", true),
            ("/a/*", "/a/b/c", true),
            ("/a/*", "/ab", false),
            ("/a/{x}/c", "/a/b/c", true),
            ("/a/{x}/c", "/a/c", false),
            ("/a/{x}/c", "/a/b/d", false),
            ("/c++/*", "/c/x", false),
            ("/naive/*", "/na%C3%AFve/x", false),
            ("/admin/*", "/ad%20min/x", false),
        ] {
            let expected = if same {
                PathMatch::Same(None)
            } else {
                PathMatch::Other
            };
            assert_eq!(compare(pattern, path), expected, "{pattern} {path}");
        }
    }

    #[test]
    fn a_path_that_differs_in_case_or_encoding_is_ambiguous() {
        for (pattern, path) in [
            ("/Api/x", "/api/x"),
            ("/api/*", "/API/x"),
            ("/namespaces", "/name%C5%BFpaces"),
            ("/keys", "/%E2%84%AAeys"),
            ("/a@b", "/a%40b"),
            ("/admin/*", "/admin%20/x"),
            ("/admin/*", "/%C2%A0admin/x"),
            ("/admin/*", "/admin+/x"),
            ("/admin/*", "/%EF%BD%81dmin/x"),
            ("/admin/*", "/%F0%9D%90%9Admin/x"),
            ("/admin/*", "/%EF%BC%A1dmin+/x"),
            ("/{namespace}", "/a+b"),
            ("/{namespace}", "/a%20"),
        ] {
            assert_eq!(compare(pattern, path), PathMatch::Ambiguous, "{path}");
        }
    }

    #[test]
    fn a_text_that_matches_nothing_is_no_pattern() {
        for (text, error) in [
            ("", PatternError::Start),
            ("a", PatternError::Start),
            ("/{namespace}/{namespace}", PatternError::Twice),
            ("/a//b", PatternError::Segment),
            ("/a/", PatternError::Segment),
            ("/../a", PatternError::Segment),
            ("/a%62", PatternError::Segment),
            ("/{}", PatternError::Segment),
            ("/{*rest}", PatternError::Segment),
            ("/x{namespace}", PatternError::Segment),
            ("/a*", PatternError::Segment),
            ("/*/a", PatternError::Segment),
            ("/a?x", PatternError::Segment),
        ] {
            assert_eq!(text.parse::<PathPattern>(), Err(error), "{text}");
        }
    }
}
