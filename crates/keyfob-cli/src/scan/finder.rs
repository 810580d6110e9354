//! Finding credentials in a stream of bytes, text or not.

use std::{
    collections::HashSet,
    io::{self, Read},
    ops::Range,
};

use keyfob::{KeyId, key::KeyFormat};
use serde::Serialize;
use zeroize::Zeroizing;

use super::{
    encoding::View,
    pattern::{Hit, Patterns},
};

/// What was found in one file.
#[derive(Default)]
pub(super) struct Found {
    pub(super) finds: Vec<Find>,
    /// The key ids anywhere in the file, and the offset of the first occurrence of each, in the
    /// order of the offsets.
    pub(super) ids: Vec<(u64, KeyId)>,
    /// The number of texts that look like a key but have a wrong checksum.
    pub(super) lookalikes: u64,
}

/// A credential that was found. It has no `Debug`: it holds the secret.
pub(super) struct Find {
    pub(super) kind: Kind,
    /// The credential, or the secret alone.
    pub(super) text: Zeroizing<Vec<u8>>,
    /// The prefix of a key.
    pub(super) format: Option<KeyFormat>,
    /// In bytes from the start of the file.
    pub(super) offset: u64,
    /// Where it ends.
    end: u64,
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
    /// A whole key or legacy credential in base64 or hexadecimal digits.
    Encoded,
    /// A legacy credential, or a text that looks like one: it has no checksum.
    Legacy,
}

impl Kind {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Key => "key",
            Self::Secret => "secret",
            Self::Encoded => "encoded",
            Self::Legacy => "legacy",
        }
    }
}

/// Reads one file.
pub(super) struct Scanner<'a> {
    patterns: &'a Patterns,
    found: Found,
    ids: HashSet<KeyId>,
    /// Where the texts that only look like a key are.
    lookalikes: HashSet<u64>,
    /// The first of the finds that may be in the window too.
    recent: usize,
    /// The bytes before the window.
    offset: u64,
    /// The lines that end before the window.
    lines: u64,
    /// The start of the line in which the window starts.
    line_start: u64,
}

impl<'a> Scanner<'a> {
    pub(super) fn new(patterns: &'a Patterns) -> Self {
        Self {
            patterns,
            found: Found::default(),
            ids: HashSet::new(),
            lookalikes: HashSet::new(),
            recent: 0,
            offset: 0,
            lines: 0,
            line_start: 0,
        }
    }

    /// Reads to the end, through overlapping windows, so that a text across two of them is found
    /// too.
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
            let text = Window {
                bytes: &window[..filled],
                ended,
            };
            self.look(&text, &View::window(text.bytes), 0);
            if ended {
                return Ok(self.finish());
            }
            // A credential that ends behind the window starts after this.
            let taken = filled - OVERLAP;
            self.leave(&window[..taken]);
            window.copy_within(taken..filled, 0);
            filled -= taken;
        }
    }

    /// Looks at a text, without its escapes too, and at what is encoded in it.
    fn look(&mut self, window: &Window<'_>, text: &View, depth: usize) {
        self.search(window, text, depth);
        let mut plain = None;
        for _ in 0..ESCAPED_TIMES {
            let Some(next) = plain.as_ref().unwrap_or(text).unescaped() else {
                break;
            };
            self.search(window, &next, depth);
            plain = Some(next);
        }
        let plain = plain.as_ref().unwrap_or(text);
        let joined = plain.joined();
        if let Some(joined) = &joined {
            self.search(window, joined, depth);
        }
        if depth < ENCODED_TIMES {
            let whole = joined.as_ref().unwrap_or(plain);
            whole.decoded(|decoded| self.look(window, decoded, depth + 1));
        }
    }

    fn search(&mut self, window: &Window<'_>, text: &View, depth: usize) {
        let patterns = self.patterns;
        let (mut hits, mut lookalikes) = (Vec::new(), Vec::new());
        patterns.find(
            &text.bytes,
            |hit| hits.push(hit),
            |at| lookalikes.push(text.place(at) as u64),
        );
        for hit in hits {
            self.take(window, text, hit, depth);
        }
        let offset = self.offset;
        self.lookalikes
            .extend(lookalikes.iter().map(|at| offset + at));
        patterns.ids(&text.bytes, |at, id| {
            if self.ids.insert(id) {
                self.found.ids.push((offset + text.place(at) as u64, id));
            }
        });
    }

    fn take(&mut self, window: &Window<'_>, text: &View, hit: Hit, depth: usize) {
        let start = text.place(hit.start);
        let end = text.place(hit.end - 1) + 1;
        if hit.kind == Kind::Legacy && end == window.bytes.len() && !window.ended {
            // It may be a part of a longer word. The next window shows it whole.
            return;
        }
        let before = &window.bytes[..start];
        let line_start = before.iter().rposition(|byte| *byte == b'\n');
        let offset = self.offset + start as u64;
        let line_start = line_start.map_or(self.line_start, |at| self.offset + at as u64 + 1);
        self.add(Find {
            kind: match hit.kind {
                Kind::Key | Kind::Legacy if depth > 0 => Kind::Encoded,
                kind => kind,
            },
            text: hit.text,
            format: hit.format,
            offset,
            end: self.offset + end as u64,
            line: self.lines + count_lines(before) + 1,
            column: offset - line_start + 1,
        });
    }

    /// Adds a find, unless it is known: windows overlap, and a text reads the same in several ways.
    fn add(&mut self, find: Find) {
        let place = find.place();
        let recent = &self.found.finds[self.recent..];
        if recent.iter().any(|known| covers(&known.place(), &place)) {
            return;
        }
        // The secret of a key that could only be read after it was unescaped.
        let mut at = self.recent;
        while at < self.found.finds.len() {
            if covers(&place, &self.found.finds[at].place()) {
                self.found.finds.remove(at);
            } else {
                at += 1;
            }
        }
        self.found.finds.push(find);
    }

    /// Drops the start of the window.
    fn leave(&mut self, part: &[u8]) {
        self.lines += count_lines(part);
        if let Some(at) = part.iter().rposition(|byte| *byte == b'\n') {
            self.line_start = self.offset + at as u64 + 1;
        }
        self.offset += part.len() as u64;
        self.found.finds[self.recent..].sort_by_key(|find| find.end);
        let rest = &self.found.finds[self.recent..];
        self.recent += rest.partition_point(|find| find.end <= self.offset);
        self.found.lookalikes += self.lookalikes.len() as u64;
        self.lookalikes.retain(|at| *at >= self.offset);
        self.found.lookalikes -= self.lookalikes.len() as u64;
    }

    fn finish(mut self) -> Found {
        self.found.lookalikes += self.lookalikes.len() as u64;
        self.found.finds.sort_by_key(|find| find.offset);
        self.found.ids.sort_by_key(|(at, _)| *at);
        self.found
    }
}

impl Find {
    fn place(&self) -> Range<u64> {
        self.offset..self.end
    }
}

/// The part of the file in memory.
struct Window<'a> {
    bytes: &'a [u8],
    /// Whether the file ends with it.
    ended: bool,
}

fn covers(outer: &Range<u64>, inner: &Range<u64>) -> bool {
    outer.start <= inner.start && inner.end <= outer.end
}

fn count_lines(bytes: &[u8]) -> u64 {
    bytes.iter().map(|byte| u64::from(*byte == b'\n')).sum()
}

const WINDOW: usize = 256 * 1024;
/// More than the longest text that holds a credential, with its escapes and encodings.
const OVERLAP: usize = 16 * 1024;
/// How many times a text may be escaped, as JSON within JSON is.
const ESCAPED_TIMES: usize = 3;
/// How many times a text may be encoded: a Kubernetes Secret has `Basic` header fields in base64.
const ENCODED_TIMES: usize = 3;

#[cfg(test)]
mod tests {
    use base64::{
        Engine,
        engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
    };
    use keyfob::{IssuedKey, key::SystemRandom};

    use super::*;

    fn issue() -> IssuedKey {
        let format = KeyFormat::new("shop").unwrap();
        IssuedKey::generate(&format, &SystemRandom).unwrap()
    }

    fn scan(input: impl Read) -> Found {
        let patterns = Patterns::new(None);
        Scanner::new(&patterns).read(input).unwrap()
    }

    /// Kind, line and column of each find.
    fn places(found: &Found) -> Vec<(Kind, u64, u64)> {
        let finds = found.finds.iter();
        finds
            .map(|find| (find.kind, find.line, find.column))
            .collect()
    }

    fn wrap(text: &str, width: usize, between: &str) -> String {
        let lines: Vec<&str> = text
            .as_bytes()
            .chunks(width)
            .map(|line| std::str::from_utf8(line).unwrap())
            .collect();
        lines.join(between)
    }

    #[test]
    fn every_kind_is_found_at_its_place() {
        let key = issue();
        let encoded = STANDARD.encode(key.expose());
        let text = format!(
            "KEY={}\n  secret: {}\nAuthorization: Basic {encoded}\n\n{{\"auth\": \"{encoded}\"}}\n{GUEST}\nAuthorization: basic {}\n",
            key.expose(),
            key.expose_secret(),
            STANDARD.encode(GUEST),
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
        assert_eq!(found.ids.len(), 1);
        assert_eq!(found.ids[0].1, key.id());
        assert_eq!(found.lookalikes, 0);
    }

    #[test]
    fn a_credential_is_found_in_every_encoding() {
        let key = issue();
        for credential in [key.expose(), GUEST] {
            let line = format!("NAME={credential}\n");
            let utf16 = |swap: bool| -> Vec<u8> {
                let units = line.encode_utf16();
                let bytes = units.flat_map(|unit| {
                    if swap {
                        unit.to_be_bytes()
                    } else {
                        unit.to_le_bytes()
                    }
                });
                bytes.collect()
            };
            let digits = line.bytes().map(|byte| format!("{byte:02x}"));
            let escaped = line.bytes().map(|byte| format!("\\u{byte:04x}"));
            let percent = line.bytes().map(|byte| format!("%{byte:02X}"));
            let base64 = STANDARD.encode(&line);
            let basic = format!("Authorization: Basic {}", STANDARD.encode(credential));
            let mut texts: Vec<(&str, Vec<u8>)> = vec![
                ("UTF-16LE", utf16(false)),
                ("UTF-16BE", utf16(true)),
                (
                    "UTF-16LE with BOM",
                    [&[0xff, 0xfe], &utf16(false)[..]].concat(),
                ),
                (
                    "UTF-16BE with BOM",
                    [&[0xfe, 0xff], &utf16(true)[..]].concat(),
                ),
                ("base64 of UTF-16", STANDARD.encode(utf16(false)).into()),
                (
                    "UTF-32",
                    line.chars()
                        .flat_map(|c| u32::from(c).to_le_bytes())
                        .collect(),
                ),
                ("base64url", URL_SAFE_NO_PAD.encode(&line).into()),
                ("base64 at 76", wrap(&base64, 76, "\n").into()),
                (
                    "base64 at 64, indented",
                    wrap(&base64, 64, "\r\n    ").into(),
                ),
                ("base64 at 76 in JSON", wrap(&base64, 76, "\\n").into()),
                ("base64 of a header", STANDARD.encode(&basic).into()),
                (
                    "base64 thrice",
                    STANDARD.encode(STANDARD.encode(&base64)).into(),
                ),
                (
                    "base64 with escaped slashes",
                    base64.replace('/', "\\/").into(),
                ),
                (
                    "base64 in a URL",
                    base64.replace('+', "%2B").replace('/', "%2F").into(),
                ),
                ("hexadecimal", digits.collect::<String>().into()),
                ("JSON escapes", escaped.collect::<String>().into()),
                ("percent", percent.collect::<String>().into()),
                ("percent twice", line.replace(':', "%253A").into()),
                ("properties", line.replace(':', "\\:").into()),
                ("XML", line.replace(':', "&#58;").into()),
                ("quoted-printable", wrap(&line, 75, "=\r\n").into()),
            ];
            for offset in 1..3 {
                let text = format!("{}{line}", &"xyz"[..offset]);
                texts.push(("base64 at an offset", STANDARD.encode(text).into()));
            }
            for (encoding, text) in texts {
                for around in ["", "\n", "# more: 12 \u{a0}\n"] {
                    let text = [around.as_bytes(), &text, around.as_bytes()].concat();
                    let found = scan(&text[..]);
                    let texts: Vec<_> = found.finds.iter().map(|find| &*find.text).collect();
                    assert!(
                        texts == [credential.as_bytes()],
                        "{encoding}: {} found",
                        texts.len()
                    );
                }
            }
        }
    }

    #[test]
    fn keys_of_every_prefix_are_found() {
        for prefix in ["a", "dof", "shop", "abcdefghijklmnop", "k2"] {
            let format = KeyFormat::new(prefix).unwrap();
            let key = IssuedKey::generate(&format, &SystemRandom).unwrap();
            // Letters in front of it are no part of the prefix.
            for text in [key.expose().to_owned(), format!("KEY={}", key.expose())] {
                let found = scan(text.as_bytes());
                assert_eq!(found.finds.len(), 1, "{prefix}");
                assert_eq!(found.finds[0].kind, Kind::Key);
                assert_eq!(found.finds[0].format, Some(format));
            }
            let glued = format!("x{}", key.expose_secret());
            assert_eq!(scan(glued.as_bytes()).finds.len(), 1, "{prefix}");
        }
    }

    #[test]
    fn legacy_credentials_are_found_in_tables_and_documents() {
        let (uuid, key) = GUEST.split_once(':').unwrap();
        for text in [
            format!("{uuid},{key}"),
            format!("\"{uuid}\";\"{key}\""),
            format!("{{\"uuid\": \"{uuid}\", \"key\": \"{key}\"}}"),
            format!("{uuid}\t{key}\n"),
        ] {
            let found = scan(text.as_bytes());
            assert_eq!(found.finds.len(), 1, "{text}");
            assert!(*found.finds[0].text == GUEST.as_bytes());
        }
        // A UUID and a SHA-256.
        let sums = format!("{uuid}  {}\n", "0123456789abcdef".repeat(4));
        assert_eq!(scan(sums.as_bytes()).finds.len(), 0);
    }

    #[test]
    fn what_only_looks_like_a_credential_is_passed_over() {
        let key = issue();
        // The last character is of the checksum.
        let (front, last) = key.expose().split_at(key.expose().len() - 1);
        let other = if last == "A" { "B" } else { "A" };
        let text = format!(
            "{front}{other}\nBasic {}\n{}: {}\n",
            STANDARD.encode("somebody:else's password"),
            "23bc46b1-71f6-4ed5-8c54-816aa4f8c502",
            "x".repeat(65)
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
        for at in (WINDOW - OVERLAP - 200..WINDOW + 200).step_by(487) {
            let mut bytes = vec![b'.'; at - 1];
            bytes.push(b'\n');
            bytes.extend_from_slice(key.expose().as_bytes());
            bytes.extend(std::iter::repeat_n(b' ', WINDOW / 2));
            let found = scan(Slow(&bytes));
            assert_eq!(places(&found), [(Kind::Key, 2, 1)], "at {at}");
            assert_eq!(found.finds[0].offset, at as u64);
        }
    }

    #[test]
    fn an_encoded_credential_across_two_windows_is_found_once() {
        let key = issue();
        let encoded = STANDARD.encode(format!("NAME={}", key.expose()));
        let wrapped = wrap(&encoded, 64, "\n  ");
        for at in (WINDOW - OVERLAP - 300..WINDOW + 100).step_by(601) {
            let bytes = [&vec![b'.'; at][..], wrapped.as_bytes(), b" and more"].concat();
            let found = scan(&bytes[..]);
            assert_eq!(found.finds.len(), 1, "at {at}");
            assert!(*found.finds[0].text == key.expose().as_bytes());
        }
    }

    #[test]
    fn every_key_in_a_large_file_is_found() {
        let keys: Vec<IssuedKey> = (0..3_000).map(|_| issue()).collect();
        let mut text = String::new();
        for key in &keys {
            text.push_str(&key.expose().replacen(':', ",", 1));
            text.push('\n');
        }
        let found = scan(text.as_bytes());
        assert_eq!(found.finds.len(), keys.len());
        assert_eq!(found.ids.len(), keys.len());
    }

    /// The public example credential of `OpenWhisk`.
    const GUEST: &str = "23bc46b1-71f6-4ed5-8c54-816aa4f8c502:123zO3xZCLrMN6v2BKK1dXYFpXlPkccOFqm12CdAsMgRU4VrNZ9lyGVCGuMDGIwP";
}
