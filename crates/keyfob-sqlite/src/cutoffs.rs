//! What was cut, looked up once for each target.

use std::collections::{HashMap, hash_map};

use keyfob::{
    legacy::LegacyRecord,
    store::{Cutoff, KeyRecord, NamespaceRecord, Revision, Target},
};
use rusqlite::{Connection, OptionalExtension};

use crate::{
    row::{self, Columns},
    sql,
};

/// The cutoffs that one transaction has met.
pub(crate) struct Cutoffs<'c> {
    connection: &'c Connection,
    known: HashMap<Target, Option<Cutoff>>,
}

impl<'c> Cutoffs<'c> {
    pub(crate) fn new(connection: &'c Connection) -> Self {
        Self {
            connection,
            known: HashMap::new(),
        }
    }

    /// The cutoffs of those targets that were ever cut.
    pub(crate) fn of(&mut self, targets: &[Target]) -> rusqlite::Result<Vec<&Cutoff>> {
        for target in targets {
            if let hash_map::Entry::Vacant(place) = self.known.entry(target.clone()) {
                place.insert(look_up(self.connection, target)?);
            }
        }
        let known = targets.iter().filter_map(|target| self.known.get(target));
        Ok(known.filter_map(Option::as_ref).collect())
    }

    /// The last cut through any of these targets: nothing that was created at it or before lives.
    pub(crate) fn last_cut(&mut self, targets: &[Target]) -> rusqlite::Result<Revision> {
        let cuts = self.of(targets)?.into_iter().map(|cutoff| cutoff.up_to);
        Ok(cuts.max().unwrap_or(Revision::ZERO))
    }

    pub(crate) fn key(&mut self, record: KeyRecord) -> rusqlite::Result<KeyRecord> {
        let cutoffs = self.of(&record.targets())?;
        Ok(record.with_cutoffs(cutoffs))
    }

    pub(crate) fn legacy(&mut self, record: LegacyRecord) -> rusqlite::Result<LegacyRecord> {
        let cutoffs = self.of(&record.targets())?;
        Ok(record.with_cutoffs(cutoffs))
    }

    pub(crate) fn namespace(
        &mut self,
        record: NamespaceRecord,
    ) -> rusqlite::Result<NamespaceRecord> {
        let cutoffs = self.of(&record.targets())?;
        Ok(record.with_cutoffs(cutoffs))
    }
}

fn look_up(connection: &Connection, target: &Target) -> rusqlite::Result<Option<Cutoff>> {
    let (kind, name) = row::target(target);
    sql::CUTOFF
        .on(connection)?
        .query_row((target.team().as_str(), kind, name), |row| {
            Columns::of(row).cutoff(target.clone())
        })
        .optional()
}
