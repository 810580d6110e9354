//! Exit codes.

use std::process::ExitCode;

/// The exit code of a command. Scripts rely on the numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Exit {
    /// Success, or the answer is yes.
    Done = 0,
    /// The answer is no: refused by a policy, an invalid credential, leaked keys found, an audit
    /// trail that does not verify.
    Refused = 1,
    /// The command line, the environment or the configuration file is wrong.
    Usage = 2,
    /// There is no such key, namespace or credential.
    NotFound = 3,
    /// A conflict with the state of the store: a name is taken, a key is revoked, an owner was
    /// removed.
    Conflict = 4,
    /// The store cannot be opened, reached, read or written.
    Store = 5,
    /// A file, a port or the output failed.
    Failed = 6,
}

impl Exit {
    /// The word for it in `--output json`.
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Refused => "refused",
            Self::Usage => "usage",
            Self::NotFound => "not_found",
            Self::Conflict => "conflict",
            Self::Store => "store_unavailable",
            Self::Failed => "failed",
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// For the help text.
pub(crate) const TABLE: &str = "\
Exit codes:
  0  done, or the answer is yes
  1  refused, or the answer is no
  2  wrong command line, environment or configuration
  3  not found
  4  conflict with the state of the store
  5  the store is not available
  6  a file, a port or the output failed";
