//! A table of uses for one thread.

use alloc::{boxed::Box, vec::Vec};

use crate::{credential_id::CredentialId, usage::UsageDelta};

/// A usage table of fixed size for one thread; recording does not allocate.
///
/// `UsageRecorder` is the version for several threads.
#[derive(Debug)]
pub struct UsageTable {
    /// Open addressing with linear probing; the size is a power of two.
    slots: Box<[Option<UsageDelta>]>,
    len: usize,
    /// The number of uses that found no room.
    lost: u64,
}

impl UsageTable {
    /// Creates a table with room for `capacity` credentials with one outcome each, at least one.
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

    /// Adds uses.
    ///
    /// If the table is full and has none of the credential with this outcome, the uses are counted as
    /// lost.
    pub fn record(&mut self, delta: &UsageDelta) {
        let mask = self.slots.len().wrapping_sub(1);
        let mut at = spread(delta.credential);
        let full = self.len >= self.slots.len().wrapping_sub(self.slots.len() / 4).max(1);
        for _ in 0..self.slots.len() {
            match self.slots.get_mut(at & mask) {
                Some(Some(known)) if known.is_like(delta) => {
                    return known.merge(delta);
                }
                Some(free @ None) if !full => {
                    *free = Some(delta.clone());
                    self.len = self.len.wrapping_add(1);
                    return;
                }
                Some(Some(_)) => at = at.wrapping_add(1),
                _ => break,
            }
        }
        self.lost = self.lost.saturating_add(delta.count);
    }

    /// Empties the table, and returns its contents and the number of lost uses.
    pub fn drain(&mut self) -> (Vec<UsageDelta>, u64) {
        if self.len == 0 {
            return (Vec::new(), core::mem::take(&mut self.lost));
        }
        self.len = 0;
        let deltas = self.slots.iter_mut().filter_map(Option::take).collect();
        (deltas, core::mem::take(&mut self.lost))
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{key_id::KeyId, timestamp::Timestamp, usage::UsageOutcome};

    fn credential(n: u8) -> CredentialId {
        CredentialId::Key(KeyId::from_bytes([n; 16]))
    }

    #[test]
    fn uses_are_counted_by_credential_and_outcome() {
        let mut table = UsageTable::new(8);
        for outcome in UsageOutcome::ALL {
            for _ in 0..=outcome as usize {
                table.record(&UsageDelta::refused(credential(1), outcome));
            }
        }
        let (mut deltas, lost) = table.drain();
        deltas.sort_by_key(|delta| delta.outcome);
        let counts: Vec<u64> = deltas.iter().map(|delta| delta.count).collect();
        assert_eq!((counts, lost), ((1..=10).collect(), 0));
    }

    #[test]
    fn a_full_table_reports_what_it_lost() {
        let mut table = UsageTable::new(10);
        for n in 0..=255 {
            table.record(&UsageDelta::accepted(credential(n), Timestamp::UNIX_EPOCH));
            table.record(&UsageDelta::refused(credential(n), UsageOutcome::Expired));
        }
        let (deltas, lost) = table.drain();
        assert!(deltas.len() >= 10 && deltas.len() < 512);
        let kept: u64 = deltas.iter().map(|delta| delta.count).sum();
        assert_eq!(kept + lost, 512);
        assert_eq!(table.drain(), (Vec::new(), 0));
    }

    #[test]
    fn a_table_holds_as_many_credentials_as_its_capacity() {
        for capacity in 0..100u8 {
            let mut table = UsageTable::new(capacity.into());
            for n in 0..capacity {
                table.record(&UsageDelta::accepted(credential(n), Timestamp::UNIX_EPOCH));
            }
            let (deltas, lost) = table.drain();
            assert_eq!((deltas.len(), lost), (capacity.into(), 0));
        }
    }
}
