//! Errors beyond those of the store contract.

use std::{error::Error, io};

use rusqlite::ErrorCode;

/// The error of the database or of the migrations.
type Source = Box<dyn Error + Send + Sync>;

/// A store could not be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// There is no file, and the options say not to create one.
    #[error("there is no such file")]
    Missing,
    /// The file is not a database, or not one of this library.
    #[error("the file is not a key store")]
    Foreign,
    /// The file was written by a later version of this library.
    #[error("the store has schema {found}; this program knows schemas up to {known}")]
    Newer {
        /// The file's schema.
        found: i32,
        /// The latest schema that this version knows.
        known: i32,
    },
    /// The file's schema could not be migrated, or has another history.
    #[error("the store's schema could not be migrated")]
    Schema(#[source] Source),
    /// The file could not be read or written.
    #[error("the store could not be opened")]
    Io(#[from] io::Error),
    /// The database failed, or was busy for too long.
    #[error("the database could not be opened")]
    Database(#[source] Source),
}

impl OpenError {
    pub(crate) fn database(error: rusqlite::Error) -> Self {
        match error.sqlite_error_code() {
            Some(ErrorCode::NotADatabase) => Self::Foreign,
            _ => Self::Database(error.into()),
        }
    }
}

/// The store's file, or the log next to it, is no longer at its path.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error(
    "the store's file, or its -wal or -shm file, was moved, deleted or replaced; open the store again"
)]
pub(crate) struct Moved;

/// A backup could not be made. There is no file then.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BackupError {
    /// The path exists.
    #[error("the path exists")]
    Taken,
    /// The file could not be written.
    #[error("the backup could not be written")]
    Io(#[from] io::Error),
    /// The database could not be read, or its copy could not be written.
    #[error("the database could not be copied")]
    Database(#[source] Source),
}

impl BackupError {
    pub(crate) fn database(error: impl Into<Source>) -> Self {
        Self::Database(error.into())
    }
}

/// A store is damaged, or could not be checked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CheckError {
    /// The first damage that was found.
    #[error("the store is damaged: {0}")]
    Damaged(String),
    /// The database could not be read.
    #[error("the store could not be read")]
    Database(#[source] Source),
}

impl CheckError {
    pub(crate) fn database(error: impl Into<Source>) -> Self {
        Self::Database(error.into())
    }
}

/// A thread of the store stopped because of a panic.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("a thread of the store has stopped")]
pub(crate) struct Gone;
