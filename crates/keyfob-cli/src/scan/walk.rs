//! The files to scan.

use std::{
    fs,
    path::{Path, PathBuf},
};

use ignore::{DirEntry, WalkBuilder};

/// The files to scan, and what is not read. Files are in the order of their paths.
pub(super) struct Walk {
    /// The next is the last.
    named: Vec<PathBuf>,
    /// The real paths of the folders that were named.
    roots: Vec<PathBuf>,
    folder: Option<ignore::Walk>,
    respect_gitignore: bool,
}

/// A file, or what is not read.
pub(super) enum Item {
    /// A file, or anything else that was named and can be read, as a pipe; `-` for the standard
    /// input.
    File(PathBuf),
    /// A path that is not read, and why.
    Unread(PathBuf, String),
    /// A folder named `.git`.
    Git,
}

impl Walk {
    pub(super) fn new(paths: &[PathBuf], respect_gitignore: bool) -> Self {
        let roots = paths.iter().filter_map(|path| fs::canonicalize(path).ok());
        Self {
            roots: roots.collect(),
            named: paths.iter().rev().cloned().collect(),
            folder: None,
            respect_gitignore,
        }
    }

    fn folder(&self, path: &Path) -> ignore::Walk {
        let respect = self.respect_gitignore;
        WalkBuilder::new(path)
            .standard_filters(false)
            .git_ignore(respect)
            .git_exclude(respect)
            .git_global(respect)
            .parents(respect)
            .require_git(false)
            .sort_by_file_path(Path::cmp)
            // Its entry itself is counted.
            .filter_entry(|entry| !entry.path().parent().is_some_and(is_git) || entry.depth() < 2)
            .build()
    }

    /// What to do with an entry of a folder; none if there is nothing in it to read.
    fn item(&self, entry: DirEntry) -> Option<Item> {
        let kind = entry.file_type()?;
        if kind.is_file() {
            return Some(Item::File(entry.into_path()));
        }
        if kind.is_dir() {
            return (entry.depth() > 0 && is_git(entry.path())).then_some(Item::Git);
        }
        if !kind.is_symlink() {
            // Reading it could wait without an end.
            let why = "a pipe, socket or device, which is only read if it is named";
            return Some(Item::Unread(entry.into_path(), why.to_owned()));
        }
        let Ok(target) = fs::canonicalize(entry.path()) else {
            // A link to nothing.
            return None;
        };
        if self.roots.iter().any(|root| target.starts_with(root)) {
            return None;
        }
        if target.is_file() {
            return Some(Item::File(entry.into_path()));
        }
        let why = "a link to a place outside, which is not followed";
        Some(Item::Unread(entry.into_path(), why.to_owned()))
    }
}

impl Iterator for Walk {
    type Item = Item;

    fn next(&mut self) -> Option<Item> {
        loop {
            let Some(folder) = &mut self.folder else {
                let named = self.named.pop()?;
                if named != Path::new("-") && named.is_dir() {
                    self.folder = Some(self.folder(&named));
                    continue;
                }
                return Some(Item::File(named));
            };
            match folder.next() {
                Some(Ok(entry)) => {
                    if let Some(item) = self.item(entry) {
                        return Some(item);
                    }
                }
                Some(Err(error)) => {
                    let (path, why) = explain(&error);
                    return Some(Item::Unread(path, why));
                }
                None => self.folder = None,
            }
        }
    }
}

fn is_git(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name == ".git") && path.is_dir()
}

/// The path and the cause of an error of the walk.
fn explain(error: &ignore::Error) -> (PathBuf, String) {
    match error {
        ignore::Error::WithPath { path, err } => (path.clone(), explain(err).1),
        ignore::Error::WithDepth { err, .. } => explain(err),
        ignore::Error::Io(error) => (PathBuf::new(), crate::failure::cause(error)),
        error => (PathBuf::new(), error.to_string()),
    }
}
