//! Credentials in texts that are kept.

use alloc::vec::Vec;

use crate::legacy_id::LegacyId;

/// Whether a text contains a whole credential: the secret of a key of any prefix, or a legacy
/// credential, as it is, percent-encoded or in base64.
///
/// Names, labels and reasons are kept for good, in the audit trail, and shown to others. Somebody
/// who reports a leak by its text must not put it there.
pub(super) fn holds_credential(text: &str) -> bool {
    is_in(text.as_bytes(), 2)
}

/// The length of `a_sk_` and the characters of a secret.
const SHORTEST: usize = 5 + SECRET_LEN;
const SECRET_LEN: usize = 36;
const LEGACY_KEY_LEN: usize = 64;

/// Whether a credential is in `bytes`, or in what they are an encoding of, so many times.
fn is_in(bytes: &[u8], encodings: u8) -> bool {
    if bytes.len() < SHORTEST {
        return false;
    }
    if has_secret(bytes) || has_legacy(bytes) {
        return true;
    }
    let Some(left) = encodings.checked_sub(1) else {
        return false;
    };
    if bytes.contains(&b'%') && is_in(&percent_decoded(bytes), left) {
        return true;
    }
    bytes
        .split(|byte| sextet(*byte).is_none())
        .filter(|run| run.len() > SHORTEST)
        // The run may begin with something else.
        .any(|run| (0..4).any(|skip| is_in(&base64_decoded(run, skip), left)))
}

/// `<prefix>_sk_<36 characters>`.
fn has_secret(bytes: &[u8]) -> bool {
    let is_character = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    positions(bytes, b"_sk_").any(|at| {
        let prefix = at.checked_sub(1).and_then(|at| bytes.get(at));
        let start = at.saturating_add(4);
        let secret = bytes.get(start..start.saturating_add(SECRET_LEN));
        prefix.is_some_and(u8::is_ascii_alphanumeric)
            && secret.is_some_and(|secret| secret.iter().all(is_character))
    })
}

/// `<uuid>:<64 characters>`.
fn has_legacy(bytes: &[u8]) -> bool {
    positions(bytes, b":").any(|at| {
        let uuid = at
            .checked_sub(LegacyId::TEXT_LEN)
            .and_then(|start| bytes.get(start..at));
        let start = at.saturating_add(1);
        let key = bytes.get(start..start.saturating_add(LEGACY_KEY_LEN));
        key.is_some_and(|key| key.iter().all(u8::is_ascii_alphanumeric))
            && uuid.is_some_and(|uuid| LegacyId::parse(uuid).is_ok())
    })
}

fn positions<'a>(bytes: &'a [u8], part: &'a [u8]) -> impl Iterator<Item = usize> + 'a {
    let windows = bytes.windows(part.len()).enumerate();
    windows
        .filter(move |(_, window)| *window == part)
        .map(|(at, _)| at)
}

fn percent_decoded(bytes: &[u8]) -> Vec<u8> {
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut rest = bytes;
    loop {
        rest = match rest {
            [] => return decoded,
            [b'%', high, low, after @ ..] => {
                if let (Some(high), Some(low)) = (digit(*high), digit(*low)) {
                    decoded.push(high.wrapping_shl(4) | low);
                    after
                } else {
                    decoded.push(b'%');
                    rest.split_at(1).1
                }
            }
            [byte, after @ ..] => {
                decoded.push(*byte);
                after
            }
        };
    }
}

fn digit(byte: u8) -> Option<u8> {
    let digit = char::from(byte).to_digit(16)?;
    u8::try_from(digit).ok()
}

/// The bytes of a run of base64 in either alphabet after `skip` characters.
fn base64_decoded(run: &[u8], skip: usize) -> Vec<u8> {
    let mut decoded = Vec::with_capacity(run.len());
    let sextets: Vec<u32> = run.iter().skip(skip).copied().filter_map(sextet).collect();
    for group in sextets.chunks(4) {
        let bits = group
            .iter()
            .fold(0, |bits: u32, sextet| bits.wrapping_shl(6) | sextet);
        let [_, bytes @ ..] = match group.len() {
            4 => bits,
            3 => bits.wrapping_shl(6),
            2 => bits.wrapping_shl(12),
            _ => break,
        }
        .to_be_bytes();
        let whole = group.len().saturating_sub(1);
        decoded.extend(bytes.into_iter().take(whole));
    }
    decoded
}

fn sextet(byte: u8) -> Option<u32> {
    let value = match byte {
        b'A'..=b'Z' => byte.wrapping_sub(b'A'),
        b'a'..=b'z' => byte.wrapping_sub(b'a').wrapping_add(26),
        b'0'..=b'9' => byte.wrapping_sub(b'0').wrapping_add(52),
        b'+' | b'-' => 62,
        b'/' | b'_' => 63,
        _ => return None,
    };
    Some(value.into())
}

#[cfg(test)]
mod tests {
    use alloc::{format, string::String};

    use base64::{
        Engine as _,
        engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
    };

    use super::*;

    const ID: &str = "d79e8aeb42e5476893c7d4c59a166264";
    const GUEST: &str = "23bc46b1-71f6-4ed5-8c54-816aa4f8c502:123zO3xZCLrMN6v2BKK1dXYFpXlPkccOFqm12CdAsMgRU4VrNZ9lyGVCGuMDGIwP";

    /// A text of the form of a key.
    fn key(prefix: &str) -> String {
        format!("{prefix}_v1_{ID}:{prefix}_sk_{}", "Example-_".repeat(4))
    }

    fn percent(text: &str) -> String {
        text.replace(':', "%3A").replace('_', "%5f")
    }

    #[test]
    fn a_credential_is_found_in_every_usual_encoding() {
        let secret = key("dof").split_once(':').unwrap().1.into();
        for plain in [key("dof"), key("zzz"), key("a"), secret, GUEST.into()] {
            for text in [
                plain.clone(),
                format!("leaked: {plain}, see chat"),
                format!("https://x.example/?key={}&b", percent(&plain)),
                percent(&percent(&plain).replace('%', "%25")),
                STANDARD.encode(&plain),
                format!("Authorization: Basic {}", STANDARD.encode(&plain)),
                format!("x={}", URL_SAFE_NO_PAD.encode(format!("k: {plain}"))),
                format!("abc{}", STANDARD.encode(format!("{plain}\n"))),
                percent(&STANDARD.encode(&plain).replace('=', "%3D")),
                STANDARD.encode(STANDARD.encode(&plain)),
            ] {
                assert!(holds_credential(&text), "{text}");
            }
        }
    }

    #[test]
    fn public_parts_and_other_long_texts_are_no_credentials() {
        let short = key("dof");
        for text in [
            "",
            "laptop",
            &format!("dof_v1_{ID}"),
            &format!("rotated dof_v1_{ID}, since dof_sk_ keys were in a log"),
            short.get(..short.len() - 1).unwrap(),
            "23bc46b1-71f6-4ed5-8c54-816aa4f8c502",
            "req-23bc46b1-71f6-4ed5-8c54-816aa4f8c502:4bf92f3577b34da6a3ce929d0e0e4736",
            &"0123456789abcdef".repeat(4),
            &"lang-".repeat(90),
            &STANDARD.encode("a reason of no interest, but long enough to be looked at closely"),
            "100 % of the keys of the team are %zz %4",
        ] {
            assert!(!holds_credential(text), "{text}");
        }
    }
}
