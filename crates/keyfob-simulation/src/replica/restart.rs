//! Warm restarts: what was saved is applied again, and its age is known.

use std::io::Cursor;

use keyfob::{Timestamp, gateway::ReplicaChanges};
use keyfob_feed::{Position, Receiver, SnapshotReader};

use super::{Kind, Process, Record, Replica, following::of_snapshot};
use crate::{bug::Bug, clock::Stamp, context::Context, oracle::Seen};

/// What was applied of the records.
#[derive(Default)]
struct Restored {
    records: usize,
    is_loaded: bool,
    /// The position of the state that was applied, and when it was saved.
    end: Option<(Position, Stamp)>,
}

impl Replica {
    /// Applies what was saved, as far as it can be.
    pub(super) fn restore(&mut self, context: &mut Context) {
        let own_now = self.own_now(context);
        let mut process = self.process.take().expect("it was just started");
        let mut receiver = process.receiver.clone();
        let restored = self.apply_records(context, &mut process, &mut receiver, own_now);
        self.process = Some(process);
        let Some(process) = &mut self.process else {
            return;
        };
        if !restored.is_loaded {
            process.index.reset();
            process.is_filled = false;
            self.disk.records.clear();
            self.disk.synced = 0;
            self.shadow.emptied();
            self.shadow.forget_refusals();
            return;
        }
        let all = self.disk.records.len();
        self.disk.records.truncate(restored.records);
        self.disk.synced = self.disk.synced.min(restored.records);
        if restored.records < all {
            self.shadow.forget_refusals();
        }
        process.receiver = receiver;
        process.is_loaded = true;
        let Some((end, saved)) = restored.end else {
            return;
        };
        let now = Stamp::of(&self.machine, context.now);
        let as_of = process.receiver.as_of();
        let age = if context.has(Bug::RestartsWithoutAge) {
            Some(0)
        } else {
            // No process stops in order here: after a loss of power, the last records may be missing.
            let age = now.age(as_of, &saved);
            age.filter(|_| saved.boot == now.boot)
        };
        context.note(|| format!("{} restarts at {end}, {age:?} ms old", self.name));
        let at = age.map(|age| {
            let confirmed = now.wall.saturating_sub(age) / 1000;
            Timestamp::from_unix(i64::try_from(confirmed).unwrap_or(i64::MAX))
        });
        let confirmation = ReplicaChanges {
            after: end.revision,
            entries: Vec::new(),
            next_after: end.revision,
            more: false,
            last_revision: end.horizon,
        };
        if process.index.apply_replica(confirmation, at).is_err() {
            process.is_loaded = false;
        }
        // Within one boot the time since it was saved is known; otherwise only the wall clock tells.
        let (truly, error) = saved.truly;
        let since = if saved.boot == now.boot {
            (truly, saved.wall, error)
        } else {
            (context.now, now.wall, self.machine.error)
        };
        self.shadow.seen = age.map(|age| Seen {
            stamp: now.wall.saturating_sub(age) / 1000,
            confirmed: self.shadow.as_of.min(since.1),
            at: since.0,
            wall: since.1,
            error: since.2,
        });
        self.sweep(context);
    }

    fn apply_records(
        &mut self,
        context: &mut Context,
        process: &mut Process,
        receiver: &mut Receiver,
        own_now: u64,
    ) -> Restored {
        let mut restored = Restored::default();
        for record in &self.disk.records {
            let Record { kind, stamp, line } = record;
            match kind {
                Kind::Signers => {
                    if receiver.restore_trust(line).is_err() {
                        return restored;
                    }
                    let version = receiver.trust().version();
                    self.shadow.signers = self.shadow.signers.max(version);
                }
                Kind::Manifest {
                    object,
                    unproven_until,
                } => {
                    let Ok(manifest) = receiver.manifest(line, own_now) else {
                        return restored;
                    };
                    process.is_filled = true;
                    let object = Cursor::new(object.clone());
                    let Ok(mut pages) = SnapshotReader::open(&manifest, &self.filter, object)
                    else {
                        return restored;
                    };
                    while let Ok(Some(page)) = pages.next_page() {
                        let page = ReplicaChanges { more: true, ..page };
                        let page = of_snapshot(context, page);
                        if process.index.apply_replica(page, None).is_err() {
                            return restored;
                        }
                    }
                    receiver.confirm_after(unproven_until.unwrap_or(0));
                    let confirmed = receiver.loaded(&manifest, own_now);
                    restored.is_loaded = true;
                    restored.end = confirmed.map(|_| (manifest.position(), *stamp));
                    self.shadow.took_snapshot(manifest.as_of());
                    context
                        .oracle
                        .moved(&mut self.shadow, &self.scope, manifest.position());
                }
                Kind::Frame => {
                    let Ok(accepted) = receiver.receive(line, own_now) else {
                        return restored;
                    };
                    if let Some(batch) = accepted.batch {
                        let page = ReplicaChanges {
                            more: true,
                            ..batch.changes
                        };
                        if process.index.apply_replica(page, None).is_err() {
                            restored.is_loaded = false;
                            return restored;
                        }
                        restored.end = batch.confirmed.map(|_| (accepted.position, *stamp));
                        let is_bookmark = self.shadow.position == Some(accepted.position);
                        self.shadow.took_frame(accepted.as_of, is_bookmark);
                        context
                            .oracle
                            .moved(&mut self.shadow, &self.scope, accepted.position);
                    } else {
                        self.shadow.received = Some(accepted.position);
                    }
                }
            }
            restored.records += 1;
        }
        restored
    }
}
