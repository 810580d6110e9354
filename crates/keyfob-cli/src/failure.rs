//! The errors of commands, with hints.

use std::{error::Error, fmt, io, path::Path};

use keyfob::{
    legacy::LegacyPolicyError,
    manage::{self, LifecycleError, TooManyLabels, TooManyScopes},
    name::NameError,
    store::{Conflict, CursorError, StoreError},
};

use crate::{exit::Exit, redact::redact};

/// A command failed.
#[derive(Debug)]
pub(crate) struct Failure {
    exit: Exit,
    message: String,
    hint: Option<String>,
}

impl Failure {
    /// A failure with this message: in lower case, without a full stop and without secrets.
    pub(crate) fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self {
            exit,
            message: message.into(),
            hint: None,
        }
    }

    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self::new(Exit::Usage, message)
    }

    pub(crate) fn not_found(message: impl Into<String>) -> Self {
        Self::new(Exit::NotFound, message)
    }

    /// A file could not be read or written.
    pub(crate) fn file(path: &Path, error: &io::Error) -> Self {
        Self::new(
            Exit::Failed,
            format!("{}: {}", path.display(), cause(error)),
        )
    }

    /// Adds a hint about what to do next.
    #[must_use]
    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Adds what the command did before it failed, which it does not undo.
    #[must_use]
    pub(crate) fn done_before<T: fmt::Display>(
        mut self,
        done: impl IntoIterator<Item = T>,
    ) -> Self {
        let done: Vec<_> = done.into_iter().map(|one| one.to_string()).collect();
        if !done.is_empty() {
            self.message = format!("{}; done before: {}", self.message, done.join(", "));
        }
        self
    }

    pub(crate) fn exit(&self) -> Exit {
        self.exit
    }

    /// The message, with everything that looks like a credential redacted.
    pub(crate) fn message(&self) -> String {
        redact(&self.message)
    }

    pub(crate) fn next_step(&self) -> Option<String> {
        self.hint.as_deref().map(redact)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message())
    }
}

impl From<manage::Error> for Failure {
    fn from(error: manage::Error) -> Self {
        match error {
            manage::Error::NotFound => Self::not_found("no such key in this namespace")
                .hint("`keyfob keys list` shows the keys of the namespace"),
            manage::Error::Conflict(conflict) => conflict.into(),
            manage::Error::Lifecycle(error) => error.into(),
            manage::Error::Store(error) => error.into(),
            manage::Error::Interrupted { changes, source } => {
                Self::from(*source).done_before([format!("{changes} of the changes")])
            }
            error @ manage::Error::OtherFormat { .. } => Self::new(Exit::Usage, error.to_string())
                .hint("leave out `--prefix`, KEYFOB_PREFIX and `prefix`: the store records its prefix"),
            manage::Error::Audit(error) => Self::new(Exit::Refused, error.to_string())
                .hint("compare with a backup or an export from before that revision"),
            error => Self::new(Exit::Store, with_sources(&error)),
        }
    }
}

impl From<keyfob_replica::StartError> for Failure {
    fn from(error: keyfob_replica::StartError) -> Self {
        match error {
            keyfob_replica::StartError::Open(error) => error.into(),
            keyfob_replica::StartError::StaleAfter(_) => Self::usage(error.to_string()),
            error => Self::new(Exit::Store, with_sources(&error)),
        }
    }
}

impl From<Conflict> for Failure {
    fn from(conflict: Conflict) -> Self {
        let failure = Self::new(Exit::Conflict, conflict.to_string());
        match conflict {
            Conflict::NotFound => Self::not_found("no such credential in this namespace"),
            Conflict::UnknownTarget(_) => Self::not_found(conflict.to_string()),
            Conflict::NameTaken => failure.hint("choose another name, or rotate the existing key"),
            Conflict::TooManyKeys => {
                failure.hint("revoke a key of this owner, or raise `keys-per-owner` with `keyfob policy set`")
            }
            Conflict::Removed(_) => failure.hint(
                "use `keyfob members restore`, `services restore`, `namespaces restore` or `teams restore` to allow new keys",
            ),
            Conflict::Stale => failure.hint("read it again with `keyfob keys show`, and repeat the command"),
            Conflict::Revoked => failure.hint("a revoked key cannot be restored: create a new one"),
            Conflict::ForeignNamespace => failure.hint("`keyfob namespaces list` shows the namespaces and their teams"),
            _ => failure,
        }
    }
}

impl From<LifecycleError> for Failure {
    fn from(error: LifecycleError) -> Self {
        let exit = match error {
            LifecycleError::Revoked | LifecycleError::Expired => Exit::Conflict,
            LifecycleError::Random(_) => Exit::Failed,
            _ => Exit::Refused,
        };
        let failure = Self::new(exit, error.to_string());
        match error {
            LifecycleError::ExpiryPast => {
                failure.hint("`--expires` takes a later time, a date, or a duration such as 90d")
            }
            LifecycleError::ExpiryRequired => failure.hint("set an expiry, as in `--expires 90d`"),
            LifecycleError::TtlTooShort { .. }
            | LifecycleError::TtlTooLong { .. }
            | LifecycleError::GraceTooLong { .. } => {
                failure.hint("`keyfob policy show` shows what is allowed")
            }
            LifecycleError::Revoked | LifecycleError::Expired => {
                failure.hint("create a new key with `keyfob keys create`")
            }
            _ => failure,
        }
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        let failure = Self::new(Exit::Store, with_sources(&error));
        if error.is_definite() {
            failure.hint(
                "`keyfob config show` shows which store is used, and the source of the setting",
            )
        } else {
            failure.hint("check whether the change was made before you repeat it")
        }
    }
}

/// Errors about names give the field and the position, not the text.
macro_rules! usage {
    ($($error:ty),*) => {
        $(impl From<$error> for Failure {
            fn from(error: $error) -> Self {
                Self::usage(error.to_string())
            }
        })*
    };
}

usage!(
    NameError,
    TooManyScopes,
    TooManyLabels,
    CursorError,
    LegacyPolicyError
);

/// The output failed. There is no message if its reader has exited, as `head` does.
impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::BrokenPipe {
            return Self::new(Exit::Failed, "");
        }
        Self::new(Exit::Failed, format!("output: {}", cause(&error)))
    }
}

/// The text of an error with its sources.
pub(crate) fn with_sources(error: &(dyn Error + 'static)) -> String {
    let mut text = text_of(error);
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = text_of(cause);
        if !text.ends_with(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        source = cause.source();
    }
    text
}

fn text_of(error: &(dyn Error + 'static)) -> String {
    match error.downcast_ref::<io::Error>() {
        Some(error) => cause(error),
        None => without_number(&error.to_string()),
    }
}

/// Why the system refused, in words and without its number.
pub(crate) fn cause(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => "no such file or folder".to_owned(),
        io::ErrorKind::AlreadyExists => "it exists already".to_owned(),
        io::ErrorKind::PermissionDenied => "permission denied".to_owned(),
        io::ErrorKind::AddrInUse => "the address is in use".to_owned(),
        io::ErrorKind::IsADirectory => "this is a folder".to_owned(),
        io::ErrorKind::StorageFull => "the disk is full".to_owned(),
        _ => without_number(&error.to_string()),
    }
}

/// The text of an error without the number of the system's.
fn without_number(text: &str) -> String {
    let Some((front, back)) = text.split_once(" (os error ") else {
        return text.to_owned();
    };
    let rest = back.split_once(')').map_or("", |(_, rest)| rest);
    format!("{front}{}", without_number(rest))
}
