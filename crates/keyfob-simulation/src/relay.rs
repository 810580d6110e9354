//! A relay: it forwards the lines that it receives, and holds the last ones. One may be hostile.

mod hostile;

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use keyfob_feed::{Broadcast, Filter, Offered, Position, Receiver, Refused, SignedLine, Trust};

use crate::{
    bug::Bug,
    clock::{Machine, Ms, Ratchet},
    context::Context,
    network::{Call, Message, Node},
    reader::ends,
};

pub(crate) use hostile::Hostile;

/// A relay.
pub(crate) struct Relay {
    node: Node,
    pub(crate) machine: Machine,
    ratchet: Ratchet,
    pub(crate) upstreams: Vec<Node>,
    trust: Trust,
    pub(crate) hostile: Option<Hostile>,
    /// Whether the broker sends it the lines of all.
    pub(crate) has_broker: bool,
    channels: BTreeMap<Filter, Channel>,
    readers: BTreeMap<(Node, Filter), Reader>,
    /// Requests that were passed on, with who made them.
    passed_on: BTreeMap<Call, PassedOn>,
    snapshots: BTreeMap<Filter, (Ms, SignedLine, Bytes)>,
    pub(crate) paused_until: Ms,
}

/// A filter that readers want.
struct Channel {
    receiver: Receiver,
    lines: VecDeque<(Position, SignedLine)>,
    /// The number of the first line.
    first: u64,
    phase: Phase,
    upstream: usize,
    wants_signers: bool,
    /// Whether the lines of the broker make the stream unnecessary, if it sends any.
    broadcast: Option<Broadcast>,
}

#[derive(Clone, Copy)]
enum Phase {
    Idle { until: Ms },
    Asking { call: Call, since: Ms },
    Streaming { call: Call, opened: Ms, last: Ms },
}

struct Reader {
    call: Call,
    at: Position,
    cursor: Option<u64>,
    waits: bool,
    /// No request is passed on for it before.
    not_before: Ms,
}

struct PassedOn {
    to: Node,
    call: Call,
    filter: Filter,
    is_stream: bool,
}

impl Relay {
    const LINES: usize = 10;
    const SILENCE: Ms = 2_000;
    /// How far an upstream may be behind, for how long.
    const LAG: Ms = 2_000;

    pub(crate) fn new(n: usize, machine: Machine, upstreams: Vec<Node>, trust: Trust) -> Self {
        Self {
            node: Node::Relay(n),
            machine,
            ratchet: Ratchet::default(),
            upstreams,
            trust,
            hostile: None,
            has_broker: false,
            channels: BTreeMap::new(),
            readers: BTreeMap::new(),
            passed_on: BTreeMap::new(),
            snapshots: BTreeMap::new(),
            paused_until: 0,
        }
    }

    pub(crate) fn restart(&mut self, trust: Trust) {
        self.channels.clear();
        self.readers.clear();
        self.passed_on.clear();
        self.snapshots.clear();
        self.ratchet = Ratchet::default();
        self.trust = trust;
    }

    /// The oldest version of the signers that a channel trusts.
    pub(crate) fn signers(&self) -> Option<u64> {
        let versions = self
            .channels
            .values()
            .map(|channel| channel.receiver.trust().version());
        versions.min()
    }

    pub(crate) fn tick(&mut self, context: &mut Context) {
        if self.paused_until > context.now {
            return;
        }
        if self.hostile.is_some() {
            self.plot(context);
        }
        let filters: Vec<Filter> = self.channels.keys().cloned().collect();
        for filter in filters {
            self.follow(context, &filter);
            self.forward(context, &filter);
        }
    }

    fn follow(&mut self, context: &mut Context, filter: &Filter) {
        let now = context.now;
        let own_now = self.ratchet.now(&self.machine, now);
        let Some(channel) = self.channels.get_mut(filter) else {
            return;
        };
        let upstream = self.upstreams[channel.upstream % self.upstreams.len()];
        if std::mem::take(&mut channel.wants_signers) {
            let call = context.network.call();
            context.send(self.node, upstream, call, Message::GetSigners);
        }
        if let Some(broadcast) = &mut channel.broadcast {
            if !context.has(Bug::StaysWithTheBroker) {
                let was_in_step = broadcast.is_in_step();
                broadcast.check(now, own_now.saturating_sub(channel.receiver.as_of()));
                if was_in_step && !broadcast.is_in_step() {
                    context.note(|| format!("{:?} turns away from the broker", self.node));
                }
            }
            if broadcast.is_in_step() {
                return;
            }
        }
        match channel.phase {
            Phase::Idle { until } if until <= now => {
                let call = context.network.call();
                let (phase, message) = match channel.receiver.position() {
                    Some(after) => (
                        Phase::Streaming {
                            call,
                            opened: now,
                            last: now,
                        },
                        Message::Open {
                            filter: filter.clone(),
                            after,
                            once: false,
                        },
                    ),
                    None => (
                        Phase::Asking { call, since: now },
                        Message::GetSnapshot {
                            filter: filter.clone(),
                        },
                    ),
                };
                channel.phase = phase;
                context.send(self.node, upstream, call, message);
            }
            Phase::Asking { since: last, .. } | Phase::Streaming { last, .. }
                if now.saturating_sub(last) > Self::SILENCE =>
            {
                channel.fail(now);
            }
            Phase::Streaming { opened, .. }
                if self.upstreams.len() > 1
                    && now.saturating_sub(opened) > Self::LAG
                    && own_now.saturating_sub(channel.receiver.as_of()) > Self::LAG =>
            {
                context.note(|| format!("{:?} turns away from {upstream:?}: behind", self.node));
                channel.fail(now);
            }
            _ => {}
        }
    }

    /// Takes a request of a reader, or an answer of an upstream.
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
        match message {
            Message::Open {
                filter,
                after,
                once: false,
            } => {
                self.channel(context, &filter);
                let reader = Reader {
                    call,
                    at: after,
                    cursor: None,
                    waits: false,
                    not_before: 0,
                };
                self.readers.insert((from, filter.clone()), reader);
                self.forward(context, &filter);
            }
            Message::Open { ref filter, .. } => {
                let filter = filter.clone();
                self.pass_on(context, from, call, &filter, &message, false);
            }
            Message::GetSnapshot { ref filter } => {
                let filter = filter.clone();
                self.channel(context, &filter);
                let young = |made: Ms| context.now.saturating_sub(made) < 1_000;
                match self.snapshots.get(&filter) {
                    Some((made, line, object)) if young(*made) => {
                        let (line, object) = (line.clone(), object.clone());
                        self.answer_snapshot(context, from, call, &filter, line, object);
                    }
                    _ => self.pass_on(context, from, call, &filter, &message, false),
                }
            }
            Message::GetSigners | Message::Report(_) => {
                self.pass_on(context, from, call, &Filter::All, &message, false);
            }
            Message::Line { line, .. } => self.take_line(context, from, call, &line),
            Message::Gone | Message::Unavailable => self.take_refusal(context, call, &message),
            Message::Snapshot {
                manifest, object, ..
            } => self.take_snapshot(context, call, &manifest, &object),
            Message::Signers(lines) => {
                let own_now = self.ratchet.now(&self.machine, context.now);
                for channel in self.channels.values_mut() {
                    for line in &lines {
                        let _ = channel.receiver.update_trust(line.as_bytes(), own_now);
                    }
                }
                self.keep_signers(&lines);
                if let Some(PassedOn { to, call, .. }) = self.passed_on.remove(&call) {
                    let lines = self.signers_to_send(context, lines);
                    context.send(self.node, to, call, Message::Signers(lines));
                }
            }
            // For the broker.
            Message::GetLast => {}
            Message::Recorded => {
                if let Some(PassedOn { to, call, .. }) = self.passed_on.remove(&call) {
                    context.send(self.node, to, call, Message::Recorded);
                }
            }
        }
    }

    fn channel(&mut self, context: &mut Context, filter: &Filter) {
        if self.channels.contains_key(filter) {
            return;
        }
        let channel = Channel {
            receiver: Receiver::new(self.trust.clone(), filter.clone()),
            lines: VecDeque::new(),
            first: 0,
            phase: Phase::Idle { until: context.now },
            upstream: 0,
            wants_signers: false,
            broadcast: (self.has_broker && *filter == Filter::All).then(|| Broadcast::new(0)),
        };
        if channel.broadcast.is_some() {
            let call = context.network.call();
            context.send(self.node, Node::Broker, call, Message::GetLast);
        }
        self.channels.insert(filter.clone(), channel);
    }

    fn pass_on(
        &mut self,
        context: &mut Context,
        from: Node,
        call: Call,
        filter: &Filter,
        message: &Message,
        is_stream: bool,
    ) {
        let own = context.network.call();
        let passed_on = PassedOn {
            to: from,
            call,
            filter: filter.clone(),
            is_stream,
        };
        while self.passed_on.len() > 64 {
            self.passed_on.pop_first();
        }
        self.passed_on.insert(own, passed_on);
        let upstream = *context.rng.pick(&self.upstreams).expect("there is one");
        let copies = 1 + u64::from(self.hostile.is_some() && matches!(message, Message::Report(_)));
        for _ in 0..copies {
            context.send(self.node, upstream, own, message.clone());
        }
    }

    fn take_line(&mut self, context: &mut Context, from: Node, call: Call, line: &SignedLine) {
        if from == Node::Broker {
            return self.take_broadcast(context, line);
        }
        if let Some(passed_on) = self.passed_on.remove(&call) {
            return self.answer_line(context, passed_on, line);
        }
        let own_now = self.ratchet.now(&self.machine, context.now);
        let found = self
            .channels
            .iter()
            .find(|(_, channel)| match channel.phase {
                Phase::Streaming { call: of, .. } => of == call,
                _ => false,
            });
        let Some(filter) = found.map(|(filter, _)| filter.clone()) else {
            return;
        };
        let Some(channel) = self.channels.get_mut(&filter) else {
            return;
        };
        let at = channel.receiver.position();
        match channel.receiver.receive(line.as_bytes(), own_now) {
            Ok(accepted) => {
                channel.wants_signers |=
                    accepted.signers_version > channel.receiver.trust().version();
                if let Phase::Streaming { last, .. } = &mut channel.phase {
                    *last = context.now;
                }
                channel.keep(at, line);
                self.keep_line(line);
                self.forward(context, &filter);
            }
            Err(refused) => {
                channel.wants_signers |= refused == Refused::UnknownSigner;
                channel.fail(context.now);
            }
        }
    }

    /// Takes a line of the broker.
    fn take_broadcast(&mut self, context: &mut Context, line: &SignedLine) {
        let own_now = self.ratchet.now(&self.machine, context.now);
        let Some(channel) = self.channels.get_mut(&Filter::All) else {
            return;
        };
        let (Some(broadcast), Some(at)) = (&mut channel.broadcast, channel.receiver.position())
        else {
            return;
        };
        if !broadcast.wants(context.now) {
            return;
        }
        let was_in_step = broadcast.is_in_step();
        let outcome = channel.receiver.offer(line.as_bytes(), own_now);
        let other_history = matches!(outcome, Err(Refused::OtherHistory));
        if !(other_history && context.has(Bug::StaysWithTheBroker)) {
            broadcast.offered(&outcome, context.now);
        }
        if broadcast.is_in_step() {
            // The stream is closed.
            channel.phase = Phase::Idle { until: 0 };
            if !was_in_step {
                context.note(|| format!("{:?} turns to the broker", self.node));
            }
        }
        match outcome {
            Ok(Offered::Accepted(accepted)) => {
                channel.wants_signers |=
                    accepted.signers_version > channel.receiver.trust().version();
                channel.keep(Some(at), line);
                self.keep_line(line);
                self.forward(context, &Filter::All);
            }
            Err(Refused::UnknownSigner) => channel.wants_signers = true,
            _ => {}
        }
    }

    /// Sends an answer for one reader, and goes on with its stream.
    fn answer_line(&mut self, context: &mut Context, passed_on: PassedOn, line: &SignedLine) {
        let PassedOn {
            to,
            call,
            filter,
            is_stream,
        } = passed_on;
        self.emit(context, to, call, line);
        if is_stream
            && let Some(reader) = self.readers.get_mut(&(to, filter.clone()))
            && reader.call == call
            && let Some((_, end)) = ends(line.as_bytes())
        {
            reader.waits = false;
            reader.not_before = 0;
            if reader.at == end {
                reader.not_before = context.now + 500;
            }
            reader.at = end;
            self.forward(context, &filter);
        }
    }

    fn take_refusal(&mut self, context: &mut Context, call: Call, message: &Message) {
        if let Some(passed_on) = self.passed_on.remove(&call) {
            let PassedOn { to, filter, .. } = &passed_on;
            if passed_on.is_stream {
                self.readers.remove(&(*to, filter.clone()));
            }
            return context.send(self.node, *to, passed_on.call, message.clone());
        }
        let is_gone = matches!(message, Message::Gone);
        let now = context.now;
        for channel in self.channels.values_mut() {
            let of = match channel.phase {
                Phase::Streaming { call, .. } | Phase::Asking { call, .. } => Some(call),
                Phase::Idle { .. } => None,
            };
            if of == Some(call) {
                channel.fail(now);
                if is_gone {
                    channel.forget();
                }
            }
        }
    }

    fn take_snapshot(
        &mut self,
        context: &mut Context,
        call: Call,
        line: &SignedLine,
        object: &Bytes,
    ) {
        let own_now = self.ratchet.now(&self.machine, context.now);
        let own = self
            .channels
            .iter()
            .find(|(_, channel)| match channel.phase {
                Phase::Asking { call: of, .. } => of == call,
                _ => false,
            });
        let filter = match (own, self.passed_on.get(&call)) {
            (Some((filter, _)), _) => filter.clone(),
            (None, Some(passed_on)) => passed_on.filter.clone(),
            _ => return,
        };
        if let Some(channel) = self.channels.get_mut(&filter)
            && matches!(channel.phase, Phase::Asking { call: of, .. } if of == call)
        {
            channel.fail(context.now);
            match channel.receiver.manifest(line.as_bytes(), own_now) {
                Ok(manifest) => {
                    channel.forget();
                    channel.receiver.loaded(&manifest, own_now);
                    channel.phase = Phase::Idle { until: 0 };
                }
                Err(refused) => channel.wants_signers |= refused == Refused::UnknownSigner,
            }
        }
        self.snapshots
            .insert(filter.clone(), (context.now, line.clone(), object.clone()));
        self.keep_snapshot(&filter, line, object);
        if let Some(PassedOn { to, call, .. }) = self.passed_on.remove(&call) {
            let (line, object) = (line.clone(), object.clone());
            self.answer_snapshot(context, to, call, &filter, line, object);
        }
    }

    fn answer_snapshot(
        &mut self,
        context: &mut Context,
        to: Node,
        call: Call,
        filter: &Filter,
        line: SignedLine,
        object: Bytes,
    ) {
        let (manifest, object) = self.snapshot_to_send(context, filter, line, object);
        let sent_at = self.machine.wall(context.now);
        let message = Message::Snapshot {
            manifest,
            object,
            sent_at,
        };
        context.send(self.node, to, call, message);
    }

    /// Sends the readers of a filter what they lack.
    fn forward(&mut self, context: &mut Context, filter: &Filter) {
        let keys = self.readers.keys().filter(|(_, of)| of == filter);
        let nodes: Vec<Node> = keys.map(|(node, _)| *node).collect();
        for node in nodes {
            self.forward_to(context, node, filter);
        }
    }

    fn forward_to(&mut self, context: &mut Context, node: Node, filter: &Filter) {
        loop {
            let Some(channel) = self.channels.get(filter) else {
                return;
            };
            let key = (node, filter.clone());
            let Some(reader) = self.readers.get_mut(&key) else {
                return;
            };
            if reader.waits && context.now < reader.not_before {
                return;
            }
            let Some(cursor) = reader.cursor else {
                match channel.find(reader.at) {
                    Some(cursor) => reader.cursor = Some(cursor),
                    None if context.now < reader.not_before => return,
                    None => {
                        reader.waits = true;
                        reader.not_before = context.now + 1_500;
                        let (call, after) = (reader.call, reader.at);
                        let message = Message::Open {
                            filter: filter.clone(),
                            after,
                            once: true,
                        };
                        self.pass_on(context, node, call, filter, &message, true);
                        return;
                    }
                }
                continue;
            };
            let index = cursor.checked_sub(channel.first);
            let Some(index) = index.and_then(|index| usize::try_from(index).ok()) else {
                self.readers.remove(&key);
                return;
            };
            let Some((_, line)) = channel.lines.get(index) else {
                if index > channel.lines.len() {
                    self.readers.remove(&key);
                }
                return;
            };
            reader.cursor = Some(cursor + 1);
            let (call, line) = (reader.call, line.clone());
            self.emit(context, node, call, &line);
        }
    }

    /// Sends a line.
    fn emit(&mut self, context: &mut Context, to: Node, call: Call, line: &SignedLine) {
        let sent_at = self.machine.wall(context.now);
        for line in self.lines_to_send(context, to, call, line) {
            context.send(self.node, to, call, Message::Line { line, sent_at });
        }
    }
}

impl Channel {
    fn keep(&mut self, at: Option<Position>, line: &SignedLine) {
        if let Some(at) = at {
            self.lines.push_back((at, line.clone()));
        }
        if self.lines.len() > Relay::LINES {
            self.lines.pop_front();
            self.first += 1;
        }
    }

    fn fail(&mut self, now: Ms) {
        self.phase = Phase::Idle { until: now + 100 };
        self.upstream += 1;
    }

    /// Its readers are not served before it has a position again.
    fn forget(&mut self) {
        self.first += u64::try_from(self.lines.len()).expect("it is small") + 1;
        self.lines.clear();
        let fresh = Receiver::new(
            self.receiver.trust().clone(),
            self.receiver.filter().clone(),
        );
        self.receiver = fresh;
    }

    fn find(&self, at: Position) -> Option<u64> {
        let length = u64::try_from(self.lines.len()).expect("it is small");
        if self.receiver.position() == Some(at) {
            return Some(self.first + length);
        }
        let index = self.lines.iter().rposition(|(from, _)| *from == at)?;
        Some(self.first + u64::try_from(index).expect("it is small"))
    }
}
