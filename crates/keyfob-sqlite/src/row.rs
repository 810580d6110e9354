//! The values of columns.

use std::error::Error;

use keyfob::{
    audit::ChainHash,
    store::{Entry, Revision},
};
use rusqlite::{Row, types::Type};
use serde::{Serialize, de::DeserializeOwned};

/// A column of JSON.
pub(crate) fn json<T: DeserializeOwned>(row: &Row<'_>, column: usize) -> rusqlite::Result<T> {
    let text = row.get_ref(column)?.as_str()?;
    serde_json::from_str(text).map_err(|fault| unfit(column, Type::Text, fault))
}

/// A value as a column of JSON.
pub(crate) fn to_json<T: Serialize + ?Sized>(value: &T) -> rusqlite::Result<String> {
    serde_json::to_string(value)
        .map_err(|fault| rusqlite::Error::ToSqlConversionFailure(fault.into()))
}

pub(crate) fn revision(row: &Row<'_>, column: usize) -> rusqlite::Result<Revision> {
    count(row, column).map(Revision::new)
}

pub(crate) fn count(row: &Row<'_>, column: usize) -> rusqlite::Result<u64> {
    let count: i64 = row.get(column)?;
    u64::try_from(count).map_err(|fault| unfit(column, Type::Integer, fault))
}

/// A revision and the item that changed last there.
pub(crate) fn entry(row: &Row<'_>) -> rusqlite::Result<Entry> {
    Ok(Entry {
        revision: revision(row, 0)?,
        item: json(row, 1)?,
    })
}

pub(crate) fn hash(row: &Row<'_>, column: usize) -> rusqlite::Result<ChainHash> {
    row.get(column).map(ChainHash::from_bytes)
}

/// A revision as a column. One that no store will reach is as good as the last.
pub(crate) fn number(revision: Revision) -> i64 {
    i64::try_from(revision.get()).unwrap_or(i64::MAX)
}

/// The error of a column that does not hold what it should.
pub(crate) fn unfit(
    column: usize,
    kind: Type,
    fault: impl Error + Send + Sync + 'static,
) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(column, kind, fault.into())
}
