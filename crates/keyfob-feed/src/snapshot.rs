//! Snapshots: the whole state of a store in one compressed object, and its signed manifest.

use std::{
    fmt,
    io::{self, BufRead, BufReader, Read, Seek, SeekFrom, Write},
};

use bytes::Bytes;
use keyfob::{
    gateway::{ReplicaChanges, ReplicaEntry},
    key::KeyFormat,
    store::Revision,
};
use ring::digest::{Context, SHA256};
use serde::{Deserialize, Serialize};
use zstd::stream::raw::{CParameter, DParameter};

use crate::{
    entry,
    filter::{Filter, FilterId},
    keys::FeedKeys,
    line::{Document, SignedLine},
    position::Position,
};

/// The name of a snapshot's object: SHA-256 over its bytes, as 64 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectName([u8; 32]);

impl ObjectName {
    fn of(context: Context) -> Self {
        let mut name = [0; 32];
        for (byte, of_digest) in name.iter_mut().zip(context.finish().as_ref()) {
            *byte = *of_digest;
        }
        Self(name)
    }

    /// Whether it is the name of this object.
    pub fn is_of(&self, object: &[u8]) -> bool {
        let mut digest = Context::new(&SHA256);
        digest.update(object);
        Self::of(digest) == *self
    }

    /// Parses 64 lower-case hexadecimal digits.
    pub fn parse(text: &str) -> Option<Self> {
        let digits = text.as_bytes();
        if digits.len() != 64 {
            return None;
        }
        let value = |digit: u8| match digit {
            b'0'..=b'9' => Some(digit - b'0'),
            b'a'..=b'f' => Some(digit - b'a' + 10),
            _ => None,
        };
        let mut name = [0; 32];
        for (byte, pair) in name.iter_mut().zip(digits.chunks_exact(2)) {
            let [high, low] = pair else { return None };
            *byte = value(*high)? << 4 | value(*low)?;
        }
        Some(Self(name))
    }
}

impl fmt::Display for ObjectName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for ObjectName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for ObjectName {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for ObjectName {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
        Self::parse(&text)
            .ok_or_else(|| serde::de::Error::custom("object: must be 64 hexadecimal digits"))
    }
}

/// What a signed manifest says of a snapshot. [`Receiver::manifest`](crate::Receiver::manifest)
/// verifies one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    position: Position,
    as_of: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    filter: Option<FilterId>,
    format: KeyFormat,
    object: ObjectName,
    bytes: u64,
    content_bytes: u64,
    entries: u64,
}

impl Manifest {
    /// The position of a reader that has loaded the snapshot.
    pub fn position(&self) -> Position {
        self.position
    }

    /// The authority's time before it read the end of the feed, in Unix milliseconds.
    pub fn as_of(&self) -> u64 {
        self.as_of
    }

    /// The filter; `None` for everything.
    pub fn filter(&self) -> Option<FilterId> {
        self.filter
    }

    /// The format of the keys.
    pub fn format(&self) -> KeyFormat {
        self.format
    }

    /// The name of the object.
    pub fn object(&self) -> ObjectName {
        self.object
    }

    /// The length of the object, in bytes.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The length of what is compressed in it, in bytes.
    pub fn content_bytes(&self) -> u64 {
        self.content_bytes
    }

    /// The number of entries.
    pub fn entries(&self) -> u64 {
        self.entries
    }
}

/// A finished snapshot.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Snapshot {
    /// What the manifest says.
    pub manifest: Manifest,
    /// The signed manifest.
    pub line: SignedLine,
    /// The object: entries as lines of JSON, compressed by zstd.
    pub object: Bytes,
}

/// Writes the object of a snapshot, page by page.
pub struct SnapshotWriter {
    filter: Filter,
    encoder: zstd::stream::write::Encoder<'static, Output>,
    content_bytes: u64,
    entries: u64,
}

impl SnapshotWriter {
    /// Compresses 200 MB/s and more, to less than half of a typical state.
    const LEVEL: i32 = 3;

    /// Starts a snapshot of what `filter` includes, whose object may have at most `bytes_max` bytes.
    ///
    /// # Errors
    ///
    /// [`SnapshotError::Compression`] if zstd has no memory.
    pub fn new(filter: Filter, bytes_max: usize) -> Result<Self, SnapshotError> {
        let output = Output {
            bytes: Vec::new(),
            bytes_max,
            digest: Context::new(&SHA256),
        };
        let mut encoder = zstd::stream::write::Encoder::new(output, Self::LEVEL)
            .map_err(SnapshotError::compression)?;
        encoder
            .set_parameter(CParameter::WindowLog(WINDOW_LOG))
            .map_err(SnapshotError::compression)?;
        Ok(Self {
            filter,
            encoder,
            content_bytes: 0,
            entries: 0,
        })
    }

    /// Adds the entries that the filter includes. They must be in the order of their revisions.
    ///
    /// # Errors
    ///
    /// [`SnapshotError::TooLarge`] if the object has too many bytes.
    pub fn write(&mut self, entries: &[ReplicaEntry]) -> Result<(), SnapshotError> {
        let mut line = Vec::new();
        for entry in entries {
            if self.filter.includes(&entry.item) {
                line.clear();
                entry::write(entry, &mut line);
                line.push(b'\n');
                self.encoder
                    .write_all(&line)
                    .map_err(SnapshotError::writing)?;
                self.content_bytes += u64::try_from(line.len()).unwrap_or(u64::MAX);
                self.entries += 1;
            }
        }
        Ok(())
    }

    /// Finishes the object and signs its manifest. `position` is the end of the feed that was
    /// written, and `as_of` the time before that end was read, in Unix milliseconds.
    ///
    /// # Errors
    ///
    /// As [`SnapshotWriter::write`].
    pub fn finish(
        self,
        position: Position,
        as_of: u64,
        format: KeyFormat,
        keys: &FeedKeys,
    ) -> Result<Snapshot, SnapshotError> {
        let output = self.encoder.finish().map_err(SnapshotError::writing)?;
        let manifest = Manifest {
            position,
            as_of,
            filter: self.filter.id(),
            format,
            object: ObjectName::of(output.digest),
            bytes: u64::try_from(output.bytes.len()).unwrap_or(u64::MAX),
            content_bytes: self.content_bytes,
            entries: self.entries,
        };
        // Numbers and texts: it cannot fail.
        let raw = serde_json::to_vec(&manifest).unwrap_or_default();
        Ok(Snapshot {
            manifest,
            line: keys.sign(Document::Manifest, &raw),
            object: output.bytes.into(),
        })
    }
}

impl fmt::Debug for SnapshotWriter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SnapshotWriter")
            .field("filter", &self.filter)
            .field("entries", &self.entries)
            .finish_non_exhaustive()
    }
}

/// The compressed bytes, with their digest.
struct Output {
    bytes: Vec<u8>,
    bytes_max: usize,
    digest: Context,
}

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.bytes.len().saturating_add(bytes.len()) > self.bytes_max {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        self.digest.update(bytes);
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Reads the object of a snapshot, page by page.
///
/// The object is verified before any of it is decompressed. Decompression takes 8 MiB at
/// most, a page at most 1,000 entries, an entry at most [`SnapshotReader::ENTRY_BYTES_MAX`], and
/// all of them as many bytes as the manifest says.
pub struct SnapshotReader<R: Read> {
    lines: io::Take<BufReader<zstd::stream::read::Decoder<'static, BufReader<R>>>>,
    /// How many entries follow; `None` after the last page.
    left: Option<u64>,
    at: Revision,
    end: Position,
    filter: Filter,
    /// The last line, whose memory is used again.
    line: Vec<u8>,
}

impl<R: Read + Seek> SnapshotReader<R> {
    /// The longest entry, in bytes.
    pub const ENTRY_BYTES_MAX: usize = 1 << 20;
    const PAGE: usize = 1000;

    /// Verifies an object against its manifest, and opens it. The object is read from its start.
    ///
    /// # Errors
    ///
    /// - its length or its digest is not that of the manifest -> [`SnapshotError::Damaged`]
    /// - `filter` is not that of the manifest -> [`SnapshotError::Content`]
    /// - it cannot be read -> [`SnapshotError::Read`]
    pub fn open(
        manifest: &Manifest,
        filter: &Filter,
        mut object: R,
    ) -> Result<Self, SnapshotError> {
        if filter.id() != manifest.filter {
            return Err(SnapshotError::Content);
        }
        object
            .seek(SeekFrom::Start(0))
            .map_err(SnapshotError::Read)?;
        let mut digest = Context::new(&SHA256);
        let mut left = manifest.bytes;
        let mut buffer = vec![0; 64 << 10];
        loop {
            let read = object.read(&mut buffer).map_err(SnapshotError::Read)?;
            if read == 0 {
                break;
            }
            left = u64::try_from(read)
                .ok()
                .and_then(|read| left.checked_sub(read))
                .ok_or(SnapshotError::Damaged)?;
            digest.update(buffer.get(..read).unwrap_or_default());
        }
        if left > 0 || ObjectName::of(digest) != manifest.object {
            return Err(SnapshotError::Damaged);
        }
        object
            .seek(SeekFrom::Start(0))
            .map_err(SnapshotError::Read)?;
        let mut decoder =
            zstd::stream::read::Decoder::new(object).map_err(SnapshotError::compression)?;
        decoder
            .set_parameter(DParameter::WindowLogMax(WINDOW_LOG_MAX))
            .map_err(SnapshotError::compression)?;
        Ok(Self {
            // One more, to notice that there are more.
            lines: BufReader::new(decoder).take(manifest.content_bytes.saturating_add(1)),
            left: Some(manifest.entries),
            at: Revision::ZERO,
            end: manifest.position,
            filter: filter.clone(),
            line: Vec::new(),
        })
    }

    /// Reads the next page, to be applied to an index that was empty before the first one; `None` after
    /// the last page.
    ///
    /// # Errors
    ///
    /// [`SnapshotError::Content`] if the content is not what the manifest says. Then discard what was
    /// applied.
    pub fn next_page(&mut self) -> Result<Option<ReplicaChanges>, SnapshotError> {
        let Some(mut left) = self.left else {
            return Ok(None);
        };
        let after = self.at;
        let mut entries = Vec::with_capacity(Self::PAGE);
        while left > 0 && entries.len() < Self::PAGE {
            entries.push(self.entry()?);
            left -= 1;
        }
        let more = left > 0;
        self.left = more.then_some(left);
        if !more {
            if !self.is_finished()? {
                return Err(SnapshotError::Content);
            }
            self.at = self.end.revision;
        }
        Ok(Some(ReplicaChanges {
            after,
            entries,
            next_after: self.at,
            more,
            last_revision: self.end.horizon,
        }))
    }

    fn entry(&mut self) -> Result<ReplicaEntry, SnapshotError> {
        self.line.clear();
        let limit = u64::try_from(Self::ENTRY_BYTES_MAX).unwrap_or(u64::MAX);
        let mut limited = (&mut self.lines).take(limit);
        limited
            .read_until(b'\n', &mut self.line)
            .map_err(SnapshotError::compression)?;
        let line = self.line.strip_suffix(b"\n");
        let line = line.ok_or(SnapshotError::Content)?;
        let entry = entry::parse(line).map_err(|_| SnapshotError::Content)?;
        if entry.revision <= self.at
            || entry.revision > self.end.revision
            || !self.filter.includes(&entry.item)
        {
            return Err(SnapshotError::Content);
        }
        self.at = entry.revision;
        Ok(entry)
    }

    /// Whether exactly all of the content was read.
    fn is_finished(&mut self) -> Result<bool, SnapshotError> {
        let rest = self.lines.fill_buf().map_err(SnapshotError::compression)?;
        Ok(rest.is_empty() && self.lines.limit() == 1)
    }
}

impl<R: Read> fmt::Debug for SnapshotReader<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SnapshotReader")
            .field("left", &self.left)
            .field("end", &self.end)
            .finish_non_exhaustive()
    }
}

/// A snapshot was not written or cannot be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SnapshotError {
    /// The object has more bytes than allowed.
    #[error("the snapshot has more bytes than allowed")]
    TooLarge,
    /// The object is not the one that the manifest names.
    #[error("the object is truncated or altered")]
    Damaged,
    /// The content is not what the manifest says.
    #[error("the content of the object is not what its manifest says")]
    Content,
    /// The object cannot be read.
    #[error("the object cannot be read")]
    Read(#[source] io::Error),
    /// The content cannot be compressed or decompressed.
    #[error("zstd failed")]
    Compression(#[source] io::Error),
}

impl SnapshotError {
    fn compression(error: io::Error) -> Self {
        Self::Compression(error)
    }

    fn writing(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::FileTooLarge => Self::TooLarge,
            _ => Self::Compression(error),
        }
    }
}

/// How far back a compressed match may refer: 2 MiB.
const WINDOW_LOG: u32 = 21;
/// The largest window that a reader allocates: 8 MiB.
const WINDOW_LOG_MAX: u32 = 23;
