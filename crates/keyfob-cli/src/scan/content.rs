//! The content of a file: as it is, decompressed, or in a format that is not read.

use std::io::{self, Cursor, Read};

use flate2::read::{MultiGzDecoder, ZlibDecoder};

/// The content of a file.
pub(super) enum Content<'a> {
    Read(Box<dyn Read + 'a>),
    /// The name of the format, whose content is compressed.
    Unread(&'static str),
}

impl<'a> Content<'a> {
    /// Tells the format from the first bytes.
    pub(super) fn of(mut input: impl Read + 'a) -> io::Result<Self> {
        let mut start = Vec::new();
        input.by_ref().take(START).read_to_end(&mut start)?;
        let unread = UNREAD.iter().find(|(magic, _)| start.starts_with(magic));
        if let Some((_, name)) = unread {
            return Ok(Self::Unread(name));
        }
        if start.starts_with(b"BZh") && start.get(4..10) == Some(b"1AY&SY") {
            return Ok(Self::Unread("compressed by bzip2"));
        }
        let (gzip, zlib) = (start.starts_with(b"\x1f\x8b\x08"), is_zlib(&start));
        let whole = Cursor::new(start).chain(input);
        Ok(Self::Read(match (gzip, zlib) {
            (true, _) => Box::new(MultiGzDecoder::new(whole)),
            (_, true) => Box::new(ZlibDecoder::new(whole)),
            _ => Box::new(whole),
        }))
    }
}

/// Whether this is an object of Git, or another stream that begins with the header of RFC 1950 and
/// can be decompressed.
fn is_zlib(start: &[u8]) -> bool {
    let [method @ 0x78, flags, ..] = start else {
        return false;
    };
    if u16::from_be_bytes([*method, *flags]) % 31 != 0 {
        return false;
    }
    let mut some = [0; 16];
    matches!(ZlibDecoder::new(start).read(&mut some), Ok(read) if read > 0)
}

/// Formats with compressed content, by their first bytes.
const UNREAD: [(&[u8], &str); 10] = [
    (b"PK\x03\x04", "a ZIP archive"),
    (b"\xfd7zXZ\x00", "compressed by xz"),
    (b"\x28\xb5\x2f\xfd", "compressed by zstd"),
    (b"\x04\x22\x4d\x18", "compressed by lz4"),
    (b"\x1f\x9d", "compressed by compress"),
    (b"7z\xbc\xaf\x27\x1c", "a 7-Zip archive"),
    (b"Rar!\x1a\x07", "a RAR archive"),
    (b"PACK\x00\x00\x00", "a pack of Git objects"),
    (b"%PDF-", "a PDF document"),
    (b"PGDMP", "a compressed dump of PostgreSQL"),
];
const START: u64 = 64;

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::{
        Compression,
        write::{GzEncoder, ZlibEncoder},
    };

    use super::*;

    fn read(bytes: &[u8]) -> Result<Vec<u8>, &'static str> {
        match Content::of(bytes).unwrap() {
            Content::Read(mut content) => {
                let mut read = Vec::new();
                content.read_to_end(&mut read).unwrap();
                Ok(read)
            }
            Content::Unread(format) => Err(format),
        }
    }

    #[test]
    fn gzip_and_zlib_are_decompressed() {
        let text = b"a line\n".repeat(100);
        let mut gzip = GzEncoder::new(Vec::new(), Compression::default());
        gzip.write_all(&text).unwrap();
        let gzip = gzip.finish().unwrap();
        assert_eq!(read(&gzip), Ok(text.clone()));
        assert_eq!(read(&gzip.repeat(2)), Ok(text.repeat(2)));
        let mut zlib = ZlibEncoder::new(Vec::new(), Compression::default());
        zlib.write_all(&text).unwrap();
        assert_eq!(read(&zlib.finish().unwrap()), Ok(text));
    }

    #[test]
    fn other_bytes_stay_as_they_are() {
        for bytes in [
            &b""[..],
            b"x",
            b"x\x9c is not compressed",
            b"PK, a text",
            b"\x1f",
        ] {
            assert_eq!(read(bytes), Ok(bytes.to_vec()));
        }
        assert_eq!(read(b"PK\x03\x04rest"), Err("a ZIP archive"));
    }
}
