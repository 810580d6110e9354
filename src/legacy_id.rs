//! The public identifier of a legacy credential.

use core::fmt;

/// The identifier of a legacy credential: its UUID (RFC 9562).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LegacyId(u128);

impl LegacyId {
    /// The length of the text form.
    pub(crate) const TEXT_LEN: usize = 36;

    /// Creates an identifier from the 16 bytes of a UUID.
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(u128::from_be_bytes(bytes))
    }

    /// The 16 bytes of the UUID.
    pub const fn to_bytes(self) -> [u8; 16] {
        self.0.to_be_bytes()
    }

    /// The two words that the index stores.
    #[expect(clippy::cast_possible_truncation, reason = "takes the two halves")]
    pub(crate) const fn halves(self) -> (u64, u64) {
        ((self.0 >> 64) as u64, self.0 as u64)
    }

    /// Parses a UUID, `8-4-4-4-12` hexadecimal digits of either case.
    ///
    /// # Errors
    ///
    /// [`LegacyIdError`] with the position of the first invalid byte.
    pub fn parse(text: &[u8]) -> Result<Self, LegacyIdError> {
        let fault = |position| Err(LegacyIdError { position });
        let mut value: u128 = 0;
        let mut len: usize = 0;
        for (at, byte) in text.iter().enumerate() {
            let digit = match (at, byte) {
                (8 | 13 | 18 | 23, b'-') => None,
                (8 | 13 | 18 | 23 | 36.., _) => return fault(at),
                (_, b'0'..=b'9') => Some(byte.wrapping_sub(b'0')),
                (_, b'a'..=b'f') => Some(byte.wrapping_sub(b'a').wrapping_add(10)),
                (_, b'A'..=b'F') => Some(byte.wrapping_sub(b'A').wrapping_add(10)),
                _ => return fault(at),
            };
            if let Some(digit) = digit {
                value = (value << 4) | u128::from(digit);
            }
            len = at.wrapping_add(1);
        }
        if len == Self::TEXT_LEN {
            Ok(Self(value))
        } else {
            fault(len)
        }
    }
}

/// A text is not the identifier of a legacy credential.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("legacy id: not a UUID, at byte {position}")]
pub struct LegacyIdError {
    position: usize,
}

impl LegacyIdError {
    /// The position of the first invalid byte.
    pub fn position(self) -> usize {
        self.position
    }
}

/// Writes the UUID in lower case.
impl fmt::Display for LegacyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let part = |shift: u32, digits: u32| {
            (self.0 >> shift) & (1u128 << digits.saturating_mul(4)).wrapping_sub(1)
        };
        write!(
            f,
            "{:08x}-{:04x}-{:04x}-{:04x}-{:012x}",
            part(96, 8),
            part(80, 4),
            part(64, 4),
            part(48, 4),
            part(0, 12)
        )
    }
}

impl fmt::Debug for LegacyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(feature = "serde")]
impl serde::Serialize for LegacyId {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(feature = "serde")]
impl<'de> serde::Deserialize<'de> for LegacyId {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        crate::parsed::parsed(deserializer, |text| {
            let parsed = Self::parse(text.as_bytes());
            parsed.map_err(|at| alloc::format!("not a UUID (position {at})"))
        })
    }
}
