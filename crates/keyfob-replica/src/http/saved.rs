//! The folder for a warm restart: the snapshot and the frames that were accepted, as received.
//!
//! `feed.log` has one record in each line: a word, the clocks when it was written, and mostly a signed line.
//! It begins with the pinned signers and the signers documents that were accepted, then has the manifest
//! of the snapshot, for some of them the time up to which nothing is confirmed, then frames. Records are appended with one write, and a last line without its end is dropped: it
//! was being written when the process was killed. A log is replaced by writing another one and
//! renaming it. Each prefix of a log is the state of some earlier time, and its age is known, so no
//! kill leaves anything that is wrong. What is read is verified like what comes from the network.
//!
//! Signers documents are synced to the disk, frames are not. When the process stops in order, it syncs the log and
//! ends it with the line `closed`: without that line, a log that is read after a restart of the machine
//! may lack what was written last.

use std::{
    fs::{self, File, OpenOptions},
    hash::{BuildHasher as _, RandomState},
    io::{self, BufRead, BufReader, Read, Write},
    path::{Path, PathBuf},
};

use keyfob_feed::{ObjectName, Trust};

use super::steady::Stamp;

/// A record of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Record {
    pub(super) kind: Kind,
    pub(super) stamp: Stamp,
    /// A signed line; the public keys of pinned signers; a time in Unix milliseconds.
    pub(super) line: Vec<u8>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// The pinned signers.
    Pins,
    /// A signers document.
    Signers,
    /// The manifest of a snapshot.
    Manifest,
    /// The time up to which nothing is confirmed: the snapshot may lack what the process had before.
    Unproven,
    /// A frame that changes something.
    Frame,
    /// A frame that only confirms: a later one takes its place.
    Bookmark,
}

/// What was read of the log.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Kept {
    pub(super) records: Vec<Record>,
    /// Whether the process that wrote it had stopped in order, so that nothing is missing at the end.
    pub(super) is_closed: bool,
}

impl Kept {
    /// Nothing, if other signers were pinned when it was written. The documents that were accepted then
    /// would take the place of those that the operator has pinned since.
    pub(super) fn if_pinned(self, pins: &Record) -> Self {
        match self.records.first() {
            Some(first) if first.kind == Kind::Pins && first.line == pins.line => self,
            _ => Self::default(),
        }
    }
}

/// The folder, and what was written to it.
pub(super) struct Saved {
    folder: PathBuf,
    /// The length of the frames from which on the log is not continued.
    bytes_max: u64,
    /// The length from which on a newer snapshot should take their place.
    long: u64,
    /// The lock is held while it is open.
    _lock: File,
    /// None if there is no snapshot, or writing failed.
    log: Option<Log>,
}

struct Log {
    file: File,
    bytes: u64,
    /// The bytes of bookmarks, all but the last of which are of no use.
    of_bookmarks: u64,
}

impl Log {
    /// Without bookmarks, which are removed now and then.
    fn length(&self) -> u64 {
        self.bytes - self.of_bookmarks
    }
}

impl Saved {
    /// The default of [`HttpSourceBuilder::saved_bytes_max`](super::HttpSourceBuilder::saved_bytes_max).
    pub(super) const BYTES_MAX: u64 = 64 << 20;

    /// Opens the folder, which is made if it is missing.
    pub(super) fn open(folder: &Path, bytes_max: u64) -> io::Result<Self> {
        make_folder(folder)?;
        let lock = private().create(true).open(folder.join("lock"))?;
        lock.try_lock().map_err(|error| match error {
            fs::TryLockError::Error(error) => error,
            fs::TryLockError::WouldBlock => io::Error::new(
                io::ErrorKind::AlreadyExists,
                "another process uses the folder",
            ),
        })?;
        // Not all processes of a fleet, which keep the same frames, at the same time.
        let jitter = RandomState::new().hash_one(0) % (bytes_max / 4).max(1);
        Ok(Self {
            folder: folder.to_owned(),
            bytes_max,
            long: bytes_max / 2 + jitter,
            _lock: lock,
            log: None,
        })
    }

    /// Reads the log up to its last complete line, which is where it goes on after
    /// [`Saved::resume`].
    pub(super) fn read(&self) -> io::Result<Kept> {
        let mut kept = Kept::default();
        let file = match File::open(self.path()) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(kept),
            Err(error) => return Err(error),
        };
        let mut lines = BufReader::new(file.take(self.bytes_max + MORE_BYTES));
        loop {
            let mut text = Vec::new();
            lines.read_until(b'\n', &mut text)?;
            if let Some(record) = text.strip_suffix(b"\n").and_then(Record::parse) {
                kept.records.push(record);
            } else {
                kept.is_closed = text == CLOSED;
                return Ok(kept);
            }
        }
    }

    /// Opens the object of a snapshot.
    pub(super) fn object(&self, name: ObjectName) -> io::Result<File> {
        File::open(self.object_path(name))
    }

    /// Goes on after these records, which are the first ones of the log.
    pub(super) fn resume(&mut self, records: &[Record]) -> io::Result<()> {
        let length = |records: &mut dyn Iterator<Item = &Record>| {
            records.map(|record| record.to_line().len() as u64).sum()
        };
        let bytes = length(&mut records.iter());
        let is_bookmark = |record: &&Record| record.kind == Kind::Bookmark;
        let of_bookmarks = length(&mut records.iter().filter(is_bookmark));
        let file = OpenOptions::new().append(true).open(self.path())?;
        file.set_len(bytes)?;
        // So that the end of the log is not found after what is written from now on was lost.
        file.sync_all()?;
        self.log = Some(Log {
            file,
            bytes,
            of_bookmarks,
        });
        Ok(())
    }

    /// Starts again with a snapshot and the frames after it. `before` are the pinned signers and the documents
    /// that led to its signer. After a failure, what was kept is as before.
    pub(super) fn begin(
        &mut self,
        before: &[Record],
        manifest: &Record,
        name: ObjectName,
        object: &[u8],
        frames: &[Record],
    ) -> io::Result<()> {
        let path = self.object_path(name);
        let is_new = !path.exists();
        self.replace(&path, |file| file.write_all(object))?;
        match self.write_log(before.iter().chain([manifest]).chain(frames)) {
            Ok(log) => self.log = Some(log),
            Err(error) => {
                if is_new {
                    let _ = fs::remove_file(&path);
                }
                return Err(error);
            }
        }
        self.remove_objects_except(&path);
        Ok(())
    }

    /// Adds a record. Without a snapshot, it does nothing.
    pub(super) fn append(&mut self, record: &Record) -> io::Result<()> {
        let Some(log) = &mut self.log else {
            return Ok(());
        };
        let line = record.to_line();
        let mut written = log.file.write_all(&line);
        if record.kind == Kind::Signers {
            // Once the authority retires a signer, a reader that has forgotten the next one is lost.
            written = written.and_then(|()| log.file.sync_data());
        }
        if let Err(error) = written {
            // Half a line would hide what is appended later.
            if log.file.set_len(log.bytes).is_err() {
                self.forget();
            }
            return Err(error);
        }
        let length = line.len() as u64;
        log.bytes += length;
        if record.kind == Kind::Bookmark {
            log.of_bookmarks += length;
        }
        if log.of_bookmarks > BOOKMARK_BYTES_MAX {
            let records = without_old_bookmarks(self.read()?.records);
            self.log = Some(self.write_log(records.iter())?);
        } else if log.length() > self.bytes_max {
            tracing::warn!(
                "the log for a warm restart is too long: it starts again with a snapshot"
            );
            self.forget();
        }
        Ok(())
    }

    /// Whether a newer snapshot should take the place of what is kept.
    pub(super) fn is_long(&self) -> bool {
        self.log.as_ref().is_none_or(|log| log.length() > self.long)
    }

    /// Ends the log: all of it is on the disk from then on.
    fn close(&mut self) -> io::Result<()> {
        let Some(mut log) = self.log.take() else {
            return Ok(());
        };
        log.file.sync_data()?;
        log.file.write_all(CLOSED)?;
        log.file.sync_data()
    }

    /// Removes what was saved: the next start reads a snapshot from the network.
    pub(super) fn forget(&mut self) {
        self.log = None;
        if let Err(error) = fs::remove_file(self.path())
            && error.kind() != io::ErrorKind::NotFound
        {
            tracing::warn!(%error, "the log for a warm restart cannot be removed");
        }
    }

    fn write_log<'a>(&self, records: impl Iterator<Item = &'a Record>) -> io::Result<Log> {
        let (mut bytes, mut of_bookmarks) = (0, 0);
        let file = self.replace(&self.path(), |file| {
            let mut file = io::BufWriter::new(file);
            for record in records {
                let line = record.to_line();
                file.write_all(&line)?;
                bytes += line.len() as u64;
                if record.kind == Kind::Bookmark {
                    of_bookmarks += line.len() as u64;
                }
            }
            file.flush()
        })?;
        Ok(Log {
            file,
            bytes,
            of_bookmarks,
        })
    }

    /// Writes a file that takes the place of another one at once, or not at all, and returns it for appending.
    fn replace(
        &self,
        path: &Path,
        write: impl FnOnce(&mut File) -> io::Result<()>,
    ) -> io::Result<File> {
        let new = self.folder.join("new");
        match fs::remove_file(&new) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut file = private().append(true).create_new(true).open(&new)?;
        let written = write(&mut file)
            .and_then(|()| file.sync_all())
            .and_then(|()| fs::rename(&new, path));
        if let Err(error) = written {
            // On a full disk, nothing could be appended to the log.
            let _ = fs::remove_file(&new);
            return Err(error);
        }
        // It has taken its place already, so this is no reason to go on with the other one.
        if let Err(error) = File::open(&self.folder).and_then(|folder| folder.sync_all()) {
            tracing::warn!(%error, "the folder for a warm restart cannot be synced");
        }
        Ok(file)
    }

    fn remove_objects_except(&self, kept: &Path) {
        let entries = fs::read_dir(&self.folder).into_iter().flatten().flatten();
        for entry in entries {
            let path = entry.path();
            let is_object = path.to_string_lossy().ends_with(OBJECT_SUFFIX);
            if is_object && path != kept {
                let _ = fs::remove_file(path);
            }
        }
    }

    fn path(&self) -> PathBuf {
        log_in(&self.folder)
    }

    fn object_path(&self, name: ObjectName) -> PathBuf {
        object_in(&self.folder, name)
    }
}

impl Drop for Saved {
    fn drop(&mut self) {
        if let Err(error) = self.close() {
            tracing::warn!(%error, "the log for a warm restart cannot be ended");
        }
    }
}

/// The log in a folder.
pub(super) fn log_in(folder: &Path) -> PathBuf {
    folder.join("feed.log")
}

/// The object of a snapshot in a folder.
pub(super) fn object_in(folder: &Path, name: ObjectName) -> PathBuf {
    folder.join(format!("{name}{OBJECT_SUFFIX}"))
}

fn without_old_bookmarks(records: Vec<Record>) -> Vec<Record> {
    let last = records.len().saturating_sub(1);
    let kept = |(at, record): (usize, Record)| {
        (record.kind != Kind::Bookmark || at == last).then_some(record)
    };
    records.into_iter().enumerate().filter_map(kept).collect()
}

impl Record {
    /// The pinned signers.
    pub(super) fn pins(trust: &Trust, stamp: Stamp) -> Self {
        let mut keys: Vec<_> = trust.keys().map(ToString::to_string).collect();
        keys.sort();
        Self {
            kind: Kind::Pins,
            stamp,
            line: keys.join(",").into_bytes(),
        }
    }

    fn to_line(&self) -> Vec<u8> {
        let head = format!("{} {} ", self.kind.word(), self.stamp.to_text());
        [head.as_bytes(), &self.line, b"\n"].concat()
    }

    pub(super) fn parse(text: &[u8]) -> Option<Self> {
        let mut parts = text.splitn(3, |byte| *byte == b' ');
        let mut word = || std::str::from_utf8(parts.next()?).ok();
        let kind = Kind::of(word()?)?;
        let stamp = Stamp::parse(word()?)?;
        Some(Self {
            kind,
            stamp,
            line: parts.next()?.to_vec(),
        })
    }
}

impl Kind {
    const ALL: [Self; 6] = [
        Self::Pins,
        Self::Signers,
        Self::Manifest,
        Self::Unproven,
        Self::Frame,
        Self::Bookmark,
    ];

    fn word(self) -> &'static str {
        match self {
            Self::Pins => "pins",
            Self::Signers => "signers",
            Self::Manifest => "manifest",
            Self::Unproven => "unproven",
            Self::Frame => "frame",
            Self::Bookmark => "bookmark",
        }
    }

    fn of(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.word() == word)
    }
}

/// Files that nobody else may read.
fn private() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.write(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt;
        options.mode(0o600);
    }
    options
}

fn make_folder(folder: &Path) -> io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::DirBuilderExt;
        builder.mode(0o700);
    }
    builder.create(folder)
}

/// The last line of a log that was ended.
pub(super) const CLOSED: &[u8] = b"closed\n";
const OBJECT_SUFFIX: &str = ".ndjson.zst";
/// How much longer a log may be than its frames: bookmarks, and the line with which it became too long.
const MORE_BYTES: u64 = 16 << 20;
/// How many bytes of bookmarks make the log be written again without them.
const BOOKMARK_BYTES_MAX: u64 = 1 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    fn record(kind: Kind, number: u64) -> Record {
        Record {
            kind,
            stamp: Stamp {
                boot: "a-1".to_owned(),
                uptime: number,
                wall: 1_000 + number,
            },
            line: format!("{{\"frame\":{number}, \"of\":\"two words\"}}").into_bytes(),
        }
    }

    fn name() -> ObjectName {
        ObjectName::parse(&"7".repeat(64)).unwrap()
    }

    fn begun(folder: &Path) -> Saved {
        let mut saved = Saved::open(folder, Saved::BYTES_MAX).unwrap();
        let signers = [record(Kind::Signers, 1)];
        let manifest = record(Kind::Manifest, 2);
        saved
            .begin(&signers, &manifest, name(), b"object", &[])
            .unwrap();
        saved
    }

    #[test]
    fn a_log_that_is_cut_at_any_byte_has_all_records_before_it() {
        let folder = tempfile::tempdir().unwrap();
        let mut saved = begun(folder.path());
        for number in 3..8 {
            let kind = [Kind::Frame, Kind::Bookmark][usize::from(number % 2 == 0)];
            saved.append(&record(kind, number)).unwrap();
        }
        let log = fs::read(saved.path()).unwrap();
        let records = saved.read().unwrap().records;
        assert_eq!(records.len(), 7);
        assert_eq!(records[1], record(Kind::Manifest, 2));
        assert_eq!(records[6], record(Kind::Frame, 7));
        for length in 0..=log.len() {
            fs::write(saved.path(), &log[..length]).unwrap();
            let complete = log[..length].split(|byte| *byte == b'\n').count() - 1;
            let read = saved.read().unwrap().records;
            assert_eq!(read, records[..complete]);
            // It goes on after the last complete line.
            if complete > 0 {
                saved.resume(&read).unwrap();
                saved.append(&record(Kind::Frame, 100)).unwrap();
                let read = saved.read().unwrap().records;
                assert_eq!(read.len(), complete + 1);
                assert_eq!(read.last(), Some(&record(Kind::Frame, 100)));
            }
        }
    }

    #[test]
    fn a_folder_has_one_snapshot_and_one_user() {
        let folder = tempfile::tempdir().unwrap();
        let mut saved = begun(folder.path());
        assert!(Saved::open(folder.path(), Saved::BYTES_MAX).is_err());
        let other = ObjectName::parse(&"8".repeat(64)).unwrap();
        let manifest = record(Kind::Manifest, 9);
        saved.begin(&[], &manifest, other, b"other", &[]).unwrap();
        assert_eq!(saved.read().unwrap().records, [manifest]);
        assert!(saved.object(name()).is_err());
        let mut text = String::new();
        saved
            .object(other)
            .unwrap()
            .read_to_string(&mut text)
            .unwrap();
        assert_eq!(text, "other");
        saved.forget();
        assert_eq!(saved.read().unwrap(), Kept::default());
        drop(saved);
        Saved::open(folder.path(), Saved::BYTES_MAX).unwrap();
    }

    #[test]
    fn a_log_is_closed_until_it_goes_on() {
        let folder = tempfile::tempdir().unwrap();
        let mut saved = begun(folder.path());
        saved.append(&record(Kind::Frame, 3)).unwrap();
        assert!(!saved.read().unwrap().is_closed);
        drop(saved);
        let mut saved = Saved::open(folder.path(), Saved::BYTES_MAX).unwrap();
        let Kept { records, is_closed } = saved.read().unwrap();
        assert_eq!((records.len(), is_closed), (3, true));
        saved.resume(&records).unwrap();
        assert!(!saved.read().unwrap().is_closed);
        saved.append(&record(Kind::Frame, 4)).unwrap();
        assert_eq!(saved.read().unwrap().records.len(), 4);
        // A process that does not go on with it leaves it as it is.
        drop(saved);
        drop(Saved::open(folder.path(), Saved::BYTES_MAX).unwrap());
        let saved = Saved::open(folder.path(), Saved::BYTES_MAX).unwrap();
        assert!(saved.read().unwrap().is_closed);
    }

    #[test]
    fn old_bookmarks_do_not_grow_the_log() {
        let folder = tempfile::tempdir().unwrap();
        let mut saved = begun(folder.path());
        let mut longest = 0;
        for number in 0..40_000 {
            if number % 10_000 == 0 {
                saved.append(&record(Kind::Frame, number)).unwrap();
            }
            saved.append(&record(Kind::Bookmark, number)).unwrap();
            longest = longest.max(saved.log.as_ref().unwrap().bytes);
        }
        assert!(longest < BOOKMARK_BYTES_MAX + 10_000, "{longest}");
        let records = saved.read().unwrap().records;
        let frames = records.iter().filter(|record| record.kind == Kind::Frame);
        assert_eq!(frames.count(), 4);
        assert_eq!(records.last(), Some(&record(Kind::Bookmark, 39_999)));
        let length = fs::metadata(saved.path()).unwrap().len();
        assert_eq!(saved.log.as_ref().unwrap().bytes, length);
    }

    #[test]
    fn the_frames_of_a_log_are_bounded_and_each_process_looks_for_a_snapshot_at_its_own_length() {
        let mut longs = Vec::new();
        for _ in 0..50 {
            let folder = tempfile::tempdir().unwrap();
            longs.push(Saved::open(folder.path(), 40_000).unwrap().long);
        }
        assert!(longs.iter().all(|long| (20_000..30_000).contains(long)));
        longs.sort_unstable();
        assert!(longs[49] - longs[0] > 3_000, "{longs:?}");

        let folder = tempfile::tempdir().unwrap();
        drop(begun(folder.path()));
        let mut saved = Saved::open(folder.path(), 40_000).unwrap();
        let records = saved.read().unwrap().records;
        saved.resume(&records).unwrap();
        assert!(!saved.is_long());
        let mut frames = 0;
        while saved.log.is_some() {
            saved.append(&record(Kind::Frame, frames)).unwrap();
            frames += 1;
            let length = saved.log.as_ref().map_or(0, Log::length);
            assert!(length <= 40_000, "{length}");
            assert_eq!(saved.is_long(), length > saved.long || length == 0);
        }
        assert!(frames > 300, "{frames}");
        // Nothing is kept, which is the time for a snapshot too.
        assert!(saved.is_long());
        assert_eq!(saved.read().unwrap(), Kept::default());
    }
}
