//! The target `header`.

use base64::{Engine, engine::general_purpose::STANDARD};
use keyfob::{
    authorization::{self, HEADER_MAX, HeaderBuffer, HeaderError},
    gateway::Credential,
    key::KeyFormat,
};

use super::spec;

/// Parses arbitrary bytes as the value of an `Authorization` header field and, split at line
/// feeds, as several fields.
///
/// # Panics
///
/// If a value is accepted that is not the only valid one of its credential, or if a valid value is
/// refused.
pub fn header(data: &[u8]) {
    for prefix in ["dof", "a", "abcdefghijklmnop"] {
        let format = KeyFormat::new(prefix).expect("a valid prefix");
        let mut buffer = HeaderBuffer::new();
        let found = authorization::parse(&format, data, &mut buffer);
        let expected = expected(prefix, data);
        match (found, &expected) {
            (Ok(credential), Some(text)) => {
                let again = Credential::parse(&format, text).expect("was accepted in a header");
                assert_eq!(credential.id(), again.id());
            }
            (Err(error), None) => {
                assert_eq!(error == HeaderError::TooLong, data.len() > HEADER_MAX);
            }
            (Ok(credential), None) => panic!("accepted as {}", credential.id()),
            (Err(error), Some(_)) => panic!("refused: {error}"),
        }
    }
    let fields: Vec<_> = data.split(|byte| *byte == b'\n').collect();
    let fields = if data.is_empty() {
        &[][..]
    } else {
        &fields[..]
    };
    match authorization::only(fields.iter().copied()) {
        Ok(value) => assert_eq!(fields, [value]),
        Err(HeaderError::Missing) => assert!(fields.is_empty()),
        Err(error) => assert!(error == HeaderError::Repeated && fields.len() > 1),
    }
}

/// Returns the credential's text, if `value` is the only header value that carries it but for the case
/// of the scheme and the number of spaces after it.
fn expected(prefix: &str, value: &[u8]) -> Option<Vec<u8>> {
    let space = value.iter().position(|byte| *byte == b' ')?;
    let (scheme, mut rest) = (value[..space].to_ascii_lowercase(), &value[space..]);
    while let [b' ', behind @ ..] = rest {
        rest = behind;
    }
    if value.len() > HEADER_MAX {
        return None;
    }
    match &scheme[..] {
        b"bearer" => spec::key(prefix, rest).map(|_| rest.to_vec()),
        b"basic" => {
            let text = spec::LENIENT.decode(rest).ok()?;
            let canonical = STANDARD.encode(&text).as_bytes() == rest;
            let shaped = spec::key(prefix, &text).is_some() || spec::is_legacy(&text);
            (canonical && shaped).then_some(text)
        }
        _ => None,
    }
}
