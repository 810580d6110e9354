//! Counting the use of credentials without a write per request.

mod batch;

pub use batch::{UsageBatch, UsageSource, UsageSourceError};

use alloc::{boxed::Box, vec::Vec};

use crate::{credential_id::CredentialId, timestamp::Timestamp};

/// The usage of a credential.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Usage {
    /// The credential.
    pub credential: CredentialId,
    /// The time of the last accepted use, rounded down to the minute; `None` if no use was
    /// accepted.
    pub last_used: Option<Timestamp>,
    /// The number of accepted uses.
    pub accepted: u64,
    /// The number of uses that were refused although the secret was correct, because the key was
    /// expired or revoked, of another namespace or the like.
    pub refused: u64,
}

impl Usage {
    /// Creates the usage of one accepted use.
    pub fn accepted(credential: CredentialId, now: Timestamp) -> Self {
        Self {
            credential,
            last_used: Some(minute(now)),
            accepted: 1,
            refused: 0,
        }
    }

    /// Creates the usage of one refused use. It does not set `last_used`.
    pub fn refused(credential: CredentialId) -> Self {
        Self {
            credential,
            last_used: None,
            accepted: 0,
            refused: 1,
        }
    }

    /// Adds other usage of the same credential: counts are added, `last_used` is the later of the
    /// two.
    pub fn merge(&mut self, other: &Self) {
        self.last_used = self.last_used.max(other.last_used);
        self.accepted = self.accepted.saturating_add(other.accepted);
        self.refused = self.refused.saturating_add(other.refused);
    }
}

/// Rounds a moment down to the minute.
fn minute(now: Timestamp) -> Timestamp {
    let seconds = now.as_unix();
    Timestamp::from_unix(seconds.saturating_sub(seconds.rem_euclid(60)))
}

/// A usage table of fixed size for one thread; recording does not allocate.
///
/// [`UsageRecorder`] is the version for several threads.
#[derive(Debug)]
pub struct UsageTable {
    /// Open addressing with linear probing; the size is a power of two.
    slots: Box<[Option<Usage>]>,
    len: usize,
    /// The number of uses that found no room.
    lost: u64,
}

impl UsageTable {
    /// Creates a table with room for `capacity` credentials, at least one.
    pub fn new(capacity: usize) -> Self {
        // At most three quarters full.
        let slots = capacity
            .max(1)
            .saturating_add(capacity / 3)
            .saturating_add(1)
            .next_power_of_two();
        Self {
            slots: (0..slots).map(|_| None).collect(),
            len: 0,
            lost: 0,
        }
    }

    /// Adds usage.
    ///
    /// If the table is full and does not have the credential, the uses are counted as lost.
    pub fn record(&mut self, usage: &Usage) {
        let mask = self.slots.len().wrapping_sub(1);
        let mut at = spread(usage.credential);
        let full = self.len >= self.slots.len().wrapping_sub(self.slots.len() / 4).max(1);
        for _ in 0..self.slots.len() {
            match self.slots.get_mut(at & mask) {
                Some(Some(known)) if known.credential == usage.credential => {
                    return known.merge(usage);
                }
                Some(free @ None) if !full => {
                    *free = Some(usage.clone());
                    self.len = self.len.wrapping_add(1);
                    return;
                }
                Some(Some(_)) => at = at.wrapping_add(1),
                _ => break,
            }
        }
        let uses = usage.accepted.saturating_add(usage.refused);
        self.lost = self.lost.saturating_add(uses);
    }

    /// Empties the table, and returns its usage and the number of lost uses.
    pub fn drain(&mut self) -> (Vec<Usage>, u64) {
        self.len = 0;
        let usage = self.slots.iter_mut().filter_map(Option::take).collect();
        (usage, core::mem::take(&mut self.lost))
    }
}

/// The first slot to probe. Identifiers are random or assigned by an operator, so a keyed hash is
/// not needed.
fn spread(credential: CredentialId) -> usize {
    let (high, low) = match credential {
        CredentialId::Key(id) => id.halves(),
        CredentialId::Legacy(id) => id.halves(),
    };
    let mixed = (high ^ low.rotate_left(32)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    usize::try_from(mixed >> 32).unwrap_or_default()
}

#[cfg(feature = "std")]
pub use recorder::UsageRecorder;

#[cfg(feature = "std")]
mod recorder {
    use std::{
        sync::{
            Mutex, MutexGuard, PoisonError, TryLockError,
            atomic::{AtomicU64, AtomicUsize, Ordering},
        },
        thread_local,
    };

    use alloc::{boxed::Box, vec::Vec};

    use super::{Usage, UsageBatch, UsageSource, UsageTable};
    use crate::random::{Random, RandomError};

    /// A usage recorder for several threads. Verification records into it without allocation or
    /// waiting; [`Keyring::flush_usage`](crate::Keyring::flush_usage) moves the usage to the store.
    ///
    /// It is one [source](UsageSource) of [batches](UsageBatch), and keeps a batch until it is
    /// confirmed: a batch whose outcome is unknown is sent again, and counted once.
    ///
    /// Each thread starts at its own table; with more threads than tables, several share one. If
    /// the table is locked, the thread takes the next free one instead of waiting.
    #[derive(Debug)]
    pub struct UsageRecorder {
        stripes: Box<[Stripe]>,
        /// The number of uses that found every table locked.
        lost: AtomicU64,
        outbox: Mutex<Outbox>,
    }

    /// What is on its way to the store.
    #[derive(Debug, Default)]
    struct Outbox {
        /// Chosen with the first batch.
        source: Option<UsageSource>,
        /// The number of the last batch.
        sequence: u64,
        /// The last batch, until it is confirmed.
        pending: Option<UsageBatch>,
    }

    /// A table aligned so that no two share a cache line.
    #[derive(Debug)]
    #[repr(align(128))]
    struct Stripe(Mutex<UsageTable>);

    impl UsageRecorder {
        /// Creates a recorder with two tables per available core, each with room for `capacity`
        /// credentials between two drains.
        pub fn new(capacity: usize) -> Self {
            let threads = std::thread::available_parallelism().map_or(4, usize::from);
            Self::with_stripes(capacity, threads.saturating_mul(2))
        }

        /// Creates a recorder with this number of tables.
        pub fn with_stripes(capacity: usize, stripes: usize) -> Self {
            Self {
                stripes: (0..stripes.max(1))
                    .map(|_| Stripe(Mutex::new(UsageTable::new(capacity))))
                    .collect(),
                lost: AtomicU64::new(0),
                outbox: Mutex::default(),
            }
        }

        /// Adds usage.
        pub fn record(&self, usage: &Usage) {
            let first = this_thread();
            for step in 0..self.stripes.len() {
                let at = first
                    .wrapping_add(step)
                    .checked_rem(self.stripes.len())
                    .unwrap_or_default();
                if let Some(mut table) = self.stripes.get(at).and_then(try_lock) {
                    return table.record(usage);
                }
            }
            self.add_lost(usage.accepted.saturating_add(usage.refused));
        }

        fn add_lost(&self, uses: u64) {
            self.lost.fetch_add(uses, Ordering::Relaxed);
        }

        /// Returns the batch to send next: the last one, unchanged, until
        /// [`UsageRecorder::confirm`] is called for it, then a new one of all usage since. `None` if
        /// there is no usage.
        ///
        /// `random` is used once, for the recorder's [`UsageSource`].
        ///
        /// # Errors
        ///
        /// The random source failed; the usage stays in the recorder.
        pub fn batch(&self, random: &dyn Random) -> Result<Option<UsageBatch>, RandomError> {
            let mut outbox = self.outbox.lock().unwrap_or_else(PoisonError::into_inner);
            if outbox.pending.is_none() {
                let source = match outbox.source {
                    Some(source) => source,
                    None => *outbox.source.insert(UsageSource::random(random)?),
                };
                let (usage, lost) = self.drain();
                self.add_lost(lost);
                if !usage.is_empty() {
                    outbox.sequence = outbox.sequence.saturating_add(1);
                    outbox.pending = Some(UsageBatch {
                        source,
                        sequence: outbox.sequence,
                        usage,
                    });
                }
            }
            Ok(outbox.pending.clone())
        }

        /// Whether there is a batch that is not confirmed.
        pub fn has_unconfirmed(&self) -> bool {
            let outbox = self.outbox.lock().unwrap_or_else(PoisonError::into_inner);
            outbox.pending.is_some()
        }

        /// Forgets a batch that the store has recorded, by its number. Another number is ignored:
        /// the batch was confirmed before.
        pub fn confirm(&self, sequence: u64) {
            let mut outbox = self.outbox.lock().unwrap_or_else(PoisonError::into_inner);
            outbox.pending.take_if(|batch| batch.sequence == sequence);
        }

        /// Returns the number of lost uses since the last call, of those that tables had no room for
        /// only those before the last [batch](UsageRecorder::batch).
        pub fn take_lost(&self) -> u64 {
            self.lost.swap(0, Ordering::Relaxed)
        }

        /// Empties all tables, and returns their usage merged by credential and the number of lost
        /// uses. It does not return a [batch](UsageRecorder::batch) that is not confirmed.
        pub fn drain(&self) -> (Vec<Usage>, u64) {
            let mut lost = self.lost.swap(0, Ordering::Relaxed);
            let mut merged = alloc::collections::BTreeMap::new();
            for stripe in &self.stripes {
                let mut table = stripe.0.lock().unwrap_or_else(PoisonError::into_inner);
                let (usage, without_room) = table.drain();
                drop(table);
                lost = lost.saturating_add(without_room);
                for usage in usage {
                    merged
                        .entry(usage.credential)
                        .and_modify(|known: &mut Usage| known.merge(&usage))
                        .or_insert(usage);
                }
            }
            (merged.into_values().collect(), lost)
        }
    }

    fn try_lock(stripe: &Stripe) -> Option<MutexGuard<'_, UsageTable>> {
        match stripe.0.try_lock() {
            Ok(table) => Some(table),
            Err(TryLockError::Poisoned(table)) => Some(table.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        }
    }

    /// The unique number of this thread.
    fn this_thread() -> usize {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        thread_local! {
            static OWN: usize = NEXT.fetch_add(1, Ordering::Relaxed);
        }
        OWN.try_with(|own| *own).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key_id::KeyId;

    fn credential(n: u8) -> CredentialId {
        CredentialId::Key(KeyId::from_bytes([n; 16]))
    }

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_unix(seconds)
    }

    #[test]
    fn last_use_is_rounded_to_the_minute_and_never_moves_back() {
        let mut usage = Usage::accepted(credential(1), at(119));
        assert_eq!(usage.last_used, Some(at(60)));
        usage.merge(&Usage::accepted(credential(1), at(30)));
        assert_eq!(usage.last_used, Some(at(60)));
        usage.merge(&Usage::refused(credential(1)));
        assert_eq!(usage.last_used, Some(at(60)));
        assert_eq!((usage.accepted, usage.refused), (2, 1));
        usage.merge(&Usage::accepted(credential(1), at(120)));
        assert_eq!(usage.last_used, Some(at(120)));
    }

    #[test]
    fn a_refused_call_does_not_change_the_last_use() {
        assert_eq!(Usage::refused(credential(1)).last_used, None);
    }

    #[test]
    fn a_full_table_reports_what_it_lost() {
        let mut table = UsageTable::new(10);
        for n in 0..=255 {
            table.record(&Usage::accepted(credential(n), at(0)));
            table.record(&Usage::refused(credential(n)));
        }
        let (usage, lost) = table.drain();
        assert!(usage.len() >= 10 && usage.len() < 256);
        let kept: u64 = usage
            .iter()
            .map(|usage| usage.accepted + usage.refused)
            .sum();
        assert_eq!(kept + lost, 512);
        assert_eq!(table.drain(), (Vec::new(), 0));
    }

    #[test]
    fn a_table_holds_as_many_credentials_as_its_capacity() {
        for capacity in 0..100u8 {
            let mut table = UsageTable::new(capacity.into());
            for n in 0..capacity {
                table.record(&Usage::accepted(credential(n), at(0)));
            }
            let (usage, lost) = table.drain();
            assert_eq!((usage.len(), lost), (capacity.into(), 0));
        }
    }

    #[cfg(feature = "std")]
    #[test]
    fn counts_of_concurrent_threads_are_kept_or_reported_as_lost() {
        let recorder = UsageRecorder::with_stripes(64, 2);
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for n in 0..10_000u32 {
                        let n = u8::try_from(n % 50).unwrap();
                        recorder.record(&Usage::accepted(credential(n), at(n.into())));
                    }
                });
            }
        });
        let (usage, lost) = recorder.drain();
        let kept: u64 = usage.iter().map(|usage| usage.accepted).sum();
        assert_eq!(usage.len(), 50);
        assert_eq!(kept + lost, 80_000);
    }

    #[cfg(feature = "std")]
    #[test]
    fn a_batch_is_the_same_until_it_is_confirmed() {
        let random = crate::random::SystemRandom;
        let recorder = UsageRecorder::with_stripes(4, 1);
        let next = || recorder.batch(&random).unwrap();
        assert_eq!(next(), None);
        recorder.record(&Usage::accepted(credential(1), at(0)));
        let first = next().unwrap();
        assert_eq!((first.sequence, first.usage.len()), (1, 1));
        for n in 2..20 {
            recorder.record(&Usage::refused(credential(n)));
        }
        assert_eq!(next().as_ref(), Some(&first));
        assert_eq!(recorder.take_lost(), 0, "of the new usage");
        recorder.confirm(first.sequence + 1);
        assert_eq!(next().as_ref(), Some(&first));
        recorder.confirm(first.sequence);
        let second = next().unwrap();
        assert_eq!((second.source, second.sequence), (first.source, 2));
        assert_eq!(second.usage.len() as u64 + recorder.take_lost(), 18);
        recorder.confirm(first.sequence);
        assert_eq!(next().as_ref(), Some(&second), "confirmed late");
        recorder.confirm(second.sequence);
        assert_eq!(next(), None);
    }
}
