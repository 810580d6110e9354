//! The atomics of the table and its size. The models in `tools/loom/` replace this module.

pub(super) use std::sync::atomic::{AtomicU16, AtomicU32, AtomicU64, Ordering, fence};

/// Slots of a segment.
pub(super) const SLOTS: usize = 1024;
/// Groups of a segment.
pub(super) const GROUPS: usize = SLOTS / 8;
