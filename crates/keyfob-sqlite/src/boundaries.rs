//! What was cut, looked up once for each realm.

use std::collections::{HashMap, hash_map};

use keyfob::{Boundary, KeyRecord, Realm, Revision, legacy::LegacyRecord, store::NamespaceRecord};
use rusqlite::{Connection, OptionalExtension};

use crate::{
    row::{self, Columns},
    sql,
};

/// The boundaries that one transaction has met.
pub(crate) struct Boundaries<'c> {
    connection: &'c Connection,
    known: HashMap<Realm, Option<Boundary>>,
}

impl<'c> Boundaries<'c> {
    pub(crate) fn new(connection: &'c Connection) -> Self {
        Self {
            connection,
            known: HashMap::new(),
        }
    }

    /// The boundaries of those realms that were ever cut.
    pub(crate) fn of(&mut self, realms: &[Realm]) -> rusqlite::Result<Vec<&Boundary>> {
        for realm in realms {
            if let hash_map::Entry::Vacant(place) = self.known.entry(realm.clone()) {
                place.insert(look_up(self.connection, realm)?);
            }
        }
        let known = realms.iter().filter_map(|realm| self.known.get(realm));
        Ok(known.filter_map(Option::as_ref).collect())
    }

    /// The last cut through any of these realms: nothing that was born at it or before lives.
    pub(crate) fn last_cut(&mut self, realms: &[Realm]) -> rusqlite::Result<Revision> {
        let cuts = self.of(realms)?.into_iter().map(|boundary| boundary.cut);
        Ok(cuts.max().unwrap_or(Revision::ZERO))
    }

    pub(crate) fn key(&mut self, record: KeyRecord) -> rusqlite::Result<KeyRecord> {
        let boundaries = self.of(&record.realms())?;
        Ok(record.behind(boundaries))
    }

    pub(crate) fn legacy(&mut self, record: LegacyRecord) -> rusqlite::Result<LegacyRecord> {
        let boundaries = self.of(&record.realms())?;
        Ok(record.behind(boundaries))
    }

    pub(crate) fn namespace(
        &mut self,
        record: NamespaceRecord,
    ) -> rusqlite::Result<NamespaceRecord> {
        let boundaries = self.of(&record.realms())?;
        Ok(record.behind(boundaries))
    }
}

fn look_up(connection: &Connection, realm: &Realm) -> rusqlite::Result<Option<Boundary>> {
    let (kind, name) = row::realm(realm);
    sql::BOUNDARY
        .on(connection)?
        .query_row((realm.team().as_str(), kind, name), |row| {
            Columns::of(row).boundary(realm.clone())
        })
        .optional()
}
