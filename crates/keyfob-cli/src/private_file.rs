//! New files with names, digests or secrets in them.

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
};

use tempfile::NamedTempFile;

use crate::failure::Failure;

/// A file that only its owner can read. It appears under its name when it is complete, and never
/// replaces another one.
#[derive(Debug)]
pub(crate) struct PrivateFile {
    file: NamedTempFile,
    path: PathBuf,
}

impl PrivateFile {
    /// Begins a file in the folder of `path`. Without it, nothing is created.
    pub(crate) fn create(path: &Path) -> Result<Self, Failure> {
        let file = begin(path).map_err(|error| Failure::file(path, &error))?;
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

    /// Stores the content, and gives the file its name.
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

fn begin(path: &Path) -> io::Result<NamedTempFile> {
    if fs::symlink_metadata(path).is_ok() {
        return Err(io::ErrorKind::AlreadyExists.into());
    }
    // Its permissions are 0600 on Unix.
    tempfile::Builder::new()
        .prefix(".keyfob-")
        .suffix(".partial")
        .tempfile_in(folder(path))
}

fn folder(of: &Path) -> &Path {
    match of.parent() {
        Some(folder) if folder != Path::new("") => folder,
        _ => Path::new("."),
    }
}
