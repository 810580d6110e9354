//! When a reader of a broadcast needs an upstream.

use crate::receiver::{Offered, Refused};

/// Decides whether a broadcast of the lines suffices for a reader, or it needs the stream of an upstream.
///
/// A broadcast, such as by a message broker, promises nothing. So a reader reads the stream of an upstream
/// until the broadcast is in step: a line of it starts or ends at the reader's position. From then on the
/// broadcast suffices, until a line is missing, or it is silent or late. Then the reader reads the stream
/// again, and for longer each time that the broadcast fails soon. So the worst that a broadcast can do is
/// what it would be without it, [`Broadcast::SILENCE_MS`] later.
///
/// It does no I/O and reads no clock. All times are in milliseconds, by a clock that does not run back.
///
/// 1. While [`Broadcast::wants`] a line, give it to [`Receiver::offer`](crate::Receiver::offer), and the result to
///    [`Broadcast::offered`]; else drop the line.
/// 2. Call [`Broadcast::check`] when [`Broadcast::due`] says so.
/// 3. Read the stream of an upstream while it is not [in step](Broadcast::is_in_step), and no longer.
#[derive(Clone, Debug)]
pub struct Broadcast {
    /// When it came into step, if it is.
    in_step: Option<u64>,
    /// When a line arrived before which some are missing.
    ahead: Option<u64>,
    /// When the last line was accepted.
    last: u64,
    /// How long lines are not wanted after the broadcast failed.
    hold: u64,
    /// Until when they are not.
    held_until: u64,
    silence: u64,
}

impl Broadcast {
    /// How long no line may be accepted: two bookmarks.
    pub const SILENCE_MS: u64 = 2_000;
    /// How old the state may be.
    pub const LAG_MS: u64 = 3_000;
    /// How long the lines that another process publishes may take to follow.
    pub const GRACE_MS: u64 = 100;
    /// The longest time for which the broadcast is left alone after it failed.
    pub const HOLD_MAX_MS: u64 = 60_000;

    /// Creates the state of a reader that has read nothing. `jitter` is added to the time of silence
    /// after which an upstream is needed: give each reader another one, so that they do not all turn to
    /// the authority at once.
    pub fn new(jitter: u64) -> Self {
        Self {
            in_step: None,
            ahead: None,
            last: 0,
            hold: 0,
            held_until: 0,
            silence: Self::SILENCE_MS.saturating_add(jitter),
        }
    }

    /// Whether the broadcast suffices.
    pub fn is_in_step(&self) -> bool {
        self.in_step.is_some()
    }

    /// Whether lines are wanted now.
    pub fn wants(&self, now: u64) -> bool {
        self.is_in_step() || now >= self.held_until
    }

    /// Takes note of what became of a line.
    pub fn offered(&mut self, outcome: &Result<Offered, Refused>, now: u64) {
        match outcome {
            Ok(Offered::Accepted(accepted)) => {
                self.ahead = None;
                // The end of what was published says that it is in step.
                if accepted.batch.is_some() {
                    self.last = now;
                }
                self.step_in(now);
            }
            Ok(Offered::Reached) => self.step_in(now),
            Ok(Offered::Ahead) if self.is_in_step() => {
                self.ahead.get_or_insert(now);
            }
            // The upstream knows which of the histories is that of the store.
            Err(Refused::OtherHistory) if self.is_in_step() => self.step_out(now),
            _ => {}
        }
    }

    /// Takes note of the time. `lag` is the age of the reader's state: its own time minus
    /// [`Receiver::as_of`](crate::Receiver::as_of).
    pub fn check(&mut self, now: u64, lag: u64) {
        let passed = |since: u64| now.saturating_sub(since);
        let missing = self.ahead.is_some_and(|at| passed(at) >= Self::GRACE_MS);
        if self.is_in_step()
            && (missing || passed(self.last) >= self.silence || lag >= Self::LAG_MS)
        {
            self.step_out(now);
        }
    }

    /// When [`Broadcast::check`] is due if no line arrives; `None` while an upstream is read.
    pub fn due(&self) -> Option<u64> {
        self.in_step?;
        let silent = self.last.saturating_add(self.silence);
        let missing = self.ahead.map(|at| at.saturating_add(Self::GRACE_MS));
        Some(missing.map_or(silent, |missing| silent.min(missing)))
    }

    /// Takes note that the reader has lost its position, and needs an upstream.
    pub fn lost(&mut self, now: u64) {
        if self.is_in_step() {
            self.step_out(now);
        }
    }

    fn step_in(&mut self, now: u64) {
        if self.in_step.is_none() {
            self.in_step = Some(now);
            self.ahead = None;
            self.last = now;
        }
    }

    fn step_out(&mut self, now: u64) {
        let Some(since) = self.in_step.take() else {
            return;
        };
        self.ahead = None;
        self.hold = if now.saturating_sub(since) >= Self::HOLD_MAX_MS {
            0
        } else {
            (self.hold * 2).clamp(HOLD_MIN_MS, Self::HOLD_MAX_MS)
        };
        self.held_until = now.saturating_add(self.hold);
    }
}

/// The first hold after a broadcast that failed soon.
const HOLD_MIN_MS: u64 = 1_000;

#[cfg(test)]
mod tests {
    use keyfob::gateway::ReplicaChanges;

    use super::*;
    use crate::{
        keys::FeedKeys,
        receiver::{Accepted, Batch},
    };

    /// What becomes of a bookmark.
    #[expect(clippy::unnecessary_wraps, reason = "as it is offered")]
    fn accepted() -> Result<Offered, Refused> {
        let keys = FeedKeys::generate(&keyfob::key::SystemRandom).unwrap();
        let position = keys.mark_key().position(keyfob::audit::TrailHead::START);
        Ok(Offered::Accepted(Accepted {
            batch: Some(Batch {
                changes: ReplicaChanges::default(),
                confirmed: Some(0),
            }),
            position,
            as_of: 0,
            signers_version: 1,
        }))
    }

    fn in_step(now: u64) -> Broadcast {
        let mut broadcast = Broadcast::new(0);
        broadcast.offered(&Ok(Offered::Reached), now);
        assert!(broadcast.is_in_step());
        broadcast
    }

    #[test]
    fn only_a_line_that_meets_the_position_brings_it_into_step() {
        let mut broadcast = Broadcast::new(0);
        for outcome in [
            Ok(Offered::Behind),
            Ok(Offered::Ahead),
            Err(Refused::Forged),
            Err(Refused::Older),
            Err(Refused::OtherHistory),
        ] {
            broadcast.offered(&outcome, 0);
            assert!(!broadcast.is_in_step(), "{outcome:?}");
        }
        broadcast.offered(&accepted(), 0);
        assert!(broadcast.is_in_step());
        assert!(in_step(0).is_in_step());
    }

    #[test]
    fn a_gap_that_stays_a_gap_needs_the_upstream() {
        let mut broadcast = in_step(0);
        broadcast.offered(&Ok(Offered::Ahead), 100);
        broadcast.check(199, 0);
        assert!(
            broadcast.is_in_step(),
            "another process may publish what is missing"
        );
        assert_eq!(broadcast.due(), Some(200));
        broadcast.offered(&accepted(), 199);
        broadcast.check(300, 0);
        assert!(broadcast.is_in_step(), "it did");
        broadcast.offered(&Ok(Offered::Ahead), 300);
        broadcast.offered(&Ok(Offered::Ahead), 350);
        broadcast.check(400, 0);
        assert!(!broadcast.is_in_step());
    }

    #[test]
    fn silence_and_lag_need_the_upstream() {
        let mut broadcast = in_step(0);
        assert_eq!(broadcast.due(), Some(Broadcast::SILENCE_MS));
        // What it has already says nothing new.
        broadcast.offered(&Ok(Offered::Reached), 1_900);
        broadcast.offered(&Ok(Offered::Behind), 1_900);
        broadcast.check(1_999, 0);
        assert!(broadcast.is_in_step());
        broadcast.check(2_000, 0);
        assert!(!broadcast.is_in_step());
        assert_eq!(broadcast.due(), None);

        let mut broadcast = in_step(0);
        broadcast.check(10, Broadcast::LAG_MS - 1);
        assert!(broadcast.is_in_step());
        broadcast.check(10, Broadcast::LAG_MS);
        assert!(!broadcast.is_in_step());

        let mut broadcast = in_step(0);
        broadcast.offered(&Err(Refused::OtherHistory), 10);
        assert!(
            !broadcast.is_in_step(),
            "the upstream knows which one is right"
        );
    }

    #[test]
    fn the_stream_is_read_for_longer_each_time_that_the_broadcast_fails_soon() {
        let (mut broadcast, mut now) = (Broadcast::new(0), 0);
        let mut holds = Vec::new();
        for _ in 0..8 {
            broadcast.offered(&Ok(Offered::Reached), now);
            now += 10;
            broadcast.lost(now);
            assert!(!broadcast.is_in_step());
            let failed = now;
            while !broadcast.wants(now) {
                now += 500;
            }
            holds.push((now - failed) / 1_000);
        }
        assert_eq!(holds, [1, 2, 4, 8, 16, 32, 60, 60]);
        // One that was good for a minute is trusted again at once.
        broadcast.offered(&Ok(Offered::Reached), now);
        now += Broadcast::HOLD_MAX_MS;
        broadcast.lost(now);
        assert!(broadcast.wants(now));
    }
}
