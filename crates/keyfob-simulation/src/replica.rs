//! A gateway: an index that follows the feed as the source of `keyfob-replica` does over HTTP.

mod following;
mod restart;

use std::sync::Arc;

use bytes::Bytes;
use keyfob::{
    Access, Timestamp, Verifier,
    gateway::{Index, UsageBatch, UsageRecorder, UsageSource},
    key::Peppers,
};
use keyfob_feed::{Filter, Position, Receiver, Trust};

use crate::{
    authority::format,
    bug::Bug,
    clock::{Machine, Ms, Ratchet, Stamp},
    context::Context,
    model::{Scope, TENANTS, tenant},
    network::{Call, Message, Node},
    oracle::{Moment, STALE_AFTER_MS, Shadow},
};

/// A gateway.
pub(crate) struct Replica {
    pub(crate) name: String,
    node: Node,
    pub(crate) machine: Machine,
    pub(crate) scope: Scope,
    filter: Filter,
    pub(crate) upstreams: Vec<Node>,
    /// None while it does not run.
    process: Option<Process>,
    disk: Disk,
    pub(crate) shadow: Shadow,
    /// It starts again then.
    pub(crate) down_until: Option<Ms>,
    pub(crate) paused_until: Ms,
}

/// What a process forgets when it ends.
struct Process {
    receiver: Receiver,
    index: Arc<Index>,
    /// Decides calls, and counts them.
    verifier: Verifier,
    /// Decides the same, and counts nothing.
    probe: Verifier,
    recorder: Arc<UsageRecorder>,
    ratchet: Ratchet,
    is_loaded: bool,
    is_filled: bool,
    phase: Phase,
    upstream: usize,
    wants_signers: Option<Ms>,
    held: Held,
    source: UsageSource,
    sequence: u64,
    pending: Option<Pending>,
    flushed: Ms,
}

struct Pending {
    batch: UsageBatch,
    call: Call,
    sent: Ms,
    tries: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Idle {
        until: Ms,
    },
    /// Waits for the answer to a request.
    Asking {
        call: Call,
        since: Ms,
    },
    Streaming {
        call: Call,
        opened: Ms,
        last: Ms,
    },
}

/// The last confirmation, and its age by the clock that nobody can set.
#[derive(Clone, Copy, Debug, Default)]
struct Held {
    stamp: Option<Timestamp>,
    seen_uptime: u64,
    age_ms: u64,
}

/// What is kept for a warm restart.
#[derive(Debug, Default)]
struct Disk {
    /// The pinned signers that the records were verified with.
    pins: Option<Trust>,
    /// Whether it trusts signers that a retired one named: only other pins help then.
    is_captured: bool,
    records: Vec<Record>,
    /// How many records survive a loss of power.
    synced: usize,
}

#[derive(Clone, Debug)]
struct Record {
    kind: Kind,
    stamp: Stamp,
    line: Vec<u8>,
}

#[derive(Clone, Debug)]
enum Kind {
    Signers,
    Manifest {
        object: Bytes,
        /// The time up to which nothing is confirmed.
        unproven_until: Option<u64>,
    },
    Frame,
}

impl Replica {
    /// How long an upstream may say nothing.
    const SILENCE: Ms = 2_000;
    /// How far an upstream may be behind, for how long.
    const LAG: Ms = 2_000;
    const FLUSH_EVERY: Ms = 1_500;

    pub(crate) fn new(n: usize, machine: Machine, scope: Scope, upstreams: Vec<Node>) -> Self {
        Self {
            name: format!("replica {n}"),
            node: Node::Replica(n),
            machine,
            filter: scope.filter(),
            scope,
            upstreams,
            process: None,
            disk: Disk::default(),
            shadow: Shadow::default(),
            down_until: None,
            paused_until: 0,
        }
    }

    pub(crate) fn is_up(&self) -> bool {
        self.process.is_some()
    }

    pub(crate) fn position(&self) -> Option<Position> {
        self.process
            .as_ref()
            .and_then(|process| process.receiver.position())
    }

    /// The version of the signers that it trusts; `None` while it does not run.
    pub(crate) fn signers(&self) -> Option<u64> {
        self.process.as_ref().map(|_| self.shadow.signers)
    }

    /// Starts the process with these pinned keys.
    pub(crate) fn start(&mut self, context: &mut Context, (trust, version): (Trust, u64)) {
        self.down_until = None;
        let index = Arc::new(Index::new(format(), Peppers::none()));
        let recorder = Arc::new(UsageRecorder::with_stripes(64, 1));
        let bound = std::time::Duration::from_millis(STALE_AFTER_MS);
        let probe = index.verifier(Some(bound));
        if self.disk.pins.as_ref() != Some(&trust) && !context.has(Bug::RestoresOverNewPins) {
            self.disk = Disk::default();
            self.shadow.forget_refusals();
        }
        self.disk.pins = Some(trust.clone());
        let receiver = Receiver::new(trust, self.filter.clone());
        // What was refused before stays refused if the disk has all of it.
        self.shadow = self.shadow.restarted(version);
        self.process = Some(Process {
            verifier: probe.clone().with_usage(Arc::clone(&recorder)),
            probe,
            recorder,
            index,
            receiver,
            ratchet: Ratchet::default(),
            is_loaded: false,
            is_filled: false,
            phase: Phase::Idle { until: context.now },
            upstream: 0,
            wants_signers: None,
            held: Held::default(),
            source: UsageSource::from_bytes(context.rng.bits().to_be_bytes()),
            sequence: 0,
            pending: None,
            flushed: context.now,
        });
        context.note(|| format!("{} starts", self.name));
        self.restore(context);
    }

    /// Kills the process. What it counted and did not report is lost.
    pub(crate) fn kill(&mut self, context: &mut Context) {
        let Some(process) = self.process.take() else {
            return;
        };
        context.note(|| format!("{} is killed", self.name));
        let (counted, _) = process.recorder.drain();
        let pending = process.pending.map(|pending| pending.batch.usage);
        for usage in counted.iter().chain(pending.iter().flatten()) {
            context.oracle.lost(usage.credential, usage.count);
        }
        self.shadow.emptied();
    }

    /// The machine loses power: what was not synced to the disk is lost, from some record on.
    pub(crate) fn lose_power(&mut self, context: &mut Context) {
        self.kill(context);
        self.machine.reboot(context.now);
        let written = self.disk.records.len();
        if written > self.disk.synced {
            let kept = self.disk.synced + context.rng.index(written - self.disk.synced + 1);
            if kept < written {
                self.disk.records.truncate(kept);
                self.shadow.forget_refusals();
            }
        }
    }

    /// The disk is replaced by an empty one.
    pub(crate) fn lose_disk(&mut self) {
        self.disk = Disk::default();
        self.shadow.forget_refusals();
    }

    /// Whether it trusts signers that a retired one named.
    pub(crate) fn is_captured(&self) -> bool {
        self.disk.is_captured
    }

    /// What the task that follows the source does when its timer fires.
    pub(crate) fn tick(&mut self, context: &mut Context) {
        if self.paused_until > context.now || self.process.is_none() {
            return;
        }
        self.hold_to_bound(context);
        self.follow(context);
        self.flush(context);
    }

    /// Decides a call, as a gateway does: by the wall clock.
    pub(crate) fn call(&mut self, context: &mut Context, number: usize) {
        self.hold_to_bound(context);
        let Some(process) = &self.process else { return };
        let credential = &context.oracle.credentials[number];
        let tenant = tenant(credential.tenant);
        let access = Access::to(tenant.namespace.as_str());
        let now = self.machine.seconds(context.now);
        let now = Timestamp::from_unix(now);
        let text = credential.text.as_bytes();
        let (got, credential) = match process.verifier.verify_text(text, &access, now) {
            Ok(principal) => ("accepted", Some(principal.credential())),
            Err(denied) => (denied.reason().as_str(), denied.credential()),
        };
        if let Some(credential) = credential {
            context.oracle.used(credential);
        }
        self.check(context, number, got);
    }

    fn check(&mut self, context: &mut Context, number: usize, got: &str) {
        let moment = Moment {
            now: context.now,
            machine: &self.machine,
            name: &self.name,
        };
        context.oracle.check(&mut self.shadow, number, got, &moment);
    }

    /// Whether it decides calls now.
    pub(crate) fn is_ready(&mut self, context: &Context) -> bool {
        self.hold_to_bound(context);
        let now = Timestamp::from_unix(self.machine.seconds(context.now));
        self.process
            .as_ref()
            .is_some_and(|process| process.probe.is_ready(now))
    }

    /// Checks the decision on every credential that ever existed.
    pub(crate) fn sweep(&mut self, context: &mut Context) {
        if !self.is_ready(context) {
            return;
        }
        let now = Timestamp::from_unix(self.machine.seconds(context.now));
        let namespaces: Vec<_> = (0..TENANTS).map(tenant).collect();
        for number in 0..context.oracle.credentials.len() {
            let Some(process) = &self.process else { return };
            let credential = &context.oracle.credentials[number];
            let access = Access::to(namespaces[credential.tenant].namespace.as_str());
            let verdict = process
                .probe
                .verify_text(credential.text.as_bytes(), &access, now);
            let got = match verdict {
                Ok(_) => "accepted",
                Err(denied) => denied.reason().as_str(),
            };
            self.check(context, number, got);
        }
    }

    /// Refuses every call once the bound has passed by the clock that nobody can set.
    fn hold_to_bound(&mut self, context: &Context) {
        let Some(process) = &mut self.process else {
            return;
        };
        if context.has(Bug::HasNoRatchet) {
            return;
        }
        let uptime = self.machine.uptime(context.now);
        let stamp = process.index.confirmed_at();
        if let Some(confirmed) = stamp
            && stamp != process.held.stamp
        {
            let now = Timestamp::from_unix(self.machine.seconds(context.now));
            process.held = Held {
                stamp,
                seen_uptime: uptime,
                age_ms: now.seconds_since(confirmed) * 1_000,
            };
        }
        let age = process.held.age_ms + uptime.saturating_sub(process.held.seen_uptime);
        if stamp.is_some() && age >= STALE_AFTER_MS {
            process.index.invalidate();
        }
    }

    fn own_now(&mut self, context: &Context) -> u64 {
        match &mut self.process {
            Some(process) if !context.has(Bug::HasNoRatchet) => {
                process.ratchet.now(&self.machine, context.now)
            }
            _ => self.machine.wall(context.now),
        }
    }

    /// Sends usage to the authority, one batch at a time.
    fn flush(&mut self, context: &mut Context) {
        let Some(process) = &mut self.process else {
            return;
        };
        let now = context.now;
        if let Some(pending) = &mut process.pending {
            if now.saturating_sub(pending.sent) < 1_000 {
                return;
            }
            if context.has(Bug::ForgetsUsage) {
                process.pending = None;
                return;
            }
            if context.has(Bug::RenumbersUsage) {
                process.sequence += 1;
                pending.batch.sequence = process.sequence;
            }
            pending.tries += 1;
        } else {
            if now.saturating_sub(process.flushed) < Self::FLUSH_EVERY && !context.healed {
                return;
            }
            process.flushed = now;
            let (usage, _) = process.recorder.drain();
            if usage.is_empty() {
                return;
            }
            process.sequence += 1;
            let batch = UsageBatch {
                source: process.source,
                sequence: process.sequence,
                // Often not that of the authority.
                hour: Timestamp::from_unix(self.machine.seconds(now)),
                usage,
            };
            process.pending = Some(Pending {
                batch,
                call: 0,
                sent: now,
                tries: 0,
            });
        }
        if let Some(pending) = &mut process.pending {
            pending.call = context.network.call();
            pending.sent = now;
            let upstream =
                self.upstreams[(process.upstream + pending.tries) % self.upstreams.len()];
            let message = Message::Report(pending.batch.clone());
            context.send(self.node, upstream, pending.call, message);
        }
    }

    /// Whether everything that it counted is known to be recorded.
    pub(crate) fn has_reported(&self) -> bool {
        self.process
            .as_ref()
            .is_none_or(|process| process.pending.is_none())
    }
}
