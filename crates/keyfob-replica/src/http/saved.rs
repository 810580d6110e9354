//! The folder for a warm restart: the snapshot and the frames that were accepted, as received.
//!
//! `feed.log` has one record in each line: a word, the clocks when it was written, and a signed line.
//! It begins with the signers documents that were accepted, then has the manifest of the snapshot,
//! then frames. Records are appended with one write, and a last line without its end is dropped: it
//! was being written when the process was killed. A log is replaced by writing another one and
//! renaming it. Each prefix of a log is the state of some earlier time, and its age is known, so no
//! kill leaves anything that is wrong. What is read is verified like what comes from the network.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, BufRead, BufReader, Read, Write},
    path::{Path, PathBuf},
};

use keyfob_feed::ObjectName;

use super::steady::Stamp;

/// A record of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Record {
    pub(super) kind: Kind,
    pub(super) stamp: Stamp,
    /// A signed line.
    pub(super) line: Vec<u8>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A signers document.
    Signers,
    /// The manifest of a snapshot.
    Manifest,
    /// A frame that changes something.
    Frame,
    /// A frame that only confirms: a later one takes its place.
    Bookmark,
}

/// The folder, and what was written to it.
pub(super) struct Saved {
    folder: PathBuf,
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

impl Saved {
    /// Opens the folder, which is made if it is missing.
    pub(super) fn open(folder: &Path) -> io::Result<Self> {
        make_folder(folder)?;
        let lock = private().create(true).open(folder.join("lock"))?;
        lock.try_lock().map_err(|error| match error {
            fs::TryLockError::Error(error) => error,
            fs::TryLockError::WouldBlock => io::Error::new(
                io::ErrorKind::AlreadyExists,
                "another process uses the folder",
            ),
        })?;
        Ok(Self {
            folder: folder.to_owned(),
            _lock: lock,
            log: None,
        })
    }

    /// Reads the log up to its last complete line, which is where it goes on after
    /// [`Saved::resume`].
    pub(super) fn read(&self) -> io::Result<Vec<Record>> {
        let file = match File::open(self.path()) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        let mut records = Vec::new();
        let mut lines = BufReader::new(file.take(BYTES_MAX));
        loop {
            let mut text = Vec::new();
            lines.read_until(b'\n', &mut text)?;
            let Some(record) = text.strip_suffix(b"\n").and_then(Record::parse) else {
                return Ok(records);
            };
            records.push(record);
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
        self.log = Some(Log {
            file,
            bytes,
            of_bookmarks,
        });
        Ok(())
    }

    /// Starts again with a snapshot. `before` are the signers documents that led to its signer.
    pub(super) fn begin(
        &mut self,
        before: &[Record],
        manifest: &Record,
        name: ObjectName,
        object: &[u8],
    ) -> io::Result<()> {
        self.log = None;
        let path = self.object_path(name);
        self.replace(&path, |file| file.write_all(object))?;
        let log = self.write_log(before.iter().chain([manifest]))?;
        self.log = Some(log);
        self.remove_objects_except(&path);
        Ok(())
    }

    /// Adds a record. Without a snapshot, it does nothing.
    pub(super) fn append(&mut self, record: &Record) -> io::Result<()> {
        let Some(log) = &mut self.log else {
            return Ok(());
        };
        let line = record.to_line();
        if let Err(error) = log.file.write_all(&line) {
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
            let records = without_old_bookmarks(self.read()?);
            self.log = Some(self.write_log(records.iter())?);
        } else if log.bytes > BYTES_MAX {
            tracing::info!(
                "the log for a warm restart is too long: it starts again with a snapshot"
            );
            self.forget();
        }
        Ok(())
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
        self.replace(&self.path(), |file| {
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
            file: OpenOptions::new().append(true).open(self.path())?,
            bytes,
            of_bookmarks,
        })
    }

    /// Writes a file that takes the place of another one at once, or not at all.
    fn replace(
        &self,
        path: &Path,
        write: impl FnOnce(&mut File) -> io::Result<()>,
    ) -> io::Result<()> {
        let new = self.folder.join("new");
        match fs::remove_file(&new) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut file = private().create_new(true).open(&new)?;
        write(&mut file)?;
        file.sync_all()?;
        fs::rename(&new, path)?;
        File::open(&self.folder)?.sync_all()
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
        self.folder.join("feed.log")
    }

    fn object_path(&self, name: ObjectName) -> PathBuf {
        self.folder.join(format!("{name}{OBJECT_SUFFIX}"))
    }
}

fn without_old_bookmarks(records: Vec<Record>) -> Vec<Record> {
    let last = records.len().saturating_sub(1);
    let kept = |(at, record): (usize, Record)| {
        (record.kind != Kind::Bookmark || at == last).then_some(record)
    };
    records.into_iter().enumerate().filter_map(kept).collect()
}

impl Record {
    fn to_line(&self) -> Vec<u8> {
        let head = format!("{} {} ", self.kind.word(), self.stamp.to_text());
        [head.as_bytes(), &self.line, b"\n"].concat()
    }

    fn parse(text: &[u8]) -> Option<Self> {
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
    const ALL: [Self; 4] = [Self::Signers, Self::Manifest, Self::Frame, Self::Bookmark];

    fn word(self) -> &'static str {
        match self {
            Self::Signers => "signers",
            Self::Manifest => "manifest",
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

const OBJECT_SUFFIX: &str = ".ndjson.zst";
/// The length of the log from which on it is not continued.
const BYTES_MAX: u64 = 64 << 20;
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
        let mut saved = Saved::open(folder).unwrap();
        let signers = [record(Kind::Signers, 1)];
        let manifest = record(Kind::Manifest, 2);
        saved.begin(&signers, &manifest, name(), b"object").unwrap();
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
        let records = saved.read().unwrap();
        assert_eq!(records.len(), 7);
        assert_eq!(records[1], record(Kind::Manifest, 2));
        assert_eq!(records[6], record(Kind::Frame, 7));
        for length in 0..=log.len() {
            fs::write(saved.path(), &log[..length]).unwrap();
            let complete = log[..length].split(|byte| *byte == b'\n').count() - 1;
            let read = saved.read().unwrap();
            assert_eq!(read, records[..complete]);
            // It goes on after the last complete line.
            if complete > 0 {
                saved.resume(&read).unwrap();
                saved.append(&record(Kind::Frame, 100)).unwrap();
                let read = saved.read().unwrap();
                assert_eq!(read.len(), complete + 1);
                assert_eq!(read.last(), Some(&record(Kind::Frame, 100)));
            }
        }
    }

    #[test]
    fn a_folder_has_one_snapshot_and_one_user() {
        let folder = tempfile::tempdir().unwrap();
        let mut saved = begun(folder.path());
        assert!(Saved::open(folder.path()).is_err());
        let other = ObjectName::parse(&"8".repeat(64)).unwrap();
        let manifest = record(Kind::Manifest, 9);
        saved.begin(&[], &manifest, other, b"other").unwrap();
        assert_eq!(saved.read().unwrap(), [manifest]);
        assert!(saved.object(name()).is_err());
        let mut text = String::new();
        saved
            .object(other)
            .unwrap()
            .read_to_string(&mut text)
            .unwrap();
        assert_eq!(text, "other");
        saved.forget();
        assert_eq!(saved.read().unwrap(), []);
        drop(saved);
        Saved::open(folder.path()).unwrap();
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
        let records = saved.read().unwrap();
        let frames = records.iter().filter(|record| record.kind == Kind::Frame);
        assert_eq!(frames.count(), 4);
        assert_eq!(records.last(), Some(&record(Kind::Bookmark, 39_999)));
        let length = fs::metadata(saved.path()).unwrap().len();
        assert_eq!(saved.log.as_ref().unwrap().bytes, length);
    }
}
