//! Online backups.

use std::{
    ffi::OsString,
    fs, io,
    path::{Path, PathBuf},
};

use rusqlite::{
    Connection, ErrorCode, OpenFlags,
    backup::{Backup, StepResult},
    ffi,
};

use crate::{error::BackupError, open::create_private};

/// Copies the database behind `from` to a new file. The copy is a consistent snapshot, and the file
/// is there completely or not at all.
pub(crate) fn back_up(from: &Connection, to: &Path) -> Result<(), BackupError> {
    if fs::symlink_metadata(to).is_ok() {
        return Err(BackupError::Taken);
    }
    let partial = partial_path(to);
    create_private(&partial)?;
    let copied = copy(from, &partial).and_then(|()| publish(&partial, to));
    // An error here must not hide the one above.
    let _ = fs::remove_file(&partial);
    copied
}

fn copy(from: &Connection, partial: &Path) -> Result<(), BackupError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let path = fs::canonicalize(partial)?;
    let mut copy = Connection::open_with_flags(path, flags).map_err(BackupError::database)?;
    // All pages in one step, so they are read in one transaction, which does not block writers.
    let step = Backup::new(from, &mut copy)
        .and_then(|backup| backup.step(-1))
        .map_err(BackupError::database)?;
    if step != StepResult::Done {
        return Err(BackupError::database(rusqlite::Error::SqliteFailure(
            ffi::Error {
                code: ErrorCode::DatabaseBusy,
                extended_code: ffi::SQLITE_BUSY,
            },
            None,
        )));
    }
    // The copy is one file, without a log, until it is opened as a store.
    copy.pragma_update_and_check(None, "journal_mode", "DELETE", |_| Ok(()))
        .map_err(BackupError::database)?;
    copy.close()
        .map_err(|(_, error)| BackupError::database(error))
}

/// Gives the copy its name, unless a file has it.
fn publish(partial: &Path, to: &Path) -> Result<(), BackupError> {
    fs::File::open(partial)?.sync_all()?;
    fs::hard_link(partial, to).map_err(|error| match error.kind() {
        io::ErrorKind::AlreadyExists => BackupError::Taken,
        _ => BackupError::Io(error),
    })?;
    #[cfg(unix)]
    fs::File::open(folder(to))?.sync_all()?;
    Ok(())
}

fn partial_path(to: &Path) -> PathBuf {
    let mut name = OsString::from(to);
    name.push(".partial");
    name.into()
}

#[cfg(unix)]
fn folder(of: &Path) -> &Path {
    match of.parent() {
        Some(folder) if folder != Path::new("") => folder,
        _ => Path::new("."),
    }
}
