//! A credential of either kind.

use crate::{
    credential_id::CredentialId,
    format::KeyFormat,
    legacy::PresentedLegacy,
    presented::{KeyError, PresentedKey},
};

/// What somebody presents: a key, or a legacy credential.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum Credential<'a> {
    /// A key of this library.
    Key(PresentedKey<'a>),
    /// A shared credential of the old model.
    Legacy(PresentedLegacy<'a>),
}

impl<'a> Credential<'a> {
    /// Reads a credential's text. Does not allocate.
    ///
    /// # Errors
    ///
    /// Text that is of neither shape gets the [`KeyError`] that [`PresentedKey::parse`] gives.
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
