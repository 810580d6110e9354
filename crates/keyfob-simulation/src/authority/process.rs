//! A process of the authority, which reads the store and serves the feed.

use std::collections::BTreeMap;

use keyfob::{KeyStore, audit::TrailHead, block_on};
use keyfob_feed::{
    Cursor, FeedRead, Filter, HistoryError, Join, Next, Position, Progress, Publisher, Snapshot,
    SnapshotWriter,
};

use super::{Authority, format};
use crate::{
    clock::{Machine, Ms},
    context::Context,
    model::Scope,
    network::{Call, Message, Node},
};

/// A process of the authority.
pub(crate) struct Process {
    pub(crate) machine: Machine,
    publisher: Publisher,
    streams: BTreeMap<(Node, Filter), Stream>,
    snapshots: BTreeMap<Filter, (Ms, Snapshot)>,
    /// It does nothing until then.
    pub(crate) paused_until: Ms,
    /// Where its lines for the broker continue.
    broker: Option<Stream>,
}

/// A connection that reads the feed.
struct Stream {
    call: Call,
    at: Position,
    cursor: Option<Cursor>,
    /// Whether nothing was sent yet.
    fresh: bool,
    opened: Ms,
}

impl Process {
    pub(crate) fn new(machine: Machine, publisher: Publisher) -> Self {
        Self {
            machine,
            publisher,
            streams: BTreeMap::new(),
            snapshots: BTreeMap::new(),
            paused_until: 0,
            broker: None,
        }
    }

    /// How long a reader may be ahead of what this process has read.
    const AHEAD_WITHIN: Ms = 1_000;

    pub(crate) fn restart(&mut self, publisher: Publisher) {
        let machine = self.machine.clone();
        *self = Self::new(machine, publisher);
    }

    pub(crate) fn signers_version(&self) -> u64 {
        self.publisher.keys().version()
    }

    pub(crate) fn position_of(&self, head: TrailHead) -> Position {
        self.publisher.position_of(head)
    }
}

impl Authority {
    /// Lets a process read the store, and send what is new.
    pub(crate) fn tick(&mut self, context: &mut Context, n: usize, to_broker: bool) {
        if self.processes[n].paused_until > context.now {
            return;
        }
        let page = usize::try_from(context.rng.within(1, 6)).expect("it is small");
        let pages = context.rng.within(1, 4);
        let Self {
            processes, store, ..
        } = self;
        let process = &mut processes[n];
        for _ in 0..pages {
            let asked = process.machine.wall(context.now);
            context.oracle.asked(context.now, asked);
            let wants = process.publisher.wants();
            let changes = block_on(store.changes(wants, page)).expect("the store answers");
            match process.publisher.answer(&changes, asked) {
                Ok(Progress::Again) => {}
                Ok(Progress::End) => break,
                Err(error) => {
                    assert_ne!(
                        error,
                        HistoryError::Unexpected,
                        "the store answers as asked"
                    );
                    context.note(|| format!("authority {n} ends: {error}"));
                    return self.restart(context, n);
                }
            }
        }
        if to_broker && self.processes[n].broker.is_none() {
            let process = &mut self.processes[n];
            assert!(
                process.publisher.open(&Filter::All),
                "there are few filters"
            );
            process.broker = Some(Stream {
                call: 0,
                at: process.publisher.position(),
                cursor: None,
                fresh: true,
                opened: context.now,
            });
        }
        let streams: Vec<(Node, Filter)> = self.processes[n].streams.keys().cloned().collect();
        for (node, filter) in streams {
            self.serve(context, n, node, &filter);
        }
        if to_broker {
            self.serve(context, n, Node::Broker, &Filter::All);
        }
    }

    /// Sends a reader of the stream what is new.
    fn serve(&mut self, context: &mut Context, n: usize, node: Node, filter: &Filter) {
        let Self {
            processes, store, ..
        } = self;
        let process = &mut processes[n];
        let key = (node, filter.clone());
        for _ in 0..64 {
            let stream = match node {
                Node::Broker => process.broker.as_mut(),
                _ => process.streams.get_mut(&key),
            };
            let Some(stream) = stream else { return };
            let (call, publisher) = (stream.call, &mut process.publisher);
            let line = if let Some(cursor) = stream.cursor {
                match publisher.next(filter, cursor) {
                    Next::Line(line, next) => {
                        stream.cursor = Some(next);
                        line
                    }
                    Next::Wait => return,
                    _ => {
                        stream.cursor = None;
                        return self.end(context, n, node, filter);
                    }
                }
            } else {
                match publisher.join(filter, stream.at, stream.fresh) {
                    Join::At(cursor) => {
                        stream.cursor = Some(cursor);
                        continue;
                    }
                    Join::CatchUp(line, to) => {
                        stream.at = to;
                        stream.fresh = false;
                        line
                    }
                    Join::Ask(revision) => {
                        let changes = block_on(store.changes(revision, 1));
                        let changes = changes.expect("the store answers");
                        match changes.after_hash {
                            Some(hash) => publisher.learn(revision, hash),
                            None => return self.end(context, n, node, filter),
                        }
                        continue;
                    }
                    // Another process may have read more, but not for long.
                    Join::Ahead
                        if context.now.saturating_sub(stream.opened) < Process::AHEAD_WITHIN =>
                    {
                        return;
                    }
                    _ => {
                        context.send(Node::Authority(n), node, call, Message::Gone);
                        return self.end(context, n, node, filter);
                    }
                }
            };
            context.oracle.signed(&line, &scope_of(filter));
            let sent_at = process.machine.wall(context.now);
            let message = Message::Line { line, sent_at };
            context.send(Node::Authority(n), node, call, message);
        }
    }

    /// Closes a stream.
    fn end(&mut self, _: &mut Context, n: usize, node: Node, filter: &Filter) {
        let process = &mut self.processes[n];
        let is_known = match node {
            Node::Broker => process.broker.take().is_some(),
            _ => process.streams.remove(&(node, filter.clone())).is_some(),
        };
        if is_known {
            process.publisher.close(filter);
        }
    }

    /// Answers a request.
    pub(crate) fn receive(
        &mut self,
        context: &mut Context,
        n: usize,
        from: Node,
        call: Call,
        message: Message,
    ) {
        if self.processes[n].paused_until > context.now {
            return;
        }
        let own = Node::Authority(n);
        match message {
            Message::Open {
                filter,
                after,
                once: false,
            } => {
                self.end(context, n, from, &filter);
                let process = &mut self.processes[n];
                assert!(process.publisher.open(&filter), "there are few filters");
                let stream = Stream {
                    call,
                    at: after,
                    cursor: None,
                    fresh: true,
                    opened: context.now,
                };
                process.streams.insert((from, filter.clone()), stream);
                self.serve(context, n, from, &filter);
            }
            Message::Open { filter, after, .. } => {
                let answer = self.frame_after(context, n, &filter, after);
                context.send(own, from, call, answer);
            }
            Message::GetSnapshot { filter } => {
                let answer = self.snapshot(context, n, &filter);
                context.send(own, from, call, answer);
            }
            Message::GetSigners => {
                let process = &self.processes[n];
                let as_of = process.machine.wall(context.now);
                let lines = process.publisher.keys().signers_document(as_of);
                context.send(own, from, call, Message::Signers(lines));
            }
            Message::Report(batch) => {
                self.record(context, &batch);
                context.send(own, from, call, Message::Recorded);
            }
            _ => {}
        }
    }

    fn frame_after(
        &mut self,
        context: &mut Context,
        n: usize,
        filter: &Filter,
        after: Position,
    ) -> Message {
        let Self {
            processes, store, ..
        } = self;
        let process = &mut processes[n];
        for _ in 0..4 {
            match process.publisher.catch_up(filter, after) {
                Join::CatchUp(line, _) => {
                    context.oracle.signed(&line, &scope_of(filter));
                    let sent_at = process.machine.wall(context.now);
                    return Message::Line { line, sent_at };
                }
                Join::Ask(revision) => {
                    let changes = block_on(store.changes(revision, 1)).expect("the store answers");
                    match changes.after_hash {
                        Some(hash) => process.publisher.learn(revision, hash),
                        None => return Message::Gone,
                    }
                }
                Join::Gone => return Message::Gone,
                // Another process may have read more: what the store has now decides.
                Join::Ahead => {
                    let asked = process.machine.wall(context.now);
                    context.oracle.asked(context.now, asked);
                    loop {
                        let wants = process.publisher.wants();
                        let changes = block_on(store.changes(wants, 100));
                        let changes = changes.expect("the store answers");
                        match process.publisher.answer(&changes, asked) {
                            Ok(Progress::Again) => {}
                            Ok(Progress::End) => break,
                            Err(_) => return Message::Unavailable,
                        }
                    }
                    let end = process.publisher.position();
                    if after.horizon > end.horizon {
                        return Message::Gone;
                    }
                }
                _ => return Message::Unavailable,
            }
        }
        Message::Unavailable
    }

    /// The state for readers with this filter, made at most once in a second.
    fn snapshot(&mut self, context: &mut Context, n: usize, filter: &Filter) -> Message {
        let Self {
            processes, store, ..
        } = self;
        let process = &mut processes[n];
        let wall = process.machine.wall(context.now);
        let is_young = |made: &Ms| context.now.saturating_sub(*made) < 1_000;
        let kept = process
            .snapshots
            .get(filter)
            .filter(|(made, _)| is_young(made));
        let kept_since = kept.map(|(made, _)| *made);
        let snapshot = if let Some((_, snapshot)) = kept {
            snapshot.clone()
        } else {
            context.oracle.asked(context.now, wall);
            let mut read = FeedRead::after(TrailHead::START);
            let mut writer = SnapshotWriter::new(filter.clone(), 1 << 20).expect("zstd works");
            loop {
                let changes = block_on(store.changes(read.wants(), 7)).expect("the store answers");
                let (page, progress) = read.answer(&changes).expect("nothing changes meanwhile");
                if let Some(page) = page {
                    writer.write(&page.entries).expect("it is small");
                }
                if progress == Progress::End {
                    break;
                }
            }
            let position = process.publisher.position_of(read.at());
            let keys = process.publisher.keys();
            let made = writer.finish(position, wall, format(), keys);
            made.expect("it is small")
        };
        context.oracle.signed(&snapshot.line, &scope_of(filter));
        let answer = Message::Snapshot {
            manifest: snapshot.line.clone(),
            object: snapshot.object.clone(),
            sent_at: wall,
        };
        let made = kept_since.unwrap_or(context.now);
        process.snapshots.insert(filter.clone(), (made, snapshot));
        answer
    }
}

/// The scope of a filter that the simulation uses.
pub(crate) fn scope_of(filter: &Filter) -> Scope {
    let scopes = (3..8).map(Scope::numbered);
    let mut fitting = scopes.filter(|scope| scope.filter() == *filter);
    fitting.next().expect("it is one of the scopes")
}
