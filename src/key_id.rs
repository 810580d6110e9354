//! The public identifier of a key.

use alloc::string::{String, ToString};
use core::{cmp::Ordering, fmt};

/// The public identifier of a key: 128 random bits, displayed as 32 lower-case hexadecimal digits.
///
/// [`KeyFormat::key_id`](crate::key::KeyFormat::key_id) returns the form for lists and logs,
/// `<prefix>_v1_<32 digits>`.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct KeyId {
    /// The first eight bytes in memory order, which is the order of the digits and of the hash
    /// input.
    first: u64,
    last: u64,
}

impl KeyId {
    /// The number of hexadecimal digits.
    pub(crate) const DIGITS: usize = 32;

    /// Creates an identifier from its 16 bytes.
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        let both = u128::from_le_bytes(bytes);
        #[expect(clippy::cast_possible_truncation, reason = "takes the two halves")]
        Self {
            first: both as u64,
            last: (both >> 64) as u64,
        }
    }

    /// The 16 bytes of the identifier.
    pub const fn to_bytes(self) -> [u8; 16] {
        ((self.first as u128) | (self.last as u128) << 64).to_le_bytes()
    }

    /// Parses 32 lower-case hexadecimal digits.
    ///
    /// # Errors
    ///
    /// [`KeyIdError`] with the position of the first invalid byte; for a text of the wrong length,
    /// the position at which it ends early or exceeds 32 digits.
    pub fn from_hex(digits: &[u8]) -> Result<Self, KeyIdError> {
        let position = match digits.first_chunk::<{ Self::DIGITS }>() {
            Some(exact) if digits.len() == Self::DIGITS => match Self::from_digits(exact) {
                Some(id) => return Ok(id),
                None => first_non_digit(digits),
            },
            _ => first_non_digit(digits).min(Self::DIGITS),
        };
        Err(KeyIdError { position })
    }

    /// The two words that the index stores.
    pub(crate) const fn halves(self) -> (u64, u64) {
        (self.first, self.last)
    }

    /// Parses 32 lower-case hexadecimal digits; `None` if one is invalid.
    ///
    /// The arithmetic is branch-free, so that the compiler vectorizes it: the digits are random,
    /// and branches on them would be mispredicted.
    #[expect(
        clippy::inline_always,
        reason = "an id that is returned through memory stalls the call"
    )]
    #[inline(always)]
    pub(crate) fn from_digits(digits: &[u8; Self::DIGITS]) -> Option<Self> {
        let mut valid = true;
        for digit in digits {
            valid &= digit.wrapping_sub(b'0') < 10 || digit.wrapping_sub(b'a') < 6;
        }
        let mut words = [0; 4];
        for (word, digits) in words.iter_mut().zip(digits.chunks_exact(8)) {
            *word = packed(u64::from_le_bytes(*digits.first_chunk()?));
        }
        let [a, b, c, d] = words;
        valid.then_some(Self {
            first: a | (b << 32),
            last: c | (d << 32),
        })
    }

    /// The 32 digits as ASCII.
    pub(crate) fn to_digits(self) -> [u8; Self::DIGITS] {
        let mut digits = [0; Self::DIGITS];
        for (pair, byte) in digits.chunks_exact_mut(2).zip(self.to_bytes()) {
            for (digit, nibble) in pair.iter_mut().zip([byte >> 4, byte & 15]) {
                *digit = match nibble {
                    0..=9 => b'0'.wrapping_add(nibble),
                    _ => b'a'.wrapping_add(nibble).wrapping_sub(10),
                };
            }
        }
        digits
    }
}

/// Orders by bytes, which is the order of the digits.
impl Ord for KeyId {
    fn cmp(&self, other: &Self) -> Ordering {
        self.to_bytes().cmp(&other.to_bytes())
    }
}

impl PartialOrd for KeyId {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// A text is not the identifier of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("key id: not 32 lower-case hexadecimal digits, at byte {position}")]
pub struct KeyIdError {
    position: usize,
}

impl KeyIdError {
    /// The position of the first invalid byte.
    pub fn position(self) -> usize {
        self.position
    }
}

/// Writes the 32 digits, without prefix.
impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(core::str::from_utf8(&self.to_digits()).unwrap_or_default())
    }
}

impl fmt::Debug for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl From<KeyId> for String {
    fn from(id: KeyId) -> Self {
        id.to_string()
    }
}

#[cfg(feature = "serde")]
impl serde::Serialize for KeyId {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(feature = "serde")]
impl<'de> serde::Deserialize<'de> for KeyId {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        crate::parsed::parsed(deserializer, |digits| Self::from_hex(digits.as_bytes()))
    }
}

fn first_non_digit(digits: &[u8]) -> usize {
    digits
        .iter()
        .position(|byte| !matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
        .unwrap_or(digits.len())
}

/// Puts eight digits together, two a byte, the first byte lowest.
#[inline]
fn packed(digits: u64) -> u64 {
    // The last four bits of a letter count from one on, as those of '0' do from zero.
    let letters = (digits >> 6) & 0x0101_0101_0101_0101;
    let values = (digits & 0x0f0f_0f0f_0f0f_0f0f).wrapping_add(letters.wrapping_mul(9));
    let pairs = ((values << 4) | (values >> 8)) & 0x00ff_00ff_00ff_00ff;
    let fours = (pairs | (pairs >> 8)) & 0x0000_ffff_0000_ffff;
    (fours | (fours >> 16)) & 0xffff_ffff
}

#[cfg(test)]
mod tests {
    use alloc::format;

    use super::*;

    #[test]
    fn an_id_round_trips_through_its_text() {
        let text = "d79e8aeb42e5476893c7d4c59a166264";
        let id = KeyId::from_hex(text.as_bytes()).unwrap();
        assert_eq!(id.to_string(), text);
        assert_eq!(KeyId::from_bytes(id.to_bytes()), id);
        assert_eq!(String::from(id), text);
        assert_eq!(format!("{id:?}"), text);
        assert_eq!(id.halves(), (0x6847_e542_eb8a_9ed7, 0x6462_169a_c5d4_c793));
    }

    #[cfg(feature = "serde")]
    #[test]
    fn an_id_serialises_as_its_digits() {
        let digits = "d79e8aeb42e5476893c7d4c59a166264";
        let id = KeyId::from_hex(digits.as_bytes()).unwrap();
        let text = format!("\"{digits}\"");
        assert_eq!(serde_json::to_string(&id).unwrap(), text);
        assert_eq!(serde_json::from_str::<KeyId>(&text).unwrap(), id);
        assert!(serde_json::from_str::<KeyId>(&text.to_uppercase()).is_err());
    }

    #[test]
    fn parsing_agrees_with_a_naive_check_at_every_position() {
        let good = *b"0123456789abcdef0123456789abcdef";
        for at in 0..32 {
            for byte in 0..=255u8 {
                let mut text = good;
                text[at] = byte;
                let fits = byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
                let parsed = KeyId::from_hex(&text);
                assert_eq!(parsed.is_ok(), fits, "byte {byte:#x} at {at}");
                match parsed {
                    Ok(id) => assert_eq!(id.to_digits(), text),
                    Err(error) => assert_eq!(error.position(), at),
                }
            }
        }
    }

    #[test]
    fn two_invalid_bytes_do_not_cancel_each_other() {
        for byte in 0..=255u8 {
            let parsed = KeyId::from_hex(&[byte; 32]);
            let fits = byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
            assert_eq!(
                parsed.err().map(KeyIdError::position),
                (!fits).then_some(0),
                "byte {byte:#x}"
            );
        }
    }

    #[test]
    fn ids_are_ordered_by_their_digits() {
        let texts = [
            "0000000000000000000000000000000f",
            "000000000000000100000000000000ff",
            "00000000000001000000000000000001",
            "0100000000000000ff00000000000000",
            "f0000000000000000000000000000000",
        ];
        let ids = texts.map(|text| KeyId::from_hex(text.as_bytes()).unwrap());
        assert!(ids.is_sorted() && ids[0] < ids[4]);
    }

    #[test]
    fn the_length_of_an_id_is_exact() {
        assert_eq!(
            KeyId::from_hex(&[b'a'; 31]),
            Err(KeyIdError { position: 31 })
        );
        assert_eq!(
            KeyId::from_hex(&[b'a'; 33]),
            Err(KeyIdError { position: 32 })
        );
        assert_eq!(KeyId::from_hex(b""), Err(KeyIdError { position: 0 }));
    }
}
