//! Keeping what is accepted, while a snapshot may still be written.

use bytes::Bytes;
use keyfob_feed::ObjectName;
use tokio::task::{JoinHandle, spawn_blocking};

use super::saved::{Kind, Record, Saved};

/// Writes to the folder for a warm restart, if there is one. A failure is logged: it costs the next
/// start a snapshot.
#[derive(Default)]
pub(super) struct Keeper {
    /// None without a folder, and while a snapshot is written to it.
    saved: Option<Saved>,
    writing: Option<JoinHandle<Saved>>,
    /// A snapshot that was loaded meanwhile, and is written next.
    next: Option<Snapshot>,
    /// What was accepted while a snapshot is written.
    waiting: Vec<Record>,
    /// The signers documents that were accepted.
    signers: Vec<Record>,
}

/// A snapshot as it was received.
struct Snapshot {
    manifest: Record,
    name: ObjectName,
    object: Bytes,
}

impl Keeper {
    pub(super) fn new(saved: Option<Saved>) -> Self {
        Self {
            saved,
            ..Self::default()
        }
    }

    /// The folder; none while a snapshot is written.
    pub(super) fn saved(&self) -> Option<&Saved> {
        self.saved.as_ref()
    }

    /// Goes on after these records of the log.
    pub(super) fn resume(&mut self, records: &[Record]) {
        let signers = records.iter();
        let signers = signers.filter(|record| record.kind == Kind::Signers);
        self.signers = signers.cloned().collect();
        if let Some(saved) = &mut self.saved
            && let Err(error) = saved.resume(records)
        {
            tracing::error!(%error, "the log for a warm restart cannot be continued");
            saved.forget();
        }
    }

    /// Starts again with a snapshot, which another thread writes.
    pub(super) fn begin(&mut self, manifest: Record, name: ObjectName, object: Bytes) {
        self.waiting.clear();
        self.next = Some(Snapshot {
            manifest,
            name,
            object,
        });
        self.write();
    }

    fn write(&mut self) {
        let Some((mut saved, snapshot)) = self.saved.take().zip(self.next.take()) else {
            return;
        };
        let signers = self.signers.clone();
        self.writing = Some(spawn_blocking(move || {
            let Snapshot {
                manifest,
                name,
                object,
            } = snapshot;
            if let Err(error) = saved.begin(&signers, &manifest, name, &object) {
                tracing::error!(%error, "the snapshot cannot be kept for a warm restart");
                saved.forget();
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
