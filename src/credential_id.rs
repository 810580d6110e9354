//! The public identifier of a key or a legacy credential.

use alloc::{format, string::String};
use core::{fmt, str::FromStr};

use crate::{
    format::KeyFormat,
    key_id::{KeyId, KeyIdError},
    legacy_id::{LegacyId, LegacyIdError},
};

/// The public identifier of a key or a legacy credential.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum CredentialId {
    /// A key.
    Key(KeyId),
    /// A legacy credential.
    Legacy(LegacyId),
}

/// Writes `key:4f…` or `legacy:23bc46b1-…`, the form used in JSON too. [`KeyFormat::credential_id`]
/// returns the text with the key prefix, for people.
impl fmt::Display for CredentialId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Key(id) => write!(f, "key:{id}"),
            Self::Legacy(id) => write!(f, "legacy:{id}"),
        }
    }
}

impl FromStr for CredentialId {
    type Err = CredentialIdError;

    fn from_str(text: &str) -> Result<Self, CredentialIdError> {
        match text.split_once(':') {
            Some(("key", id)) => Ok(Self::Key(KeyId::from_hex(id.as_bytes())?)),
            Some(("legacy", id)) => Ok(Self::Legacy(LegacyId::parse(id.as_bytes())?)),
            _ => Err(CredentialIdError::Kind),
        }
    }
}

#[cfg(feature = "serde")]
impl serde::Serialize for CredentialId {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(feature = "serde")]
impl<'de> serde::Deserialize<'de> for CredentialId {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <alloc::borrow::Cow<'de, str>>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// A text is not the identifier of a credential.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CredentialIdError {
    /// The text begins with neither `key:` nor `legacy:`.
    #[error("credential: must be key:ID or legacy:UUID")]
    Kind,
    /// The identifier of a key is not 32 lower-case hexadecimal digits.
    #[error(transparent)]
    Key(#[from] KeyIdError),
    /// The identifier of a legacy credential is not a UUID.
    #[error(transparent)]
    Legacy(#[from] LegacyIdError),
}

impl KeyFormat {
    /// Returns the public text of a credential's identifier: that of a key, or the UUID of a legacy
    /// credential.
    pub fn credential_id(&self, id: CredentialId) -> String {
        match id {
            CredentialId::Key(id) => self.key_id(id),
            CredentialId::Legacy(id) => format!("{id}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString;

    use super::*;

    #[test]
    fn the_text_of_an_id_names_its_kind() {
        let key = CredentialId::Key(KeyId::from_bytes([0x4f; 16]));
        assert_eq!(key.to_string(), "key:4f4f4f4f4f4f4f4f4f4f4f4f4f4f4f4f");
        let legacy = CredentialId::Legacy(LegacyId::from_bytes([0x23; 16]));
        assert_eq!(
            legacy.to_string(),
            "legacy:23232323-2323-2323-2323-232323232323"
        );
        for id in [key, legacy] {
            assert_eq!(id.to_string().parse(), Ok(id));
        }
        for text in ["", "key", "key:4F", "4f4f", "legacy:", "Key:4f"] {
            text.parse::<CredentialId>().unwrap_err();
        }
    }
}
