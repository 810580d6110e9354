//! Counts requests by caller, and failed attempts by network address.

use std::{
    hash::Hash,
    net::{IpAddr, Ipv6Addr, SocketAddr},
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use axum::{
    extract::{ConnectInfo, FromRequestParts},
    http::{Extensions, HeaderMap, HeaderName, HeaderValue, request::Parts},
};
use governor::{
    NotUntil, RateLimiter,
    clock::{Clock, DefaultClock, QuantaInstant},
    middleware::StateInformationMiddleware,
    state::keyed::DashMapStateStore,
};
use keyfob::Timestamp;

use crate::limits::Quota;

/// One token bucket for each key. The time is that of the machine's monotonic clock.
#[derive(Debug)]
pub(crate) struct Rate<K: Hash + Eq + Clone> {
    limiter: RateLimiter<K, DashMapStateStore<K>, DefaultClock, StateInformationMiddleware>,
    quota: Quota,
    since_swept: AtomicU32,
}

impl<K: Hash + Eq + Clone> Rate<K> {
    /// After so many checks, buckets that are full again are dropped.
    const SWEEP: u32 = 16_384;

    pub(crate) fn new(quota: Quota) -> Self {
        let bucket = governor::Quota::with_period(quota.replenishing())
            .unwrap_or(governor::Quota::per_second(quota.requests))
            .allow_burst(quota.requests);
        Self {
            limiter: RateLimiter::dashmap(bucket).with_middleware(),
            quota,
            since_swept: AtomicU32::new(0),
        }
    }

    /// Takes one token: what is left, or, if there was none, the wait until there is one.
    pub(crate) fn take(&self, key: &K) -> Result<Allowance, (Allowance, Duration)> {
        if self.since_swept.fetch_add(1, Ordering::Relaxed) == Self::SWEEP {
            self.since_swept.store(0, Ordering::Relaxed);
            self.limiter.retain_recent();
        }
        match self.limiter.check_key(key) {
            Ok(left) => Ok(self.allowance(left.remaining_burst_capacity())),
            Err(refused) => Err((self.allowance(0), self.wait(&refused))),
        }
    }

    /// The allowance of a full bucket.
    pub(crate) fn untouched(&self) -> Allowance {
        self.allowance(self.quota.requests.get())
    }

    fn wait(&self, refused: &NotUntil<QuantaInstant>) -> Duration {
        refused.wait_time_from(self.limiter.clock().now())
    }

    fn allowance(&self, remaining: u32) -> Allowance {
        let limit = self.quota.requests.get();
        Allowance {
            limit,
            remaining,
            full_in: self.quota.replenishing() * limit.saturating_sub(remaining),
        }
    }
}

/// What is left, as the headers of every answer say it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Allowance {
    limit: u32,
    remaining: u32,
    full_in: Duration,
}

impl Allowance {
    pub(crate) fn write(self, headers: &mut HeaderMap, now: Timestamp) {
        let seconds = round_up(self.full_in);
        for (name, value) in [
            (LIMIT, u64::from(self.limit)),
            (REMAINING, u64::from(self.remaining)),
            (RESET, now.plus_seconds(seconds).as_unix().unsigned_abs()),
        ] {
            headers.insert(name, HeaderValue::from(value));
        }
    }
}

pub(crate) const LIMIT: HeaderName = HeaderName::from_static("ratelimit-limit");
pub(crate) const REMAINING: HeaderName = HeaderName::from_static("ratelimit-remaining");
pub(crate) const RESET: HeaderName = HeaderName::from_static("ratelimit-reset");

pub(crate) fn round_up(duration: Duration) -> u64 {
    duration
        .as_secs()
        .saturating_add(u64::from(duration.subsec_nanos() > 0))
}

/// Where a request comes from, if that is known: an IPv4 address, or an IPv6 network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Source {
    Unknown,
    Network(IpAddr),
}

impl Source {
    pub(crate) fn of(extensions: &Extensions) -> Self {
        match extensions.get::<ConnectInfo<SocketAddr>>() {
            Some(ConnectInfo(address)) => Self::Network(network(address.ip())),
            None => Self::Unknown,
        }
    }
}

impl<S: Sync> FromRequestParts<S> for Source {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Self::Rejection> {
        Ok(Self::of(&parts.extensions))
    }
}

/// A holder of IPv6 addresses has at least 2⁶⁴ of them, which count as one.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            let bits = address.to_bits() >> 64 << 64;
            IpAddr::V6(Ipv6Addr::from_bits(bits))
        }
        v4 @ IpAddr::V4(_) => v4,
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use super::*;

    #[test]
    fn an_empty_bucket_does_not_affect_others() {
        let quota = Quota::new(NonZeroU32::new(3).unwrap(), Duration::from_mins(50));
        let rate = Rate::new(quota);
        let left: Vec<u32> = (0..3).map(|_| rate.take(&1).unwrap().remaining).collect();
        assert_eq!(left, [2, 1, 0]);
        let (allowance, wait) = rate.take(&1).unwrap_err();
        assert_eq!((allowance.limit, allowance.remaining), (3, 0));
        assert_eq!(round_up(allowance.full_in), 3_000);
        assert_eq!(round_up(wait), 1_000);
        assert_eq!(rate.take(&2).unwrap().remaining, 2);
    }

    #[test]
    fn a_network_of_ipv6_is_one_source() {
        let source = |text: &str| network(text.parse().unwrap());
        assert_eq!(source("2001:db8::1"), source("2001:db8::ffff:0:0:2"));
        assert_ne!(source("2001:db8::1"), source("2001:db8:0:1::1"));
        assert_eq!(source("::ffff:192.0.2.1"), source("192.0.2.1"));
        assert_ne!(source("192.0.2.2"), source("192.0.2.1"));
    }
}
