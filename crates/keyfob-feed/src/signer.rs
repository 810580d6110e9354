//! Who signs the feed, and whom a reader trusts.

use std::{fmt, str::FromStr};

use ring::{
    digest,
    signature::{ED25519, UnparsedPublicKey},
};
use serde::{Deserialize, Serialize};

use crate::{
    line::{Document, LineError, SignedLine, split},
    receiver::SKEW_MS,
    text,
};

/// The public key of a signer of the feed: Ed25519 (RFC 8032).
///
/// The text form is `keyfob-feed-v1:` and 43 characters of base64url without padding. It is not
/// secret.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SignerKey([u8; Self::LEN]);

impl SignerKey {
    const LEN: usize = 32;
    const PREFIX: &str = "keyfob-feed-v1:";

    pub(crate) fn from_public(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self)
    }

    /// The name of the signer in signed lines.
    pub fn id(&self) -> SignerId {
        let digest = digest::digest(&digest::SHA256, self.to_string().as_bytes());
        let mut id = [0; SignerId::LEN];
        for (byte, of_digest) in id.iter_mut().zip(digest.as_ref()) {
            *byte = *of_digest;
        }
        SignerId(id)
    }

    fn verify(&self, message: &[u8], signature: &[u8; 64]) -> bool {
        let key = UnparsedPublicKey::new(&ED25519, &self.0);
        key.verify(message, signature).is_ok()
    }
}

impl fmt::Display for SignerKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", Self::PREFIX, text::encode(&self.0))
    }
}

impl fmt::Debug for SignerKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for SignerKey {
    type Err = SignerKeyError;

    fn from_str(text: &str) -> Result<Self, SignerKeyError> {
        let key = text.strip_prefix(Self::PREFIX).ok_or(SignerKeyError)?;
        text::decode(key).map(Self).ok_or(SignerKeyError)
    }
}

impl Serialize for SignerKey {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for SignerKey {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// A text is not the public key of a signer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("signer: must be keyfob-feed-v1: and 43 characters of base64url")]
pub struct SignerKeyError;

/// The name of a signer: the first 8 bytes of SHA-256 over the text of its [`SignerKey`], as 16
/// hexadecimal digits. It selects a key; it proves nothing.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SignerId([u8; Self::LEN]);

impl SignerId {
    const LEN: usize = 8;
}

impl fmt::Display for SignerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for SignerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The signers that a reader trusts.
///
/// A reader starts with keys that its operator pinned. A [signers document](Trust::update) that one
/// of the trusted keys signed replaces the set, so that keys are rotated without touching readers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trust {
    keys: Vec<(String, SignerKey)>,
    version: u64,
}

impl Trust {
    /// The maximum number of signers at one time.
    pub const SIGNERS_MAX: usize = 8;
    /// How long after it was signed a signers document is accepted, in milliseconds: a server signs
    /// one for each request, and relays hand it on.
    pub const DOCUMENT_AGE_MS: u64 = 30_000;

    /// Trusts these keys, until a signers document replaces them.
    ///
    /// # Errors
    ///
    /// [`TrustError`] if there are none, or more than [`Trust::SIGNERS_MAX`].
    pub fn pinned(keys: impl IntoIterator<Item = SignerKey>) -> Result<Self, TrustError> {
        Self::of(keys, 0)
    }

    fn of(keys: impl IntoIterator<Item = SignerKey>, version: u64) -> Result<Self, TrustError> {
        let keys: Vec<_> = keys
            .into_iter()
            .map(|key| (key.id().to_string(), key))
            .collect();
        match keys.len() {
            0 => Err(TrustError::Empty),
            1..=Self::SIGNERS_MAX => Ok(Self { keys, version }),
            _ => Err(TrustError::TooMany),
        }
    }

    /// The trusted keys.
    pub fn keys(&self) -> impl Iterator<Item = &SignerKey> {
        self.keys.iter().map(|(_, key)| key)
    }

    /// The version of the last signers document; zero for pinned keys.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// Replaces the trusted keys by those of a signers document, which a key that is trusted now must
    /// have signed. Returns whether it did: a document of the current version or an older one changes
    /// nothing. `now` is the reader's time in Unix milliseconds.
    ///
    /// # Errors
    ///
    /// - the line is no signers document of a trusted signer -> [`TrustError::Line`]
    /// - it was signed more than [`Trust::DOCUMENT_AGE_MS`] ago, or claims a time to come ->
    ///   [`TrustError::Old`], [`TrustError::Future`]
    /// - it names no signer, or too many -> [`TrustError::Empty`], [`TrustError::TooMany`]
    ///
    /// # Security
    ///
    /// A reader that has only pinned keys cannot tell by the version whether a document was replaced
    /// since: without the limit on its age, somebody between it and the authority could bring back a
    /// signer that was retired.
    pub fn update(&mut self, line: &[u8], now: u64) -> Result<bool, TrustError> {
        let Some(document) = self.newer(line)? else {
            return Ok(false);
        };
        if document.as_of > now.saturating_add(SKEW_MS) {
            return Err(TrustError::Future);
        }
        if document.as_of.saturating_add(Self::DOCUMENT_AGE_MS) < now {
            return Err(TrustError::Old);
        }
        *self = Self::of(document.signers, document.version)?;
        Ok(true)
    }

    /// As [`Trust::update`], for a document that [`Trust::update`] accepted before and that the reader
    /// kept: its age is not limited.
    ///
    /// # Errors
    ///
    /// As [`Trust::update`].
    pub fn restore(&mut self, line: &[u8]) -> Result<bool, TrustError> {
        let Some(document) = self.newer(line)? else {
            return Ok(false);
        };
        *self = Self::of(document.signers, document.version)?;
        Ok(true)
    }

    /// The signers document of a trusted signer; none if it is not of a later version.
    fn newer(&self, line: &[u8]) -> Result<Option<SignersDocument>, TrustError> {
        let raw = self.verify(Document::Signers, line)?;
        let document: SignersDocument =
            serde_json::from_slice(raw).map_err(|_| TrustError::Line(LineError::Malformed))?;
        if document.version <= self.version {
            return Ok(None);
        }
        Ok(Some(document))
    }

    /// Returns the signed bytes of a line if a trusted signer signed them as this kind of document.
    pub(crate) fn verify<'a>(
        &self,
        document: Document,
        line: &'a [u8],
    ) -> Result<&'a [u8], LineError> {
        let parts = split(document, line).ok_or(LineError::Malformed)?;
        let of_signer = |(id, _): &&(String, SignerKey)| id.as_bytes() == parts.signer;
        let (_, key) = self
            .keys
            .iter()
            .find(of_signer)
            .ok_or(LineError::UnknownSigner)?;
        let signature = text::decode(parts.signature).ok_or(LineError::Forged)?;
        if key.verify(&document.message(parts.raw), &signature) {
            Ok(parts.raw)
        } else {
            Err(LineError::Forged)
        }
    }
}

/// The content of a signers document.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SignersDocument {
    pub(crate) version: u64,
    pub(crate) signers: Vec<SignerKey>,
    /// When it was signed, in Unix milliseconds.
    pub(crate) as_of: u64,
}

impl SignersDocument {
    pub(crate) fn signed(&self, by: &crate::keys::Signer) -> SignedLine {
        // Numbers and texts: it cannot fail.
        let raw = serde_json::to_vec(self).unwrap_or_default();
        by.sign(Document::Signers, &raw)
    }
}

/// A set of signers is not trusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TrustError {
    /// The line is not a document of a trusted signer.
    #[error("signers: {0}")]
    Line(#[from] LineError),
    /// The document was signed too long ago.
    #[error("signers: the document was signed too long ago")]
    Old,
    /// The document is of a time that has not come by the reader's clock.
    #[error("signers: the document is of a time to come: compare the clocks")]
    Future,
    /// There is no key.
    #[error("signers: there must be at least one")]
    Empty,
    /// There are too many keys.
    #[error("signers: at most {} are allowed", Trust::SIGNERS_MAX)]
    TooMany,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signer_key_has_exactly_one_text() {
        let key = SignerKey([5; 32]);
        let text = key.to_string();
        assert_eq!(text.len(), 15 + 43);
        assert_eq!(text.parse(), Ok(key));
        for bad in [
            &text[1..],
            &text[..text.len() - 1],
            "keyfob-feed-v2:BQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQU",
            "keyfob-feed-v1:BQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQV",
        ] {
            assert_eq!(bad.parse::<SignerKey>(), Err(SignerKeyError), "{bad}");
        }
    }

    #[test]
    fn there_is_at_least_one_signer_and_at_most_eight() {
        assert_eq!(Trust::pinned([]), Err(TrustError::Empty));
        let keys = |count| (0..count).map(|byte| SignerKey([byte; 32]));
        assert!(Trust::pinned(keys(8)).is_ok());
        assert_eq!(Trust::pinned(keys(9)), Err(TrustError::TooMany));
    }
}
