//! What a hostile relay does. It has everything that it ever received, but no key that is trusted.

use std::{collections::BTreeMap, sync::Arc};

use bytes::Bytes;
use keyfob::{KeyStore, audit::TrailHead, block_on};
use keyfob_feed::{FeedKeys, Filter, Join, Limits, Publisher, SignedLine};

use super::Relay;
use crate::{
    authority::{Store, copy},
    clock::Ms,
    context::Context,
    network::{Call, Envelope, Message, Node},
};

/// The memory and the mood of a hostile relay.
#[derive(Default)]
pub(crate) struct Hostile {
    /// How many of a hundred messages it touches.
    zeal: u64,
    lines: Vec<SignedLine>,
    snapshots: Vec<(Filter, SignedLine, Bytes)>,
    signers: Vec<Vec<SignedLine>>,
    thief: Option<Thief>,
    /// How long it holds back every line, in the end: it begins with less, so that no reader finds it
    /// silent.
    lag: Ms,
    /// When it first sent something for a call.
    began: BTreeMap<Call, Ms>,
    /// It holds back everything until then.
    holds_until: Ms,
}

/// A publisher with the keys of a retired signer, over a store that does not change.
struct Thief {
    publisher: Publisher,
    store: Store,
}

impl Hostile {
    pub(crate) fn new(zeal: u64, lag: Ms) -> Self {
        Self {
            zeal,
            lag,
            ..Self::default()
        }
    }
}

impl Relay {
    /// Makes plans for the next time.
    pub(super) fn plot(&mut self, context: &mut Context) {
        let Some(hostile) = &mut self.hostile else {
            return;
        };
        if context.rng.chance(4) {
            hostile.holds_until = context.now + 500 + context.rng.below(6_000);
        }
        if hostile.lines.len() > 400 {
            hostile.lines.drain(..200);
        }
    }

    /// Gives a hostile relay the keys of a retired signer, and a store that does not change.
    pub(crate) fn steal(&mut self, keys: &FeedKeys, store: Store) {
        if let Some(hostile) = &mut self.hostile {
            let keys = Arc::new(copy(keys));
            let publisher = Publisher::new(keys, TrailHead::START, Limits::default());
            hostile.thief = Some(Thief { publisher, store });
        }
    }

    pub(super) fn keep_line(&mut self, line: &SignedLine) {
        if let Some(hostile) = &mut self.hostile {
            hostile.lines.push(line.clone());
        }
    }

    pub(super) fn keep_snapshot(&mut self, filter: &Filter, line: &SignedLine, object: &Bytes) {
        if let Some(hostile) = &mut self.hostile {
            let snapshot = (filter.clone(), line.clone(), object.clone());
            hostile.snapshots.push(snapshot);
        }
    }

    pub(super) fn keep_signers(&mut self, lines: &[SignedLine]) {
        if let Some(hostile) = &mut self.hostile {
            hostile.signers.push(lines.to_vec());
        }
    }

    pub(super) fn signers_to_send(
        &mut self,
        context: &mut Context,
        lines: Vec<SignedLine>,
    ) -> Vec<SignedLine> {
        match &self.hostile {
            Some(hostile) if context.rng.chance(hostile.zeal) => {
                context.rng.pick(&hostile.signers).cloned().unwrap_or(lines)
            }
            _ => lines,
        }
    }

    pub(super) fn snapshot_to_send(
        &mut self,
        context: &mut Context,
        filter: &Filter,
        line: SignedLine,
        object: Bytes,
    ) -> (SignedLine, Bytes) {
        let Some(hostile) = &self.hostile else {
            return (line, object);
        };
        if !context.rng.chance(hostile.zeal) {
            return (line, object);
        }
        let own = (filter.clone(), line.clone(), object.clone());
        let (_, other, other_object) = if context.rng.chance(60) {
            // The latest ones of the filter are the most tempting.
            let fitting = hostile.snapshots.iter().filter(|(of, ..)| of == filter);
            let fitting: Vec<_> = fitting.rev().take(4).cloned().collect();
            context.rng.pick(&fitting).cloned().unwrap_or(own)
        } else {
            context.rng.pick(&hostile.snapshots).cloned().unwrap_or(own)
        };
        context.note(|| "the hostile relay sends another snapshot".to_owned());
        match context.rng.below(8) {
            0 => (line, other_object),
            1 => (altered(context, &line), object),
            _ => (other, other_object),
        }
    }

    /// The lines that are sent in place of one.
    pub(super) fn lines_to_send(
        &mut self,
        context: &mut Context,
        to: Node,
        call: Call,
        line: &SignedLine,
    ) -> Vec<SignedLine> {
        let sent_at = self.machine.wall(context.now);
        let Some(hostile) = &mut self.hostile else {
            return vec![line.clone()];
        };
        hostile.lines.push(line.clone());
        let began = *hostile.began.entry(call).or_insert(context.now);
        let lag = hostile.lag.min((context.now - began) / 2);
        let held_until = hostile.holds_until.max(context.now + lag);
        if held_until > context.now {
            let message = Message::Line {
                line: line.clone(),
                sent_at: held_until,
            };
            let envelope = Envelope {
                from: self.node,
                to,
                call,
                message,
            };
            context.network.deliver_at(held_until, envelope);
            return Vec::new();
        }
        if !context.rng.chance(hostile.zeal) {
            return vec![line.clone()];
        }
        let added = match context.rng.below(12) {
            0 => return Vec::new(),
            1 => Some(line.clone()),
            2 => return vec![altered(context, line)],
            3 => Some(replaced(line, "\"revoked\"", "\"active\"")),
            4 => Some(restamped(line, sent_at)),
            5 => Some(without_entries(line)),
            6 => {
                context.send(self.node, to, call, Message::Gone);
                return Vec::new();
            }
            7 | 8 => hostile
                .thief
                .as_mut()
                .and_then(|thief| thief.forge(line, sent_at)),
            9 => {
                // What was received last is the most tempting.
                let back = context.rng.index(8.min(hostile.lines.len()));
                hostile.lines.iter().rev().nth(back).cloned()
            }
            _ => context.rng.pick(&hostile.lines).cloned(),
        };
        added.into_iter().chain([line.clone()]).collect()
    }
}

impl Thief {
    /// A frame at the place of another one.
    fn forge(&mut self, line: &SignedLine, now: u64) -> Option<SignedLine> {
        let (from, _) = crate::reader::ends(line.as_bytes())?;
        let changes = block_on(self.store.changes(self.publisher.wants(), 10_000)).ok()?;
        self.publisher.answer(&changes, now).ok()?;
        match self.publisher.catch_up(&Filter::All, from) {
            Join::CatchUp(line, _) => Some(line),
            _ => None,
        }
    }
}

fn altered(context: &mut Context, line: &SignedLine) -> SignedLine {
    let mut bytes = line.as_bytes().to_vec();
    let at = context.rng.index(bytes.len());
    bytes[at] ^= 1 << context.rng.below(7);
    SignedLine::received(&bytes)
}

fn replaced(line: &SignedLine, from: &str, to: &str) -> SignedLine {
    let text = String::from_utf8_lossy(line.as_bytes()).replace(from, to);
    SignedLine::received(text.as_bytes())
}

fn restamped(line: &SignedLine, now: u64) -> SignedLine {
    match crate::oracle::as_of(line.as_bytes(), "frame") {
        Some(as_of) => {
            let (old, new) = (format!("\"as_of\":{as_of}"), format!("\"as_of\":{now}"));
            replaced(line, &old, &new)
        }
        None => line.clone(),
    }
}

fn without_entries(line: &SignedLine) -> SignedLine {
    let text = String::from_utf8_lossy(line.as_bytes()).into_owned();
    match text.split_once(r#","entries":["#) {
        Some((head, _)) => SignedLine::received(format!("{head}}}}}").as_bytes()),
        None => line.clone(),
    }
}
