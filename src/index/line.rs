//! A table entry as atomic words on one cache line.

use crate::{
    digest::Lanes,
    index::sync::{AtomicU64, Ordering, fence},
};

/// A copy of a table entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Row {
    pub(crate) high: u64,
    pub(crate) low: u64,
    pub(crate) digest: Lanes,
    /// 50 bits of payload.
    pub(crate) payload: u64,
    /// 52 bits of metadata: [`EntryMeta`](crate::index::EntryMeta).
    pub(crate) meta: u64,
}

impl Row {
    pub(crate) const META_MAX: u64 = (1 << 52) - 1;

    /// Builds a row from its identifier and the words of its line.
    #[inline]
    pub(super) fn unpack(high: u64, low: u64, digest: Lanes, version: u64, meta: u64) -> Self {
        Self {
            high,
            low,
            digest,
            payload: (version & VERSION_PAYLOAD) | ((meta & META_PAYLOAD) >> 12),
            meta: meta & Self::META_MAX,
        }
    }

    /// The metadata word of a live line with this content.
    pub(super) fn live_meta(&self) -> u64 {
        LIVE | ((self.payload << 12) & META_PAYLOAD) | (self.meta & Self::META_MAX)
    }
}

/// The slot of one entry: one cache line.
#[repr(align(64))]
pub(super) struct Line {
    /// The version in the high 24 bits, the low 40 bits of the payload.
    pub(super) version: AtomicU64,
    pub(super) high: AtomicU64,
    pub(super) low: AtomicU64,
    pub(super) digest: [AtomicU64; 4],
    /// The live flag in bit 62, the high ten bits of the payload below it, then 52 bits of
    /// metadata.
    pub(super) meta: AtomicU64,
}

impl Line {
    pub(super) fn vacant() -> Self {
        Self {
            version: AtomicU64::new(0),
            high: AtomicU64::new(0),
            low: AtomicU64::new(0),
            digest: [0; 4].map(AtomicU64::new),
            meta: AtomicU64::new(VACANT),
        }
    }

    /// Writes a row to a vacant slot, and makes the slot live.
    pub(super) fn write(&self, row: &Row) {
        // Ordered after the removal of the previous entry, and before the stores that follow.
        self.version
            .store(self.next_version(row.payload), Ordering::Release);
        fence(Ordering::Release);
        self.high.store(row.high, Ordering::Relaxed);
        self.low.store(row.low, Ordering::Relaxed);
        for (word, lane) in self.digest.iter().zip(row.digest) {
            word.store(lane, Ordering::Relaxed);
        }
        self.meta.store(row.live_meta(), Ordering::Release);
    }

    pub(super) fn next_version(&self, payload: u64) -> u64 {
        let version = (self.version.load(Ordering::Relaxed) >> 40).wrapping_add(1);
        (version << 40) | (payload & VERSION_PAYLOAD)
    }

    /// Copies the entry, for the writer: there are no concurrent changes.
    pub(super) fn row(&self) -> Row {
        Row::unpack(
            self.high.load(Ordering::Relaxed),
            self.low.load(Ordering::Relaxed),
            self.digest(),
            self.version.load(Ordering::Relaxed),
            self.meta.load(Ordering::Relaxed),
        )
    }

    #[inline]
    pub(super) fn digest(&self) -> Lanes {
        let [a, b, c, d] = &self.digest;
        [a, b, c, d].map(|word| word.load(Ordering::Relaxed))
    }

    /// Returns zero if the line is live, by the metadata word `meta`, and has this identifier.
    #[inline]
    pub(super) fn difference(&self, high: u64, low: u64, meta: u64) -> u64 {
        (self.high.load(Ordering::Relaxed) ^ high)
            | (self.low.load(Ordering::Relaxed) ^ low)
            | (!meta & LIVE)
    }

    pub(super) fn is_live(&self) -> bool {
        self.meta.load(Ordering::Relaxed) & LIVE != 0
    }

    pub(super) fn take_out(&self) {
        self.meta.store(VACANT, Ordering::Release);
    }
}

const VERSION_PAYLOAD: u64 = (1 << 40) - 1;
const META_PAYLOAD: u64 = ((1 << 10) - 1) << 52;
const LIVE: u64 = 1 << 62;
const VACANT: u64 = 0;
