//! The identifier of a request: in its answer, the log and the audit trail.

use axum::http::{HeaderMap, HeaderName};
use keyfob::name::RequestId;
use uuid::Uuid;

pub(crate) const HEADER: HeaderName = HeaderName::from_static("x-request-id");

/// The caller's own identifier if it sent exactly one that is well-formed, otherwise a new one.
pub(crate) fn of(headers: &HeaderMap) -> RequestId {
    let mut fields = headers.get_all(HEADER).iter();
    let (Some(given), None) = (fields.next(), fields.next()) else {
        return random();
    };
    let given = given.to_str().ok().filter(|text| is_well_formed(text));
    given
        .and_then(|text| RequestId::new(text).ok())
        .unwrap_or_else(random)
}

/// Letters, digits, dots, hyphens and underscores, at most 64: enough for every common generator of
/// identifiers. A text that could hold the secret of a key is refused, since it would be logged.
fn is_well_formed(text: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
    (1..=64).contains(&text.len()) && text.bytes().all(fits) && !text.contains("_sk_")
}

/// A UUID: what the published interface has in this field.
fn random() -> RequestId {
    let text = Uuid::new_v4().hyphenated().to_string();
    RequestId::new(&text).unwrap_or_else(|_| unreachable!("a UUID is an identifier"))
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn given(values: &[&'static str]) -> RequestId {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(HEADER, HeaderValue::from_static(value));
        }
        of(&headers)
    }

    #[test]
    fn one_well_formed_identifier_is_taken() {
        let good = "f81d4fae-7dec_11d0.A";
        assert_eq!(given(&[good]).as_str(), good);
        let secret = "dof_sk_AAECAwQFBgcICQoLDA0ODxAREhMUFRYdXLQI";
        let long = "a123456789012345678901234567890123456789012345678901234567890123x";
        for bad in [
            &[][..],
            &[good, good],
            &[""],
            &["a b"],
            &["a:b"],
            &[secret],
            &[long],
        ] {
            let made = given(bad);
            assert!(Uuid::parse_str(made.as_str()).is_ok(), "{bad:?}");
            assert!(!bad.contains(&made.as_str()));
        }
        assert_ne!(given(&[]), given(&[]));
    }
}
