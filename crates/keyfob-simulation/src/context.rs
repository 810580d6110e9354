//! What every part of a run uses.

use std::collections::VecDeque;

use crate::{
    bug::Bug,
    clock::Ms,
    network::{Call, Envelope, Message, Network, Node},
    oracle::Oracle,
    random::Rng,
    world::Settings,
};

pub(crate) struct Context {
    /// True time.
    pub(crate) now: Ms,
    pub(crate) rng: Rng,
    pub(crate) network: Network,
    pub(crate) oracle: Oracle,
    pub(crate) bug: Option<Bug>,
    /// Whether all faults are over.
    pub(crate) healed: bool,
    trace: Option<VecDeque<String>>,
    step: u64,
}

impl Context {
    /// How many events a trace keeps.
    const TRACE: usize = 400;

    pub(crate) fn new(now: Ms, rng: Rng, settings: &Settings, traced: bool) -> Self {
        Self {
            now,
            rng,
            network: Network::default(),
            oracle: Oracle::checking(settings.only),
            bug: settings.bug,
            healed: false,
            trace: traced.then(VecDeque::new),
            step: 0,
        }
    }

    pub(crate) fn has(&self, bug: Bug) -> bool {
        self.bug == Some(bug)
    }

    pub(crate) fn send(&mut self, from: Node, to: Node, call: Call, message: Message) {
        let envelope = Envelope {
            from,
            to,
            call,
            message,
        };
        self.network.send(self.now, &mut self.rng, &envelope);
    }

    /// Notes an event, if a trace is wanted.
    pub(crate) fn note(&mut self, event: impl FnOnce() -> String) {
        if let Some(trace) = &mut self.trace
            && self.oracle.violation().is_none()
        {
            if trace.len() >= Self::TRACE {
                trace.pop_front();
            }
            let ms = self.now - crate::clock::START;
            trace.push_back(format!("step {:3}  {ms:6} ms  {}", self.step, event()));
        }
    }

    pub(crate) fn begin_step(&mut self, step: u64) {
        self.step = step;
    }

    pub(crate) fn take_trace(&mut self) -> Vec<String> {
        self.trace.take().into_iter().flatten().collect()
    }
}
