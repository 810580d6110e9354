//! Digests of secrets, and peppers.

use alloc::{format, string::String, vec::Vec};
use core::{fmt, num::NonZeroU8};

use subtle::{Choice, ConstantTimeEq};
use zeroize::Zeroize;

use crate::{
    format::KeyFormat,
    hash::{self, EMPTY_BLOCK, MacKey, ONE_BLOCK_LEN, OneBlock},
    issued::IssuedKey,
    key_id::KeyId,
    presented::PresentedKey,
};

/// The digest of a key's secret: SHA-256, or HMAC-SHA-256 under a pepper.
///
/// It covers `"kf1"`, the 16 bytes of the identifier and the 36 characters of the secret: 55 bytes,
/// one SHA-256 block. Since it includes the identifier, a digest that is moved to another record
/// matches no secret. The digest of a legacy credential covers `"kl1"` and its text.
///
/// A secret of 184 random bits needs no slow hash: from 112 bits on, OWASP ASVS 5.0 (6.5.2) and
/// NIST SP 800-63B (look-up secrets) only require an approved one-way function.
///
/// There is no `==`: verification compares digests in constant time.
#[derive(Clone, Copy)]
pub struct KeyDigest {
    pepper: Option<PepperId>,
    lanes: Lanes,
}

/// A digest as four words, for comparison.
pub(crate) type Lanes = [u64; 4];

impl KeyDigest {
    /// Computes the digest of a new key under the current pepper.
    pub fn of(key: &IssuedKey, peppers: &Peppers) -> Self {
        Self::of_presented(&key.presented(), peppers)
    }

    /// Computes the digest of a presented key under the current pepper.
    pub(crate) fn of_presented(key: &PresentedKey<'_>, peppers: &Peppers) -> Self {
        Self {
            pepper: peppers.current,
            lanes: key_lanes(key, peppers.current()),
        }
    }

    /// Creates a digest from its words, made under the current pepper.
    pub(crate) fn from_lanes(lanes: Lanes, peppers: &Peppers) -> Self {
        Self {
            pepper: peppers.current,
            lanes,
        }
    }

    /// Whether this is the digest of `key`'s secret, in constant time; `false` if `peppers` lacks
    /// the digest's pepper.
    pub fn matches(&self, key: &PresentedKey<'_>, peppers: &Peppers) -> bool {
        match peppers.find(self.pepper) {
            Ok(pepper) => bool::from(same(&key_lanes(key, pepper), &self.lanes)),
            Err(UnknownPepper) => false,
        }
    }

    /// The pepper of the digest, if any.
    pub fn pepper(&self) -> Option<PepperId> {
        self.pepper
    }

    /// Returns the stored form: `sha256:<64 digits>` or `hmac-sha256:<pepper>:<64 digits>`, with
    /// lower-case hexadecimal digits.
    pub fn to_text(&self) -> String {
        let [a, b, c, d] = self.lanes.map(u64::swap_bytes);
        let digits = format!("{a:016x}{b:016x}{c:016x}{d:016x}");
        match self.pepper {
            None => format!("sha256:{digits}"),
            Some(pepper) => format!("hmac-sha256:{pepper}:{digits}"),
        }
    }

    /// Parses the form that [`to_text`](Self::to_text) returns.
    ///
    /// # Errors
    ///
    /// [`DigestError`] for an unknown scheme or any other text.
    pub fn from_text(text: &str) -> Result<Self, DigestError> {
        let (pepper, digits) = if let Some(digits) = text.strip_prefix("sha256:") {
            (None, digits)
        } else if let Some(rest) = text.strip_prefix("hmac-sha256:") {
            let (pepper, digits) = rest.split_once(':').ok_or(DigestError)?;
            let id: NonZeroU8 = pepper.parse().map_err(|_| DigestError)?;
            (Some((PepperId(id), pepper)), digits)
        } else {
            return Err(DigestError);
        };
        // Refuses a sign and leading zeros, which `parse` takes.
        let canonical =
            |pepper: &str| pepper.bytes().all(|b| b.is_ascii_digit()) && !pepper.starts_with('0');
        if pepper.is_some_and(|(_, text)| !canonical(text)) || digits.len() != 2 * KeyId::DIGITS {
            return Err(DigestError);
        }
        let mut lanes = [0; 4];
        let halves = digits.as_bytes().chunks_exact(KeyId::DIGITS);
        for (lanes, half) in lanes.chunks_exact_mut(2).zip(halves) {
            // The identifier of a key has the same digits.
            let half = half.first_chunk().and_then(KeyId::from_digits);
            let bytes = half.ok_or(DigestError)?.to_bytes();
            for (lane, bytes) in lanes.iter_mut().zip(bytes.chunks_exact(8)) {
                *lane = u64::from_le_bytes(bytes.first_chunk().copied().unwrap_or_default());
            }
        }
        let pepper = pepper.map(|(id, _)| id);
        Ok(Self { pepper, lanes })
    }

    /// The words of the digest.
    #[cfg(feature = "std")]
    pub(crate) fn lanes(&self) -> &Lanes {
        &self.lanes
    }

    pub(crate) fn tag(&self) -> SecretTag {
        SecretTag::of(&self.lanes)
    }
}

/// Tells the secrets of a key apart: a part of the digest, which reveals nothing of a secret of 184
/// random bits.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(transparent))]
pub struct SecretTag(u64);

impl SecretTag {
    #[inline]
    pub(crate) fn of([tag, ..]: &Lanes) -> Self {
        Self(*tag)
    }
}

impl fmt::Debug for SecretTag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretTag")
    }
}

impl fmt::Debug for KeyDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyDigest")
            .field("pepper", &self.pepper)
            .finish_non_exhaustive()
    }
}

#[cfg(feature = "serde")]
impl serde::Serialize for KeyDigest {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.to_text())
    }
}

#[cfg(feature = "serde")]
impl<'de> serde::Deserialize<'de> for KeyDigest {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        crate::parsed::parsed(deserializer, Self::from_text)
    }
}

/// A text is not a digest of a supported scheme.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("digest: must be sha256:<64 digits> or hmac-sha256:<pepper>:<64 digits>")]
pub struct DigestError;

/// The number of a pepper, 1 to 255.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PepperId(NonZeroU8);

impl PepperId {
    /// Creates a pepper number; `None` for zero.
    pub const fn new(id: u8) -> Option<Self> {
        match NonZeroU8::new(id) {
            Some(id) => Some(Self(id)),
            None => None,
        }
    }

    /// The number.
    pub const fn get(self) -> u8 {
        self.0.get()
    }
}

impl fmt::Display for PepperId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// The secret HMAC keys of digests, kept outside the store.
///
/// There may be several: new digests are made under the current one, and old ones are verified
/// under theirs. To rotate a pepper, add the new one as current, replace digests as keys are used
/// or rotated (see [`Keyring::rehash`](crate::Keyring::rehash)), then drop the old one. Running
/// without peppers is safe too: a secret of 184 random bits cannot be found by search.
#[derive(Clone, Default)]
pub struct Peppers {
    keys: Vec<(PepperId, MacKey)>,
    current: Option<PepperId>,
}

impl Peppers {
    /// The minimum length of a pepper, in bytes: the output length of SHA-256 (RFC 2104, section
    /// 3).
    pub const LEN_MIN: usize = 32;

    /// Creates an empty set of peppers: digests are plain SHA-256.
    pub const fn none() -> Self {
        Self {
            keys: Vec::new(),
            current: None,
        }
    }

    /// Adds a pepper that existing digests are verified under.
    ///
    /// # Errors
    ///
    /// [`PepperError`] if it is shorter than [`Peppers::LEN_MIN`] or its number is taken.
    pub fn with(mut self, id: PepperId, pepper: &[u8]) -> Result<Self, PepperError> {
        if pepper.len() < Self::LEN_MIN {
            return Err(PepperError::TooShort(id));
        }
        if self.find(Some(id)).is_ok() {
            return Err(PepperError::Repeated(id));
        }
        self.keys.push((id, MacKey::new(pepper)));
        Ok(self)
    }

    /// Adds a pepper and makes it the current one, under which new digests are made.
    ///
    /// # Errors
    ///
    /// As [`Peppers::with`].
    pub fn with_current(self, id: PepperId, pepper: &[u8]) -> Result<Self, PepperError> {
        let mut peppers = self.with(id, pepper)?;
        peppers.current = Some(id);
        Ok(peppers)
    }

    /// The numbers of all peppers, in the order in which they were added.
    pub fn ids(&self) -> impl Iterator<Item = PepperId> {
        self.keys.iter().map(|(id, _)| *id)
    }

    /// The number of the current pepper.
    pub fn current_id(&self) -> Option<PepperId> {
        self.current
    }

    /// [`PepperId::get`] of the current pepper; zero for none.
    #[cfg(feature = "std")]
    #[inline]
    pub(crate) fn current_number(&self) -> u8 {
        self.current.map_or(0, PepperId::get)
    }

    #[inline]
    pub(crate) fn current(&self) -> Option<&MacKey> {
        self.key(self.current?)
    }

    #[inline]
    fn key(&self, id: PepperId) -> Option<&MacKey> {
        let found = self.keys.iter().find(|(known, _)| *known == id);
        found.map(|(_, key)| key)
    }

    /// Looks up a pepper by number; no number means no pepper.
    pub(crate) fn find(&self, id: Option<PepperId>) -> Result<Option<&MacKey>, UnknownPepper> {
        match id {
            None => Ok(None),
            Some(id) => self.key(id).map(Some).ok_or(UnknownPepper),
        }
    }
}

impl fmt::Debug for Peppers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Peppers")
            .field(
                "ids",
                &self.keys.iter().map(|(id, _)| id.get()).collect::<Vec<_>>(),
            )
            .field("current", &self.current.map(PepperId::get))
            .finish()
    }
}

/// A digest is under a pepper that is not configured.
#[derive(Clone, Copy, Debug)]
pub(crate) struct UnknownPepper;

/// A pepper is invalid.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PepperError {
    /// The pepper is shorter than 32 bytes.
    #[error("pepper {0} is shorter than 32 bytes")]
    TooShort(PepperId),
    /// The number is already taken.
    #[error("pepper {0} is given twice")]
    Repeated(PepperId),
}

/// Whether two digests are equal, in constant time.
#[inline]
pub(crate) fn same(a: &Lanes, b: &Lanes) -> Choice {
    is_zero(difference(a, b))
}

/// Returns zero if two digests are equal.
#[inline]
pub(crate) fn difference([a0, a1, a2, a3]: &Lanes, [b0, b1, b2, b3]: &Lanes) -> u64 {
    (a0 ^ b0) | (a1 ^ b1) | (a2 ^ b2) | (a3 ^ b3)
}

/// Whether a difference is zero, in constant time.
#[inline]
pub(crate) fn is_zero(difference: u64) -> Choice {
    difference.ct_eq(&0)
}

/// The message that a key's digest covers: `kf1`, the 16 bytes of the id and the 36 characters of
/// the secret. One SHA-256 block on one cache line; zeroized when it is dropped.
#[repr(align(64))]
pub(crate) struct KeyBlock(OneBlock);

const _: () = assert!(
    3 + 16 + KeyFormat::SECRET_CHARS == ONE_BLOCK_LEN,
    "one block"
);

impl KeyBlock {
    #[inline]
    pub(crate) fn new(key: &PresentedKey<'_>) -> Self {
        let mut block = EMPTY_BLOCK;
        let (tag, rest) = block.split_at_mut(3);
        let (id, rest) = rest.split_at_mut(16);
        let (secret, _) = rest.split_at_mut(KeyFormat::SECRET_CHARS);
        tag.copy_from_slice(b"kf1");
        id.copy_from_slice(&key.id().to_bytes());
        secret.copy_from_slice(key.secret());
        Self(block)
    }

    #[inline]
    pub(crate) fn lanes(&self, pepper: Option<&MacKey>) -> Lanes {
        to_lanes(&match pepper {
            None => hash::sha256_block(&self.0),
            Some(key) => key.sign(hash::message(&self.0)),
        })
    }
}

impl Drop for KeyBlock {
    #[inline]
    fn drop(&mut self) {
        self.0.as_mut_slice().zeroize();
    }
}

/// The digest of a presented key.
#[inline]
pub(crate) fn key_lanes(key: &PresentedKey<'_>, pepper: Option<&MacKey>) -> Lanes {
    KeyBlock::new(key).lanes(pepper)
}

/// The digest of a short message other than a key; zeroizes the message.
pub(crate) fn block_lanes(block: &mut [u8], pepper: Option<&MacKey>) -> Lanes {
    let lanes = to_lanes(&match pepper {
        None => hash::sha256(block),
        Some(key) => key.sign(block),
    });
    block.zeroize();
    lanes
}

#[inline]
fn to_lanes(digest: &[u8; 32]) -> Lanes {
    let mut lanes = [0; 4];
    for (lane, bytes) in lanes.iter_mut().zip(digest.chunks_exact(8)) {
        *lane = u64::from_le_bytes(bytes.first_chunk().copied().unwrap_or_default());
    }
    lanes
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString;

    use super::*;
    use crate::legacy::PresentedLegacy;

    const TEXT: &[u8] =
        b"dof_v1_d79e8aeb42e5476893c7d4c59a166264:dof_sk_AAECAwQFBgcICQoLDA0ODxAREhMUFRYdXLQI";

    fn presented() -> PresentedKey<'static> {
        PresentedKey::parse(&KeyFormat::new("dof").unwrap(), TEXT).unwrap()
    }

    fn pepper(id: u8) -> PepperId {
        PepperId::new(id).unwrap()
    }

    #[test]
    fn key_digests_match_an_independent_implementation() {
        // python3: m = b"kf1" + bytes.fromhex("d79e…6264") + b"AAEC…XLQI"
        //   hashlib.sha256(m).hexdigest(); hmac.new(bytes([7] * 32), m, "sha256").hexdigest()
        let plain = KeyDigest::of_presented(&presented(), &Peppers::none());
        assert_eq!(plain.to_text(), PLAIN);
        let peppers = Peppers::none().with_current(pepper(7), &[7; 32]).unwrap();
        let keyed = KeyDigest::of_presented(&presented(), &peppers);
        assert_eq!(keyed.to_text(), KEYED);
    }

    const PLAIN: &str = "sha256:4b733ada8f1402365b4d93d77680c50d06bcac49429845c13e6040bccc2666d4";
    const KEYED: &str =
        "hmac-sha256:7:b5b8689d61a751f476d186b31c8018a98a55cf60db91612a17c46d75b1bf6c83";

    #[test]
    fn legacy_digests_match_an_independent_implementation() {
        // As above, of m = b"kl1" + GUEST.
        let guest = PresentedLegacy::parse(GUEST).unwrap();
        let plain = KeyDigest::of_legacy(&guest, &Peppers::none());
        assert_eq!(
            plain.to_text(),
            "sha256:d850709b72f0d95e6473bf66fc2be6cf84c1c3ca6c1da0bc7eb36c208bcae1fa"
        );
        let peppers = Peppers::none().with_current(pepper(7), &[7; 32]).unwrap();
        let keyed = KeyDigest::of_legacy(&guest, &peppers);
        assert_eq!(
            keyed.to_text(),
            "hmac-sha256:7:be171668bc5a034b908948d5627c621236a66c8dff2986d013f019a3a829d92c"
        );
    }

    const GUEST: &[u8] = b"23bc46b1-71f6-4ed5-8c54-816aa4f8c502:123zO3xZCLrMN6v2BKK1dXYFpXlPkccOFqm12CdAsMgRU4VrNZ9lyGVCGuMDGIwP";

    #[test]
    fn peppers_state_their_current_id() {
        let peppers = Peppers::none().with(pepper(3), &[3; 32]).unwrap();
        assert_eq!(peppers.current_id(), None);
        let peppers = peppers.with_current(pepper(7), &[7; 32]).unwrap();
        assert_eq!(peppers.current_id(), Some(pepper(7)));
    }

    #[test]
    fn the_debug_output_names_peppers_but_no_secret() {
        let digest = KeyDigest::from_text(KEYED).unwrap();
        let printed = "KeyDigest { pepper: Some(PepperId(7)), .. }";
        assert_eq!(format!("{digest:?}"), printed);
        let peppers = Peppers::none().with(pepper(3), &[3; 32]).unwrap();
        let peppers = peppers.with_current(pepper(7), &[7; 32]).unwrap();
        let printed = "Peppers { ids: [3, 7], current: Some(7) }";
        assert_eq!(format!("{peppers:?}"), printed);
    }

    #[test]
    fn digests_with_different_peppers_verify() {
        let old = Peppers::none().with_current(pepper(1), &[1; 32]).unwrap();
        let both = old.clone().with_current(pepper(2), &[2; 40]).unwrap();
        let new = Peppers::none().with_current(pepper(2), &[2; 40]).unwrap();

        let plain = KeyDigest::of_presented(&presented(), &Peppers::none());
        let by_old = KeyDigest::of_presented(&presented(), &old);
        let by_new = KeyDigest::of_presented(&presented(), &both);
        assert_eq!(by_new.pepper(), Some(pepper(2)));
        for digest in [plain, by_old, by_new] {
            assert!(digest.matches(&presented(), &both));
        }
        assert!(!by_old.matches(&presented(), &new));
        let imposter = Peppers::none().with_current(pepper(1), &[9; 32]).unwrap();
        assert!(!by_old.matches(&presented(), &imposter));
    }

    #[test]
    fn invalid_peppers_are_refused() {
        assert_eq!(
            Peppers::none().with(pepper(1), &[0; 31]).unwrap_err(),
            PepperError::TooShort(pepper(1))
        );
        let one = Peppers::none().with(pepper(1), &[0; 32]).unwrap();
        assert_eq!(
            one.with(pepper(1), &[1; 32]).unwrap_err(),
            PepperError::Repeated(pepper(1))
        );
    }

    #[test]
    fn a_digest_has_exactly_one_stored_text() {
        let good = KeyDigest::from_text(KEYED).unwrap();
        assert_eq!(good.to_text(), KEYED);
        for bad in [
            KEYED.to_uppercase(),
            KEYED.replace(":7:", ":07:"),
            KEYED.replace(":7:", ":0:"),
            KEYED.replace(":7:", ":256:"),
            KEYED.replace("hmac-sha256", "md5"),
            format!("{KEYED}0"),
            KEYED[..KEYED.len() - 1].to_string(),
            format!("none:{}", &PLAIN[7..]),
            "sha256:".to_string(),
            String::new(),
        ] {
            assert!(KeyDigest::from_text(&bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn any_difference_between_digests_is_detected() {
        let a = [1, 2, 3, 4];
        assert!(bool::from(same(&a, &a)));
        // In every lane: differences in two lanes must not cancel each other.
        for lanes in 1..16 {
            for bit in 0..64 {
                let mut b = a;
                for (at, lane) in b.iter_mut().enumerate() {
                    *lane ^= ((lanes >> at) & 1) << bit;
                }
                assert!(!bool::from(same(&a, &b)), "bit {bit} of {lanes:04b}");
            }
        }
    }
}
