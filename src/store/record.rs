//! What all records that a store lists have in common.

use alloc::vec::Vec;

use crate::{
    cutoff::{Cutoff, Target},
    legacy::LegacyRecord,
    record::KeyRecord,
    revision::Revision,
    store::NamespaceRecord,
};

/// A record that a store keeps as it was written, and reads with the cutoffs of its targets
/// applied.
pub trait Record: Sized {
    /// The revision at which it was created, which is its place in lists.
    fn created_revision(&self) -> Revision;

    /// The targets whose cutoffs apply to it.
    fn targets(&self) -> Vec<Target>;

    /// The record with these cutoffs of its targets applied.
    #[must_use]
    fn with_cutoffs<'a>(self, cutoffs: impl IntoIterator<Item = &'a Cutoff>) -> Self;
}

macro_rules! records {
    ($($record:ty),*) => {
        $(impl Record for $record {
            fn created_revision(&self) -> Revision {
                self.created_revision
            }

            fn targets(&self) -> Vec<Target> {
                <$record>::targets(self).into()
            }

            fn with_cutoffs<'a>(self, cutoffs: impl IntoIterator<Item = &'a Cutoff>) -> Self {
                <$record>::with_cutoffs(self, cutoffs)
            }
        })*
    };
}

records!(KeyRecord, LegacyRecord, NamespaceRecord);
