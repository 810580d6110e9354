//! URLs of stores.

use std::{fmt, path::PathBuf};

use keyfob_postgres::{ConnectError, Location};
use zeroize::Zeroizing;

/// The location of a store.
#[derive(Clone, PartialEq, Eq)]
pub(crate) enum StoreUrl {
    /// `memory:`
    Memory,
    /// `sqlite:PATH`
    Sqlite(PathBuf),
    /// `postgres://…`: the URL, which may hold a password, and what of it may be shown.
    Postgres(Zeroizing<String>, Location),
}

impl StoreUrl {
    pub(crate) fn parse(text: &str) -> Result<Self, StoreUrlError> {
        if text == "memory:" {
            return Ok(Self::Memory);
        }
        if text.starts_with("postgres://") || text.starts_with("postgresql://") {
            let location = Location::parse(text).map_err(|error| match error {
                ConnectError::Parameter(name, values) => StoreUrlError::Parameter(name, values),
                _ => StoreUrlError::Postgres,
            })?;
            return Ok(Self::Postgres(Zeroizing::new(text.to_owned()), location));
        }
        match text.strip_prefix("sqlite:") {
            Some("" | "//") => Err(StoreUrlError::NoPath),
            // The URL of something else, which may hold a password.
            Some(path) if path.contains("://") => Err(StoreUrlError::Kind),
            Some(path) => Ok(Self::Sqlite(path.strip_prefix("//").unwrap_or(path).into())),
            None => Err(StoreUrlError::Kind),
        }
    }

    /// Whether the URL holds a password.
    pub(crate) fn has_password(&self) -> bool {
        match self {
            Self::Memory | Self::Sqlite(_) => false,
            Self::Postgres(_, location) => location.has_password(),
        }
    }
}

/// The URL without its password and without its parameters.
impl fmt::Display for StoreUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Memory => f.write_str("memory:"),
            Self::Sqlite(path) => write!(f, "sqlite:{}", path.display()),
            Self::Postgres(_, location) => write!(f, "{location}"),
        }
    }
}

impl fmt::Debug for StoreUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A text is not the URL of a store. It may contain a password, so the error does not repeat it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum StoreUrlError {
    #[error("must be sqlite:PATH, postgres://… or memory:")]
    Kind,
    #[error(
        "must be as postgres://USER@HOST/DATABASE; write a special character of a password in percent, as %40 for @"
    )]
    Postgres,
    #[error("the parameter {0} must be {1}")]
    Parameter(&'static str, &'static str),
    #[error("sqlite: must be followed by a path")]
    NoPath,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_is_read() {
        assert_eq!(StoreUrl::parse("memory:"), Ok(StoreUrl::Memory));
        for (text, path) in [("sqlite:a.db", "a.db"), ("sqlite:///v/a.db", "/v/a.db")] {
            assert_eq!(StoreUrl::parse(text), Ok(StoreUrl::Sqlite(path.into())));
        }
        assert!(matches!(
            StoreUrl::parse("postgresql://db/keys"),
            Ok(StoreUrl::Postgres(..))
        ));
        assert_eq!(StoreUrl::parse("sqlite:"), Err(StoreUrlError::NoPath));
        assert_eq!(StoreUrl::parse("mysql://db"), Err(StoreUrlError::Kind));
    }

    #[test]
    fn what_cannot_be_read_is_refused_and_not_repeated() {
        for url in [
            "postgres://k:p@w@db/keys",
            "postgres://",
            "postgres://h:x/d",
        ] {
            assert_eq!(StoreUrl::parse(url), Err(StoreUrlError::Postgres), "{url}");
        }
        let refused = StoreUrlError::Parameter("pool_mode", "session or transaction");
        let parsed = StoreUrl::parse("postgres://db/keys?pool_mode=x");
        assert_eq!(parsed, Err(refused));
    }

    #[test]
    fn a_password_is_noticed_and_not_shown() {
        let url = StoreUrl::parse("postgres://k:a/b#c@db:5433/keys?sslmode=require").unwrap();
        assert!(url.has_password());
        assert_eq!(url.to_string(), "postgres://k@db:5433/keys");
        assert_eq!(format!("{url:?}"), "postgres://k@db:5433/keys");
        assert!(
            !StoreUrl::parse("postgres://k@db/keys")
                .unwrap()
                .has_password()
        );
    }
}
