//! The plain text of a key that was just issued.

use alloc::string::String;
use core::fmt;

use zeroize::Zeroizing;

use crate::{
    format::KeyFormat,
    key_id::KeyId,
    presented::PresentedKey,
    random::{Random, RandomError},
};

/// The plain text of a new key, to be shown to its owner once.
///
/// It cannot be printed, compared, cloned or serialized; [`expose`](Self::expose) returns the text.
/// The memory is zeroized when the value is dropped.
///
/// # Examples
///
/// ```
/// use keyfob::{IssuedKey, key::{KeyFormat, PresentedKey}};
///
/// let format = KeyFormat::new("dof")?;
/// let issued = IssuedKey::generate(&format, &keyfob::key::SystemRandom)?;
/// let presented = PresentedKey::parse(&format, issued.expose().as_bytes())?;
/// assert_eq!(presented.id(), issued.id());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct IssuedKey {
    id: KeyId,
    /// `<prefix>_v1_<id>:<prefix>_sk_<secret>`
    text: Zeroizing<String>,
    characters: Zeroizing<[u8; KeyFormat::SECRET_CHARS]>,
}

impl IssuedKey {
    /// Generates a key with a new identifier and a new secret.
    ///
    /// # Errors
    ///
    /// [`RandomError`] if the random source fails or returns bytes that are all equal.
    pub fn generate(format: &KeyFormat, random: &dyn Random) -> Result<Self, RandomError> {
        Self::with_id(format, KeyId::from_bytes(draw(random)?), random)
    }

    /// Generates a new secret for an existing identifier.
    ///
    /// # Errors
    ///
    /// As [`IssuedKey::generate`].
    pub fn with_id(
        format: &KeyFormat,
        id: KeyId,
        random: &dyn Random,
    ) -> Result<Self, RandomError> {
        let secret = Zeroizing::new(draw(random)?);
        let mut characters = Zeroizing::new([0; KeyFormat::SECRET_CHARS]);
        format.encode_secret(&secret, &mut characters);

        // One allocation of the final size: a growing string would leave copies in memory.
        let mut text = Zeroizing::new(String::with_capacity(format.credential_len()));
        for part in [
            format.head(),
            &id.to_digits(),
            b":",
            format.mark(),
            &characters[..],
        ] {
            text.push_str(core::str::from_utf8(part).unwrap_or_default());
        }
        Ok(Self {
            id,
            text,
            characters,
        })
    }

    /// The key's public identifier.
    pub fn id(&self) -> KeyId {
        self.id
    }

    /// The whole credential, `<prefix>_v1_<id>:<prefix>_sk_<secret>`.
    ///
    /// # Security
    ///
    /// Anyone who has this text can use the key. Show it to its owner once, over a protected
    /// channel, and do not store it.
    pub fn expose(&self) -> &str {
        &self.text
    }

    /// The secret alone, `<prefix>_sk_<secret>`.
    ///
    /// # Security
    ///
    /// As [`IssuedKey::expose`].
    pub fn expose_secret(&self) -> &str {
        self.text.split_once(':').map_or("", |(_, secret)| secret)
    }

    /// Returns the value of an `Authorization` field with the key (RFC 6750, section 2.1).
    pub fn bearer(&self) -> BearerValue {
        const SCHEME: &str = "Bearer ";
        let len = SCHEME.len().saturating_add(self.text.len());
        // One allocation of the final size, as for the text.
        let mut value = Zeroizing::new(String::with_capacity(len));
        value.push_str(SCHEME);
        value.push_str(&self.text);
        BearerValue(value)
    }

    /// The key as its owner will present it.
    pub(crate) fn presented(&self) -> PresentedKey<'_> {
        PresentedKey::from_parts(self.id, &self.characters)
    }
}

impl fmt::Debug for IssuedKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IssuedKey")
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}

/// The value of an `Authorization` field with a key: [`IssuedKey::bearer`].
pub struct BearerValue(Zeroizing<String>);

impl BearerValue {
    /// The value, `Bearer <credential>`.
    ///
    /// # Security
    ///
    /// As [`IssuedKey::expose`].
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The value as bytes, for a [`Verifier`](crate::Verifier).
    pub fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

impl fmt::Debug for BearerValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("BearerValue(..)")
    }
}

/// Draws random bytes, and detects a stuck source.
fn draw<const N: usize>(random: &dyn Random) -> Result<[u8; N], RandomError> {
    let mut bytes = [0; N];
    random.fill(&mut bytes)?;
    // 16 random bytes are all equal with probability 2^-120.
    if bytes.iter().all(|byte| Some(byte) == bytes.first()) {
        return Err(RandomError);
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use alloc::{collections::BTreeSet, format, string::ToString, vec::Vec};
    use core::sync::atomic::{AtomicU8, Ordering};

    use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};

    use super::*;
    use crate::random::SystemRandom;

    #[test]
    fn a_generated_key_parses() {
        let format = KeyFormat::new("abcdefghijklmnop").unwrap();
        let issued = IssuedKey::generate(&format, &SystemRandom).unwrap();
        let presented = PresentedKey::parse(&format, issued.expose().as_bytes()).unwrap();
        assert_eq!(presented.secret(), issued.presented().secret());
        assert!(format.is_well_formed_secret(issued.expose_secret()));
        assert_eq!(
            issued.expose(),
            format!("{}:{}", format.key_id(issued.id()), issued.expose_secret())
        );
    }

    #[test]
    fn the_debug_output_has_the_id_but_no_secret() {
        let format = KeyFormat::new("dof").unwrap();
        let key = IssuedKey::generate(&format, &SystemRandom).unwrap();
        let expected = format!("IssuedKey {{ id: {}, .. }}", key.id());
        assert_eq!(format!("{key:?}"), expected);
    }

    #[test]
    fn a_secret_has_184_bits_of_the_random_source_and_the_id_has_none_of_them() {
        /// Returns 1, 2, 3, … and counts.
        struct Counting(AtomicU8);

        impl Random for Counting {
            fn fill(&self, bytes: &mut [u8]) -> Result<(), RandomError> {
                for byte in bytes {
                    *byte = self.0.fetch_add(1, Ordering::Relaxed);
                }
                Ok(())
            }
        }

        let format = KeyFormat::new("dof").unwrap();
        let source = Counting(AtomicU8::new(1));
        let key = IssuedKey::generate(&format, &source).unwrap();
        let drawn = source.0.load(Ordering::Relaxed) - 1;
        assert_eq!(drawn, 16 + 23, "no byte is drawn for nothing");
        let mut all: Vec<u8> = key.id().to_bytes().into();
        let characters = key.expose_secret().strip_prefix("dof_sk_").unwrap();
        all.extend(URL_SAFE_NO_PAD.decode(characters).unwrap().iter().take(23));
        // Id and secret together are every byte that was drawn, each once.
        all.sort_unstable();
        assert_eq!(all, (1..=drawn).collect::<Vec<u8>>());
    }

    #[test]
    fn generated_keys_are_distinct() {
        let format = KeyFormat::new("dof").unwrap();
        let keys: BTreeSet<_> = (0..10_000)
            .map(|_| IssuedKey::generate(&format, &SystemRandom).unwrap())
            .flat_map(|key| [key.id().to_string(), key.expose_secret().to_string()])
            .collect();
        assert_eq!(keys.len(), 20_000);
    }

    #[test]
    fn a_rotated_key_keeps_its_id() {
        let format = KeyFormat::new("dof").unwrap();
        let old = IssuedKey::generate(&format, &SystemRandom).unwrap();
        let new = IssuedKey::with_id(&format, old.id(), &SystemRandom).unwrap();
        assert_eq!(new.id(), old.id());
        assert_ne!(new.expose_secret(), old.expose_secret());
    }

    #[test]
    fn a_constant_random_source_creates_no_key() {
        struct Stuck;

        impl Random for Stuck {
            fn fill(&self, bytes: &mut [u8]) -> Result<(), RandomError> {
                bytes.fill(0x42);
                Ok(())
            }
        }

        let format = KeyFormat::new("dof").unwrap();
        assert_eq!(
            IssuedKey::generate(&format, &Stuck).unwrap_err(),
            RandomError
        );
    }
}
