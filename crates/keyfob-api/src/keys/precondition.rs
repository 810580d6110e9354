//! `ETag` and `If-Match`: a change of the state that the caller saw (RFC 9110, sections 8.8.3 and
//! 13.1.1).

use std::convert::Infallible;

use axum::{
    extract::FromRequestParts,
    http::{HeaderMap, HeaderValue, header, request::Parts},
};
use keyfob::{
    manage,
    store::{Conflict, Revision},
};

use crate::refusal::Refusal;

/// The revision that the key must have, if the caller names one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct IfMatch(pub(crate) Option<Revision>);

impl IfMatch {
    /// A revision that no key has: a tag that was not given out never matches.
    const NEVER: Self = Self(Some(Revision::new(u64::MAX)));

    /// Reads the field: absent, `*`, or one strong tag that we gave out.
    ///
    /// A list of tags or a weak tag never matches, since we give out neither. It is refused when the
    /// key is changed, after every other check of the request.
    fn parse(headers: &HeaderMap) -> Self {
        let mut fields = headers.get_all(header::IF_MATCH).iter();
        match (fields.next().map(HeaderValue::as_bytes), fields.next()) {
            (None, _) | (Some(b"*"), None) => Self(None),
            (Some(tag), None) => revision(tag).map_or(Self::NEVER, |tag| Self(Some(tag))),
            (Some(_), Some(_)) => Self::NEVER,
        }
    }

    /// The refusal for an error: a stale revision is a failed precondition if the caller named it.
    pub(crate) fn explain(self, error: manage::Error) -> Refusal {
        match error {
            manage::Error::Conflict(Conflict::Stale) if self.0.is_some() => {
                Refusal::PRECONDITION_FAILED
            }
            error => error.into(),
        }
    }
}

impl<S: Sync> FromRequestParts<S> for IfMatch {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(Self::parse(&parts.headers))
    }
}

/// The tag of a revision.
pub(crate) fn etag(revision: Revision) -> HeaderValue {
    HeaderValue::from_str(&format!("\"{}\"", revision.get()))
        .unwrap_or_else(|_| unreachable!("digits are a header value"))
}

fn revision(tag: &[u8]) -> Option<Revision> {
    let digits = tag.strip_prefix(b"\"")?.strip_suffix(b"\"")?;
    let number = std::str::from_utf8(digits).ok()?.parse().ok()?;
    let revision = Revision::new(number);
    (etag(revision).as_bytes() == tag).then_some(revision)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(values: &[&'static str]) -> IfMatch {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(header::IF_MATCH, HeaderValue::from_static(value));
        }
        IfMatch::parse(&headers)
    }

    #[test]
    fn only_a_tag_that_was_given_out_can_match() {
        assert_eq!(parse(&[]), IfMatch(None));
        assert_eq!(parse(&["*"]), IfMatch(None));
        assert_eq!(parse(&["\"7\""]), IfMatch(Some(Revision::new(7))));
        for bad in [
            "7",
            "\"07\"",
            "\"+7\"",
            "W/\"7\"",
            "\"7\", \"8\"",
            "\"\"",
            "\"x\"",
            "",
        ] {
            assert_eq!(parse(&[bad]), IfMatch::NEVER, "{bad}");
        }
        assert_eq!(parse(&["\"7\"", "\"7\""]), IfMatch::NEVER);
        assert_eq!(parse(&["*", "*"]), IfMatch::NEVER);
    }
}
