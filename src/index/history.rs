//! The history that an index is of, which tells a store that went back from one that went on.

use alloc::collections::VecDeque;

use crate::{audit::TrailHead, index::IndexError, revision::Revision, store::Changes};

/// Where pages of the feed ended, with the hashes of the events there, the latest last.
///
/// A store that was restored from a backup and has caught up since has the revisions, but not the
/// hashes.
#[derive(Default)]
pub(super) struct History {
    ends: VecDeque<TrailHead>,
}

impl History {
    /// A page may start at an earlier end if several tasks follow the store.
    const ENDS: usize = 64;

    /// Checks that a page is of the same history as the pages before.
    ///
    /// # Errors
    ///
    /// [`IndexError::Forked`] if one of the page's hashes differs from the one seen before.
    pub(super) fn check(&self, changes: &Changes) -> Result<(), IndexError> {
        let seen = |at: Revision| self.ends.iter().find(|end| end.revision == at);
        let Changes { head, .. } = changes;
        for (at, hash) in [
            (changes.after, changes.after_hash),
            (changes.next_after, changes.next_hash),
            (head.revision, Some(head.hash)),
        ] {
            if seen(at).is_some_and(|end| Some(end.hash) != hash) {
                return Err(IndexError::Forked { at });
            }
        }
        Ok(())
    }

    /// Remembers the end of a page that was applied.
    pub(super) fn extend(&mut self, changes: &Changes) {
        let last = self.ends.back().map_or(Revision::ZERO, |end| end.revision);
        if let Some(hash) = changes.next_hash
            && changes.next_after > last
        {
            if self.ends.len() >= Self::ENDS {
                self.ends.pop_front();
            }
            let revision = changes.next_after;
            self.ends.push_back(TrailHead { revision, hash });
        }
    }
}
