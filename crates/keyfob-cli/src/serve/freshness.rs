//! How old what is known is.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use axum::http::request::Parts;
use keyfob::Timestamp;
use keyfob_api::{Authenticate, Authentication, Unauthenticated};

/// How long ago the index was known to hold all that the store had. What is older than the bound
/// decides nothing: a revocation that the server has not heard of must not be passed over for long.
#[derive(Debug)]
pub(super) struct Freshness {
    bound: Duration,
    start: Instant,
    /// Milliseconds from the start to the last time that it was up to date, and one; zero for
    /// never.
    fresh_at: AtomicU64,
}

impl Freshness {
    pub(super) fn new(bound: Duration) -> Self {
        Self {
            bound,
            start: Instant::now(),
            fresh_at: AtomicU64::new(0),
        }
    }

    /// Everything that was in the store at `moment` is known.
    pub(super) fn mark(&self, moment: Instant) {
        let since = moment.saturating_duration_since(self.start).as_millis();
        let since = u64::try_from(since).unwrap_or(u64::MAX).saturating_add(1);
        self.fresh_at.fetch_max(since, Ordering::Release);
    }

    /// How old the index is; none before it was up to date once.
    pub(super) fn age(&self) -> Option<Duration> {
        let fresh_at = self.fresh_at.load(Ordering::Acquire).checked_sub(1)?;
        Some(
            self.start
                .elapsed()
                .saturating_sub(Duration::from_millis(fresh_at)),
        )
    }

    /// Whether the index may decide.
    pub(super) fn is_fresh(&self) -> bool {
        self.age().is_some_and(|age| age <= self.bound)
    }
}

/// Who calls the control plane, as long as the index may decide.
#[derive(Debug)]
pub(super) struct WhileFresh<A> {
    pub(super) authenticate: A,
    pub(super) freshness: Arc<Freshness>,
}

impl<A: Authenticate> Authenticate for WhileFresh<A> {
    fn authenticate<'a>(&'a self, request: &'a Parts, now: Timestamp) -> Authentication<'a> {
        if self.freshness.is_fresh() {
            return self.authenticate.authenticate(request, now);
        }
        Box::pin(std::future::ready(Err(Unauthenticated::Unavailable(
            "stale",
        ))))
    }
}

#[cfg(test)]
mod tests {
    use std::thread::sleep;

    use super::*;

    const MINUTE: Duration = Duration::from_mins(1);

    #[test]
    fn nothing_is_fresh_before_it_was_read_or_long_after() {
        let freshness = Freshness::new(MINUTE);
        assert!(!freshness.is_fresh());
        assert_eq!(freshness.age(), None);
        freshness.mark(Instant::now());
        assert!(freshness.is_fresh());

        let impatient = Freshness::new(Duration::from_millis(1));
        impatient.mark(Instant::now());
        sleep(Duration::from_millis(10));
        assert!(!impatient.is_fresh());
    }

    #[test]
    fn an_older_reading_makes_nothing_older() {
        let freshness = Freshness::new(MINUTE);
        let before = Instant::now();
        sleep(Duration::from_millis(50));
        freshness.mark(Instant::now());
        let age = freshness.age();
        freshness.mark(before);
        let later = freshness.age();
        assert!(
            later < age.map(|age| age + Duration::from_millis(40)),
            "{age:?} {later:?}"
        );
    }
}
