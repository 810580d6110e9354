//! The schema: created, migrated or refused.

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

/// Creates or migrates the schema, in one exclusive transaction.
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
        // An error here must not hide the one above.
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

/// A connection in the open transaction, for the migrations to run in.
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
            // The time of application is not used.
            let at = Timestamp::UNIX_EPOCH.into();
            Ok(Migration::applied(row.get(0)?, row.get(1)?, at, checksum))
        })?;
        applied.collect()
    }
}

impl Migrate for Alone<'_> {}

/// `Kfob`: marks a database as one of this library.
const APPLICATION: i32 = 0x4b66_6f62;

#[cfg(test)]
mod tests {
    use std::{fs, time::Duration};

    use keyfob::{
        gateway::{UsageBatch, UsageDelta, UsageSource},
        store::{Change, Limits},
    };

    use super::*;
    use crate::{
        faults::{Bench, commit, commits, credentials, whole},
        fixture::{context, new_record},
        open::Source,
        write::keep,
    };

    /// A file of each released schema, and everything that is read from it.
    const GOLDEN: &[(&str, &str)] = &[(
        include_str!("../golden/schema-1.sql"),
        include_str!("../golden/schema-1.json"),
    )];

    #[test]
    fn a_file_of_any_schema_can_be_read_and_written() {
        let folder = std::env::temp_dir().join(format!("keyfob-golden-{}", std::process::id()));
        fs::create_dir(&folder).unwrap();
        for (schema, (sql, expected)) in GOLDEN.iter().enumerate() {
            let path = folder.join(format!("{schema}.db"));
            Connection::open(&path).unwrap().execute_batch(sql).unwrap();
            let source = Source::prepare(&path, false, Duration::from_secs(5)).unwrap();
            let connection = source.writer().unwrap();
            assert_eq!(whole(&connection), expected.trim_end());
            let more = commit(Change::CreateKey {
                record: new_record(99),
                limits: Limits::default(),
            });
            keep(&connection, &more).unwrap().unwrap();
            assert_ne!(whole(&connection), expected.trim_end());
        }
        fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn every_schema_has_its_golden_file() {
        let runner = embedded::migrations::runner();
        assert_eq!(runner.get_migrations().len(), GOLDEN.len());
    }

    /// For the latest schema, with an item of every kind.
    #[test]
    #[ignore = "overwrites golden files; to be run when a schema is added"]
    fn write_golden_files() {
        let mut bench = Bench::new("golden");
        for commit in commits() {
            bench.keep(&commit).unwrap();
        }
        let now = context().now;
        let batch = UsageBatch {
            source: UsageSource::from_bytes([7; 16]),
            sequence: 1,
            hour: now,
            usage: credentials()
                .map(|id| UsageDelta::accepted(id, now))
                .to_vec(),
        };
        bench.merge(batch).unwrap();
        let connection = &bench.writer.connection;
        let version = embedded::migrations::runner().get_migrations().len();
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("golden");
        let file = folder.join(format!("schema-{version}.sql"));
        fs::write(file, dump(connection)).unwrap();
        let file = folder.join(format!("schema-{version}.json"));
        fs::write(file, whole(connection) + "\n").unwrap();
    }

    /// The statements that create the same database.
    fn dump(connection: &Connection) -> String {
        let texts = |sql: &str| -> Vec<String> {
            let mut statement = connection.prepare(sql).unwrap();
            let rows = statement.query_map([], |row| row.get(0)).unwrap();
            rows.collect::<rusqlite::Result<_>>().unwrap()
        };
        let mut lines = vec![
            format!("PRAGMA application_id = {APPLICATION};"),
            format!("PRAGMA user_version = {};", GOLDEN.len()),
            "BEGIN;".into(),
        ];
        let tables = "SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY rowid";
        for table in texts(tables) {
            lines.extend(texts(&format!(
                "SELECT sql || ';' FROM sqlite_schema WHERE name = '{table}'"
            )));
            let columns = texts(&format!("SELECT name FROM pragma_table_info('{table}')"));
            let values: Vec<String> = columns.iter().map(|c| format!("quote({c})")).collect();
            lines.extend(texts(&format!(
                "SELECT 'INSERT INTO {table} VALUES (' || {} || ');' FROM {table}",
                values.join(" || ', ' || ")
            )));
        }
        lines.extend(texts(
            "SELECT sql || ';' FROM sqlite_schema WHERE type <> 'table' AND sql IS NOT NULL",
        ));
        lines.push("COMMIT;\n".into());
        lines.join("\n")
    }
}
