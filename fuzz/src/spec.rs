//! The text forms, specified a second time, deliberately with other methods than the library's.

use base64::{
    Engine,
    alphabet::{STANDARD, URL_SAFE},
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};

/// Decodes base64 with or without padding, and ignores the spare bits.
pub(crate) const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

/// base64url without padding.
const URL: GeneralPurpose = GeneralPurpose::new(
    &URL_SAFE,
    GeneralPurposeConfig::new()
        .with_encode_padding(false)
        .with_decode_padding_mode(DecodePaddingMode::RequireNone),
);

/// Returns the identifier in a key's text, `<prefix>_v1_<id>:<prefix>_sk_<36 bytes>`, or `None` if
/// the text has another form.
pub(crate) fn key<'a>(prefix: &str, text: &'a [u8]) -> Option<&'a [u8]> {
    let rest = text
        .strip_prefix(prefix.as_bytes())?
        .strip_prefix(b"_v1_")?;
    let (id, rest) = rest.split_at_checked(32)?;
    let rest = rest.strip_prefix(b":")?.strip_prefix(prefix.as_bytes())?;
    let secret = rest.strip_prefix(b"_sk_")?;
    (is_id(id) && secret.len() == 36).then_some(id)
}

/// Whether these are 32 lower-case hexadecimal digits.
pub(crate) fn is_id(digits: &[u8]) -> bool {
    digits.len() == 32 && digits.iter().all(|byte| b"0123456789abcdef".contains(byte))
}

/// Whether this is the text of a legacy credential.
pub(crate) fn is_legacy(text: &[u8]) -> bool {
    let Some((uuid, key)) = text.split_at_checked(36) else {
        return false;
    };
    let Some(key) = key.strip_prefix(b":") else {
        return false;
    };
    is_uuid(uuid) && is_legacy_key(key)
}

/// Whether this is a UUID, its digits of either case.
pub(crate) fn is_uuid(text: &[u8]) -> bool {
    let groups: Vec<_> = text.split(|byte| *byte == b'-').collect();
    groups.iter().map(|group| group.len()).eq([8, 4, 4, 4, 12])
        && groups.concat().iter().all(u8::is_ascii_hexdigit)
}

/// Whether this is the secret half of a legacy credential.
pub(crate) fn is_legacy_key(key: &[u8]) -> bool {
    key.len() == 64 && key.iter().all(u8::is_ascii_alphanumeric)
}

/// Returns the 36 characters of the secret for these random bytes.
pub(crate) fn secret(prefix: &str, random: &[u8; 23]) -> String {
    let covered = [prefix.as_bytes(), b"_sk_", random].concat();
    let bytes = [&random[..], &crc32(&covered).to_be_bytes()].concat();
    URL.encode(bytes)
}

/// Whether the 36 characters of a secret carry the right checksum.
pub(crate) fn is_checked(prefix: &str, characters: &[u8]) -> bool {
    let bytes = URL.decode(characters).unwrap_or_default();
    let random = bytes.first_chunk().filter(|_| bytes.len() == 27);
    random.is_some_and(|random| secret(prefix, random).as_bytes() == characters)
}

/// CRC-32 of IEEE 802.3, bit by bit.
fn crc32(bytes: &[u8]) -> u32 {
    let mut crc = u32::MAX;
    for byte in bytes {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = (crc >> 1) ^ (0xedb8_8320 * (crc & 1));
        }
    }
    !crc
}

/// Lower-case hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digit = |nibble: u8| char::from(DIGITS[usize::from(nibble)]);
    bytes
        .iter()
        .flat_map(|byte| [digit(byte >> 4), digit(byte & 15)])
        .collect()
}

/// Returns the stored text of the digest of these bytes, without a pepper.
pub(crate) fn digest(parts: &[&[u8]]) -> String {
    let hash = ring::digest::digest(&ring::digest::SHA256, &parts.concat());
    format!("sha256:{}", hex(hash.as_ref()))
}
