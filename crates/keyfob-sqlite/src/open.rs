//! Opening a file: its permissions and the settings of its connections.

use std::{
    ffi::OsString,
    fs, io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, OnceLock, PoisonError},
    thread,
    time::{Duration, Instant},
};

use rusqlite::{Connection, ErrorCode, OpenFlags, config::DbConfig};

use crate::{
    error::{Moved, OpenError},
    migrate::migrate,
    sql,
};

/// The file of a store, which connections are opened to.
#[derive(Clone, Debug)]
pub(crate) struct Source {
    path: PathBuf,
    busy_timeout: Duration,
    file: Option<FileId>,
    /// The write-ahead log and its index, once a connection has them open.
    log_files: Arc<OnceLock<[LogFile; 2]>>,
}

impl Source {
    /// Creates the file if there is none and `create` is set, and migrates its schema.
    pub(crate) fn prepare(
        path: &Path,
        create: bool,
        busy_timeout: Duration,
    ) -> Result<Self, OpenError> {
        // One at a time: closing a file drops the locks of all connections that the process has to
        // it.
        static PREPARING: Mutex<()> = Mutex::new(());
        let _alone = PREPARING.lock().unwrap_or_else(PoisonError::into_inner);
        if create {
            make(path)?;
        }
        let mut source = Self {
            // An absolute path, which SQLite cannot read as a special name such as `:memory:`.
            path: fs::canonicalize(path).map_err(|error| match error.kind() {
                io::ErrorKind::NotFound => OpenError::Missing,
                _ => OpenError::Io(error),
            })?,
            busy_timeout,
            file: None,
            log_files: Arc::default(),
        };
        source.file = file_id(&source.path)?;
        let connection = source.connect().map_err(OpenError::database)?;
        migrate(&connection)?;
        source
            .keep_a_log(&connection)
            .map_err(OpenError::database)?;
        Ok(source)
    }

    /// Whether the file, its write-ahead log and the index of that are still at their paths.
    /// Connections to a file that was moved, deleted or replaced would go on with data that no other
    /// process sees, and that is lost when they close.
    pub(crate) fn check_place(&self) -> Result<(), Moved> {
        let log_files = self.log_files.get().into_iter().flatten();
        let log_files = log_files.map(|(path, file)| (path.as_path(), *file));
        for (path, file) in log_files.chain([(self.path.as_path(), self.file)]) {
            match file_id(path) {
                Ok(found) if found == file => {}
                _ => return Err(Moved),
            }
        }
        Ok(())
    }

    /// Notes which files are the write-ahead log and its index, through a connection that stays open:
    /// as long as there is one, no process deletes or replaces them.
    pub(crate) fn note_log(&self, connection: &Connection) -> Result<(), OpenError> {
        // The first read opens them.
        connection
            .query_row("SELECT count(*) FROM head", [], |_| Ok(()))
            .map_err(OpenError::database)?;
        let note = |suffix: &str| {
            let mut path = OsString::from(&self.path);
            path.push(suffix);
            let path = PathBuf::from(path);
            file_id(&path).map(|file| (path, file))
        };
        let log_files = [note("-wal")?, note("-shm")?];
        // It is noted once per store.
        let _ = self.log_files.set(log_files);
        Ok(())
    }

    fn connect(&self) -> rusqlite::Result<Connection> {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(&self.path, flags)?;
        connection.busy_timeout(self.busy_timeout)?;
        connection.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true)?;
        connection.execute_batch(PRAGMAS)?;
        connection.set_prepared_statement_cache_capacity(sql::COUNT);
        Ok(connection)
    }

    /// A connection that writes.
    pub(crate) fn writer(&self) -> Result<Connection, OpenError> {
        self.connect().map_err(OpenError::database)
    }

    /// A read-only connection.
    pub(crate) fn reader(&self) -> rusqlite::Result<Connection> {
        let connection = self.connect()?;
        connection.execute_batch("PRAGMA query_only = ON")?;
        Ok(connection)
    }

    /// Switches to a write-ahead log, which the file remembers, so that readers and the writer do
    /// not wait for each other. While another process does the same, `SQLite` reports the file as
    /// busy without waiting, so this tries again.
    fn keep_a_log(&self, connection: &Connection) -> rusqlite::Result<()> {
        let give_up = Instant::now() + self.busy_timeout;
        loop {
            let mode = connection.pragma_update_and_check(None, "journal_mode", "WAL", |row| {
                row.get::<_, String>(0)
            });
            match mode {
                Ok(mode) if mode == "wal" => return Ok(()),
                Err(error)
                    if !matches!(
                        error.sqlite_error_code(),
                        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked)
                    ) =>
                {
                    return Err(error);
                }
                Err(error) if give_up <= Instant::now() => return Err(error),
                Ok(_) if give_up <= Instant::now() => {
                    return Err(rusqlite::Error::SqliteFailure(
                        rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_BUSY),
                        Some("no write-ahead log can be kept next to the file".into()),
                    ));
                }
                _ => thread::sleep(Duration::from_millis(5)),
            }
        }
    }
}

/// A file next to the store, and which one it is.
type LogFile = (PathBuf, Option<FileId>);

/// The device and inode of a file, which differ for a file that replaces it.
type FileId = (u64, u64);

/// The file at a path, if the system can tell.
fn file_id(path: &Path) -> io::Result<Option<FileId>> {
    let metadata = fs::metadata(path)?;
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt as _;
        Ok(Some((metadata.dev(), metadata.ino())))
    }
    #[cfg(not(unix))]
    {
        let _ = metadata;
        Ok(None)
    }
}

/// Creates a file that only its owner can read, if there is none. `SQLite` gives the same
/// permissions to the files next to it.
fn make(path: &Path) -> Result<(), OpenError> {
    match create_private(path) {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Creates a new file that only its owner can read.
pub(crate) fn create_private(path: &Path) -> io::Result<fs::File> {
    let mut options = fs::File::options();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

/// A commit is durable before it returns, and nothing in the file's schema runs unsafe functions.
const PRAGMAS: &str = "PRAGMA synchronous = FULL;
    PRAGMA foreign_keys = ON;
    PRAGMA trusted_schema = OFF;
    PRAGMA cell_size_check = ON;
    PRAGMA temp_store = MEMORY;
    PRAGMA journal_size_limit = 67108864;";

#[cfg(test)]
mod tests {
    use super::*;

    /// `SQLite` ignores a misspelt pragma, and no other test would notice.
    #[test]
    fn every_connection_has_the_settings() {
        let folder = format!("keyfob-open-{}", std::process::id());
        let folder = std::env::temp_dir().join(folder);
        fs::create_dir(&folder).unwrap();
        let timeout = Duration::from_millis(1234);
        let source = Source::prepare(&folder.join("keys.db"), true, timeout).unwrap();
        let connections = [(source.writer().unwrap(), 0), (source.reader().unwrap(), 1)];
        for (connection, query_only) in connections {
            for (name, expected) in [
                ("synchronous", 2),
                ("foreign_keys", 1),
                ("trusted_schema", 0),
                ("cell_size_check", 1),
                ("busy_timeout", 1234),
                ("query_only", query_only),
                ("application_id", 0x4b66_6f62),
            ] {
                let found = connection.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
                assert_eq!(found.unwrap(), expected, "{name}");
            }
            let mode =
                connection.pragma_query_value(None, "journal_mode", |row| row.get::<_, String>(0));
            assert_eq!(mode.unwrap(), "wal");
            let write = connection.execute("UPDATE head SET revision = revision + 1", []);
            assert_eq!(write.is_err(), query_only == 1, "{write:?}");
            let schema = connection.execute("PRAGMA writable_schema = ON", []);
            let rewritten = connection.execute("UPDATE sqlite_schema SET sql = ''", []);
            assert!(rewritten.is_err(), "{schema:?}");
        }
        fs::remove_dir_all(&folder).unwrap();
    }
}
