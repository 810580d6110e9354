//! Reading a store's feed to its end, and proving that all of it is of one history.

use keyfob::{
    audit::TrailHead,
    gateway::ReplicaEntry,
    store::{Changes, Revision},
};

/// Reads a store's feed from a known head to its end, page by page.
///
/// A store can be replaced while it is read: by a backup that was restored, or by a standby that lacks
/// the last commits. A page of the feed leaves out what was changed after it, since that follows
/// later. So pages fit together only if the store still has the history of which the first
/// one was. Each page must start with the hash at which the one before ended. If the store's head moved
/// between two pages, one more read proves that the earlier head is still in its history.
///
/// It does no I/O: ask the store for [`changes`](keyfob::KeyStore::changes) after
/// [`wants`](FeedRead::wants), give them to [`answer`](FeedRead::answer), and repeat it until the answer
/// is [`Progress::End`].
///
/// # Examples
///
/// ```
/// use keyfob::{KeyStore, MemoryStore, audit::TrailHead, block_on};
/// use keyfob_feed::{FeedRead, Progress};
///
/// let store = MemoryStore::new();
/// let mut read = FeedRead::after(TrailHead::START);
/// let mut entries = Vec::new();
/// loop {
///     let changes = block_on(store.changes(read.wants(), 1000))?;
///     let (pages, progress) = read.answer(&changes)?;
///     entries.extend(pages.into_iter().flat_map(|page| page.entries));
///     if progress == Progress::End {
///         break;
///     }
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct FeedRead {
    /// Up to where the feed was read.
    at: TrailHead,
    /// The latest head of the store that was seen.
    horizon: TrailHead,
    /// A page that is returned when the store is known to have the horizon still.
    held: Option<FeedPage>,
}

/// A page of the feed that is of the same history as the pages before it.
#[derive(Clone, Debug)]
pub struct FeedPage {
    /// The revision that it starts after.
    pub after: Revision,
    /// The entries, in the order of their revisions.
    pub entries: Vec<ReplicaEntry>,
    /// The end of the page, with its hash.
    pub to: TrailHead,
    /// The head of the store when the page was read. Equal to `to` at the end of the feed.
    pub horizon: TrailHead,
}

impl FeedPage {
    /// Whether the feed goes on after the page.
    pub fn more(&self) -> bool {
        self.to != self.horizon
    }
}

/// What to do after an answer of the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// Ask for what [`FeedRead::wants`] says now.
    Again,
    /// The end of the feed is reached. To look for later changes, ask for what [`FeedRead::wants`] says
    /// now.
    End,
}

impl FeedRead {
    /// Starts after a head that is known to be of the store's history.
    pub fn after(head: TrailHead) -> Self {
        Self {
            at: head,
            horizon: head,
            held: None,
        }
    }

    /// The revision after which the changes are wanted.
    pub fn wants(&self) -> Revision {
        match self.held {
            Some(_) => self.horizon.revision,
            None => self.at.revision,
        }
    }

    /// Up to where the feed was read.
    pub fn at(&self) -> TrailHead {
        self.at
    }

    /// The latest head of the store that was seen.
    pub fn horizon(&self) -> TrailHead {
        self.horizon
    }

    /// Takes what the store answered to [`FeedRead::wants`]; returns the page that is proven by it, if
    /// any.
    ///
    /// # Errors
    ///
    /// - the store has another history -> [`HistoryError::Forked`]
    /// - the store is at an earlier revision -> [`HistoryError::Regressed`]
    /// - the answer is to another question, or contradicts itself -> [`HistoryError::Unexpected`]
    ///
    /// After the first two, what was read before is not what the store has. Start again from
    /// revision zero.
    pub fn answer(
        &mut self,
        changes: &Changes,
    ) -> Result<(Option<FeedPage>, Progress), HistoryError> {
        let at = match self.held {
            Some(_) => self.horizon,
            None => self.at,
        };
        if changes.after != at.revision {
            return Err(HistoryError::Unexpected);
        }
        match changes.after_hash {
            None => return Err(self.regressed(changes)),
            Some(hash) if hash != at.hash => {
                return Err(HistoryError::Forked { at: at.revision });
            }
            Some(_) => {}
        }
        if let Some(page) = self.held.take() {
            return Ok(self.release(page));
        }
        let page = FeedPage {
            after: changes.after,
            entries: changes.entries.iter().map(ReplicaEntry::from).collect(),
            to: TrailHead {
                revision: changes.next_after,
                hash: changes.next_hash.ok_or_else(|| self.regressed(changes))?,
            },
            horizon: changes.head,
        };
        if page.to.revision < page.after
            || (changes.more && page.to.revision == page.after)
            || changes.more != page.more()
        {
            return Err(HistoryError::Unexpected);
        }
        if changes.head.revision < self.horizon.revision {
            return Err(self.regressed(changes));
        }
        if changes.head.revision == self.horizon.revision && changes.head != self.horizon {
            let at = self.horizon.revision;
            return Err(HistoryError::Forked { at });
        }
        let moved = changes.head != self.horizon;
        if moved && self.horizon != self.at {
            self.held = Some(page);
            return Ok((None, Progress::Again));
        }
        Ok(self.release(page))
    }

    fn release(&mut self, page: FeedPage) -> (Option<FeedPage>, Progress) {
        self.at = page.to;
        self.horizon = page.horizon;
        let progress = if page.more() {
            Progress::Again
        } else {
            Progress::End
        };
        (Some(page), progress)
    }

    fn regressed(&self, changes: &Changes) -> HistoryError {
        HistoryError::Regressed {
            store_at: changes.head.revision,
            at: self.horizon.revision,
        }
    }
}

/// A store does not have the history of which it was read before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HistoryError {
    /// The store has another event at this revision: it was restored from a backup and has changed
    /// since, or it is another store.
    #[error(
        "the store has another history than the one read before: its event at revision {at} differs"
    )]
    Forked {
        /// The revision.
        at: Revision,
    },
    /// The store is at an earlier revision: it was restored from a backup, or it is another store.
    #[error("the store went back to revision {store_at}; it was read up to {at} before")]
    Regressed {
        /// The store's last revision.
        store_at: Revision,
        /// The revision up to which it was read.
        at: Revision,
    },
    /// The store did not answer the question, or its answer contradicts itself.
    #[error("the store's answer contradicts the question or itself")]
    Unexpected,
}

#[cfg(test)]
mod tests {
    use keyfob::audit::ChainHash;

    use super::*;

    fn head(revision: u64, history: u8) -> TrailHead {
        let mut hash = [history; 32];
        hash[0] = u8::try_from(revision).unwrap();
        TrailHead {
            revision: Revision::new(revision),
            hash: ChainHash::from_bytes(hash),
        }
    }

    /// A page without entries, from `after` to `to`, of a store at `at`.
    fn page(after: TrailHead, to: TrailHead, at: TrailHead) -> Changes {
        Changes {
            after: after.revision,
            after_hash: Some(after.hash),
            entries: Vec::new(),
            next_after: to.revision,
            next_hash: Some(to.hash),
            more: to != at,
            head: at,
        }
    }

    fn ends(answer: Result<(Option<FeedPage>, Progress), HistoryError>) -> (Option<u64>, Progress) {
        let (page, progress) = answer.unwrap();
        (page.map(|page| page.to.revision.get()), progress)
    }

    #[test]
    fn a_feed_is_read_to_its_end_page_by_page() {
        let mut read = FeedRead::after(head(2, 0));
        assert_eq!(read.wants(), Revision::new(2));
        let first = page(head(2, 0), head(5, 0), head(9, 0));
        assert_eq!(ends(read.answer(&first)), (Some(5), Progress::Again));
        assert_eq!(read.wants(), Revision::new(5));
        let last = page(head(5, 0), head(9, 0), head(9, 0));
        assert_eq!(ends(read.answer(&last)), (Some(9), Progress::End));
        // No change since, then one.
        let idle = page(head(9, 0), head(9, 0), head(9, 0));
        assert_eq!(ends(read.answer(&idle)), (Some(9), Progress::End));
        let next = page(head(9, 0), head(10, 0), head(10, 0));
        assert_eq!(ends(read.answer(&next)), (Some(10), Progress::End));
    }

    #[test]
    fn a_head_that_moved_between_two_pages_is_proven_to_follow_the_earlier_one() {
        let start = || {
            let mut read = FeedRead::after(head(2, 0));
            let first = page(head(2, 0), head(5, 0), head(9, 0));
            assert_eq!(ends(read.answer(&first)), (Some(5), Progress::Again));
            let last = page(head(5, 0), head(12, 0), head(12, 0));
            assert_eq!(ends(read.answer(&last)), (None, Progress::Again));
            assert_eq!(read.wants(), Revision::new(9));
            read
        };
        let proof = page(head(9, 0), head(13, 0), head(13, 0));
        assert_eq!(ends(start().answer(&proof)), (Some(12), Progress::End));
        // The history before revision 9 is the same, but not the event at 9.
        let other = page(head(9, 1), head(13, 1), head(13, 1));
        let forked = HistoryError::Forked {
            at: Revision::new(9),
        };
        assert_eq!(start().answer(&other).unwrap_err(), forked);
    }

    #[test]
    fn a_store_that_went_back_or_has_another_history_is_refused() {
        let at = head(9, 0);
        let answer = |changes: &Changes| FeedRead::after(at).answer(changes).unwrap_err();
        let mut back = page(at, head(7, 0), head(7, 0));
        (back.after_hash, back.next_hash) = (None, None);
        let regressed = HistoryError::Regressed {
            store_at: Revision::new(7),
            at: at.revision,
        };
        assert_eq!(answer(&back), regressed);
        let other = page(head(9, 1), head(11, 1), head(11, 1));
        let forked = HistoryError::Forked { at: at.revision };
        assert_eq!(answer(&other), forked);
        // A head that went back between two pages, and one that changed.
        let within = || {
            let mut read = FeedRead::after(head(2, 0));
            let first = page(head(2, 0), head(5, 0), at);
            assert_eq!(ends(read.answer(&first)), (Some(5), Progress::Again));
            read
        };
        let back = page(head(5, 0), head(7, 0), head(7, 0));
        assert_eq!(within().answer(&back).unwrap_err(), regressed);
        let other = page(head(5, 0), head(9, 1), head(9, 1));
        assert_eq!(within().answer(&other).unwrap_err(), forked);
    }

    #[test]
    fn an_answer_to_another_question_is_refused() {
        let at = head(9, 0);
        let mut read = FeedRead::after(at);
        for wrong in [
            page(head(8, 0), head(9, 0), head(9, 0)),
            page(at, at, head(12, 0)),
            page(at, head(8, 0), head(12, 0)),
        ] {
            assert_eq!(read.answer(&wrong).unwrap_err(), HistoryError::Unexpected);
        }
    }
}
