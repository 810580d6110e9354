//! The text form of keys, shared by parser, generator and secret scanners.

use alloc::{format, string::String};
use core::{fmt, str::FromStr};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use zeroize::Zeroizing;

use crate::key_id::KeyId;

/// The text form of an embedder's keys: `<prefix>_v1_<id>:<prefix>_sk_<secret>`.
///
/// | part | text |
/// |---|---|
/// | prefix | chosen by the embedder: `[a-z][a-z0-9]{0,15}` |
/// | id | 32 lower-case hexadecimal digits, 128 random bits, public |
/// | secret | 36 characters of unpadded base64url (RFC 4648, section 5): 23 random bytes, then the CRC-32 (IEEE 802.3, most significant byte first) over `<prefix>_sk_` and the 23 bytes |
///
/// 27 bytes are a multiple of three, so the last character has no unused bits, and each key has
/// exactly one text.
///
/// # Examples
///
/// ```
/// let format = keyfob::key::KeyFormat::new("dof")?;
/// assert_eq!(format.key_id_pattern(), "dof_v1_[0-9a-f]{32}");
/// # Ok::<(), keyfob::key::FormatError>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct KeyFormat {
    /// `<prefix>_v1_`, padded with zeros.
    head: [u8; Self::MARK_MAX],
    /// `<prefix>_sk_`, padded with zeros.
    mark: [u8; Self::MARK_MAX],
    /// The length of `head`, and of `mark`.
    mark_len: usize,
    /// The length of a credential.
    len: usize,
    /// Matches `head` at the start of a text.
    head_window: Window,
    /// Matches a colon and `mark` before the characters of the secret.
    mark_window: Window,
}

impl KeyFormat {
    /// The maximum length of a prefix, in characters.
    pub const PREFIX_MAX: usize = 16;
    /// The number of characters of a secret after its marker.
    pub(crate) const SECRET_CHARS: usize = 36;
    const MARK_MAX: usize = Self::PREFIX_MAX + 4;
    const RANDOM_BYTES: usize = 23;
    const SECRET_BYTES: usize = Self::RANDOM_BYTES + 4;

    /// Creates the format with a prefix, `[a-z][a-z0-9]{0,15}`.
    ///
    /// There is no default: a unique prefix identifies the service of a leaked key.
    ///
    /// # Errors
    ///
    /// [`FormatError`] with the position of the first invalid character.
    pub fn new(prefix: &str) -> Result<Self, FormatError> {
        if prefix.is_empty() {
            return Err(FormatError::Empty);
        }
        let fits = |(at, byte): (usize, u8)| match byte {
            b'a'..=b'z' => true,
            b'0'..=b'9' => at > 0,
            _ => false,
        };
        if let Some(at) = prefix.bytes().enumerate().position(|place| !fits(place)) {
            return Err(FormatError::Character { at });
        }
        if prefix.len() > Self::PREFIX_MAX {
            return Err(FormatError::TooLong);
        }
        let mut format = Self {
            head: [0; Self::MARK_MAX],
            mark: [0; Self::MARK_MAX],
            mark_len: prefix.len().saturating_add(4),
            len: (prefix.len().saturating_add(4))
                .saturating_mul(2)
                .saturating_add(KeyId::DIGITS + 1 + Self::SECRET_CHARS),
            head_window: Window::default(),
            mark_window: Window::default(),
        };
        for (place, byte) in format.head.iter_mut().zip(prefix.bytes().chain(*b"_v1_")) {
            *place = byte;
        }
        for (place, byte) in format.mark.iter_mut().zip(prefix.bytes().chain(*b"_sk_")) {
            *place = byte;
        }
        format.head_window = Window::new(format.head().iter().copied().enumerate());
        let marked = format.mark().iter().rev().chain(b":").copied();
        format.mark_window = Window::new((0..Window::LEN).rev().zip(marked));
        Ok(format)
    }

    /// The prefix.
    pub fn prefix(&self) -> &str {
        let head = core::str::from_utf8(self.head()).unwrap_or_default();
        head.strip_suffix("_v1_").unwrap_or_default()
    }

    /// Returns the public text of a key's identifier, `<prefix>_v1_<32 digits>`, as shown in lists
    /// and logs and used as user name in HTTP Basic.
    pub fn key_id(&self, id: KeyId) -> String {
        let head = core::str::from_utf8(self.head()).unwrap_or_default();
        let digits = id.to_digits();
        [head, core::str::from_utf8(&digits).unwrap_or_default()].concat()
    }

    /// The length of a credential, in bytes.
    pub const fn credential_len(&self) -> usize {
        self.len
    }

    /// A regular expression that matches a whole credential. It has no look-around and works in
    /// every common engine.
    pub fn credential_pattern(&self) -> String {
        format!("{}:{}", self.key_id_pattern(), self.secret_pattern())
    }

    /// A regular expression that matches a key's public identifier.
    pub fn key_id_pattern(&self) -> String {
        format!("{}_v1_[0-9a-f]{{32}}", self.prefix())
    }

    /// A regular expression that matches a secret on its own.
    pub fn secret_pattern(&self) -> String {
        format!("{}_sk_[A-Za-z0-9_-]{{36}}", self.prefix())
    }

    /// Whether the checksum of `secret`, a match of [`secret_pattern`](Self::secret_pattern), is
    /// correct.
    ///
    /// For scanners of source code and logs: of random texts that match the pattern, one in 2³²
    /// passes. The check needs no store and does not tell whether the key is valid.
    pub fn is_well_formed_secret(&self, secret: &str) -> bool {
        secret
            .as_bytes()
            .strip_prefix(self.mark())
            .and_then(|characters| characters.try_into().ok())
            .is_some_and(|characters| self.checksum_fits(characters))
    }

    /// `<prefix>_v1_`
    pub(crate) fn head(&self) -> &[u8] {
        self.head.get(..self.mark_len).unwrap_or_default()
    }

    /// `<prefix>_sk_`
    pub(crate) fn mark(&self) -> &[u8] {
        self.mark.get(..self.mark_len).unwrap_or_default()
    }

    /// The bytes at the position of the id's digits; `None` if the length is wrong.
    #[inline]
    pub(crate) fn digits<'a>(&self, text: &'a [u8]) -> Option<&'a [u8; KeyId::DIGITS]> {
        let fits = text.len() == self.credential_len();
        let digits = text.get(self.mark_len..)?.first_chunk()?;
        fits.then_some(digits)
    }

    /// The characters of the secret of a text of the right length; `None` if prefix, version, colon
    /// or marker do not match.
    #[inline]
    pub(crate) fn secret<'a>(&self, text: &'a [u8]) -> Option<&'a [u8; Self::SECRET_CHARS]> {
        let (front, characters) = text.split_last_chunk()?;
        let mut fits = self.head_window.begins(*front.first_chunk()?)
            & self.mark_window.ends(*front.last_chunk()?);
        // One word covers a colon and the marker of a prefix of up to three characters.
        if self.mark_len >= Window::WORD {
            fits &= self.head_window.fits(front.first_chunk()?)
                & self.mark_window.fits(front.last_chunk()?);
        }
        fits.then_some(characters)
    }

    /// Whether the last four bytes of a secret are the checksum of the bytes before them.
    pub(crate) fn checksum_fits(&self, characters: &[u8; Self::SECRET_CHARS]) -> bool {
        let mut bytes = Zeroizing::new([0; Self::SECRET_BYTES]);
        if URL_SAFE_NO_PAD.decode_slice(characters, &mut bytes[..]) != Ok(Self::SECRET_BYTES) {
            return false;
        }
        match (bytes.first_chunk(), bytes.last_chunk()) {
            (Some(random), Some(checksum)) => self.checksum(random) == *checksum,
            _ => false,
        }
    }

    /// Writes the 36 characters of the secret with these random bytes.
    pub(crate) fn encode_secret(
        &self,
        random: &[u8; Self::RANDOM_BYTES],
        characters: &mut [u8; Self::SECRET_CHARS],
    ) {
        let mut bytes = Zeroizing::new([0; Self::SECRET_BYTES]);
        for (place, byte) in bytes
            .iter_mut()
            .zip(random.iter().chain(&self.checksum(random)))
        {
            *place = *byte;
        }
        // 27 bytes encode to exactly 36 characters.
        let _ = URL_SAFE_NO_PAD.encode_slice(&bytes[..], characters);
    }

    fn checksum(&self, random: &[u8; Self::RANDOM_BYTES]) -> [u8; 4] {
        let mut crc = crc32fast::Hasher::new();
        crc.update(self.mark());
        crc.update(random);
        crc.finalize().to_be_bytes()
    }
}

/// A pattern for 24 bytes with a mask, compared as three words.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
struct Window {
    words: [u64; 3],
    masks: [u64; 3],
}

impl Window {
    const LEN: usize = 24;
    const WORD: usize = 8;

    /// Creates a pattern with these bytes at these positions.
    fn new(places: impl Iterator<Item = (usize, u8)>) -> Self {
        let (mut bytes, mut masks) = ([0; Self::LEN], [0; Self::LEN]);
        for (at, byte) in places {
            if let (Some(place), Some(mask)) = (bytes.get_mut(at), masks.get_mut(at)) {
                (*place, *mask) = (byte, 0xff);
            }
        }
        Self {
            words: Self::words(&bytes),
            masks: Self::words(&masks),
        }
    }

    /// Matches the first word alone.
    #[inline]
    fn begins(&self, text: [u8; Self::WORD]) -> bool {
        let ([own, ..], [mask, ..]) = (self.words, self.masks);
        (u64::from_le_bytes(text) ^ own) & mask == 0
    }

    /// Matches the last word alone.
    #[inline]
    fn ends(&self, text: [u8; Self::WORD]) -> bool {
        let ([.., own], [.., mask]) = (self.words, self.masks);
        (u64::from_le_bytes(text) ^ own) & mask == 0
    }

    #[inline]
    fn fits(&self, text: &[u8; Self::LEN]) -> bool {
        let mut difference = 0;
        let both = Self::words(text).into_iter().zip(self.words);
        for ((word, own), mask) in both.zip(self.masks) {
            difference |= (word ^ own) & mask;
        }
        difference == 0
    }

    #[inline]
    fn words(bytes: &[u8; Self::LEN]) -> [u64; 3] {
        let mut words = [0; 3];
        for (word, bytes) in words.iter_mut().zip(bytes.chunks_exact(8)) {
            *word = u64::from_le_bytes(bytes.first_chunk().copied().unwrap_or_default());
        }
        words
    }
}

impl fmt::Debug for KeyFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("KeyFormat").field(&self.prefix()).finish()
    }
}

/// A prefix is invalid.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FormatError {
    /// The prefix is empty.
    #[error("the key prefix is empty")]
    Empty,
    /// The prefix has more than 16 characters.
    #[error("the key prefix is longer than 16 characters")]
    TooLong,
    /// A character is not in `[a-z0-9]`, or the first one is a digit.
    #[error(
        "the key prefix has an invalid character at position {at}; it must match [a-z][a-z0-9]{{0,15}}"
    )]
    Character {
        /// The byte position of the character.
        at: usize,
    },
}

/// Lets [`Keyring::open`](crate::Keyring::open) take a format as well as a prefix.
impl From<core::convert::Infallible> for FormatError {
    fn from(never: core::convert::Infallible) -> Self {
        match never {}
    }
}

impl TryFrom<&str> for KeyFormat {
    type Error = FormatError;

    fn try_from(prefix: &str) -> Result<Self, FormatError> {
        Self::new(prefix)
    }
}

impl FromStr for KeyFormat {
    type Err = FormatError;

    fn from_str(prefix: &str) -> Result<Self, FormatError> {
        Self::new(prefix)
    }
}

/// Writes the prefix.
impl fmt::Display for KeyFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.prefix())
    }
}

#[cfg(feature = "serde")]
impl serde::Serialize for KeyFormat {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(feature = "serde")]
impl<'de> serde::Deserialize<'de> for KeyFormat {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let prefix = <alloc::borrow::Cow<'de, str>>::deserialize(deserializer)?;
        Self::new(&prefix).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::credential_id::CredentialId;

    #[test]
    fn invalid_prefixes_are_refused() {
        for good in ["a", "dof", "a0", "abcdefghijklmnop"] {
            let format = KeyFormat::new(good).unwrap();
            assert_eq!(format.prefix(), good);
            assert_eq!(format!("{format:?}"), format!("KeyFormat({good:?})"));
        }
        assert_eq!(KeyFormat::new(""), Err(FormatError::Empty));
        assert_eq!(
            KeyFormat::new("abcdefghijklmnopq"),
            Err(FormatError::TooLong)
        );
        for (bad, at) in [("0a", 0), ("aB", 1), ("a_b", 1), ("aé", 1), ("a b", 1)] {
            assert_eq!(KeyFormat::new(bad), Err(FormatError::Character { at }));
        }
    }

    #[test]
    fn any_change_outside_id_and_secret_is_refused_for_any_prefix() {
        let whole = "abcdefghijklmnop";
        for length in 1..=whole.len() {
            let format = KeyFormat::new(&whole[..length]).unwrap();
            let prefix = format.prefix();
            let (id, secret) = ("0123456789abcdef".repeat(2), "x".repeat(36));
            let text = format!("{prefix}_v1_{id}:{prefix}_sk_{secret}");
            let read = |text: &[u8]| format.digits(text).is_some() && format.secret(text).is_some();
            assert!(read(text.as_bytes()), "{text}");
            let head = 0..length + 4;
            let middle = length + 4 + id.len()..text.len() - secret.len();
            for at in head.chain(middle) {
                for flip in [0x01, 0x20, 0x80] {
                    let mut other = text.clone().into_bytes();
                    other[at] ^= flip;
                    assert!(!read(&other), "{prefix}: byte {at}");
                }
            }
            for other in [&text[1..], &text[..text.len() - 1], &format!("{text}x")] {
                assert!(!read(other.as_bytes()), "{prefix}: another length");
            }
        }
    }

    #[test]
    fn the_checksum_matches_an_independent_implementation() {
        // python3 -c 'import base64, zlib; r = bytes(range(23));
        //   print(base64.urlsafe_b64encode(r + zlib.crc32(b"dof_sk_" + r).to_bytes(4, "big")))'
        let format = KeyFormat::new("dof").unwrap();
        let random = core::array::from_fn(|i| u8::try_from(i).unwrap());
        let mut characters = [0; 36];
        format.encode_secret(&random, &mut characters);
        assert_eq!(&characters, GOLDEN);
        assert!(format.checksum_fits(&characters));
    }

    const GOLDEN: &[u8; 36] = b"AAECAwQFBgcICQoLDA0ODxAREhMUFRYdXLQI";

    #[test]
    fn a_secret_is_valid_for_its_prefix_only() {
        let (dof, abc) = (
            KeyFormat::new("dof").unwrap(),
            KeyFormat::new("abc").unwrap(),
        );
        let mut characters = [0; 36];
        dof.encode_secret(&[7; 23], &mut characters);
        assert!(dof.checksum_fits(&characters));
        assert!(!abc.checksum_fits(&characters));
    }

    #[test]
    fn ids_and_patterns_have_the_documented_form() {
        let format = KeyFormat::new("dof").unwrap();
        let id = "d79e8aeb42e5476893c7d4c59a166264";
        let public = format!("dof_v1_{id}");
        let key = CredentialId::Key(KeyId::from_hex(id.as_bytes()).unwrap());
        assert_eq!(format.credential_id(key), public);
        let uuid = "23bc46b1-71f6-4ed5-8c54-816aa4f8c502";
        let text = format!("{uuid}:{}", "x".repeat(64));
        let legacy = crate::legacy::PresentedLegacy::parse(text.as_bytes()).unwrap();
        assert_eq!(
            format.credential_id(CredentialId::Legacy(legacy.id())),
            uuid
        );

        assert_eq!(format.key_id_pattern(), "dof_v1_[0-9a-f]{32}");
        assert_eq!(format.secret_pattern(), "dof_sk_[A-Za-z0-9_-]{36}");
        assert_eq!(
            format.credential_pattern(),
            "dof_v1_[0-9a-f]{32}:dof_sk_[A-Za-z0-9_-]{36}"
        );
    }

    #[test]
    fn the_checksum_distinguishes_secrets_from_similar_texts() {
        let format = KeyFormat::new("dof").unwrap();
        let secret = "dof_sk_AAECAwQFBgcICQoLDA0ODxAREhMUFRYdXLQI";
        assert!(format.is_well_formed_secret(secret));
        for other in [
            "dof_sk_AAECAwQFBgcICQoLDA0ODxAREhMUFRYdXLQJ",
            "dof_sk_BAECAwQFBgcICQoLDA0ODxAREhMUFRYdXLQI",
            "dof_sk_AAECAwQFBgcICQoLDA0ODxAREhMUFRYdXLQ",
            "dof_sk_AAECAwQFBgcICQoLDA0ODxAREhMUFRYdXL+I",
            "abc_sk_AAECAwQFBgcICQoLDA0ODxAREhMUFRYdXLQI",
            "AAECAwQFBgcICQoLDA0ODxAREhMUFRYdXLQI",
            "",
        ] {
            assert!(!format.is_well_formed_secret(other), "{other}");
        }
    }
}
