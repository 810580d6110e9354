//! Lines that arrive by a broadcast, in addition to an upstream.

use std::{
    collections::VecDeque,
    fmt, future,
    hash::{BuildHasher as _, RandomState},
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use keyfob::gateway::Index;
use keyfob_feed::{Broadcast, Offered, Refused, SignedLine};
use metrics::{counter, gauge};
use tokio::{
    sync::Notify,
    time::{Instant, timeout_at},
};

use super::{
    error::FeedError,
    lock,
    session::{Filled, Phase, Session, reason},
};
use crate::metrics as names;

/// Gives lines of a broadcast to an [`HttpSource`](super::HttpSource). Cheap to clone.
#[derive(Clone)]
pub struct LineSender(Arc<Queue>);

/// What an [`HttpSource`](super::HttpSource) reads a broadcast from; see
/// [`HttpSourceBuilder::broadcast`](super::HttpSourceBuilder::broadcast).
pub struct LineReceiver(Arc<Queue>);

#[derive(Default)]
struct Queue {
    lines: Mutex<Waiting>,
    arrived: Notify,
}

#[derive(Default)]
struct Waiting {
    lines: VecDeque<Bytes>,
    bytes: usize,
}

impl LineReceiver {
    /// Creates a queue for the lines of one filter. It holds 16 MiB.
    pub fn new() -> (LineSender, Self) {
        let queue = Arc::new(Queue::default());
        (LineSender(Arc::clone(&queue)), Self(queue))
    }

    fn take(&self) -> Option<Bytes> {
        let mut waiting = lock(&self.0.lines);
        let line = waiting.lines.pop_front()?;
        waiting.bytes -= taken(&line);
        Some(line)
    }

    fn is_empty(&self) -> bool {
        lock(&self.0.lines).lines.is_empty()
    }

    /// Waits until there is a line.
    async fn arrived(&self) {
        while self.is_empty() {
            self.0.arrived.notified().await;
        }
    }
}

impl LineSender {
    /// Gives a line to the source, without its line break. It need not be verified: the source does.
    /// Returns `false`, and drops it, if it is empty or too long, or the source is too slow; the source then reads
    /// what it lacks from its upstream.
    pub fn send(&self, line: Bytes) -> bool {
        {
            let mut waiting = lock(&self.0.lines);
            let bytes = waiting.bytes + taken(&line);
            if line.is_empty() || line.len() > SignedLine::BYTES_MAX || bytes > QUEUE_BYTES {
                return false;
            }
            waiting.bytes = bytes;
            waiting.lines.push_back(line);
        }
        self.0.arrived.notify_one();
        true
    }
}

impl fmt::Debug for LineSender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LineSender").finish_non_exhaustive()
    }
}

impl fmt::Debug for LineReceiver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LineReceiver").finish_non_exhaustive()
    }
}

/// A broadcast that a session listens to.
pub(super) struct Listening {
    lines: LineReceiver,
    state: Broadcast,
    began: Instant,
    /// When the signers were wanted last, since a line had an unknown one.
    signers: Option<Instant>,
}

impl Listening {
    pub(super) fn to(lines: LineReceiver) -> Self {
        let jitter = RandomState::new().hash_one(0) % JITTER_MS;
        Self {
            lines,
            state: Broadcast::new(jitter),
            began: Instant::now(),
            signers: None,
        }
    }

    pub(super) fn is_in_step(&self) -> bool {
        self.state.is_in_step()
    }

    fn now(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// Waits until there is a line, or the broadcast has been silent for too long.
    pub(super) async fn wait(&self) {
        match self.state.due() {
            None => self.lines.arrived().await,
            Some(due) => {
                let due = self.began + Duration::from_millis(due);
                // What is there is taken either way.
                drop(timeout_at(due, self.lines.arrived()).await);
            }
        }
    }
}

/// Waits for the broadcast; not at all without one.
pub(super) async fn heard(listening: Option<&Listening>) {
    match listening {
        Some(listening) => listening.wait().await,
        None => future::pending().await,
    }
}

impl Session {
    pub(super) fn is_in_step(&self) -> bool {
        self.listening.as_ref().is_some_and(Listening::is_in_step)
    }

    /// Takes the lines of the broadcast that have arrived. If it is in step, the stream of the
    /// upstream is closed.
    pub(super) fn listen(&mut self, index: &Index, until: Instant) -> Result<(), FeedError> {
        let was_in_step = self.is_in_step();
        let heard = self.take_broadcast(index, until);
        let is_in_step = self.is_in_step();
        if is_in_step && !matches!(self.phase, Phase::Idle) {
            self.phase = Phase::Idle;
        }
        if is_in_step != was_in_step {
            if is_in_step {
                gauge!(names::FEED_BROADCAST).increment(1.0);
                tracing::info!("the broadcast is in step: the upstream's stream is closed");
            } else {
                gauge!(names::FEED_BROADCAST).decrement(1.0);
                tracing::warn!("the broadcast is silent, late or incomplete: the upstream is read");
            }
            let mut progress = lock(&self.progress);
            progress.is_broadcast = is_in_step;
            progress.is_connected &= !is_in_step;
        }
        heard
    }

    fn take_broadcast(&mut self, index: &Index, until: Instant) -> Result<(), FeedError> {
        let mut taken = 0;
        loop {
            let is_enough = if self.is_in_step() {
                Instant::now() >= until
            } else {
                // Those of the upstream come first.
                taken >= LINES_AT_ONCE
            };
            let Some(listening) = &mut self.listening else {
                return Ok(());
            };
            let now = listening.now();
            let line = if is_enough {
                None
            } else {
                listening.lines.take()
            };
            let Some(line) = line else {
                let lag = self.config.clocks.wall();
                let lag = lag.saturating_sub(self.receiver.as_of());
                // Also while lines arrive without end.
                listening.state.check(now, lag);
                return Ok(());
            };
            taken += 1;
            if self.filled != Filled::Fully || !listening.state.wants(now) {
                counter!(names::FEED_BROADCAST_LINES, "outcome" => "unused").increment(1);
                continue;
            }
            self.take_broadcast_line(index, &line, now)?;
        }
    }

    fn take_broadcast_line(
        &mut self,
        index: &Index,
        line: &[u8],
        now: u64,
    ) -> Result<(), FeedError> {
        let Some(listening) = &mut self.listening else {
            return Ok(());
        };
        let before = self.receiver.position();
        let outcome = self.receiver.offer(line, self.config.clocks.now());
        listening.state.offered(&outcome, now);
        let name = match &outcome {
            Ok(Offered::Accepted(_)) => "accepted",
            Ok(Offered::Ahead) => "ahead",
            Ok(_) => "repeated",
            Err(_) => "refused",
        };
        counter!(names::FEED_BROADCAST_LINES, "outcome" => name).increment(1);
        let refused = match outcome {
            Ok(Offered::Accepted(accepted)) => {
                self.mark_started();
                let applied = self.apply(index, accepted, before, line);
                if applied.is_err()
                    && let Some(listening) = &mut self.listening
                {
                    listening.state.lost(now);
                }
                return applied;
            }
            Ok(_) => return Ok(()),
            Err(refused) => refused,
        };
        counter!(names::FEED_REFUSED, "reason" => reason(refused)).increment(1);
        // Anybody can name a signer that does not exist.
        let asked = listening.signers;
        if refused == Refused::UnknownSigner
            && asked.is_none_or(|asked| asked.elapsed() >= SIGNERS_EVERY)
        {
            listening.signers = Some(Instant::now());
            self.wants_signers = true;
        }
        lock(&self.progress).refused = self.receiver.refusals();
        Ok(())
    }
}

/// How much of the queue a line takes: its bytes, and what holds them.
fn taken(line: &Bytes) -> usize {
    line.len() + LINE_BYTES
}

/// How many bytes an entry of the queue takes, with the buffer of its message.
const LINE_BYTES: usize = 256;
/// How many bytes wait for the source.
const QUEUE_BYTES: usize = 16 << 20;
/// Up to how much later one source turns to its upstream than another one.
const JITTER_MS: u64 = 500;
/// How often the signers are read at most since a line of the broadcast had an unknown one.
const SIGNERS_EVERY: Duration = Duration::from_secs(2);
/// How many lines of a broadcast that is not in step are looked at before the upstream is read on.
const LINES_AT_ONCE: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_and_empty_lines_do_not_wait_without_end() {
        let (sender, receiver) = LineReceiver::new();
        assert!(!sender.send(Bytes::new()));
        let line = Bytes::from_static(b"x");
        let mut count = 0;
        while sender.send(line.clone()) {
            count += 1;
            assert!(count < 100_000);
        }
        assert!(count > 1_000);
        assert!(receiver.take().is_some());
        assert!(sender.send(line.clone()) && !sender.send(line));
        while receiver.take().is_some() {}
        assert_eq!(lock(&receiver.0.lines).bytes, 0);
        assert!(sender.send(vec![b'x'; SignedLine::BYTES_MAX].into()));
        assert!(!sender.send(vec![b'x'; SignedLine::BYTES_MAX + 1].into()));
    }
}
