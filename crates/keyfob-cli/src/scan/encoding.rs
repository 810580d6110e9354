//! Texts within a text: what it says without its escapes, its line breaks, its base64.

use zeroize::Zeroizing;

/// A text, and the place of each byte in the window from which it was read.
pub(super) struct View {
    pub(super) bytes: Zeroizing<Vec<u8>>,
    /// Empty for the window itself.
    places: Vec<u32>,
}

impl View {
    pub(super) fn window(bytes: &[u8]) -> Self {
        Self {
            bytes: Zeroizing::new(bytes.to_vec()),
            places: Vec::new(),
        }
    }

    fn with_capacity(capacity: usize) -> Self {
        Self {
            bytes: Zeroizing::new(Vec::with_capacity(capacity)),
            places: Vec::with_capacity(capacity),
        }
    }

    /// The place in the window of a byte of this text.
    pub(super) fn place(&self, at: usize) -> usize {
        match self.places.get(at) {
            Some(place) => *place as usize,
            None => at,
        }
    }

    fn push(&mut self, byte: u8, place: usize) {
        self.bytes.push(byte);
        // A window has far less than 4 GiB.
        self.places.push(u32::try_from(place).unwrap_or(u32::MAX));
    }

    /// The text without NUL bytes, which makes ASCII of UTF-16 and UTF-32 in either byte order, and
    /// without the escapes of URLs, JSON, properties files, XML and HTML. None if it has neither.
    pub(super) fn unescaped(&self) -> Option<Self> {
        let escapes = |byte: &u8| matches!(byte, 0 | b'\\' | b'%' | b'&');
        if !self.bytes.iter().any(escapes) {
            return None;
        }
        let mut plain = Self::with_capacity(self.bytes.len());
        let mut at = 0;
        while let Some(byte) = self.bytes.get(at) {
            let rest = self.bytes.get(at..).unwrap_or_default();
            let (read, length) = match byte {
                0 => (None, 1),
                b'\\' | b'%' | b'&' => escape(rest).unwrap_or((Some(*byte), 1)),
                byte => (Some(*byte), 1),
            };
            if let Some(read) = read {
                plain.push(read, self.place(at));
            }
            at += length;
        }
        (plain.bytes.len() != self.bytes.len()).then_some(plain)
    }

    /// The text without line breaks and the indentation after them. None if it has none.
    pub(super) fn joined(&self) -> Option<Self> {
        if !self.bytes.contains(&b'\n') {
            return None;
        }
        let mut joined = Self::with_capacity(self.bytes.len());
        let mut starts = false;
        for (at, byte) in self.bytes.iter().enumerate() {
            match byte {
                b'\n' => {
                    // Quoted-printable ends a line that goes on with `=`.
                    let ends = joined.bytes.ends_with(b"=\r") || joined.bytes.ends_with(b"=");
                    while ends && matches!(joined.bytes.last(), Some(b'=' | b'\r')) {
                        joined.bytes.pop();
                        joined.places.pop();
                    }
                    if joined.bytes.last() == Some(&b'\r') {
                        joined.bytes.pop();
                        joined.places.pop();
                    }
                    starts = true;
                }
                b' ' | b'\t' | b'>' if starts => {}
                byte => {
                    starts = false;
                    joined.push(*byte, self.place(at));
                }
            }
        }
        Some(joined)
    }

    /// What the base64 and hexadecimal digits in the text say. Where a value starts is unknown, so
    /// every alignment is decoded; the wrong ones give bytes without meaning.
    pub(super) fn decoded(&self, mut each: impl FnMut(&Self)) {
        let mut start = 0;
        while start < self.bytes.len() {
            let run = self.bytes[start..].iter();
            let run = run.take_while(|byte| sextet(**byte).is_some());
            let end = start + run.count();
            if end - start >= BASE64_LEAST {
                for skip in 0..4 {
                    each(&self.of_base64(start + skip, end));
                }
            }
            if end - start >= HEX_LEAST {
                self.of_hex(start, end, &mut each);
            }
            start = end + 1;
        }
    }

    fn of_base64(&self, start: usize, end: usize) -> Self {
        let mut decoded = Self::with_capacity((end - start) / 4 * 3 + 3);
        for (group, characters) in self.bytes[start..end].chunks(4).enumerate() {
            let mut bits = 0_u32;
            for at in 0..4 {
                let character = characters.get(at).copied();
                bits = bits << 6 | u32::from(character.and_then(sextet).unwrap_or(0));
            }
            let [_, bytes @ ..] = bits.to_be_bytes();
            for (at, byte) in bytes.into_iter().enumerate() {
                if at + 1 < characters.len() {
                    decoded.push(byte, self.place(start + group * 4 + at));
                }
            }
        }
        decoded
    }

    fn of_hex(&self, start: usize, end: usize, each: &mut impl FnMut(&Self)) {
        let digit = |byte: &u8| char::from(*byte).to_digit(16);
        let mut from = start;
        while from < end {
            let run = self.bytes[from..end].iter();
            let to = from + run.take_while(|byte| digit(byte).is_some()).count();
            if to - from >= HEX_LEAST {
                for skip in 0..2 {
                    let mut decoded = Self::with_capacity((to - from) / 2);
                    let pairs = self.bytes[from + skip..to].chunks_exact(2);
                    for (pair, digits) in pairs.enumerate() {
                        let value = digits.iter().filter_map(digit);
                        let value = value.fold(0, |value, digit| value << 4 | digit);
                        // Two digits fit.
                        let value = u8::try_from(value).unwrap_or(0);
                        decoded.push(value, self.place(from + skip + pair * 2));
                    }
                    each(&decoded);
                }
            }
            from = to + 1;
        }
    }
}

/// Reads an escape at the start of a text: the byte that it stands for, none if it stands for
/// nothing here, and its length.
fn escape(text: &[u8]) -> Option<(Option<u8>, usize)> {
    let hex = |from: usize, count: usize| {
        let digits = std::str::from_utf8(text.get(from..from + count)?).ok()?;
        u32::from_str_radix(digits, 16).ok()
    };
    let ascii = |code: u32| u8::try_from(code).ok();
    match text {
        [b'%', ..] => Some((ascii(hex(1, 2)?), 3)),
        [b'\\', b'u', ..] => Some((ascii(hex(2, 4)?), 6)),
        [b'\\', b'x', ..] => Some((ascii(hex(2, 2)?), 4)),
        [b'\\', b'n' | b'r', ..] => Some((Some(b'\n'), 2)),
        [b'\\', b't', ..] => Some((Some(b'\t'), 2)),
        [b'\\', b'\n', ..] => Some((None, 2)),
        [b'\\', b'\r', b'\n', ..] => Some((None, 3)),
        [b'\\', byte, ..] if byte.is_ascii_punctuation() => Some((Some(*byte), 2)),
        [b'&', b'#', rest @ ..] => {
            let end = rest.iter().take(8).position(|byte| *byte == b';')?;
            let number = std::str::from_utf8(&rest[..end]).ok()?;
            let code = match number.strip_prefix(['x', 'X']) {
                Some(digits) => u32::from_str_radix(digits, 16),
                None => number.parse(),
            };
            Some((ascii(code.ok()?), end + 3))
        }
        _ => None,
    }
}

/// The value of a character of base64, of either alphabet.
fn sextet(byte: u8) -> Option<u8> {
    match byte {
        b'A'..=b'Z' => Some(byte - b'A'),
        b'a'..=b'z' => Some(byte - b'a' + 26),
        b'0'..=b'9' => Some(byte - b'0' + 52),
        b'+' | b'-' => Some(62),
        b'/' | b'_' => Some(63),
        _ => None,
    }
}

/// The length of the shortest secret in base64, and in hexadecimal digits.
const BASE64_LEAST: usize = 54;
const HEX_LEAST: usize = 82;

#[cfg(test)]
mod tests {
    use super::*;

    fn text(view: &View) -> String {
        String::from_utf8_lossy(&view.bytes).into_owned()
    }

    fn unescaped(bytes: &[u8]) -> String {
        View::window(bytes)
            .unescaped()
            .map_or_else(|| "-".to_owned(), |view| text(&view))
    }

    #[test]
    fn escapes_of_common_formats_are_read() {
        for (escaped, plain) in [
            (&b"a%3Ab%2f"[..], "a:b/"),
            (b"a\\u003ab\\x3a\\/\\:", "a:b:/:"),
            (b"a&#58;b&#x3A;&#x3a;", "a:b::"),
            (b"a\\nb\\\nc", "a\nbc"),
            (b"\xff\xfea\0:\0", "\u{fffd}\u{fffd}a:"),
            (b"100% \\q &amp; &#; %zz", "-"),
            (b"a%", "-"),
            (b"\\", "-"),
        ] {
            assert_eq!(unescaped(escaped), plain);
        }
    }

    #[test]
    fn a_byte_keeps_its_place() {
        let view = View::window(b"1%3A2\\u00333");
        let plain = view.unescaped().unwrap();
        let places: Vec<usize> = (0..5).map(|at| plain.place(at)).collect();
        assert_eq!(
            (text(&plain).as_str(), &places[..]),
            ("1:233", &[0, 1, 4, 5, 11][..])
        );
        let joined = View::window(b"a\r\n  b=\nc").joined().unwrap();
        let places: Vec<usize> = (0..3).map(|at| joined.place(at)).collect();
        assert_eq!(
            (text(&joined).as_str(), &places[..]),
            ("abc", &[0, 5, 8][..])
        );
    }

    #[test]
    fn every_alignment_is_decoded() {
        use base64::{Engine, engine::general_purpose::STANDARD};

        let message = "a text that is long enough to be looked at, in base64 or digits";
        let encoded = STANDARD.encode(message);
        let digits: Vec<String> = message.bytes().map(|byte| format!("{byte:02x}")).collect();
        let digits = digits.concat();
        for before in ["", "x", "xy", "xyz"] {
            for encoded in [&encoded, &digits] {
                let mut found = false;
                let whole = format!("({before}{encoded})");
                View::window(whole.as_bytes()).decoded(|view| {
                    if let Some(at) = text(view).find(message) {
                        let bytes = view.bytes.iter();
                        let at = bytes.take(at).count();
                        found |= view.place(at) == 1 + before.len();
                    }
                });
                assert!(found, "{whole}");
            }
        }
    }
}
