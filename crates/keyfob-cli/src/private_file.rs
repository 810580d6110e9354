//! New files with names, digests or secrets in them.

use std::{
    fs::{self, File},
    io::{self, Write as _},
    path::{Path, PathBuf},
};

use tempfile::NamedTempFile;

use crate::failure::Failure;

/// A file that only its owner can read. It appears under its name when it is complete.
#[derive(Debug)]
pub(crate) struct PrivateFile {
    file: NamedTempFile,
    path: PathBuf,
}

impl PrivateFile {
    /// Begins a file in the folder of `path`, where there must be none. Without the folder, nothing
    /// is created.
    pub(crate) fn create(path: &Path) -> Result<Self, Failure> {
        if fs::symlink_metadata(path).is_ok() {
            return Err(Failure::file(path, &io::ErrorKind::AlreadyExists.into()));
        }
        Self::begin(path)
    }

    /// Begins a file in the folder of `path`, which may exist.
    fn begin(path: &Path) -> Result<Self, Failure> {
        // Its permissions are 0600 on Unix.
        let begun = tempfile::Builder::new()
            .prefix(".keyfob-")
            .suffix(".partial")
            .tempfile_in(folder(path));
        let file = begun.map_err(|error| Failure::file(path, &error))?;
        Ok(Self {
            file,
            path: path.to_owned(),
        })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn file(&mut self) -> &mut File {
        self.file.as_file_mut()
    }

    /// Replaces a file by one with this content: afterwards there is the old one or the new one. Its owner and
    /// its permissions stay: a server that runs as another user must still be able to read it.
    pub(crate) fn replace(path: &Path, content: &[u8]) -> Result<(), Failure> {
        let mut new = Self::begin(path)?;
        let replaced = || -> io::Result<()> {
            new.file().write_all(content)?;
            keep_access(path, new.file.as_file())?;
            new.file.as_file().sync_all()?;
            new.file.persist(path).map_err(|failed| failed.error)?;
            #[cfg(unix)]
            File::open(folder(path))?.sync_all()?;
            Ok(())
        };
        replaced().map_err(|error| Failure::file(path, &error))
    }

    /// Stores the content, and gives the file its name, unless there is one of this name by now.
    pub(crate) fn publish(self) -> Result<(), Failure> {
        let Self { file, path } = self;
        let published = || -> io::Result<()> {
            file.as_file().sync_all()?;
            file.persist_noclobber(&path)
                .map_err(|failed| failed.error)?;
            #[cfg(unix)]
            File::open(folder(&path))?.sync_all()?;
            Ok(())
        };
        published().map_err(|error| Failure::file(&path, &error))
    }
}

/// Gives a file the owner and the permissions of the one that it replaces.
#[cfg(unix)]
fn keep_access(replaced: &Path, by: &File) -> io::Result<()> {
    use std::os::unix::fs::{MetadataExt as _, fchown};

    let (old, new) = (fs::metadata(replaced)?, by.metadata()?);
    if (old.uid(), old.gid()) != (new.uid(), new.gid()) {
        fchown(by, Some(old.uid()), Some(old.gid()))?;
    }
    // After the owner was set: until then, nobody else can read it.
    by.set_permissions(old.permissions())
}

#[cfg(not(unix))]
fn keep_access(_: &Path, _: &File) -> io::Result<()> {
    Ok(())
}

fn folder(of: &Path) -> &Path {
    match of.parent() {
        Some(folder) if folder != Path::new("") => folder,
        _ => Path::new("."),
    }
}

/// A warning if others than the file's owner and group may read it.
#[cfg(unix)]
pub(crate) fn readable_by_others(path: &Path) -> Option<String> {
    use std::os::unix::fs::PermissionsExt;

    let mode = fs::metadata(path).ok()?.permissions().mode();
    (mode & 0o007 != 0).then(|| {
        let path = path.display();
        format!("every user of this machine can read {path}: chmod 600 {path}")
    })
}

#[cfg(not(unix))]
pub(crate) fn readable_by_others(_: &Path) -> Option<String> {
    None
}
