//! Cutoffs, looked up once per target.

use std::collections::{HashMap, hash_map};

use keyfob::store::{Cutoff, Record, Revision, Target};
use rusqlite::{Connection, OptionalExtension};

use crate::{row, sql};

/// The cutoffs that one transaction has looked up.
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

    pub(crate) fn connection(&self) -> &'c Connection {
        self.connection
    }

    /// The cutoffs of those targets that have one.
    pub(crate) fn of(&mut self, targets: &[Target]) -> rusqlite::Result<Vec<&Cutoff>> {
        for target in targets {
            if let hash_map::Entry::Vacant(place) = self.known.entry(target.clone()) {
                place.insert(look_up(self.connection, target)?);
            }
        }
        let known = targets.iter().filter_map(|target| self.known.get(target));
        Ok(known.filter_map(Option::as_ref).collect())
    }

    /// The latest revision that a cutoff of these targets covers: everything in them that was
    /// created up to it is revoked.
    pub(crate) fn last_covered(&mut self, targets: &[Target]) -> rusqlite::Result<Revision> {
        let covered = self.of(targets)?.into_iter().map(|cutoff| cutoff.up_to);
        Ok(covered.max().unwrap_or(Revision::ZERO))
    }

    /// The record with the cutoffs of its targets applied.
    pub(crate) fn apply<R: Record>(&mut self, record: R) -> rusqlite::Result<R> {
        let cutoffs = self.of(&record.targets())?;
        Ok(record.with_cutoffs(cutoffs))
    }
}

fn look_up(connection: &Connection, target: &Target) -> rusqlite::Result<Option<Cutoff>> {
    sql::CUTOFF
        .on(connection)?
        .query_row([row::to_json(target)?], |row| row::json(row, 0))
        .optional()
}
