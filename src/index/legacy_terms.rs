//! The policy for legacy credentials of a namespace, which changes in place.

use std::sync::{
    OnceLock,
    atomic::{AtomicU64, Ordering, fence},
};

use alloc::boxed::Box;

use crate::{index::EntryMeta, legacy::LegacyPolicy, timestamp::Timestamp};

/// A policy for legacy credentials in memory that is reused: one writer, any number of readers.
///
/// There are two buffers. The writer writes the one that no reader needs, and then switches, so a
/// reader retries only if the writer completed a step.
#[derive(Default)]
pub(super) struct TermsCell {
    /// The number of changes; the last bit selects the buffer. Zero if no policy was ever set.
    changes: AtomicU64,
    buffers: [Buffer; 2],
}

#[derive(Default)]
struct Buffer {
    /// [`UNSET`], [`OFF`], or the packed time of the sunset plus [`FIRST`].
    sunset: AtomicU64,
    brownouts_len: AtomicU64,
    brownouts: OnceLock<Box<[[AtomicU64; 2]; LegacyPolicy::BROWNOUTS_MAX]>>,
}

/// There is no policy: the default applies.
const UNSET: u64 = 0;
const OFF: u64 = 1;
const FIRST: u64 = 2;

/// What a policy says about one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LegacyTerms {
    /// Whether legacy credentials are accepted.
    pub(crate) accepts: bool,
    /// Until when at most; `None` if they are off.
    pub(crate) sunset: Option<Timestamp>,
}

impl LegacyTerms {
    pub(crate) const OFF: Self = Self {
        accepts: false,
        sunset: None,
    };
}

impl TermsCell {
    /// What the policy says about `now`; `None` if there is no policy.
    pub(super) fn at(&self, now: Timestamp) -> Option<LegacyTerms> {
        loop {
            let changes = self.changes.load(Ordering::Acquire);
            let [even, odd] = &self.buffers;
            let buffer = if changes & 1 == 0 { even } else { odd };
            let terms = buffer.at(now);
            fence(Ordering::Acquire);
            if self.changes.load(Ordering::Relaxed) == changes {
                return terms;
            }
        }
    }

    /// Replaces the policy; `None` removes it. For one writer at a time.
    pub(super) fn set(&self, policy: Option<&LegacyPolicy>) {
        let next = self.changes.load(Ordering::Relaxed).wrapping_add(1);
        // Ordered after the switch away from this buffer.
        fence(Ordering::Release);
        let [even, odd] = &self.buffers;
        let buffer = if next & 1 == 0 { even } else { odd };
        buffer.set(policy);
        self.changes.store(next, Ordering::Release);
    }
}

impl Buffer {
    fn at(&self, now: Timestamp) -> Option<LegacyTerms> {
        let sunset = match self.sunset.load(Ordering::Relaxed) {
            UNSET => return None,
            OFF => return Some(LegacyTerms::OFF),
            sunset => EntryMeta::unpack_time(sunset.wrapping_sub(FIRST)),
        };
        let len = usize::try_from(self.brownouts_len.load(Ordering::Relaxed)).unwrap_or(0);
        let brownouts = self.brownouts.get().into_iter().flat_map(|all| &**all);
        let now_packed = EntryMeta::pack_time(now);
        let in_brownout = brownouts.take(len).any(|[start, end]| {
            start.load(Ordering::Relaxed) <= now_packed && now_packed < end.load(Ordering::Relaxed)
        });
        Some(LegacyTerms {
            accepts: now < sunset && !in_brownout,
            sunset: Some(sunset),
        })
    }

    fn set(&self, policy: Option<&LegacyPolicy>) {
        let (sunset, brownouts) = match policy {
            None => (UNSET, &[][..]),
            Some(LegacyPolicy::Off) => (OFF, &[][..]),
            Some(LegacyPolicy::Until { sunset, brownouts }) => {
                let sunset = EntryMeta::pack_time(*sunset).wrapping_add(FIRST);
                (sunset, &brownouts[..])
            }
        };
        if !brownouts.is_empty() {
            let room = self
                .brownouts
                .get_or_init(|| Box::new(core::array::from_fn(|_| [0; 2].map(AtomicU64::new))));
            for ([start, end], brownout) in room.iter().zip(brownouts) {
                start.store(EntryMeta::pack_time(brownout.start), Ordering::Relaxed);
                end.store(EntryMeta::pack_time(brownout.end), Ordering::Relaxed);
            }
        }
        self.brownouts_len
            .store(brownouts.len() as u64, Ordering::Relaxed);
        self.sunset.store(sunset, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use std::{
        sync::atomic::{AtomicBool, Ordering},
        thread,
    };

    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_unix(seconds)
    }

    #[test]
    fn a_cell_says_what_its_policy_says() {
        let cell = TermsCell::default();
        assert_eq!(cell.at(at(0)), None);
        let until = LegacyPolicy::until(at(100));
        let brownouts = until.clone().with_brownout(at(10), at(20)).unwrap();
        let brownouts = brownouts.with_brownout(at(15), at(30)).unwrap();
        let latest = LegacyPolicy::until(Timestamp::MAX);
        let earliest = LegacyPolicy::until(Timestamp::MIN);
        for policy in [LegacyPolicy::Off, brownouts, until, latest, earliest] {
            cell.set(Some(&policy));
            for now in [
                Timestamp::MIN,
                at(9),
                at(10),
                at(29),
                at(30),
                at(99),
                at(100),
            ] {
                let terms = cell.at(now).unwrap();
                assert_eq!(terms.accepts, policy.accepts(now), "{policy:?} at {now}");
                assert_eq!(terms.sunset, policy.sunset());
            }
        }
        cell.set(None);
        assert_eq!(cell.at(at(0)), None);
    }

    /// Every policy that is ever set accepts nothing at 50.
    #[test]
    fn a_reader_never_mixes_two_policies() {
        let early = LegacyPolicy::until(at(40));
        let mut late = LegacyPolicy::until(at(100));
        for start in 0..32 {
            late = late
                .with_brownout(at(start * 2), at(start * 2 + 2))
                .unwrap();
        }
        let cell = TermsCell::default();
        cell.set(Some(&early));
        let done = AtomicBool::new(false);
        thread::scope(|scope| {
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    let terms = cell.at(at(50)).unwrap();
                    assert!(!terms.accepts, "two policies are mixed");
                }
            });
            for _ in 0..200_000 {
                cell.set(Some(&late));
                cell.set(Some(&early));
            }
            done.store(true, Ordering::Relaxed);
        });
    }
}
