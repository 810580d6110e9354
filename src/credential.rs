//! Credentials and their identifiers: keys and legacy credentials.

use crate::{
    credential_id::CredentialId,
    format::KeyFormat,
    legacy::PresentedLegacy,
    presented::{KeyError, PresentedKey},
};

/// A presented credential: a key or a legacy credential.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum Credential<'a> {
    /// A key.
    Key(PresentedKey<'a>),
    /// A legacy credential.
    Legacy(PresentedLegacy<'a>),
}

impl<'a> Credential<'a> {
    /// Parses the text of a credential. Does not allocate.
    ///
    /// # Errors
    ///
    /// If the text is neither, the [`KeyError`] of [`PresentedKey::parse`].
    #[inline]
    pub fn parse(format: &KeyFormat, text: &'a [u8]) -> Result<Self, KeyError> {
        match PresentedKey::parse(format, text) {
            Ok(key) => Ok(Self::Key(key)),
            Err(error) => Self::parse_legacy(text).ok_or(error),
        }
    }

    #[cold]
    fn parse_legacy(text: &'a [u8]) -> Option<Self> {
        PresentedLegacy::parse(text).ok().map(Self::Legacy)
    }

    /// The credential's public identifier.
    pub fn id(&self) -> CredentialId {
        match self {
            Self::Key(key) => CredentialId::Key(key.id()),
            Self::Legacy(legacy) => CredentialId::Legacy(legacy.id()),
        }
    }
}
