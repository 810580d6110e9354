//! The schema: made, brought up to date, or refused.

use keyfob::Timestamp;
use refinery_core::{
    Migrate, Migration,
    traits::sync::{Query, Transaction},
};
use rusqlite::Connection;

use crate::error::OpenError;

mod embedded {
    refinery::embed_migrations!("migrations");
}

/// Makes the schema or brings it up to date, in one transaction that no other process can be in
/// or look into.
pub(crate) fn migrate(connection: &Connection) -> Result<(), OpenError> {
    connection
        .execute_batch("BEGIN EXCLUSIVE")
        .map_err(OpenError::database)?;
    let migrated = migrate_alone(connection).and_then(|()| {
        connection
            .execute_batch("COMMIT")
            .map_err(OpenError::database)
    });
    if migrated.is_err() && !connection.is_autocommit() {
        // The error that led here is the one to tell.
        let _ = connection.execute_batch("ROLLBACK");
    }
    migrated
}

fn migrate_alone(connection: &Connection) -> Result<(), OpenError> {
    let pragma = |name| connection.pragma_query_value(None, name, |row| row.get::<_, i32>(0));
    let empty = || {
        let sql = "SELECT NOT EXISTS (SELECT 1 FROM sqlite_schema)";
        connection.query_row(sql, [], |row| row.get::<_, bool>(0))
    };
    let runner = embedded::migrations::runner();
    let migrations = runner.get_migrations();
    let known = migrations
        .iter()
        .map(Migration::version)
        .max()
        .unwrap_or_default();
    match pragma("application_id").map_err(OpenError::database)? {
        APPLICATION => {}
        0 if empty().map_err(OpenError::database)? => {}
        _ => return Err(OpenError::Foreign),
    }
    let found = pragma("user_version").map_err(OpenError::database)?;
    if found > known {
        return Err(OpenError::Newer { found, known });
    }
    runner
        .run(&mut Alone(connection))
        .map_err(|error| OpenError::Schema(error.into()))?;
    if found < known {
        connection
            .pragma_update(None, "application_id", APPLICATION)
            .and_then(|()| connection.pragma_update(None, "user_version", known))
            .map_err(OpenError::database)?;
    }
    Ok(())
}

/// A connection within the one transaction, so that the library that runs migrations opens none
/// of its own.
struct Alone<'c>(&'c Connection);

impl Transaction for Alone<'_> {
    type Error = rusqlite::Error;

    fn execute<'a, T: Iterator<Item = &'a str>>(&mut self, queries: T) -> rusqlite::Result<usize> {
        let mut count = 0;
        for query in queries {
            self.0.execute_batch(query)?;
            count += 1;
        }
        Ok(count)
    }
}

impl Query<Vec<Migration>> for Alone<'_> {
    fn query(&mut self, query: &str) -> rusqlite::Result<Vec<Migration>> {
        let mut statement = self.0.prepare(query)?;
        let applied = statement.query_map([], |row| {
            let checksum: String = row.get(3)?;
            let checksum = checksum.parse().map_err(|fault: std::num::ParseIntError| {
                rusqlite::Error::FromSqlConversionFailure(
                    3,
                    rusqlite::types::Type::Text,
                    fault.into(),
                )
            })?;
            // When it was applied plays no part.
            let at = Timestamp::UNIX_EPOCH.into();
            Ok(Migration::applied(row.get(0)?, row.get(1)?, at, checksum))
        })?;
        applied.collect()
    }
}

impl Migrate for Alone<'_> {}

/// `Kfob`: what says that a database is one of keys.
const APPLICATION: i32 = 0x4b66_6f62;
