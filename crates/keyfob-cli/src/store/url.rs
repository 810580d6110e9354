//! URLs of stores.

use std::{fmt, path::PathBuf};

/// The location of a store.
#[derive(Clone, PartialEq, Eq)]
pub(crate) enum StoreUrl {
    /// `memory:`
    Memory,
    /// `sqlite:PATH`
    Sqlite(PathBuf),
    /// `postgres://…`, which may hold a password.
    Postgres(String),
}

impl StoreUrl {
    pub(crate) fn parse(text: &str) -> Result<Self, StoreUrlError> {
        if text == "memory:" {
            return Ok(Self::Memory);
        }
        if text.starts_with("postgres://") || text.starts_with("postgresql://") {
            return Ok(Self::Postgres(text.to_owned()));
        }
        match text.strip_prefix("sqlite:") {
            Some("" | "//") => Err(StoreUrlError::NoPath),
            Some(path) => Ok(Self::Sqlite(path.strip_prefix("//").unwrap_or(path).into())),
            None => Err(StoreUrlError::Kind),
        }
    }

    /// Whether the URL holds a password.
    pub(crate) fn has_password(&self) -> bool {
        match self {
            Self::Memory | Self::Sqlite(_) => false,
            Self::Postgres(url) => password_ends(url).is_some() || url.contains("password="),
        }
    }
}

/// The positions of the colon before a password and of the `@` after it.
fn password_ends(url: &str) -> Option<(usize, usize)> {
    let start = url.find("://")? + 3;
    let authority = url[start..]
        .find(['/', '?'])
        .map_or(url.len(), |at| start + at);
    let at = start + url[start..authority].rfind('@')?;
    let colon = start + url[start..at].find(':')?;
    Some((colon, at))
}

/// The URL without its password and without its parameters.
impl fmt::Display for StoreUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Memory => f.write_str("memory:"),
            Self::Sqlite(path) => write!(f, "sqlite:{}", path.display()),
            Self::Postgres(url) => {
                let end = url.find('?').unwrap_or(url.len());
                match password_ends(url) {
                    Some((colon, at)) if at < end => {
                        write!(f, "{}{}", &url[..colon], &url[at..end])
                    }
                    _ => f.write_str(&url[..end]),
                }
            }
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
            Ok(StoreUrl::Postgres(_))
        ));
        assert_eq!(StoreUrl::parse("sqlite:"), Err(StoreUrlError::NoPath));
        assert_eq!(StoreUrl::parse("mysql://db"), Err(StoreUrlError::Kind));
    }

    #[test]
    fn a_password_is_noticed_and_not_shown() {
        for (url, shown, password) in [
            ("postgres://db/keys", "postgres://db/keys", false),
            ("postgres://k@db/keys", "postgres://k@db/keys", false),
            ("postgres://k:pw@db/keys", "postgres://k@db/keys", true),
            (
                "postgres://k:p:w@db:5432/keys",
                "postgres://k@db:5432/keys",
                true,
            ),
            ("postgres://k:p@w@db", "postgres://k@db", true),
            (
                "postgres://db:5432/keys?password=pw",
                "postgres://db:5432/keys",
                true,
            ),
            ("postgres://db:5432/a@b", "postgres://db:5432/a@b", false),
        ] {
            let url = StoreUrl::parse(url).unwrap();
            assert_eq!(url.has_password(), password, "{url}");
            assert_eq!(url.to_string(), shown);
            assert_eq!(format!("{url:?}"), shown);
        }
    }
}
