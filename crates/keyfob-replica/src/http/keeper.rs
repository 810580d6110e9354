//! Keeping what is accepted, while a snapshot may still be written.

use std::io;

use bytes::Bytes;
use keyfob_feed::ObjectName;
use tokio::task::{JoinHandle, spawn_blocking};

use super::saved::{Kept, Kind, Record, Saved};

/// Writes to the folder for a warm restart, if there is one. A failure is logged: it costs the next
/// start a snapshot.
pub(super) struct Keeper {
    /// None without a folder, and while a snapshot is written to it.
    saved: Option<Saved>,
    writing: Option<JoinHandle<Saved>>,
    /// A snapshot that was loaded meanwhile, and is written next.
    next: Option<Snapshot>,
    /// What was accepted while a snapshot is written.
    waiting: Vec<Record>,
    /// The pinned signers, and the signers documents that were accepted.
    signers: Vec<Record>,
}

/// A snapshot as it was received.
struct Snapshot {
    manifest: Record,
    name: ObjectName,
    object: Bytes,
    frames: Vec<Record>,
    /// Whether it leads to the state that is kept already.
    is_compaction: bool,
}

impl Keeper {
    pub(super) fn new(saved: Option<Saved>, pins: Record) -> Self {
        Self {
            saved,
            writing: None,
            next: None,
            waiting: Vec::new(),
            signers: vec![pins],
        }
    }

    /// What was kept with the signers that are pinned.
    pub(super) fn read(&self) -> io::Result<Kept> {
        let Some((saved, pins)) = self.saved.as_ref().zip(self.signers.first()) else {
            return Ok(Kept::default());
        };
        let kept = saved.read()?;
        let is_empty = kept.records.is_empty();
        let kept = kept.if_pinned(pins);
        if kept.records.is_empty() && !is_empty {
            tracing::warn!(
                "other signers are pinned than before: what was kept for a warm restart is not used"
            );
        }
        Ok(kept)
    }

    /// The folder; none while a snapshot is written.
    pub(super) fn saved(&self) -> Option<&Saved> {
        self.saved.as_ref()
    }

    /// Goes on after these records of the log.
    pub(super) fn resume(&mut self, records: &[Record]) {
        let signers = records.iter();
        let signers = signers.filter(|record| matches!(record.kind, Kind::Pins | Kind::Signers));
        self.signers = signers.cloned().collect();
        if let Some(saved) = &mut self.saved
            && let Err(error) = saved.resume(records)
        {
            tracing::error!(%error, "the log for a warm restart cannot be continued");
            saved.forget();
        }
    }

    /// Whether a newer snapshot should take the place of what is kept; none while a snapshot is written, and
    /// without a folder.
    pub(super) fn is_long(&self) -> Option<bool> {
        self.saved.as_ref().map(Saved::is_long)
    }

    /// Starts again with a snapshot and the records after it, which another thread writes. If it cannot, nothing
    /// is kept.
    pub(super) fn begin(
        &mut self,
        manifest: Record,
        name: ObjectName,
        object: Bytes,
        records: Vec<Record>,
    ) {
        self.start(Snapshot {
            manifest,
            name,
            object,
            frames: records,
            is_compaction: false,
        });
    }

    /// Lets a newer snapshot and the frames after it take the place of what is kept, which stays if they cannot
    /// be written.
    pub(super) fn compact(
        &mut self,
        manifest: Record,
        name: ObjectName,
        object: Bytes,
        frames: Vec<Record>,
    ) {
        self.start(Snapshot {
            manifest,
            name,
            object,
            frames,
            is_compaction: true,
        });
    }

    fn start(&mut self, snapshot: Snapshot) {
        if self.saved.is_none() && self.writing.is_none() {
            return;
        }
        self.waiting.clear();
        self.next = Some(snapshot);
        self.write();
    }

    fn write(&mut self) {
        // While another one is written, there is no folder, and the snapshot waits.
        let Some(mut saved) = self.saved.take() else {
            return;
        };
        let Some(snapshot) = self.next.take() else {
            self.saved = Some(saved);
            return;
        };
        let signers = self.signers.clone();
        self.writing = Some(spawn_blocking(move || {
            let Snapshot {
                manifest,
                name,
                object,
                frames,
                is_compaction,
            } = snapshot;
            if let Err(error) = saved.begin(&signers, &manifest, name, &object, &frames) {
                tracing::error!(%error, "the snapshot cannot be kept for a warm restart");
                if !is_compaction {
                    saved.forget();
                }
            }
            saved
        }));
    }

    pub(super) fn append(&mut self, record: Record) {
        match (&mut self.saved, &self.writing) {
            (Some(saved), _) => append(saved, &record),
            (None, Some(_)) => self.waiting.push(record.clone()),
            (None, None) => {}
        }
        if record.kind == Kind::Signers {
            self.signers.push(record);
        }
    }

    /// Goes on with the folder when the snapshot is written.
    pub(super) async fn poll(&mut self) {
        let Some(writing) = self.writing.take_if(|writing| writing.is_finished()) else {
            return;
        };
        // It is finished, so nothing waits here.
        let Ok(mut saved) = writing.await else {
            return;
        };
        if self.next.is_some() {
            self.saved = Some(saved);
            return self.write();
        }
        for record in self.waiting.drain(..) {
            append(&mut saved, &record);
        }
        self.saved = Some(saved);
    }
}

fn append(saved: &mut Saved, record: &Record) {
    if let Err(error) = saved.append(record) {
        tracing::error!(%error, "a frame cannot be kept for a warm restart");
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::{sleep, timeout};

    use super::*;
    use crate::http::{
        saved::{log_in, object_in},
        steady::Clocks,
    };

    fn record(kind: Kind, line: &str) -> Record {
        Record {
            kind,
            stamp: Clocks::new(None, None).stamp(),
            line: line.into(),
        }
    }

    /// Waits until the snapshot is written.
    async fn written(keeper: &mut Keeper) {
        let written = async {
            while keeper.saved().is_none() {
                keeper.poll().await;
                sleep(Duration::from_millis(1)).await;
            }
        };
        timeout(Duration::from_secs(20), written).await.unwrap();
    }

    fn lines(keeper: &Keeper) -> Vec<String> {
        let kept = keeper.read().unwrap().records;
        let line = |record: &Record| String::from_utf8_lossy(&record.line).into_owned();
        kept.iter().map(line).collect()
    }

    #[tokio::test]
    async fn a_compaction_that_cannot_be_written_leaves_what_was_kept() {
        let folder = tempfile::tempdir().unwrap();
        let mut keeper = Keeper::new(
            Some(Saved::open(folder.path(), Saved::BYTES_MAX).unwrap()),
            record(Kind::Pins, "pins"),
        );
        let name = |digit: &str| ObjectName::parse(&digit.repeat(64)).unwrap();
        let object = || Bytes::from_static(b"object");
        keeper.begin(
            record(Kind::Manifest, "first"),
            name("1"),
            object(),
            Vec::new(),
        );
        written(&mut keeper).await;
        keeper.append(record(Kind::Frame, "before"));
        let has_object = |keeper: &Keeper, digit| {
            let file = keeper.saved().unwrap().object(name(digit));
            file.is_ok_and(|file| file.metadata().unwrap().is_file())
        };
        // In the place of the object, and then of the log, until it is put back.
        let obstacle = object_in(folder.path(), name("2"));
        let (log, aside) = (log_in(folder.path()), folder.path().join("aside"));
        for (round, path) in [obstacle, log].iter().enumerate() {
            if round == 1 {
                std::fs::rename(path, &aside).unwrap();
            }
            std::fs::create_dir(path).unwrap();
            let frames = vec![record(Kind::Frame, "before")];
            keeper.compact(
                record(Kind::Manifest, "second"),
                name("2"),
                object(),
                frames,
            );
            keeper.append(record(Kind::Frame, &format!("meanwhile {round}")));
            written(&mut keeper).await;
            keeper.append(record(Kind::Frame, &format!("after {round}")));
            std::fs::remove_dir(path).unwrap();
            if round == 1 {
                std::fs::rename(&aside, path).unwrap();
            }
            assert!(has_object(&keeper, "1") && !has_object(&keeper, "2"));
            assert!(!folder.path().join("new").exists());
        }
        let after = ["meanwhile 0", "after 0", "meanwhile 1", "after 1"];
        let kept = [&["pins", "first", "before"][..], &after].concat();
        assert_eq!(lines(&keeper), kept);
        let frames = vec![record(Kind::Frame, "last")];
        keeper.compact(
            record(Kind::Manifest, "second"),
            name("2"),
            object(),
            frames,
        );
        written(&mut keeper).await;
        assert_eq!(lines(&keeper), ["pins", "second", "last"]);
        assert!(has_object(&keeper, "2") && !has_object(&keeper, "1"));
    }

    #[tokio::test]
    async fn a_snapshot_that_is_loaded_while_another_one_is_written_is_kept_with_what_follows() {
        let folder = tempfile::tempdir().unwrap();
        let mut keeper = Keeper::new(
            Some(Saved::open(folder.path(), Saved::BYTES_MAX).unwrap()),
            record(Kind::Pins, "pins"),
        );
        let name = |digit: &str| ObjectName::parse(&digit.repeat(64)).unwrap();
        for (digit, line) in [("1", "first"), ("2", "second")] {
            let object = Bytes::from_static(b"object");
            let manifest = record(Kind::Manifest, line);
            if digit == "1" {
                keeper.begin(manifest, name(digit), object, Vec::new());
            } else {
                let frames = vec![record(Kind::Frame, &format!("with the {line}"))];
                keeper.compact(manifest, name(digit), object, frames);
            }
            keeper.append(record(Kind::Frame, &format!("after the {line}")));
        }
        written(&mut keeper).await;
        keeper.append(record(Kind::Frame, "last"));
        let saved = keeper.saved().unwrap();
        assert_eq!(
            lines(&keeper),
            [
                "pins",
                "second",
                "with the second",
                "after the second",
                "last"
            ]
        );
        assert!(saved.object(name("2")).is_ok() && saved.object(name("1")).is_err());
    }
}
