//! Messages, and the network that loses, repeats, delays and reorders them.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use keyfob::gateway::UsageBatch;
use keyfob_feed::{Filter, Position, SignedLine};

use crate::{clock::Ms, random::Rng};

/// A process with a network address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Node {
    /// A process of the authority.
    Authority(usize),
    Broker,
    Relay(usize),
    Replica(usize),
}

/// The number of a request and of everything that is sent as its answer.
pub(crate) type Call = u64;

#[derive(Clone, Debug)]
pub(crate) enum Message {
    /// `GET /v1/feed?after=…`, or `GET /v1/feed/frame?after=…` if only one frame is wanted.
    Open {
        filter: Filter,
        after: Position,
        once: bool,
    },
    /// `GET /v1/feed/snapshot`, and the object.
    GetSnapshot {
        filter: Filter,
    },
    /// A request to the broker for the last line.
    GetLast,
    /// `GET /v1/feed/signers`
    GetSigners,
    /// `POST /v1/feed/report`
    Report(UsageBatch),
    Line {
        line: SignedLine,
        /// The sender's clock, which nothing must trust.
        sent_at: u64,
    },
    /// 410
    Gone,
    /// 503
    Unavailable,
    Snapshot {
        manifest: SignedLine,
        object: Bytes,
        sent_at: u64,
    },
    Signers(Vec<SignedLine>),
    Recorded,
}

#[derive(Clone, Debug)]
pub(crate) struct Envelope {
    pub(crate) from: Node,
    pub(crate) to: Node,
    pub(crate) call: Call,
    pub(crate) message: Message,
}

/// What is on its way, and how the network behaves.
#[derive(Debug, Default)]
pub(crate) struct Network {
    queue: BTreeMap<(Ms, u64), Envelope>,
    sent: u64,
    calls: Call,
    /// When the last message between two nodes arrives: without reordering, none overtakes it.
    last: BTreeMap<(Node, Node), Ms>,
    /// The links that deliver nothing.
    pub(crate) cut: BTreeSet<(Node, Node)>,
    pub(crate) weather: Weather,
}

/// How links behave, in percent and milliseconds.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Weather {
    pub(crate) loss: u64,
    pub(crate) repeats: u64,
    pub(crate) reorders: u64,
    pub(crate) delay: u64,
}

impl Network {
    pub(crate) fn call(&mut self) -> Call {
        self.calls += 1;
        self.calls
    }

    pub(crate) fn cut_between(&mut self, a: Node, b: Node) {
        self.cut.insert((a.min(b), a.max(b)));
    }

    pub(crate) fn send(&mut self, now: Ms, rng: &mut Rng, envelope: &Envelope) {
        let &Envelope { from, to, .. } = envelope;
        let mut weather = self.weather;
        if from == Node::Broker {
            // It promises nothing, not even in good weather.
            weather.loss += 5;
            weather.repeats += 5;
            weather.reorders += 5;
        }
        if self.cut.contains(&(from.min(to), from.max(to))) || rng.chance(weather.loss) {
            return;
        }
        let copies = if rng.chance(weather.repeats) { 2 } else { 1 };
        for _ in 0..copies {
            let mut at = now + 2 + rng.below(20 + weather.delay);
            let last = self.last.entry((from, to)).or_insert(0);
            if rng.chance(weather.reorders) {
                at += rng.below(1_500);
            } else {
                at = at.max(*last);
                *last = at;
            }
            self.deliver_at(at, envelope.clone());
        }
    }

    pub(crate) fn deliver_at(&mut self, at: Ms, envelope: Envelope) {
        self.sent += 1;
        self.queue.insert((at, self.sent), envelope);
    }

    /// The next message that arrives by `until`, and when.
    pub(crate) fn arrival(&mut self, until: Ms) -> Option<(Ms, Envelope)> {
        let (&(at, _), _) = self.queue.first_key_value()?;
        if at > until {
            return None;
        }
        self.queue
            .pop_first()
            .map(|((at, _), envelope)| (at, envelope))
    }

    /// Everything on its way that a fault delayed is delivered soon.
    pub(crate) fn heal(&mut self) {
        self.cut.clear();
        self.weather = Weather::default();
    }
}
