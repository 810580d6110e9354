//! Finding credentials in a stream of bytes, text or not.

use std::io::{self, Read};

use base64::{
    Engine,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use keyfob::{
    KeyId,
    key::{KeyFormat, PresentedKey},
    legacy::PresentedLegacy,
};
use regex::bytes::Captures;
use serde::Serialize;
use zeroize::Zeroizing;

use super::pattern::{LONGEST, Patterns};

/// What was found in one file.
#[derive(Default)]
pub(super) struct Found {
    pub(super) finds: Vec<Find>,
    /// Key ids anywhere in the file.
    pub(super) ids: Vec<KeyId>,
    /// The number of texts that look like a key but have a wrong checksum.
    pub(super) lookalikes: u64,
}

/// A credential that was found. It has no `Debug`: it holds the secret.
pub(super) struct Find {
    pub(super) kind: Kind,
    /// The credential, or the secret alone.
    pub(super) text: Zeroizing<Vec<u8>>,
    /// In bytes from the start of the file.
    pub(super) offset: u64,
    /// Counted from one.
    pub(super) line: u64,
    /// In bytes, counted from one.
    pub(super) column: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Kind {
    /// A whole key.
    Key,
    /// The secret of a key, without its identifier.
    Secret,
    /// A whole key or legacy credential in base64, as `Basic` sends it.
    Encoded,
    /// A legacy credential, or a text that looks like one: it has no checksum.
    Legacy,
}

impl Kind {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Key => "key",
            Self::Secret => "secret",
            Self::Encoded => "base64",
            Self::Legacy => "legacy",
        }
    }
}

/// Reads one file.
pub(super) struct Scanner<'a> {
    patterns: &'a Patterns,
    format: &'a KeyFormat,
    found: Found,
    /// The bytes before the window.
    offset: u64,
    /// The lines that end before the window.
    lines: u64,
    /// The start of the line in which the window starts.
    line_start: u64,
}

impl<'a> Scanner<'a> {
    pub(super) fn new(patterns: &'a Patterns, format: &'a KeyFormat) -> Self {
        Self {
            patterns,
            format,
            found: Found::default(),
            offset: 0,
            lines: 0,
            line_start: 0,
        }
    }

    /// Reads to the end, through overlapping windows, so that a text across two of them is found too.
    pub(super) fn read(mut self, mut input: impl Read) -> io::Result<Found> {
        let mut window = Zeroizing::new(vec![0; WINDOW]);
        let mut filled = 0;
        loop {
            let read = match input.read(&mut window[filled..]) {
                Ok(read) => read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            filled += read;
            let ended = read == 0;
            if !ended && filled < window.len() {
                continue;
            }
            // A match that starts after this may extend past the window.
            let settled = if ended { filled } else { filled - LONGEST };
            let taken = self.look(&window[..filled], settled, ended);
            if ended {
                return Ok(self.found);
            }
            self.leave(&window[..taken]);
            window.copy_within(taken..filled, 0);
            filled -= taken;
        }
    }

    /// Takes the matches that start before `settled`, and returns where to start next time.
    fn look(&mut self, window: &[u8], settled: usize, ended: bool) -> usize {
        let mut next = settled;
        let mut from = 0;
        while let Some(found) = self.patterns.finds.captures_at(window, from) {
            let Some(whole) = found.get(0).filter(|whole| whole.start() < settled) else {
                break;
            };
            self.take(window, &found);
            from = whole.end();
            next = next.max(from);
        }
        for id in self.patterns.ids.find_iter(window) {
            if (id.start() < settled || ended) && self.found.ids.len() < IDS_MAX {
                let digits = id.as_bytes().last_chunk::<32>();
                let id = digits.and_then(|digits| KeyId::from_hex(&digits[..]).ok());
                if let Some(id) = id.filter(|id| !self.found.ids.contains(id)) {
                    self.found.ids.push(id);
                }
            }
        }
        next
    }

    fn take(&mut self, window: &[u8], found: &Captures<'_>) {
        let group = |name| found.name(name);
        let (kind, place) = if let Some(place) = group("key") {
            (Kind::Key, place)
        } else if let Some(place) = group("secret") {
            (Kind::Secret, place)
        } else if let Some(place) = group("legacy") {
            (Kind::Legacy, place)
        } else if let Some(place) = group("basic").or(group("encoded")) {
            (Kind::Encoded, place)
        } else {
            return;
        };
        let text = match kind {
            Kind::Encoded => BASE64.decode(place.as_bytes()).unwrap_or_default(),
            Kind::Key | Kind::Secret | Kind::Legacy => place.as_bytes().to_vec(),
        };
        let text = Zeroizing::new(text);
        match (kind, self.read_as(kind, &text)) {
            (_, Reading::Credential) => {}
            // `Basic` credentials of other systems do not look like ours.
            (Kind::Encoded, _) | (_, Reading::Nothing) => return,
            (_, Reading::Lookalike) => {
                self.found.lookalikes += 1;
                return;
            }
        }
        // A longer word of the same characters is not a legacy credential.
        let behind = window.get(place.end());
        if kind == Kind::Legacy && behind.is_some_and(u8::is_ascii_alphanumeric) {
            return;
        }
        let before = &window[..place.start()];
        let line_start = before.iter().rposition(|byte| *byte == b'\n');
        let offset = self.offset + place.start() as u64;
        let line_start = line_start.map_or(self.line_start, |at| self.offset + at as u64 + 1);
        self.found.finds.push(Find {
            kind,
            text,
            offset,
            line: self.lines + count_lines(before) + 1,
            column: offset - line_start + 1,
        });
    }

    fn read_as(&self, kind: Kind, text: &[u8]) -> Reading {
        let secret = match kind {
            Kind::Secret => text,
            Kind::Legacy => return Reading::Credential,
            Kind::Key | Kind::Encoded => {
                if PresentedLegacy::parse(text).is_ok() {
                    return Reading::Credential;
                }
                if PresentedKey::parse(self.format, text).is_err() {
                    return Reading::Nothing;
                }
                let colon = text.iter().position(|byte| *byte == b':');
                colon
                    .and_then(|colon| text.get(colon + 1..))
                    .unwrap_or_default()
            }
        };
        match std::str::from_utf8(secret) {
            Ok(secret) if self.format.is_well_formed_secret(secret) => Reading::Credential,
            _ => Reading::Lookalike,
        }
    }

    /// Drops the start of the window.
    fn leave(&mut self, part: &[u8]) {
        self.lines += count_lines(part);
        if let Some(at) = part.iter().rposition(|byte| *byte == b'\n') {
            self.line_start = self.offset + at as u64 + 1;
        }
        self.offset += part.len() as u64;
    }
}

enum Reading {
    Credential,
    /// The shape of a key with a wrong checksum.
    Lookalike,
    Nothing,
}

fn count_lines(bytes: &[u8]) -> u64 {
    bytes.iter().map(|byte| u64::from(*byte == b'\n')).sum()
}

/// Many times the length of the longest match.
const WINDOW: usize = 256 * 1024;
/// The maximum number of ids of one file that a single secret is tried with.
const IDS_MAX: usize = 1_000;

/// With or without padding.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &base64::alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

#[cfg(test)]
mod tests {
    use keyfob::IssuedKey;
    use keyfob::key::SystemRandom;

    use super::*;

    fn format() -> KeyFormat {
        KeyFormat::new("dof").unwrap()
    }

    fn issue() -> IssuedKey {
        IssuedKey::generate(&format(), &SystemRandom).unwrap()
    }

    fn scan(input: impl Read) -> Found {
        let format = format();
        let patterns = Patterns::new(&format);
        Scanner::new(&patterns, &format).read(input).unwrap()
    }

    /// Kind, line and column of each find.
    fn places(found: &Found) -> Vec<(Kind, u64, u64)> {
        let finds = found.finds.iter();
        finds
            .map(|find| (find.kind, find.line, find.column))
            .collect()
    }

    #[test]
    fn every_kind_is_found_at_its_place() {
        let key = issue();
        let encoded = BASE64.encode(key.expose());
        let guest = "23bc46b1-71f6-4ed5-8c54-816aa4f8c502:123zO3xZCLrMN6v2BKK1dXYFpXlPkccOFqm12CdAsMgRU4VrNZ9lyGVCGuMDGIwP";
        let text = format!(
            "KEY={}\n  secret: {}\nAuthorization: Basic {encoded}\n\n{{\"auth\": \"{encoded}\"}}\n{guest}\nAuthorization: basic {}\n",
            key.expose(),
            key.expose_secret(),
            BASE64.encode(guest),
        );
        let found = scan(text.as_bytes());
        let expected = [
            (Kind::Key, 1, 5),
            (Kind::Secret, 2, 11),
            (Kind::Encoded, 3, 22),
            (Kind::Encoded, 5, 11),
            (Kind::Legacy, 6, 1),
            (Kind::Encoded, 7, 22),
        ];
        assert_eq!(places(&found), expected);
        for find in &found.finds[2..4] {
            assert!(*find.text == key.expose().as_bytes());
        }
        assert_eq!(found.ids, [key.id()]);
        assert_eq!(found.lookalikes, 0);
    }

    #[test]
    fn what_only_looks_like_a_credential_is_passed_over() {
        let key = issue();
        // The last character is of the checksum.
        let (front, last) = key.expose().split_at(key.expose().len() - 1);
        let other = if last == "A" { "B" } else { "A" };
        let text = format!(
            "{front}{other}\nBasic {}\n{}: {}\n",
            BASE64.encode("somebody:else's password"),
            "23bc46b1-71f6-4ed5-8c54-816aa4f8c502",
            "x".repeat(64)
        );
        let found = scan(text.as_bytes());
        assert_eq!(places(&found), []);
        assert_eq!(found.lookalikes, 1);
    }

    #[test]
    fn bytes_around_it_do_not_matter() {
        let key = issue();
        let mut bytes = vec![0_u8, 0xff, 0xfe, b'\n', 0x80];
        bytes.extend_from_slice(key.expose().as_bytes());
        bytes.extend_from_slice(&[0, 0xc3, 0x28]);
        let found = scan(&bytes[..]);
        assert_eq!(places(&found), [(Kind::Key, 2, 2)]);
        assert_eq!(found.finds[0].offset, 5);
    }

    /// Gives a few bytes at a time, as a pipe may.
    struct Slow<'a>(&'a [u8]);

    impl Read for Slow<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let length = buffer.len().min(self.0.len()).min(1 << 14);
            buffer[..length].copy_from_slice(&self.0[..length]);
            self.0 = &self.0[length..];
            Ok(length)
        }
    }

    #[test]
    fn no_place_in_a_large_file_is_missed_or_found_twice() {
        let key = issue();
        // Around every place at which a window could end.
        for at in (WINDOW - 2 * LONGEST..WINDOW + LONGEST).step_by(37) {
            let mut bytes = vec![b'.'; at - 1];
            bytes.push(b'\n');
            bytes.extend_from_slice(key.expose().as_bytes());
            bytes.extend(std::iter::repeat_n(b' ', WINDOW / 2));
            let found = scan(Slow(&bytes));
            assert_eq!(places(&found), [(Kind::Key, 2, 1)], "at {at}");
            assert_eq!(found.finds[0].offset, at as u64);
        }
    }
}
