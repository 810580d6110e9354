//! Counting refused attempts.

use std::{
    collections::hash_map::RandomState,
    hash::{BuildHasher, Hash},
    net::{IpAddr, Ipv6Addr},
    num::NonZeroU32,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use keyfob::{Timestamp, key::CredentialId};

/// Limits refused attempts, by client address and by credential.
///
/// It is asked only about attempts that are refused anyway, so a valid credential always works. Its memory
/// is a table of fixed size: two clients whose hashes meet share an allowance.
#[derive(Debug)]
pub struct Throttle {
    /// The time at which each allowance is full again, in milliseconds of Unix time.
    slots: Box<[AtomicU64]>,
    /// Chosen at random, so that nobody can share another's slot on purpose.
    hasher: RandomState,
    /// The time in which one attempt is allowed again, in milliseconds.
    each: u64,
    burst: u64,
}

impl Throttle {
    /// Allows this number of refused attempts per minute.
    pub fn per_minute(attempts: NonZeroU32) -> Self {
        let burst = u64::from(attempts.get());
        Self {
            slots: (0..SLOTS).map(|_| AtomicU64::new(0)).collect(),
            hasher: RandomState::new(),
            each: (60_000 / burst).max(1),
            burst,
        }
    }

    /// Counts a refused attempt: by the client, if it is known, and by the credential that it
    /// named. Returns the time to wait if there were too many of either.
    pub(crate) fn count(
        &self,
        client: Option<IpAddr>,
        credential: Option<CredentialId>,
        now: Timestamp,
    ) -> Option<Duration> {
        let of_client = client.and_then(|client| self.take(&network(client), now));
        let of_credential = credential.and_then(|credential| self.take(&credential, now));
        of_client.max(of_credential)
    }

    /// Takes one of a key's allowance: the generic cell rate algorithm.
    fn take(&self, key: &impl Hash, now: Timestamp) -> Option<Duration> {
        let now = u64::try_from(now.as_unix())
            .unwrap_or(0)
            .saturating_mul(1_000);
        let hash = self.hasher.hash_one(key);
        let slot = usize::try_from(hash).unwrap_or(0) % SLOTS;
        let slot = self.slots.get(slot)?;
        let full = self.each.saturating_mul(self.burst);
        let taken = slot.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |at| {
            // Later than a whole allowance from now: the clock was set back.
            let at = if at > now.saturating_add(full) {
                now
            } else {
                at.max(now)
            };
            let next = at.saturating_add(self.each);
            (next <= now.saturating_add(full)).then_some(next)
        });
        let at = taken.err()?;
        let wait = at
            .saturating_add(self.each)
            .saturating_sub(now.saturating_add(full));
        Some(Duration::from_millis(wait.max(1)))
    }
}

/// A holder of IPv6 addresses has at least 2⁶⁴ of them, which count as one.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() >> 64 << 64)),
        v4 @ IpAddr::V4(_) => v4,
    }
}

/// The number of allowances: half a mebibyte.
const SLOTS: usize = 1 << 16;

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_unix(1_700_000_000 + seconds)
    }

    fn throttle(attempts: u32) -> Throttle {
        Throttle::per_minute(NonZeroU32::new(attempts).unwrap())
    }

    #[test]
    fn too_many_attempts_wait_and_others_do_not() {
        let throttle = throttle(3);
        let client: Option<IpAddr> = Some("192.0.2.1".parse().unwrap());
        for _ in 0..3 {
            assert_eq!(throttle.count(client, None, at(0)), None);
        }
        let wait = throttle.count(client, None, at(0)).unwrap();
        assert_eq!(wait, Duration::from_secs(20));
        // What is refused does not prolong the wait.
        assert_eq!(throttle.count(client, None, at(0)), Some(wait));
        assert_eq!(throttle.count(client, None, at(20)), None);
        let other = Some("192.0.2.2".parse().unwrap());
        assert_eq!(throttle.count(other, None, at(0)), None);
        assert_eq!(throttle.count(None, None, at(0)), None);
    }

    #[test]
    fn addresses_of_one_ipv6_network_share_an_allowance() {
        let throttle = throttle(1);
        let client = |text: &str| Some(text.parse().unwrap());
        assert_eq!(throttle.count(client("2001:db8::1"), None, at(0)), None);
        assert!(throttle.count(client("2001:db8::2"), None, at(0)).is_some());
        assert_eq!(throttle.count(client("2001:db8:0:1::1"), None, at(0)), None);
        assert_eq!(throttle.count(client("192.0.2.9"), None, at(0)), None);
        let mapped = client("::ffff:192.0.2.9");
        assert!(throttle.count(mapped, None, at(0)).is_some());
    }

    #[test]
    fn a_credential_is_counted_over_all_clients() {
        let throttle = throttle(2);
        let id = "key:d79e8aeb42e5476893c7d4c59a166264".parse().unwrap();
        for client in ["192.0.2.1", "192.0.2.2"] {
            let client = Some(client.parse().unwrap());
            assert_eq!(throttle.count(client, Some(id), at(0)), None);
        }
        let client = Some("192.0.2.3".parse().unwrap());
        assert!(throttle.count(client, Some(id), at(0)).is_some());
        assert_eq!(throttle.count(client, None, at(0)), None);
    }

    #[test]
    fn a_clock_that_was_set_back_does_not_lock_anybody_out() {
        let throttle = throttle(1);
        let client = Some("192.0.2.1".parse().unwrap());
        assert_eq!(throttle.count(client, None, at(100_000)), None);
        assert_eq!(throttle.count(client, None, at(0)), None);
    }

    #[test]
    fn memory_does_not_grow_with_the_number_of_clients() {
        let throttle = throttle(60);
        for n in 0..1_000_000_u32 {
            let client = IpAddr::V4(n.to_be_bytes().into());
            throttle.count(Some(client), None, at(0));
        }
        assert_eq!(throttle.slots.len() * size_of::<AtomicU64>(), 512 * 1024);
    }
}
