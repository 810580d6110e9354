//! The atomics and the sizes of the table, which the models in `tools/loom/` replace by their own.

pub(super) use std::sync::atomic::{AtomicU16, AtomicU32, AtomicU64, Ordering, fence};

/// The number of slots of a segment.
pub(super) const SLOTS: usize = 1024;
/// The number of groups of a segment.
pub(super) const GROUPS: usize = SLOTS / 8;
