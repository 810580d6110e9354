//! Recording of usage by several threads.

use std::{
    sync::{
        Mutex, MutexGuard, PoisonError, TryLockError,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    thread_local,
};

use alloc::{boxed::Box, collections::BTreeMap, vec::Vec};

use crate::{
    credential_id::CredentialId,
    random::{Random, RandomError},
    timestamp::Timestamp,
    usage::{UsageBatch, UsageDelta, UsageOutcome, UsageSource, UsageTable, batch::hour},
};

/// A usage recorder for several threads. Verification records into it without allocation or
/// waiting; [`Keyring::flush_usage`](crate::Keyring::flush_usage) moves the usage to the store.
///
/// It is one [source](UsageSource) of [batches](UsageBatch), and keeps a batch until it is
/// confirmed: a batch whose outcome is unknown is sent again, and counted once.
///
/// A use counts for the hour in which it is moved out of the tables, by the next
/// [`UsageRecorder::batch`]: so at the end of an hour, the uses of at most one interval between two
/// calls count for the next hour. Call it as often if the store cannot be reached: what waits for the
/// store keeps its hour.
///
/// Each thread starts at its own table; with more threads than tables, several share one. If
/// the table is locked, the thread takes the next free one instead of waiting.
#[derive(Debug)]
pub struct UsageRecorder {
    stripes: Box<[Stripe]>,
    /// The number of lost uses.
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
    /// What comes after it, by hour.
    waiting: BTreeMap<Timestamp, Uses>,
}

/// Uses by credential and outcome.
type Uses = BTreeMap<(CredentialId, UsageOutcome), UsageDelta>;

impl Outbox {
    /// Adds the uses of an hour, and returns how many there was no room for.
    fn put(&mut self, at: Timestamp, deltas: Vec<UsageDelta>) -> u64 {
        let mut room = WAITING_MAX.saturating_sub(self.waiting.values().map(BTreeMap::len).sum());
        let mut lost: u64 = 0;
        if deltas.is_empty() {
            return lost;
        }
        let uses = self.waiting.entry(hour(at)).or_default();
        for delta in deltas {
            let place = (delta.credential, delta.outcome);
            if let Some(known) = uses.get_mut(&place) {
                known.merge(&delta);
            } else if room > 0 {
                room = room.saturating_sub(1);
                uses.insert(place, delta);
            } else {
                lost = lost.saturating_add(delta.count);
            }
        }
        lost
    }
}

/// A table aligned so that no two share a cache line.
#[derive(Debug)]
#[repr(align(128))]
struct Stripe(Mutex<UsageTable>);

impl UsageRecorder {
    /// Creates a recorder with two tables per available core, each with room for `capacity`
    /// credentials between two batches.
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

    /// Adds uses.
    pub fn record(&self, delta: &UsageDelta) {
        let first = this_thread();
        for step in 0..self.stripes.len() {
            let at = first
                .wrapping_add(step)
                .checked_rem(self.stripes.len())
                .unwrap_or_default();
            if let Some(mut table) = self.stripes.get(at).and_then(try_lock) {
                return table.record(delta);
            }
        }
        self.add_lost(delta.count);
    }

    fn add_lost(&self, uses: u64) {
        self.lost.fetch_add(uses, Ordering::Relaxed);
    }

    /// Moves all usage out of the tables, and returns the batch to send next: the last one,
    /// unchanged, until [`UsageRecorder::confirm`] is called for it, then one of the earliest hour
    /// that is left. `None` if there is no usage.
    ///
    /// `random` is used once, for the recorder's [`UsageSource`].
    ///
    /// # Errors
    ///
    /// The random source failed; the usage stays in the recorder.
    pub fn batch(
        &self,
        random: &dyn Random,
        now: impl Into<Timestamp>,
    ) -> Result<Option<UsageBatch>, RandomError> {
        let mut outbox = self.outbox();
        let lost = outbox.put(now.into(), self.empty_tables());
        self.add_lost(lost);
        if outbox.pending.is_none() {
            let source = match outbox.source {
                Some(source) => source,
                None => *outbox.source.insert(UsageSource::random(random)?),
            };
            if let Some((hour, uses)) = outbox.waiting.pop_first() {
                outbox.sequence = outbox.sequence.saturating_add(1);
                outbox.pending = Some(UsageBatch {
                    source,
                    sequence: outbox.sequence,
                    hour,
                    usage: uses.into_values().collect(),
                });
            }
        }
        Ok(outbox.pending.clone())
    }

    /// Whether there is a batch that is not confirmed.
    pub fn has_unconfirmed(&self) -> bool {
        self.outbox().pending.is_some()
    }

    /// The number of batches that are known so far: the one that is not confirmed, and one for each
    /// hour that waits. The uses in the tables come in addition.
    pub fn waiting(&self) -> usize {
        let outbox = self.outbox();
        let pending = usize::from(outbox.pending.is_some());
        pending.saturating_add(outbox.waiting.len())
    }

    /// Forgets a batch that the store has recorded, by its number. Another number is ignored:
    /// the batch was confirmed before.
    pub fn confirm(&self, sequence: u64) {
        let pending = &mut self.outbox().pending;
        pending.take_if(|batch| batch.sequence == sequence);
    }

    /// Returns the number of lost uses since the last call, of those that tables had no room for
    /// only those before the last [batch](UsageRecorder::batch).
    pub fn take_lost(&self) -> u64 {
        self.lost.swap(0, Ordering::Relaxed)
    }

    /// Empties the recorder, and returns its uses by credential and outcome, and the number of lost
    /// uses. It does not return a [batch](UsageRecorder::batch) that is not confirmed.
    pub fn drain(&self) -> (Vec<UsageDelta>, u64) {
        let mut outbox = self.outbox();
        let mut merged = Uses::new();
        let waiting = core::mem::take(&mut outbox.waiting).into_values();
        let deltas = waiting.flat_map(BTreeMap::into_values);
        for delta in deltas.chain(self.empty_tables()) {
            merged
                .entry((delta.credential, delta.outcome))
                .and_modify(|known| known.merge(&delta))
                .or_insert(delta);
        }
        (merged.into_values().collect(), self.take_lost())
    }

    /// Empties the tables. What they had no room for is counted as lost.
    fn empty_tables(&self) -> Vec<UsageDelta> {
        let mut all = Vec::new();
        for stripe in &self.stripes {
            let mut table = stripe.0.lock().unwrap_or_else(PoisonError::into_inner);
            let (deltas, lost) = table.drain();
            drop(table);
            self.add_lost(lost);
            all.extend(deltas);
        }
        all
    }

    fn outbox(&self) -> MutexGuard<'_, Outbox> {
        self.outbox.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How many credentials and outcomes wait for the store: as many as take about 100 MB. While the
/// store cannot be reached, uses beyond this are lost.
const WAITING_MAX: usize = 1 << 20;

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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{key_id::KeyId, random::SystemRandom};

    fn credential(n: u8) -> CredentialId {
        CredentialId::Key(KeyId::from_bytes([n; 16]))
    }

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_unix(seconds)
    }

    #[test]
    fn counts_of_concurrent_threads_are_kept_or_reported_as_lost() {
        let recorder = UsageRecorder::with_stripes(64, 2);
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for n in 0..10_000u32 {
                        let n = u8::try_from(n % 50).unwrap();
                        recorder.record(&UsageDelta::accepted(credential(n), at(n.into())));
                    }
                });
            }
        });
        let (deltas, lost) = recorder.drain();
        let kept: u64 = deltas.iter().map(|delta| delta.count).sum();
        assert_eq!(deltas.len(), 50);
        assert_eq!(kept + lost, 80_000);
    }

    #[test]
    fn a_batch_is_the_same_until_it_is_confirmed() {
        let recorder = UsageRecorder::with_stripes(4, 1);
        let next = || recorder.batch(&SystemRandom, at(0)).unwrap();
        assert_eq!(next(), None);
        recorder.record(&UsageDelta::accepted(credential(1), at(0)));
        let first = next().unwrap();
        assert_eq!((first.sequence, first.usage.len()), (1, 1));
        for n in 2..20 {
            recorder.record(&UsageDelta::refused(credential(n), UsageOutcome::Expired));
        }
        assert_eq!(next().as_ref(), Some(&first));
        let lost = recorder.take_lost();
        assert!(lost > 0, "the table was full");
        recorder.confirm(first.sequence + 1);
        assert_eq!(next().as_ref(), Some(&first));
        recorder.confirm(first.sequence);
        let second = next().unwrap();
        assert_eq!((second.source, second.sequence), (first.source, 2));
        assert_eq!(second.usage.len() as u64 + lost, 18);
        recorder.confirm(first.sequence);
        assert_eq!(next().as_ref(), Some(&second), "confirmed late");
        recorder.confirm(second.sequence);
        assert_eq!(next(), None);
    }

    #[test]
    fn what_waits_for_the_store_keeps_its_hour() {
        let recorder = UsageRecorder::with_stripes(4, 1);
        let used_at = |seconds| {
            recorder.record(&UsageDelta::accepted(credential(1), at(seconds)));
            recorder.batch(&SystemRandom, at(seconds)).unwrap().unwrap()
        };
        // The store does not answer for hours.
        let first = used_at(3_599);
        for seconds in [3_600, 7_199, 7_200, 90_000] {
            assert_eq!(used_at(seconds), first);
        }
        assert_eq!(recorder.waiting(), 4);
        let mut batches = Vec::new();
        while let Some(batch) = recorder.batch(&SystemRandom, at(90_000)).unwrap() {
            recorder.confirm(batch.sequence);
            let count: u64 = batch.usage.iter().map(|delta| delta.count).sum();
            batches.push((batch.sequence, batch.hour.as_unix(), count));
        }
        let expected = [(1, 0, 1), (2, 3_600, 2), (3, 7_200, 1), (4, 90_000, 1)];
        assert_eq!(batches, expected);
        assert_eq!(recorder.waiting(), 0);
    }

    #[test]
    fn what_waits_for_the_store_is_bounded() {
        let mut outbox = Outbox::default();
        let delta = |n: u32| {
            let id = KeyId::from_bytes(u128::from(n).to_be_bytes());
            UsageDelta::accepted(CredentialId::Key(id), at(0))
        };
        let many = 1_u32 << 19;
        for hour in 0..3 {
            let lost = outbox.put(at(hour * 3_600), (0..many).map(delta).collect());
            assert_eq!(lost, if hour < 2 { 0 } else { u64::from(many) });
        }
        assert_eq!(outbox.put(at(0), [delta(0)].to_vec()), 0, "known");
    }
}
