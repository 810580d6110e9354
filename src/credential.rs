//! A credential of either kind.

use core::fmt;

use crate::{
    format::KeyFormat,
    key_id::KeyId,
    legacy::{LegacyId, PresentedLegacy},
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

/// The public identifier of a credential of either kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum CredentialId {
    /// A key of this library.
    Key(KeyId),
    /// A shared credential of the old model.
    Legacy(LegacyId),
}

/// `key 4f…` or `legacy 23bc46b1-…`.
impl fmt::Display for CredentialId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Key(id) => write!(f, "key {id}"),
            Self::Legacy(id) => write!(f, "legacy {id}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString;

    use super::*;

    #[test]
    fn an_id_says_of_which_kind_it_is() {
        let key = CredentialId::Key(KeyId::from_bytes([0x4f; 16]));
        assert_eq!(key.to_string(), "key 4f4f4f4f4f4f4f4f4f4f4f4f4f4f4f4f");
        let legacy = CredentialId::Legacy(LegacyId::from_bytes([0x23; 16]));
        assert_eq!(
            legacy.to_string(),
            "legacy 23232323-2323-2323-2323-232323232323"
        );
    }
}
