//! Parsing of presented keys.

use core::fmt;

use crate::{format::KeyFormat, key_id::KeyId};

/// A well-formed key, borrowed from the request. It is untrusted.
///
/// Whether the key exists and its secret is correct is decided by a [`Verifier`](crate::Verifier).
#[derive(Clone, Copy)]
pub struct PresentedKey<'a> {
    id: KeyId,
    secret: &'a [u8; KeyFormat::SECRET_CHARS],
}

impl<'a> PresentedKey<'a> {
    /// Parses the text of a key, `<prefix>_v1_<id>:<prefix>_sk_<secret>`.
    ///
    /// Checks length, prefix, markers and the alphabet of the identifier. Nothing is trimmed, and
    /// there is no other text form. Does not allocate.
    ///
    /// # Errors
    ///
    /// [`KeyError`] names the invalid part and its position, never the content.
    #[inline]
    pub fn parse(format: &KeyFormat, text: &'a [u8]) -> Result<Self, KeyError> {
        Self::read(format, text).ok_or_else(|| locate(format, text))
    }

    /// Parses the text of a key without locating a fault.
    #[expect(
        clippy::inline_always,
        reason = "an answer through memory stalls the call"
    )]
    #[inline(always)]
    pub(crate) fn read(format: &KeyFormat, text: &'a [u8]) -> Option<Self> {
        let digits = format.digits(text)?;
        let secret = format.secret(text)?;
        let id = KeyId::from_digits(digits)?;
        Some(Self { id, secret })
    }

    /// Parses a key from its identifier and its secret, as configuration files often store them.
    ///
    /// # Errors
    ///
    /// As [`PresentedKey::parse`]; positions count from the start of the invalid half.
    pub fn from_pair(
        format: &KeyFormat,
        key_id: &[u8],
        secret: &'a [u8],
    ) -> Result<Self, KeyError> {
        Ok(Self {
            id: parse_key_id(format, key_id)?,
            secret: parse_secret(format, secret)?,
        })
    }

    pub(crate) fn from_parts(id: KeyId, secret: &'a [u8; KeyFormat::SECRET_CHARS]) -> Self {
        Self { id, secret }
    }

    /// The key's public identifier.
    pub fn id(&self) -> KeyId {
        self.id
    }

    /// The characters of the secret after the marker.
    pub(crate) fn secret(&self) -> &'a [u8; KeyFormat::SECRET_CHARS] {
        self.secret
    }
}

impl fmt::Debug for PresentedKey<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PresentedKey")
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}

/// A text is not a well-formed key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a key: {part}, at byte {at}")]
pub struct KeyError {
    part: KeyPart,
    at: usize,
}

impl KeyError {
    fn new(part: KeyPart, at: usize) -> Self {
        Self { part, at }
    }

    fn moved_by(self, bytes: usize) -> Self {
        Self {
            at: self.at.saturating_add(bytes),
            ..self
        }
    }

    /// The invalid part.
    pub fn part(&self) -> KeyPart {
        self.part
    }

    /// The position of the first invalid byte, counted from zero; for [`KeyPart::Length`] the
    /// length of the text.
    pub fn position(&self) -> usize {
        self.at
    }
}

/// The invalid part of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum KeyPart {
    /// The text is longer or shorter than a key.
    #[error("wrong length")]
    Length,
    /// `<prefix>_v1_`: the key of another service, or of another version.
    #[error("wrong prefix or version")]
    Prefix,
    /// The 32 lower-case hexadecimal digits.
    #[error("the id is not 32 lower-case hexadecimal digits")]
    Id,
    /// The `:` between identifier and secret.
    #[error("no colon between id and secret")]
    Separator,
    /// `<prefix>_sk_`.
    #[error("wrong secret marker")]
    Marker,
    /// The 36 characters after the marker.
    #[error("the secret has the wrong length")]
    Secret,
}

impl KeyFormat {
    /// Parses the public text of a key's identifier.
    ///
    /// # Errors
    ///
    /// [`KeyError`] names the invalid part and its position.
    pub fn parse_key_id(&self, text: &str) -> Result<KeyId, KeyError> {
        parse_key_id(self, text.as_bytes())
    }
}

/// Parses `<prefix>_v1_<32 digits>`.
pub(crate) fn parse_key_id(format: &KeyFormat, text: &[u8]) -> Result<KeyId, KeyError> {
    let head = format.head();
    match text.strip_prefix(head) {
        Some(digits) => KeyId::from_hex(digits)
            .map_err(|error| KeyError::new(KeyPart::Id, error.position()).moved_by(head.len())),
        None => Err(KeyError::new(KeyPart::Prefix, first_difference(text, head))),
    }
}

fn parse_secret<'a>(
    format: &KeyFormat,
    text: &'a [u8],
) -> Result<&'a [u8; KeyFormat::SECRET_CHARS], KeyError> {
    let mark = format.mark();
    let Some(characters) = text.strip_prefix(mark) else {
        return Err(KeyError::new(KeyPart::Marker, first_difference(text, mark)));
    };
    characters
        .try_into()
        .map_err(|_| KeyError::new(KeyPart::Secret, text.len()))
}

/// Locates the fault in a text that is not a key.
#[cold]
fn locate(format: &KeyFormat, text: &[u8]) -> KeyError {
    let id_len = format.head().len().saturating_add(KeyId::DIGITS);
    if text.len() != format.credential_len() {
        return KeyError::new(KeyPart::Length, text.len());
    }
    let (id, rest) = text.split_at_checked(id_len).unwrap_or((text, &[]));
    let secret = rest.strip_prefix(b":");
    parse_key_id(format, id)
        .and_then(|_| secret.ok_or(KeyError::new(KeyPart::Separator, id_len)))
        .and_then(|secret| {
            parse_secret(format, secret).map_err(|error| error.moved_by(id_len.saturating_add(1)))
        })
        .err()
        .unwrap_or(KeyError::new(KeyPart::Length, text.len()))
}

fn first_difference(text: &[u8], expected: &[u8]) -> usize {
    text.iter()
        .zip(expected)
        .position(|(a, b)| a != b)
        .unwrap_or(text.len().min(expected.len()))
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString;

    use super::*;

    const TEXT: &str =
        "dof_v1_d79e8aeb42e5476893c7d4c59a166264:dof_sk_AAECAwQFBgcICQoLDA0ODxAREhMUFRYdXLQI";

    fn dof() -> KeyFormat {
        KeyFormat::new("dof").unwrap()
    }

    #[test]
    fn a_text_and_a_pair_parse_to_the_same_key() {
        let one = PresentedKey::parse(&dof(), TEXT.as_bytes()).unwrap();
        let (id, secret) = TEXT.split_once(':').unwrap();
        let two = PresentedKey::from_pair(&dof(), id.as_bytes(), secret.as_bytes()).unwrap();
        assert_eq!(one.id(), two.id());
        assert_eq!(one.secret(), two.secret());
        assert_eq!(dof().parse_key_id(id), Ok(one.id()));
    }

    #[test]
    fn an_error_has_the_position_of_the_fault() {
        let change = |at: usize| {
            let mut bytes = TEXT.as_bytes().to_vec();
            bytes[at] = b'!';
            PresentedKey::parse(&dof(), &bytes).unwrap_err()
        };
        for (at, part) in [
            (0, KeyPart::Prefix),
            (5, KeyPart::Prefix),
            (7, KeyPart::Id),
            (38, KeyPart::Id),
            (39, KeyPart::Separator),
            (40, KeyPart::Marker),
            (46, KeyPart::Marker),
        ] {
            let error = change(at);
            assert_eq!((error.part(), error.position()), (part, at));
        }
        assert_eq!(
            PresentedKey::parse(&dof(), &TEXT.as_bytes()[1..]).unwrap_err(),
            KeyError::new(KeyPart::Length, 82)
        );
        assert_eq!(
            change(7).to_string(),
            "not a key: the id is not 32 lower-case hexadecimal digits, at byte 7"
        );
    }

    #[test]
    fn malformed_pairs_are_refused() {
        let (id, secret) = TEXT.split_once(':').unwrap();
        let (id, secret) = (id.as_bytes(), secret.as_bytes());
        for (id, secret, error) in [
            (&id[..38], secret, KeyError::new(KeyPart::Id, 38)),
            (b"", secret, KeyError::new(KeyPart::Prefix, 0)),
            (id, &secret[..42], KeyError::new(KeyPart::Secret, 42)),
            (id, b"dof", KeyError::new(KeyPart::Marker, 3)),
        ] {
            assert_eq!(
                PresentedKey::from_pair(&dof(), id, secret).unwrap_err(),
                error
            );
        }
    }

    #[test]
    fn the_debug_output_has_the_id_but_no_secret() {
        let key = PresentedKey::parse(&dof(), TEXT.as_bytes()).unwrap();
        assert_eq!(
            alloc::format!("{key:?}"),
            alloc::format!("PresentedKey {{ id: {:?}, .. }}", key.id())
        );
    }
}
