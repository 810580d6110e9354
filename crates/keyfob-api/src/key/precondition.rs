//! `ETag` and `If-Match`: changing only what one has seen (RFC 9110, sections 8.8.3 and 13.1.1).

use std::convert::Infallible;

use axum::{
    extract::FromRequestParts,
    http::{HeaderMap, HeaderValue, header, request::Parts},
};
use keyfob::{
    KeyInfo, manage,
    store::{Conflict, Revision},
};

use crate::refusal::Refusal;

/// The revision that the caller saw, if it said so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct IfMatch(pub(crate) Option<Revision>);

impl IfMatch {
    /// No key has it: a tag that was not given out never matches.
    const NEVER: Self = Self(Some(Revision::new(u64::MAX)));

    /// Reads the field: absent, `*`, or one strong tag that we gave out.
    ///
    /// A list of tags or a weak one never matches, since we give out neither. That is found out
    /// when the key is changed, after everything else that can be wrong with a request.
    fn parse(headers: &HeaderMap) -> Self {
        let mut fields = headers.get_all(header::IF_MATCH).iter();
        match (fields.next().map(HeaderValue::as_bytes), fields.next()) {
            (None, _) | (Some(b"*"), None) => Self(None),
            (Some(tag), None) => revision(tag).map_or(Self::NEVER, |tag| Self(Some(tag))),
            (Some(_), Some(_)) => Self::NEVER,
        }
    }

    /// Refuses unless the key is the one that was seen. Calls that switch or end a key ask this right
    /// before, since the key only moves to where they want it; changes of what it holds have the
    /// revision judged within the commit.
    pub(crate) fn hold(self, info: &KeyInfo) -> Result<(), Refusal> {
        match self.0 {
            Some(seen) if seen != info.revision => Err(Refusal::PRECONDITION_FAILED),
            _ => Ok(()),
        }
    }

    /// What went wrong: if the caller named a revision, another one is a failed precondition.
    pub(crate) fn decide(self, error: manage::Error) -> Refusal {
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
pub(crate) fn etag(revision: u64) -> HeaderValue {
    HeaderValue::from_str(&format!("\"{revision}\""))
        .unwrap_or_else(|_| unreachable!("digits are a header value"))
}

fn revision(tag: &[u8]) -> Option<Revision> {
    let digits = tag.strip_prefix(b"\"")?.strip_suffix(b"\"")?;
    let number = std::str::from_utf8(digits).ok()?.parse().ok()?;
    let revision = Revision::new(number);
    (etag(number).as_bytes() == tag).then_some(revision)
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
