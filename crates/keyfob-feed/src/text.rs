//! Base64url without padding, of bytes of a fixed length. Each value has exactly one text.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};

/// The text of `bytes`.
pub(crate) fn encode(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// Decodes a text of exactly `N` bytes. Unused bits of the last character must be zero.
pub(crate) fn decode<const N: usize>(text: impl AsRef<[u8]>) -> Option<[u8; N]> {
    let text = text.as_ref();
    // The decoder may need up to three bytes more than the value has.
    let mut bytes = [0; 72];
    if text.len() != (N * 4).div_ceil(3) {
        return None;
    }
    let length = URL_SAFE_NO_PAD.decode_slice(text, &mut bytes).ok()?;
    let value = bytes.get(..length)?.try_into().ok();
    zeroize::Zeroize::zeroize(&mut bytes);
    value
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_has_exactly_one_text() {
        let text = encode(&[0xff; 16]);
        assert_eq!(decode::<16>(&text), Some([0xff; 16]));
        assert_eq!(decode::<16>("_____________________w"), Some([0xff; 16]));
        // The last character has four unused bits.
        for last in ["x", "y", "_", "=", " ", ""] {
            assert_eq!(
                decode::<16>(format!("_____________________{last}")),
                None,
                "{last:?}"
            );
        }
        assert_eq!(decode::<64>(encode(&[7; 64])), Some([7; 64]));
    }
}
