//! Trying again a little later, each time a little longer.

use std::{
    hash::{BuildHasher, RandomState},
    time::Duration,
};

/// Waits between tries: twice as long each time, and by chance between half of it and all, so that
/// those who failed together do not try together.
#[derive(Debug)]
pub(crate) struct Backoff {
    next: Duration,
    most: Duration,
}

impl Backoff {
    pub(crate) fn new(first: Duration, most: Duration) -> Self {
        Self { next: first, most }
    }

    pub(crate) async fn wait(&mut self) {
        let step = self.step();
        tokio::time::sleep(step).await;
    }

    fn step(&mut self) -> Duration {
        let whole = self.next;
        self.next = whole.saturating_mul(2).min(self.most);
        let chance = RandomState::new().hash_one(0u8) % 1024;
        let chance = u32::try_from(chance).unwrap_or_default();
        whole / 2 + whole / 2 * chance / 1024
    }
}

/// Of what may well succeed a moment later: ten milliseconds, twenty and so on.
impl Default for Backoff {
    fn default() -> Self {
        Self::new(Duration::from_millis(10), Duration::from_millis(500))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_up_to_a_bound_and_are_never_nothing() {
        let mut backoff = Backoff::new(Duration::from_millis(10), Duration::from_millis(100));
        let steps: Vec<u128> = (0..8).map(|_| backoff.step().as_millis()).collect();
        for (step, whole) in steps.iter().zip([10, 20, 40, 80, 100, 100, 100, 100]) {
            assert!((whole / 2..=whole).contains(step), "{steps:?}");
        }
    }

    #[test]
    fn two_do_not_wait_alike() {
        let steps = |_| Backoff::new(Duration::from_mins(1), Duration::MAX).step();
        let steps: std::collections::BTreeSet<_> = (0..20).map(steps).collect();
        assert!(steps.len() > 5, "{steps:?}");
    }
}
