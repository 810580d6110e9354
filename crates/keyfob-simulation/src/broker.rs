//! A message broker: it hands the lines of all to relays, keeps the last one, and promises nothing.

use keyfob_feed::SignedLine;

use crate::{
    clock::Ms,
    context::Context,
    network::{Call, Envelope, Message, Node},
};

#[derive(Default)]
pub(crate) struct Broker {
    /// What it gives to a relay that asks: the last line, however old.
    retained: Option<SignedLine>,
    /// Of a hostile one, how many of a hundred lines it touches.
    zeal: u64,
    /// How long a hostile one holds back every line.
    lag: Ms,
    /// What a hostile one has heard.
    heard: Vec<SignedLine>,
    /// It does nothing until then.
    pub(crate) paused_until: Ms,
}

impl Broker {
    /// One that replays, alters, drops or delays lines, and stays so.
    pub(crate) fn hostile(zeal: u64, lag: Ms) -> Self {
        Self {
            zeal,
            lag,
            ..Self::default()
        }
    }

    /// Takes a message; `relays` are those that it knows.
    pub(crate) fn receive(
        &mut self,
        context: &mut Context,
        relays: &[usize],
        from: Node,
        call: Call,
        message: Message,
    ) {
        if self.paused_until > context.now {
            return;
        }
        match message {
            Message::Line { line, sent_at } => {
                self.retained = Some(line.clone());
                let lines = self.lines_to_send(context, &line);
                for line in lines {
                    for n in relays {
                        let line = line.clone();
                        let message = Message::Line { line, sent_at };
                        self.send(context, Node::Relay(*n), call, message);
                    }
                }
            }
            Message::GetLast => {
                let old = context.rng.chance(self.zeal);
                let old = old.then(|| context.rng.pick(&self.heard).cloned());
                if let Some(line) = old.flatten().or_else(|| self.retained.clone()) {
                    let message = Message::Line { line, sent_at: 0 };
                    self.send(context, from, call, message);
                }
            }
            _ => {}
        }
    }

    fn send(&self, context: &mut Context, to: Node, call: Call, message: Message) {
        if self.lag == 0 {
            return context.send(Node::Broker, to, call, message);
        }
        let envelope = Envelope {
            from: Node::Broker,
            to,
            call,
            message,
        };
        context.network.deliver_at(context.now + self.lag, envelope);
    }

    fn lines_to_send(&mut self, context: &mut Context, line: &SignedLine) -> Vec<SignedLine> {
        if self.zeal == 0 {
            return vec![line.clone()];
        }
        self.heard.push(line.clone());
        if !context.rng.chance(self.zeal) {
            return vec![line.clone()];
        }
        match context.rng.below(5) {
            0 => Vec::new(),
            1 => {
                let mut bytes = line.as_bytes().to_vec();
                let at = context.rng.index(bytes.len());
                bytes[at] ^= 1 << context.rng.below(7);
                vec![SignedLine::received(&bytes)]
            }
            2 => {
                // The last ones are the most tempting.
                let back = context.rng.index(8.min(self.heard.len()));
                let old = self.heard.iter().rev().nth(back).cloned();
                old.into_iter().chain([line.clone()]).collect()
            }
            _ => {
                let old = context.rng.pick(&self.heard).cloned();
                old.into_iter().collect()
            }
        }
    }
}
