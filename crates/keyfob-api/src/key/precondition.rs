//! `ETag` and `If-Match`: changing only what one has seen (RFC 9110, sections 8.8.3 and 13.1.1).

use axum::{
    extract::FromRequestParts,
    http::{HeaderMap, HeaderValue, header, request::Parts},
};
use keyfob::{ManageError, Revision, store::Conflict};

use crate::refusal::Refusal;

/// The revision that the caller saw, if it said so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct IfMatch(pub(crate) Option<Revision>);

impl IfMatch {
    /// Reads the field: absent, `*`, or one strong tag that we gave out.
    ///
    /// A list of tags or a weak one never matches, since we give out neither.
    fn parse(headers: &HeaderMap) -> Result<Self, Refusal> {
        let mut fields = headers.get_all(header::IF_MATCH).iter();
        let Some(field) = fields.next() else {
            return Ok(Self(None));
        };
        if fields.next().is_some() {
            return Err(Refusal::PRECONDITION_FAILED);
        }
        match field.as_bytes() {
            b"*" => Ok(Self(None)),
            tag => match revision(tag) {
                Some(revision) => Ok(Self(Some(revision))),
                None => Err(Refusal::PRECONDITION_FAILED),
            },
        }
    }

    /// What went wrong: if the caller named a revision, another one is a failed precondition.
    pub(crate) fn judge(self, error: ManageError) -> Refusal {
        match error {
            ManageError::Conflict(Conflict::Stale) if self.0.is_some() => {
                Refusal::PRECONDITION_FAILED
            }
            error => error.into(),
        }
    }
}

impl<S: Sync> FromRequestParts<S> for IfMatch {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Refusal> {
        Self::parse(&parts.headers)
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

    fn parse(values: &[&'static str]) -> Result<Option<u64>, u16> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(header::IF_MATCH, HeaderValue::from_static(value));
        }
        match IfMatch::parse(&headers) {
            Ok(IfMatch(revision)) => Ok(revision.map(Revision::get)),
            Err(refusal) => Err(refusal.kind().status().as_u16()),
        }
    }

    #[test]
    fn only_a_tag_that_was_given_out_can_match() {
        assert_eq!(parse(&[]), Ok(None));
        assert_eq!(parse(&["*"]), Ok(None));
        assert_eq!(parse(&["\"7\""]), Ok(Some(7)));
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
            assert_eq!(parse(&[bad]), Err(412), "{bad}");
        }
        assert_eq!(parse(&["\"7\"", "\"7\""]), Err(412));
    }
}
