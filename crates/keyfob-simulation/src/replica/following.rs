//! Following an upstream.

use std::io::Cursor;

use bytes::Bytes;
use keyfob::{
    Timestamp,
    gateway::{ReplicaChanges, ReplicaItem},
};
use keyfob_feed::{Refused, SnapshotReader};

use super::{Kind, Phase, Record, Replica};
use crate::{
    bug::Bug,
    clock::{Ms, Stamp},
    context::Context,
    network::{Call, Message, Node},
    reader::{self, Brought},
};

impl Replica {
    /// Connects, or notices that an upstream is silent or behind.
    pub(super) fn follow(&mut self, context: &mut Context) {
        let own_now = self.own_now(context);
        let (now, several) = (context.now, self.upstreams.len() > 1);
        let Some(process) = &mut self.process else {
            return;
        };
        match process.phase {
            Phase::Idle { until } if until <= now => self.open(context),
            Phase::Asking { since, .. } if now.saturating_sub(since) > Self::SILENCE => {
                self.fail(context, "no answer");
            }
            Phase::Streaming { last, .. } if now.saturating_sub(last) > Self::SILENCE => {
                self.fail(context, "silent");
            }
            Phase::Streaming { opened, .. }
                if several
                    && now.saturating_sub(opened) > Self::LAG
                    && own_now.saturating_sub(process.receiver.as_of()) > Self::LAG
                    && !context.has(Bug::StaysWithASlowUpstream) =>
            {
                self.fail(context, "behind");
            }
            _ => self.ask_signers(context),
        }
    }

    fn ask_signers(&mut self, context: &mut Context) {
        let now = context.now;
        let Some(process) = &mut self.process else {
            return;
        };
        if process.wants_signers.is_some_and(|at| at <= now) {
            process.wants_signers = Some(now + 700);
            let upstream = self.upstreams[process.upstream];
            let call = context.network.call();
            context.send(self.node, upstream, call, Message::GetSigners);
        }
    }

    fn open(&mut self, context: &mut Context) {
        self.ask_signers(context);
        let call = context.network.call();
        let Some(process) = &mut self.process else {
            return;
        };
        let upstream = self.upstreams[process.upstream];
        let position = process.receiver.position().filter(|_| process.is_loaded);
        let filter = self.filter.clone();
        let message = if let Some(after) = position {
            process.phase = Phase::Streaming {
                call,
                opened: context.now,
                last: context.now,
            };
            Message::Open {
                filter,
                after,
                once: false,
            }
        } else {
            process.phase = Phase::Asking {
                call,
                since: context.now,
            };
            Message::GetSnapshot { filter }
        };
        context.note(|| format!("{} asks {upstream:?} at {position:?}", self.name));
        context.send(self.node, upstream, call, message);
    }

    /// Turns to the next upstream, after a pause.
    fn fail(&mut self, context: &mut Context, why: &str) {
        context.note(|| format!("{}: {why}", self.name));
        let pause = 50 + context.rng.below(300);
        let upstreams = self.upstreams.len();
        if let Some(process) = &mut self.process {
            process.phase = Phase::Idle {
                until: context.now + pause,
            };
            process.upstream = (process.upstream + 1) % upstreams;
        }
    }

    fn refused(&mut self, context: &mut Context, refused: Refused) {
        if context.has(Bug::WaitsAtAGap) && refused == Refused::Gap {
            return;
        }
        if refused == Refused::UnknownSigner
            && let Some(process) = &mut self.process
        {
            process.wants_signers = Some(process.wants_signers.unwrap_or(0));
        }
        self.fail(context, &format!("refused: {refused}"));
    }

    /// Takes a message.
    pub(crate) fn receive(
        &mut self,
        context: &mut Context,
        from: Node,
        call: Call,
        message: Message,
    ) {
        if self.paused_until > context.now {
            return;
        }
        self.hold_to_bound(context);
        let Some(process) = &mut self.process else {
            return;
        };
        let upstream = self.upstreams.contains(&from);
        match (message, process.phase) {
            (Message::Signers(lines), _) if upstream => self.take_signers(context, &lines),
            (Message::Recorded, _) => {
                process.pending.take_if(|pending| pending.call == call);
            }
            (
                Message::Line { line, sent_at },
                Phase::Streaming {
                    call: of, opened, ..
                },
            ) if of == call => {
                process.phase = Phase::Streaming {
                    call,
                    opened,
                    last: context.now,
                };
                self.take_line(context, line.as_bytes(), sent_at);
            }
            (Message::Gone, Phase::Streaming { call: of, .. }) if of == call => {
                context.note(|| format!("{}: gone", self.name));
                let asking = context.network.call();
                process.phase = Phase::Asking {
                    call: asking,
                    since: context.now,
                };
                let filter = self.filter.clone();
                context.send(self.node, from, asking, Message::GetSnapshot { filter });
            }
            (
                Message::Snapshot {
                    manifest,
                    object,
                    sent_at,
                },
                Phase::Asking { call: of, .. },
            ) if of == call => {
                self.take_snapshot(context, manifest.as_bytes(), &object, sent_at);
            }
            (
                Message::Unavailable,
                Phase::Streaming { call: of, .. } | Phase::Asking { call: of, .. },
            ) if of == call => self.fail(context, "unavailable"),
            _ => {}
        }
    }

    fn take_signers(&mut self, context: &mut Context, lines: &[keyfob_feed::SignedLine]) {
        let own_now = self.own_now(context);
        let Some(process) = &mut self.process else {
            return;
        };
        for line in lines {
            if process.receiver.update_trust(line.as_bytes(), own_now) == Ok(true) {
                let version = process.receiver.trust().version();
                context.note(|| format!("{} trusts the signers of version {version}", self.name));
                self.shadow.signers = self.shadow.signers.max(version);
                process.wants_signers = None;
                self.disk.is_captured |= context.oracle.is_of_retired(line.as_bytes());
                self.disk.records.push(Record {
                    kind: Kind::Signers,
                    stamp: Stamp::of(&self.machine, context.now),
                    line: line.as_bytes().to_vec(),
                });
            }
        }
    }

    fn take_line(&mut self, context: &mut Context, line: &[u8], sent_at: u64) {
        let own_now = self.own_now(context);
        let Some(process) = &mut self.process else {
            return;
        };
        let brought = match reader::receive(context, &mut process.receiver, line, own_now) {
            Ok(brought) => brought,
            Err(refused) => return self.refused(context, refused),
        };
        context.note(|| {
            let Brought {
                position,
                as_of,
                confirmed,
                ..
            } = &brought;
            let age = own_now.saturating_sub(*as_of);
            format!(
                "{} at {position}, {age} ms old, {}",
                self.name,
                confirmed.is_some()
            )
        });
        if !context
            .oracle
            .accepts(&self.shadow, &self.scope, line, "frame", own_now)
        {
            return;
        }
        if brought.signers > self.shadow.signers && process.wants_signers.is_none() {
            process.wants_signers = Some(context.now);
        }
        process.is_filled = true;
        let confirmed = match brought.confirmed {
            Some(_) if context.has(Bug::ConfirmsByArrival) => Some(own_now),
            Some(_) if context.has(Bug::TrustsTheRelaysTime) => Some(sent_at.min(own_now)),
            None if context.has(Bug::ConfirmsUnprovenSnapshots) => {
                let is_end = brought.changes.as_ref().is_some_and(|page| !page.more);
                is_end.then(|| process.receiver.as_of().min(own_now))
            }
            confirmed => confirmed,
        };
        self.disk.records.push(Record {
            kind: Kind::Frame,
            stamp: Stamp::of(&self.machine, context.now),
            line: line.to_vec(),
        });
        let Some(mut changes) = brought.changes else {
            self.shadow.received = Some(brought.position);
            return;
        };
        let is_end = !changes.more;
        if context.has(Bug::ConfirmsWithMoreToCome) {
            changes.more = false;
            changes.last_revision = changes.next_after;
        }
        if context.has(Bug::SkipsTombstones) {
            changes
                .entries
                .retain(|entry| !matches!(entry.item, ReplicaItem::KeyDeleted { .. }));
        }
        let confirmed_at = match confirmed {
            None if context.has(Bug::ConfirmsWithMoreToCome) => Some(own_now.min(brought.as_of)),
            confirmed => confirmed,
        };
        let confirmed_at = confirmed_at.map(timestamp);
        if let Err(error) = process.index.apply_replica(changes, confirmed_at) {
            process.is_loaded = false;
            return self.fail(context, &format!("the index: {error}"));
        }
        let is_bookmark = self.shadow.position == Some(brought.position);
        context
            .oracle
            .moved(&mut self.shadow, &self.scope, brought.position);
        if is_end {
            self.shadow.took_frame(brought.as_of, is_bookmark);
        }
        if confirmed.is_some() {
            self.shadow.confirmed(context.now, &self.machine, own_now);
        }
        self.sweep(context);
    }

    fn take_snapshot(&mut self, context: &mut Context, line: &[u8], object: &Bytes, sent_at: u64) {
        let own_now = self.own_now(context);
        let Some(process) = &mut self.process else {
            return;
        };
        let manifest = match process.receiver.manifest(line, own_now) {
            Ok(manifest) => manifest,
            Err(refused) if reader::is_ignored(context.bug, refused) => {
                let Some(manifest) = reader::unverified_manifest(line) else {
                    return self.refused(context, refused);
                };
                manifest
            }
            Err(refused) => return self.refused(context, refused),
        };
        let opened = SnapshotReader::open(&manifest, &self.filter, Cursor::new(object.clone()));
        let mut pages = match opened {
            Ok(pages) => pages,
            Err(error) => return self.fail(context, &format!("the snapshot: {error}")),
        };
        context.note(|| {
            let age = own_now.saturating_sub(manifest.as_of());
            format!("{} loads {}, {age} ms old", self.name, manifest.position())
        });
        if !context
            .oracle
            .accepts(&self.shadow, &self.scope, line, "snapshot", own_now)
        {
            return;
        }
        process.is_loaded = false;
        let mut is_confirmed = false;
        if std::mem::take(&mut process.is_filled) && !context.has(Bug::KeepsTheOldHistory) {
            process.index.reset();
        }
        loop {
            let page = match pages.next_page() {
                Ok(Some(page)) => page,
                Ok(None) => break,
                Err(error) => {
                    process.index.reset();
                    return self.fail(context, &format!("the snapshot: {error}"));
                }
            };
            process.is_filled = true;
            let (last, confirmed_at) = if page.more {
                (false, None)
            } else {
                let confirmed = process.receiver.loaded(&manifest, own_now);
                let confirmed = match context.bug {
                    Some(Bug::ConfirmsByArrival) => Some(own_now),
                    Some(Bug::TrustsTheRelaysTime) => Some(sent_at.min(own_now)),
                    Some(Bug::ConfirmsUnprovenSnapshots) => Some(manifest.as_of().min(own_now)),
                    _ => confirmed,
                };
                is_confirmed = confirmed.is_some();
                (true, confirmed.map(timestamp))
            };
            let page = of_snapshot(context, page);
            if let Err(error) = process.index.apply_replica(page, confirmed_at) {
                process.index.reset();
                return self.fail(context, &format!("the index: {error}"));
            }
            if last {
                break;
            }
        }
        process.is_loaded = true;
        self.shadow.took_snapshot(manifest.as_of());
        context
            .oracle
            .moved(&mut self.shadow, &self.scope, manifest.position());
        if is_confirmed {
            self.shadow.confirmed(context.now, &self.machine, own_now);
        }
        let unproven_until = process.receiver.unproven_until();
        self.save_snapshot(context.now, line, object, unproven_until);
        self.sweep(context);
        self.open(context);
    }

    /// Begins what is saved with a snapshot, after the signers documents that led to its signer.
    fn save_snapshot(&mut self, now: Ms, line: &[u8], object: &Bytes, unproven_until: Option<u64>) {
        self.disk
            .records
            .retain(|record| matches!(record.kind, Kind::Signers));
        self.disk.records.push(Record {
            kind: Kind::Manifest {
                object: object.clone(),
                unproven_until,
            },
            stamp: Stamp::of(&self.machine, now),
            line: line.to_vec(),
        });
        self.disk.synced = self.disk.records.len();
    }
}

/// What a replica takes of a page of a snapshot.
pub(super) fn of_snapshot(context: &Context, mut page: ReplicaChanges) -> ReplicaChanges {
    if context.has(Bug::SkipsCutoffsOfSnapshots) {
        page.entries
            .retain(|entry| !matches!(entry.item, ReplicaItem::Cutoff { .. }));
    }
    page
}

fn timestamp(milliseconds: u64) -> Timestamp {
    Timestamp::from_unix(i64::try_from(milliseconds / 1000).unwrap_or(i64::MAX))
}
