//! The keys of each namespace, for the writer: a change of a policy concerns only these.

use alloc::vec::Vec;

/// The identifier of a key as two words.
pub(super) type Words = [u64; 2];

/// The keys of one namespace. A key that is deleted stays in the list until the next compaction.
#[derive(Default)]
pub(super) struct Members {
    live: usize,
    ids: Vec<Words>,
    /// How many identifiers, from the first on, must still be recomputed.
    todo: usize,
}

impl Members {
    pub(super) fn add(&mut self, id: Words) {
        if self.ids.len() == self.ids.capacity() {
            // Half of the slack of a doubling, since most of an index's namespaces do not grow.
            self.ids.reserve_exact((self.ids.len() / 4).max(4));
        }
        self.ids.push(id);
        self.live = self.live.saturating_add(1);
    }

    /// Counts a deleted key. If most identifiers are of deleted keys, keeps only those that `exist`.
    pub(super) fn forget(&mut self, exists: impl Fn(Words) -> bool) {
        self.live = self.live.saturating_sub(1);
        if self.ids.len() / 2 > self.live.saturating_add(8) {
            self.ids.retain(|id| exists(*id));
            self.ids.shrink_to(self.live.saturating_add(self.live / 4));
            if self.todo > 0 {
                self.todo = self.ids.len();
            }
        }
    }

    /// Forgets all keys, and frees their memory.
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    /// Marks all keys as to be recomputed; returns whether there are any, and none were marked.
    pub(super) fn mark(&mut self) -> bool {
        let is_new = self.todo == 0;
        self.todo = self.ids.len();
        is_new && self.todo > 0
    }

    /// The next key to be recomputed.
    pub(super) fn next(&mut self) -> Option<Words> {
        self.todo = self.todo.checked_sub(1)?;
        self.ids.get(self.todo).copied()
    }
}

#[cfg(test)]
mod tests {
    use alloc::collections::BTreeSet;

    use super::*;

    #[test]
    fn deleted_keys_take_bounded_room() {
        let mut members = Members::default();
        let mut live = BTreeSet::new();
        for n in 0..100_000_u64 {
            members.add([n, n]);
            live.insert([n, n]);
            if let Some(old) = n.checked_sub(10) {
                live.remove(&[old, old]);
                members.forget(|id| live.contains(&id));
            }
        }
        assert!(members.ids.capacity() <= 64, "{}", members.ids.capacity());
    }

    #[test]
    fn every_key_that_existed_at_the_change_is_recomputed() {
        let mut members = Members::default();
        assert!(!members.mark(), "there is none");
        let all: BTreeSet<_> = (0..100).map(|n| [n, n]).collect();
        for id in &all {
            members.add(*id);
        }
        assert!(members.mark());
        assert!(!members.mark(), "it is marked already");
        let mut done = BTreeSet::new();
        for _ in 0..50 {
            done.insert(members.next().unwrap());
        }
        // A compaction in between may repeat some, and loses none.
        for n in 0..90 {
            members.forget(|[id, _]| id > n);
        }
        while let Some(id) = members.next() {
            done.insert(id);
        }
        assert!((91..100).all(|n| done.contains(&[n, n])));
    }
}
