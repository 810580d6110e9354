//! The `Authorization` header: HTTP Basic (RFC 7617) and Bearer (RFC 6750).

use core::fmt;

use base64::{Engine, engine::general_purpose::STANDARD};
use zeroize::Zeroize;

use crate::{
    credential::Credential,
    format::KeyFormat,
    presented::{KeyError, PresentedKey},
};

/// The maximum length of a header value, in bytes. The longest valid value, a key with a prefix of
/// 16 characters in Basic, has 154.
pub const HEADER_MAX: usize = 256;

/// A buffer on the caller's stack for decoding a header; zeroized when it is dropped.
pub struct HeaderBuffer([u8; HEADER_MAX / 4 * 3]);

impl HeaderBuffer {
    /// Creates an empty buffer.
    #[inline]
    pub const fn new() -> Self {
        Self([0; HEADER_MAX / 4 * 3])
    }
}

impl Default for HeaderBuffer {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for HeaderBuffer {
    #[inline]
    fn drop(&mut self) {
        self.0.as_mut_slice().zeroize();
    }
}

impl fmt::Debug for HeaderBuffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("HeaderBuffer")
    }
}

/// Parses the value of an `Authorization` header field. Does not allocate.
///
/// - `Basic`: the scheme in any case, spaces, and the text of a key or legacy credential in
///   standard base64 (RFC 4648, section 4), padded and canonical.
/// - `Bearer`: the scheme in any case, spaces, and the text of a key. The colon in it is not
///   part of RFC 6750's `b64token`, but HTTP field values may contain it, and a key has only one
///   text form.
///
/// One or more spaces follow the scheme, and no other white space (RFC 9110, section 11.4). Nothing
/// else is trimmed: the HTTP library has already removed white space around the value.
///
/// # Errors
///
/// [`HeaderError`] names the fault, never the content.
#[inline]
pub fn parse<'a>(
    format: &KeyFormat,
    value: &'a [u8],
    buffer: &'a mut HeaderBuffer,
) -> Result<Credential<'a>, HeaderError> {
    match split(value)? {
        (Scheme::Basic, encoded) => Credential::parse(format, decode(&STANDARD, encoded, buffer)?),
        (Scheme::Bearer, text) => PresentedKey::parse(format, text).map(Credential::Key),
    }
    .map_err(HeaderError::Credential)
}

/// The authentication scheme of a header value.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scheme {
    Basic,
    Bearer,
}

/// Splits a header value into the scheme and the rest.
#[inline]
pub(crate) fn split(value: &[u8]) -> Result<(Scheme, &[u8]), HeaderError> {
    if value.len() > HEADER_MAX {
        return Err(HeaderError::TooLong);
    }
    if let Some(encoded) = after_scheme(value, b"basic ") {
        return Ok((Scheme::Basic, encoded));
    }
    match after_scheme(value, b"bearer ") {
        Some(text) => Ok((Scheme::Bearer, text)),
        None => Err(HeaderError::Scheme),
    }
}

/// Decodes the rest of a `Basic` header value to the text of a credential.
#[inline]
pub(crate) fn decode<'a>(
    engine: &impl Engine,
    encoded: &[u8],
    buffer: &'a mut HeaderBuffer,
) -> Result<&'a [u8], HeaderError> {
    let length = engine
        .decode_slice(encoded, &mut buffer.0)
        .map_err(|_| HeaderError::Base64)?;
    Ok(buffer.0.get(..length).unwrap_or_default())
}

/// The standard alphabet, padded and canonical. A credential is long enough for SIMD to pay off.
#[cfg(all(feature = "std", any(target_arch = "x86_64", target_arch = "aarch64")))]
pub(crate) type FastEngine = base64::engine::Simd;
#[cfg(all(
    feature = "std",
    not(any(target_arch = "x86_64", target_arch = "aarch64"))
))]
pub(crate) type FastEngine = base64::engine::GeneralPurpose;

#[cfg(all(feature = "std", any(target_arch = "x86_64", target_arch = "aarch64")))]
pub(crate) fn fast_engine() -> FastEngine {
    FastEngine::standard(base64::engine::general_purpose::PAD)
}

#[cfg(all(
    feature = "std",
    not(any(target_arch = "x86_64", target_arch = "aarch64"))
))]
pub(crate) fn fast_engine() -> FastEngine {
    STANDARD
}

/// Whether the base64 text has the length of an encoded credential; others need not be decoded.
#[cfg(feature = "std")]
#[inline]
pub(crate) fn has_length_of_credential(format: &KeyFormat, encoded: &[u8]) -> bool {
    let encoded_len = |len: usize| len.div_ceil(3).saturating_mul(4);
    [format.credential_len(), crate::legacy::PresentedLegacy::LEN]
        .into_iter()
        .any(|len| encoded.len() == encoded_len(len))
}

/// Returns the only value of a header field that must occur exactly once.
///
/// # Errors
///
/// - no value -> [`HeaderError::Missing`]
/// - several values -> [`HeaderError::Repeated`]: taking the first or the last is unsafe, since a
///   proxy in front may take another one
pub fn only<'a>(values: impl IntoIterator<Item = &'a [u8]>) -> Result<&'a [u8], HeaderError> {
    let mut values = values.into_iter();
    match (values.next(), values.next()) {
        (Some(value), None) => Ok(value),
        (None, _) => Err(HeaderError::Missing),
        (Some(_), Some(_)) => Err(HeaderError::Repeated),
    }
}

#[inline]
fn after_scheme<'a>(value: &'a [u8], scheme: &[u8]) -> Option<&'a [u8]> {
    let (head, rest) = value.split_at_checked(scheme.len())?;
    head.eq_ignore_ascii_case(scheme).then(|| {
        let spaces = rest.iter().take_while(|byte| **byte == b' ').count();
        rest.get(spaces..).unwrap_or_default()
    })
}

/// A header does not hold a well-formed credential.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HeaderError {
    /// There is no `Authorization` field.
    #[error("no authorization header")]
    Missing,
    /// There are several `Authorization` fields.
    #[error("more than one authorization header")]
    Repeated,
    /// The value is longer than [`HEADER_MAX`].
    #[error("the authorization header is longer than {HEADER_MAX} bytes")]
    TooLong,
    /// Neither `Basic` nor `Bearer`, followed by a space.
    #[error("the authorization scheme is neither basic nor bearer")]
    Scheme,
    /// The text after `Basic` is not canonical, padded base64.
    #[error("basic credentials are not canonical base64")]
    Base64,
    /// The text is not a well-formed credential.
    #[error(transparent)]
    Credential(KeyError),
}

#[cfg(test)]
mod tests {
    use alloc::{format, string::String, vec::Vec};

    use super::*;
    use crate::credential_id::CredentialId;

    const TEXT: &str =
        "dof_v1_d79e8aeb42e5476893c7d4c59a166264:dof_sk_AAECAwQFBgcICQoLDA0ODxAREhMUFRYdXLQI";
    const GUEST: &str = "23bc46b1-71f6-4ed5-8c54-816aa4f8c502:123zO3xZCLrMN6v2BKK1dXYFpXlPkccOFqm12CdAsMgRU4VrNZ9lyGVCGuMDGIwP";

    fn read(value: &[u8]) -> Result<CredentialId, HeaderError> {
        let format = KeyFormat::new("dof").unwrap();
        parse(&format, value, &mut HeaderBuffer::new()).map(|credential| credential.id())
    }

    fn basic(text: &str) -> String {
        format!("Basic {}", STANDARD.encode(text))
    }

    #[test]
    fn both_schemes_parse_in_any_case() {
        let encoded = STANDARD.encode(TEXT);
        let id = read(format!("Bearer {TEXT}").as_bytes()).unwrap();
        for value in [
            format!("bearer {TEXT}"),
            format!("BEARER {TEXT}"),
            format!("Basic {encoded}"),
            format!("bAsIc {encoded}"),
            // RFC 9110, section 11.4: `1*SP`.
            format!("Bearer  {TEXT}"),
            format!("Basic  {encoded}"),
            format!("Bearer {:>1$}", TEXT, HEADER_MAX - "Bearer ".len()),
            format!("Basic {:>1$}", encoded, HEADER_MAX - "Basic ".len()),
        ] {
            assert_eq!(read(value.as_bytes()), Ok(id));
        }
        assert!(matches!(
            read(basic(GUEST).as_bytes()),
            Ok(CredentialId::Legacy(_))
        ));
    }

    #[test]
    fn a_legacy_credential_is_refused_as_a_bearer_token() {
        assert!(matches!(
            read(format!("Bearer {GUEST}").as_bytes()),
            Err(HeaderError::Credential(_))
        ));
    }

    #[test]
    fn malformed_headers_are_refused() {
        let encoded = STANDARD.encode(TEXT);
        let bare = encoded.trim_end_matches('=');
        let Err(HeaderError::Credential(empty)) = read(basic("").as_bytes()) else {
            panic!("an empty text is a credential");
        };
        assert_ne!(bare, encoded, "the case needs padding");
        for (value, error) in [
            (String::new(), HeaderError::Scheme),
            ("Basic".into(), HeaderError::Scheme),
            (format!("Basic\t{encoded}"), HeaderError::Scheme),
            (format!(" Basic {encoded}"), HeaderError::Scheme),
            (format!("Token {TEXT}"), HeaderError::Scheme),
            (format!("Basic \t{encoded}"), HeaderError::Base64),
            (format!("Basic \u{a0}{encoded}"), HeaderError::Base64),
            ("Basic   ".into(), HeaderError::Credential(empty)),
            (format!("Basic {encoded} "), HeaderError::Base64),
            (format!("Basic {bare}"), HeaderError::Base64),
            (format!("Basic {encoded}="), HeaderError::Base64),
            (
                format!("Basic {encoded},Basic {encoded}"),
                HeaderError::Base64,
            ),
            (
                format!("Basic {}", encoded.replace('Z', "-")),
                HeaderError::Base64,
            ),
            (format!("Basic {}", "A".repeat(400)), HeaderError::TooLong),
            (format!("Bearer {}", "A".repeat(400)), HeaderError::TooLong),
        ] {
            assert_eq!(read(value.as_bytes()), Err(error), "{value:?}");
        }
        for text in [
            "",
            ":",
            "a:b",
            &format!("{TEXT}\n"),
            &format!("{TEXT}:x"),
            "dof",
        ] {
            assert!(matches!(
                read(basic(text).as_bytes()),
                Err(HeaderError::Credential(_))
            ));
        }
    }

    #[test]
    fn spare_bits_in_basic_must_be_zero() {
        // The last character before the padding has two spare bits: 16 of 64 values decode, each to
        // another text.
        let value = basic(TEXT);
        let at = value.trim_end_matches('=').len() - 1;
        let decoded: alloc::collections::BTreeSet<Vec<u8>> = (0..=255)
            .filter_map(|byte| {
                let mut changed = value.clone().into_bytes();
                changed[at] = byte;
                read(&changed).ok()?;
                let decoded = STANDARD.decode(&changed["Basic ".len()..]).unwrap();
                assert_eq!(
                    basic(core::str::from_utf8(&decoded).unwrap()).as_bytes(),
                    changed
                );
                Some(decoded)
            })
            .collect();
        assert_eq!(decoded.len(), 16);
    }

    #[test]
    fn the_header_must_occur_exactly_once() {
        assert_eq!(only([]), Err(HeaderError::Missing));
        assert_eq!(only([&b"a"[..]]), Ok(&b"a"[..]));
        assert_eq!(only([&b"a"[..], b"a"]), Err(HeaderError::Repeated));
    }

    #[test]
    fn the_longest_credential_fits() {
        let format = KeyFormat::new("abcdefghijklmnop").unwrap();
        let key = crate::IssuedKey::generate(&format, &crate::random::SystemRandom).unwrap();
        let value = basic(key.expose());
        assert_eq!(value.len(), 154);
        assert!(parse(&format, value.as_bytes(), &mut HeaderBuffer::new()).is_ok());
    }

    #[cfg(feature = "std")]
    #[test]
    fn credentials_of_both_kinds_parse_when_they_have_equal_lengths() {
        // With a prefix of 12 characters, keys are as long as legacy credentials.
        for prefix in 1..=KeyFormat::PREFIX_MAX {
            let format = KeyFormat::new(&"p".repeat(prefix)).unwrap();
            let lengths = [format.credential_len(), GUEST.len()]
                .map(|len| STANDARD.encode("x".repeat(len)).len());
            for len in 0..=HEADER_MAX {
                let decoded = has_length_of_credential(&format, &[b'A'; HEADER_MAX][..len]);
                assert_eq!(decoded, lengths.contains(&len), "{len} for {prefix}");
            }
        }
    }

    #[test]
    fn a_header_beyond_the_maximum_length_is_refused() {
        let header = |len: usize| format!("Bearer {}", "A".repeat(len - "Bearer ".len()));
        assert!(matches!(
            read(header(HEADER_MAX).as_bytes()),
            Err(HeaderError::Credential(_))
        ));
        assert_eq!(
            read(header(HEADER_MAX + 1).as_bytes()),
            Err(HeaderError::TooLong)
        );
    }

    #[test]
    fn the_debug_output_of_a_buffer_is_its_type_name() {
        let mut buffer = HeaderBuffer::new();
        decode(&STANDARD, STANDARD.encode(TEXT).as_bytes(), &mut buffer).unwrap();
        assert_eq!(format!("{buffer:?}"), "HeaderBuffer");
    }
}
