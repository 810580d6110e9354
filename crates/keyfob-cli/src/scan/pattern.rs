//! What a credential looks like, for keys of any prefix or of one.

use keyfob::{
    KeyId,
    key::{KeyFormat, PresentedKey},
    legacy::PresentedLegacy,
};
use regex::bytes::{Match, Regex};
use zeroize::Zeroizing;

use super::finder::Kind;

/// Reads credentials in a text.
#[derive(Debug)]
pub(super) struct Patterns {
    /// The prefix of the keys that are looked for; none for any.
    only: Option<KeyFormat>,
    secrets: Regex,
    /// Key ids, which may belong to a secret elsewhere in the file.
    ids: Regex,
    legacy: Regex,
}

/// A credential in a text. It has no `Debug`: it holds the secret.
pub(super) struct Hit {
    pub(super) kind: Kind,
    /// The prefix of a key.
    pub(super) format: Option<KeyFormat>,
    pub(super) text: Zeroizing<Vec<u8>>,
    pub(super) start: usize,
    pub(super) end: usize,
}

impl Patterns {
    pub(super) fn new(only: Option<KeyFormat>) -> Self {
        Self {
            only,
            secrets: compile("(?-u)_sk_[A-Za-z0-9_-]{36}"),
            ids: compile("(?-u)[a-z0-9]_v1_[0-9a-f]{32}"),
            legacy: compile(LEGACY),
        }
    }

    /// Calls `hit` with every credential, and `lookalike` with the position of each text that looks
    /// like the secret of a key but has a wrong checksum.
    pub(super) fn find(
        &self,
        text: &[u8],
        mut hit: impl FnMut(Hit),
        mut lookalike: impl FnMut(usize),
    ) {
        let mut from = 0;
        while let Some(found) = self.secrets.find_at(text, from) {
            from = found.start() + 1;
            let prefixes = self.prefixes(text, found.start());
            let Some(format) = prefixes.iter().find(|format| {
                let start = found.start() - format.prefix().len();
                let secret = text.get(start..found.end()).unwrap_or_default();
                std::str::from_utf8(secret).is_ok_and(|text| format.is_well_formed_secret(text))
            }) else {
                if !prefixes.is_empty() {
                    lookalike(found.start());
                }
                continue;
            };
            from = found.end();
            let end = found.end();
            let secret = found.start() - format.prefix().len();
            let whole = end.checked_sub(format.credential_len());
            let whole =
                whole.filter(|start| PresentedKey::parse(format, &text[*start..end]).is_ok());
            let (kind, start) = match whole {
                Some(start) => (Kind::Key, start),
                None => (Kind::Secret, secret),
            };
            hit(Hit {
                kind,
                format: Some(*format),
                text: Zeroizing::new(text[start..end].to_vec()),
                start,
                end,
            });
        }
        let mut from = 0;
        while let Some(found) = self.legacy.captures_at(text, from) {
            let (Some(whole), Some(uuid), Some(key)) =
                (found.get(0), found.name("uuid"), found.name("key"))
            else {
                break;
            };
            from = whole.start() + 1;
            if let Some(text) = legacy(text, &uuid, &key) {
                from = whole.end();
                hit(Hit {
                    kind: Kind::Legacy,
                    format: None,
                    text,
                    start: uuid.start(),
                    end: key.end(),
                });
            }
        }
    }

    /// Calls `each` with every key id and its position.
    pub(super) fn ids(&self, text: &[u8], mut each: impl FnMut(usize, KeyId)) {
        for found in self.ids.find_iter(text) {
            let digits = found.as_bytes().last_chunk::<32>();
            if let Some(id) = digits.and_then(|digits| KeyId::from_hex(&digits[..]).ok()) {
                each(found.start(), id);
            }
        }
    }

    /// The prefixes that end at this position, the longest first.
    fn prefixes(&self, text: &[u8], end: usize) -> Vec<KeyFormat> {
        let before = &text[end.saturating_sub(KeyFormat::PREFIX_MAX)..end];
        let letters = before.iter().rev();
        let letters = letters.take_while(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
        let longest = &before[before.len() - letters.count()..];
        let starts = 0..longest.len();
        let prefixes = starts.filter_map(|start| {
            let prefix = std::str::from_utf8(&longest[start..]).ok()?;
            KeyFormat::new(prefix).ok()
        });
        let wanted = |format: &KeyFormat| self.only.is_none_or(|only| only == *format);
        prefixes.filter(wanted).collect()
    }
}

/// The legacy credential of these parts, if that is what they are.
fn legacy(text: &[u8], uuid: &Match<'_>, key: &Match<'_>) -> Option<Zeroizing<Vec<u8>>> {
    let after = text.get(key.end());
    if after.is_some_and(u8::is_ascii_alphanumeric) {
        // A longer word of the same characters.
        return None;
    }
    let direct = text.get(uuid.end()..key.start()) == Some(b":");
    if !direct && key.as_bytes().iter().all(u8::is_ascii_hexdigit) {
        // A list of files has a UUID next to a SHA-256 too.
        return None;
    }
    let credential = [uuid.as_bytes(), b":", key.as_bytes()].concat();
    let credential = Zeroizing::new(credential);
    PresentedLegacy::parse(&credential)
        .is_ok()
        .then_some(credential)
}

/// As `uuid:key`, or as the fields of a table or of a JSON document.
const LEGACY: &str = r"(?-u)(?<uuid>[0-9A-Fa-f]{8}(?:-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12})(?::|[^A-Za-z0-9]{1,8}(?:key[^A-Za-z0-9]{1,8})?)(?<key>[A-Za-z0-9]{64})";

fn compile(pattern: &str) -> Regex {
    match Regex::new(pattern) {
        Ok(pattern) => pattern,
        // The patterns are constants, and every test compiles them.
        Err(_) => unreachable!("a constant pattern"),
    }
}
