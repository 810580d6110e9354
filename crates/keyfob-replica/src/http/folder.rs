//! A folder as an upstream: what another process keeps for its warm restart, here or as a copy.
//!
//! Its lines are verified like those of the network, and their age counts from the time that the authority
//! signed. A process that can write to the folder can delay the feed, or put a reader back to an earlier state;
//! the bound on staleness holds for both.

use std::{
    fs::File,
    io::{self, BufRead as _, Read as _, SeekFrom},
    path::Path,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use keyfob_feed::{ObjectName, Position, SignedLine};
use serde::Deserialize;
use tokio::{
    io::{
        AsyncBufReadExt as _, AsyncRead, AsyncReadExt as _, AsyncSeekExt as _, AsyncWriteExt as _,
        DuplexStream, ReadBuf,
    },
    sync::Semaphore,
    task::{JoinHandle, spawn_blocking},
    time::{sleep, timeout},
};

use super::{
    client::{Lines, WORK_WITHIN, lines_of, object_within},
    error::FeedError,
    saved::{CLOSED, Kind, Record, log_in, object_in},
    upstream::{Address, Upstream},
};

/// A folder that is read.
#[derive(Clone)]
pub(super) struct Folder {
    path: Arc<Path>,
    /// For one read at a time. A read of a volume that hangs keeps a thread, of which there are not many.
    turn: Arc<Semaphore>,
}

/// What a folder has for a reader.
pub(super) enum Found {
    /// The lines from its position on.
    Lines(Lines, Bytes),
    /// The manifest of the snapshot, since it does not have the position.
    Manifest(Kept),
}

/// What a folder has of a feed.
pub(super) struct Kept {
    folder: Folder,
    pub(super) manifest: Bytes,
    /// The signers documents, each in a line.
    pub(super) signers: Bytes,
    /// The authority's time of the last line. It is not verified.
    pub(super) as_of: u64,
    /// The position after the last line. It is not verified.
    pub(super) end: Option<Position>,
}

impl Folder {
    /// The folder that an upstream is; none if it is a server.
    pub(super) fn of(upstream: &Upstream) -> Option<Self> {
        match &upstream.0 {
            Address::Folder(path) => Some(Self {
                path: Arc::from(path.as_path()),
                turn: Arc::new(Semaphore::new(1)),
            }),
            Address::Tcp { .. } | Address::Unix(_) => None,
        }
    }

    /// Reads what the folder has for a reader at this position.
    pub(super) async fn open(&self, position: Position) -> Result<Found, FeedError> {
        let (kept, file, start) = self.scan(Some(position)).await?;
        let Some(start) = start else {
            return Ok(Found::Manifest(kept));
        };
        let (own, pipe) = tokio::io::duplex(PIPE_BYTES);
        let path = log_in(&self.path);
        let task = tokio::spawn(async move {
            if let Err(error) = follow(&path, file.into(), start, pipe).await {
                tracing::debug!(%error, "the log of an upstream's folder cannot be read");
            }
        });
        let lines = lines_of(Box::new(Followed { own, task }), SignedLine::BYTES_MAX);
        Ok(Found::Lines(lines, kept.signers))
    }

    /// Reads what the folder has for a reader that has nothing.
    pub(super) async fn kept(&self) -> Result<Kept, FeedError> {
        let (kept, ..) = self.scan(None).await?;
        Ok(kept)
    }

    async fn scan(
        &self,
        position: Option<Position>,
    ) -> Result<(Kept, File, Option<u64>), FeedError> {
        let scan = self.read(WORK_WITHIN, move |path| scan(path, position));
        let Scan {
            manifest,
            signers,
            last,
            file,
            start,
        } = scan.await?;
        let kept = Kept {
            folder: self.clone(),
            manifest,
            signers,
            as_of: last.as_ref().map_or(0, |last| last.as_of),
            end: last.map(|last| last.to),
        };
        Ok((kept, file, start))
    }

    /// Reads in another thread, within this time.
    async fn read<T: Send + 'static>(
        &self,
        within: Duration,
        work: impl FnOnce(&Path) -> Result<T, FeedError> + Send + 'static,
    ) -> Result<T, FeedError> {
        let (path, turn) = (Arc::clone(&self.path), Arc::clone(&self.turn));
        let reading = async {
            let turn = turn.acquire_owned().await;
            let reading = spawn_blocking(move || {
                // It is kept until the read has ended, also after the time is over.
                let _turn = turn;
                work(&path)
            });
            reading
                .await
                .map_err(|error| FeedError::Body(error.into()))?
        };
        timeout(within, reading)
            .await
            .unwrap_or(Err(FeedError::TimedOut("reading the folder")))
    }
}

impl Kept {
    /// Reads the object of the snapshot, which has at most `most` bytes.
    pub(super) async fn object(&self, name: ObjectName, most: u64) -> Result<Bytes, FeedError> {
        let reading = self.folder.read(object_within(most), move |path| {
            let file = open_regular(&object_in(path, name)).map_err(FeedError::Object)?;
            let mut object = Vec::new();
            let read = file.take(most).read_to_end(&mut object);
            read.map_err(FeedError::Object)?;
            Ok(object.into())
        });
        reading.await
    }
}

/// The lines of a log that a task follows, which ends with this.
struct Followed {
    own: DuplexStream,
    task: JoinHandle<()>,
}

impl AsyncRead for Followed {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.own).poll_read(cx, into)
    }
}

impl Drop for Followed {
    fn drop(&mut self) {
        self.task.abort();
    }
}

struct Scan {
    manifest: Bytes,
    signers: Bytes,
    last: Option<FrameHead>,
    /// The log that was read.
    file: File,
    /// Where the lines for the reader start; none if the log does not have its position.
    start: Option<u64>,
}

/// What a line says of itself. It is not verified.
#[derive(Deserialize)]
struct Head {
    frame: FrameHead,
}

#[derive(Deserialize)]
struct FrameHead {
    from: Position,
    to: Position,
    as_of: u64,
}

/// Opens a regular file. Opening another one may wait, such as a pipe, and it may have no end.
fn open_regular(path: &Path) -> io::Result<File> {
    let refused = io::Error::new(io::ErrorKind::InvalidInput, "it is not a regular file");
    if !std::fs::metadata(path)?.is_file() {
        return Err(refused);
    }
    let file = File::open(path)?;
    if file.metadata()?.is_file() {
        Ok(file)
    } else {
        Err(refused)
    }
}

fn scan(folder: &Path, position: Option<Position>) -> Result<Scan, FeedError> {
    let file = open_regular(&log_in(folder)).map_err(FeedError::Object)?;
    let again = file.try_clone().map_err(FeedError::Object)?;
    let mut lines = io::BufReader::new(again);
    let (mut manifest, mut signers) = (None, Vec::new());
    let (mut at, mut start, mut last) = (0, None, None);
    loop {
        let mut text = Vec::new();
        let read = lines.by_ref().take(LINE_BYTES).read_until(b'\n', &mut text);
        read.map_err(FeedError::Object)?;
        let Some(record) = text.strip_suffix(b"\n").and_then(Record::parse) else {
            break;
        };
        match record.kind {
            Kind::Pins | Kind::Unproven => {}
            Kind::Signers => {
                signers.extend([&*record.line, b"\n"].concat());
                if signers.len() > SignedLine::SENT_BYTES_MAX {
                    return Err(FeedError::Body(
                        "the signers are longer than expected".into(),
                    ));
                }
            }
            Kind::Manifest => manifest = Some(Bytes::from(record.line)),
            Kind::Frame | Kind::Bookmark => {
                let head = serde_json::from_slice::<Head>(&record.line);
                let Ok(Head { frame }) = head else { break };
                if start.is_none() && Some(frame.from) == position {
                    start = Some(at);
                }
                last = Some(frame);
            }
        }
        at += text.len() as u64;
        if at > LOG_BYTES_MAX {
            return Err(FeedError::Body("the log is longer than expected".into()));
        }
    }
    // Nothing follows yet, also after the manifest.
    if last.as_ref().is_none_or(|last| Some(last.to) == position) && position.is_some() {
        start = start.or(Some(at));
    }
    Ok(Scan {
        manifest: manifest.ok_or(FeedError::Object(io::ErrorKind::NotFound.into()))?,
        signers: signers.into(),
        last,
        file,
        start,
    })
}

/// Passes on the lines of a log from a place on, until another log takes its place.
async fn follow(
    path: &Path,
    mut file: tokio::fs::File,
    mut at: u64,
    mut pipe: DuplexStream,
) -> io::Result<()> {
    loop {
        // A log that was replaced gets no more lines: from here on, it is read to its end.
        let is_current = is_at(path, &file, at).await?;
        file.seek(SeekFrom::Start(at)).await?;
        let mut lines = tokio::io::BufReader::new(&mut file);
        loop {
            let mut text = Vec::new();
            (&mut lines)
                .take(LINE_BYTES)
                .read_until(b'\n', &mut text)
                .await?;
            // The end of a log that is continued is overwritten.
            if !text.ends_with(b"\n") || text == CLOSED {
                break;
            }
            at += text.len() as u64;
            let record = text.strip_suffix(b"\n").and_then(Record::parse);
            let record = record.ok_or(io::ErrorKind::InvalidData)?;
            if matches!(record.kind, Kind::Frame | Kind::Bookmark) {
                pipe.write_all(&record.line).await?;
                pipe.write_all(b"\n").await?;
            }
        }
        if !is_current {
            return Ok(());
        }
        sleep(POLL).await;
    }
}

/// Whether a log is still the one of this file, and has what was read of it.
async fn is_at(path: &Path, file: &tokio::fs::File, at: u64) -> io::Result<bool> {
    let (own, now) = (file.metadata().await?, tokio::fs::metadata(path).await?);
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt as _;
        if (own.dev(), own.ino()) != (now.dev(), now.ino()) {
            return Ok(false);
        }
    }
    Ok(own.len() >= at && now.len() >= at)
}

/// How often a log is looked at that has no more lines.
const POLL: Duration = Duration::from_millis(20);
/// How much is read ahead of the source.
const PIPE_BYTES: usize = 64 << 10;
/// The longest record.
const LINE_BYTES: u64 = SignedLine::BYTES_MAX as u64 + 256;
/// The longest log.
const LOG_BYTES_MAX: u64 = 1 << 30;

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(path: &Path) -> Folder {
        let upstream = format!("file:{}", path.display());
        Folder::of(&upstream.parse().unwrap()).unwrap()
    }

    fn position(revision: u64) -> Position {
        format!("{revision}-{}", "A".repeat(22)).parse().unwrap()
    }

    fn frame(from: u64, to: u64) -> String {
        let (from, to) = (position(from), position(to));
        format!("frame -:1:1 {{\"frame\":{{\"from\":\"{from}\",\"to\":\"{to}\",\"as_of\":1}}}}\n")
    }

    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn what_is_not_read_any_more_is_not_followed() {
        let temporary = tempfile::tempdir().unwrap();
        let log = log_in(temporary.path());
        std::fs::write(&log, format!("manifest -:1:1 {{}}\n{}", frame(1, 2))).unwrap();
        let folder = folder(temporary.path());
        let opened = || {
            let links = std::fs::read_dir("/proc/self/fd").unwrap();
            let links = links.filter_map(|link| std::fs::read_link(link.ok()?.path()).ok());
            links.filter(|link| *link == log).count()
        };
        let mut streams = Vec::new();
        for _ in 0..20 {
            streams.push(folder.open(position(2)).await.ok().unwrap());
        }
        assert!(opened() >= 20, "{}", opened());
        streams.clear();
        let all = async {
            while opened() > 0 {
                sleep(POLL).await;
            }
        };
        let ended = timeout(Duration::from_secs(20), all).await;
        assert!(ended.is_ok(), "{} are open", opened());
    }

    #[tokio::test(start_paused = true)]
    async fn a_volume_that_hangs_is_given_up_and_keeps_one_thread() {
        let temporary = tempfile::tempdir().unwrap();
        std::fs::write(log_in(temporary.path()), "manifest -:1:1 {}\n").unwrap();
        let folder = folder(temporary.path());
        let hanging = Arc::clone(&folder.turn).try_acquire_owned().unwrap();
        for _ in 0..3 {
            let given_up = folder.kept().await;
            assert!(matches!(given_up, Err(FeedError::TimedOut(_))));
        }
        drop(hanging);
        assert!(folder.kept().await.is_ok());
        let (start, started) = std::sync::mpsc::channel();
        let (release, released) = std::sync::mpsc::channel::<()>();
        let hung = folder.read(WORK_WITHIN, move |_| {
            let _ = (start.send(()), released.recv());
            Ok(())
        });
        // The clock stands still while a thread works.
        assert!(timeout(Duration::ZERO, hung).await.is_err());
        started.recv().unwrap();
        assert_eq!(folder.turn.available_permits(), 0);
        drop(release);
        assert!(folder.kept().await.is_ok());
    }

    #[tokio::test]
    async fn a_log_with_too_many_signers_is_refused() {
        let temporary = tempfile::tempdir().unwrap();
        let folder = folder(temporary.path());
        let document = format!("signers -:1:1 {}\n", "x".repeat(SignedLine::BYTES_MAX / 2));
        for (count, is_taken) in [(1, true), (3, false)] {
            let log = format!("{}manifest -:1:1 {{}}\n", document.repeat(count));
            std::fs::write(log_in(temporary.path()), log).unwrap();
            assert_eq!(folder.kept().await.is_ok(), is_taken, "{count}");
        }
    }
}
