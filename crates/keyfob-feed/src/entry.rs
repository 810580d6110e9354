//! An entry of the feed on the wire: `[REVISION,ITEM]`, which is shorter than names for both.

use keyfob::{
    gateway::{ReplicaEntry, ReplicaItem},
    store::Revision,
};
use serde::{Deserialize, Deserializer};

/// Appends an entry as JSON.
pub(crate) fn write(entry: &ReplicaEntry, json: &mut Vec<u8>) {
    // Names and numbers, into memory: it cannot fail.
    let written = serde_json::to_writer(json, &(entry.revision, &entry.item));
    debug_assert!(written.is_ok(), "an entry is JSON");
}

/// Parses an entry.
pub(crate) fn parse(json: &[u8]) -> serde_json::Result<ReplicaEntry> {
    serde_json::from_slice(json).map(|Wire(entry)| entry)
}

/// Parses a list of entries.
pub(crate) fn list<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Vec<ReplicaEntry>, D::Error> {
    let entries = Vec::<Wire>::deserialize(deserializer)?;
    Ok(entries.into_iter().map(|Wire(entry)| entry).collect())
}

struct Wire(ReplicaEntry);

impl<'de> Deserialize<'de> for Wire {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (revision, item) = <(Revision, ReplicaItem)>::deserialize(deserializer)?;
        Ok(Self(ReplicaEntry { revision, item }))
    }
}
