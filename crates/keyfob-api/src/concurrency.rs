//! How much one caller has under way at once: requests whose answer was not sent to its end.

use std::{
    collections::HashMap,
    hash::Hash,
    num::NonZeroUsize,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
};

use axum::{
    body::{Body, Bytes},
    response::Response,
};
use http_body::{Body as HttpBody, Frame, SizeHint};

/// Counts requests under way by key.
#[derive(Debug)]
pub(crate) struct UnderWay<K: Eq + Hash> {
    counts: Arc<Mutex<HashMap<K, usize>>>,
    most: NonZeroUsize,
}

impl<K: Eq + Hash + Clone + Send + 'static> UnderWay<K> {
    pub(crate) fn new(most: NonZeroUsize) -> Self {
        Self {
            counts: Arc::default(),
            most,
        }
    }

    /// Counts one more request, until the result is dropped; `None` if there are as many as
    /// allowed.
    pub(crate) fn enter(&self, key: K) -> Option<Place<K>> {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let count = counts.entry(key.clone()).or_default();
        if *count >= self.most.get() {
            return None;
        }
        *count += 1;
        drop(counts);
        Some(Place {
            counts: Arc::clone(&self.counts),
            key,
        })
    }
}

/// A request that is counted until this is dropped.
#[derive(Debug)]
pub(crate) struct Place<K: Eq + Hash> {
    counts: Arc<Mutex<HashMap<K, usize>>>,
    key: K,
}

impl<K: Eq + Hash + Unpin + Send + 'static> Place<K> {
    /// Counts the request until its answer was sent to its end, or its connection is gone.
    pub(crate) fn hold_for(self, response: Response) -> Response {
        response.map(|body| {
            if body.is_end_stream() {
                return body;
            }
            Body::new(Held { body, _place: self })
        })
    }
}

impl<K: Eq + Hash> Drop for Place<K> {
    fn drop(&mut self) {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = counts.get_mut(&self.key) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.key);
            }
        }
    }
}

/// The body of an answer, with its place.
struct Held<P> {
    body: Body,
    _place: P,
}

impl<P: Unpin> HttpBody for Held<P> {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_come_back_and_nothing_is_kept_of_callers_without_requests() {
        let under_way = UnderWay::new(NonZeroUsize::new(2).unwrap());
        let first = under_way.enter(1).unwrap();
        let second = under_way.enter(1).unwrap();
        assert!(under_way.enter(1).is_none());
        let other = under_way.enter(2).unwrap();
        drop(first);
        let third = under_way.enter(1).unwrap();
        assert!(under_way.enter(1).is_none());
        drop((second, third, other));
        assert!(under_way.counts.lock().unwrap().is_empty());
    }
}
