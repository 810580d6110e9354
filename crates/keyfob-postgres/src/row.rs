//! The values of columns.

use std::error::Error;

use keyfob::{
    audit::{ChainHash, TrailHead},
    store::{Cutoff, Entry, Record, Revision},
};
use serde::de::DeserializeOwned;
use tokio_postgres::{
    Row,
    types::{FromSql, Json},
};

use crate::DatabaseError;

pub(crate) type Result<T> = std::result::Result<T, DatabaseError>;

pub(crate) fn get<'a, T: FromSql<'a>>(row: &'a Row, column: usize) -> Result<T> {
    row.try_get(column)
        .map_err(|fault| unfit(row, column, fault))
}

/// The error of a column that does not hold what it should.
fn unfit(row: &Row, column: usize, why: impl Into<Box<dyn Error + Send + Sync>>) -> DatabaseError {
    let column = row.columns().get(column);
    DatabaseError::unfit(column.map_or("?", |column| column.name()), why)
}

/// A column of a type that is read from text.
pub(crate) fn text<T, E>(
    row: &Row,
    column: usize,
    parse: impl FnOnce(&str) -> std::result::Result<T, E>,
) -> Result<T>
where
    E: Into<Box<dyn Error + Send + Sync>>,
{
    parse(get(row, column)?).map_err(|fault| unfit(row, column, fault))
}

pub(crate) fn json<T: DeserializeOwned>(row: &Row, column: usize) -> Result<T> {
    get(row, column).map(|Json(value)| value)
}

pub(crate) fn json_or_null<T: DeserializeOwned>(row: &Row, column: usize) -> Result<Option<T>> {
    let json: Option<Json<T>> = get(row, column)?;
    Ok(json.map(|Json(value)| value))
}

/// A record with the cutoffs applied that come after it.
pub(crate) fn record<R: Record + DeserializeOwned>(row: &Row) -> Result<R> {
    let record: R = json(row, 0)?;
    let cutoffs: Option<Vec<Cutoff>> = json_or_null(row, 1)?;
    Ok(record.with_cutoffs(&cutoffs.unwrap_or_default()))
}

pub(crate) fn bytes<const N: usize>(row: &Row, column: usize) -> Result<[u8; N]> {
    let bytes: &[u8] = get(row, column)?;
    bytes.try_into().map_err(|fault| unfit(row, column, fault))
}

pub(crate) fn hash(row: &Row, column: usize) -> Result<ChainHash> {
    bytes(row, column).map(ChainHash::from_bytes)
}

pub(crate) fn hash_or_null(row: &Row, column: usize) -> Result<Option<ChainHash>> {
    match get::<Option<&[u8]>>(row, column)? {
        Some(_) => hash(row, column).map(Some),
        None => Ok(None),
    }
}

/// The numbers of uses in the hours of a day.
pub(crate) fn hours(row: &Row, column: usize) -> Result<[u64; 24]> {
    let counts: Vec<i64> = get(row, column)?;
    let mut hours = [0; 24];
    for (hour, count) in hours.iter_mut().zip(counts) {
        *hour = u64::try_from(count).map_err(|fault| unfit(row, column, fault))?;
    }
    Ok(hours)
}

pub(crate) fn revision(row: &Row, column: usize) -> Result<Revision> {
    count(row, column).map(Revision::new)
}

/// A revision and the item that changed last there.
pub(crate) fn entry(row: &Row) -> Result<Entry> {
    Ok(Entry {
        revision: revision(row, 0)?,
        item: json(row, 1)?,
    })
}

/// The head of the log.
pub(crate) fn head(row: &Row) -> Result<TrailHead> {
    Ok(TrailHead {
        revision: revision(row, 0)?,
        hash: hash(row, 1)?,
    })
}

pub(crate) fn count(row: &Row, column: usize) -> Result<u64> {
    let count: i64 = get(row, column)?;
    u64::try_from(count).map_err(|fault| unfit(row, column, fault))
}

/// A number as a column. One that no store will reach is as good as the last.
pub(crate) fn number(count: impl TryInto<i64>) -> i64 {
    count.try_into().unwrap_or(i64::MAX)
}
