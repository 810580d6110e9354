//! The files to scan.

use std::path::{Path, PathBuf};

use ignore::WalkBuilder;

/// The files in the order of their paths; all files in a folder.
pub(super) struct Walk {
    stdin: bool,
    walk: Option<ignore::Walk>,
}

impl Walk {
    pub(super) fn new(paths: &[PathBuf], respect_gitignore: bool) -> Self {
        let (stdin, paths): (Vec<&PathBuf>, Vec<_>) = paths
            .iter()
            .partition(|path| path.as_path() == Path::new("-"));
        let mut paths = paths.into_iter();
        let walk = paths.next().map(|first| {
            let mut builder = WalkBuilder::new(first);
            for path in paths {
                builder.add(path);
            }
            builder
                .standard_filters(false)
                .git_ignore(respect_gitignore)
                .git_exclude(respect_gitignore)
                .git_global(respect_gitignore)
                .parents(respect_gitignore)
                .require_git(false)
                .sort_by_file_path(Path::cmp)
                .filter_entry(|entry| entry.file_name() != ".git");
            builder.build()
        });
        Self {
            stdin: !stdin.is_empty(),
            walk,
        }
    }
}

impl Iterator for Walk {
    /// A file, or why one cannot be read.
    type Item = Result<PathBuf, String>;

    fn next(&mut self) -> Option<Self::Item> {
        if std::mem::take(&mut self.stdin) {
            return Some(Ok(PathBuf::from("-")));
        }
        loop {
            match self.walk.as_mut()?.next()? {
                Ok(entry) if entry.file_type().is_some_and(|kind| kind.is_file()) => {
                    return Some(Ok(entry.into_path()));
                }
                Ok(_) => {}
                Err(error) => return Some(Err(error.to_string())),
            }
        }
    }
}
